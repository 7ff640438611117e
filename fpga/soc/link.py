"""The host's link: bytes of LiteX's UARTBone to accesses on the word bus, and the answers back.

A command is ``[code][words][word address, 4 bytes][data, 4 bytes a word]``, numbers big-endian. Writes are not answered, reads
with their words, checks with the CRC-32 of these.

Half a command is forgotten when ``forget`` says so, which is after a silence of ``Silence``.

Reference: LiteX, ``litex/soc/cores/uart.py`` (``Stream2Wishbone``) and ``litex/tools/remote/comm_uart.py``: the byte protocol.
"""

from __future__ import annotations

import enum
import operator

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from fpga.soc.bus import WORD_ADDRESS, word_bus
from fpga.soc.crc import WordCrc


class Command(enum.IntEnum):
    """Codes; "fixed": all words go to, or come from, the same address. ``CHECK`` is ours alone."""

    WRITE = 1
    READ = 2
    WRITE_FIXED = 3
    READ_FIXED = 4
    CHECK = 5


class Link(wiring.Component):
    """Carries out the commands in a stream of bytes, one after the other.

    Parameters
    ----------
    counted : int
        Bits of a word's address that count on within a command; the first word follows the last that they can say.
    crc_bits : int
        Of a word that ``CHECK`` works off in a cycle.

    Members
    -------
    i, o : streams of bytes, from and to the host
    bus : Out(``word_bus``); data that is answered must be 0 while nothing is answered
    forget : In(1)
        Half a command is forgotten unless a byte is offered.
    waiting : Out(1)
        The link is in the middle of a command whose next byte is not there.
    idle : Out(1)
        It is in no command.
    unknown, forgotten, unmapped, refused : Out(1)
        One cycle: a byte that is no code was dropped; half a command was forgotten; an access was answered so.

    Timing
    ------
    Takes a byte per cycle but while an access or an answer is under way. A word takes 6 cycles and those of the access to read,
    of which 4 offer its bytes, and the same to write; ``4 + 32 / crc_bits`` and those of the access to check.
    """

    def __init__(self, *, counted: int = WORD_ADDRESS, crc_bits: int = 8) -> None:
        self._counted = operator.index(counted)
        if not 1 <= self._counted <= WORD_ADDRESS:
            raise ValueError(f"counted must be 1 to {WORD_ADDRESS}, not {counted!r}")
        self._crc = WordCrc(bits=crc_bits)
        flags = ("waiting", "idle", "unknown", "forgotten", "unmapped", "refused")
        super().__init__(
            {
                "i": In(stream.Signature(8)),
                "o": Out(stream.Signature(8)),
                "bus": Out(word_bus()),
                "forget": In(1),
                **{name: Out(1) for name in flags},
            }
        )

    def elaborate(self, platform):
        del platform
        m = Module()
        m.submodules.crc = crc = self._crc
        write, fixed, check, words = (Signal(bits, reset_less=True) for bits in (1, 1, 1, 8))
        address, word, place = (Signal(bits, reset_less=True) for bits in (WORD_ADDRESS, 32, 2))
        length, head, shift, sum_ = (Signal() for _ in range(4))
        with m.FSM():
            self._head(m, (write, fixed, check), length, head, place)
            with m.State("WORD"):
                m.next = "REQUEST"
                with m.If(words == 0):
                    m.d.comb += sum_.eq(check)
                    m.d.sync += check.eq(0)
                    m.next = "IDLE"
                    with m.If(check):
                        m.next = "SEND"
                with m.Elif(write):
                    m.next = "DATA"
            with m.State("DATA"):
                self._wait(m)
                with m.If(self.i.valid):
                    m.d.comb += shift.eq(1)
                    with m.If(place == 3):
                        m.next = "REQUEST"
            self._access(m, write, check, address, word)
            with m.State("CHECK"):
                m.d.comb += crc.take.eq(1)
                m.next = "SUM"
            with m.State("SUM"):
                with m.If(~crc.busy):
                    m.next = "WORD"
            with m.State("SEND"):
                m.d.comb += self.o.valid.eq(1)
                with m.If(self.o.ready):
                    m.d.comb += shift.eq(1)
                    with m.If(place == 3):
                        m.next = "WORD"
        byte, answer = self.i.payload, self.bus.response
        # Each register has one enable and one choice: less cells than what every state says of it.
        with m.If(shift | sum_ | answer.valid):
            m.d.sync += word.eq(Mux(shift, Cat(byte, word), answer.payload.data | Mux(sum_, crc.value, 0)))
        with m.If(self.unmapped):
            m.d.sync += word.eq(0)
        m.d.comb += [self.o.payload.eq(word[24:]), crc.word.eq(word), crc.clear.eq(length)]
        with m.If(length | answer.valid):
            m.d.sync += words.eq(Mux(length, byte, words - 1))
        with m.If(self.idle | head | shift):
            m.d.sync += place.eq(Mux(self.idle, 0, place + 1))
        self._count(m, address, head, answer.valid & ~fixed)
        return m

    def _count(self, m: Module, address: Signal, head: Signal, step) -> None:
        """The address, and the next within its block."""
        shifted = Cat(self.i.payload, address)
        with m.If(head | step):
            m.d.sync += address[: self._counted].eq(Mux(head, shifted, address + 1))
        with m.If(head):
            m.d.sync += address[self._counted :].eq(shifted[self._counted :])

    def _head(self, m: Module, kind, length, head, place) -> None:
        """States up to the address."""
        (write, fixed, check), byte, known = kind, self.i.payload, Signal()
        m.d.comb += known.eq((byte >= min(Command)) & (byte <= max(Command)))
        with m.State("IDLE"):
            m.d.comb += [self.i.ready.eq(1), self.idle.eq(1), self.unknown.eq(self.i.valid & ~known)]
            m.d.sync += [
                write.eq((byte == Command.WRITE) | (byte == Command.WRITE_FIXED)),
                fixed.eq((byte == Command.WRITE_FIXED) | (byte == Command.READ_FIXED)),
                check.eq(byte == Command.CHECK),
            ]
            with m.If(self.i.valid & known):
                m.next = "LENGTH"
        with m.State("LENGTH"):
            self._wait(m)
            with m.If(self.i.valid):
                m.d.comb += length.eq(1)
                m.next = "ADDRESS"
        with m.State("ADDRESS"):
            self._wait(m)
            with m.If(self.i.valid):
                m.d.comb += head.eq(1)
                with m.If(place == 3):
                    m.next = "WORD"

    def _access(self, m: Module, write, check, address, word) -> None:
        """States of an access."""
        request, response = self.bus.request, self.bus.response
        m.d.comb += [
            request.payload.address.eq(address),
            request.payload.data.eq(word),
            request.payload.write.eq(write),
        ]
        with m.State("REQUEST"):
            m.d.comb += request.valid.eq(1)
            with m.If(request.ready):
                m.next = "RESPONSE"
        with m.State("RESPONSE"):
            m.d.comb += response.ready.eq(1)
            with m.If(response.valid):
                m.d.comb += [
                    self.unmapped.eq(response.payload.unmapped),
                    self.refused.eq(response.payload.refused),
                ]
                m.next = "SEND"
                with m.If(write):
                    m.next = "WORD"
                with m.If(check):
                    m.next = "CHECK"

    def _wait(self, m: Module) -> None:
        """In a state within a command: take a byte, or forget the command."""
        m.d.comb += [self.i.ready.eq(1), self.waiting.eq(~self.i.valid)]
        with m.If(~self.i.valid & self.forget):
            m.d.comb += self.forgotten.eq(1)
            m.next = "IDLE"


class Silence(wiring.Component):
    """Says when nothing has come for so long that half a command is to be forgotten.

    Parameters
    ----------
    cycles : int
        Clock cycles of silence, 2 or more.

    Members
    -------
    waiting : In(1), something is waited for
    over : Out(1), in every ``cycles``-th cycle in a row with ``waiting``

    Raises
    ------
    TypeError, ValueError
        ``cycles`` is not an integer of 2 or more.
    """

    def __init__(self, *, cycles: int) -> None:
        self._cycles = operator.index(cycles)
        if self._cycles < 2:
            raise ValueError(f"cycles must be 2 or more, not {cycles!r}")
        super().__init__({"waiting": In(1), "over": Out(1)})

    def elaborate(self, platform):
        del platform
        m = Module()
        last = self._cycles - 1
        passed = Signal(range(self._cycles))
        # Of the numbers up to the last, it alone has all its ones.
        m.d.comb += self.over.eq(self.waiting & ((passed & last) == last))
        m.d.sync += passed.eq(passed + 1)
        with m.If(~self.waiting | self.over):
            m.d.sync += passed.eq(0)
        return m
