"""The host's link: bytes of LiteX's UARTBone to accesses on the word bus, and the answers back.

A command is ``[code][words][word address, 4 bytes][data, 4 bytes a word]``, numbers big-endian. Writes are not answered, reads
with their words. Half a command is forgotten when ``forget`` says so, which is after a silence of ``Silence``.

Reference: LiteX, ``litex/soc/cores/uart.py`` (``Stream2Wishbone``) and ``litex/tools/remote/comm_uart.py``: the byte protocol.
"""

from __future__ import annotations

import enum
import operator

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from fpga.soc.bus import WORD_ADDRESS, word_bus


class Command(enum.IntEnum):
    """Codes; "fixed": all words go to, or come from, the same address."""

    WRITE = 1
    READ = 2
    WRITE_FIXED = 3
    READ_FIXED = 4


class Link(wiring.Component):
    """Carries out the commands in a stream of bytes, one after the other.

    Members
    -------
    i, o : streams of bytes, from and to the host
    bus : Out(``word_bus``)
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
    of which 4 offer its bytes, and the same to write.
    """

    def __init__(self) -> None:
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
        fixed, write, words = Signal(), Signal(), Signal(8)
        address, word, place = Signal(32), Signal(32), Signal(2)
        with m.FSM():
            self._head(m, fixed, write, words, address, place)
            with m.State("WORD"):
                m.next = "REQUEST"
                with m.If(words == 0):
                    m.next = "IDLE"
                with m.Elif(write):
                    m.next = "DATA"
            with m.State("DATA"):
                self._wait(m)
                with m.If(self.i.valid):
                    m.d.sync += [word.eq(Cat(self.i.payload, word)), place.eq(place + 1)]
                    with m.If(place == 3):
                        m.next = "REQUEST"
            self._access(m, write, address, word)
            with m.State("SEND"):
                m.d.comb += self.o.valid.eq(1)
                with m.If(self.o.ready):
                    m.d.sync += [word.eq(word << 8), place.eq(place + 1)]
                    with m.If(place == 3):
                        m.next = "WORD"
        with m.If(self.bus.response.valid & self.bus.response.ready):
            m.d.sync += [words.eq(words - 1), address.eq(address + ~fixed)]
        m.d.comb += self.o.payload.eq(word[24:])
        return m

    def _head(self, m: Module, fixed, write, words, address, place) -> None:
        """States up to the address."""
        byte, known = self.i.payload, Signal()
        m.d.comb += known.eq((byte >= min(Command)) & (byte <= max(Command)))
        with m.State("IDLE"):
            m.d.comb += [self.i.ready.eq(1), self.idle.eq(1), self.unknown.eq(self.i.valid & ~known)]
            m.d.sync += [
                write.eq((byte == Command.WRITE) | (byte == Command.WRITE_FIXED)),
                fixed.eq((byte == Command.WRITE_FIXED) | (byte == Command.READ_FIXED)),
                place.eq(0),
            ]
            with m.If(self.i.valid & known):
                m.next = "LENGTH"
        with m.State("LENGTH"):
            self._wait(m)
            with m.If(self.i.valid):
                m.d.sync += words.eq(byte)
                m.next = "ADDRESS"
        with m.State("ADDRESS"):
            self._wait(m)
            with m.If(self.i.valid):
                m.d.sync += [address.eq(Cat(byte, address)), place.eq(place + 1)]
                with m.If(place == 3):
                    m.next = "WORD"

    def _access(self, m: Module, write, address, word) -> None:
        """States of an access."""
        request, response = self.bus.request, self.bus.response
        m.d.comb += [
            request.payload.address.eq(address[:WORD_ADDRESS]),
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
                m.d.sync += word.eq(response.payload.data)
                m.next = "WORD"
                with m.If(~write):
                    m.next = "SEND"

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
        left = Signal(range(self._cycles), init=self._cycles - 1)
        m.d.comb += self.over.eq(self.waiting & (left == 0))
        m.d.sync += left.eq(self._cycles - 1)
        with m.If(self.waiting & ~self.over):
            m.d.sync += left.eq(left - 1)
        return m
