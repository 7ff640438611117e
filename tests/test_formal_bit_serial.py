"""The front of a bit-serial core: commands are prepared once, and carried out group by group; words are read in turn."""

from __future__ import annotations

import pytest
from amaranth.hdl import Array, Assert, Cat, Cover, Elaboratable, Module, Mux, Signal, Value

from hw.array.bit_serial.geometry import LOWER_WORD, BitSerial
from hw.array.bit_serial.plan import Planner
from hw.array.bit_serial.sequencer import Sequencer
from hw.array.bit_serial.words import WordTimes
from hw.pe.weight_format import NIBBLE
from hw.timing import BIT_SERIAL_SETUP
from tests.bit_serial_bench import ALL, array_for, design_for
from tests.formal import check, mutant, previous, prove, refute
from tests.formal_front import CommandRules, chosen, join
from tests.formal_inside import implies

INT8, INT6, INT5, INT4, FP4, FP3 = ALL
SMALL = {"activation_words": 16, "weight_words": 16, "accumulator_rows": 16}


class PlannerRules(CommandRules):
    """``CommandRules``, and the law of the cycles: a group that is too short waits until it has been ``least`` cycles."""

    def __init__(self, array: BitSerial, kind=Planner):
        super().__init__(array, kind(design=design_for(array, **SMALL), array=array), BIT_SERIAL_SETUP)

    def law(self, m, kept, given, again) -> None:
        array, plan = self._array, self._dut.plan.payload
        depth = kept.depth_tiles
        last = (depth - 1)[: len(depth)] % array.group_words + 1
        cycles = chosen(kept.variant, array, array.word_cycles)
        m.d.comb += [
            Assert(plan.first_pause == Mux(depth <= array.group_words, plan.last_pause, plan.pause)),
            Assert(plan.format == chosen(kept.variant, array, lambda one: one)),
            Assert(plan.terms_left == chosen(kept.variant, array, lambda one: one.terms - 2)),
            Cover(given & (depth > array.group_words) & (plan.last_pause != 0)),
            Cover(again & (depth <= array.group_words) & (plan.last_pause == 0)),
        ]
        for words, pause in ((array.group_words, plan.pause), (last, plan.last_pause)):
            missing = array.least - words * cycles
            m.d.comb += Assert(pause == Mux(missing > 0, missing, 0))


@pytest.mark.parametrize("array", [
    array_for(rows=1, columns=1, data_bytes=4), array_for(rows=3, columns=1, group=128, variants=(INT6, FP3)),
    array_for(rows=10, columns=1, group=64, variants=(INT8, FP4)), array_for(rows=2, columns=1, lanes=16),
])  # fmt: skip
def test_planner_keeps_the_rules(array):
    prove(PlannerRules(array), depth=BIT_SERIAL_SETUP, reach=14)


@pytest.mark.parametrize(
    "bug",
    [
        ("Signal(), ~self.busy & ~self.halt", "Signal(), ~self.busy"),
        ("stages.eq(0), self.plan.valid.eq(0)", "self.plan.valid.eq(0)"),
        ("self.plan.valid.eq(~self.plan.ready)", "self.plan.valid.eq(0)"),
        ("array.pause(one, words + 1)", "array.pause(one, words)"),
        ("Mux(short, planned.last_pause, planned.pause)", "planned.pause"),
        ("else command.depth_tiles - 1", "else command.depth_tiles"),
        ("taken.eq(self.command.valid & ready)", "taken.eq(self.command.valid)"),
    ],
)
def test_planner_with_a_bug(bug):
    refute(PlannerRules(array_for(rows=1, columns=1, data_bytes=4), mutant(Planner, bug)), depth=9)


class Queue:
    """A few codes of two bits, in order; several may come and go in a cycle."""

    def __init__(self, m: Module, name: str):
        self._m, self.codes, self.count = (
            m,
            Signal(24, name=f"{name}_codes"),
            Signal(range(13), name=f"{name}_count"),
        )
        self._added, self._number = 0, 0
        self._left, self._left_count = self.codes, self.count

    def push(self, when, code: int) -> None:
        """At the end, after what was pushed before it in this cycle."""
        self._added = self._added | Mux(when, code, 0) << 2 * self._number
        self._number = (self._number + when)[:2]

    def pop(self, when, code) -> None:
        """What goes in a cycle with ``when`` is ``code``."""
        taken = when & (self._left_count != 0) & (self._left[:2] == code)
        self._m.d.comb += Assert(implies(when, taken))
        self._left, self._left_count = Mux(when, self._left >> 2, self._left), (self._left_count - when)[:4]

    def done(self) -> None:
        """All of a cycle has been said."""
        self._m.d.sync += [
            self.codes.eq(self._left | self._added << 2 * self._left_count),
            self.count.eq(self._left_count + self._number),
        ]
        self._m.d.comb += Assert(self.count < 9)


class FrontRules(Elaboratable):
    """``Planner``, ``Sequencer`` and ``WordTimes`` as a core joins them: groups and steps as a command's sizes say.

    Commands are small, and a halt lasts two cycles or more.
    """

    def __init__(self, array: BitSerial, *, most, sequencer=Sequencer, words=WordTimes):
        design = design_for(array, **SMALL)
        self._array, self._most = array, most
        self._planner = Planner(design=design, array=array)
        self._sequencer = sequencer(design=design, array=array)
        self._words = words(formats=array.formats)

    def _join(self, m: Module) -> None:
        dut, words = self._sequencer, self._words
        front = join(m, self._planner, dut, variants=len(self._array.variants), most=self._most)
        self.halted, self.now, self.given = front.halted, front.now, front.given
        m.submodules.words = words
        m.d.comb += [
            words.slice.eq(dut.slice),
            words.group.eq(dut.group),
            words.part.eq(dut.part),
            words.format.eq(dut.current.format),
        ]

    def elaborate(self, platform):
        m = Module()
        self._join(m)
        dut, now, array = self._sequencer, self.now, self._array
        halt, halted = dut.halt, self.halted
        executes = ~dut.plan.payload.command.configure
        # Given; its first group has begun; a group goes on.
        due, under_way, active = Signal(), Signal(), Signal()
        fresh = dut.group & ~under_way
        term, slice_, word, row, column = at = Signal(2), Signal(1), Signal(4), Signal(2), Signal(2)
        tile_end, group_end = self._walk(m, *at)
        final = (row == now.row_tiles - 1) & (column == now.column_tiles - 1)
        # A halt lets out what has come of a sum.
        dropped = dut.halt & dut.step
        for age in range(max(one.terms for one in array.formats)):
            dropped = previous(m, dropped, f"dropped_{age}")
        last = dut.step & group_end
        stopped = previous(m, dut.stop, "stopped")
        ends = last & ((tile_end & final) | stopped)
        m.d.sync += [
            due.eq(((self.given & executes) | (due & ~fresh)) & ~halt),
            under_way.eq((fresh | under_way) & ~ends & ~halt),
            active.eq((dut.group | active) & ~last & ~halt),
        ]
        configures = previous(m, self.given & ~executes, "configures")
        m.d.comb += [
            # A command is taken when the one before it ends; a CONFIGURE ends at once.
            Assert(dut.plan.ready == ((ends | dropped | ~(due | under_way)) & ~halt)),
            Assert(dut.configure == configures),
            Assert(dut.ends == (ends | dropped | configures)),
            Assert(implies(~halted, dut.running == (due | under_way | dut.configure))),
            # Steps go on to the end of the group; slices, words, groups begin as their sizes say.
            Assert(implies(~halted, dut.step == (dut.group | active))),
            Assert(dut.slice == (dut.step & (term == 0))),
            Assert(dut.word == (dut.slice & ~slice_)),
            Assert(dut.group == (dut.word & (word[:2] == 0))),
            Assert(implies(dut.group, ~active & (due | under_way))),
            Assert(dut.group_last == (last | dropped)),
            Assert(
                implies(
                    dut.step, (word < now.depth_tiles) & (row < now.row_tiles) & (column < now.column_tiles)
                )
            ),
            Assert(implies(dut.step, dut.part == Cat(slice_, word[0]))),
            Assert(implies(dut.step, dut.first_group == (word < array.group_words))),
            Assert(implies(dut.step, dut.fresh == ((row == 0) & (column == 0)))),
            Assert(implies(dut.group & dut.first_group & ~dut.fresh, dut.again == (row != 0))),
            # A halt leaves nothing.
            Assert(
                implies(halted, ~(dut.step | dut.slice | dut.word | dut.group | dut.running & ~configures))
            ),
            Cover(ends & tile_end & final & (now.row_tiles == 2)),
            Cover(ends & tile_end & final & (now.column_tiles == 2)),
            Cover(ends & tile_end & (now.depth_tiles > array.group_words) & (now.row_tiles == 1)),
            Cover(ends & ~final & stopped),
        ]
        self._times(m, word, fresh, last, due & ~halted, under_way & ~active & ~halted)
        self._words_in_turn(m)
        return m

    def _walk(self, m: Module, term, slice_, word, row, column) -> tuple[Value, Value]:
        """Steps over terms, slices, words, rows and columns in that order; whether a tile ends, and a group."""
        dut, now = self._sequencer, self.now
        slice_end = term == chosen(now.variant, self._array, lambda one: one.terms) - 1
        word_end = slice_end & slice_
        tile_end = word_end & (word == now.depth_tiles - 1)
        with m.If(self.given):
            m.d.sync += [term.eq(0), slice_.eq(0), word.eq(0), row.eq(0), column.eq(0)]
        with m.Elif(dut.step):
            m.d.sync += term.eq(Mux(slice_end, 0, term + 1))
            with m.If(slice_end):
                m.d.sync += slice_.eq(~slice_)
            with m.If(word_end):
                m.d.sync += word.eq(Mux(tile_end, 0, word + 1))
            with m.If(tile_end):
                m.d.sync += row.eq(row + 1)
                with m.If(row == now.row_tiles - 1):
                    m.d.sync += [row.eq(0), column.eq(column + 1)]
        return tile_end, tile_end | (word_end & (word[:2] == 3))

    def _times(self, m: Module, word, fresh, last, due, between) -> None:
        """Each group begins at its time, the first (``due``) as the next ones; they end far enough from each other."""
        dut, now, array = self._sequencer, self.now, self._array
        apart, waits = Signal(range(64), init=63), Signal(range(64))
        m.d.sync += [
            apart.eq(Mux(last, 1, apart + (apart != 63))),
            waits.eq(Mux(self.given, 1, waits + (waits != 63))),
        ]
        left = now.depth_tiles - word
        # Of the group that begins or is to begin.
        words = Mux(left < array.group_words, left, array.group_words)
        terms = chosen(now.variant, array, lambda one: one.terms)
        missing = (array.least - words * array.slices * terms)[:8].as_signed()
        pause = Mux(missing > 0, missing, 0)
        m.d.comb += [
            Assert(implies(due, Mux(dut.group, waits == 1 + pause, waits <= pause))),
            Assert(implies(between, Mux(dut.group, apart == 1 + pause, apart <= pause))),
            Assert(implies(last, apart >= array.least)),
            Cover(fresh & (waits == 1) & (apart == 1)),
        ]

    def _words_in_turn(self, m: Module) -> None:
        """Words are read as they lie in memory, and are there when their slice begins, not before the one before it has."""
        dut, array, read = self._sequencer, self._array, self._words

        def comes(bits: str):
            """The slice is the first of those that share a word."""
            ways = [getattr(one.way, bits) for one in array.variants]
            masks = Array(NIBBLE // way - 1 if way else 0 for way in ways)
            return (
                dut.slice
                & Array(way != 0 for way in ways)[self.now.variant]
                & ((dut.part & masks[self.now.variant]) == 0)
            )

        scale, high, low, start = 1, 2, 3, 1
        memory, use = Queue(m, "memory"), Queue(m, "use")
        starts = dut.slice
        for age in range(LOWER_WORD + 1):
            starts = previous(m, starts, f"starts_{age}")
        reading = Cat(read.scale, read.high, read.low)
        memory.pop(reading.any(), Mux(read.scale, scale, Mux(read.high, high, low)))
        use.pop(starts, start)
        use.pop(read.high | read.low, Mux(read.high, high, low))
        memory.push(dut.group, scale)
        for bits, code in (("high", high), ("low", low)):
            when = comes(bits)
            memory.push(when, code)
            use.push(when, code)
        use.push(dut.slice, start)
        memory.done()
        use.done()
        since = Signal(range(LOWER_WORD + 2), init=LOWER_WORD + 1)
        m.d.sync += since.eq(Mux(dut.slice, 1, since + (since <= LOWER_WORD)))
        m.d.comb += [
            Assert((reading & (reading - 1)[:3]) == 0),
            Assert(read.scale == previous(m, dut.group, "begun")),
            Assert(implies(since > LOWER_WORD, memory.count == 0)),
        ]


def front(*variants, most, **kinds):
    """Rules of a small array for weights of these formats."""
    return FrontRules(array_for(rows=1, columns=1, data_bytes=4, variants=variants), most=most, **kinds)


TILES = {"row_tiles": 2, "column_tiles": 2, "depth_tiles": 5}


@pytest.mark.long
def test_groups_of_a_front():
    check(front(INT4, FP3, most=TILES), depth=30)


@pytest.mark.long
@pytest.mark.parametrize("variants", [(FP3, INT4), (INT8, FP4), (INT6, FP3), (INT5, INT6)])
def test_groups_of_a_front_for_longer(variants):
    check(front(*variants, most=TILES), depth=40)


@pytest.mark.parametrize(
    "bug",
    [
        (
            "((final_word & final_row & final_columns) | self.stop)",
            "(final_word & final_row & final_columns)",
        ),
        ("left[-1] | place.all()", "left[-1]"),
        ("Mux(starts, after.first_pause, here)", "after.first_pause"),
        ("Mux(next_last, current.last_pause, current.pause)", "current.pause"),
        ("Mux(self.step & ~self.group_last, self.part + slice_last, 0)", "self.part + slice_last"),
        ("dropped.eq(delayed(m, self.halt & self.step,", "dropped.eq(delayed(m, self.halt & 0,"),
        ("self.again.eq(~rows_left[-1])", "self.again.eq(1)"),
        ("columns_left - rows_left[-1]", "columns_left - 1"),
        (
            "self.word.eq((begins | (word_last & ~self.group_last)) & ~self.halt)",
            "self.word.eq(begins & ~self.halt)",
        ),
    ],
)
def test_groups_with_a_bug(bug):
    refute(front(INT8, FP4, most=TILES, sequencer=mutant(Sequencer, bug)), depth=30)


@pytest.mark.parametrize(
    "bug",
    [
        ("delayed(m, self.group, 1)", "delayed(m, self.group, 2)"),
        ("delayed(m, high, LOWER_WORD - 1)", "delayed(m, high, LOWER_WORD)"),
        ("delayed(m, second, 1) | only, LOWER_WORD - 1", "second | only, LOWER_WORD"),
        ("exact_log2(NIBBLE // bits)", "1"),
    ],
)
def test_words_with_a_bug(bug):
    refute(front(INT4, FP3, most=TILES, words=mutant(WordTimes, bug)), depth=24)
