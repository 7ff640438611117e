"""Half-precision arithmetic, step by step as in the code that was published with BitMoD.

That code (abdelfattah-lab/BitMoD-HPCA-25, ``bitmod_quant/quant_utils/quant_weight.py`` at e445a5f) works on float16 tensors of
PyTorch, on a CPU: every step is computed in single precision and rounded once to half, which is what NumPy does with float16
too; the mean is the exception (see ``mean``). Infinities and NaN that a step makes are kept: what becomes of them is
part of the rule.

Here are the steps, for ``sim.quantise.bitmod``, and the whole rules of the plain formats that BitMoD is compared with
there. Blocks are float16 [rows, blocks, length] throughout, scales float16 [rows, blocks].
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np

from sim.quantise import sums

SMALLEST, LARGEST = np.float16(1e-5), np.float16(1e4)
"""Scales are kept between these."""
LIMIT = np.float16(1000)
"""A search keeps nothing whose error is this or more."""


@contextmanager
def ignoring() -> Iterator[None]:
    """No warnings of what becomes infinite or NaN."""
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        yield


def halves(matrix: np.ndarray) -> np.ndarray:
    """``matrix`` (finite) rounded to float16.

    Raises ``ValueError`` for an element that would become infinite.
    """
    with ignoring():
        result = matrix.astype(np.float16)
    wrong = np.argwhere(~np.isfinite(result))
    if len(wrong):
        place = tuple(map(int, wrong[0]))
        raise ValueError(
            f"the matrix must be in half precision's range (65504), not {matrix[place]} at {list(place)}"
        )
    return result


@ignoring()
def scales(blocks: np.ndarray, most: int, *, kept: bool = True) -> np.ndarray:
    """Largest magnitudes over ``most``, the largest of the levels; between ``SMALLEST`` and ``LARGEST`` if ``kept``."""
    result = np.abs(blocks).max(axis=-1) / np.float16(most)
    return np.clip(result, SMALLEST, LARGEST) if kept else result


@ignoring()
def places(levels: np.ndarray, blocks: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Which of the rising ``levels`` is nearest to each element over its scale. Ties go to the lower level, 0/0 to 0."""
    scaled = blocks / scale[..., None]
    middles = (levels[1:] + levels[:-1]) / 2
    zero = int(np.searchsorted(levels, 0))
    return np.where(np.isnan(scaled), zero, np.searchsorted(middles, scaled, side="left"))


@ignoring()
def places_by_square(levels: np.ndarray, blocks: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """As ``places``, but by the squared difference in half precision (``AWQ-BitMoD/awq/quantize/auto_dtype.py``).

    Squares that round alike, or to infinity, are ties: the lowest level wins, as it does for 0/0.
    """
    scaled = blocks / scale[..., None]
    best = np.zeros(blocks.shape, np.int64)
    least = (scaled - np.float16(levels[0])) ** 2
    for place, level in enumerate(levels[1:], start=1):
        square = (scaled - np.float16(level)) ** 2
        better = square < least
        best[better], least[better] = place, square[better]
    return best


@ignoring()
def times(values: np.ndarray, *scales: np.ndarray) -> np.ndarray:
    """Values of blocks, which half precision has, times a scale [rows, blocks] or [rows, 1], times the next one."""
    result = values.astype(np.float16)
    for scale in scales:
        result = result * scale[..., None]
    return result


@ignoring()
def mean(values: np.ndarray) -> np.ndarray:
    """float16 mean along the last axis as PyTorch's: summed in single precision, divided, rounded once.

    The order of the sum (``sim.quantise.sums``) decides its last bit, and that, once in some thousand blocks, the result's.
    """
    return sums.mean(values.astype(np.float32)).astype(np.float16)


@ignoring()
def error(values: np.ndarray, blocks: np.ndarray) -> np.ndarray:
    """Mean squared difference of each block; infinite where half precision is exceeded."""
    difference = values - blocks
    return mean(difference * difference)


def least_error(blocks: np.ndarray, candidates: Iterable[np.ndarray]) -> np.ndarray:
    """Of each block the first of the candidates with the least error; zeros where none has one below 1000."""
    best, least = np.zeros_like(blocks), np.full(blocks.shape[:2], LIMIT)
    for values in candidates:
        found = error(values, blocks)
        better = found < least
        best[better], least[better] = values[better], found[better]
    return best


@ignoring()
def on_levels(levels: np.ndarray, blocks: np.ndarray) -> np.ndarray:
    """``blocks`` on a table's levels (``quant_datatype``): FP3, FP4, FP6, flint4."""
    scale = scales(blocks, int(np.abs(levels).max()))
    return times(levels[places(levels, blocks, scale)], scale)


@ignoring()
def symmetric(bits: int, blocks: np.ndarray, *, kept: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Integers of ``bits`` bits without the lowest (``quant_int``), ties to even, and their scales. Zero keeps its sign."""
    most = (1 << bits - 1) - 1
    scale = scales(blocks, most, kept=kept)
    return np.clip(np.rint(blocks / scale[..., None]), -most, most), scale


@ignoring()
def asymmetric(
    bits: int, blocks: np.ndarray, *, kept: bool = True
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Integers 0 to 2**bits - 1, their scales and their zero points, integers out of the same (``quant_int_asym``).

    Scales are between ``SMALLEST`` and ``LARGEST`` if ``kept``, otherwise finite.
    """
    most = np.float16((1 << bits) - 1)
    low, high = blocks.min(axis=-1), blocks.max(axis=-1)
    scale = (high - low) / most
    scale = np.clip(scale, SMALLEST, LARGEST) if kept else np.minimum(scale, np.finfo(np.float16).max)
    zero = np.clip(np.rint(-low / scale), 0, most)
    return np.clip(np.rint(blocks / scale[..., None]) + zero[..., None], 0, most), scale, zero


@ignoring()
def shared_exponent(levels: np.ndarray, blocks: np.ndarray) -> np.ndarray:
    """Levels times a power of two, such that the largest magnitude is at least half of what the levels reach (``quant_mx``).

    In single precision, which the factor 1/6 of FP4 rounds to; only the result is rounded to half. A block of zeros stays.
    """
    largest = np.abs(blocks).max(axis=-1, keepdims=True).astype(np.float32)
    power = np.ldexp(np.float32(1), np.frexp(largest)[1] - 1)
    unit = np.float32(2 / int(np.abs(levels).max()))
    middles = (levels[1:] + levels[:-1]) / 2
    scaled = blocks.astype(np.float32) / power / unit
    nearest = levels[np.searchsorted(middles, scaled, side="left")].astype(np.float32)
    return (nearest * unit * power).astype(np.float16)


@ignoring()
def second_level(bits: int, scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whole numbers 0 to 2**bits - 1 for the scales of a row, and the unit [rows, 1] that they count.

    After ``quant_weight_double.py`` of the development repository (yc2367/BitMoD at b18cacb).
    """
    most = np.float16((1 << bits) - 1)
    unit = scale.max(axis=1, keepdims=True) / most
    return np.clip(np.rint(scale / unit), 0, most), unit
