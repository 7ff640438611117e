"""The front of a core keeps the stream rules: addresses of loops, operands ahead of their use, shares of a command."""

from __future__ import annotations

from unittest.mock import patch

import pytest
from amaranth.asserts import AnySeq
from amaranth.hdl import Assert, Assume, Cat, Cover, Elaboratable, Module, Mux, Signal, Value

from hw.array import reader, setup
from hw.array.delay import delayed
from hw.array.geometry import shortest_interval
from hw.array.output_core import OutputFrontEnd
from hw.array.reader import LoopNest, OperandReader
from hw.array.setup import TAKERS, ResultAddresses, Setup
from hw.design import Design, Geometry
from hw.stream.fifo import Fifo
from hw.timing import CORNER_TURN, DRAIN_ROWS, OUTPUT_ELEMENT, READER_DEPTH, SCRATCHPAD, SYSTOLIC_SETUP
from tests.formal import check, free, holds, mutant, previous, prove, refute
from tests.formal_inside import implies, inside

STRIDE_BITS = 6
LEVELS = 3


@pytest.fixture(autouse=True)
def _narrow(monkeypatch):
    """Narrow addresses: the solver adds them up in many ways."""
    monkeypatch.setattr(reader, "STRIDE_BITS", STRIDE_BITS)


class NestExact(Elaboratable):
    """The addresses are those of the loops, each once, in their order; each stays until it is used.

    A level's step is its stride, or for one that goes on, what leads one innermost stride past all that lies inside it.
    """

    def __init__(self, onward, kind=LoopNest):
        self._onward = onward
        self._dut = kind(levels=LEVELS, count_bits=2, onward=onward)

    def elaborate(self, platform):
        m = Module()
        dut = self._dut
        m.submodules.dut, own = dut, inside(dut, platform)
        free(m, dut)
        at = [Signal(2, name=f"at_{level}") for level in range(LEVELS)]
        nest, kept = Signal.like(dut.nest.payload), own.kept
        used, taken = dut.valid & dut.advance, dut.nest.valid & dut.nest.ready
        ends = [Signal(name=f"ends_{level}") for level in range(LEVELS + 1)]
        m.d.comb += ends[0].eq(1)
        for level in range(LEVELS):
            m.d.comb += ends[level + 1].eq(ends[level] & (at[level] == nest.counts[level]))
            with m.If(used & ends[level]):
                m.d.sync += at[level].eq(Mux(ends[level + 1], 0, at[level] + 1))
        with m.If(taken):
            m.d.sync += [nest.eq(dut.nest.payload), *(place.eq(0) for place in at)]

        # Where each level's present iteration starts, from the outside in; multiples of up to 3, as sums.
        def times(step, count):
            return Mux(count[0], step, 0) + Mux(count[1], step << 1, 0)

        steps, inner = [], 0
        for level in range(LEVELS):
            step = Signal(STRIDE_BITS, name=f"step_{level}")
            m.d.comb += step.eq(nest.strides[0] + inner if level in self._onward else nest.strides[level])
            inner = inner + times(step, nest.counts[level])
            steps.append(step)
        start = nest.base
        with m.If(dut.valid):
            m.d.comb += Assert(Value.cast(kept) == Value.cast(nest))
            for level in reversed(range(LEVELS)):
                begins = Signal(STRIDE_BITS, name=f"begins_{level}")
                m.d.comb += [
                    begins.eq(start + times(steps[level], at[level])),
                    Assert(own.starts[level] == begins),
                    Assert(at[level] <= nest.counts[level]),
                    Assert(own.lefts[level] == nest.counts[level] - at[level]),
                    Assert(own.lasts[level] == (own.lefts[level] == 0)),
                ]
                start = begins
            m.d.comb += Assert(dut.address == start)
        waiting, address = previous(m, dut.valid & ~dut.advance, "waiting"), previous(m, dut.address, "was")
        over = used & ends[LEVELS]
        begun, done = previous(m, taken, "begun"), previous(m, over & ~taken, "done")
        m.d.comb += [
            Assert(implies(waiting, dut.valid & (dut.address == address))),
            Assert(dut.nest.ready == (~dut.valid | over)),
            Assert(implies(begun, dut.valid)),
            Assert(implies(done, ~dut.valid)),
            Cover(over & taken & (Cat(at) == 0b000101)),
            Cover(used & (at[2] == 1) & (at[1] == 0) & (nest.counts[1] == 1)),
        ]
        return m


class Unrefused(Fifo):
    """A FIFO that must have room for whatever comes."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        m.d.comb += Assert(~self.i.valid | self.i.ready)
        return m


class ReaderRules(Elaboratable):
    """Never more words asked for than fit; what is offered stays; nothing of before is left after ``clear``.

    ``clear`` lasts as long as the memory takes, and a cycle, with no nest offered after its first: as a core has it.
    """

    def __init__(self, kind=OperandReader):
        self._dut = kind(words=16, width=4, levels=2, count_bits=2, part_bits=1)

    def elaborate(self, platform):
        m = Module()
        dut = self._dut
        m.submodules.dut, own = dut, inside(dut, platform)
        free(m, dut)
        cleared = Signal(SCRATCHPAD + 1)
        m.d.sync += cleared.eq(Mux(dut.clear, cleared << 1 | 1, 0))
        m.d.comb += [
            Assume(~cleared[0] | cleared[-1] | dut.clear),
            Assume(~(cleared[0] & dut.clear) | ~dut.nest.valid),
        ]
        on_way, early = Signal(range(SCRATCHPAD + 1)), own.ask
        flying = []
        for _ in range(SCRATCHPAD):
            early = previous(m, early, "asked_before")
            flying.append(early)
        m.d.comb += on_way.eq(sum(flying))
        holds(m, dut.o, name="o", unless=cleared[0])
        m.d.comb += [
            Assert(implies(own.fifo.i.valid, own.fifo.i.ready)),
            Assert(own.fifo.o.valid == (own.fifo.level != 0)),
            Assert(cleared.any() | (own.asked == on_way + own.fifo.level)),
            Assert(own.asked <= READER_DEPTH),
            Assert(implies(cleared[0], (own.asked == 0) & ~dut.o.valid)),
            Assert(implies(cleared[-1], on_way == 0)),
            Assert(own.ask == (own.nest.valid & (own.asked != READER_DEPTH))),
            Assert(implies(cleared[0] & dut.clear, ~own.ask)),
            Assert(implies(cleared[0], ~own.nest.valid)),
            Cover(own.fifo.level == READER_DEPTH),
            Cover(own.ask & dut.o.valid & dut.o.ready & (own.asked == READER_DEPTH - 1)),
        ]
        return m


class ReaderOrder(Elaboratable):
    """Every address that was asked for gives its word and its part once, in order. Any one is watched."""

    def __init__(self, kind=OperandReader):
        self._dut = kind(words=16, width=4, levels=2, count_bits=2, part_bits=1)

    def elaborate(self, platform):
        m = Module()
        dut = self._dut
        m.submodules.dut, own = dut, inside(dut, platform)
        free(m, dut, but=("clear", "port"))
        # A memory that holds, in each word, its address turned round.
        m.d.comb += dut.port.data.eq(delayed(m, ~dut.port.address, SCRATCHPAD))
        gone = dut.o.valid & dut.o.ready
        level = Signal(range(READER_DEPTH + 1))
        m.d.sync += level.eq(level + own.ask - gone)
        watched, ahead, address = Signal(), Signal.like(level), Signal(5)
        with m.If(~watched & own.ask & AnySeq(1)):
            m.d.sync += [watched.eq(1), ahead.eq(level - gone), address.eq(own.nest.address)]
        with m.Elif(watched & gone):
            m.d.sync += [ahead.eq(ahead - 1), watched.eq(ahead != 0)]
        right = Cat(dut.o.payload.part, ~dut.o.payload.word) == address
        fault = previous(m, own.ask & (own.nest.address >= 32), "past")
        m.d.comb += [
            Assert(implies(watched & dut.o.valid & (ahead == 0), right)),
            Assert(dut.fault == fault),
            Cover(watched & (ahead == READER_DEPTH - 1)),
            Cover(watched & gone & (ahead == 0) & (level == READER_DEPTH)),
        ]
        return m


def design(rows) -> Design:
    """As small as can be."""
    geometry = Geometry(
        tile_rows=rows, columns=1, tile_depth=1, activation_bytes=4, weight_bytes=1, weight_words=1
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


class SetupShares(Elaboratable):
    """Each part is offered each command once, until it takes it; the command stays as it was meanwhile."""

    def __init__(self, kind=Setup):
        self._dut = kind(design=design(2))

    def elaborate(self, platform):
        m = Module()
        dut = self._dut
        m.submodules.dut, own = dut, inside(dut, platform)
        free(m, dut)
        taken, kept = dut.command.valid & dut.command.ready, Signal.like(dut.held)
        with m.If(taken):
            m.d.sync += kept.eq(dut.command.payload)
        owed = Signal(TAKERS)  # parts that have not taken their share of the command
        m.d.sync += owed.eq(Mux(dut.clear, 0, Mux(taken, -1, owed & ~(dut.taken & dut.offered))))
        working = owed.any() & (dut.offered == 0)
        cleared, waiting = previous(m, dut.clear, "cleared"), previous(m, dut.offered & ~dut.taken, "waiting")
        age, before = [], taken
        for cycle in range(SYSTOLIC_SETUP):
            before = previous(m, before, f"taken_{cycle}")
            age.append(before)
        calm = Signal(range(SYSTOLIC_SETUP + 1))  # cycles without clear
        m.d.sync += calm.eq(Mux(dut.clear, 0, Mux(calm == SYSTOLIC_SETUP, calm, calm + 1)))
        due = age[-1] & (calm >= SYSTOLIC_SETUP - 1)
        m.d.comb += [
            Assert(implies(owed.any(), Value.cast(dut.held) == Value.cast(kept))),
            Assert(cleared | ((waiting & ~dut.offered) == 0)),
            Assert((dut.offered == 0) | (dut.offered == owed)),
            Assert((owed == 0) | (dut.offered != 0) | ((owed == 2**TAKERS - 1) & own.waiting.any())),
            Assert((own.waiting & (own.waiting - 1)) == 0),
            Assert((own.waiting == 0) | working),
            Assert(dut.busy == (owed != 0)),
            Assert(dut.command.ready == ((owed == 0) & ~dut.clear)),
            Assert(implies(due, dut.offered == 2**TAKERS - 1)),
            Cover((dut.offered == 0b101) & previous(m, dut.offered == 0b101, "twice")),
            Cover(due & dut.taken.all()),
        ]
        return m


def result_delay(rows):
    """Cycles from a tile's last operand to its last result at column 0."""
    return rows + 1 + CORNER_TURN + OUTPUT_ELEMENT + (rows - 1) // DRAIN_ROWS - 1


def most_begun(rows):
    """EXECUTEs that can have begun and not ended, when tiles are as short as they may be."""
    interval = shortest_interval(rows)
    return (interval - 1 + result_delay(rows)) // interval + 1


class BegunFits(Elaboratable):
    """Results of few EXECUTEs are on their way at once, and whenever a last one comes, so has its EXECUTE begun.

    Front end and addresses, with as many cycles between a command's last operand and its last result as the array has.
    """

    def __init__(self, rows, most, *bugs):
        self._rows = rows
        self._front = mutant(OutputFrontEnd, *bugs)(rows=rows, word_bytes=4)
        with patch.multiple(setup, Fifo=Unrefused, BEGUN=most):
            self._addresses = mutant(ResultAddresses)(design=design(rows))

    def elaborate(self, platform):
        m = Module()
        rows, front, addresses = self._rows, self._front, self._addresses
        m.submodules.front, m.submodules.addresses, own = front, addresses, inside(addresses, platform)
        free(m, front, but=("halt",))
        free(m, addresses, but=("begin", "valid", "last"))
        last = front.control.last & front.control.ends
        late = delayed(m, last, result_delay(rows))
        # As the core works it out: a tile is never shorter than its results need, nor than its operands.
        plan = front.plan.payload
        shortest = shortest_interval(rows) - 1
        beyond = Mux(plan.steps[:2] > rows - 1, plan.steps[:2], rows - 1)
        interval = Cat(beyond, plan.steps[2:])
        m.d.comb += [
            Assume(plan.interval == Mux(interval < shortest, shortest, interval)),
            Assume(plan.short == (plan.steps < shortest)),
            Assume(plan.words == plan.steps >> 2),
            addresses.begin.eq(front.begin),
            addresses.valid.eq(late),
            addresses.last.eq(late),
            Assert(implies(late, own.begun.o.valid)),
            Cover(late & previous(m, front.begin, "just_begun")),
            Cover(own.begun.level == 2),
        ]
        return m


@pytest.mark.parametrize("onward", [(), (2,), (1, 2)], ids=["strides", "outermost_onward", "onward"])
def test_loops_give_their_addresses(onward):
    prove(NestExact(onward), depth=1, reach=8)


@pytest.mark.parametrize(
    "bug",
    [
        ("lasts[inner].eq(kept.counts[inner] == 0)", "lasts[inner].eq(0)"),
        ("starts[: level + 1]", "starts[:1]"),
        ("self.nest.ready.eq(~self.valid | over)", "self.nest.ready.eq(~self.valid | lasts[-1])"),
    ],
)
def test_loops_with_a_bug(bug):
    refute(NestExact((), mutant(LoopNest, bug)), depth=7)


def test_the_reader_asks_for_what_fits():
    prove(ReaderRules(), depth=4, reach=12)


def test_the_reader_keeps_the_order():
    check(ReaderOrder(), depth=11)


@pytest.mark.parametrize(
    "bug",
    [
        ("asked != READER_DEPTH", "asked <= READER_DEPTH"),
        ("with m.If(self.clear):", "with m.If(self.clear & self.o.valid):"),
        ("asked + ask - gone", "asked + ask - self.o.ready"),
        ("ResetInserter(self.clear)(nest)", "nest"),
    ],
)
def test_the_reader_with_a_bug(bug):
    refute(ReaderRules(mutant(OperandReader, bug)), depth=9)


@pytest.mark.parametrize(
    "bug",
    [
        ("delayed(m, nest.address[: self._part_bits], SCRATCHPAD)", "nest.address[: self._part_bits]"),
        ("delayed(m, ask, SCRATCHPAD)", "delayed(m, ask, SCRATCHPAD + 1)"),
        ("nest.address >= self._words << self._part_bits", "nest.address > self._words << self._part_bits"),
    ],
)
def test_the_reader_out_of_order(bug):
    refute(ReaderOrder(mutant(OperandReader, bug)), depth=8)


def test_setup_shares_out():
    prove(SetupShares(), depth=SYSTOLIC_SETUP + 1, reach=9)


@pytest.mark.parametrize(
    "bug",
    [
        ("self.offered & ~self.taken", "~self.taken & Mux(self.taken.any(), 0, self.offered)"),
        ("waiting.any() | self.offered.any()", "self.offered.any()"),
        ("waiting << 1", "waiting << ~self.taken[0]"),
    ],
)
def test_setup_with_a_bug(bug):
    refute(SetupShares(mutant(Setup, bug)), depth=8)


@pytest.mark.parametrize("rows", [1, 2])
def test_results_on_their_way_are_few(rows):
    check(BegunFits(rows, most_begun(rows)), depth=19)


def test_results_on_their_way_fit():
    assert max(most_begun(rows) for rows in range(1, 65)) <= setup.BEGUN


@pytest.mark.parametrize(
    ("rows", "fewer", "bugs"),
    [
        (1, 1, ()),
        (
            1,
            0,
            (
                (
                    'tile_over.eq(moving & count["interval"].zero)',
                    'tile_over.eq(moving & count["steps"].zero)',
                ),
                ("~(plan.short & settling.any())", "1"),
            ),
        ),
    ],
    ids=["fewer", "too_short"],
)
def test_results_that_are_too_many(rows, fewer, bugs):
    refute(BegunFits(rows, most_begun(rows) - fewer, *bugs), depth=14)
