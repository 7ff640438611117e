"""LOAD: rows of memory into the scratchpads, in AXI4 bursts."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from hw.control.isa import Error
from hw.delay import without_reset
from hw.design import PAGE_BYTES, Design
from hw.dma.read_arbiter import read_beats
from hw.dma.realign import (
    SCRATCHPADS,
    Receive,
    count_bits,
    local_bits,
    row_layout,
    scratchpad_beats,
    write_ports,
)
from hw.dma.row_queue import RowQueue
from hw.interfaces import INDEX_BITS, axi_address, load_command, mover_members
from hw.timing import LOAD_ROWS


def span_layout(design: Design) -> data.StructLayout:
    """Beats in memory: the first one's address (in beats) and their number, less one."""
    return data.StructLayout(
        {"address": design.address_width - exact_log2(design.data_bytes), "count": count_bits(design)}
    )


class Rows(wiring.Component):
    """Walks over the rows of a command and lets pass those that stay inside window and scratchpad.

    Parameters
    ----------
    design : Design

    Members
    -------
    command : stream of ``load_command``
    window_first, window_last : lowest and highest byte address that may be touched
    halt : take no command
    stop : take no command, and forget the one under way; a row on offer is withdrawn
    rows : stream of ``row_layout`` with its ``span``
    refused : this cycle, a row was found outside; ``code`` and ``index`` say why and whose. The command is
        forgotten
    idle : no command

    Timing
    ------
    States after the command's handshake: ``START``, then ``ADD``, ``CHECK``, ``OFFER`` for each row. So the
    first row is on offer ``LOAD_FIRST_ROW`` cycles after the command, the next ones ``LOAD_NEXT_ROW`` cycles
    after the one before was taken, and the next command can be taken ``LOAD_NEXT_COMMAND`` after the last. No
    cycle has more than one carry chain, and no wide register waits for a check.
    """

    def __init__(self, *, design):
        if not isinstance(design, Design):
            raise TypeError(f"design must be a Design, not {design!r}")
        self._design = design
        row = data.StructLayout({"row": row_layout(design), "span": span_layout(design)})
        super().__init__(
            {
                "command": In(stream.Signature(load_command(design))),
                "window_first": In(design.address_width),
                "window_last": In(design.address_width),
                "halt": In(1),
                "stop": In(1),
                "rows": Out(stream.Signature(row)),
                "refused": Out(1),
                "code": Out(4),
                "index": Out(INDEX_BITS),
                "idle": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        design, given = self._design, self.command.payload
        lane = exact_log2(design.data_bytes)
        limits = Array(beats - 1 for beats in scratchpad_beats(design).values())

        command = Signal(load_command(design), reset_less=True)
        address, wrapped = Signal(design.address_width, reset_less=True), Signal()
        # Narrow, because each row is checked before the next one's place is computed.
        local = Signal(max(local_bits(design), 16) + 1, reset_less=True)
        left, final = Signal(16, reset_less=True), Signal()
        # Of the row under way: distances to its last byte and beat, and what the checks said.
        span, limit = Signal(24, reset_less=True), Signal(local_bits(design), reset_less=True)
        end = Signal(design.address_width + 1, reset_less=True)
        local_end = Signal(max(len(local), len(span) - lane) + 1, reset_less=True)
        count, carry = Signal(count_bits(design), reset_less=True), Signal()
        above, fits, inside = Signal(), Signal(), Signal()

        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += [self.idle.eq(1), self.command.ready.eq(~self.halt & ~self.stop)]
                m.d.sync += [
                    command.eq(given),
                    address.eq(given.memory_address),
                    wrapped.eq(0),
                    local.eq(given.local_address),
                    left.eq(given.rows),
                    span.eq(given.row_bytes),
                ]
                with m.If(self.command.valid & self.command.ready):
                    m.next = "START"
            with m.State("START"):
                m.d.sync += [span.eq(span - 1), limit.eq(limits[command.variant])]
                m.next = "ADD"
            # ``<`` is its carry chain alone; ``<=`` would also compare for equality.
            with m.State("ADD"):
                m.d.sync += [
                    end.eq(address + span),
                    above.eq(~(address < self.window_first)),
                    local_end.eq(local + span[lane:]),
                    carry.eq((address[:lane] + span[:lane])[lane]),
                    final.eq(left == 1),
                ]
                m.next = "CHECK"
            with m.State("CHECK"):
                m.d.sync += [
                    inside.eq(~(self.window_last < end) & above & ~wrapped),
                    fits.eq(~(limit < local_end)),
                    count.eq(span[lane:] + carry),
                ]
                m.next = "OFFER"
            with m.State("OFFER"):
                m.d.comb += self.rows.valid.eq(inside & fits & ~self.stop)
                m.d.comb += self.refused.eq(~(inside & fits) & ~self.stop)
                # Of a row that is not taken nothing is wanted any more: these need not know whether it was good.
                with m.If(self.rows.ready):
                    m.d.sync += [
                        Cat(address, wrapped).eq(address + command.memory_stride),
                        local.eq(local + command.local_stride),
                        left.eq(left - 1),
                    ]
                    m.next = "ADD"
                with m.If(self.stop | ~(inside & fits) | (self.rows.ready & final)):
                    m.next = "IDLE"

        m.d.comb += [
            self.code.eq(Mux(inside, Error.LOCAL, Error.WINDOW)),
            self.index.eq(command.index),
            *self._row(command, address, local=local, count=count, carry=carry, final=final),
        ]
        return m

    def _row(self, command, address, *, local, count, carry, final):
        """What is offered of the row that begins at ``address``."""
        row, place = self.rows.payload.row, self.rows.payload.span
        lane = exact_log2(self._design.data_bytes)
        return [
            row.variant.eq(command.variant),
            row.local.eq(local),
            row.count.eq(count),
            row.single.eq(count == 0),
            row.shift.eq(address[:lane]),
            # The row's last byte lies no lower in its beat than the first: as many beats are read as are written.
            row.flush.eq(~carry),
            row.end.eq(final),
            row.post.eq(command.post),
            row.index.eq(command.index),
            place.address.eq(address[lane:]),
            place.count.eq(count),
        ]


class Splitter(wiring.Component):
    """Cuts spans of beats into bursts and asks for them while fewer than ``outstanding`` are under way.

    A burst has at most ``burst_beats`` beats and crosses no multiple of 4 KiB.

    Parameters
    ----------
    design : Design

    Members
    -------
    span : stream of ``span_layout``
    ar : stream of ``axi_address``
    returned : the last beat of a burst came
    stop : ask for nothing new, forget the span; a burst already asked for is kept until it is taken
    idle : no span under way
    clear : no burst under way

    Timing
    ------
    ``ar.valid`` rises ``LOAD_FIRST_BURST`` cycles after the span's handshake, later if the burst before was
    not taken by then: ``LOAD_NEXT_BURST`` cycles after that. It waits further while too many are under way.
    The next span can be taken when the span's last burst is on offer. ``ar`` is registers.
    """

    def __init__(self, *, design):
        if not isinstance(design, Design):
            raise TypeError(f"design must be a Design, not {design!r}")
        self._design = design
        # Seen by the proofs.
        self._span, self._final, self._length = (
            Signal(span_layout(design), reset_less=True),
            Signal(),
            Signal(8),
        )
        self._cutting, self._stepping = Signal(), Signal()
        self._under_way, self._full = Signal(range(design.outstanding + 1)), Signal()
        super().__init__(
            {
                "span": In(stream.Signature(span_layout(design))),
                "ar": Out(stream.Signature(axi_address(design.address_width))),
                "returned": In(1),
                "stop": In(1),
                "idle": Out(1),
                "clear": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        size, most = self._design.data_bytes, self._design.burst_beats
        page = exact_log2(PAGE_BYTES // size)

        # Lengths are beats less one: what is left on the page is then the inverse of the address bits. What is
        # added or taken away has a bit more at its low end, for the one.
        span, final, length = self._span, self._final, self._length
        on_page, cap, crosses = Signal(page), Signal(8, reset_less=True), Signal()
        asked = without_reset(m, self.ar.payload)
        m.d.comb += [
            on_page.eq(~span.address[:page]),
            crosses.eq((span.count[:page] + span.address[:page])[page]),
            length.eq(Mux(final, span.count, cap)),
        ]
        m.d.sync += [
            cap.eq(Mux(on_page < most - 1, on_page, most - 1)),
            # The comparison with the page and that with constants go side by side.
            final.eq(~crosses & (span.count < min(most, 1 << page))),
        ]

        under_way, ask, full = self._under_way, Signal(), self._full
        most_under_way = self._design.outstanding
        m.d.comb += self.clear.eq(under_way == 0)
        m.d.sync += [
            # What is on offer counts.
            under_way.eq(under_way + ask - self.returned),
            # What ``under_way`` will say; nothing is asked for while it is full.
            full.eq(
                ~self.returned & ((under_way == most_under_way) | (ask & (under_way == most_under_way - 1)))
            ),
            self.ar.valid.eq(ask | self.ar.valid & ~self.ar.ready),
        ]

        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += [self.idle.eq(1), self.span.ready.eq(1)]
                m.d.sync += span.eq(self.span.payload)
                with m.If(self.span.valid):
                    m.next = "CUT"
            with m.State("CUT"):
                m.d.comb += self._cutting.eq(1)
                with m.If((self.ar.ready | ~self.ar.valid) & ~full):
                    m.next = "STEP"
                with m.If(self.stop):
                    m.next = "IDLE"
            with m.State("STEP"):
                m.d.comb += [self._stepping.eq(1), ask.eq(~self.stop)]
                m.d.sync += [
                    asked.address.eq(Cat(Const(0, exact_log2(size)), span.address)),
                    asked.length.eq(length),
                    # Behind the last burst both are of no use, so that these need not wait for ``length``.
                    span.address.eq((Cat(1, span.address) + Cat(1, cap))[1:]),
                    span.count.eq((Cat(0, span.count) - Cat(1, cap))[1:]),
                ]
                m.next = "CUT"
                with m.If(self.stop | final):
                    m.next = "IDLE"
        return m


class LoadUnit(wiring.Component):
    """Carries out LOAD commands: rows from memory, at any byte alignment, to beats of a scratchpad.

    A row of ``row_bytes`` bytes at ``memory_address + i * memory_stride`` fills ``ceil(row_bytes /
    data_bytes)`` beats from ``local_address + i * local_stride`` on. What the last of them holds past the row
    is not defined.

    The issue side (``Rows``, ``Splitter``) runs ahead: it takes the next command while data of the one before
    still streams. The receive side (``Receive``) never stalls R. Between them lie up to ``LOAD_ROWS`` rows, the
    oldest one in ``Receive``, the others in ``RowQueue``.

    Each row is checked before anything is read for it: outside the window, or wrapping, is ``WINDOW``; past
    the scratchpad's end is ``LOCAL``. A beat with an error is ``READ``; when two faults coincide, that of the
    older command counts. A fault or ``halt`` stops the issue side; bursts under way are received, rows not
    read to their end are dropped, and then ``busy`` falls and the unit is as new. Commands whose last burst
    was asked for before still end with ``finished``, except behind a read error.

    Parameters
    ----------
    design : Design

    Members
    -------
    command : stream of ``load_command``; counts at least 1, ``variant`` a ``Destination``
    window_first, window_last, halt, busy, finished, post, fault, code, index : see ``mover_members``
    ar : stream of ``axi_address``, to the read arbiter
    r : ``read_beats``, from the read arbiter
    activations, weights, parameters : write ports of the scratchpads
    beat : a beat comes in

    Timing
    ------
    See ``hw.timing.LOAD_*`` and ``sim.cycles.load``. With bursts of one row a new one can be asked for every
    two cycles, with rows of one burst every three. ``finished`` comes ``LOAD_TAIL`` cycles after the
    command's last beat on the bus; a read address put to the scratchpad in that cycle finds the data.
    ``fault`` comes two cycles after its cause, or in the first one after that without ``finished``. All
    outputs but ``command.ready`` and ``beat`` are registers.
    """

    def __init__(self, *, design):
        if not isinstance(design, Design):
            raise TypeError(f"design must be a Design, not {design!r}")
        self._design = design
        super().__init__(
            {
                "command": In(stream.Signature(load_command(design))),
                **mover_members(design),
                "ar": Out(stream.Signature(axi_address(design.address_width))),
                "r": In(read_beats(8 * design.data_bytes)),
                **write_ports(design),
                "beat": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        design = self._design
        m.submodules.rows = rows = Rows(design=design)
        m.submodules.splitter = splitter = Splitter(design=design)
        m.submodules.waiting = waiting = RowQueue(design=design, depth=LOAD_ROWS - 1)
        m.submodules.receive = receive = Receive(design=design)
        wiring.connect(m, wiring.flipped(self.command), rows.command)
        wiring.connect(m, splitter.ar, wiring.flipped(self.ar))
        wiring.connect(m, wiring.flipped(self.r), receive.r)
        wiring.connect(m, waiting.o, receive.row)
        for name in SCRATCHPADS.values():
            wiring.connect(m, getattr(receive, name), wiring.flipped(getattr(self, name)))

        stopping, drop = Signal(), Signal()
        m.d.comb += [
            rows.window_first.eq(self.window_first),
            rows.window_last.eq(self.window_last),
            waiting.i.payload.eq(rows.rows.payload.row),
            splitter.span.payload.eq(rows.rows.payload.span),
            waiting.i.valid.eq(rows.rows.valid & splitter.span.ready),
            splitter.span.valid.eq(rows.rows.valid & waiting.i.ready),
            rows.rows.ready.eq(splitter.span.ready & waiting.i.ready),
            splitter.returned.eq(self.r.valid & self.r.last),
            rows.halt.eq(self.halt),
            rows.stop.eq(stopping),
            splitter.stop.eq(stopping),
            # With nothing under way, the rows that are left were cut short.
            drop.eq(stopping & splitter.idle & splitter.clear),
            waiting.clear.eq(drop),
            receive.drop.eq(drop),
            receive.clear.eq(~self.busy),
            self.beat.eq(self.r.valid),
        ]
        m.d.sync += stopping.eq(self.busy & (stopping | self.halt | rows.refused | receive.error))

        # ``index`` serves both: a fault waits while commands finish.
        found, code, index = Signal(), Signal(4), Signal(INDEX_BITS, reset_less=True)
        with m.If(~found):
            m.d.sync += [
                found.eq(rows.refused | receive.error),
                code.eq(Mux(receive.error, Error.READ, rows.code)),
                index.eq(Mux(receive.error, receive.error_index, rows.index)),
            ]
        with m.Elif(~receive.finished):
            m.d.sync += found.eq(0)
        under_way = ~rows.idle | ~splitter.idle | ~splitter.clear | waiting.o.valid
        m.d.sync += [
            self.busy.eq(self.command.valid & self.command.ready | under_way | receive.active | found),
            self.finished.eq(receive.finished),
            self.post.eq(receive.post),
            self.fault.eq(found & ~receive.finished),
            self.code.eq(code),
            without_reset(m, self.index).eq(Mux(receive.finished, receive.index, index)),
        ]
        return m
