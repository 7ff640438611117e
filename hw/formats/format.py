"""A number format as tables: code by code the exact integer that it stands for."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

SCALES = {"": 0, "e8m0": 8, "e4m3": 8, "int8": 8, "fp16": 16, "fp32": 32}
"""Bits of a scale by its type; "" for none. ``int8`` are the magnitudes 0 to 255 (second level after VS-Quant)."""
SIGNED = ("e4m3", "fp16", "fp32")
"""Types of scale with a sign bit."""
OFFSETS = ("", "zero", "minimum")
"""What an asymmetric format adds in each block: nothing; subtracts an integer code of the format's bits; adds an fp16 number."""
SHARINGS = ("block", "row", "tensor")
"""Who shares a scale: successive elements along K, a whole row (an output feature or a token), or the tensor."""


@dataclass(frozen=True, kw_only=True)
class Format:
    """A format of 1 to 16 bits.

    An element's code c, in a block whose selector is s, stands for
    ``(tables[s][c] - zero) * 2**unit * scale * outer + minimum``.

    Parameters
    ----------
    name : str
        As in configurations and on the command line.
    bits : int
        Bits of a stored code.
    tables : sequence of sequences of int or None
        What code 0, code 1, ... stands for, in units of ``2**unit``, for each selector; None for a code that is no number.
    unit : int
        Logarithm to base 2 of what the integers count.
    rule : str
        Name of the rule by which ``sim.quantise`` finds codes.
    shared : str
        One of ``SHARINGS``.
    block : int
        Elements along K that share a scale when ``shared`` is "block", else 0.
    scale, outer : str
        Types of the scale and of a second one above it, out of ``SCALES``; the outer one is shared by ``outer_shared``.
    offset : str
        One of ``OFFSETS``.
    packing : str
        Order of the bits in memory, a name of ``hw.formats.packing``.
    summary : str
        One line for people.
    sharings : sequence of str
        Out of ``SHARINGS``, what ``grouped`` and ``shared_by`` may make of it.
    selector_in_scale : bool
        The selector is the sign bit of the scale, and takes no bit of its own.
    least : int or None
        Smallest integer that the rule writes, where the tables have smaller ones.
    parts : int
        What ``2**unit`` is divided by when elements are shown as published.

    Raises
    ------
    TypeError, ValueError
        Values that are not among those allowed, tables that are not of that many bits, or values that are no integers.
    """

    name: str
    bits: int
    tables: Sequence[Sequence[int | None]] = field(repr=False)
    unit: int = 0
    rule: str = "nearest"
    shared: str = "row"
    block: int = 0
    scale: str = "fp32"
    outer: str = ""
    outer_shared: str = "tensor"
    offset: str = ""
    packing: str = "dense"
    summary: str = ""
    sharings: Sequence[str] = SHARINGS
    selector_in_scale: bool = False
    least: int | None = None
    parts: int = 1

    def __post_init__(self) -> None:
        bits = operator.index(self.bits)
        if not 1 <= bits <= 16:
            raise ValueError(f"bits of format {self.name} must be 1 to 16, not {self.bits!r}")
        for what, value, allowed in (
            ("scale", self.scale, SCALES),
            ("outer", self.outer, SCALES),
            ("offset", self.offset, OFFSETS),
            ("shared", self.shared, SHARINGS),
            ("outer_shared", self.outer_shared, SHARINGS),
            *(("sharings", one, SHARINGS) for one in self.sharings),
        ):
            if value not in allowed:
                raise ValueError(
                    f"{what} of format {self.name} must be one of {', '.join(allowed)}, not {value!r}"
                )
        if operator.index(self.block) < 0 or (self.block > 0) != (self.shared == "block"):
            raise ValueError(
                f"block of format {self.name} must be more than 0 with shared = block and only then, not {self.block!r}"
            )
        tables = []
        for table in self.tables:
            if len(table) != 1 << bits:
                raise ValueError(f"values of format {self.name} must be {1 << bits}, not {len(table)}")
            tables.append(tuple(None if v is None else operator.index(v) for v in table))
        if not tables:
            raise ValueError(f"tables of format {self.name} must be at least one")
        if operator.index(self.parts) < 1:
            raise ValueError(f"parts of format {self.name} must be 1 or more, not {self.parts!r}")
        object.__setattr__(self, "bits", bits)
        object.__setattr__(self, "tables", tuple(tables))
        object.__setattr__(self, "sharings", tuple(self.sharings))
        if self.selector_in_scale and (self.selector_bits != 1 or self.scale not in SIGNED):
            raise ValueError(
                f"selector_in_scale of format {self.name} must come with two tables and a scale of "
                f"{', '.join(SIGNED)}, not {len(self.tables)} and {self.scale!r}"
            )

    @property
    def code_type(self) -> np.dtype:
        """Type of arrays of codes."""
        return np.dtype(np.uint8 if self.bits <= 8 else np.uint16)

    @property
    def values(self) -> tuple[int | None, ...]:
        """The table of a format without selectors; the first one of others."""
        return tuple(self.tables[0])

    @property
    def minimum(self) -> int:
        """Smallest integer that a code stands for, under any selector."""
        return min(v for table in self.tables for v in table if v is not None)

    @property
    def maximum(self) -> int:
        """Largest integer that a code stands for, under any selector."""
        return max(v for table in self.tables for v in table if v is not None)

    @property
    def selector_bits(self) -> int:
        """Bits of a block's selector."""
        return (len(self.tables) - 1).bit_length()

    @property
    def shared_bits(self) -> int:
        """Bits of a scale, its selector and its offset: once for a block, a row or the tensor."""
        selector = 0 if self.selector_in_scale else self.selector_bits
        return SCALES[self.scale] + selector + {"": 0, "zero": self.bits, "minimum": 16}[self.offset]

    @property
    def bits_per_weight(self) -> float:
        """Scales, selectors and offsets of blocks included; what a row or a tensor shares is not counted."""
        return self.bits + self.shared_bits / self.block if self.block else float(self.bits)

    @property
    def bits_per_row(self) -> int:
        """What ``bits_per_weight`` leaves out: scale, selector and offset of a row, and a second scale of a row."""
        first = self.shared_bits if self.shared == "row" else 0
        return first + (SCALES[self.outer] if self.outer_shared == "row" else 0)

    def element(self, value: int) -> float:
        """An integer of the tables as it is published."""
        return value * 2.0**self.unit / self.parts

    @property
    def range(self) -> tuple[float, float]:
        """Smallest and largest element, as published, that the rule writes."""
        least = self.minimum if self.least is None else self.least
        return self.element(least), self.element(self.maximum)

    def grouped(self, block: int) -> Format:
        """The same with blocks of another length; its name says so. ``ValueError`` where ``sharings`` has no blocks."""
        if operator.index(block) < 1:
            raise ValueError(f"block of format {self.name} must be 1 or more, not {block!r}")
        return self._shared("block", operator.index(block), f"g{block}")

    def shared_by(self, whom: str) -> Format:
        """The same with a scale for each row or one for the tensor ("row" or "tensor"); its name says so.

        ``ValueError`` where ``sharings`` has it not.
        """
        if whom not in SHARINGS[1:]:
            raise ValueError(f"who shares a scale of format {self.name} must be row or tensor, not {whom!r}")
        return self._shared(whom, 0, whom)

    def _shared(self, shared: str, block: int, suffix: str) -> Format:
        name = f"{self.name.partition(':')[0]}:{suffix}"
        if shared in self.sharings or (shared == self.shared == "block" and block == self.block):
            return replace(self, name=name, shared=shared, block=block)
        if not self.scale:
            raise ValueError(
                f"format {self.name} must be named alone, having no scale to share, not {name!r}"
            )
        allowed = "1 or more" if "block" in self.sharings else self.block
        raise ValueError(f"block of format {name} must be {allowed}, not {block}")

    @cached_property
    def _table(self) -> np.ndarray:
        return np.array([[0 if v is None else v for v in table] for table in self.tables], dtype=np.int64)

    @cached_property
    def _numbers(self) -> np.ndarray:
        return np.array([[v is not None for v in table] for table in self.tables])

    @property
    def complete(self) -> bool:
        """Every code stands for a number, under every selector."""
        return bool(self._numbers.all())

    def levels(self, selector: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """The integers that there are, rising, and a code of each: the lowest when several share it (two zeros, say)."""
        numbers = np.flatnonzero(self._numbers[selector])
        values, first = np.unique(self._table[selector][numbers], return_index=True)
        return values, numbers[first].astype(self.code_type)

    def decode(self, codes: np.ndarray, selectors: np.ndarray | int = 0, *, axis: int = -1) -> np.ndarray:
        """The exact integers (int64) of ``codes``; ``selectors`` broadcast against them.

        ``axis`` is the one along K: of no matter for codes that stand for themselves.
        """
        del axis
        codes = np.asarray(codes)
        if codes.size and not 0 <= int(codes.min()) <= int(codes.max()) < 1 << self.bits:
            raise ValueError(
                f"codes of {self.name} must be 0 to {(1 << self.bits) - 1}, not {codes.min()} to {codes.max()}"
            )
        if not self.complete:
            wrong = np.argwhere(~self._numbers[selectors, codes])
            if len(wrong):
                place = tuple(map(int, wrong[0]))
                raise ValueError(
                    f"codes of {self.name} must stand for numbers, not {codes[place]:#x} at {list(place)}"
                )
        return self._table[selectors, codes]

    def encode(self, values: np.ndarray, selector: int = 0, *, axis: int = -1) -> np.ndarray:
        """The codes (``code_type``) of integers, each of which must be one that the format has; ``axis`` as in ``decode``."""
        del axis
        values = np.asarray(values)
        known, codes = self.levels(selector)
        place = np.minimum(np.searchsorted(known, values), len(known) - 1)
        missing = known[place] != values
        if missing.any():
            raise ValueError(f"values must be those of {self.name}, not {values[missing].reshape(-1)[0]}")
        return codes[place]


def second_level(format: Format) -> Format:
    """The same whose blocks have whole numbers, 0 to 255, for scales, in units of a scale of the row.

    Reference
    ---------
    BitMoD, Chen et al., HPCA 2025, section III-C, after VS-Quant.
    """
    return replace(
        format, name=f"{format.name}-s8", scale="int8", outer="fp32", outer_shared="row",
        sharings=("block",), summary=f"{format.summary}; 8-bit scales below one of the row",
    )  # fmt: skip
