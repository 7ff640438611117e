"""Sizes and times of the table-lookup arrays. No Amaranth here."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import get_args

from hw.array.geometry import power_of_two_from
from hw.array.lookup import quantised
from hw.array.lookup.checks import check_halves, check_ternary, check_times, check_variants
from hw.array.lookup.formats import (
    JUDGED,
    Activations,
    Entries,
    LookupFormat,
    Lookups,
    Offset,
    Scales,
    Tables,
    Ternary,
)
from hw.design import Geometry, ceil_div
from hw.pe.element_times import SCALE_BITS, GroupLength
from hw.pe.lookup_times import (
    FLOAT_BUILDER,
    FLOAT_SCALE,
    HALF_SCALE,
    TABLE_SCALE,
    FloatTimes,
    PlaneTimes,
    builder_cycles,
    plane_times,
)
from hw.timing import CORNER_TURN, FLOAT_ACCUMULATE, SCRATCHPAD

HALF_BITS = 16
"""Of an fp16 scale or minimum."""
MOST_ROWS = 8
SCALE_STEP = 2
"""Bits of a scale in a cycle."""
SCALE_STEPS = SCALE_BITS // SCALE_STEP
DRAIN = HALF_SCALE + 3
"""Cycles from the read of an fp16 sum to its result."""


@dataclass(frozen=True, kw_only=True)
class LookupArray:
    """A table-lookup array: its sizes, and all that follows from them.

    A tile is ``rows`` × ``columns``. ``outputs`` columns that follow each other at a distance of ``banks`` share a lookup unit in
    each row: feature ``s * banks + b`` of a tile is place s of unit b.

    Parameters
    ----------
    rows, columns : int
        1 to 8; 1 to 128.
    k : int
        Activations of a table: one of ``Tables``.
    groups_per_lane : int
        Lookups of a unit per cycle: one of ``Lookups``.
    outputs : int
        Columns that take turns at a unit: 2 to 16, a divisor of ``columns``.
    group : int
        Weights along K that share a scale: one of ``GroupLength``.
    variants : sequence of LookupFormat
        By EXECUTE's ``variant``; several may be the same.
    data_bytes : int
        Bytes of a bus beat.
    ternary : str
        One of ``Ternary``. With ``direct`` there are no tables: a chunk's two halves take the cycles of two planes, and units
        (``hw.pe.lookup.TernaryUnit``) have a lane for each step of a half.
    scales : str
        One of ``Scales``.
    activations : str
        One of ``Activations``; fp16 takes tables of 4, one lookup per cycle, 8 outputs or more, fp16 scales, and no minimums,
        unless tables are of int8.
    tables : str
        One of ``Entries``; int8 takes fp16 activations and what ``hw.array.lookup.quantised`` says.
    single : bool
        One command at a time (``Geometry.single``).

    Raises
    ------
    TypeError, ValueError
        A size that is not among those allowed; a group that is not whole words of activations; fewer lookups of a chunk than a
        table has entries; minimums, or plain weights, beside whole scales; with ``direct`` fp16 scales, or a variant that is not
        two's complement of two bits.
    """

    rows: int
    columns: int
    k: int
    groups_per_lane: int
    outputs: int
    group: int
    variants: Sequence[LookupFormat]
    data_bytes: int
    ternary: Ternary = "planes"
    scales: Scales = "int8"
    activations: Activations = "int8"
    tables: Entries = "exact"
    single: bool = False

    def __post_init__(self) -> None:
        for name, least, most in (("rows", 1, MOST_ROWS), ("columns", 1, 128), ("outputs", 2, 16)):
            value = operator.index(getattr(self, name))
            if not least <= value <= most:
                raise ValueError(f"{name} must be {least} to {most}, not {value!r}")
        for name, allowed in (
            ("k", get_args(Tables)),
            ("groups_per_lane", get_args(Lookups)),
            ("group", get_args(GroupLength)),
            ("data_bytes", (4, 8, 16, 32, 64)),
        ):
            value = operator.index(getattr(self, name))
            if value not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(map(str, allowed))}, not {value!r}")
        for name, allowed in (("scales", get_args(Scales)), ("activations", get_args(Activations))):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}, not {getattr(self, name)!r}")
        if self.columns % self.outputs:
            raise ValueError(
                f"outputs must divide columns, not be {self.outputs} with {self.columns} columns"
            )
        object.__setattr__(self, "variants", tuple(self.variants))
        check_variants(self)
        check_ternary(self)
        quantised.check(self)
        if self.halves:
            check_halves(self)
        elif self.part_bits < self.scale_bits:
            raise ValueError(
                f"groups_per_lane must be at least {self.scale_bits // self.k} with tables of {self.k}"
                f"{' and scales of fp16' * self.floats}, not {self.groups_per_lane}"
            )
        if self.chunk > self.group or self.group % self.word_steps:
            raise ValueError(
                f"group must be a multiple of {self.word_steps} (steps in a word of activations, with {self.groups_per_lane} "
                f"tables of {self.k} and a bus of {self.data_bytes} bytes), not {self.group}"
            )
        check_times(self)

    @property
    def direct(self) -> bool:
        """Whether weights are ternary and there are no tables."""
        return self.ternary == "direct"

    @property
    def halves(self) -> bool:
        """Activations, entries of tables and sums of a group are fp16."""
        return self.activations == "fp16" and not self.quantised

    @property
    def quantised(self) -> bool:
        """Entries of tables of fp16 activations are int8, with a float32 scale for each row of a group."""
        return self.tables == "int8"

    @property
    def small(self) -> bool:
        """Of a single command's array: sums in block RAM, and what goes with groups in few bits."""
        return self.single and not self.floats

    @property
    def stays(self) -> bool:
        """Activations stay in their scratchpad while they are of use: there is one row, whose word is a chunk."""
        return self.small and self.rows == 1 and self.slices == 1

    @property
    def activation_bits(self) -> int:
        """Of an activation."""
        return HALF_BITS if self.activations == "fp16" else 8

    @property
    def floats(self) -> bool:
        """Scales are fp16, sums float32."""
        return self.scales == "fp16"

    @property
    def minimums(self) -> bool:
        """Some formats have minimums."""
        return any(one.minimum for one in self.variants)

    @property
    def scale_bits(self) -> int:
        """Of a scale."""
        return HALF_BITS if self.floats else SCALE_BITS

    @property
    def entries(self) -> int:
        """Of a half table."""
        return 1 << self.k - 1

    @property
    def banks(self) -> int:
        """Lookup units of a row; banks of accumulators."""
        return self.columns // self.outputs

    @property
    def planes(self) -> int:
        """Most planes of a weight."""
        return max(one.bits for one in self.variants)

    @property
    def least_planes(self) -> int:
        """Fewest planes of a weight."""
        return min(one.bits for one in self.variants)

    @property
    def chunk(self) -> int:
        """Steps of K that a unit takes at a time: those of its tables."""
        return self.k * self.groups_per_lane

    @property
    def lanes(self) -> int:
        """Steps of K that a ternary unit takes in a cycle: two bits of a word of weights each."""
        return self.chunk // 2

    @property
    def least_chunk(self) -> int:
        """Fewest lookups of a chunk, one a cycle."""
        return self.outputs * self.least_planes

    @property
    def part_bits(self) -> int:
        """Bits of a word of weights that belong to a unit: an index for each of its tables."""
        return self.chunk

    @cached_property
    def slices(self) -> int:
        """Chunks in a word of activations; a power of two. Its rows' words are read while the units work on one."""
        least = ceil_div(self.rows, self.least_chunk)
        return power_of_two_from(max(least, 8 * self.data_bytes // (self.chunk * self.activation_bits)))

    @property
    def word_steps(self) -> int:
        """Steps of K in a word of activations: the depth of a tile."""
        return self.slices * self.chunk

    @property
    def group_words(self) -> int:
        """Words of activations in a group."""
        return self.group // self.word_steps

    @property
    def scale_words(self) -> int:
        """Words of weights that a group's scales take, and as many its minimums."""
        return ceil_div(self.outputs * self.scale_bits, self.part_bits)

    def tail_words(self, format: LookupFormat) -> int:
        """Words of weights behind a group's lookups: scales, then minimums."""
        return format.passes * self.scale_words

    def zero_words(self, format: LookupFormat) -> int:
        """Words of weights that a group's zero points take."""
        some = format.offset is Offset.ZERO and not self.halves
        return ceil_div(self.outputs * format.bits, self.part_bits) if some else 0

    def total_words(self, format: LookupFormat) -> int:
        """Lookups behind a group's others, of the sum of its activations; with fp16 ones alone."""
        return self.lookups(format) if self.halves and format.doubled else 0

    def lookups(self, format: LookupFormat) -> int:
        """Lookups of a unit for a chunk of all its outputs; each is a cycle and a word of weights."""
        return self.outputs * format.bits

    def group_cycles(self, format: LookupFormat, words: int) -> int:
        """Words of weights of a group that has so many words of activations; cycles too, but for a pause."""
        ends = self.zero_words(format) + self.total_words(format) + self.tail_words(format)
        return words * self.slices * self.lookups(format) + ends

    def spacing(self, format: LookupFormat) -> int:
        """Cycles from a place's results to the next one's; those of its rows come one after another.

        While a whole scale lasts, one more where it is not halved as others are. Float32 results only stay out of each other's
        way: those of two groups, or of scale and minimum, at an accumulator; and wait for the words of their scale.
        """
        if self.floats:
            words = ceil_div(HALF_BITS, self.part_bits)
            return max(self.rows, words, ceil_div(FLOAT_ACCUMULATE + 1, self.outputs))
        return max(self.rows, SCALE_STEPS + (self.mixed and not format.doubled))

    @property
    def paces(self) -> tuple[int, int]:
        """``spacing`` of formats that are not doubled, and of those that are; 1 where there are none."""
        slow, quick = (
            {self.spacing(one) for one in self.variants if one.doubled is it} for it in (False, True)
        )
        return max(slow, default=1), max(quick, default=1)

    def scale_cycles(self, format: LookupFormat) -> int:
        """Cycles in which the results of a group come."""
        return format.passes * self.outputs * self.spacing(format)

    def last_place(self, format: LookupFormat) -> int:
        """Cycles from a group's first result to the last of row 0."""
        return self.scale_cycles(format) - self.spacing(format)

    def pause(self, format: LookupFormat, words: int, *, fresh: bool = False) -> int:
        """Cycles that a group must wait, before its first word, for the results of the one before it.

        That one has the same format and its results the same order; but for a ``fresh`` command's first group.
        """
        least = max(self.scale_cycles(format), self.keep if self.halves else 0)
        apart = 0
        if self.quantised:
            least, apart = max(least, quantised.turn(self)), quantised.apart(self, words)
        if fresh:
            # From lookups to lookups, whatever is behind those; and any row of accumulators may be the next one's first.
            behind = self.geometry.accumulate + self.rows
            least = max(
                least,
                max(
                    max(self.scale_cycles(one), self.last_place(one) + behind) - self.tail_words(one)
                    for one in self.variants
                )
                + self.tail_words(format),
            )
        return max(apart, least - self.group_cycles(format, words))

    @property
    def offsets(self) -> frozenset[Offset]:
        """Of all variants."""
        return frozenset(one.offset for one in self.variants)

    @property
    def halved(self) -> bool:
        """Whether results are halved: those that are not doubled are so by a ninth bit of their scales."""
        return self.offsets != {Offset.NONE} and not self.direct

    @property
    def shifts(self) -> bool:
        """Whether a unit's planes differ in their powers of two: the halves of a chunk do not."""
        return self.planes > 1 and not self.direct

    @property
    def mixed(self) -> bool:
        """Whether some formats' scales have that bit and others' do not."""
        return self.halved and Offset.NONE in self.offsets

    @property
    def times(self) -> PlaneTimes:
        """Of a unit."""
        if self.direct:
            return plane_times(self.lanes, planes=1, extra=False, before=1)
        return plane_times(self.groups_per_lane, planes=self.planes, extra=self.halved, before=1)

    @property
    def build(self) -> int:
        """Fewest cycles from the first of a slice of activations to its first code."""
        if self.quantised:
            return quantised.build(self)
        builder = FLOAT_BUILDER if self.halves else builder_cycles(self.k)
        return 0 if self.direct else builder + self.entries - 1

    @property
    def hold(self) -> int:
        """Cycles that a slice of activations must stay: for the entries of its tables, or for its codes."""
        if self.quantised:
            return 1
        return self.least_chunk if self.direct else self.entries

    @property
    def scale_select(self) -> int:
        """From a group's last code of place 0 until the first of its scales, or its first bit, is chosen: others still arrive."""
        return self.outputs + 2

    @property
    def scale_wait(self) -> int:
        """Cycles that it then waits for the sum."""
        if self.floats:
            return max(0, self.times.last + 3 - self.scale_select)
        return max(0, self.times.last + 2 - self.scale_select)

    @property
    def result_delay(self) -> int:
        """From a group's last code of place 0 to its result at row 0 and unit column 0."""
        if self.floats:
            # Addresses of results are judged behind the last word of the group.
            words = self.outputs - 1 + max(self.tail_words(one) for one in self.variants)
            return max(self.float_result_delay, words + JUDGED + 2 - self._code_delay)
        steps = SCALE_STEPS + self.mixed
        return self.scale_select + self.scale_wait + steps + self.times.result + 1

    @property
    def float_result_delay(self) -> int:
        """The least of float32 results: sums are read, joined with those of other rows, which are zero, and multiplied.

        Those in fp16 wait for all words of a scale.
        """
        if self.halves:
            return self.outputs + ceil_div(HALF_BITS, self.part_bits) + DRAIN
        return self.scale_select + self.scale_wait + 2 + (TABLE_SCALE if self.quantised else FLOAT_SCALE)

    @property
    def drain(self) -> int:
        """From a group's last code of place 0 until its fp16 sum at row 0 is read."""
        return self.result_delay - DRAIN

    @property
    def keep(self) -> int:
        """From there to that of the next group, at least: fp16 sums are to be read before others take their places."""
        written, last = 1 + FloatTimes().result, self.outputs - 1
        return self.drain + last * self.spacing(self.variants[0]) - (written + last)

    @property
    def _code_delay(self) -> int:
        """From a code's cycle in the sequencer to that of its steering, as late as its tables: by way of the rows."""
        return 1 + CORNER_TURN + self.wait + self.build + SCRATCHPAD

    @property
    def wait(self) -> int:
        """Cycles from a chunk's turn until its tables are made: those of a whole group are quantised together."""
        return quantised.wait(self) if self.quantised else 0

    @property
    def scales_to_result(self) -> int:
        """Cycles from a group's first word of scales in the sequencer to its first result: place 0, row 0, unit column 0."""
        return self._code_delay - self.outputs + self.result_delay

    def first_result(self, format: LookupFormat) -> int:
        """The same from its last word."""
        return self.scales_to_result - (self.tail_words(format) - 1)

    def result_latency(self, format: LookupFormat) -> int:
        """Cycles from a command's last word in the sequencer to its last result at unit column 0."""
        return self.first_result(format) + self.last_place(format) + self.rows - 1

    def groups(self, depth_tiles: int) -> tuple[int, int]:
        """Groups of a tile before its last, and the words of activations of that one."""
        return (depth_tiles - 1) // self.group_words, (depth_tiles - 1) % self.group_words + 1

    @cached_property
    def geometry(self) -> Geometry:
        """What the rest of the house knows of it."""
        return Geometry(
            tile_rows=self.rows,
            columns=self.columns,
            spread=self.outputs,
            tile_depth=self.word_steps,
            activation_bytes=self.word_steps * self.activation_bits // 8,
            weight_bytes=power_of_two_from(ceil_div(self.banks * self.part_bits, 8)),
            weight_words=self.slices * self.least_chunk,
            variants=len(self.variants),
            sums="float32" if self.floats else "int32",
            activation_bits=self.activation_bits,
            single=self.single,
        )
