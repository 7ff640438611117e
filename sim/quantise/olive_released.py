"""What the code released with OliVe computes, number for number: clevercool/ANT-Quantization at bc84067, antquant.

It computes in single precision, on grids scaled so that 32 divides normal values from outliers, and returns real numbers: it has
neither codes nor packing. Differences from the paper: both elements of a pair may be outliers, then the even one stays whatever
their sizes; outliers of 8 bits have 2 bits of exponent and 5 of mantissa. Sums go in the order of PyTorch on one thread
(``sim.quantise.sums``), since the search for a threshold hangs on their last bits.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from sim.quantise import sums

BOUNDARY = 32
"""Magnitudes above it are outliers."""
FAR = 102_400
"""What is farther than this from every entry of a grid is taken for 0, as not-a-number is."""
SEARCH = (75, 250, 2)
"""Range of the thresholds tried, in percent of the one at 3 standard deviations: those of its scripts."""
ADAPTIVE_BITS = 6
"""Up to these many bits the type of the normal values is chosen; above it is int."""
CHUNK = 1 << 16
"""Elements worked on at a time where rows do not depend on each other, for the sake of caches."""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The numbers that elements are rounded to.

    Parameters
    ----------
    bits : int
    signed : bool
    mode : str
        Type of the normal values: "int" or "flint".
    """

    bits: int
    signed: bool
    mode: str

    @property
    def magnitude_bits(self) -> int:
        """Bits without the sign."""
        return self.bits - self.signed

    def _both(self, magnitudes: list[float]) -> np.ndarray:
        negative = [-v for v in magnitudes if v] if self.signed else []
        return np.array(sorted({*magnitudes, *negative}), np.float32)

    @cached_property
    def normal(self) -> np.ndarray:
        """Rising. flint: as many bits of mantissa as its exponent leaves, fewer the farther that is from 1."""
        bits = self.magnitude_bits
        if self.mode == "int":
            return self._both([0.0, *(v * BOUNDARY / 2**bits for v in range(1, 2**bits))])
        magnitudes = [0.0, float(BOUNDARY)]
        for exponent in range(1 - bits, bits - 1):
            steps = 2 ** (bits - 1 + exponent if exponent < 0 else bits - 2 - exponent)
            unit = BOUNDARY * 2.0 ** (exponent - (bits - 1))
            magnitudes += [unit * (1 + step / steps) for step in range(steps)]
        return self._both(magnitudes)

    @cached_property
    def outliers(self) -> np.ndarray:
        """Rising: 2 bits of exponent, the rest mantissa; the least, which is the boundary itself, is left out."""
        steps = 2 ** (self.magnitude_bits - 2)
        return self._both([
            BOUNDARY * 2.0**exponent * (1 + step / steps)
            for exponent in range(4)
            for step in range(steps)
            if exponent or step
        ])  # fmt: skip

    @cached_property
    def _cells(self) -> tuple[float, int, np.ndarray]:
        """Cells between multiples of half the finest spacing: how many to 1, the index of the first, and the level of each.

        Every middle between two levels is such a multiple: a cell belongs to one level.
        """
        levels = np.union1d(self.normal, self.outliers)
        per_unit = 2 / float(np.diff(levels).min())
        middles = (levels[1:] + levels[:-1]) / 2 * per_unit
        first = int(middles[0]) - 1
        cells = np.arange(first, int(middles[-1]) + 1)
        return per_unit, first, levels[np.searchsorted(middles, cells, side="right")]

    def nearest(self, numbers: np.ndarray) -> np.ndarray:
        """The nearest level (float32) of each; with an unsigned grid, of numbers that are not negative.

        Their loop runs over the normal values, then over the outliers, both rising, and a later entry wins a tie: the upper
        level, except that an outlier below wins over the normal value above it.
        """
        per_unit, first, levels = self._cells
        distant = ~(np.abs(numbers) <= FAR + self.outliers[-1])
        if distant.any():
            numbers = np.where(distant, np.float32(0), numbers)
        place = np.floor(numbers * np.float32(per_unit))
        np.clip(place, first, first + len(levels) - 1, out=place)
        place -= first
        result = levels[place.astype(np.intp)]
        if self.signed:
            result[numbers == -(self.normal[-1] + self.outliers[self.outliers > 0][0]) / 2] = self.outliers[
                self.outliers < 0
            ][-1]
        return result

    def levels(self, numbers: np.ndarray) -> np.ndarray:
        """The nearest levels, victims being 0. Neighbours are those in the whole of ``numbers``, read row by row.

        In a pair the odd element is a victim when the even one is an outlier, else the even one when the odd one is. Of an odd
        number of elements the last one pairs with the first, as theirs does.
        """
        levels = self.nearest(numbers)
        flat = levels.reshape(-1)
        outlier = np.abs(flat) > BOUNDARY
        kept = np.ones(len(flat), np.float32)
        pairs = len(flat) // 2 * 2
        even, odd = outlier[0:pairs:2], outlier[1:pairs:2]
        kept[1:pairs:2] = ~even
        kept[0:pairs:2] = ~(odd & ~even)
        if pairs < len(flat):
            kept[-1] = not outlier[0]
        # Adding 0 takes the sign off the zeros of victims.
        return (flat * kept + np.float32(0)).reshape(levels.shape)

    def scaled(self, alpha: np.ndarray) -> np.ndarray:
        """What 1 of the grid is worth when its largest normal value is to be ``alpha``."""
        return alpha / self.normal[-1]

    def forward(self, data: np.ndarray, alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The result in their straight-through form, which rounds thrice, and the levels."""
        scale = self.scaled(alpha)
        numbers = data / scale
        levels = self.levels(numbers)
        return ((levels - numbers) + numbers) * scale, levels


@dataclass(frozen=True, kw_only=True, eq=False)
class Released:
    """What came of a tensor: the result, the threshold of each row (or of the tensor), the grid, and the levels on it."""

    y: np.ndarray = field(repr=False)
    alpha: np.ndarray = field(repr=False)
    grid: Grid
    levels: np.ndarray = field(repr=False)

    @property
    def mode(self) -> str:
        """Type of the normal values."""
        return self.grid.mode

    @property
    def signed(self) -> bool:
        """Whether the grid has negative numbers."""
        return self.grid.signed


def replay(
    data: np.ndarray,
    *,
    bits: int,
    activations: bool = False,
    mode: str = "ant-int-flint",
    search: tuple[int, int, int] = SEARCH,
) -> Released:
    """Their ``TensorQuantizer`` on ``data`` [rows, K], which is taken in single precision.

    Weights have a threshold for each row and are signed; activations have one for all, and are signed if one is negative.
    ``mode`` is a type of normal values, or "ant-int-flint" for the better one. A row without spread and mean has threshold 0
    and comes out as not-a-number, as does a row of one element.
    """
    if mode not in ("int", "flint", "ant-int-flint"):
        raise ValueError(f"mode must be int, flint or ant-int-flint, not {mode!r}")
    data = np.asarray(data, np.float32)
    signed = not activations or bool(data.min() < 0)
    with np.errstate(all="ignore"):
        if bits > ADAPTIVE_BITS:
            mode = "int"
        tried = {}
        for each in ("int", "flint") if mode == "ant-int-flint" else (mode,):
            grid = Grid(bits=bits, signed=signed, mode=each)
            tried[grid] = least_error(grid, data, activations, range(*search))
        grid = min(tried, key=lambda grid: tried[grid][0])
        alpha = tried[grid][1]
        y, levels = grid.forward(data, alpha)
    return Released(y=y, alpha=alpha, grid=grid, levels=levels)


def three_sigma(data: np.ndarray, *, whole: bool = False) -> np.ndarray:
    """Larger magnitude of the mean +- 3 standard deviations (float32), of each row.

    The mean is theirs in single precision. The deviation is accumulated in double precision, about the exact mean; but about the
    single-precision one when it is that of the ``whole`` tensor: PyTorch has a way of its own for that.
    """
    count = data.shape[1]
    mean = sums.mean(data)
    exact = data.astype(np.float64)
    middle = mean[:, None] if whole else exact.mean(axis=1, keepdims=True)
    squares = ((exact - middle) ** 2).sum(axis=1)
    deviation = np.sqrt(squares / np.float64(count - 1)).astype(np.float32)
    return np.maximum(np.abs(mean + 3 * deviation), np.abs(mean - 3 * deviation))


def least_error(grid: Grid, data: np.ndarray, whole: bool, percents: range) -> tuple[np.ndarray, np.ndarray]:
    """The least error (its sum over rows), and the first threshold that has it: of each row, or of the whole."""
    rows, depth = data.shape
    if whole:
        start = three_sigma(data.reshape(1, -1), whole=True)[0]
        score, alpha = _least(grid, data, start, percents, whole)
        return score, alpha
    step = max(1, CHUNK // depth) if depth % 2 == 0 else rows
    start = three_sigma(data)[:, None]
    found = [
        _least(grid, data[first : first + step], start[first : first + step], percents, whole)
        for first in range(0, rows, step)
    ]
    scores = np.concatenate([score for score, _ in found])
    return sums.total(scores.reshape(-1)), np.concatenate([alpha for _, alpha in found])


def _least(
    grid: Grid, data: np.ndarray, start: np.ndarray, percents: range, whole: bool
) -> tuple[np.ndarray, np.ndarray]:
    best, found = np.full_like(start, 1e10), start.copy()
    for percent in percents:
        alpha = start * np.float32(percent * 0.01)
        error = np.abs(grid.forward(data, alpha)[0] - data) ** 2
        score = sums.mean(error.reshape(-1) if whole else error).reshape(start.shape)
        better = score < best
        found, best = np.where(better, alpha, found), np.where(better, score, best)
    return best, found
