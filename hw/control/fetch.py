"""Fetches a program ahead of its use and cuts the bus beats into instruction words."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, ResetInserter, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.control.isa import FETCH_BATCH, FETCH_BUFFER, INSTRUCTION_BITS, INSTRUCTION_BYTES, Error
from hw.design import ceil_div
from hw.dma.read_arbiter import read_beats
from hw.interfaces import INDEX_BITS, axi_address
from hw.stream.fifo import Fifo


def instruction_word() -> data.StructLayout:
    """A raw instruction and its index in the program."""
    return data.StructLayout({"word": INSTRUCTION_BITS, "index": INDEX_BITS})


class ProgramCheck(wiring.Component):
    """Is the program aligned, not empty, countable, and inside the window?

    ``valid`` (with ``good``) comes ``hw.timing.PROGRAM_CHECK`` - 1 cycles after ``start``.
    """

    def __init__(self, *, address_width: int) -> None:
        self._width = address_width
        super().__init__(
            {
                "start": In(1),
                "address": In(64),
                "length": In(32),
                "window_first": In(address_width),
                "window_last": In(address_width),
                "valid": Out(1),
                "good": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        width = self._width
        begun, summed = Signal(), Signal()
        shape_good, low_good, high_good = Signal(), Signal(), Signal()
        last = Signal(width + 1)
        m.d.sync += [begun.eq(self.start), summed.eq(begun), self.valid.eq(summed)]
        # Cycle by cycle: the length's last byte; the sum; the comparisons. Each addition has a cycle of its own.
        size = Signal(INDEX_BITS + 5)
        m.d.sync += size.eq((self.length << 5) - 1)
        m.d.sync += shape_good.eq(
            (self.address[:7] == 0)
            & (self.address[width:] == 0)
            & (self.length != 0)
            & (self.length[INDEX_BITS:] == 0)
        )
        m.d.sync += last.eq(self.address[:width] + size)
        m.d.sync += [
            low_good.eq(self.address[:width] >= self.window_first),
            high_good.eq(~last[-1] & (last[:-1] <= self.window_last)),
        ]
        m.d.comb += self.good.eq(shape_good & low_good & high_good)
        return m


class Gearbox(wiring.Component):
    """Puts instruction words together from bus beats, or cuts a 64-byte beat into two.

    ``last`` says that the word now being made is the program's last: the second half of a 64-byte beat is then dropped.
    ``made``: the last beat of a word is taken in this cycle; the word is valid from the next cycle on. The first beat of a
    word is taken in the cycle after the word before was, or later.
    """

    def __init__(self, *, data_bytes: int) -> None:
        self._data_bytes = data_bytes
        super().__init__(
            {
                "i": In(stream.Signature(8 * data_bytes)),
                "last": In(1),
                "made": Out(1),
                "o": Out(stream.Signature(INSTRUCTION_BITS)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        i, o = self.i, self.o
        free = Signal()
        m.d.comb += free.eq(~o.valid)  # not "or taken": the decoder's ready would go through to the buffer
        with m.If(o.ready):
            m.d.sync += o.valid.eq(0)
        if self._data_bytes > INSTRUCTION_BYTES:
            upper = Signal()
            m.d.comb += [i.ready.eq(free & (upper | self.last)), self.made.eq(free & i.valid)]
            with m.If(free):
                m.d.sync += [
                    o.valid.eq(i.valid),
                    o.payload.eq(Mux(upper, i.payload[INSTRUCTION_BITS:], i.payload[:INSTRUCTION_BITS])),
                ]
                with m.If(i.valid):
                    m.d.sync += upper.eq(~upper & ~self.last)
            return m
        beats = INSTRUCTION_BYTES // self._data_bytes
        count = Signal(range(beats))
        m.d.comb += [i.ready.eq(free), self.made.eq(free & i.valid & (count == beats - 1))]
        with m.If(free):
            m.d.sync += o.valid.eq(self.made)
            with m.If(i.valid):
                m.d.sync += [
                    o.payload.eq(
                        (i.payload << (INSTRUCTION_BITS - 8 * self._data_bytes))
                        | (o.payload >> 8 * self._data_bytes)
                    ),
                    count.eq(Mux(count == beats - 1, 0, count + 1)),
                ]
        return m


class Fetch(wiring.Component):
    """Reads ``program_length`` instructions from ``program_address`` on, in batches, while there is room for a batch.

    Parameters
    ----------
    address_width, data_bytes : int
        Of the bus.

    Members
    -------
    start : In(1)
        One cycle; the program registers and the window must hold from then until the run has ended.
    halt : In(1)
        Ask for nothing more; what is still on its way is taken and dropped.
    clear : In(1)
        Forget everything; only while no read is outstanding.
    ar : Out(stream), beats : In(``read_beats``)
        To and from the read arbiter.
    o : Out(stream of ``instruction_word``)
    exhausted : Out(1)
        Every instruction of the program has been handed over, or there is none.
    idle : Out(1)
        No request is being made.
    fault : Out(1), code : Out(4), index : Out(20)
        One cycle: the program cannot be fetched.

    Timing
    ------
    The first request is made in cycle ``start + PROGRAM_CHECK``; a request follows another's grant after 3 cycles at the
    earliest, and the hand-over that makes room for it after 3. A beat seen from the arbiter in cycle t can leave the
    buffer in t + 1, and the word is valid in the cycle after its last beat left.
    """

    def __init__(self, *, address_width: int, data_bytes: int) -> None:
        self._address_width = address_width
        self._data_bytes = data_bytes
        super().__init__(
            {
                "start": In(1),
                "halt": In(1),
                "clear": In(1),
                "program_address": In(64),
                "program_length": In(32),
                "window_first": In(address_width),
                "window_last": In(address_width),
                "ar": Out(stream.Signature(axi_address(address_width))),
                "beats": In(read_beats(8 * data_bytes)),
                "o": Out(stream.Signature(instruction_word())),
                "exhausted": Out(1, init=1),
                "idle": Out(1),
                "fault": Out(1),
                "code": Out(4),
                "index": Out(INDEX_BITS),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.check = check = ProgramCheck(address_width=self._address_width)
        fifo = Fifo(
            shape=8 * self._data_bytes, depth=ceil_div(FETCH_BUFFER * INSTRUCTION_BYTES, self._data_bytes) + 1
        )
        gearbox = Gearbox(data_bytes=self._data_bytes)
        clearing = ResetInserter(self.clear)
        m.submodules.fifo = clearing(fifo)
        m.submodules.gearbox = clearing(gearbox)
        wiring.connect(m, fifo.o, gearbox.i)
        handed = Signal()
        self._words(m, gearbox, handed)
        m.d.comb += [
            check.start.eq(self.start),
            check.address.eq(self.program_address),
            check.length.eq(self.program_length),
            check.window_first.eq(self.window_first),
            check.window_last.eq(self.window_last),
            fifo.i.valid.eq(self.beats.valid),
            fifo.i.payload.eq(self.beats.data),
        ]
        self._requests(m, check, handed)
        bad = check.valid & ~check.good
        m.d.sync += [
            self.fault.eq(bad | (self.beats.valid & self.beats.error)),
            self.code.eq(Mux(bad, Error.PROGRAM, Error.READ)),
        ]
        m.d.comb += self.index.eq(self.o.payload.index)
        return m

    def _words(self, m: Module, gearbox: Gearbox, handed: Signal) -> None:
        """Numbers the words, and knows the last one."""
        left, to_make = Signal(INDEX_BITS), Signal(INDEX_BITS)  # to be handed over; to be put together
        m.d.comb += [
            self.o.valid.eq(gearbox.o.valid),
            self.o.payload.word.eq(gearbox.o.payload),
            gearbox.o.ready.eq(self.o.ready),
            gearbox.last.eq(to_make == 1),
            handed.eq(self.o.valid & self.o.ready),
        ]
        with m.If(self.start):
            m.d.sync += [
                left.eq(self.program_length),
                to_make.eq(self.program_length),
                self.o.payload.index.eq(0),
                self.exhausted.eq(0),
            ]
        with m.Else():
            with m.If(gearbox.made):
                m.d.sync += to_make.eq(to_make - 1)
            with m.If(handed):
                m.d.sync += [left.eq(left - 1), self.o.payload.index.eq(self.o.payload.index + 1)]
                m.d.sync += self.exhausted.eq(left == 1)
            with m.If(self.clear):
                m.d.sync += self.exhausted.eq(1)

    def _requests(self, m: Module, check: ProgramCheck, handed: Signal) -> None:
        """Asks for a batch whenever a whole one fits."""
        beats_per_instruction = max(1, INSTRUCTION_BYTES // self._data_bytes)
        batch_bytes = FETCH_BATCH * INSTRUCTION_BYTES
        remaining = Signal(INDEX_BITS)
        room = Signal(range(FETCH_BUFFER + 1))
        tail = Signal(range(FETCH_BATCH + 1))
        granted = Signal()
        m.d.comb += granted.eq(self.ar.valid & self.ar.ready)
        m.d.sync += tail.eq(Mux(remaining[2:].any(), FETCH_BATCH, remaining[:2]))
        if self._data_bytes > INSTRUCTION_BYTES:
            beats = (tail + 1) >> 1
        else:
            beats = tail * beats_per_instruction
        given_back = Signal()  # a register: the hand-over is decided late in its cycle
        m.d.sync += [given_back.eq(handed), room.eq(room + given_back - Mux(granted, tail, 0))]
        with m.FSM() as fsm:
            m.d.comb += self.idle.eq(fsm.ongoing("IDLE"))
            with m.State("IDLE"):
                with m.If(check.valid & check.good & ~self.halt):
                    m.d.sync += [self.ar.valid.eq(1), self.ar.payload.length.eq(beats - 1)]
                    m.next = "ASK"
            with m.State("ROOM"):
                with m.If(self.halt | (remaining == 0)):
                    m.next = "IDLE"
                with m.Elif(room >= FETCH_BATCH):
                    m.d.sync += [self.ar.valid.eq(1), self.ar.payload.length.eq(beats - 1)]
                    m.next = "ASK"
            with m.State("ASK"):
                with m.If(granted):
                    m.d.sync += [
                        self.ar.valid.eq(0),
                        self.ar.payload.address.eq(self.ar.payload.address + batch_bytes),
                        remaining.eq(remaining - tail),
                    ]
                    m.next = "COUNT"
            with m.State("COUNT"):  # in which ``tail`` follows ``remaining``
                m.next = "ROOM"
        with m.If(self.start):
            m.d.sync += [
                self.ar.payload.address.eq(self.program_address),
                remaining.eq(self.program_length),
                room.eq(FETCH_BUFFER),
            ]
