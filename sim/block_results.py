"""Results of blocks whose operands have scales of their own: an exact sum, rounded, times both scales, rounded again.

    v = float32(sum)                                rounded once to nearest even
    result = float32(v * s * 2**unit)               the same; zero is +0

``s`` is the product of both scales, exact. Where one of them is E8M0 its exponent, or the sum of both's, is limited first to
``E8M0_LEAST`` to ``E8M0_MOST``: then all sums of results are exact in an adder that knows no subnormal numbers.
"""

from __future__ import annotations

import numpy as np

from hw.pe.block_scale_times import E8M0_LEAST, E8M0_MOST
from sim.golden import EXACT_FLOAT64

_LOW = 17
"""Bits of the lower part of an integer that is cut in two."""


def rounded_products(x: np.ndarray, w: np.ndarray, *, dropped: int = 0) -> np.ndarray:
    """float32 [M, N]: the exact sums ``x`` [M, K] times ``w`` [K, N], each rounded once to nearest even.

    Integers (int64) of up to 2**32 in magnitude, K of up to 128: sums have up to 72 bits. With ``dropped`` each product loses so
    many of its lowest bits first (to minus infinity), and sums are in units of two to their power.
    """
    if dropped:
        return _without_lowest(x, w, dropped).astype(np.float32)
    bound = _largest(x) * _largest(w) * x.shape[1]
    if bound < EXACT_FLOAT64:
        return (x.astype(np.float64) @ w.astype(np.float64)).astype(np.float32)
    (x1, x0), (w1, w0) = (_parts(each) for each in (x, w))
    upper, middle, lower = (each.astype(np.int64) for each in (x1 @ w1, x1 @ w0 + x0 @ w1, x0 @ w0))
    rest = (middle << _LOW) + lower
    upper, rest = upper + (rest >> 2 * _LOW), rest & (1 << 2 * _LOW) - 1
    small = np.abs(upper) < 1 << 28
    exact = (np.where(small, upper, 0) << 2 * _LOW) + rest
    # Of what is larger the lowest ten bits count only for whether there are any.
    short = (upper << 2 * _LOW - 10) + (rest >> 10) | (rest & 1023 != 0)
    return np.where(small, exact.astype(np.float32), short.astype(np.float32) * np.float32(1024))


def _without_lowest(x: np.ndarray, w: np.ndarray, dropped: int) -> np.ndarray:
    """int64 [M, N]: sums of products, each without its ``dropped`` lowest bits; what is left must fit 56 bits."""
    total = np.zeros((len(x), w.shape[1]), np.int64)
    (x, x_zeros), (w, w_zeros) = (_odd(each) for each in (x, w))
    for k in range(x.shape[1]):
        products = np.multiply.outer(x[:, k], w[k])
        shift = np.add.outer(x_zeros[:, k], w_zeros[k]) - dropped
        total += products << np.maximum(shift, 0) >> np.maximum(-shift, 0)
    return total


def _odd(each: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Integers without their lowest zeros, and how many these were."""
    zeros = np.maximum(np.frexp((each & -each).astype(np.float64))[1] - 1, 0)
    return each >> zeros, zeros.astype(np.int64)


def _largest(each: np.ndarray) -> int:
    return max(abs(int(each.min(initial=0))), abs(int(each.max(initial=0))))


def _parts(each: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """float64: upper part and lower ``_LOW`` bits."""
    return (each >> _LOW).astype(np.float64), (each & (1 << _LOW) - 1).astype(np.float64)


Scales = tuple[str, np.ndarray | None]
"""Their type, and a number (float64) for each row or feature; None stands for 1."""


def scaled(sums: np.ndarray, x: Scales, w: Scales, unit: int) -> np.ndarray:
    """float32 [M, N] of ``sums`` (float32) and the scales of a block of ``x`` [M] and of ``w`` [N]."""
    exponents, factors = np.zeros((1, 1), np.int64), np.ones((1, 1))
    for (kind, scales), shape in ((x, (-1, 1)), (w, (1, -1))):
        if scales is None:
            continue
        if kind == "e8m0":
            exponents = exponents + (np.frexp(scales)[1] - 1).reshape(shape)
        else:
            factors = factors * scales.reshape(shape)
    factors = factors * np.exp2((np.clip(exponents, E8M0_LEAST, E8M0_MOST) + unit).astype(np.float64))
    # Exact up to the last rounding: 24 bits of the sum, 22 of two scales. A zero may have a minus: taken off by the addition.
    return (sums.astype(np.float64) * factors + 0.0).astype(np.float32)
