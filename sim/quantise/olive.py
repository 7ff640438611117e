"""Outlier-victim pairs: a threshold for each scale, and who of a pair is an outlier, a victim or neither.

Reference: OliVe, Guo et al., ISCA 2023: pairs, abfloat, and a threshold that is searched for from 3 standard deviations on
for the least squared error; and the code released with it, which differs: ``sim.quantise.olive_released``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from hw.formats import Format, PairFormat, find
from hw.formats.scales import rounded
from sim.quantise import olive_released as released
from sim.quantise.quantised import Quantised, by_blocks, largest

RULES = ("paper", "released-code")
THRESHOLDS = ("nearest", "top")
SEARCH = (50, 250, 2)
"""Thresholds tried, in percent of the one at 3 standard deviations: the paper's start, our range."""
CHUNK = 1 << 15
"""Elements worked on at a time, for the sake of caches."""
SAMPLE = 64
"""Elements of a block that are looked at before all are."""


def quantise(
    format: Format,
    matrix: np.ndarray,
    *,
    rules: str = "paper",
    threshold: str = "nearest",
    search: tuple[int, int, int] | None = None,
) -> Quantised:
    """``matrix`` in a format of pairs.

    Parameters
    ----------
    rules : str
        "paper": both elements of a pair may be outliers, then the larger one stays (the even one of two equals).
        "released-code": the even one stays; the threshold is the one that the released code finds, in single precision. Its
        search pairs the elements of all rows in one sequence, which for an odd K is not how they are stored; and codes are
        signed, so that its unsigned grids (activations without a negative number) are not for them.
    threshold : str
        With rules = "paper", what an outlier is. "nearest": an element to which an outlier's value is at least as near as any
        normal one; "top": whatever is above the largest normal value.
    search : (first, end, step), optional
        Thresholds tried, in percent of max |mean +- 3 standard deviations|.

    Notes
    -----
    The threshold that is searched for is the largest normal value; the scale follows from it. Of those tried the one with the
    least squared error is taken, the smallest of equals. Ahead of all comes a scale with which nothing is lost, if there is one:
    what was quantised before stays as it is (but not with rules = "released-code"). Elsewhere:

    - halves go away from 0, and to the outlier between the two kinds; beyond the largest outlier everything is that outlier;
    - the last element of an odd row has no neighbour and takes the nearest normal value;
    - a block of zeros has scale 1; scales that would be too small or too large become the smallest or largest of their type, so
      that tiny elements become 0 and huge ones saturate.

    With rules = "released-code" the threshold is the largest magnitude (scale 1 for zeros) where theirs is 0 or not a number: no
    spread about 0, one element alone, or numbers outside single precision.

    Raises
    ------
    ValueError
        A format, rules, threshold or search that is not among those named; a format whose values are not those of the
        released code's grids.
    """
    if not isinstance(format, PairFormat):
        raise ValueError(f"format must be one of pairs, not {format.name}")
    if rules not in RULES:
        raise ValueError(f"rules must be {' or '.join(RULES)}, not {rules!r}")
    if threshold not in THRESHOLDS:
        raise ValueError(f"threshold must be {' or '.join(THRESHOLDS)}, not {threshold!r}")
    percents = range(*(search or (SEARCH if rules == "paper" else released.SEARCH)))
    if not percents or percents[0] < 1:
        raise ValueError(f"search must be of positive percentages, not {search}")
    if rules == "paper":
        known = magnitudes(format, threshold)
        codes, scales = by_blocks(format, matrix, lambda blocks: _paper(format, known, blocks, percents))
    else:
        grid, unit = released_grid(format)
        codes, scales = by_blocks(
            format, matrix, lambda blocks: _released(format, grid, unit, blocks, percents)
        )
    if format.shared == "tensor":
        scales = scales[:1]
    return Quantised(format=format, codes=codes, scales=scales)


def adaptive(
    matrix: np.ndarray,
    formats: tuple[Format | str, ...] = ("ovp4-int4", "ovp4-flint4"),
    *,
    rules: str = "paper",
) -> Quantised:
    """``matrix`` in that of ``formats`` which loses least (squared error), the first of equals: a type for each tensor (ANT)."""
    found = [quantise(find(each) if isinstance(each, str) else each, matrix, rules=rules) for each in formats]
    size = float(largest(matrix.reshape(-1))) or 1.0
    return min(found, key=lambda each: float(np.square((each.values() - matrix) / size).sum()))


@dataclass(frozen=True)
class PairCounts:
    """Pairs by how many of their elements are above the threshold."""

    normal_normal: int
    outlier_normal: int
    outlier_outlier: int

    @property
    def shares(self) -> tuple[float, float, float]:
        """The same as fractions of all pairs."""
        total = max(1, self.normal_normal + self.outlier_normal + self.outlier_outlier)
        return self.normal_normal / total, self.outlier_normal / total, self.outlier_outlier / total

    def __str__(self) -> str:
        names = ("normal-normal", "outlier-normal", "outlier-outlier")
        return ", ".join(f"{name} {share:.2%}" for name, share in zip(names, self.shares, strict=True))


def pair_counts(quantised: Quantised, matrix: np.ndarray, *, threshold: str = "nearest") -> PairCounts:
    """What the pairs of ``matrix`` were at the scales of ``quantised``. The last element of an odd row is in no pair."""
    if not isinstance(quantised.format, PairFormat):
        raise ValueError(f"format must be one of pairs, not {quantised.format.name}")
    limit = magnitudes(quantised.format, threshold).limit
    outlier = np.abs(matrix) / (quantised.spread(quantised.scales) * 2.0**quantised.format.unit) >= limit
    pairs = outlier.shape[1] // 2 * 2
    outliers = outlier[:, 0:pairs:2].astype(np.int64) + outlier[:, 1:pairs:2]
    return PairCounts(*(int((outliers == count).sum()) for count in range(3)))


class Magnitudes:
    """What a format has of either sign, and the nearest of these.

    Attributes
    ----------
    limit : float
        Elements from here on are outliers.
    """

    def __init__(self, format: PairFormat, threshold: str) -> None:
        self.normal = np.array([v for v in format.levels()[0] if v >= 0], np.float64)
        self.outliers = np.array(sorted(v for v in format.outliers if v is not None and v > 0), np.float64)
        self.top = self.normal[-1]
        self.limit = (
            (self.top + self.outliers[0]) / 2 if threshold == "nearest" else np.nextafter(self.top, np.inf)
        )
        # The middles between integers are multiples of 1/2: what lies between two such multiples goes to one level.
        halves = np.arange(2 * int(self.top) + 1) / 2
        self._cells = self.normal[np.searchsorted(_middles(self.normal), halves, side="right")]
        self._middles = _middles(self.outliers)

    def nearest(self, scaled: np.ndarray) -> np.ndarray:
        """The magnitudes (float64) that become of non-negative ``scaled`` [..., length], pairs along the last axis."""
        length = scaled.shape[-1]
        if length % 2:
            scaled = np.concatenate(
                [np.minimum(scaled, [*[np.inf] * (length - 1), self.top]), 0 * scaled[..., :1]], axis=-1
            )
        result = self._cells[np.minimum(scaled * 2, 2 * self.top).astype(np.intp)]
        flat, levels = scaled.reshape(-1), result.reshape(-1)
        outliers = np.flatnonzero(flat >= self.limit)
        sizes, beside = flat[outliers], flat[outliers ^ 1]
        kept = (sizes > beside) | ((sizes == beside) & (outliers % 2 == 0))
        levels[outliers[kept] ^ 1] = 0
        levels[outliers[kept]] = self.outliers[np.searchsorted(self._middles, sizes[kept], side="right")]
        return result[..., :length]


def _middles(levels: np.ndarray) -> np.ndarray:
    return (levels[1:] + levels[:-1]) / 2


@lru_cache
def magnitudes(format: PairFormat, threshold: str) -> Magnitudes:
    """Those of ``format``, made once."""
    return Magnitudes(format, threshold)


def _paper(
    format: PairFormat, known: Magnitudes, blocks: np.ndarray, percents: range
) -> tuple[np.ndarray, np.ndarray]:
    """Codes and scales of ``blocks`` [rows, blocks, length]."""
    tensor = format.shared == "tensor"
    peak = _joined(largest(blocks), tensor, np.max)
    # Powers of 2 are taken out, so that no square can overflow or vanish.
    exponent = np.frexp(peak)[1]
    sizes = np.ldexp(np.abs(blocks), -exponent[..., None])
    start = _three_sigma(np.ldexp(blocks, -exponent[..., None]), tensor)
    with np.errstate(over="ignore", under="ignore"):
        tried = [
            rounded(format.scale, np.ldexp(start * (percent / 100) / known.top, exponent - format.unit))
            for percent in percents
        ]
    # As the format's integers count them, in the units of ``sizes``.
    relative = [np.ldexp(scales, format.unit - exponent) for scales in tried]
    errors = np.empty((len(tried), *peak.shape))
    step = max(1, CHUNK // max(1, sizes[0].size))
    for first in range(0, len(sizes), step):
        rows = slice(first, first + step)
        for place, each in enumerate(relative):
            errors[place, rows] = _errors(known, sizes[rows], each[rows])
    errors = np.stack([_joined(each, tensor, np.sum) for each in errors])
    best = np.take_along_axis(np.stack(tried), errors.argmin(axis=0)[None], axis=0)[0]
    best = _lossless(format, known, sizes, peak, best)
    scales = np.where(peak > 0, best, 1.0)
    levels = known.nearest(sizes / np.ldexp(scales, format.unit - exponent)[..., None])
    return format.encode((levels * np.sign(blocks)).astype(np.int64)), scales


def _joined(each: np.ndarray, tensor: bool, how: Callable) -> np.ndarray:
    """What all blocks have in common if the tensor shares its scale."""
    return np.full_like(each, how(each)) if tensor else each


def _three_sigma(blocks: np.ndarray, tensor: bool) -> np.ndarray:
    """The larger magnitude of the mean +- 3 standard deviations; a single element has deviation 0."""
    axes = (0, 1, 2) if tensor else (2,)
    count = blocks.size if tensor else blocks.shape[2]
    mean = blocks.mean(axis=axes, keepdims=True)
    deviation = np.sqrt(((blocks - mean) ** 2).sum(axis=axes, keepdims=True) / max(1, count - 1))
    start = np.abs(mean) + 3 * deviation
    return np.broadcast_to(start, (*blocks.shape[:2], 1))[..., 0]


def _errors(known: Magnitudes, sizes: np.ndarray, relative: np.ndarray) -> np.ndarray:
    """Squared error of each block."""
    lost = known.nearest(sizes / relative[..., None])
    lost *= relative[..., None]
    lost -= sizes
    return np.einsum("...k,...k->...", lost, lost)


def _lossless(
    format: PairFormat, known: Magnitudes, sizes: np.ndarray, peak: np.ndarray, otherwise: np.ndarray
) -> np.ndarray:
    """A scale with which nothing of a block is lost, where there is one; else ``otherwise``.

    The block's largest magnitude must then be one of the format's, which leaves few scales.
    """
    tensor = format.shared == "tensor"
    result = otherwise.copy()
    exponent = np.frexp(peak)[1]
    few = sizes[..., :: -(-sizes.shape[-1] // SAMPLE)]
    for level in (*known.normal[1:], *known.outliers):
        with np.errstate(over="ignore", under="ignore"):
            scales = rounded(format.scale, peak / level / 2.0**format.unit)
            relative = np.ldexp(scales, format.unit - exponent)
            places = np.nonzero((peak > 0) & (relative * level == np.ldexp(peak, -exponent)))
        sample = few[places] / relative[places][:, None]
        whole = (sample == np.rint(sample)).all(axis=1)
        places = tuple(axis[whole] for axis in places)
        lost = _errors(known, sizes[places], relative[places])
        if not tensor:
            places = tuple(axis[lost == 0] for axis in places)
        elif len(lost) < peak.size or lost.any():
            continue
        result[places] = scales[places]
    return result


def released_grid(format: PairFormat) -> tuple[released.Grid, float]:
    """The released code's grid that has the format's levels, and what the format's 1 is on it."""
    for mode in ("int", "flint"):
        grid = released.Grid(bits=format.bits, signed=True, mode=mode)
        normal = format.levels()[0]
        unit = float(grid.normal[-1]) / int(normal[-1])
        outliers = sorted(v for v in format.outliers if v is not None)
        if np.array_equal(normal * unit, grid.normal) and np.array_equal(
            np.array(outliers) * unit, grid.outliers
        ):
            return grid, unit
    raise ValueError(
        f"rules of format {format.name} must be 'paper', not 'released-code', whose outliers are others"
        + (" (those of ovp8-int8-e2m5)" if format.bits == 8 else "")
    )


def _released(
    format: PairFormat, grid: released.Grid, unit: float, blocks: np.ndarray, percents: range
) -> tuple[np.ndarray, np.ndarray]:
    tensor = format.shared == "tensor"
    each = blocks.reshape(-1, blocks.shape[-1])
    with np.errstate(all="ignore"):
        data = each.astype(np.float32)
        alpha = np.broadcast_to(released.least_error(grid, data, tensor, percents)[1], (len(each), 1))
        scale = grid.scaled(alpha)
        found = np.isfinite(scale) & (scale > 0)
        numbers = data / scale
        peak = _joined(largest(each)[:, None], tensor, np.max)
        spare = rounded("fp32", np.where(peak > 0, peak / grid.normal[-1], 1 / unit))
        bound = float(grid.outliers[-1])
        numbers = np.where(found, numbers, np.clip(each / spare, -bound, bound).astype(np.float32))
    pairs = each.shape[1] // 2 * 2
    top = grid.normal[-1]
    levels = np.concatenate(
        [grid.levels(numbers[:, :pairs]), grid.nearest(np.clip(numbers[:, pairs:], -top, top))], axis=1
    )
    scales = rounded(format.scale, np.where(found, scale, spare).astype(np.float64) * unit)
    integers = (levels / np.float32(unit)).astype(np.int64)
    return format.encode(integers).reshape(blocks.shape), scales.reshape(blocks.shape[:2])
