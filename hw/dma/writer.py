"""The AXI4 write master: beats gather in a FIFO until their burst is complete, then it is written without a gap."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.delay import without_reset
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

    The next burst is held in AW's own register. It is started when all its beats are there, the burst before the one that is
    being written has been written and fewer than ``outstanding`` are unanswered. Then AW and data go their own ways.

    Parameters
    ----------
    design : Design

    Members
    -------
    bursts : stream of ``hw.dma.bursts.burst_layout``
    valid, data, strobe : a beat for the FIFO; never more than ``STORE_FIFO`` may be inside
    coming : ``valid`` is high in the next cycle
    popped : a beat has left the FIFO in the cycle before
    enable : bursts may be started
    clear : forget the beats in the FIFO and the burst that is held; only when ``idle``
    axi : write half of an AXI4 master; ``b.ready`` is always high
    empty : no burst is held: all that were taken have been accepted at AW
    started : the burst with ``final`` has been started since ``clear``
    idle : no burst is under way or unanswered
    failed : an error was answered in the cycle before

    Timing
    ------
    A beat counts from the cycle in which it is put in. A burst taken in cycle t can be started in cycle t + 1 and is then valid
    at AW in t + 2; the next one can be taken the cycle after AW was accepted. A burst's first beat is at W 3 cycles after its
    start, or directly behind the last beat of the burst before. An answer counts ``hw.timing.STORE_ANSWER`` cycles after B.
    """

    def __init__(self, *, design):
        if not isinstance(design, Design):
            raise TypeError(f"design must be a Design, not {design!r}")
        self._design = design
        size, most = design.data_bytes, most_beats(design)
        self._empty, self._pending, self._final = Signal(init=1), Signal(), Signal()
        self._spare = Signal(range(-most, STORE_FIFO + 1))
        self._waiting, self._writing, self._last = Signal(), Signal(), Signal()
        self._waiting_length, self._left = (Signal(range(most), reset_less=True) for _ in range(2))
        self._unanswered = Signal(design.outstanding)
        self._start = Signal()
        super().__init__(
            {
                "bursts": In(stream.Signature(burst_layout(design.address_width, most))),
                "coming": In(1),
                "valid": In(1),
                "data": In(8 * size),
                "strobe": In(size),
                "popped": Out(1),
                "enable": In(1),
                "clear": In(1),
                "axi": Out(axi_write(design.address_width, 8 * size)),
                "empty": Out(1),
                "started": Out(1),
                "idle": Out(1),
                "failed": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.fifo = fifo = BeatFifo(data_bytes=self._design.data_bytes, depth=STORE_FIFO)
        m.d.comb += [
            fifo.valid.eq(self.valid),
            fifo.data.eq(self.data),
            fifo.strobe.eq(self.strobe),
            fifo.clear.eq(self.clear),
        ]
        self._addresses(m)
        self._data(m, fifo)
        self._answers(m)
        # As it was in the cycle before: what has begun since then is unanswered now.
        aw, w, moving = self.axi.aw, self.axi.w, Signal()
        m.d.sync += moving.eq(aw.valid | self._waiting | self._writing | w.valid)
        m.d.comb += self.idle.eq(~moving & ~self._unanswered[0])
        return m

    def _addresses(self, m):
        """A burst is taken, pending until it is started, then at AW until it is accepted."""
        burst, aw, spare = self.bursts.payload, self.axi.aw, self._spare
        empty, pending, start = self._empty, self._pending, self._start
        load, asked = Signal(), without_reset(m, aw.payload)
        m.d.comb += [
            self.bursts.ready.eq(empty),
            self.empty.eq(empty),
            load.eq(empty & self.bursts.valid),
            start.eq(pending & ~spare[-1] & self.enable & ~self._waiting & ~self._unanswered[-1]),
        ]
        m.d.sync += [
            empty.eq((empty & ~load) | (aw.valid & aw.ready)),
            pending.eq((pending & ~start) | load),
            aw.valid.eq((aw.valid & ~aw.ready) | start),
            self.started.eq(self.started | start & self._final),
        ]
        with m.If(empty):
            m.d.sync += [
                asked.address.eq(burst.address),
                asked.length.eq(burst.length),
                self._final.eq(burst.final),
            ]
        # Beats in the FIFO, or put in in this cycle, that belong to no burst yet. A burst takes its own when it is loaded,
        # there or not: below zero, some are missing. The inverse of ``length`` is minus the number of its beats.
        taken = Mux(load, ~Cat(burst.length, Const(0, 1)).as_signed(), 0)
        m.d.sync += spare.eq((Cat(1, spare).as_signed() + Cat(self.coming, taken).as_signed()) >> 1)
        with m.If(self.clear):
            m.d.sync += [spare.eq(0), empty.eq(1), pending.eq(0), self.started.eq(0)]

    def _data(self, m, fifo):
        """Beats behind the one that is next, of the burst that is being written; another one waits for its turn."""
        aw, w, start = self.axi.aw, self.axi.w, self._start
        waiting, waiting_length = self._waiting, self._waiting_length
        left, writing, last = self._left, self._writing, self._last
        move, begin, beat = Signal(), Signal(), without_reset(m, w.payload)
        m.d.comb += [
            move.eq(writing & (~w.valid | w.ready)),
            begin.eq(waiting & (~writing | move & last)),
            fifo.pop.eq(move),
        ]
        m.d.sync += [waiting.eq(start | waiting & ~begin), self.popped.eq(move)]
        with m.If(~waiting):
            m.d.sync += waiting_length.eq(aw.payload.length)
        with m.If(begin):
            m.d.sync += [writing.eq(1), left.eq(waiting_length), last.eq(waiting_length == 0)]
        with m.Elif(move):
            m.d.sync += [writing.eq(~last), left.eq(left - 1), last.eq(left == 1)]
        with m.If(move):
            m.d.sync += [
                w.valid.eq(1),
                beat.data.eq(fifo.o.data),
                beat.strobe.eq(fifo.o.strobe),
                beat.last.eq(last),
            ]
        with m.Elif(w.ready):
            m.d.sync += w.valid.eq(0)

    def _answers(self, m):
        """Bursts that are not answered yet, as a row of ones: the first and the last bit say what is to be known."""
        b, unanswered, start = self.axi.b, self._unanswered, self._start
        answered = Signal()
        m.d.comb += [b.ready.eq(1), answered.eq(b.valid & unanswered[0])]
        m.d.sync += self.failed.eq(answered & b.payload)
        with m.If(start & ~answered):
            m.d.sync += unanswered.eq(Cat(1, unanswered))
        with m.Elif(answered & ~start):
            m.d.sync += unanswered.eq(unanswered >> 1)
