"""STORE: accumulators to memory."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import enum, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2, exact_log2

from hw.control.isa import Error, OutputMode
from hw.delay import without_reset
from hw.design import Design
from hw.dma.bursts import BurstSplitter, run_layout
from hw.dma.writer import Writer, most_beats
from hw.interfaces import accumulators_read, axi_write, mover_members, read_port, store_command
from hw.output.path import ResultPath
from hw.output.walk import GroupWalker, parameter_groups, row_bytes_of


class _State(enum.Enum, shape=2):
    """What ``RowAddresses`` does with the row whose turn it is."""

    IDLE = 0
    ADD = 1
    CHECK = 2
    OFFER = 3


def row_length_width(design: Design) -> int:
    """Bits of the beats behind the first that a row of 65535 results of four bytes may touch."""
    return 19 - exact_log2(design.data_bytes)


class RowAddresses(wiring.Component):
    """Addresses of a command's rows, each offered only when all its bytes are inside the window.

    Parameters
    ----------
    design : Design

    Members
    -------
    start : take a new command
    command : ``store_command``, constant from ``start`` on
    window_first, window_last : lowest and highest byte address that may be touched
    runs : stream of ``hw.dma.bursts.run_layout``, a row each, ``final`` with the last
    idle : no row is being split up
    fault : one cycle: every row before has been taken and split up; the next one is not inside the window, or wraps

    Timing
    ------
    The first row is offered ``STORE_FIRST_ROW - 1`` cycles after ``start``, the others ``STORE_NEXT_ROW`` cycles after the
    one before was offered, or 2 cycles after it was taken.
    """

    def __init__(self, *, design):
        if not isinstance(design, Design):
            raise TypeError(f"design must be a Design, not {design!r}")
        self._design = design
        width = design.address_width
        self._state = Signal(_State)
        self._to_last, self._first_beat_to_last = Signal(18, reset_less=True), Signal(19, reset_less=True)
        self._address, self._address_wraps = Signal(width, reset_less=True), Signal()
        self._following, self._following_wraps = Signal(width, reset_less=True), Signal()
        self._end, self._end_wraps = Signal(width, reset_less=True), Signal()
        self._below, self._above = Signal(), Signal()
        super().__init__(
            {
                "start": In(1),
                "command": In(store_command(design)),
                "window_first": In(width),
                "window_last": In(width),
                "idle": In(1),
                "runs": Out(stream.Signature(run_layout(width, row_length_width(design)))),
                "fault": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        bits = exact_log2(self._design.data_bytes)
        command, run = self.command, without_reset(m, self.runs.payload)
        state, to_last, first_beat_to_last = self._state, self._to_last, self._first_beat_to_last
        address, address_wraps = self._address, self._address_wraps
        following, following_wraps = self._following, self._following_wraps
        end, end_wraps = self._end, self._end_wraps
        below, above = self._below, self._above
        rows_left, final = Signal(16, reset_less=True), Signal()

        outside = below | above | end_wraps
        with m.If(self.runs.ready):
            m.d.sync += self.runs.valid.eq(0)
        # What the row is goes to the output in every cycle in which that is free: only ``valid`` depends on more.
        with m.If(~self.runs.valid):
            m.d.sync += [
                run.address.eq(address[bits:] << bits),
                run.length.eq(first_beat_to_last >> bits),
                run.final.eq(final),
            ]
        m.d.sync += self.fault.eq(0)
        with m.Switch(state):
            with m.Case(_State.ADD):
                m.d.sync += [
                    address.eq(following),
                    address_wraps.eq(address_wraps | following_wraps),
                    Cat(end, end_wraps).eq(following + to_last),
                    Cat(following, following_wraps).eq(following + command.memory_stride),
                    first_beat_to_last.eq(following[:bits] + to_last),
                    final.eq(rows_left == 1),
                    state.eq(_State.CHECK),
                ]
            with m.Case(_State.CHECK):
                m.d.sync += [
                    below.eq(address < self.window_first),
                    above.eq(self.window_last < end),
                    end_wraps.eq(end_wraps | address_wraps),
                    rows_left.eq(rows_left - 1),
                    state.eq(_State.OFFER),
                ]
            with m.Case(_State.OFFER):
                with m.If(~outside & ~self.runs.valid):
                    m.d.sync += [self.runs.valid.eq(1), state.eq(Mux(final, _State.IDLE, _State.ADD))]
                with m.If(outside & ~self.runs.valid & self.idle):
                    m.d.sync += [self.fault.eq(1), state.eq(_State.IDLE)]
        with m.If(self.start):
            m.d.sync += [
                self.runs.valid.eq(0),
                following.eq(command.memory_address),
                following_wraps.eq(0),
                address_wraps.eq(0),
                rows_left.eq(command.rows),
                to_last.eq(row_bytes_of(self._design, command) - 1),
                state.eq(_State.ADD),
            ]
        return m


class StoreUnit(wiring.Component):
    """Carries out STORE instructions, one after another.

    For every row of ``rows`` and every column n of ``columns`` the result is that of bank ``n % B`` at row
    ``accumulators_address + (n // B) * accumulators_stride + row``, where B is the number of banks. A row is a string
    of bytes at ``memory_address + row * memory_stride``, at any alignment; no other byte is written.

    With more than one lane the parameter scratchpad is read in words of ``output_lanes`` entries, and ``parameters_address``
    must be a multiple of ``output_lanes``.

    Parameters
    ----------
    design : Design

    Members
    -------
    command : stream of ``store_command``
    ... : ``mover_members``
    accumulators : ``accumulators_read``
    parameters : ``read_port``, ``output_lanes`` entries wide, addressed in such groups
    axi : ``axi_write``
    beat : a beat was accepted at W in the cycle before

    Timing
    ------
    ``command.ready`` is high when no command is under way and ``halt`` is low. ``finished`` comes ``STORE_END`` cycles
    after the B of the last burst; the next command may be taken in that cycle. What lies between is in ``sim.cycles.store``.

    Faults: WINDOW, when every row before has been written; LOCAL (an accumulator row, or in mode REQUANTISED a parameter entry,
    past the end or misplaced): nothing from that result on is written, of what was before it some; WRITE, an error answered.
    After a fault or ``halt`` no burst is started, those under way are finished and answered; then ``busy`` falls.

    Raises
    ------
    TypeError
        ``design`` is not a ``Design``.
    ValueError
        Lanes that are not a power of two, do not divide the banks or the parameter entries, or do not fit into a beat.
    """

    def __init__(self, *, design):
        if not isinstance(design, Design):
            raise TypeError(f"design must be a Design, not {design!r}")
        lanes, banks = design.output_lanes, design.geometry.banks
        if lanes < 1 or lanes & (lanes - 1):
            raise ValueError(f"output_lanes must be a power of two, not {lanes!r}")
        if banks % lanes:
            raise ValueError(f"output_lanes must divide banks, not be {lanes!r} with {banks!r} banks")
        if design.parameter_entries % lanes:
            entries = design.parameter_entries
            raise ValueError(
                f"output_lanes must divide parameter_entries, not be {lanes!r} with {entries!r} entries"
            )
        if 4 * lanes > design.data_bytes:
            raise ValueError(
                f"output_lanes * 4 must be at most data_bytes, not {4 * lanes!r} with {design.data_bytes!r} bytes"
            )
        self._design = design
        super().__init__(
            {
                "command": In(stream.Signature(store_command(design))),
                **mover_members(design),
                "accumulators": Out(accumulators_read(design)),
                "parameters": Out(read_port(words=parameter_groups(design), width=128 * lanes)),
                "axi": Out(axi_write(design.address_width, 8 * design.data_bytes)),
                "beat": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        design = self._design
        m.submodules.walker = walker = GroupWalker(design=design)
        m.submodules.path = path = ResultPath(design=design)
        m.submodules.rows = rows = RowAddresses(design=design)
        m.submodules.splitter = splitter = BurstSplitter(
            address_width=design.address_width,
            data_bytes=design.data_bytes,
            length_width=row_length_width(design),
            most=most_beats(design),
        )
        m.submodules.writer = writer = Writer(design=design)
        wiring.connect(m, rows.runs, splitter.runs)
        wiring.connect(m, splitter.bursts, writer.bursts)
        wiring.connect(m, writer.axi, wiring.flipped(self.axi))

        command = Signal(self.command.payload.shape(), reset_less=True)
        start, run = Signal(), Signal()
        m.d.comb += [
            walker.start.eq(start),
            walker.command.eq(command),
            walker.run.eq(run),
            walker.popped.eq(writer.popped),
            self.accumulators.active.eq(walker.active),
            self.accumulators.address.eq(walker.accumulators_address),
            path.step.eq(walker.step),
            path.address.eq(walker.parameters_address),
            path.raw.eq(command.variant == OutputMode.RAW),
            path.accumulators.eq(self.accumulators.data),
            self.parameters.address.eq(path.parameters_address),
            path.parameters.eq(self.parameters.data),
            path.clear.eq(start),
            writer.coming.eq(path.coming),
            writer.valid.eq(path.valid),
            writer.data.eq(path.data),
            writer.strobe.eq(path.strobe),
            writer.enable.eq(run),
            writer.clear.eq(start),
            splitter.clear.eq(start),
            rows.start.eq(start),
            rows.command.eq(command),
            rows.idle.eq(splitter.idle & writer.empty),
            rows.window_first.eq(self.window_first),
            rows.window_last.eq(self.window_last),
        ]
        m.d.sync += self.beat.eq(self.axi.w.valid & self.axi.w.ready)
        self._control(m, command, start, run, walker=walker, rows=rows, writer=writer)
        return m

    def _control(self, m, command, start, run, *, walker, rows, writer):
        """From the command's handshake to its end."""
        fault = Signal()
        # Cycles (a power of two) after which a step taken in the first one has left its beat in the FIFO.
        drain = 1 << ceil_log2(self._design.geometry.store_pipeline + 1)
        drained = Signal(range(drain + 1))
        m.d.comb += [
            fault.eq(writer.failed | rows.fault | walker.fault),
            self.post.eq(command.post),
            self.index.eq(command.index),
        ]
        m.d.sync += [self.finished.eq(0), self.fault.eq(0)]

        with m.FSM(name="state") as state:
            m.d.comb += self.busy.eq(~state.ongoing("IDLE"))
            with m.State("IDLE"):
                m.d.comb += self.command.ready.eq(~self.halt)
                # In every cycle, so that this many registers do not wait for ``valid`` and ``halt``.
                m.d.sync += command.eq(self.command.payload)
                with m.If(self.command.valid & self.command.ready):
                    m.next = "START"
            with m.State("START"):
                m.d.comb += start.eq(1)
                m.d.sync += drained.eq(0)
                m.next = "RUN"
            with m.State("RUN"):
                m.d.comb += run.eq(1)
                m.d.sync += self.code.eq(
                    Mux(writer.failed, Error.WRITE, Mux(rows.fault, Error.WINDOW, Error.LOCAL))
                )
                with m.If(fault):
                    m.d.sync += self.fault.eq(1)
                    m.next = "DRAIN"
                with m.Elif(writer.started & writer.idle):
                    m.d.sync += self.finished.eq(1)
                    m.next = "IDLE"
                with m.Elif(self.halt):
                    m.next = "DRAIN"
            with m.State("DRAIN"):
                # Steps that were taken are on their way: what they put into the FIFO must not meet the next command.
                with m.If(~drained[-1]):
                    m.d.sync += drained.eq(drained + 1)
                with m.Elif(writer.idle):
                    m.next = "IDLE"
