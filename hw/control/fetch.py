"""Fetches a program ahead of its use and cuts the bus beats into instruction words."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from hw.control.isa import FETCH_BATCH, FETCH_BUFFER, INSTRUCTION_BITS, INSTRUCTION_BYTES, Error
from hw.control.ring import Places
from hw.dma.read_arbiter import read_beats
from hw.interfaces import INDEX_BITS, axi_address
from hw.timing import PROGRAM_CHECK


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
        stages = Signal(PROGRAM_CHECK - 1)
        m.d.sync += stages.eq(Cat(self.start, stages))
        # Cycle by cycle: the length's last byte; the sum; the comparisons; all together. Each addition has a cycle of its own.
        size, last = Signal(INDEX_BITS + 5, reset_less=True), Signal(width + 1, reset_less=True)
        m.d.sync += [size.eq((self.length << 5) - 1), last.eq(self.address[:width] + size)]
        zeros = [*self.address[:7], *self.address[width:], *self.length[INDEX_BITS:]]
        faults = [Cat(zeros[i : i + 16]).any() for i in range(0, len(zeros), 16)]
        faults += [~self.length.any(), last[-1]]
        found = Signal(len(faults))
        below = self._less(m, self.address[:width], self.window_first)
        above = self._less(m, self.window_last, last[:-1])
        m.d.sync += [found.eq(Cat(faults)), self.good.eq(~(found.any() | below | above))]
        m.d.comb += self.valid.eq(stages[-1])
        return m

    @staticmethod
    def _less(m: Module, a: Value, b: Value) -> Value:
        """Was ``a`` less than ``b`` in the cycle before? Compared in parts of 16 bits; the parts are put together now."""
        result = Const(0)
        for start in range(0, len(a), 16):
            less, same = Signal(reset_less=True), Signal(reset_less=True)
            part = slice(start, start + 16)
            m.d.sync += [less.eq(a[part] < b[part]), same.eq(~(a[part] ^ b[part]).any())]
            result = less | (same & result)
        return result


def word_members(data_bytes: int) -> dict:
    """Members of ``WordStore``."""
    return {
        "valid": In(1),
        "beat": In(8 * data_bytes),
        "last": In(1),
        "restart": In(1),
        "o": Out(stream.Signature(INSTRUCTION_BITS)),
    }


class WordStore(wiring.Component):
    """Puts instruction words together from bus beats, or takes beats apart into words, in distributed RAM.

    A row of the RAM has a bank for each beat of a word, or one for each word of a beat.

    Parameters
    ----------
    data_bytes : int
        Of a beat.

    Members
    -------
    valid : In(1), beat : In
        A beat comes; there must be room for it.
    last : In(1)
        The word at ``o`` is the program's last: the second half of a 64-byte beat is then dropped.
    restart : In(1)
        Forget everything.
    o : Out(stream)

    Timing
    ------
    A word is valid in the cycle after its last beat came, when it is the next.
    """

    def __init__(self, *, data_bytes: int) -> None:
        self._data_bytes = data_bytes
        super().__init__(word_members(data_bytes))

    def elaborate(self, platform):
        m = Module()
        words = max(1, self._data_bytes // INSTRUCTION_BYTES)  # of a beat
        beats = max(1, INSTRUCTION_BYTES // self._data_bytes)  # of a word
        m.submodules.rows = rows = Places(depth=FETCH_BUFFER // words)
        turn, half = Signal(beats, init=1), Signal()
        with m.If(self.valid):
            m.d.sync += turn.eq(turn.rotate_left(1))
        taken = Signal()
        m.d.comb += [
            taken.eq(self.o.valid & self.o.ready),
            rows.put.eq(self.valid & turn[-1]),
            rows.take.eq(taken if words == 1 else taken & (half | self.last)),
            rows.clear.eq(self.restart),
            self.o.valid.eq(rows.some),
        ]
        banks, width = [], min(8 * self._data_bytes, INSTRUCTION_BITS)
        for number in range(max(words, beats)):
            bank = memory.Memory(shape=width, depth=1 << len(rows.write), init=[])
            m.submodules[f"bank_{number}"] = bank
            write, read = bank.write_port(), bank.read_port(domain="comb")
            m.d.comb += [
                write.en.eq(self.valid & turn[number % beats]),
                write.addr.eq(rows.write),
                write.data.eq(self.beat.word_select(number % words, width)),
                read.addr.eq(rows.read),
            ]
            banks.append(read.data)
        if words == 1:
            m.d.comb += self.o.payload.eq(Cat(banks))
        else:
            m.d.comb += self.o.payload.eq(Mux(half, banks[1], banks[0]))
            with m.If(taken):
                m.d.sync += half.eq(~half & ~self.last)
        with m.If(self.restart):
            m.d.sync += [turn.eq(1), half.eq(0)]
        return m


class WordRegister(wiring.Component):
    """A ``WordStore`` of one word, in registers: a beat is at most a word.

    Parameters, members and timing as there. A beat comes only while ``o`` is not valid.
    """

    def __init__(self, *, data_bytes: int) -> None:
        self._data_bytes = data_bytes
        super().__init__(word_members(data_bytes))

    def elaborate(self, platform):
        m = Module()
        turn = Signal(INSTRUCTION_BYTES // self._data_bytes, init=1)
        for number in range(len(turn)):
            with m.If(self.valid & turn[number]):
                m.d.sync += self.o.payload.word_select(number, len(self.beat)).eq(self.beat)
        with m.If(self.valid):
            m.d.sync += [turn.eq(turn.rotate_left(1)), self.o.valid.eq(turn[-1])]
        with m.Elif(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(self.restart):
            m.d.sync += [turn.eq(1), self.o.valid.eq(0)]
        return m


class Fetch(wiring.Component):
    """Reads ``program_length`` instructions from ``program_address`` on, in batches, while there is room for a batch.

    Parameters
    ----------
    address_width, data_bytes : int
        Of the bus.
    prefetch : int
        Instructions that it holds: ``FETCH_BUFFER``, or 1.

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
    The first request is made in cycle ``start + PROGRAM_CHECK``; a request follows another's grant after ``FETCH_NEXT`` cycles
    at the earliest, and the hand-over that makes room for it after 3. A word is valid in the cycle after its last beat was seen
    from the arbiter.
    """

    def __init__(self, *, address_width: int, data_bytes: int, prefetch: int = FETCH_BUFFER) -> None:
        self._address_width = address_width
        self._data_bytes = data_bytes
        self._prefetch = prefetch
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
        m.submodules.store = store = (WordRegister if self._prefetch == 1 else WordStore)(
            data_bytes=self._data_bytes
        )
        handed, restart = Signal(), Signal()
        self._words(m, store, handed)
        m.d.sync += restart.eq(self.start | self.clear)
        m.d.comb += [
            check.start.eq(self.start),
            check.address.eq(self.program_address),
            check.length.eq(self.program_length),
            check.window_first.eq(self.window_first),
            check.window_last.eq(self.window_last),
            store.valid.eq(self.beats.valid),
            store.beat.eq(self.beats.data),
            store.restart.eq(restart),
        ]
        self._requests(m, check, handed)
        bad = check.valid & ~check.good
        m.d.sync += [
            self.fault.eq(bad | (self.beats.valid & self.beats.error)),
            self.code.eq(Mux(bad, Error.PROGRAM, Error.READ)),
        ]
        m.d.comb += self.index.eq(self.o.payload.index)
        return m

    def _words(self, m: Module, store: WordStore, handed: Signal) -> None:
        """Numbers the words, and knows the last one."""
        left, final = Signal(INDEX_BITS, reset_less=True), Signal()  # to be handed over; it is one
        m.d.comb += [
            self.o.valid.eq(store.o.valid),
            self.o.payload.word.eq(store.o.payload),
            store.o.ready.eq(self.o.ready),
            store.last.eq(final),
            handed.eq(self.o.valid & self.o.ready),
        ]
        m.d.sync += final.eq(Mux(handed, left == 2, left == 1))
        with m.If(self.start):
            m.d.sync += [left.eq(self.program_length), self.o.payload.index.eq(0)]
        with m.Elif(handed):
            m.d.sync += [left.eq(left - 1), self.o.payload.index.eq(self.o.payload.index + 1)]
        m.d.sync += self.exhausted.eq(~self.start & (self.exhausted | self.clear | (handed & final)))

    def _requests(self, m: Module, check: ProgramCheck, handed: Signal) -> None:
        """Asks for a batch whenever a whole one fits."""
        beats_per_instruction = max(1, INSTRUCTION_BYTES // self._data_bytes)
        batch = min(FETCH_BATCH, self._prefetch)
        batch_bytes, batch_bits = batch * INSTRUCTION_BYTES, exact_log2(batch)
        remaining, many = Signal(INDEX_BITS, reset_less=True), Signal()
        room = Signal(range(self._prefetch + 1))
        tail = Signal(range(batch + 1))
        if self._data_bytes > INSTRUCTION_BYTES:
            beats = (tail + 1) >> 1
        else:
            beats = tail * beats_per_instruction
        # Changes of the room, in registers: they are decided late in their cycle.
        counting, given_back, taken = Signal(), Signal(), Signal.like(tail)
        m.d.comb += tail.eq(Mux(many, batch, remaining[:batch_bits]))
        m.d.sync += [
            many.eq(remaining[batch_bits:].any()),
            given_back.eq(handed & ~self.exhausted),  # what a halt left there is nobody's
            taken.eq(Mux(counting, tail, 0)),
            room.eq(room + given_back - taken),
        ]
        with m.If(~self.ar.valid):
            m.d.sync += self.ar.payload.length.eq(beats - 1)
        with m.FSM() as fsm:
            m.d.comb += [self.idle.eq(fsm.ongoing("IDLE")), counting.eq(fsm.ongoing("COUNT"))]
            with m.State("IDLE"):
                with m.If(check.valid & check.good & ~self.halt):
                    m.d.sync += self.ar.valid.eq(1)
                    m.next = "ASK"
            with m.State("ROOM"):
                with m.If(self.halt | (tail == 0)):
                    m.next = "IDLE"
                with m.Elif(room[batch_bits:].any()):
                    m.d.sync += self.ar.valid.eq(1)
                    m.next = "ASK"
            with m.State("ASK"):
                with m.If(self.ar.ready):
                    m.d.sync += self.ar.valid.eq(0)
                    m.next = "COUNT"
            with m.State("COUNT"):
                m.d.sync += self.ar.payload.address.eq(self.ar.payload.address + batch_bytes)
                with m.If(many):
                    m.d.sync += remaining[batch_bits:].eq(remaining[batch_bits:] - 1)
                with m.Else():
                    m.d.sync += remaining[:batch_bits].eq(0)
                m.next = "SETTLE"
            with m.State(
                "SETTLE"
            ):  # in which ``many`` follows ``remaining``, and ``room`` what was asked for
                m.next = "ROOM"
        with m.If(self.start):
            m.d.sync += [
                self.ar.payload.address.eq(self.program_address),
                remaining.eq(self.program_length),
                room.eq(self._prefetch),
            ]
