"""What the bit-serial elements for fp16 activations compute, step by step: whole numbers only, no float arithmetic.

A weight is a sum of terms ``(-1)**sign * man * 2**(exponent + significance)``; a slice is one term of each lane's weight, all of
one significance. Four steps:

1. The exponents of activation and term are added; the greatest of all lanes, those with a zero included, is the slice's.
2. Each lane's 11-bit significand gets three more bits and moves right by its distance from that exponent; the sum of the lanes
   is the slice's dot product.
3. The dot product, times two to the power of the significance, is halved until it fits into 15 bits, and added to the group's
   sum, which has an exponent of its own: that with the smaller exponent moves right to the other. The sum has 15 bits and three
   more. What has outgrown the 15 bits is halved before the next addition; it never moves left. A dot product of zero changes
   nothing.
4. The group's sum, rounded to 15 bits, is multiplied by the scale and becomes a float32; both are exact.

Rounding ``nearest``: what moves right is rounded to the nearest even of its lowest bit, in step 2 (magnitudes) as in 3; but where
the sum is halved since it has outgrown its bits, the lowest bit keeps whether a one was lost (sticky), so that the last rounding
sees it. ``truncate``: magnitudes are cut off in step 2, two's complement (towards minus infinity) in 3 and 4. In both, an addend
16 or more places below the sum counts as zero in step 3, and so does a sum 17 or more below the addend: it may have a bit more.

The unit of the results is that of the format's integers times the activation. Infinities and NaN do not exist: the greatest
exponent is one like the others.

Reference
---------
BitMoD: Bit-serial Mixture-of-Datatype LLM Acceleration (Chen et al., HPCA 2025), section IV-B, figure 5.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

ROUNDINGS = ("nearest", "truncate")
EXTRA = 3
"""Bits below the significand, in the lanes and in the sum."""
MANTISSA = 14
"""Bits of the sum beside its sign."""
FAR = 16
"""Places below the sum from which on an addend counts as zero."""
UNIT = 28
"""A mantissa ``m`` with exponent ``e`` is ``m * 2**(e - 28)``: the bias of fp16, 15, its fraction, 10, and ``EXTRA``."""


class Sum(NamedTuple):
    """A group's sum so far: ``value / 8 * 2**exponent``; arrays of int64 of one shape."""

    value: np.ndarray
    exponent: np.ndarray


def check_rounding(rounding: str) -> None:
    """Raise ValueError when there is no such rounding."""
    if rounding not in ROUNDINGS:
        raise ValueError(f"rounding must be one of {', '.join(ROUNDINGS)}, not {rounding!r}")


def unpack(activations: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sign, exponent and 11-bit significand of fp16 bit patterns; what is subnormal has exponent 1."""
    bits = np.asarray(activations).astype(np.int64)
    field = bits >> 10 & 31
    return bits >> 15 & 1, np.maximum(field, 1), (bits & 1023) | np.where(field > 0, 1024, 0)


def move_right(value: np.ndarray, places: np.ndarray, rounding: str) -> np.ndarray:
    """``value / 2**places``, rounded to nearest even or down."""
    down = value >> places
    if rounding == "truncate":
        return down
    twice_lost = 2 * (value - (down << places))
    one = np.left_shift(1, places)
    return down + ((twice_lost > one) | ((twice_lost == one) & (down & 1 == 1)))


def dot(
    activations: np.ndarray, sign: np.ndarray, exponent: np.ndarray, man: np.ndarray, *, rounding: str
) -> tuple[np.ndarray, np.ndarray]:
    """Steps 1 and 2: exponent and dot product of slices, lanes along the last axis.

    Parameters
    ----------
    activations
        fp16 bit patterns.
    sign, exponent, man
        Of the terms: 0 and 1, 0 to 3, 0 and 1.
    """
    negative, places, significand = unpack(activations)
    places = places + exponent
    greatest = places.max(-1)
    magnitude = move_right(significand * man << EXTRA, greatest[..., None] - places, rounding)
    return greatest, np.where(negative ^ sign, -magnitude, magnitude).sum(-1)


def outgrown(value: np.ndarray, bits: int) -> np.ndarray:
    """1 where ``value`` does not fit into ``bits`` and a sign, two's complement."""
    return ((value >= 1 << bits) | (value < -1 << bits)).astype(np.int64)


def halved(total: Sum, rounding: str) -> Sum:
    """``total`` with 15 bits and three more."""
    places = outgrown(total.value, MANTISSA + EXTRA)
    value = total.value >> places
    if rounding == "nearest":
        value |= total.value & places
    return Sum(value, total.exponent + places)


def add(total: Sum, exponent: np.ndarray, product: np.ndarray, significance: int, *, rounding: str) -> Sum:
    """Step 3: ``total`` and one dot product more."""
    addend = product << significance
    places = np.zeros_like(addend)
    while np.any(outgrown(addend >> places, MANTISSA)):
        places += outgrown(addend >> places, MANTISSA)
    # Exact: a dot product of four lanes has two bits more than a mantissa, one of eight has three.
    addend = addend << EXTRA >> places
    at = exponent + places
    gap = at - total.exponent
    held = halved(total, rounding)
    common = np.maximum(held.exponent, at)
    # A sum that moves to the addend's exponent does so in one move, halving included: it is rounded once.
    moved = np.where(gap <= FAR, move_right(total.value, np.clip(gap, 0, FAR), rounding), 0)
    addend = np.where(gap > -FAR, move_right(addend, np.minimum(common - at, FAR), rounding), 0)
    value = np.where(gap > 0, moved, held.value) + addend
    same = product == 0
    return Sum(np.where(same, total.value, value), np.where(same, total.exponent, common))


def mantissa(total: Sum, *, rounding: str) -> Sum:
    """The whole group's sum, rounded: ``value * 2**exponent``, at most 2**14 either way."""
    places = outgrown(total.value, MANTISSA + EXTRA)
    return Sum(move_right(total.value, EXTRA + places, rounding), total.exponent + places)


def float32(total: Sum, scale: np.ndarray) -> np.ndarray:
    """Step 4: bits of ``mantissa * 2**(exponent - 28) * scale`` as float32, uint32; zero is +0."""
    product = np.abs(total.value) * scale
    length = np.zeros_like(product)
    while np.any(product >> length):
        length += product >> length > 0
    fraction = product << (24 - length) & 0x7FFFFF
    field = total.exponent - UNIT + length - 1 + 127
    bits = (total.value < 0) << 31 | field << 23 | fraction
    return np.where(product == 0, 0, bits).astype(np.uint32)


def group_sum(
    activations: np.ndarray,
    sign: np.ndarray,
    exponent: np.ndarray,
    man: np.ndarray,
    significance: np.ndarray,
    *,
    rounding: str = "nearest",
) -> Sum:
    """Mantissa and exponent of groups, slices along the last axis but one and lanes along the last.

    Parameters
    ----------
    activations, sign, exponent, man
        As for :func:`dot`; they broadcast, but each has all slices.
    significance
        [slices], 0 to 6.
    """
    check_rounding(rounding)
    operands = [np.asarray(one) for one in (activations, sign, exponent, man)]
    shape = np.broadcast_shapes(*(one.shape for one in operands))[:-2]
    total = Sum(np.zeros(shape, np.int64), np.zeros(shape, np.int64))
    for step, power in enumerate(significance):
        places, product = dot(*(one[..., step, :] for one in operands), rounding=rounding)
        total = add(total, places, product, int(power), rounding=rounding)
    return mantissa(total, rounding=rounding)


def group_result(
    activations: np.ndarray,
    sign: np.ndarray,
    exponent: np.ndarray,
    man: np.ndarray,
    significance: np.ndarray,
    scale: np.ndarray,
    *,
    rounding: str = "nearest",
) -> np.ndarray:
    """Bits of a float32 for each group, uint32: what :func:`group_sum` gives times ``scale``, 0 to 255."""
    total = group_sum(activations, sign, exponent, man, significance, rounding=rounding)
    return float32(total, np.asarray(scale).astype(np.int64))
