"""A matrix of codes: what packers, workloads and golden models hand to one another."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from hw.design import ceil_div
from hw.formats import scales as scale_types
from hw.formats.format import Format

Span = tuple[int, int]
"""First and one past the last."""
FLOAT_SCALES = {"fp16": np.float16, "e8m0": np.float64, "e4m3": np.float64}
"""Types of block scales that are no whole numbers, and of the arrays that hold them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Operand:
    """X [M, K] or W [K, N] in one format.

    Parameters
    ----------
    format : Format
    codes : array
        uint8, or uint16 for formats of more than 8 bits.
    depth_axis : int
        The axis that runs along K: 1 for X, 0 for W.
    scales : array of int64, optional
        What each block of ``format.block`` steps of K is multiplied by, the last block perhaps a short one. The shape of
        ``codes`` with blocks instead of steps. Must be given for a format with blocks, and only for one, unless their scales are
        of a type out of ``FLOAT_SCALES``. Those of the type ``int8`` are 0 to 255.
    selectors : array of uint8, optional
        The table of each block, in the shape of ``scales``; of each row of X or feature of W where the format has no blocks.
        Must be given for a format with several tables, and only for one.
    zeros : array of int64, optional
        The zero point of each block, 0 to 2**bits - 1, in the shape of ``scales``. Must be given for a format of blocks with
        zero points, and only for one.
    float_scales : array of float16 or float64, optional
        The scale of each block of a format whose type of scale is one of ``FLOAT_SCALES``, which has the array's type: a finite
        number of that type, in the shape that ``scales`` would have. Must be given for such formats, and only for them.
    minimums : array of float16, optional
        What is added to the elements of each block, in formats of minimums with scales of fp16, and only in them; finite.

    Raises
    ------
    TypeError, ValueError
        Arrays of another type or shape, a code that the format does not have or that stands for no number (infinity, say),
        scales without blocks, selectors without tables, zero points without such, or the reverse.
    """

    format: Format
    codes: np.ndarray
    depth_axis: int
    scales: np.ndarray | None = None
    selectors: np.ndarray | None = None
    zeros: np.ndarray | None = None
    float_scales: np.ndarray | None = None
    minimums: np.ndarray | None = None

    def __post_init__(self) -> None:
        wanted = self.format.code_type
        if not isinstance(self.codes, np.ndarray) or self.codes.dtype != wanted:
            raise TypeError(
                f"codes must be an array of {wanted}, not {getattr(self.codes, 'dtype', self.codes)!r}"
            )
        if self.codes.ndim != 2 or self.depth_axis not in (0, 1):
            raise ValueError(
                f"codes must have 2 dimensions and depth_axis be 0 or 1, not {self.codes.ndim} and {self.depth_axis!r}"
            )
        largest = int(self.codes.max(initial=0))
        if largest >= 1 << self.format.bits:
            raise ValueError(
                f"codes of {self.format.name} must be below {1 << self.format.bits}, not {largest}"
            )
        self._check_floats()
        if (self.scales is None) != (self.format.block == 0 or self.float_scales is not None):
            raise ValueError(
                f"scales must be given for a format with blocks alone, {self.format.name} has {self.format.block}"
            )
        tables = len(self.format.tables)
        if (self.selectors is None) != (tables == 1):
            raise ValueError(
                f"selectors must be given for a format with several tables alone, {self.format.name} has {tables}"
            )
        if (self.zeros is None) != (self.format.block == 0 or self.format.offset != "zero"):
            raise ValueError(
                f"zeros must be given for a format of blocks with zero points alone, {self.format.name} has "
                f"{self.format.block} and {self.format.offset!r}"
            )
        self._check_blocks("scales", self.scales, np.int64, 256 if self.format.scale == "int8" else None)
        self._check_blocks("selectors", self.selectors, np.uint8, tables)
        self._check_blocks("zeros", self.zeros, np.int64, 1 << self.format.bits)
        if not self.format.complete:
            self.values()

    def _check_floats(self) -> None:
        """That there are scales of floating point and minimums where the format has them, all numbers of their types."""
        format = self.format
        floats = bool(format.block) and format.scale in FLOAT_SCALES
        has = f"{format.name} has {format.block}, {format.scale!r} and {format.offset!r}"
        if (self.float_scales is None) == floats:
            kinds = ", ".join(FLOAT_SCALES)
            raise ValueError(
                f"float_scales must be given for a format of blocks with scales of {kinds} alone, {has}"
            )
        if (self.minimums is None) == (floats and format.scale == "fp16" and format.offset == "minimum"):
            raise ValueError(
                f"minimums must be given for a format of blocks with fp16 scales and minimums alone, {has}"
            )
        kind = FLOAT_SCALES.get(format.scale, np.float16)
        for what, each, dtype in (
            ("float_scales", self.float_scales, kind), ("minimums", self.minimums, np.float16),
        ):  # fmt: skip
            self._check_blocks(what, each, dtype, None)
            if each is not None and not np.isfinite(each).all():
                raise ValueError(f"{what} must be finite, not {each[~np.isfinite(each)][0]}")
        if self.float_scales is not None and kind is np.float64:
            scale_types.encode(format.scale, self.float_scales)

    def _check_blocks(self, what: str, each: np.ndarray | None, dtype: type, limit: int | None) -> None:
        """That ``each``, if there, has a number of that type for each block, from 0 to below ``limit`` if there is one."""
        if each is None:
            return
        shape = list(self.codes.shape)
        shape[self.depth_axis] = ceil_div(self.depth, self.format.block) if self.format.block else 1
        if each.dtype != dtype or list(each.shape) != shape:
            raise ValueError(
                f"{what} must be {np.dtype(dtype)} of shape {tuple(shape)}, not {each.dtype} {each.shape}"
            )
        if limit is not None and each.size and not 0 <= int(each.min()) <= int(each.max()) < limit:
            raise ValueError(
                f"{what} of {self.format.name} must be 0 to {limit - 1}, not {each.min()} to {each.max()}"
            )

    @classmethod
    def activations(
        cls,
        format: Format,
        values: np.ndarray,
        scales: np.ndarray | None = None,
        selectors: np.ndarray | None = None,
        zeros: np.ndarray | None = None,
    ) -> Operand:
        """X [M, K] from what its codes stand for, before zero points are taken off."""
        return cls._of(format, values, 1, scales, selectors, zeros)

    @classmethod
    def weights(
        cls,
        format: Format,
        values: np.ndarray,
        scales: np.ndarray | None = None,
        selectors: np.ndarray | None = None,
        zeros: np.ndarray | None = None,
    ) -> Operand:
        """W [K, N] from what its codes stand for, before zero points are taken off."""
        return cls._of(format, values, 0, scales, selectors, zeros)

    @classmethod
    def _of(
        cls,
        format: Format,
        values: np.ndarray,
        depth_axis: int,
        scales: np.ndarray | None,
        selectors: np.ndarray | None,
        zeros: np.ndarray | None,
    ) -> Operand:
        several = len(format.tables) > 1
        codes = (
            np.zeros(values.shape, format.code_type) if several else format.encode(values, axis=depth_axis)
        )
        operand = cls(
            format=format, codes=codes, depth_axis=depth_axis, scales=scales, selectors=selectors, zeros=zeros
        )
        if not several or selectors is None:
            return operand
        # The selectors are sound by now: each block is encoded by its own.
        each = np.broadcast_to(operand._spread(selectors), codes.shape)
        for table in range(len(format.tables)):
            codes[each == table] = format.encode(values[each == table], table)
        return replace(operand, codes=codes)

    @property
    def shape(self) -> tuple[int, int]:
        """As the matrix."""
        return self.codes.shape[0], self.codes.shape[1]

    @property
    def depth(self) -> int:
        """K."""
        return self.codes.shape[self.depth_axis]

    def integers(self) -> np.ndarray:
        """The exact values (int64), zero points and scales of blocks included.

        Raises ``ValueError`` where the scales of blocks are no whole numbers: see ``levels`` and ``numbers``.
        """
        if self.float_scales is not None:
            raise ValueError(
                f"scales of blocks must be whole numbers for integers, not {self.format.scale} as in {self.format.name}"
            )
        return self.levels() if self.scales is None else self.levels() * self._spread(self.scales)

    def levels(self) -> np.ndarray:
        """What the codes stand for (int64), zero points taken off, without scales."""
        return self.values() if self.zeros is None else self.values() - self._spread(self.zeros)

    def numbers(self) -> np.ndarray:
        """float64: ``integers``, or the levels times their ``float_scales``, exact, to which a minimum is added, rounded once."""
        if self.float_scales is None:
            return self.integers().astype(np.float64)
        scaled = self.levels() * self._spread(self.float_scales).astype(np.float64)
        return scaled if self.minimums is None else scaled + self._spread(self.minimums)

    def values(self) -> np.ndarray:
        """What the codes stand for, without zero points and scales."""
        selectors = 0 if self.selectors is None else self._spread(self.selectors)
        return self.format.decode(self.codes, selectors, axis=self.depth_axis)

    def _spread(self, each: np.ndarray) -> np.ndarray:
        """What blocks have, step by step of K; as it is where there are none."""
        if not self.format.block:
            return each
        each = each.repeat(self.format.block, axis=self.depth_axis)
        return each[: self.depth] if self.depth_axis == 0 else each[:, : self.depth]

    def part(self, steps: Span, others: Span) -> Operand:
        """``steps`` of K, from a block's edge on, of the rows of X or features of W that are ``others``."""
        block = self.format.block
        if block and steps[0] % block:
            raise ValueError(f"a part must begin at a multiple of {block} steps, not at {steps[0]}")

        def cut(array: np.ndarray, along: Span) -> np.ndarray:
            return (
                array[slice(*along), slice(*others)]
                if self.depth_axis == 0
                else array[slice(*others), slice(*along)]
            )

        blocks = (steps[0] // block, ceil_div(steps[1], block)) if block else (0, 1)

        def cut_blocks(each: np.ndarray | None) -> np.ndarray | None:
            return None if each is None else cut(each, blocks)

        return Operand(
            format=self.format,
            codes=cut(self.codes, steps),
            depth_axis=self.depth_axis,
            scales=cut_blocks(self.scales),
            selectors=cut_blocks(self.selectors),
            zeros=cut_blocks(self.zeros),
            float_scales=cut_blocks(self.float_scales),
            minimums=cut_blocks(self.minimums),
        )
