"""Sums of float32 numbers to the last bit: in the order of PyTorch's CPU kernels, with vectors of 256 bits.

That order is one thread's. PyTorch gives tensors of 32,768 elements or more to several, if it has them, whose number then shows
in the last bit.
"""

from __future__ import annotations

import numpy as np

LANES = 8
"""Elements of a vector."""
CHAINS = 4
"""Of vectors, or of elements where they fill no vector, are summed side by side."""
LEVELS = 4
"""Of partial sums: the sum of 16 parts, or more in long sums, is one part of the next level."""


def total(values: np.ndarray) -> np.ndarray:
    """Sums of float32 ``values`` along the last axis, whose elements lie side by side for PyTorch.

    What is beyond float32 is infinite; the sum of nothing is 0, as is that of zeros of either sign.
    """
    if values.dtype != np.float32:
        raise TypeError(f"values must be of float32, not {values.dtype}")
    # The summed axis first: additions are then of whole arrays.
    parts = np.ascontiguousarray(np.moveaxis(values, -1, 0))
    with np.errstate(over="ignore", invalid="ignore"):
        if len(parts) < LANES:
            return _side_by_side(parts)
        whole = len(parts) // LANES * LANES
        lanes = _side_by_side(parts[:whole].reshape(-1, LANES, *parts.shape[1:]))
        return _running(np.concatenate([parts[whole:], lanes]))


def mean(values: np.ndarray) -> np.ndarray:
    """Means of float32 ``values`` along the last axis: ``total`` over their number."""
    return total(values) / np.float32(values.shape[-1])


def _side_by_side(parts: np.ndarray) -> np.ndarray:
    """Sum of ``parts``, ``CHAINS`` of them at a time; what is left over goes to the first chain."""
    whole = len(parts) // CHAINS * CHAINS
    chains = _cascade(parts[:whole].reshape(-1, CHAINS, *parts.shape[1:]))
    return _running(np.concatenate([chains[:1], parts[whole:], chains[1:]]))


def _cascade(parts: np.ndarray) -> np.ndarray:
    """Sum of ``parts`` in groups, groups of groups and so on."""
    step = 1 << max(4, max(1, (len(parts) - 1).bit_length()) // LEVELS)
    sums = []
    for _ in range(LEVELS - 1):
        groups = len(parts) // step
        sums.append(_running(parts[groups * step :]))
        parts = _running(parts[: groups * step].reshape(groups, step, *parts.shape[1:]).swapaxes(0, 1))
    return _running(np.stack([*sums, _running(parts)]))


def _running(parts: np.ndarray) -> np.ndarray:
    """Sum of ``parts``, one after another."""
    result = np.zeros(parts.shape[1:], np.float32)
    for part in parts:
        result += part
    return result
