"""The front of a systolic core: commands are prepared once, and carried out tile by tile, as often as they say."""

from __future__ import annotations

import pytest
from amaranth.hdl import Assert, Assume, C, Cat, Cover, Elaboratable, Module, Mux, Signal, Value
from amaranth.lib import data, wiring

from hw.array.geometry import least_interval
from hw.array.output_sequencer import OutputSequencer
from hw.array.setup import TURN, Setup
from hw.array.weight_sequencer import WeightSequencer
from hw.design import Design, Geometry
from hw.timing import ACCUMULATE, SYSTOLIC_SETUP
from tests.formal import check, free, holds, mutant, previous, prove, refute
from tests.formal_inside import implies


def design(*, tile_rows=1, tile_depth=1, activation_bytes=4) -> Design:
    """As small as can be."""
    geometry = Geometry(
        tile_rows=tile_rows,
        columns=1,
        tile_depth=tile_depth,
        activation_bytes=activation_bytes,
        weight_bytes=1,
        weight_words=tile_depth,
    )
    return Design(
        geometry=geometry,
        data_bytes=4,
        address_width=32,
        burst_beats=4,
        outstanding=2,
        activation_words=16,
        weight_words=16,
        accumulator_rows=8,
        parameter_entries=4,
        output_lanes=1,
    )


class SetupRules(Elaboratable):
    """A command comes out once, as it went in, with its numbers, after ``SYSTOLIC_SETUP - 2`` cycles; unless halted."""

    def __init__(self, rows, word, kind=Setup, *, step_bytes=1):
        self._rows, self._word = rows, word
        self._dut = kind(
            design=design(tile_rows=rows, activation_bytes=word * step_bytes),
            least_interval=least_interval(rows),
            step_bytes=step_bytes,
        )

    @property
    def _least(self):
        """Fewest cycles from tile to tile."""
        return least_interval(self._rows)

    def _allowed(self, command):
        """What decode lets through."""
        return command.depth_tiles != 0

    def _law(self, command):
        """Of its tiles: steps, cycles in which their words are read, and whether the first one must wait."""
        depth = command.depth_tiles
        reading = Cat(depth - 1)[: len(depth)] // self._word * self._word + self._rows
        return depth, reading, depth < self._least

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self._dut
        free(m, dut)
        least = self._least
        plan, counts = dut.plan.payload, dut.command.payload
        taken, given = dut.command.valid & dut.command.ready, dut.plan.valid & dut.plan.ready
        halted, soon = previous(m, dut.halt, "halted"), previous(m, dut.soon & ~dut.halt, "was_soon")
        ready_at = dut.cycles - 2
        owed, age, kept = Signal(), Signal(range(dut.cycles)), Signal.like(counts)
        m.d.sync += [
            owed.eq((taken | (owed & ~given)) & ~dut.halt),
            age.eq(Mux(taken, 1, Mux(age == ready_at, age, age + 1))),
        ]
        with m.If(taken):
            m.d.sync += kept.eq(counts)
        holds(m, dut.plan, name="plan", unless=halted)
        again = Signal()  # a command was dropped before
        m.d.sync += again.eq(again | (dut.plan.valid & dut.halt & ~given))
        m.d.comb += [
            Assume(self._allowed(counts)),
            Assert(dut.busy == owed),
            Assert(dut.command.ready == (~owed & ~dut.halt)),
            Assert(dut.plan.valid == (owed & (age == ready_at))),
            Assert(dut.plan.valid == soon),
            Assert(implies(owed, Value.cast(plan.command) == Value.cast(kept))),
            Assert(implies(owed, (age != 0) & self._allowed(kept))),
            Cover(given & ~plan.short & (plan.turn_left > 2 * least) & (kept.depth_tiles < 8 * least)),
            Cover(dut.plan.valid & again & (plan.short | (least == 1))),
            Cover(given & previous(m, dut.plan.valid, "waited")),
        ]
        depth, reading, short = self._law(kept)
        longest = Mux(depth > reading, depth, reading)
        interval = Mux(longest > least, longest, least)
        width, count = len(plan.turn_left), len(plan.rows_left)
        with m.If(dut.plan.valid):
            m.d.comb += [
                Assert(plan.rows_left == (kept.row_tiles - 2)[:count]),
                Assert(plan.passes_left == (kept.row_tiles - 3)[:count]),
                Assert(plan.columns_left == (kept.column_tiles - 2)[:count]),
                Assert(plan.depth_left == (depth - 2)[:width]),
                Assert(plan.turn_left == (interval - TURN)[:width]),
            ]
        with m.If(owed & (age >= ready_at - 2)):
            m.d.comb += Assert(plan.short == short)
        return m


@pytest.mark.parametrize(
    ("rows", "word", "step_bytes"),
    [(1, 4, 1), (3, 4, 1), (16, 16, 1), pytest.param(3, 4, 8, marks=pytest.mark.long)],
)
def test_setup_keeps_the_rules(rows, word, step_bytes):
    """Of words of ``word`` steps."""
    prove(SetupRules(rows, word, step_bytes=step_bytes), depth=SYSTOLIC_SETUP, reach=12)


@pytest.mark.parametrize(
    "bug",
    [
        ("self.command.ready.eq(~self.busy & ~self.halt)", "self.command.ready.eq(~self.busy)"),
        ("stages.eq(0), self.plan.valid.eq(0)", "self.plan.valid.eq(0)"),
        ("planned.short & (few < least)", "few < least"),
        ("self.plan.valid.eq(~self.plan.ready)", "self.plan.valid.eq(0)"),
        ("with m.If(self.command.valid & self.command.ready)", "with m.If(self.command.valid)"),
    ],
)
def test_setup_with_a_bug(bug):
    refute(SetupRules(3, 4, mutant(Setup, bug)), depth=9)


class Front(Elaboratable):
    """``Setup`` and a sequencer, joined as a core joins them. Commands are small, and a halt lasts two cycles or more."""

    def __init__(self, sequencer, *, design, least, most):
        self._setup, self._sequencer, self._most = Setup(design=design, least_interval=least), sequencer, most

    def _join(self, m: Module) -> None:
        m.submodules.setup, m.submodules.sequencer = setup, sequencer = self._setup, self._sequencer
        free(m, setup, but=("halt", "plan"))
        free(m, sequencer, but=("plan", "soon"))
        wiring.connect(m, setup.plan, sequencer.plan)
        if hasattr(sequencer, "soon"):
            m.d.comb += sequencer.soon.eq(setup.soon)
        self.halt, counts = sequencer.halt, setup.command.payload
        self.halted = previous(m, self.halt, "halted")
        twice = previous(m, self.halt & self.halted, "halted_twice")
        # Sizes of the command under way, and of the one that was taken last.
        sizes = data.StructLayout({name: range(1 + most) for name, most in self._most.items()})
        self.now, self.next = Signal(sizes), Signal(sizes)
        self.taken = setup.command.valid & setup.command.ready
        m.d.comb += [
            setup.halt.eq(self.halt),
            Assume(implies(self.halted & ~twice, self.halt)),
            Assert(implies(setup.plan.ready, setup.plan.valid)),
        ]
        for name, most in self._most.items():
            m.d.comb += Assume((counts[name] != 0) & (counts[name] <= most))
            with m.If(self.taken):
                m.d.sync += self.next[name].eq(counts[name])


class OutputRules(Front):
    """Tiles of a command come one after the other, each with its steps; results of one have left before the next come."""

    def __init__(self, rows=1, kind=OutputSequencer, *, columns=2):
        small = design(tile_rows=rows)
        self._rows, self._columns, self._least = rows, columns, least_interval(rows)
        most = {"row_tiles": 2, "column_tiles": columns, "depth_tiles": 9 + rows}
        super().__init__(kind(design=small), design=small, least=self._least, most=most)

    def elaborate(self, platform):
        m = Module()
        self._join(m)
        dut, now, least, halt, halted = self._sequencer, self.now, self._least, self.halt, self.halted
        fresh, more = dut.begin & dut.fresh, dut.begin & ~dut.fresh
        waits = Signal()  # a command has been taken, and its first tile has not begun
        under_way = Signal()  # a command has begun, and its end has not come
        active = Signal()  # the same of a tile
        disturbed = Signal()  # the command was told to stop
        row, column, done = Signal(2), Signal(2), Signal(4)
        # Cycles: since a tile began, since its last step, since a command might have begun, since it has.
        since, apart = Signal(range(32), init=31), Signal(range(32), init=31)
        delay, lasts = Signal(range(32)), Signal(range(64))
        m.d.sync += [
            waits.eq((self.taken | (waits & ~fresh)) & ~halt),
            under_way.eq((dut.begin | (under_way & ~dut.ends)) & ~halt),
            active.eq((dut.begin | (active & ~dut.last)) & ~halt),
            disturbed.eq((disturbed & ~fresh) | dut.stop),
            done.eq(Mux(dut.begin, 0, done + dut.step)),
            since.eq(Mux(halt, 31, Mux(dut.begin, 1, since + (since != 31)))),
            apart.eq(Mux(dut.last, 1, apart + (apart != 31))),
            delay.eq(Mux(waits & ~(under_way | dut.begin | halt), delay + 1, 0)),
            lasts.eq(Mux(fresh, 1, lasts + 1)),
        ]
        with m.If(fresh):
            m.d.sync += [now.eq(self.next), row.eq(0), column.eq(0)]
        with m.Elif(more):
            m.d.sync += row.eq(row + 1)
            with m.If(row == now.row_tiles - 1):
                m.d.sync += [row.eq(0), column.eq(column + 1)]
        final = (row == now.row_tiles - 1) & (column == now.column_tiles - 1)
        reading = (now.depth_tiles - 1)[:4] // 4 * 4 + self._rows
        longest = Mux(now.depth_tiles > reading, now.depth_tiles, reading)
        interval = Mux(longest > least, longest, least)
        # A halt lets out what has come of a sum.
        lost = previous(m, dut.step & ~dut.last, "went_on") & halted
        m.d.comb += [
            # A command begins when the one before it has ended, a tile when the one before it has.
            Assert(implies(fresh, waits & (~under_way | dut.ends))),
            Assert(implies(more, under_way & ~dut.ends)),
            Assert(implies(dut.begin, ~active | dut.last)),
            # Steps are those of a tile, and as many as it has; the last says so.
            Assert(halted | (dut.step == active)),
            Assert(implies(dut.step, done < now.depth_tiles)),
            Assert(implies(dut.step & ~disturbed, dut.last == (done == now.depth_tiles - 1))),
            Assert(implies(dut.last, dut.step | lost)),
            # A command has as many tiles as it says, at their interval, and one end.
            Assert(implies(dut.ends, dut.last & (under_way | lost))),
            Assert(implies(dut.step & dut.last & ~disturbed, dut.ends == final)),
            Assert(implies(more & ~disturbed, (since == interval) & ~final)),
            Assert(implies(more, dut.again == (row != now.row_tiles - 1))),
            # Tiles keep apart, and whatever may have stopped them, results have left before the next.
            Assert(implies(dut.begin & ~disturbed, since >= least)),
            Assert(implies(dut.last & ~lost, apart >= least)),
            # It begins soon after the one before has ended, and ends in its time.
            Assert(delay <= max(SYSTOLIC_SETUP, least)),
            Assert(implies(under_way, lasts <= now.row_tiles * now.column_tiles * interval)),
            # A halt leaves nothing.
            Assert(implies(halted, ~(dut.begin | dut.step | dut.read | dut.running))),
            Assert(implies(halted, dut.last == lost)),
            Cover(dut.ends & final & (now.row_tiles == 2) & (now.column_tiles == self._columns)),
            Cover(fresh & (since == interval)),
            Cover(dut.ends & disturbed & ~final & ~halted & (since < now.depth_tiles)),
        ]
        return m


@pytest.mark.parametrize(
    ("rows", "columns", "depth"), [pytest.param(1, 2, 34, marks=pytest.mark.long), (4, 1, 28)]
)
def test_output_stationary_tiles(rows, columns, depth):
    check(OutputRules(rows, columns=columns), depth=depth)


@pytest.mark.parametrize(
    ("rows", "bug"),
    [
        (1, ("self.halt & goes_on", "self.halt & self.running")),
        (1, (" & ~turned),", "),")),
        (1, ("| stopped | cut", "| stopped")),
        (4, ("early[-1] & ", "")),
        (1, (" & (settled | ~self.plan.payload.short)", "")),
        (1, ("self.fresh | rows_left[-1]", "self.fresh")),
        (1, ("(load | more) & ~self.halt", "load | more")),
        (1, ("vacant | (turn & final_tile)", "vacant | (turn & final_tile & ~self.stop)")),
    ],
)
def test_output_stationary_tiles_with_a_bug(rows, bug):
    refute(OutputRules(rows, mutant(OutputSequencer, bug)), depth=24)


class WeightRules(Front):
    """Tiles of a command come one after the other, each behind its weights; a row is added to when it has been written."""

    def __init__(self, rows=2, *bugs):
        small, self._rows = design(tile_depth=rows), rows
        most = {"row_tiles": 7, "column_tiles": 2, "depth_tiles": 2}
        sequencer = mutant(WeightSequencer, *bugs)(design=small)
        super().__init__(sequencer, design=small, least=1, most=most)

    def elaborate(self, platform):
        m = Module()
        self._join(m)
        dut, halt, halted = self._sequencer, self.halt, self.halted
        step, ends = dut.step, dut.ends
        begins, last = step.running & step.first, step.running & step.last
        given = dut.plan.valid & dut.plan.ready
        just_given = previous(m, given, "just_given")
        under_way = Signal()  # a command's steps have begun, and its end has not come
        told, disturbed = Signal(), Signal()  # the command was told to stop, from the cycle before it on
        active = Signal()  # a tile's steps go on
        waiting = Signal(range(3))  # commands taken whose steps have not begun
        fresh = begins & ~under_way
        now = self._current(m, fresh, given)
        stopping = previous(m, dut.stop & ~(ends | halt), "stopping")
        stopped = previous(m, dut.stop, "stopped")
        m.d.comb += [
            # Whoever says stop says so until the command ends.
            Assume(implies(stopping, dut.stop)),
            disturbed.eq(Mux(fresh, stopped, told)),
        ]
        at_column, at_row, final = self._walk(m, now, fresh)
        begun = under_way | begins
        m.d.sync += [
            under_way.eq(begun & ~ends & ~halt),
            active.eq(step.running & ~step.last & ~halt),
            told.eq(disturbed | dut.stop),
            waiting.eq(Mux(halt, 0, waiting + given - fresh)),
        ]
        since = self._times(m, now, fresh, under_way, waiting != 0)
        self._weights(m, begins)
        self._written(m)
        m.d.comb += [
            # A command begins when the one before it has ended, a tile when the one before it has.
            Assert(implies(fresh, waiting > just_given)),
            Assert(implies(begins, ~active)),
            Assert(step.running == (begins | active)),
            # Steps are as many as a tile has rows; tiles are as many as the command has; one end.
            Assert(implies(step.running, at_row < now.row_tiles)),
            Assert(implies(step.running & ~disturbed, step.last == (at_row == now.row_tiles - 1))),
            Assert(implies(ends, last)),
            Assert(implies(last & ~disturbed & ~dut.stop, ends == final)),
            Assert(implies(step.running, at_column < now.column_tiles)),
            Assert(implies(dut.cut, ends)),
            # A halt leaves nothing.
            Assert(implies(halted, ~(step.running | dut.weight_reading | dut.waiting | ends))),
            Cover(ends & final & (now.row_tiles == 7) & (now.column_tiles == 2) & ~disturbed),
            Cover(fresh & (since == now.row_tiles) & just_given),
            Cover(dut.cut & previous(m, dut.weight_reading, "read")),
        ]
        return m

    def _current(self, m: Module, fresh, given) -> Signal:
        """Sizes of the command under way. The next may be given in the cycle before, not earlier: what was known then begins."""
        known = Signal.like(self.next)
        with m.If(given):
            m.d.sync += known.eq(self.next)
        known = previous(m, known, "known")
        now = Signal.like(self.now)
        m.d.comb += now.eq(Mux(fresh, known, self.now))
        m.d.sync += self.now.eq(now)
        return now

    def _walk(self, m: Module, now, fresh) -> tuple[Signal, Signal, Value]:
        """Column of the tile, row within it, and whether the tile is the command's last."""
        step = self._sequencer.step
        column, depth, row = Signal(2), Signal(2), Signal(3)
        at_column, at_depth, at_row = Signal(2), Signal(2), Signal(3)
        m.d.comb += [
            at_row.eq(Mux(step.running & step.first, 0, row)),
            at_depth.eq(Mux(fresh, 0, depth)),
            at_column.eq(Mux(fresh, 0, column)),
        ]
        m.d.sync += [row.eq(at_row + step.running), column.eq(at_column), depth.eq(at_depth)]
        with m.If(step.running & step.last):
            m.d.sync += depth.eq(at_depth + 1)
            with m.If(at_depth == now.depth_tiles - 1):
                m.d.sync += [depth.eq(0), column.eq(at_column + 1)]
        return (
            at_column,
            at_row,
            (at_depth == now.depth_tiles - 1) & (at_column == now.column_tiles - 1),
        )

    def _times(self, m: Module, now, fresh, under_way, waiting) -> Signal:
        """What tiles and commands take; the result is the cycles since a tile began."""
        step = self._sequencer.step
        begins = step.running & step.first
        since = Signal(range(16), init=15)
        lasts, delay = Signal(range(64)), Signal(range(32))
        m.d.sync += [
            since.eq(Mux(begins, 1, since + (since != 15))),
            lasts.eq(Mux(fresh, 1, lasts + 1)),
            delay.eq(Mux((self._setup.busy | waiting) & ~(under_way | begins) & ~self.halt, delay + 1, 0)),
        ]
        apart = ACCUMULATE + 1
        spare = Mux(now.row_tiles > apart, now.row_tiles, apart)
        m.d.comb += [
            # What a tile writes has been written when the next one may add to it.
            Assert(implies(begins, since >= apart)),
            # It begins soon after the one before has ended, and ends in its time.
            Assert(delay < SYSTOLIC_SETUP + self._rows),
            Assert(implies(under_way, lasts <= now.column_tiles * now.depth_tiles * spare)),
        ]
        return since

    def _weights(self, m: Module, begins) -> None:
        """Weights are read whole, one tile ahead at most; they are there when a tile begins, and none are lost."""
        dut, rows = self._sequencer, self._rows
        first = dut.weight_first & dut.weight_reading
        there, words, apart = Signal(), Signal(range(16)), Signal(range(16), init=15)
        m.d.sync += [
            there.eq((first | (there & ~begins)) & ~(dut.cut | self.halt)),
            words.eq(Mux(first, 1, words + (dut.weight_reading & (words != 15)))),
            apart.eq(Mux(first, 1, apart + (apart != 15))),
        ]
        m.d.comb += [
            Assert(implies(first, ~there | begins)),
            Assert(implies(begins, there & (apart >= max(rows, 2)) & (words == rows))),
        ]

    def _written(self, m: Module) -> None:
        """A row has been written when it is added to."""
        step = self._sequencer.step
        place = Cat(step.row, step.half, C(1, 1))
        row = Mux(step.running, Value.cast(place), 0)
        for age in range(ACCUMULATE):
            row = previous(m, row, f"row_{age}")
            m.d.comb += Assert(implies(step.running & step.accumulate, row != place))


def test_weight_stationary_tiles():
    check(WeightRules(), depth=30)


@pytest.mark.parametrize(
    "bug",
    [
        ("spacing[-1] & ", ""),
        (" & (settling[-1] | ~tiles.tile.adds)", ""),
        ("(vacates & ~takes) | self.cut | self.halt", "(vacates & ~takes) | self.halt"),
        ("(steps.command_last | (self.stop & ~go))", "steps.command_last"),
        ("goes & ~tile_last & ~self.halt", "goes & ~self.halt"),
        ("weights.cut.eq(self.cut | self.halt)", "weights.cut.eq(self.cut)"),
        ("weights.soon & phase.free", "phase.free"),
        ("vacant | (goes & tile_last)", "vacant | (goes & tile_last & tiles.tile.depth_first)"),
    ],
)
def test_weight_stationary_tiles_with_a_bug(bug):
    refute(WeightRules(2, bug), depth=24)
