"""Integers by the largest magnitude: symmetric, asymmetric with a zero point, and bipolar.

The scale is the nearest number of its type. Where that one, having been rounded up, leaves the outermost code unused, it is the
next smaller one: so a quantised matrix, quantised again, stays as it is. What a scale at the end of its type's range cannot
reach saturates; what is below half of the smallest one becomes 0 (or, bipolar, that much).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hw.formats import Format
from hw.formats.scales import decode, encode, rounded
from sim.quantise import half
from sim.quantise.quantised import Quantised, by_blocks, largest, nearest
from sim.quantise.second_level import with_scales

ARITHMETICS = ("exact", "fp16")
A_LITTLE = 2.0**-50
"""Share of a scale that moves what lies in the middle between two integers to a certain side."""


def symmetric(format: Format, matrix: np.ndarray, *, arithmetic: str = "exact") -> Quantised:
    """``codes = round(x / scale)`` with ``scale = largest magnitude / (2**(bits - 1) - 1)``, ties to even.

    The most negative code is not used. A block of zeros has scale 1. FlexQ's INT6 is this, in groups.

    A format with 8-bit scales has codes chosen by scales that are neither kept within limits nor rounded. Each then becomes a
    multiple of the row's largest over 255, ties to even: 0, if it is half of that or less, or the block is zeros.

    Parameters
    ----------
    arithmetic : str
        "exact", or "fp16" for that of BitMoD's code: every operation in half precision (``ValueError`` for what is beyond),
        the scale kept from 1e-5 to 1e4, but for 8-bit scales.

    Reference
    ---------
    BitMoD, Chen et al., HPCA 2025, equation 1 and section III-C; its code's ``quant_int``. FlexQ (arXiv 2508.04405).
    """
    most, two_levels = format.maximum, format.scale == "int8"

    def work(blocks: np.ndarray) -> tuple[np.ndarray, ...]:
        if arithmetic == "fp16":
            integers, scales = half.symmetric(format.bits, blocks, kept=not two_levels)
            # 0/0 in a block of zeros
            integers = np.where(np.isnan(integers), 0, integers)
        else:
            peak = largest(blocks)
            if two_levels:
                scales = peak / most
            else:
                scales = _scales(format, peak / most, lambda scales: np.rint(peak / scales) >= most)
            integers = np.rint(blocks / np.where(scales > 0, scales, 1)[..., None])
            integers = np.clip(integers, -most, most)
        return format.encode(integers), scales.astype(np.float64)

    matrix = _prepared(arithmetic, matrix)
    codes, scales = by_blocks(format, matrix, work)
    return with_scales(format, codes, scales, arithmetic=arithmetic)


def asymmetric(format: Format, matrix: np.ndarray, *, arithmetic: str = "exact") -> Quantised:
    """``codes = round(x / scale) + zero`` with ``scale = range / (2**bits - 1)`` and ``zero = round(-smallest / scale)``.

    Ties go to even. The range is that from the smallest to the largest element, widened to contain 0, so that 0 has a code and a
    zero point of ``bits`` bits is enough. A block of zeros has scale 1 and zero point 0; of a range too wide for any scale the
    lower end is kept.

    A format with 8-bit scales has codes and zero points chosen by scales that are not rounded, as for ``symmetric``; where both
    ends of the range lie in the middle between two codes the scale is a little smaller, so that the outermost codes are used.

    Parameters
    ----------
    arithmetic : str
        "exact", or "fp16" for that of BitMoD's code: as for ``symmetric``, the range not widened but the zero point clamped
        (so that a block of one sign is mostly lost).

    Reference
    ---------
    Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference, Jacob et al., CVPR 2018,
    section 3 (range that contains 0); BitMoD's code's ``quant_int_asym``.
    """
    most, two_levels = format.maximum, format.scale == "int8"

    def work(blocks: np.ndarray) -> tuple[np.ndarray, ...]:
        if arithmetic == "fp16":
            integers, scales, zeros = half.asymmetric(format.bits, blocks, kept=not two_levels)
            # 0/0 in a block of zeros
            integers, zeros = (np.where(np.isnan(each), 0, each) for each in (integers, zeros))
            return format.encode(integers), scales.astype(np.float64), zeros.astype(np.float64)
        low, high = np.minimum(blocks.min(axis=-1), 0), np.maximum(blocks.max(axis=-1), 0)

        def full(scales: np.ndarray) -> np.ndarray:
            return np.rint(high / scales) - np.rint(low / scales) >= most

        # A range may be infinite: its scale is the largest one.
        with np.errstate(over="ignore"):
            ideal = (high - low) / most
        if two_levels:
            ideal = np.where(np.isfinite(ideal), ideal, high / most - low / most)
            scales = np.where(full(np.where(ideal > 0, ideal, 1)), ideal, ideal * (1 - A_LITTLE))
        else:
            scales = _scales(format, ideal, full)
        units = np.where(scales > 0, scales, 1)
        zeros = np.clip(np.rint(-low / units), 0, most)
        integers = np.clip(np.rint(blocks / units[..., None]) + zeros[..., None], 0, most)
        return format.encode(integers), scales, zeros

    matrix = _prepared(arithmetic, matrix)
    codes, scales, offsets = by_blocks(format, matrix, work)
    return with_scales(format, codes, scales, offsets=offsets, arithmetic=arithmetic)


def bipolar(format: Format, matrix: np.ndarray) -> Quantised:
    """The nearest odd integer of ``x / scale`` with ``scale = largest magnitude / (2**bits - 1)``; ties go to the lower one.

    There is no 0: a block of zeros has scale 0. 8-bit scales are rounded as for ``symmetric``. Integers that are there already
    convert without loss: ``from_signed``.

    Reference
    ---------
    Arbitrary-precision bipolar-INT, arXiv 2409.17870.
    """
    most = format.maximum

    def work(blocks: np.ndarray) -> tuple[np.ndarray, ...]:
        peak = largest(blocks)
        if format.scale == "int8":
            scales = peak / most
        else:
            scales = _scales(format, peak / most, lambda scales: peak / scales > most - 1)
        codes = nearest(format, blocks / np.where(scales > 0, scales, 1)[..., None])
        return codes, np.where(peak > 0, scales, 0.0)

    codes, scales = by_blocks(format, matrix, work)
    return with_scales(format, codes, scales)


def from_signed(bits: int, codes: np.ndarray) -> np.ndarray:
    """The code of the bipolar integer ``2 * w + 1`` for the two's complement code of ``w``.

    Nothing is lost: ``sum(x * w) = (sum(x * (2 * w + 1)) - sum(x)) / 2``.
    """
    codes = np.asarray(codes)
    if codes.size and not 0 <= int(codes.min()) <= int(codes.max()) < 1 << bits:
        raise ValueError(f"codes must be 0 to {(1 << bits) - 1}, not {codes.min()} to {codes.max()}")
    return codes ^ (1 << bits - 1)


def _prepared(arithmetic: str, matrix: np.ndarray) -> np.ndarray:
    """In the precision that is worked in."""
    if arithmetic not in ARITHMETICS:
        raise ValueError(f"arithmetic must be one of {', '.join(ARITHMETICS)}, not {arithmetic!r}")
    return half.halves(matrix) if arithmetic == "fp16" else matrix


def _scales(format: Format, ideal: np.ndarray, full: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Numbers of the type of scale for ``ideal`` ones, 1 for 0; ``full`` says with which scales the outermost code is used."""
    scales = rounded(format.scale, np.where(ideal > 0, ideal, 1.0))
    codes = encode(format.scale, scales)
    below = decode(format.scale, np.maximum(codes, 1) - 1)
    return np.where(full(scales) | (ideal == 0) | (below == 0), scales, below)
