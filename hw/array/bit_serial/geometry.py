"""Formats, sizes and times of the bit-serial arrays. No Amaranth here."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

from hw.array.geometry import least_interval, power_of_two_from
from hw.design import Geometry
from hw.pe.element_times import (
    SCALE_BITS,
    ElementTimes,
    GroupLength,
    Rounding,
    fp16_times,
    int8_times,
    small_times,
)
from hw.pe.weight_format import NIBBLE, WeightFormat
from hw.timing import ACCUMULATE, CORNER_TURN, DRAIN_ROWS, SCRATCHPAD, TERM_ENCODER

MASK_WORD = 4
"""Cycles from the first step of a block to the word of the next one's masks being read."""
SPECIAL_VALUES = 4
"""Special values that a group chooses from; they are the settings of an array with float formats."""
LOWER_WORD = 3
"""Cycles from the first step of a slice to its word of lower parts being read, which is the last of its words."""
FLOAT_LANES = 8
"""Most lanes of an element with fp16 activations."""
Activations = Literal["int8", "fp16"]
Lanes = Literal[4, 8, 16, 32]
"""Products of an element per cycle."""


@dataclass(frozen=True, kw_only=True)
class BitSerial:
    """A bit-serial array: its sizes, and all that follows from them.

    Parameters
    ----------
    rows, columns : int
        Elements; 1 to 64 each.
    lanes : int
        Products of an element per cycle, each of one term: one of ``Lanes``.
    group : int
        Weights along K that share a scale: one of ``GroupLength``.
    variants : sequence of WeightFormat
        By EXECUTE's ``variant``; several may be the same.
    data_bytes : int
        Bytes of a bus beat.
    activations : str
        ``int8``: sums are int32; or ``fp16``: they are float32, and lanes at most 8.
    rounding : str
        Of sums of fp16: ``nearest`` or ``truncate``, as of ``FloatElement``.
    skip_zero_terms : bool
        A term that is zero in all lanes of all columns takes no cycle; words of masks say which (``block_words``).
    single : bool
        One command at a time (``Geometry.single``).

    Raises
    ------
    TypeError, ValueError
        A size that is not among those allowed, a group that is not whole words of activations, or masks of one of these that do
        not fit into a word of weights.
    """

    rows: int
    columns: int
    lanes: int
    group: int
    variants: Sequence[WeightFormat]
    data_bytes: int
    activations: Activations = "int8"
    rounding: Rounding = "nearest"
    skip_zero_terms: bool = False
    single: bool = False

    def __post_init__(self) -> None:
        for name, most in (("rows", 64), ("columns", 64)):
            value = operator.index(getattr(self, name))
            if not 1 <= value <= most:
                raise ValueError(f"{name} must be 1 to {most}, not {value!r}")
        for name, allowed in (
            ("lanes", get_args(Lanes)),
            ("group", get_args(GroupLength)),
            ("data_bytes", (4, 8, 16, 32, 64)),
        ):
            value = operator.index(getattr(self, name))
            if value not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(map(str, allowed))}, not {value!r}")
        for name, names in (("activations", get_args(Activations)), ("rounding", get_args(Rounding))):
            if getattr(self, name) not in names:
                raise ValueError(f"{name} must be one of {', '.join(names)}, not {getattr(self, name)!r}")
        if self.activations == "fp16" and self.lanes > FLOAT_LANES:
            raise ValueError(
                f"lanes must be at most {FLOAT_LANES} with activations in fp16, not {self.lanes}"
            )
        if not self.variants:
            raise ValueError(f"variants must be at least one, not {self.variants!r}")
        object.__setattr__(self, "variants", tuple(WeightFormat(one) for one in self.variants))
        if self.group % self.word_steps:
            raise ValueError(
                f"group must be a multiple of {self.word_steps} (steps in a word of activations, with {self.rows} rows, "
                f"{self.lanes} lanes and a bus of {self.data_bytes} bytes), not {self.group}"
            )
        if self.skip_zero_terms and self.columns * self.lanes < self.slices:
            raise ValueError(
                f"columns must be at least {-(-self.slices // self.lanes)} where zero terms are skipped (a mask for each of "
                f"{self.slices} slices, {self.lanes} lanes), not {self.columns}"
            )

    @property
    def formats(self) -> frozenset[WeightFormat]:
        """Those of all variants."""
        return frozenset(self.variants)

    @cached_property
    def _terms(self) -> int:
        """Fewest terms of a format."""
        return min(one.terms for one in self.formats)

    @cached_property
    def slices(self) -> int:
        """Slices of ``lanes`` steps in a word of activations; a power of two.

        The rows' words are read one after the other while the elements work on a word: it must last as many cycles as there are
        rows, and until their addresses have been worked out. Two at least: scales and weights share a port (``BitSerialCore``).
        Where terms are skipped, a slice may take one cycle.
        """
        terms = 1 if self.skip_zero_terms else self._terms
        least = -(-max(self.rows, self.activation_delay + 1) // terms)
        bus = self.data_bytes // (self.lanes * self.activation_bytes)
        return power_of_two_from(max(2, least, bus))

    @property
    def word_steps(self) -> int:
        """Steps of K in a word of activations: the depth of a tile."""
        return self.slices * self.lanes

    @property
    def group_words(self) -> int:
        """Words of activations in a group."""
        return self.group // self.word_steps

    @cached_property
    def least(self) -> int:
        """Fewest cycles from the end of a group to that of the next: its scale's bits, and its results' way out."""
        return max(SCALE_BITS + self.small, least_interval(self.rows) - ACCUMULATE + self.geometry.accumulate)

    @cached_property
    def geometry(self) -> Geometry:
        """What the rest of the house knows of it."""
        return Geometry(
            tile_rows=self.rows,
            columns=self.columns,
            tile_depth=self.word_steps,
            activation_bytes=self.word_steps * self.activation_bytes,
            weight_bytes=power_of_two_from(self.columns * self.lanes * NIBBLE // 8),
            # By this the compiler cuts the first rows: as if all terms were taken.
            weight_words=self.slices // self._terms if self.skip_zero_terms else self.slices,
            variants=len(self.variants),
            sums="float32" if self.activations == "fp16" else "int32",
            activation_bits=8 * self.activation_bytes,
            single=self.single,
            settings=SPECIAL_VALUES if any(one.floating for one in self.formats) else 0,
        )

    @cached_property
    def times(self) -> ElementTimes:
        """Those of an element."""
        if self.activations == "fp16":
            return fp16_times(self.lanes)
        return (small_times if self.small else int8_times)(self.lanes, self.formats)

    @property
    def again(self) -> bool:
        """Words of activations are read again for each slice, and not kept: a slice lasts until all rows have read theirs."""
        return self.single and not self.skip_zero_terms and self.rows <= self._terms

    @property
    def small(self) -> bool:
        """Elements are ``hw.pe.small_bit_serial.SmallElement``."""
        return self.single and self.activations == "int8"

    @property
    def activation_bytes(self) -> int:
        """Bytes of an activation."""
        return 2 if self.activations == "fp16" else 1

    @property
    def activation_delay(self) -> int:
        """Cycles by which the addresses of activations come later than the first step of their word."""
        return LOWER_WORD + TERM_ENCODER + self.times.feed - CORNER_TURN

    @property
    def result_delay(self) -> int:
        """Cycles from the last term of a group going into the encoder to row 0's result at the top of its column."""
        return TERM_ENCODER + self.times.feed + self.times.latency + (not self.single)

    @cached_property
    def result_latency(self) -> int:
        """Cycles from the last step of a group to the last row's result at the top of column 0."""
        rows = self.rows - 1
        return LOWER_WORD + SCRATCHPAD + 1 + self.result_delay + rows + rows // DRAIN_ROWS

    def word_cycles(self, format: WeightFormat) -> int:
        """Cycles that the elements work on a word of activations."""
        return self.slices * format.terms

    @property
    def block_words(self) -> int:
        """Words of activations in a block; a power of two. Its masks are a word of weights: ``NIBBLE`` bits for each slice."""
        fit = self.columns * self.lanes // self.slices
        return min(self.group_words, 1 << fit.bit_length() - 1)

    @property
    def block_least(self) -> int:
        """Fewest cycles of a block: the next one's masks have come, and its group is ``least`` after the one before."""
        return max(self.least, MASK_WORD + SCRATCHPAD + 2)

    def blocks(self, depth_tiles: int) -> tuple[int, int]:
        """Blocks of a tile before its last, and the words of activations of that one."""
        return (depth_tiles - 1) // self.block_words, (depth_tiles - 1) % self.block_words + 1

    def pause(self, format: WeightFormat, words: int) -> int:
        """Cycles that a group of so many words of activations must wait for the one before it to get out of the way."""
        return max(0, self.least - words * self.word_cycles(format))

    def group_weight_words(self, format: WeightFormat, words: int) -> int:
        """Weight words of a group: the scales' and those of the weights."""
        way, slices = format.way, words * self.slices
        return 1 + sum(-(-slices * bits // NIBBLE) for bits in (way.high, way.low))

    def groups(self, depth_tiles: int) -> tuple[int, int]:
        """Groups of a tile before its last, and the words of activations of that one."""
        return (depth_tiles - 1) // self.group_words, (depth_tiles - 1) % self.group_words + 1
