"""What elements that take exponents and integers must give, from what codes stand for. Plain integers; no Amaranth here.

The products of E5M2 do not fit 64 bits: Python's own integers are used.

Reference: OliVe, Guo et al., ISCA 2023, section 4.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from hw.formats import Operand


def total(activations: Iterable[int], weights: Iterable[int], *, width: int, dropped: int = 0) -> int:
    """Sum of the products, of each the ``dropped`` lowest bits cut off (to minus infinity), as ``width`` bits hold it.

    ``dropped`` is 0 for the exact sum.
    """
    products = (int(a) * int(w) for a, w in zip(activations, weights, strict=True))
    half = 1 << width - 1
    return (sum(product // (1 << dropped) for product in products) + half) % (2 * half) - half


def matmul(x: Operand, w: Operand, *, width: int, dropped: int = 0) -> np.ndarray:
    """X [M, K] · W [K, N] of :func:`total`, Python integers [M, N] in units of both formats times ``2**dropped``.

    Zero points are taken off, scales of blocks are not looked at.
    """
    levels = x.levels(), w.levels()
    result = np.zeros((len(levels[0]), levels[1].shape[1]), dtype=object)
    for m, n in np.ndindex(*result.shape):
        result[m, n] = total(levels[0][m], levels[1][:, n], width=width, dropped=dropped)
    return result
