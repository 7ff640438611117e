"""Blocks that share a power of two: OCP MX, and block floating point.

References: OCP Microscaling Formats (MX) v1.0, sections 5.2 (E8M0), 5.3 (elements), 6.3 (conversion of a vector); saturation,
roundings, and the scale of zeros as in microxcaling (mx_ops.py). Block floating point has no published rule of its own here:
it is MXINT's with sign and magnitude.

A block V of largest magnitude m gets the scale ``2**s``, s being ``floor(log2(m))`` less the exponent of the largest element
value; its elements are ``V / 2**s``, rounded, subnormal numbers kept, and saturated. Edges:

- zeros: the scale of a block whose largest magnitude is 2**-126;
- a tiny block: s is -127 and no lower; elements lose precision, and in the end become zeros;
- a huge block (above what float32 has): s is 127 and no higher, elements saturate. microxcaling makes such a block NaN;
  code 255 of E8M0, the NaN, is never written;
- the sign of a negative element that rounds to zero is kept where the elements have one.

All steps are exact: only the rounding rounds. microxcaling takes the logarithm in float32, which lets a number within 1 in
10**7 below a power of two count as that power.
"""

from __future__ import annotations

import numpy as np

from hw.formats import Format
from hw.formats.scales import E8M0_BIAS
from sim.quantise.quantised import Blocks, Quantised, by_blocks, largest

ROUNDINGS = ("even", "nearest", "floor")
"""Ties to even; ties away from zero; towards zero."""
SCALINGS = ("floor", "ceiling")
"""``floor`` is the standard's. ``ceiling`` takes the smallest power of two at which nothing saturates."""
ZEROS = -126
"""Logarithm of the largest magnitude of a block that has none: float32's smallest normal number."""


def quantise(
    format: Format, matrix: np.ndarray, *, rounding: str = "even", scaling: str = "floor"
) -> Quantised:
    """By the rule above; ``rounding`` out of ``ROUNDINGS``, ``scaling`` out of ``SCALINGS``."""
    for what, value, allowed in (("rounding", rounding, ROUNDINGS), ("scaling", scaling, SCALINGS)):
        if value not in allowed:
            raise ValueError(f"{what} must be one of {', '.join(allowed)}, not {value!r}")
    exponents = floor_exponents if scaling == "floor" else ceiling_exponents

    def work(blocks: np.ndarray) -> tuple[np.ndarray, ...]:
        scales = np.exp2(exponents(format, largest(blocks)))
        return rounded_codes(format, blocks / scales[..., None], rounding), scales

    codes, scales = by_shares(format, matrix, work)
    return Quantised(format=format, codes=codes, scales=scales)


def by_shares(format: Format, matrix: np.ndarray, work: Blocks) -> tuple[np.ndarray, ...]:
    """``by_blocks``, a tensor with one scale being one block."""
    flat = matrix.reshape(1, -1) if format.shared == "tensor" else matrix
    codes, *others = by_blocks(format, flat, work)
    return codes.reshape(matrix.shape), *others


def floor_exponents(format: Format, peaks: np.ndarray) -> np.ndarray:
    """Logarithms of scales: the largest magnitude's binade is the largest element value's."""
    binades = np.where(peaks > 0, np.frexp(peaks)[1] - 1, ZEROS)
    return np.clip(binades - (np.frexp(_most(format))[1] - 1), -E8M0_BIAS, E8M0_BIAS)


def ceiling_exponents(format: Format, peaks: np.ndarray) -> np.ndarray:
    """Logarithms of scales: the least whole number at which the largest magnitude is no more than the largest element value.

    After fouroversix (reference.py, MXFP4): -126 and no lower, but a block of zeros has -127.
    """
    mantissas, exponents = np.frexp(peaks)
    mantissa, exponent = np.frexp(_most(format))
    return np.where(
        peaks > 0, np.clip(exponents - exponent + (mantissas > mantissa), ZEROS, E8M0_BIAS), -E8M0_BIAS
    )


def _most(format: Format) -> float:
    return format.maximum * 2.0**format.unit


def rounded_codes(format: Format, scaled: np.ndarray, rounding: str, selector: int = 0) -> np.ndarray:
    """The codes of ``scaled`` (units of the elements, not of the format's integers), saturated.

    A magnitude is one that the format has with either sign, so that two's complement has no -2**(bits - 1). Magnitudes and
    their codes count up together, and the first code is 0: the even one of two neighbours is the even mantissa.
    """
    numbers = np.flatnonzero([value is not None for value in format.tables[selector]])
    integers = format.decode(numbers, selector)
    levels = np.unique(integers[integers >= 0])
    positive = np.array([numbers[integers == level].min() for level in levels], dtype=format.code_type)
    negative = np.array([numbers[integers == -level].max() for level in levels], dtype=format.code_type)
    magnitudes = np.abs(scaled) / 2.0**format.unit
    if rounding == "floor":
        place = np.searchsorted(levels, magnitudes, side="right") - 1
    else:
        middles = (levels[1:] + levels[:-1]) / 2
        place = np.searchsorted(middles, magnitudes, side="left" if rounding == "even" else "right")
        if rounding == "even":
            tie = middles[np.minimum(place, len(middles) - 1)] == magnitudes
            place += tie & (place & 1 == 1)
    return np.where(np.signbit(scaled), negative[place], positive[place])
