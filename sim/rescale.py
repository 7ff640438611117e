"""Golden model of the output stage of float32 designs: float32 accumulators to fp16, in integers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SCALE_BITS = 18
"""Bits of a multiplier's significand that count."""
GREATEST = 0x7BFF
"""Pattern of the largest fp16, 65504: what is beyond becomes that."""
LEAST_UNIT = -24
"""The smallest subnormal fp16 is 2 to this."""


def rescale(
    accumulators: NDArray[np.float32], bias: NDArray[np.float32], multiplier: NDArray[np.float32]
) -> NDArray[np.float16]:
    """``saturate_fp16((accumulators + bias) * multiplier)``: a float32 sum, its exact product, rounded to nearest even.

    All are float32, finite, zero or normal, and broadcast against one another (features along the last axis). Of the
    multipliers' significands the first ``SCALE_BITS`` bits count. Raises ``TypeError`` for another type.
    """
    for name, array in (("accumulators", accumulators), ("bias", bias), ("multiplier", multiplier)):
        if array.dtype != np.float32:
            raise TypeError(f"{name} must be an array of float32, not {array.dtype}")
    total, scale = np.broadcast_arrays(accumulators + bias, multiplier)
    (sign, value, unit), (negative, factor, scale_unit) = _parts(total), _parts(scale)
    product = value * (factor >> 24 - SCALE_BITS)  # below 2**42
    unit = unit + scale_unit + 24 - SCALE_BITS
    length = np.frexp(product.astype(np.float64))[1]  # bits; exact: float64 holds 53
    places = np.maximum(LEAST_UNIT, unit + length - 11) - unit
    # From the place of the result's last bit on; by more than 62 places nothing is left but what rounds to zero.
    down = np.clip(places, 0, 62)
    whole = product >> down << np.maximum(-places, 0)
    rest, half = product & (1 << down) - 1, (1 << down) >> 1
    whole += (rest > half) | ((rest == half) & (half > 0) & (whole & 1 == 1))
    # A significand with its leading one counts as one more of the exponent, and one rounded up to 2**11 as two.
    pattern = np.where(product == 0, 0, (places + unit - LEAST_UNIT << 10) + whole)
    pattern = np.minimum(pattern, GREATEST) | (sign ^ negative) << 15
    return pattern.astype(np.uint16).view(np.float16)


def _parts(array: NDArray[np.float32]) -> tuple[NDArray, NDArray, NDArray]:
    """Sign, significand (24 bits, or 0) and the logarithm of its unit."""
    pattern = np.ascontiguousarray(array).view(np.uint32).astype(np.int64)
    exponent = pattern >> 23 & 0xFF
    return pattern >> 31, ((pattern & 0x7FFFFF) | 1 << 23) * (exponent > 0), exponent - 150
