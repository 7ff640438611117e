"""LOAD never asks for a byte outside its window nor across a page; it and the read arbiter keep the AXI rules."""

from __future__ import annotations

import pytest
from amaranth.asserts import AnyConst, AnySeq
from amaranth.hdl import Assert, Assume, Cat, Cover, Elaboratable, Module, Mux, Signal, Value
from amaranth.utils import exact_log2

from hw.control.isa import Error
from hw.dma.load import LoadUnit, Rows, Splitter
from hw.dma.row_queue import RowQueue
from tests.formal import check, free, holds, mutant, previous, prove, refute
from tests.load_bench import design


def beats_inside(m, beat, count, first, last, lane):
    """All beats from ``beat`` on, ``count`` and one, touch the window; nothing wraps."""
    end = Signal(len(beat) + 1)
    m.d.comb += end.eq(beat + count)
    return (beat >= first[lane:]) & (end <= last[lane:])


class RowsInside(Elaboratable):
    """Every row on offer lies in the window, with no wrap, and stays on offer until taken or stopped."""

    def __init__(self, d, kind=Rows):
        self._design, self._dut = d, kind(design=d)

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self._dut
        lane = exact_log2(self._design.data_bytes)
        free(m, dut, but=("window_first", "window_last"))
        width = self._design.address_width
        first, last = Signal(width), Signal(width)
        m.d.comb += [
            first.eq(AnyConst(width)),
            last.eq(AnyConst(width)),
            dut.window_first.eq(first),
            dut.window_last.eq(last),
        ]
        span, row = dut.rows.payload.span, dut.rows.payload.row
        holds(m, dut.rows, name="rows", unless=dut.stop)
        with m.If(dut.rows.valid):
            m.d.comb += [
                Assert(beats_inside(m, span.address, span.count, first, last, lane)),
                Assert(Cat(row.shift, span.address) >= first),
            ]
        m.d.comb += [
            Cover(dut.rows.valid & dut.rows.ready & (span.address == last[lane:]) & ~row.end),
            Cover(dut.rows.valid & (span.count == 5) & (row.shift == 3) & ~row.flush),
            Cover(dut.refused & (dut.code == Error.WINDOW)),
            Cover(dut.refused & (dut.code == Error.LOCAL)),
        ]
        return m


class RowsExact(Elaboratable):
    """Rows are exactly those of the command, and refused for exactly the reasons stated."""

    def __init__(self, d, kind=Rows):
        self._design, self._dut = d, kind(design=d)

    def elaborate(self, platform):
        m = Module()
        d = self._design
        m.submodules.dut = dut = self._dut
        lane, width = exact_log2(d.data_bytes), d.address_width
        free(m, dut, but=("window_first", "window_last"))
        first, last = Signal(width), Signal(width)
        m.d.comb += [
            first.eq(AnyConst(width)),
            last.eq(AnyConst(width)),
            dut.window_first.eq(first),
            dut.window_last.eq(last),
        ]
        given = dut.command.payload
        m.d.comb += [Assume(given.row_bytes != 0), Assume(given.rows != 0), Assume(given.variant < 3)]

        command = Signal.like(given)
        number = Signal(16)
        # Wide enough that nothing in here can wrap.
        address, place, end, beat = Signal(width + 2), Signal(26), Signal(width + 2), Signal(26)
        span, row = dut.rows.payload.span, dut.rows.payload.row
        taken = dut.rows.valid & dut.rows.ready
        with m.If(dut.command.valid & dut.command.ready):
            m.d.sync += [
                command.eq(given),
                number.eq(0),
                address.eq(given.memory_address),
                place.eq(given.local_address),
            ]
        with m.Elif(taken):
            m.d.sync += [
                number.eq(number + 1),
                address.eq(address + command.memory_stride),
                place.eq(place + command.local_stride),
            ]
        depth = Signal(16)
        with m.Switch(command.variant):
            for which, beats in enumerate((d.activation_beats, d.weight_beats, d.parameter_beats)):
                with m.Case(which):
                    m.d.comb += depth.eq(beats)
        inside, fits = Signal(), Signal()
        m.d.comb += [
            end.eq(address + command.row_bytes - 1),
            beat.eq(place + (command.row_bytes + d.data_bytes - 1 >> lane)),
            inside.eq((address >= first) & (end <= last)),
            fits.eq(beat <= depth),
        ]
        with m.If(dut.rows.valid):
            m.d.comb += [
                Assert(inside & fits),
                Assert(Cat(row.shift, span.address) == address),
                Assert(span.count == (end >> lane) - (address >> lane)),
                Assert(row.count == span.count),
                Assert(row.local == place),
                Assert(row.end == (number == command.rows - 1)),
                Assert(row.flush == (span.count + 1 == (command.row_bytes + d.data_bytes - 1 >> lane))),
                Assert((row.post == command.post) & (row.index == command.index)),
            ]
        with m.If(dut.refused):
            m.d.comb += Assert(Mux(inside, ~fits & (dut.code == Error.LOCAL), dut.code == Error.WINDOW))
        m.d.comb += [Cover(taken & (number == 1)), Cover(dut.refused & (number == 1) & inside)]
        return m


class SplitterInside(Elaboratable):
    """Bursts stay inside the span, the page and the length; requests keep the AXI rules and come in bounded time."""

    def __init__(self, d, kind=Splitter):
        self._design, self._dut = d, kind(design=d)

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self._dut
        d = self._design
        lane = exact_log2(d.data_bytes)
        free(m, dut)
        first, last = Signal(d.address_width), Signal(d.address_width)
        m.d.comb += [first.eq(AnyConst(d.address_width)), last.eq(AnyConst(d.address_width))]
        given = dut.span.payload
        m.d.comb += [
            Assume(beats_inside(m, given.address, given.count, first, last, lane)),
        ]
        left, length = dut._span, dut._length
        with m.If(~dut.idle):
            m.d.comb += Assert(beats_inside(m, left.address, left.count, first, last, lane))
        with m.If(dut._stepping):
            m.d.comb += [
                Assert(length <= left.count),
                Assert(dut._final == (length == left.count)),
                Assert(~dut.ar.valid),
            ]

        address, length = dut.ar.payload.address, dut.ar.payload.length
        with m.If(dut.ar.valid):
            m.d.comb += [
                Assert(address[:lane] == 0),
                Assert(beats_inside(m, address[lane:], length, first, last, lane)),
                Assert((address[:12] >> lane) + length < 4096 // d.data_bytes),
                Assert(length < d.burst_beats),
            ]
        holds(m, dut.ar, name="ar")

        # Never more under way than allowed, and a span ends: it asks in time, each time for less.
        under_way = Signal.like(dut._under_way)
        taken = dut.ar.valid & dut.ar.ready
        m.d.sync += under_way.eq(under_way + taken - dut.returned)
        m.d.comb += [
            Assume(~dut.returned | (under_way != 0)),
            Assert(under_way + dut.ar.valid == dut._under_way),
            Assert(dut._full == (dut._under_way == d.outstanding)),
            Assert(under_way + dut.ar.valid + dut._stepping <= d.outstanding),
            Assert(dut.clear == ((under_way == 0) & ~dut.ar.valid)),
            Assert(dut.span.ready == dut.idle),
            # No state but the three.
            Assert(dut.idle + dut._cutting + dut._stepping == 1),
        ]
        room = (under_way + dut.ar.valid < d.outstanding) & (~dut.ar.valid | dut.ar.ready)
        cut = previous(m, dut._cutting & ~dut.stop & room, "cut")
        asked, count = previous(m, dut._stepping & ~dut.stop, "asked"), previous(m, left.count, "count")
        waiting = previous(m, dut.ar.valid & ~dut.ar.ready, "waiting")
        dropped = previous(m, ~dut.idle & dut.stop, "dropped")
        with m.If(cut):
            m.d.comb += Assert(dut._stepping)
        with m.If(asked):
            m.d.comb += [Assert(dut.ar.valid), Assert(dut.idle | (left.count < count))]
        with m.If(dropped):
            m.d.comb += [Assert(dut.idle), Assert(dut.ar.valid == waiting)]
        m.d.comb += [
            Cover(asked & ~dut.idle & (left.address[: 12 - lane] == 0)),
            Cover(asked & dut.idle & (length == d.burst_beats - 1)),
            Cover((under_way == d.outstanding) & ~dut.idle),
            Cover(taken & (address[lane:] + length == last[lane:])),
        ]
        return m


class QueueKeepsRows(Elaboratable):
    """Rows leave the queue as they went in, in order, and no more than there is room for.

    Any one row is watched: ``ahead`` counts those that leave before it.
    """

    DEPTH = 4

    def __init__(self, d, kind=RowQueue):
        self._dut = kind(design=d, depth=self.DEPTH)

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self._dut
        free(m, dut)
        put, take = dut.i.valid & dut.i.ready, dut.o.valid & dut.o.ready
        inside = Signal(range(self.DEPTH + 1))
        fresh = previous(m, put, "fresh")
        m.d.comb += [
            Assume(~dut.i.valid | ~fresh & ~dut.clear),
            Assert(dut.i.ready | (inside == self.DEPTH)),
            Assert(~put | (inside < self.DEPTH)),
            Assert(dut.o.valid == (inside > fresh)),
        ]
        m.d.sync += inside.eq(Mux(dut.clear, 0, inside + put - take))

        cleared = Signal()
        m.d.sync += cleared.eq(cleared | dut.clear)

        watched, ahead, row = Signal(), Signal(range(self.DEPTH + 1)), Signal.like(Value.cast(dut.i.payload))
        with m.If(dut.clear):
            m.d.sync += watched.eq(0)
        with m.Elif(~watched & put & AnySeq(1)):
            m.d.sync += [watched.eq(1), ahead.eq(inside - take), row.eq(dut.i.payload)]
        with m.Elif(watched & take):
            m.d.sync += [ahead.eq(ahead - 1), watched.eq(ahead != 0)]
        with m.If(watched & (ahead == 0) & dut.o.valid):
            m.d.comb += Assert(Value.cast(dut.o.payload) == row)
        m.d.comb += [
            Cover(take & watched & (ahead == 2)),
            Cover(take & cleared & (inside == 1)),
            Cover(dut.clear & fresh & (inside == 2)),
            Cover(take & fresh),
        ]
        return m


class UnitInside(Elaboratable):
    """The whole unit, on whatever bus: no request outside the window, across a page, or taken back."""

    def __init__(self, d, kind=LoadUnit):
        self._design, self._dut = d, kind(design=d)

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self._dut
        d = self._design
        lane = exact_log2(d.data_bytes)
        free(m, dut, but=("window_first", "window_last"))
        first, last = Signal(d.address_width), Signal(d.address_width)
        m.d.comb += [
            first.eq(AnyConst(d.address_width)),
            last.eq(AnyConst(d.address_width)),
            dut.window_first.eq(first),
            dut.window_last.eq(last),
            Assume(dut.command.payload.row_bytes != 0),
            Assume(dut.command.payload.rows != 0),
            Assume(dut.command.payload.variant < 3),
        ]
        # One burst at a time is enough of a bus here: beats only for what was asked for.
        taken = dut.ar.valid & dut.ar.ready
        left = Signal(9)
        m.d.comb += [
            Assume(~taken | (left == 0)),
            Assume(~dut.r.valid | (left != 0)),
            Assume(dut.r.last == (left == 1)),
        ]
        with m.If(taken):
            m.d.sync += left.eq(dut.ar.payload.length + 1)
        with m.Elif(dut.r.valid):
            m.d.sync += left.eq(left - 1)

        address, length = dut.ar.payload.address, dut.ar.payload.length
        with m.If(dut.ar.valid):
            m.d.comb += [
                Assert(beats_inside(m, address[lane:], length, first, last, lane)),
                Assert((address[:12] >> lane) + length < 4096 // d.data_bytes),
                Assert(address[:lane] == 0),
                Assert(dut.busy),
            ]
        holds(m, dut.ar, name="ar")
        ended = Signal()
        m.d.sync += ended.eq(ended | dut.finished)
        m.d.comb += [
            Assert(~dut.finished | dut.busy),
            Assert(~(dut.finished & dut.fault)),
            Cover(ended & ~dut.busy),
            Cover(dut.fault & (dut.code == Error.READ)),
            Cover(dut.fault & (dut.code == Error.WINDOW)),
        ]
        return m


WIDE = design(data_bytes=16, burst_beats=256, outstanding=3, address_width=64, words=64)
ODD = design(data_bytes=4, burst_beats=5, outstanding=2, address_width=32, words=16)


@pytest.mark.parametrize("d", [ODD, WIDE], ids=["odd", "wide"])
def test_rows_stay_inside(d):
    prove(RowsInside(d), depth=5, reach=11)


@pytest.mark.long
def test_rows_are_those_of_the_command():
    check(RowsExact(ODD), depth=9)


@pytest.mark.parametrize(
    "bug",
    [
        ("end = Signal(design.address_width + 1, ", "end = Signal(design.address_width, "),
        ("~(address < self.window_first)", "~(end < self.window_first)"),
    ],
)
def test_rows_with_a_bug(bug):
    refute(RowsInside(ODD, mutant(Rows, bug)), depth=12)


@pytest.mark.parametrize(
    "bug",
    [
        ("~(limit < local_end)", "~(limit + 1 < local_end)"),
        ("row.flush.eq(~carry)", "row.flush.eq(carry)"),
        ("& above & ~wrapped", "& above"),
    ],
)
def test_rows_with_another_command(bug):
    refute(RowsExact(ODD, mutant(Rows, bug)), depth=9)


@pytest.mark.parametrize("d", [ODD, WIDE], ids=["odd", "wide"])
def test_bursts_stay_inside(d):
    prove(SplitterInside(d), depth=3, reach=10)


@pytest.mark.parametrize(
    "bug",
    [
        ("~span.address[:page]", "~span.address[:page] + 1"),
        ("with m.If(self.stop):", "with m.If(self.stop & self.span.valid):"),
        (" & ~full", ""),
        ("(ask & (under_way == most_under_way - 1))", "0"),
        ("crosses.eq((span.count[:page] +", "crosses.eq((span.count[:page] + 1 +"),
        ("(self.ar.ready | ~self.ar.valid) & ", ""),
        ("self.ar.valid & ~self.ar.ready)", "self.ar.valid & ~self.ar.ready & ~self.stop)"),
        ("ask.eq(~self.stop)", "ask.eq(1)"),
    ],
)
def test_bursts_with_a_bug(bug):
    refute(SplitterInside(ODD, mutant(Splitter, bug)), depth=10)


def test_the_queue_keeps_rows():
    check(QueueKeepsRows(ODD), depth=12)


@pytest.mark.parametrize(
    "bug",
    [
        ("~level[-1]", "1"),
        ("take & ~put", "take"),
        ("head.addr + take", "head.addr + self.o.ready"),
        ("level.eq(1)]", "level.eq(2)]"),
    ],
)
def test_the_queue_with_a_bug(bug):
    refute(QueueKeepsRows(ODD, mutant(RowQueue, bug)), depth=12)


def test_the_unit_stays_inside():
    check(UnitInside(ODD), depth=15)


@pytest.mark.parametrize(
    "bug",
    [
        ("rows.window_first.eq(self.window_first)", "rows.window_first.eq(0)"),
        ("under_way | receive.active | found", "~rows.idle"),
    ],
)
def test_the_unit_with_a_bug(bug):
    refute(UnitInside(ODD, mutant(LoadUnit, bug)), depth=8)
