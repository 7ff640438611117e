"""The front of a table-lookup core: commands are prepared once, and carried out group by group, word by word."""

from __future__ import annotations

from dataclasses import fields
from types import SimpleNamespace

import pytest
from amaranth.hdl import Array, Assert, Cat, Cover, Elaboratable, Module, Mux, Signal

from hw.array.lookup.geometry import LookupArray, LookupFormat, Offset
from hw.array.lookup.plan import LookupPlanner
from hw.array.lookup.sequencer import LookupSequencer
from hw.timing import LOOKUP_SETUP
from tests.formal import check, later, mutant, previous, prove, refute
from tests.formal_front import CommandRules, chosen, join
from tests.formal_inside import implies
from tests.lookup_core_bench import ASYM2, ASYM3, ASYM4, BIPOLAR2, W1, W2, W3, W4, array_for, design_for

PLAIN2M = LookupFormat(bits=2, offset=Offset.PLAIN, minimum=True)
SMALL = {"activation_words": 16, "weight_words": 16, "accumulator_rows": 64}


def small(*variants, **sizes):
    """An array of tables of two activations, with groups of a few cycles."""
    values = {"rows": 1, "columns": 2, "k": 2, "groups_per_lane": 4, "outputs": 2}
    values |= {"group": 32, "data_bytes": 4}
    return LookupArray(**(values | sizes), variants=variants)


def floats(*variants, **sizes):
    """The same with scales of half precision."""
    return small(*variants, **({"groups_per_lane": 8, "scales": "fp16"} | sizes))


class Totals(LookupArray):
    """Any array, its groups with totals as those of fp16 activations have them: such arrays are too large to be proved."""

    def zero_words(self, format: LookupFormat) -> int:
        return 0

    def total_words(self, format: LookupFormat) -> int:
        return self.lookups(format) if format.doubled else 0


def totals(*variants, **sizes):
    """``small`` with totals."""
    array = small(*variants, **sizes)
    return Totals(**{field.name: getattr(array, field.name) for field in fields(array)})


def fresh_distance(array: LookupArray, before) -> int:
    """Cycles from a group's first scale, of format ``before``, to that of the next command's first group."""
    # Its last result is written when the other's first is at its accumulator: both may be in one row.
    last = (before.passes * array.outputs - 1) * array.spacing(before) + array.rows - 1
    return last + 1 + array.geometry.accumulate


def rests(array: LookupArray) -> tuple[list[int], int]:
    """Fewest cycles from a group's end to the next one's first scale: by format, and to that of the next command."""
    tails = {one: array.tail_words(one) for one in array.variants}
    own = [array.scale_cycles(one) - tails[one] for one in array.variants]
    return own, max(fresh_distance(array, one) - tails[one] for one in array.variants)


class PlannerRules(CommandRules):
    """``CommandRules``, and the law of the cycles: the results of a group are through before the next one's come."""

    def __init__(self, array: LookupArray, kind=LookupPlanner):
        self._half = SMALL["accumulator_rows"] // 2
        super().__init__(array, kind(design=design_for(array, **SMALL), array=array), LOOKUP_SETUP)

    def law(self, m, kept, given, again) -> None:
        array, plan = self._array, self._dut.plan.payload
        depth, rows = kept.depth_tiles, kept.row_tiles * array.rows
        full, last = depth > array.group_words, (depth - 1)[: len(depth)] % array.group_words + 1
        zeros = chosen(kept.variant, array, array.zero_words)
        totals = chosen(kept.variant, array, array.total_words)
        own, fresh = rests(array)
        least = Array(own)[kept.variant]

        def pause(words, least):
            missing = least - zeros - totals - words * array.slices * lookups
            return Mux(missing > 0, missing, 0)

        lookups = chosen(kept.variant, array, array.lookups)
        first = Mux(full, array.group_words, last)
        m.d.comb += [
            Assert(plan.pause == pause(array.group_words, least)),
            Assert(plan.last_pause == pause(last, least)),
            Assert(plan.first_pause == pause(first, least)),
            Assert(plan.fresh_pause == pause(first, fresh)),
            Assert(plan.offset == chosen(kept.variant, array, lambda one: one.offset)),
            Assert(plan.last_plane == chosen(kept.variant, array, lambda one: one.bits) - 1),
            Assert(plan.minimum == chosen(kept.variant, array, lambda one: one.minimum)),
            Assert(plan.total == (totals != 0)),
            Assert(plan.zero == (zeros != 0)),
            Assert(implies(plan.zero, plan.last_zero == zeros - 1)),
            # Places of a tile's rows one after another, columns after all rows.
            Assert(plan.too_many == (rows * array.outputs > self._half)),
            Assert(implies(~plan.too_many, plan.stride == rows)),
            Assert(implies(~plan.too_many, plan.span == rows * (array.outputs - 1))),
            Assert(implies(~plan.too_many, plan.skip == rows * (array.outputs - 1) + array.rows)),
            Cover(given & full & (plan.last_pause != plan.pause)),
            Cover(again & ~full & (plan.fresh_pause != 0) & plan.too_many),
        ]


@pytest.mark.parametrize("array", [
    small(W1, ASYM2), *later(small(W2, BIPOLAR2, rows=3, outputs=3, columns=3, group=64)),
    *later(array_for(variants=(W4, ASYM4, W1), columns=8, group=64)),
    small(W3, outputs=4, columns=4, data_bytes=16, rows=8), floats(W1, PLAIN2M),
    *later(floats(ASYM2, PLAIN2M, rows=3, outputs=3, columns=3, group=64)), totals(BIPOLAR2, ASYM3, W4),
])  # fmt: skip
def test_planner_keeps_the_rules(array):
    prove(PlannerRules(array), depth=LOOKUP_SETUP, reach=14)


@pytest.mark.parametrize(
    "bug",
    [
        ("array.pause(one, words, fresh=fresh)", "array.pause(one, words)"),
        ("Mux(short, last_fresh, full_fresh)", "full_fresh"),
        ("Mux(short, planned.last_pause, planned.pause)", "planned.pause"),
        ("max(0, array.zero_words(one) - 1)", "array.zero_words(one)"),
        ("planned.span + array.rows", "planned.span"),
        ("setup = LOOKUP_SETUP", "setup = LOOKUP_SETUP - 1"),
        *later(
            ("range(1, array.group_words + 1)", "range(array.group_words)"),
            ("array.zero_words(one) > 0", "array.zero_words(one) > 2"),
            ("one.bits - 1", "one.bits // 2"),
            ("rows * (array.outputs - 1)", "rows * array.outputs"),
            ("rows > self._design", "rows >= self._design"),
        ),
    ],
)
def test_planner_with_a_bug(bug):
    array = small(W1, ASYM2, W4, groups_per_lane=8, outputs=9, columns=9)
    refute(PlannerRules(array, mutant(LookupPlanner, bug)), depth=8)


class FrontRules(Elaboratable):
    """``LookupPlanner`` and ``LookupSequencer`` as a core joins them: words of groups in turn, as a command's sizes say."""

    def __init__(self, array: LookupArray, *, most, sequencer=LookupSequencer):
        design = design_for(array, **SMALL)
        self._array, self._most = array, most
        self._planner = LookupPlanner(design=design, array=array)
        self._sequencer = sequencer(design=design, array=array)

    def elaborate(self, platform):
        m = Module()
        dut, array = self._sequencer, self._array
        front = join(m, self._planner, dut, variants=len(array.variants), most=self._most)
        halted, given, self._now = front.halted, front.given, front.now
        runs = dut.zero | dut.step | dut.scale
        at = self._walk(m, given, runs)
        # Given, and its first group has not begun; a command's first group has; a group goes on.
        due, under_way, active = Signal(), Signal(), Signal()
        fresh = dut.group & ~under_way
        last, stopped = runs & at.group_end, previous(m, dut.stop, "stopped")
        ends = last & ((at.tile_end & at.final) | stopped)
        m.d.sync += [
            due.eq((given | (due & ~fresh)) & ~dut.halt),
            under_way.eq((fresh | under_way) & ~ends & ~dut.halt),
            active.eq((dut.group | active) & ~last & ~dut.halt),
        ]
        m.d.comb += [
            # A command is taken when the one before it ends.
            Assert(dut.plan.ready == ((ends | ~(due | under_way)) & ~dut.halt)),
            Assert(implies(~halted, dut.running == (due | under_way))),
            # Words go on to the end of the group, or to a halt, which leaves nothing.
            Assert(implies(~halted, runs == (dut.group | active))),
            Assert(implies(dut.group, ~active & (due | under_way))),
            Assert(implies(halted, ~(runs | dut.chunk | dut.word | dut.group | dut.running))),
            Assert(dut.group_last == last),
            Assert(dut.ends == ends),
            Cover(ends & at.tile_end & at.final & (self._now.row_tiles == 2) & (self._now.column_tiles == 1)),
            Cover(ends & at.tile_end & at.final & (self._now.column_tiles == 2) & (self._now.row_tiles == 1)),
            Cover(ends & at.tile_end & (self._now.depth_tiles > array.group_words)),
            Cover(ends & ~at.final & stopped),
        ]
        self._flags(m, runs, at)
        self._times(m, given, at, fresh, last, due & ~halted, under_way & ~active & ~halted)
        self._banks(m, at)
        return m

    def _of(self, what):
        """``what`` of the format of the command under way."""
        return chosen(self._now.variant, self._array, what)

    def _walk(self, m: Module, given, runs) -> SimpleNamespace:
        """Where a word is: ``part`` (zero points, lookups, scales), ``index`` in it; its lookup, activations and tile.

        ``total``: it is one of the lookups of totals, which ``word`` has before them.
        """
        array, now = self._array, self._now
        part, index, slice_, plane, place = Signal(2), Signal(5), Signal(2), Signal(2), Signal(4)
        word, row, column, total = Signal(4), Signal(2), Signal(2), Signal()
        zeros = self._of(array.zero_words)
        first_part = Mux(zeros == 0, 1, 0)
        place_end = place == array.outputs - 1
        chunk_end = place_end & (plane == self._of(lambda one: one.bits - 1))
        word_end = chunk_end & (slice_ == array.slices - 1)
        in_group = word % array.group_words
        final_slice = (slice_ == array.slices - 1) & (
            (word == now.depth_tiles - 1) | (in_group == array.group_words - 1)
        )
        final_chunk = Mux(self._of(array.total_words) == 0, final_slice, total)
        group_end = (part == 2) & (index == self._of(array.tail_words) - 1)
        tile_end = group_end & (word == now.depth_tiles - 1)
        with m.If(given):
            after = chosen(self._planner.plan.payload.command.variant, array, array.zero_words)
            m.d.sync += [part.eq(Mux(after == 0, 1, 0)), index.eq(0), slice_.eq(0), plane.eq(0), place.eq(0)]
            m.d.sync += [word.eq(0), row.eq(0), column.eq(0), total.eq(0)]
        with m.Elif(runs & (part == 1)):
            m.d.sync += [
                place.eq(Mux(place_end, 0, place + 1)),
                plane.eq(Mux(chunk_end, 0, plane + place_end)),
            ]
            with m.If(chunk_end & final_chunk):
                m.d.sync += [part.eq(2), slice_.eq(0), total.eq(0)]
            with m.Elif(chunk_end & final_slice):
                m.d.sync += total.eq(1)
            with m.Else():
                m.d.sync += slice_.eq(Mux(word_end, 0, slice_ + chunk_end))
            with m.If(word_end & ~final_slice):
                m.d.sync += word.eq(word + 1)
        with m.Elif(runs):
            m.d.sync += index.eq(index + 1)
            with m.If((part == 0) & (index == zeros - 1)):
                m.d.sync += [part.eq(1), index.eq(0)]
            with m.If(group_end):
                m.d.sync += [part.eq(first_part), index.eq(0), word.eq(Mux(tile_end, 0, word + 1))]
            with m.If(tile_end):
                m.d.sync += row.eq(row + 1)
                with m.If(row == now.row_tiles - 1):
                    m.d.sync += [row.eq(0), column.eq(column + 1)]
        return SimpleNamespace(
            part=part, index=index, slice=slice_, plane=plane, place=place, word=word, row=row, column=column,
            chunk_end=chunk_end, final_chunk=final_chunk, group_end=group_end, tile_end=tile_end, in_group=in_group,
            total=total, zeros=zeros, first_part=first_part, final=(row == now.row_tiles - 1) & (column == now.column_tiles - 1),
        )  # fmt: skip

    def _flags(self, m: Module, runs, at) -> None:
        """What each word is said to be."""
        dut, now, array = self._sequencer, self._now, self._array
        chunk = dut.step & (at.place == 0) & (at.plane == 0)
        first_chunk = (at.in_group == 0) & (at.slice == 0) & ~at.total
        fresh = (at.row == 0) & (at.column == 0)
        top = dut.step & (at.plane == self._of(lambda one: one.bits - 1))
        starts = runs & (at.part == at.first_part) & (at.index == 0) & (at.in_group == 0)
        m.d.comb += [
            Assert(implies(runs, Cat(dut.zero, dut.step, dut.scale) == 1 << at.part)),
            Assert(implies(runs, (at.word < now.depth_tiles) & (at.row < now.row_tiles) & (at.column < now.column_tiles))),
            Assert(implies(runs, dut.current.command.variant == now.variant)),
            Assert(implies(runs, dut.current.offset == self._of(lambda one: one.offset))),
            Assert(implies(dut.zero | dut.scale, dut.index == at.index)),
            Assert(implies(dut.step, (dut.place == at.place) & (dut.plane == at.plane))),
            Assert(dut.group == (starts & implies(at.part == 1, chunk & first_chunk))),
            Assert(dut.chunk == chunk),
            Assert(dut.word == (chunk & (at.slice == 0) & ~at.total)),
            Assert(dut.total == (dut.step & at.total)),
            Assert(implies(dut.step, dut.first_chunk == first_chunk)),
            Assert(implies(runs, dut.first_group == (at.word < array.group_words))),
            Assert(implies(runs, dut.fresh == fresh)),
            Assert(implies(runs & dut.first_group & ~fresh, dut.again == (at.row != 0))),
            # Of the cycle before.
            Assert(dut.top == previous(m, top, "top_before")),
            Assert(dut.last == previous(m, top & at.final_chunk, "last_before")),
        ]  # fmt: skip

    def _times(self, m: Module, given, at, fresh, last, due, between) -> None:
        """Each group begins at its time, the first (``due``) as the next ones; they end far enough from each other."""
        dut, array = self._sequencer, self._array
        apart, waits = Signal(range(128), init=127), Signal(range(128))
        m.d.sync += [
            apart.eq(Mux(last, 1, apart + (apart != 127))),
            waits.eq(Mux(given, 1, waits + (waits != 127))),
        ]
        # Of the group that begins or is to begin.
        left = (self._now.depth_tiles - at.word)[:5]
        words = Mux(left < array.group_words, left, array.group_words)
        cycles = at.zeros + words * array.slices * self._of(array.lookups) + self._of(array.total_words)

        def pause(least):
            missing = (least - cycles)[:9].as_signed()
            return Mux(missing > 0, missing, 0)

        own, other = rests(array)
        least, most = pause(Array(own)[self._now.variant]), pause(other)
        m.d.comb += [
            Assert(implies(due, Mux(dut.group, waits == 1 + most, waits <= most))),
            Assert(implies(between, Mux(dut.group, apart == 1 + least, apart <= least))),
            Cover(fresh & (waits == 1 + most) & (apart == 1 + most) & (at.row == 0)),
        ]
        self._results(m, at)

    def _results(self, m: Module, at) -> None:
        """Results begin with a group's first scale, or so many cycles later: those of the group before are then through."""
        dut, array = self._sequencer, self._array
        since, busy, far = Signal(range(128), init=127), Signal(range(128)), Signal(range(128))
        begins = dut.scale & (at.index == 0)
        fresh = (at.word < array.group_words) & (at.row == 0) & (at.column == 0)
        m.d.sync += since.eq(Mux(dut.halt, 127, Mux(begins, 1, since + (since != 127))))
        with m.If(begins):
            m.d.sync += [
                busy.eq(self._of(array.scale_cycles)),
                far.eq(self._of(lambda one: fresh_distance(array, one))),
            ]
        m.d.comb += [
            Assert(implies(begins, since >= Mux(fresh, far, busy))),
            Cover(begins & fresh & (since == far)),
            Cover(begins & ~fresh & (since == busy)),
        ]

    def _banks(self, m: Module, at) -> None:
        """Chunk after chunk has another bank of tables, which is not filled while the chunk before in it is looked up."""
        dut, entries = self._sequencer, self._array.entries
        since, whole = Signal(range(entries + 1), init=entries), dut.step & at.chunk_end
        before, known = Signal(), Signal()  # the bank of the last whole chunk
        m.d.sync += since.eq(Mux(dut.chunk, 1, Mux(dut.halt, entries, since + (since != entries))))
        with m.If(whole):
            m.d.sync += [before.eq(dut.bank), known.eq(1)]
        m.d.comb += Assert(implies(dut.step & known, dut.bank != before))
        # Filling takes so many cycles, which begin one after another.
        m.d.comb += Assert(implies(dut.chunk, since == entries))
        for bank in range(2):
            rest = Signal(range(entries + 1), init=entries, name=f"rest_{bank}")
            m.d.sync += rest.eq(Mux(whole & (dut.bank == bank), 1, rest + (rest != entries)))
            m.d.comb += Assert(implies(dut.chunk & (dut.bank == bank), rest == entries))


def front(array, *, depth=None, **kinds):
    """Rules of commands of two tiles each way, and of a group and a word."""
    most = {"row_tiles": 2, "column_tiles": 2, "depth_tiles": depth or array.group_words + 1}
    return FrontRules(array, most=most, **kinds)


BRISK = small(W1, ASYM2, groups_per_lane=8)
"""Groups of a few cycles, which pause."""
FLOATS = floats(W1, PLAIN2M)
FRONT = small(W1, ASYM2, data_bytes=16)
TOTALS, LONG_TOTALS = totals(W1, ASYM2), totals(W1, ASYM2, data_bytes=16)
"""Words of activations of a chunk, and of two."""


@pytest.mark.long
def test_words_of_a_front():
    assert FRONT.least_chunk == 2
    check(front(FRONT), depth=34)


@pytest.mark.long
def test_totals_of_a_front():
    assert (TOTALS.slices, LONG_TOTALS.slices) == (1, 2)
    check(front(TOTALS), depth=38)
    check(front(LONG_TOTALS), depth=45)


@pytest.mark.long
@pytest.mark.parametrize(("array", "depth"), [
    (BRISK, 45), (small(W1, ASYM3, outputs=3, columns=3, data_bytes=16), 50), (small(W1, W2), 50),
    (FLOATS, 62),
])  # fmt: skip
def test_words_of_a_front_for_longer(array, depth):
    check(front(array), depth=depth)


@pytest.mark.parametrize(
    "bug",
    [
        (
            "((final_word & final_row & final_columns) | self.stop)",
            "(final_word & final_row & final_columns)",
        ),
        ("self.bank ^ self._chunk_last", "self.bank ^ word_last"),
        ("self._final_slice & group_final)", "group_final)"),
        ("self.top.eq(stepped & plane_final)", "self.top.eq(plane_final)"),
        ("Mux(load, after.zero, current.zero)", "current.zero"),
        *later(
            ("self._tiles(m, self.group_last & tile_final, load)", "self._tiles(m, self.group_last, load)"),
            ("self.index == last_scale", "1"),
            ("(self._chunk_last & ~code_last)", "self._chunk_last"),
            ("self._final_slice & group_final)", "self._final_slice & tile_final)"),
            ("self.plane == self.current.last_plane", "self.plane == array.planes - 1"),
            ("Mux(self.step & ~code_last, slice_ + self._chunk_last, 0)", "slice_ + self._chunk_last"),
            ("(command_end | ~self.running)", "~self.running"),
            (
                "(codes | (self.step & ~code_last)) & ~self.halt",
                "codes | (self.step & ~code_last & ~self.halt)",
            ),
        ),
    ],
)
def test_words_with_a_bug(bug):
    refute(front(FRONT, sequencer=mutant(LookupSequencer, bug)), depth=26)


@pytest.mark.parametrize(
    "bug",
    [
        ("(word_last & ~group_final)) & ~self.halt", "(word_last & ~code_last)) & ~self.halt"),
        *later(
            ("Mux(total, total_before,", "Mux(total, 0,"),
            ("total_before.eq(self.total)", "total_before.eq(0)"),
            ("self.total & self._chunk_last, word_last", "self.total, word_last"),
            ("self._final_slice & ~self.total", "self._final_slice"),
            ("(self.total & ~self._chunk_last)) & ~self.halt", "(self.total & ~self._chunk_last))"),
        ),
    ],
)
def test_totals_with_a_bug(bug):
    refute(front(TOTALS, sequencer=mutant(LookupSequencer, bug)), depth=26)


@pytest.mark.parametrize(
    "bug",
    [
        ("Mux(load, after.fresh_pause, here)", "Mux(load, after.first_pause, here)"),
        ("Mux(next_last, current.last_pause, current.pause)", "current.last_pause"),
        *later(
            ("Mux(next_last, current.last_pause, current.pause)", "current.pause"),
        ),
    ],
)
def test_pauses_with_a_bug(bug):
    refute(front(BRISK, depth=5, sequencer=mutant(LookupSequencer, bug)), depth=20)


@pytest.mark.long
def test_minimums_with_a_bug():
    array = floats(ASYM2, PLAIN2M)
    planner = mutant(LookupPlanner, ("one.minimum for one", "one.doubled for one"))
    refute(PlannerRules(array, planner), depth=8)
    sequencer = mutant(LookupSequencer, ("Mux(self.current.minimum, 2 * words - 1, words - 1)", "words - 1"))
    refute(front(array, sequencer=sequencer), depth=45)
