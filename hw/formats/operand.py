"""A matrix of codes: what packers, workloads and golden models hand to one another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hw.design import ceil_div
from hw.formats.format import Format

Span = tuple[int, int]
"""First and one past the last."""


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
        ``codes`` with blocks instead of steps. Must be given for a format with blocks, and only for one.

    Raises
    ------
    TypeError, ValueError
        Arrays of another type or shape, a code that the format does not have, scales without blocks or the reverse.
    """

    format: Format
    codes: np.ndarray
    depth_axis: int
    scales: np.ndarray | None = None

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
        if (self.scales is None) != (self.format.block == 0):
            raise ValueError(
                f"scales must be given for a format with blocks alone, {self.format.name} has {self.format.block}"
            )
        if self.scales is not None:
            shape = list(self.codes.shape)
            shape[self.depth_axis] = ceil_div(self.depth, self.format.block)
            if self.scales.dtype != np.int64 or list(self.scales.shape) != shape:
                raise ValueError(
                    f"scales must be int64 of shape {tuple(shape)}, not {self.scales.dtype} {self.scales.shape}"
                )

    @classmethod
    def activations(cls, format: Format, values: np.ndarray, scales: np.ndarray | None = None) -> Operand:
        """X [M, K] from what its codes stand for."""
        return cls(format=format, codes=format.encode(values), depth_axis=1, scales=scales)

    @classmethod
    def weights(cls, format: Format, values: np.ndarray, scales: np.ndarray | None = None) -> Operand:
        """W [K, N] from what its codes stand for."""
        return cls(format=format, codes=format.encode(values), depth_axis=0, scales=scales)

    @property
    def shape(self) -> tuple[int, int]:
        """As the matrix."""
        return self.codes.shape[0], self.codes.shape[1]

    @property
    def depth(self) -> int:
        """K."""
        return self.codes.shape[self.depth_axis]

    def integers(self) -> np.ndarray:
        """The exact values (int64), scales of blocks included."""
        values = self.format.decode(self.codes, axis=self.depth_axis)
        if self.scales is None:
            return values
        each = self.scales.repeat(self.format.block, axis=self.depth_axis)
        return values * (each[: self.depth] if self.depth_axis == 0 else each[:, : self.depth])

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

        scales = self.scales
        if scales is not None:
            scales = cut(scales, (steps[0] // block, ceil_div(steps[1], block)))
        return Operand(
            format=self.format, codes=cut(self.codes, steps), depth_axis=self.depth_axis, scales=scales
        )
