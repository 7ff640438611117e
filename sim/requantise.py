"""Golden model of the output stage: int32 accumulators to int8, exactly."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def requantise(
    accumulators: ArrayLike, bias: ArrayLike, multiplier: ArrayLike, shift: ArrayLike
) -> NDArray[np.int8]:
    """``saturate_int8(((accumulators + bias) * multiplier + round) >> shift)``, ``round`` half of ``2 ** shift`` (0 for 0).

    Accumulators and bias are int32, the multiplier is uint32, the shift 0 to 63; all broadcast against one another
    (features along the last axis). The result is exact: Python's integers are used wherever 64 bits might not be enough.

    Raises ``ValueError`` for a value out of range.
    """
    arrays = [
        _checked(a, *limits)
        for a, limits in zip((accumulators, bias, multiplier, shift), _LIMITS, strict=True)
    ]
    largest = (_size(arrays[0]) + _size(arrays[1])) * _size(arrays[2]) + (1 << _size(arrays[3]) >> 1)
    # At least one axis each: NumPy takes an object without axes for a number of its own.
    shape = np.broadcast_shapes(*(array.shape for array in arrays))
    kind = np.int64 if largest < 1 << 63 else object
    a, b, m, s = (np.atleast_1d(array).astype(kind) for array in arrays)
    # Half of 2 ** shift: 2 ** 63 itself is never needed.
    half = (s * 0 + 1 << s - (s > 0)) * (s > 0)
    scaled = ((a + b) * m + half) >> s
    return np.clip(scaled, -128, 127).astype(np.int8).reshape(shape)


_LIMITS = (
    ("accumulators", -(1 << 31), (1 << 31) - 1),
    ("bias", -(1 << 31), (1 << 31) - 1),
    ("multiplier", 0, (1 << 32) - 1),
    ("shift", 0, 63),
)


def _checked(values: ArrayLike, name: str, low: int, high: int) -> NDArray:
    array = np.asarray(values)
    if array.size and not low <= int(array.min()) <= int(array.max()) <= high:
        raise ValueError(f"{name} must be {low} to {high}, not {int(array.min())} to {int(array.max())}")
    return array


def _size(array: NDArray) -> int:
    return max(abs(int(array.min())), abs(int(array.max()))) if array.size else 0
