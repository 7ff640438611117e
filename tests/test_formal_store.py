"""STORE's bursts stay inside the window and inside 4 KiB, and the write channels keep the stream rules, for all time."""

from __future__ import annotations

import pytest
from amaranth.asserts import AnySeq
from amaranth.hdl import Assert, Assume, Cat, Const, Cover, Elaboratable, Module, Mux, Signal
from amaranth.utils import exact_log2

from hw.dma import bursts, store
from hw.dma.bursts import PAGE_BITS, BurstSplitter
from hw.dma.store import RowAddresses, row_length_width
from hw.dma.writer import Writer, most_beats
from hw.timing import STORE_FIFO
from tests.formal import free, holds, later, mutant, previous, prove, refute
from tests.store_bench import design


class Bursts(Elaboratable):
    """Any command, any window: what the splitter offers is inside, and what is inside is offered.

    ``start`` comes at any time; command and window stay as they are from then on.

    Parameters
    ----------
    design : Design
    rows, splitter : the components, or mutants of them
    """

    def __init__(self, design, *, rows=RowAddresses, splitter=BurstSplitter):
        self._design = design
        self._rows = rows(design=design)
        self._splitter = splitter(
            address_width=design.address_width,
            data_bytes=design.data_bytes,
            length_width=row_length_width(design),
            most=most_beats(design),
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.rows = rows = self._rows
        m.submodules.splitter = splitter = self._splitter
        free(m, rows, but=("runs", "idle"))
        free(m, splitter, but=("runs", "clear"))
        m.d.comb += [
            splitter.runs.valid.eq(rows.runs.valid),
            splitter.runs.payload.eq(rows.runs.payload),
            rows.runs.ready.eq(splitter.runs.ready),
            rows.idle.eq(splitter.idle),
            splitter.clear.eq(rows.start),
        ]
        before = previous(m, rows.start, "started")
        started = Signal()
        m.d.sync += started.eq(started | rows.start)
        kept = Cat(rows.command.as_value(), rows.window_first, rows.window_last)
        kept_before = previous(m, kept, "kept")
        with m.If(started & ~rows.start):
            m.d.comb += Assume(kept == kept_before)
        with m.If(~started):
            # As after reset: nothing is under way.
            m.d.comb += [
                Assert(rows._state == store._State.IDLE),
                Assert(splitter._state == bursts._State.IDLE),
            ]
            m.d.comb += Assert(~rows.runs.valid)
        m.d.comb += [Assume(rows.command.rows != 0), Assume(rows.command.columns != 0)]
        # In the cycle of ``start`` command and window are the new ones, and nothing is taken.
        with m.If(~rows.start):
            self._row(m, rows)
            self._burst(m, rows, splitter)
        self._follow(m, rows, started)
        holds(m, rows.runs, name="runs", unless=before)
        holds(m, splitter.bursts, name="bursts", unless=before)
        return m

    def _inside(self, m, rows, address, beats):
        """Beats from ``address`` on: the first and the last have bytes in the window, and nothing wraps."""
        bits, width = exact_log2(self._design.data_bytes), self._design.address_width
        end = (address >> bits) + beats
        m.d.comb += [
            Assert(beats != 0),
            Assert(address[:bits] == 0),
            Assert((address >> bits) >= (rows.window_first >> bits)),
            Assert(end <= (rows.window_last >> bits) + 1),
            Assert(end <= 1 << (width - bits)),
        ]

    def _row(self, m, rows):
        """The row at work: its end is what it should be, and what was found about it is true."""
        state, bits = rows._state, exact_log2(self._design.data_bytes)
        end = (rows._address + rows._to_last)[: len(rows._address) + 1]
        with m.If((state == store._State.CHECK) | (state == store._State.OFFER)):
            m.d.comb += [
                Assert(rows._end == end[:-1]),
                Assert(rows._first_beat_to_last == rows._address[:bits] + rows._to_last),
                Assert(rows._end_wraps | ~end[-1]),
            ]
        with m.If(state == store._State.OFFER):
            m.d.comb += [
                Assert(rows._below == (rows._address < rows.window_first)),
                Assert(rows._above == (rows._end > rows.window_last)),
                Assert(rows._end_wraps | ~rows._address_wraps),
            ]
        with m.If(state != store._State.IDLE):
            m.d.comb += Assert(rows._to_last < 1 << 18)
        with m.If(rows.runs.valid):
            self._inside(m, rows, rows.runs.payload.address, rows.runs.payload.length + 1)

    def _follow(self, m, rows, started):
        """Each row that is offered is the next one of the command: none is left out."""
        run, state, bits = rows.runs, rows._state, exact_log2(self._design.data_bytes)
        stride, width = rows.command.memory_stride, len(rows._address)
        due = Signal(width)
        with m.If(rows.start):
            m.d.sync += due.eq(rows.command.memory_address)
        with m.Elif(run.valid & run.ready):
            m.d.sync += due.eq(due + stride)
        behind = Mux(run.valid, due + stride, due)[:width]
        with m.If(started & ~rows.start & (state == store._State.ADD)):
            m.d.comb += Assert(rows._following == behind)
        with m.If(started & ~rows.start & ((state == store._State.CHECK) | (state == store._State.OFFER))):
            m.d.comb += [
                Assert(rows._address == behind),
                Assert(rows._following == (behind + stride)[:width]),
            ]
        with m.If(started & ~rows.start & run.valid):
            m.d.comb += [
                Assert(run.payload.address >> bits == due >> bits),
                Assert(run.payload.length == (due[:bits] + rows._to_last) >> bits),
            ]

    def _burst(self, m, rows, splitter):
        """What is left of the run is inside; so is the burst, which ends with the page or before."""
        state, burst, left = splitter._state, splitter.bursts.payload, splitter._left
        bits, page, place = exact_log2(self._design.data_bytes), splitter._page, splitter._place
        address = Cat(Const(0, bits), place, page)
        to_page = (1 << (PAGE_BITS - bits)) - place
        limit, beats = splitter._limit + 1, burst.length + 1
        m.d.comb += Assert(~rows.runs.ready | (state == bursts._State.LIMIT) & rows.runs.valid)
        with m.If(state != bursts._State.OFFER):
            m.d.comb += Assert(splitter._whole == (state == bursts._State.IDLE))
        with m.If(state == bursts._State.LIMIT):
            there = (page + splitter._carry)[: len(page)]
            self._inside(m, rows, Cat(Const(0, bits), place, there), left + 1)
        with m.If((state == bursts._State.LENGTH) | (state == bursts._State.OFFER)):
            self._inside(m, rows, address, left + 1)
            m.d.comb += [
                Assert((limit == to_page) | (limit == splitter._most)),
                Assert((limit <= to_page) & (limit <= splitter._most)),
                Assert(splitter._far == (left >> len(splitter._limit) != 0)),
            ]
        m.d.comb += Assert(splitter.bursts.valid == (state == bursts._State.OFFER))
        with m.If(splitter.bursts.valid):
            self._inside(m, rows, burst.address, beats)
            m.d.comb += [
                Assert(beats <= splitter._most),
                Assert((burst.address[:PAGE_BITS] >> bits) + beats <= 1 << (PAGE_BITS - bits)),
                Assert(splitter._whole == (left == burst.length)),
                Assert(burst.length <= left),
                # As long as it may be.
                Assert(splitter._whole | (beats == limit)),
            ]
            m.d.comb += [
                Cover(~splitter._whole & (beats < splitter._most)),
                Cover(splitter._whole & burst.final & (burst.address[PAGE_BITS:].all())),
            ]
        m.d.comb += Cover(rows.fault)


class Writes(Elaboratable):
    """The writer under any bus and any bursts; the FIFO is never given more than it holds.

    Parameters
    ----------
    design : Design
    kind : the component, or a mutant of it
    """

    def __init__(self, design, *, kind=Writer):
        self._design = design
        self._dut = kind(design=design)

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self._dut
        free(m, dut)
        burst, aw, w, most = dut.bursts.payload, dut.axi.aw, dut.axi.w, most_beats(self._design)
        start, given, count = dut._start, w.valid & w.ready, aw.payload.length + 1

        # What an observer counts: beats inside the FIFO; beats and lasts that W owes to the bursts started; bursts unanswered.
        inside, beats, lasts, unanswered = Signal(8), Signal(8), Signal(4), Signal(8)
        answered = dut.axi.b.valid & (unanswered != 0)
        m.d.sync += [
            inside.eq(Mux(dut.clear, 0, inside + dut.valid - dut.popped)),
            beats.eq(beats + Mux(start, count, 0) - given),
            lasts.eq(lasts + start - (given & w.payload.last)),
            unanswered.eq(unanswered + start - answered),
        ]
        m.d.comb += [
            Assume(burst.length < most),
            Assume(dut.valid == previous(m, dut.coming, "announced")),
            Assume(~dut.valid | (inside < STORE_FIFO)),
            Assume(~dut.clear | ~dut.coming & ~dut.valid),
            Assume(~dut.clear | dut.idle & ~dut.enable),
        ]

        pending = Mux(dut._pending, count, 0)
        waiting, writing = (
            Mux(dut._waiting, dut._waiting_length + 1, 0),
            Mux(dut._writing, dut._left + 1, 0),
        )
        ones = sum(dut._unanswered, Const(0))
        m.d.comb += [
            # A beat that has left counts one cycle later.
            Assert(inside + dut.valid == dut._spare + pending + waiting + writing + dut.popped),
            Assert(dut._spare + pending >= 0),
            Assert(inside <= STORE_FIFO),
            Assert(~dut.popped | (inside != 0)),
            Assert(~dut.popped | w.valid),
            Assert(dut._empty + dut._pending + aw.valid == 1),
            Assert(dut._empty | (count <= most)),
            Assert(~dut._writing | (dut._last == (dut._left == 0))),
            Assert(~dut._waiting | (waiting <= most)),
            Assert(~dut._writing | (writing <= most)),
            Assert(beats == waiting + writing + w.valid),
            Assert(lasts == dut._waiting + dut._writing + (w.valid & w.payload.last)),
            Assert(unanswered == ones),
            Assert((dut._unanswered & (dut._unanswered + 1)) == 0),
            Assert(unanswered <= self._design.outstanding),
            Assert(~start | dut.enable),
            Assert(~dut.idle | (beats == 0) & (unanswered == 0) & ~aw.valid & ~w.valid),
            Cover((lasts == 3) & (unanswered == self._design.outstanding)),
            Cover(given & w.payload.last & start),
        ]
        self._taken(m, start)
        self._watched(m, start, given, beats)
        holds(m, aw, name="aw")
        holds(m, w, name="w")
        return m

    def _taken(self, m, start):
        """A burst taken is held as it is until AW is accepted; once started, it is at AW in the next cycle."""
        dut, burst, aw = self._dut, self._dut.bursts.payload, self._dut.axi.aw
        taken = previous(m, dut.bursts.valid & dut.bursts.ready & ~dut.clear, "taken")
        held = previous(m, ~dut._empty & ~dut.clear, "held")
        started = previous(m, start, "started")
        address, length = previous(m, burst.address, "address"), previous(m, burst.length, "length")
        before = previous(m, aw.payload.as_value(), "before")
        with m.If(taken):
            m.d.comb += [
                Assert(dut._pending & (aw.payload.address == address) & (aw.payload.length == length))
            ]
        with m.If(held):
            m.d.comb += Assert(dut._empty | (aw.payload.as_value() == before))
        with m.If(started):
            m.d.comb += Assert(aw.valid & dut._waiting & (dut._waiting_length == aw.payload.length))

    def _watched(self, m, start, given, beats):
        """Any one burst is watched: its last beat says so. As there are as many lasts as bursts, no other beat does."""
        dut, w = self._dut, self._dut.axi.w
        watched, left = Signal(), Signal(8)
        with m.If(~watched & start & AnySeq(1)):
            m.d.sync += [watched.eq(1), left.eq(beats + dut.axi.aw.payload.length + 1 - given)]
        with m.Elif(watched & given):
            m.d.sync += [watched.eq(left != 1), left.eq(left - 1)]
        with m.If(watched):
            m.d.comb += [
                Assert(
                    dut._waiting & (left == beats)
                    | dut._writing & (left == dut._left + 1 + w.valid)
                    | w.valid & w.payload.last & (left == 1)
                ),
                Assert(~w.valid | (left != 1) | w.payload.last),
            ]


DESIGNS = {
    "32 bit": design(),
    "64 bit, wide": design(address_width=64, data_bytes=64, burst_beats=256),
    "narrow, short": design(data_bytes=4, lanes=1, burst_beats=3),
}


@pytest.mark.parametrize("name", DESIGNS)
def test_bursts_stay_inside(name):
    prove(Bursts(DESIGNS[name]), depth=2, reach=16)


@pytest.mark.parametrize(
    "bug",
    [
        ("address < self.window_first", "following < self.window_first"),
        ("self.window_last < end", "self.window_last + 1 < end"),
        ("end_wraps.eq(end_wraps | address_wraps)", "end_wraps.eq(address_wraps)"),
        ("first_beat_to_last >> bits", "(to_last >> bits) + 1"),
        *later(
            ("~outside & ~self.runs.valid", "~outside"),
            ("with m.If(~self.runs.valid)", "with m.If(state == _State.OFFER)"),
        ),
    ],
)
def test_rows_with_a_bug(bug):
    refute(Bursts(design(), rows=mutant(RowAddresses, bug)), depth=14)


@pytest.mark.parametrize(
    "bug",
    [
        ("Mux(place[bits:].all() & (to_page < self._most), to_page, self._most - 1)", "self._most - 1"),
        ("place[bits:].all() & ", ""),
        *later(("Mux(fits, left[:bits], limit)", "limit"), ("~far & ", "")),
        *later(("(Cat(0, left) - Cat(1, burst.length)) >> 1", "left"), ("page + carry", "page")),
        ("Mux(whole & ~self.runs.valid", "Mux(whole & self.runs.valid"),
        ("whole.eq(whole & ~self.runs.valid)", "whole.eq(whole)"),
    ],
)
def test_splitter_with_a_bug(bug):
    refute(Bursts(design(), splitter=mutant(BurstSplitter, bug)), depth=16)


@pytest.mark.parametrize("outstanding", [1, 2, 5])
def test_writer(outstanding):
    prove(Writes(design(data_bytes=4, lanes=1, burst_beats=3, outstanding=outstanding)), depth=2, reach=24)


@pytest.mark.parametrize(
    "bug",
    [
        ("~spare[-1] & ", ""),
        (" & ~self._unanswered[-1]", ""),
        ("self.enable & ", ""),
        ("self.enable & ~self._waiting", "self.enable"),
        ("load.eq(empty & self.bursts.valid)", "load.eq(self.bursts.valid)"),
        ("(aw.valid & aw.ready)", "aw.ready"),
        ("Cat(self.coming, taken)", "Cat(0, taken)"),
        ("with m.If(~waiting)", "with m.If(waiting)"),
        ("b.valid & unanswered[0]", "b.valid"),
        ("begin.eq(waiting & (~writing | move & last))", "begin.eq(waiting & (~writing | last))"),
        ("last.eq(left == 1)", "last.eq(left == 0)"),
        ("move.eq(writing & (~w.valid | w.ready))", "move.eq(writing)"),
    ],
)
def test_writer_with_a_bug(bug):
    refute(
        Writes(design(data_bytes=4, lanes=1, burst_beats=3, outstanding=2), kind=mutant(Writer, bug)),
        depth=16,
    )
