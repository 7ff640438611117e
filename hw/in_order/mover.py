"""LOAD and STORE in one unit, one at a time, with as few cells as can be."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import enum, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from hw.control.isa import Error
from hw.design import Design
from hw.dma.read_arbiter import read_beats
from hw.dma.realign import SCRATCHPADS, write_ports
from hw.in_order.parameters import ENTRY_WORDS, WORD_BYTES
from hw.in_order.places import LocalPlaces
from hw.in_order.realign import Realign
from hw.in_order.results import ResultReader
from hw.in_order.rows import RowWalker
from hw.in_order.writer import BeatWriter
from hw.interfaces import (
    accumulators_read,
    axi_address,
    axi_write,
    load_command,
    read_port,
    store_command,
)


class _State(enum.Enum, shape=4):
    """What the mover does."""

    IDLE = 0
    NEXT = 1
    """go to the next row"""
    REACH = 2
    """where it ends"""
    CHECK = 3
    """whether it is inside"""
    ASK = 4
    """LOAD: a burst"""
    STREAM = 5
    """LOAD: its beats"""
    FLUSH = 6
    """LOAD: the row's last beat, if no other completes it"""
    RESULTS = 7
    """STORE: the row's results"""
    SETTLE = 8
    """until all that was written is answered"""


class Mover(wiring.Component):
    """Carries out one LOAD or STORE at a time.

    LOAD: a row of ``row_bytes`` bytes at ``memory_address + i * memory_stride`` fills ``ceil(row_bytes / data_bytes)`` beats from
    ``local_address + i * local_stride`` on. What the last of them holds past the row is not defined. STORE: for every row of
    ``rows`` and every column n of ``columns`` the result is that of bank ``n % B`` at row ``accumulators_address + (n // B) *
    accumulators_stride + row``, where B is the number of banks. A row is a string of bytes at ``memory_address + row *
    memory_stride``, at any alignment; no other byte is written.

    Each row is checked before anything is read or written for it. Rows that LOAD reads are cut into bursts at multiples of
    ``Design.block_beats``; STORE writes bursts of a beat.

    Parameters
    ----------
    design : Design

    Members
    -------
    load, store : the commands; constant from the cycle of the start to ``ended``. ``post`` and ``index`` are not looked at.
    start_load, start_store : one cycle, while ``busy`` is low
    ended, code : one cycle: the command has ended. All is written and answered, or in its scratchpad: an address that is put to
        that in this cycle finds it. ``code`` is 0 or the ``hw.control.isa.Error``.
    busy : a command is under way
    halt : start no new burst; the command ends when those under way are answered, without a fault if there was none
    window_first, window_last : lowest and highest byte address that may be touched; constant while ``busy``
    ar, r : read half of the bus; beats of R come only while ``busy``, and are never stalled
    axi : write half
    activations, weights, parameters : write ports of the scratchpads
    parameters_read : parameters in words of 32 bits, ``ENTRY_WORDS`` an entry; data comes a cycle after its address
    accumulators : ``accumulators_read``; data comes ``LEAN_ACCUMULATOR_READ`` cycles after its address

    Timing
    ------
    See ``sim.cycles.mover``. A beat a cycle while a burst of LOAD streams; requantised results every ``MOVER_REQUANTISE``
    cycles, others every 7, and a few cycles for each row and burst. Addresses of AR and AW are no registers.

    Faults: WINDOW, when every row before has been written; LOCAL: LOAD, nothing of that row is read; STORE (an accumulator row,
    or in mode REQUANTISED a parameter entry, past the end), nothing from that result on is written, of what was before it some;
    READ, when the burst with the error has come in whole; WRITE, when every burst under way is answered.

    Raises
    ------
    TypeError
        ``design`` is not a ``Design``.
    ValueError
        More than one output lane, or sums of float32.
    """

    def __init__(self, *, design: Design) -> None:
        if not isinstance(design, Design):
            raise TypeError(f"design must be a Design, not {design!r}")
        if design.output_lanes != 1:
            raise ValueError(f"output_lanes must be 1 in an in-order design, not {design.output_lanes!r}")
        if design.geometry.sums != "int32":
            raise ValueError(f"sums must be int32 in an in-order design, not {design.geometry.sums!r}")
        self._design = design
        super().__init__(
            {
                "load": In(load_command(design)),
                "store": In(store_command(design)),
                "start_load": In(1),
                "start_store": In(1),
                "ended": Out(1),
                "code": Out(4),
                "busy": Out(1),
                "halt": In(1),
                "window_first": In(design.address_width),
                "window_last": In(design.address_width),
                "ar": Out(stream.Signature(axi_address(design.address_width))),
                "r": In(read_beats(8 * design.data_bytes)),
                "axi": Out(axi_write(design.address_width, 8 * design.data_bytes)),
                **write_ports(design),
                "parameters_read": Out(
                    read_port(words=ENTRY_WORDS * design.parameter_entries, width=8 * WORD_BYTES)
                ),
                "accumulators": Out(accumulators_read(design)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        design = self._design
        m.submodules.rows = rows = RowWalker(design=design)
        m.submodules.places = places = LocalPlaces(design=design)
        m.submodules.realign = realign = Realign(data_bytes=design.data_bytes)
        m.submodules.results = results = ResultReader(design=design)
        m.submodules.writer = writer = BeatWriter(design=design)
        wiring.connect(m, writer.axi, wiring.flipped(self.axi))
        state, storing = Signal(_State), Signal()
        with m.If(state == _State.IDLE):
            m.d.sync += storing.eq(self.start_store)
        for walker in (rows, places):
            m.d.comb += [
                walker.load.eq(self.load),
                walker.store.eq(self.store),
                walker.storing.eq(storing),
                walker.restart.eq(state == _State.IDLE),
                walker.forward.eq(state == _State.NEXT),
                walker.reach.eq(state == _State.REACH),
            ]
        m.d.comb += [
            rows.window_first.eq(self.window_first),
            rows.window_last.eq(self.window_last),
            rows.step.eq(self.r.valid & (state == _State.STREAM) | writer.forward),
            places.span.eq(rows.span),
            places.begin.eq(state == _State.CHECK),
            places.step.eq(realign.write | results.next_tile),
            self.busy.eq(state != _State.IDLE),
        ]
        self._load(m, state, rows, places, realign)
        self._store(
            m, state, storing, rows=rows, places=places, realign=realign, results=results, writer=writer
        )
        self._control(m, state, storing, rows=rows, places=places, results=results, writer=writer)
        return m

    def _load(self, m, state, rows, places, realign):
        """Bursts are asked for, and their beats go to a scratchpad."""
        m.d.comb += [
            self.ar.valid.eq(state == _State.ASK),
            self.ar.payload.address.eq(rows.beat << exact_log2(self._design.data_bytes)),
            self.ar.payload.length.eq(rows.length),
            # A row whose last byte lies lower in its beat than the first one has been written with its last beat.
            realign.valid.eq(
                self.r.valid & (state == _State.STREAM)
                | (state == _State.FLUSH) & rows.tail & rows.place.any()
            ),
            realign.first.eq(rows.first),
            realign.data.eq(self.r.data),
            realign.place.eq(rows.place),
        ]
        for which, name in SCRATCHPADS.items():
            port = getattr(self, name)
            m.d.comb += [
                port.valid.eq(realign.write & (self.load.variant == which)),
                port.address.eq(places.place),
                port.data.eq(realign.moved),
            ]

    def _store(self, m, state, storing, *, rows, places, realign, results, writer):
        """Results are read, and their bytes written."""
        run = state == _State.RESULTS
        m.d.comb += [
            results.begin.eq(state == _State.REACH),
            results.run.eq(run),
            results.command.eq(self.store),
            results.past.eq(places.past),
            results.accumulators.eq(self.accumulators.data),
            results.word.eq(self.parameters_read.data),
            results.ready.eq(writer.ready),
            self.parameters_read.address.eq(results.parameter),
            self.accumulators.active.eq(run),
            self.accumulators.address.eq(places.place),
            writer.begin.eq(state == _State.CHECK),
            writer.place.eq(rows.place),
            writer.valid.eq(results.valid & run),
            realign.storing.eq(storing),
            realign.put.eq(writer.put),
            realign.byte.eq(results.byte),
            writer.gathered.eq(realign.gathered),
            writer.end.eq(results.end),
            writer.enable.eq(run & ~self.halt),
            writer.address.eq(rows.beat),
        ]

    def _control(self, m, state, storing, *, rows, places, results, writer):
        """What follows what."""
        code, failed = Signal(Error), Signal()
        over = Mux(rows.final, _State.SETTLE, _State.NEXT)
        m.d.comb += [
            self.code.eq(code),
            self.ended.eq((state == _State.SETTLE) & writer.quiet),
        ]
        ask = Mux(self.halt, _State.SETTLE, _State.ASK)
        with m.Switch(state):
            with m.Case(_State.IDLE):
                m.d.sync += [code.eq(Error.NONE), failed.eq(0)]
                with m.If(self.start_load | self.start_store):
                    m.d.sync += state.eq(_State.NEXT)
            with m.Case(_State.NEXT):
                m.d.sync += state.eq(_State.REACH)
            with m.Case(_State.REACH):
                m.d.sync += state.eq(_State.CHECK)
            with m.Case(_State.CHECK):
                outside = Mux(storing, 0, places.past)
                m.d.sync += [
                    code.eq(Mux(rows.inside, Mux(outside, Error.LOCAL, Error.NONE), Error.WINDOW)),
                    state.eq(Mux(storing, Mux(self.halt, _State.SETTLE, _State.RESULTS), ask)),
                ]
                with m.If(~rows.inside | outside):
                    m.d.sync += state.eq(_State.SETTLE)
            with m.Case(_State.ASK):
                with m.If(self.ar.ready):
                    m.d.sync += state.eq(_State.STREAM)
            with m.Case(_State.STREAM):
                with m.If(self.r.valid):
                    m.d.sync += failed.eq(failed | self.r.error)
                with m.If(self.r.valid & self.r.last):
                    wrong = failed | self.r.error
                    m.d.sync += [
                        code.eq(Mux(wrong, Error.READ, Error.NONE)),
                        state.eq(Mux(wrong, _State.SETTLE, Mux(rows.last, _State.FLUSH, ask))),
                    ]
            with m.Case(_State.FLUSH):
                m.d.sync += state.eq(over)
            with m.Case(_State.RESULTS):
                m.d.sync += code.eq(Mux(results.fault, Error.LOCAL, Error.NONE))
                with m.If(results.fault | self.halt):
                    m.d.sync += state.eq(_State.SETTLE)
                with m.Elif(results.over):
                    m.d.sync += state.eq(over)
            with m.Case(_State.SETTLE):
                with m.If(writer.quiet):
                    m.d.sync += state.eq(_State.IDLE)
        with m.If(writer.refused):
            m.d.sync += [code.eq(Error.WRITE), state.eq(_State.SETTLE)]
