"""BitMoD's rule: every special value is tried on every block, and the one with the least squared error kept.

Reference: BitMoD, Chen et al., HPCA 2025, sections III-B (algorithm 1) and III-C; released code
abdelfattah-lab/BitMoD-HPCA-25 at e445a5f, ``search_datatype``. For each table of the format, in order (er +, er -, ea +, ea -):

1. the scale is the block's largest magnitude, whatever its sign, over the table's, kept between 1e-5 and 1e4, in half precision.
   So with extra asymmetry a block whose largest value is on the other side is clipped;
2. every element over the scale goes to the nearest level, ties to the lower (more negative) one;
3. the table replaces those before it if its error is strictly smaller.

Edges: a block of zeros has the smallest scale and the first table; one of magnitudes below about 5e-6 becomes zeros; one beyond
what the largest scale reaches is clipped. With 8-bit scales there are no such limits, and a block of zeros has scale 0.

Scales are published for integer levels: those of FP4 here are twice theirs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from hw.formats import Format
from hw.formats.scales import rounded
from sim.quantise import half
from sim.quantise.quantised import Quantised, by_blocks, largest
from sim.quantise.second_level import multiples

Candidate = Callable[[np.ndarray, np.ndarray, str], tuple[np.ndarray, np.ndarray, np.ndarray]]
"""(levels, blocks, type of scale) to the places of the nearest levels, scales, errors."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Search:
    """What the search found, block by block.

    Parameters
    ----------
    codes : uint8 [rows, K]
    scales : float64 [rows, blocks]
        0 where nothing was chosen.
    chosen : int8 [rows, blocks]
        The table, or -1: half precision only (see ``search``).
    errors : float64 or float16 [rows, blocks, tables]
        Mean squared errors that the choice was made by; exact ones of the block over the power of two above its magnitudes.
    """

    codes: np.ndarray = field(repr=False)
    scales: np.ndarray = field(repr=False)
    chosen: np.ndarray = field(repr=False)
    errors: np.ndarray = field(repr=False)


def quantise(format: Format, matrix: np.ndarray, *, arithmetic: str = "exact") -> Quantised:
    """``arithmetic`` is one of ``ARITHMETICS``: "exact", or "fp16" as in the released code (see ``search``).

    A format with 8-bit scales has codes and tables chosen by scales that are neither kept within limits nor rounded. Each then
    becomes a multiple of the row's largest over 255, ties to even: 0, if it is half of that or less, or the row is zeros. (The
    development repository's code, yc2367/BitMoD at b18cacb, rounds before it chooses, with another unit for every table: one row
    may have four.)

    Quantising the values again changes nothing, but for the mixed formats with 8-bit scales.
    """
    found = search(format, matrix, arithmetic=arithmetic)
    scales, outer = found.scales, None
    if format.scale == "int8":
        # of integer levels, since half precision is not the same for twice a tiny unit
        scales, outer = multiples(scales * 2.0**format.unit, arithmetic)
        outer = outer * 2.0**-format.unit
    selectors = np.maximum(found.chosen, 0).astype(np.uint8)
    return Quantised(format=format, codes=found.codes, scales=scales, selectors=selectors, outer=outer)


def search(format: Format, matrix: np.ndarray, *, arithmetic: str = "exact") -> Search:
    """Codes, scales and tables by the rule above.

    "exact": in double precision, only a scale of that type being rounded to half.

    "fp16": every step as in the released code; ``matrix`` is rounded to half precision first (``ValueError`` if that makes an
    element infinite). So ties and choices differ, and a block whose error is 1000 or more under every table is lost: it has no
    table, scale 0 and codes of 0.
    """
    if arithmetic not in ARITHMETICS:
        raise ValueError(f"arithmetic must be one of {', '.join(ARITHMETICS)}, not {arithmetic!r}")
    candidate, limit = ARITHMETICS[arithmetic]
    if arithmetic == "fp16":
        matrix = half.halves(matrix)

    def work(blocks: np.ndarray) -> tuple[np.ndarray, ...]:
        codes = np.zeros(blocks.shape, format.code_type)
        scales = np.zeros(blocks.shape[:2])
        chosen = np.full(blocks.shape[:2], -1, np.int8)
        least = np.full(blocks.shape[:2], limit)
        errors = []
        for table in range(len(format.tables)):
            levels, by_place = format.levels(table)
            places, scale, error = candidate(levels, blocks, format.scale)
            better = error < least
            codes[better] = by_place[places[better]]
            scales[better], chosen[better], least[better] = scale[better], table, error[better]
            errors.append(error)
        return codes, scales * 2.0**-format.unit, chosen, np.stack(errors, axis=-1)

    codes, scales, chosen, errors = by_blocks(format, matrix, work)
    return Search(codes=codes, scales=scales, chosen=chosen, errors=errors)


@dataclass(frozen=True, kw_only=True)
class Differences:
    """What half precision makes of a matrix, beside exact arithmetic.

    Parameters
    ----------
    tables, levels : float
        Shares of the blocks with another table, and of the elements on another level.
    exact, fp16 : float
        Mean squared errors.
    """

    tables: float
    levels: float
    exact: float
    fp16: float

    def __str__(self) -> str:
        ratio = f" ({self.fp16 / self.exact - 1:+.3%})" if self.exact else ""
        return (
            f"{self.tables:.2%} of blocks with another table, {self.levels:.2%} of elements on another level, "
            f"mean squared error {self.fp16:.6g} instead of {self.exact:.6g}{ratio}"
        )


def differences(format: Format, matrix: np.ndarray) -> Differences:
    """How the two arithmetics differ on a ``matrix`` [rows, K] (finite), rounded to half precision first."""
    matrix = half.halves(matrix).astype(np.float64)
    exact, fp16 = (search(format, matrix, arithmetic=name) for name in ARITHMETICS)
    wanted, got = (quantise(format, matrix, arithmetic=name) for name in ARITHMETICS)
    return Differences(
        tables=float(np.mean(exact.chosen != fp16.chosen)), levels=float(np.mean(wanted.levels() != got.levels())),
        exact=float(np.square(wanted.values() - matrix).mean()), fp16=float(np.square(got.values() - matrix).mean()),
    )  # fmt: skip


def _exact(levels: np.ndarray, blocks: np.ndarray, scale: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    peak = largest(blocks)
    scales = peak / np.abs(levels).max()
    if scale == "fp16":
        scales = rounded(scale, np.clip(scales, float(half.SMALLEST), float(half.LARGEST)))
    middles = (levels[1:] + levels[:-1]) / 2
    places = np.searchsorted(middles, blocks / np.where(scales > 0, scales, 1)[..., None], side="left")
    # over a power of two, for squares that neither overflow nor vanish
    difference = np.ldexp(levels[places] * scales[..., None] - blocks, -np.frexp(peak)[1][..., None])
    return places, scales, np.square(difference).mean(axis=-1)


def _fp16(levels: np.ndarray, blocks: np.ndarray, scale: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    scales = half.scales(blocks, int(np.abs(levels).max()), kept=scale == "fp16")
    places = half.places(levels, blocks, scales)
    return places, scales, half.error(half.times(levels[places], scales), blocks)


ARITHMETICS: dict[str, tuple[Candidate, float | np.float16]] = {
    "exact": (_exact, np.inf),
    "fp16": (_fp16, half.LIMIT),
}
"""By name: what is done with each table, and the error from which on nothing is chosen."""
