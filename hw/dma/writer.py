"""The AXI4 write master: beats gather in a FIFO until their burst is complete, then it is written without a gap."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.design import Design
from hw.dma.bursts import burst_layout
from hw.interfaces import axi_write
from hw.timing import STORE_BURST, STORE_FIFO


def most_beats(design: Design) -> int:
    """Most beats in a write burst."""
    return min(design.burst_beats, STORE_BURST)


class BeatFifo(wiring.Component):
    """Beats in distributed RAM; the oldest is at ``o`` while there is one. Who puts them in counts the places.

    Parameters
    ----------
    data_bytes : int
    depth : int

    Members
    -------
    valid, data, strobe : a beat put in
    pop : the oldest is taken
    clear : forget all
    o : the oldest beat

    Timing
    ------
    A beat put in is there the cycle after, when none is before it.
    """

    def __init__(self, *, data_bytes, depth):
        self._depth = depth
        self._beat = data.StructLayout({"data": 8 * data_bytes, "strobe": data_bytes})
        super().__init__(
            {
                "valid": In(1),
                "data": In(8 * data_bytes),
                "strobe": In(data_bytes),
                "pop": In(1),
                "clear": In(1),
                "o": Out(self._beat),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.storage = storage = memory.Memory(shape=self._beat, depth=self._depth, init=[])
        write, read = storage.write_port(), storage.read_port(domain="comb")
        m.d.comb += [
            write.en.eq(self.valid),
            write.data.data.eq(self.data),
            write.data.strobe.eq(self.strobe),
            self.o.eq(read.data),
        ]
        for port, moves in ((write, self.valid), (read, self.pop)):
            pointer = Signal(range(self._depth), name="write_pointer" if port is write else "read_pointer")
            m.d.comb += port.addr.eq(pointer)
            with m.If(self.clear):
                m.d.sync += pointer.eq(0)
            with m.Elif(moves):
                m.d.sync += pointer.eq(Mux(pointer == self._depth - 1, 0, pointer + 1))
        return m


class Writer(wiring.Component):
    """Writes bursts of beats that are all in the FIFO.

    A burst is started when all its beats are there, AW is empty, the burst before the one that is being written has been
    written and fewer than ``outstanding`` are unanswered. Then AW and data go their own ways.

    Parameters
    ----------
    design : Design

    Members
    -------
    bursts : stream of ``hw.dma.bursts.burst_layout``
    valid, data, strobe : a beat for the FIFO; never more than ``STORE_FIFO`` may be inside
    popped : a beat has left the FIFO
    enable : bursts may be started
    clear : forget the beats in the FIFO; only when ``idle``
    axi : write half of an AXI4 master; ``b.ready`` is always high
    idle : no burst is under way or unanswered
    failed : an error was answered in this cycle

    Timing
    ------
    A beat counts from the cycle after it was put in. A burst taken in cycle t is valid at AW in cycle t + 1; its first
    beat at W in cycle t + 3, or directly behind the last beat of the burst before. The next burst can be taken the cycle after
    AW was accepted and this one's turn for data has come, which is t + 2 at the earliest.
    """

    def __init__(self, *, design):
        if not isinstance(design, Design):
            raise TypeError(f"design must be a Design, not {design!r}")
        self._design = design
        size = design.data_bytes
        self._complete = Signal(range(STORE_FIFO + 1))
        self._waiting, self._writing, self._last = Signal(), Signal(), Signal()
        self._waiting_beats, self._left = (
            Signal(range(most_beats(design) + 1)),
            Signal(range(most_beats(design) + 1)),
        )
        self._unanswered = Signal(range(design.outstanding + 1))
        super().__init__(
            {
                "bursts": In(stream.Signature(burst_layout(design.address_width, most_beats(design)))),
                "valid": In(1),
                "data": In(8 * size),
                "strobe": In(size),
                "popped": Out(1),
                "enable": In(1),
                "clear": In(1),
                "axi": Out(axi_write(design.address_width, 8 * size)),
                "idle": Out(1),
                "failed": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.fifo = fifo = BeatFifo(data_bytes=self._design.data_bytes, depth=STORE_FIFO)
        burst, aw, w, b = self.bursts.payload, self.axi.aw, self.axi.w, self.axi.b
        limit = self._design.outstanding

        # Bursts: those that wait for their data's turn (one at most), and those that wait for B.
        complete, unanswered = self._complete, self._unanswered
        waiting, waiting_beats = self._waiting, self._waiting_beats
        start, answered = Signal(), Signal()
        m.d.comb += [
            self.bursts.ready.eq(
                self.enable & ~aw.valid & ~waiting & (unanswered != limit) & (complete >= burst.beats)
            ),
            start.eq(self.bursts.valid & self.bursts.ready),
            b.ready.eq(1),
            answered.eq(b.valid & (unanswered != 0)),
            self.failed.eq(answered & b.payload),
        ]
        m.d.sync += [
            complete.eq(Mux(self.clear, 0, complete + self.valid - Mux(start, burst.beats, 0))),
            unanswered.eq(unanswered + start - answered),
        ]
        with m.If(start):
            m.d.sync += [
                aw.valid.eq(1),
                aw.payload.address.eq(burst.address),
                aw.payload.length.eq(burst.beats - 1),
                waiting_beats.eq(burst.beats),
            ]
        with m.Elif(aw.ready):
            m.d.sync += aw.valid.eq(0)

        # Data: beats left of the burst that is being written.
        left, writing, last = self._left, self._writing, self._last
        move, begin = Signal(), Signal()
        m.d.comb += [
            move.eq(writing & (~w.valid | w.ready)),
            begin.eq(waiting & (~writing | move & last)),
            self.popped.eq(move),
        ]
        m.d.sync += waiting.eq(start | waiting & ~begin)
        with m.If(begin):
            m.d.sync += [writing.eq(1), left.eq(waiting_beats), last.eq(waiting_beats == 1)]
        with m.Elif(move):
            m.d.sync += [writing.eq(~last), left.eq(left - 1), last.eq(left == 2)]
        with m.If(move):
            m.d.sync += [
                w.valid.eq(1),
                w.payload.data.eq(fifo.o.data),
                w.payload.strobe.eq(fifo.o.strobe),
                w.payload.last.eq(last),
            ]
        with m.Elif(w.ready):
            m.d.sync += w.valid.eq(0)

        m.d.comb += [
            self.idle.eq(~aw.valid & ~waiting & ~writing & ~w.valid & (unanswered == 0)),
            fifo.valid.eq(self.valid),
            fifo.data.eq(self.data),
            fifo.strobe.eq(self.strobe),
            fifo.pop.eq(move),
            fifo.clear.eq(self.clear),
        ]
        return m
