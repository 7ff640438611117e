"""A quantised matrix: codes, and everything that gives them a value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from hw.formats import Format, Operand
from hw.formats.operand import FLOAT_SCALES


@dataclass(frozen=True, kw_only=True, eq=False)
class Quantised:
    """Rows are output features or tokens; blocks run along K, the last one perhaps short.

    Parameters
    ----------
    format : Format
    codes : uint8 or uint16 [rows, K]
    scales : float64 [rows or 1, blocks], "blocks" being 1 unless the format has some
        Each a number that the format's type of scale has.
    selectors : uint8 [rows, blocks], for formats with more than one table
    offsets : float64 [rows or 1, blocks], for asymmetric formats: whole numbers (zero) or half-precision ones (minimum)
    outer : float64 [rows or 1, 1], for formats with a second scale
    """

    format: Format
    codes: np.ndarray = field(repr=False)
    scales: np.ndarray = field(repr=False)
    selectors: np.ndarray | None = field(default=None, repr=False)
    offsets: np.ndarray | None = field(default=None, repr=False)
    outer: np.ndarray | None = field(default=None, repr=False)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and K."""
        return self.codes.shape[0], self.codes.shape[1]

    def spread(self, each: np.ndarray) -> np.ndarray:
        """What blocks have, element by element: [rows or 1, blocks] to [rows or 1, K] (or 1 when rows have no blocks)."""
        return each.repeat(self.format.block, axis=1)[:, : self.shape[1]] if self.format.block else each

    def levels(self) -> np.ndarray:
        """The integers that the codes stand for (int64 [rows, K]), zero points taken off."""
        selectors = 0 if self.selectors is None else self.spread(self.selectors)
        integers = self.format.decode(self.codes, selectors)
        if self.format.offset == "zero" and self.offsets is not None:
            integers = integers - self.spread(self.offsets).astype(np.int64)
        return integers

    def operand(self, *, depth_axis: int) -> Operand:
        """The codes as an array takes them: X [M, K] with ``depth_axis`` 1, W [K, N] with 0. ``row_scales`` are left out.

        Raises ``ValueError`` for a format whose blocks have scales of fp32, or with zero points or minima of rows.
        """
        format, floats = self.format, bool(self.format.block) and self.format.scale in FLOAT_SCALES
        if format.block and not floats and format.scale != "int8":
            raise ValueError(
                f"blocks of {format.name} must have scales of int8, {', '.join(FLOAT_SCALES)} for an operand, not {format.scale}"
            )
        zeros = format.offset == "zero" and bool(format.block)
        minimums = format.offset == "minimum" and floats
        if format.offset and not zeros and not minimums:
            raise ValueError(
                f"offset of {format.name} must be none for an operand, or one of blocks, not {format.offset!r}"
            )

        def turned(each: np.ndarray) -> np.ndarray:
            return each if depth_axis == 1 else np.ascontiguousarray(each.T)

        def of_blocks(each: np.ndarray) -> np.ndarray:
            return turned(np.broadcast_to(each, (self.shape[0], each.shape[1])))

        kind = FLOAT_SCALES[format.scale] if floats else np.int64
        scales = of_blocks(self.scales).astype(kind) if format.block else None
        offsets = None if self.offsets is None else of_blocks(self.offsets)
        return Operand(
            format=format,
            codes=turned(self.codes),
            depth_axis=depth_axis,
            scales=None if floats else scales,
            selectors=None if self.selectors is None else of_blocks(self.selectors),
            zeros=offsets.astype(np.int64) if zeros and offsets is not None else None,
            float_scales=scales if floats else None,
            minimums=offsets.astype(np.float16) if minimums and offsets is not None else None,
        )

    @property
    def row_scales(self) -> np.ndarray:
        """float64 [rows or 1], for formats that have an ``operand``: its ``numbers`` times these are the ``values``, exactly."""
        scales = np.ones((1, 1)) if self.format.block else self.scales
        return (scales if self.outer is None else scales * self.outer)[:, 0] * 2.0**self.format.unit

    def values(self) -> np.ndarray:
        """What it stands for: float64 [rows, K]. Exact but for the addition of a minimum, which rounds once."""
        scales = self.scales if self.outer is None else self.scales * self.outer
        result = self.levels() * (self.spread(scales) * 2.0**self.format.unit)
        if self.format.offset == "minimum" and self.offsets is not None:
            result = result + self.spread(self.offsets)
        return result


def checked(name: str, matrix: np.ndarray) -> np.ndarray:
    """``matrix`` as float64 if it is one that can be quantised.

    Raises ``ValueError`` that names the tensor, and the first element that is not finite.
    """
    matrix = np.asarray(matrix)
    if matrix.ndim != 2 or not matrix.size or matrix.dtype.kind not in "fiu":
        raise ValueError(
            f"{name} must be a matrix of numbers with 1 element or more, not {matrix.dtype} of shape {matrix.shape}"
        )
    matrix = matrix.astype(np.float64)
    wrong = np.argwhere(~np.isfinite(matrix))
    if len(wrong):
        place = tuple(map(int, wrong[0]))
        raise ValueError(f"{name} must be finite, not {matrix[place]} at {list(place)}")
    return matrix


Blocks = Callable[[np.ndarray], tuple[np.ndarray, ...]]


def by_blocks(format: Format, matrix: np.ndarray, work: Blocks) -> tuple[np.ndarray, ...]:
    """Have ``work`` done on the blocks of ``matrix`` [rows, K], and put the results together.

    ``work`` takes [rows, blocks, length] and returns the codes in that shape, then anything that blocks have [rows, blocks].
    It is called for the whole blocks and, when K ends within one, for the short last one: no padding can touch a block's
    statistics. A row is one block when blocks are not what shares a scale, or the matrix is: what blocks have then is [1, 1].
    The result has the codes as [rows, K].
    """
    if format.shared == "tensor":
        codes, *each = work(matrix.reshape(1, 1, -1))
        return codes.reshape(matrix.shape), *each
    rows, depth = matrix.shape
    block = format.block or depth
    whole = depth // block * block
    parts = []
    if whole:
        parts.append(work(matrix[:, :whole].reshape(rows, -1, block)))
    if whole < depth:
        parts.append(work(matrix[:, whole:].reshape(rows, 1, -1)))
    codes = np.concatenate([part[0].reshape(rows, -1) for part in parts], axis=1)
    return codes, *(np.concatenate(each, axis=1) for each in zip(*(part[1:] for part in parts), strict=True))


def nearest(format: Format, scaled: np.ndarray, selector: int = 0) -> np.ndarray:
    """The code of the level nearest to each of ``scaled`` (in units of the format's integers); ties go to the lower level."""
    levels, codes = format.levels(selector)
    middles = (levels[1:] + levels[:-1]) / 2
    return codes[np.searchsorted(middles, scaled, side="left")]


def largest(values: np.ndarray) -> np.ndarray:
    """Largest magnitude along the last axis."""
    return np.abs(values).max(axis=-1)
