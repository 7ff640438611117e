"""A UART as streams of bytes: one start bit, eight data bits with the lowest first, one stop bit, no parity."""

from __future__ import annotations

import operator

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import memory, stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

LEAST_DIVISOR = 8
"""Cycles of a bit that leave room for a sender that is off by 2 %."""

_BITS = 8


def divisor_of(*, clock_hz: int, baud: int) -> int:
    """Clock cycles of a bit at ``baud`` bits per second.

    Raises ``ValueError`` when there are fewer than ``LEAST_DIVISOR`` or the whole number is off by more than 1 %.
    """
    divisor = round(clock_hz / baud)
    if divisor < LEAST_DIVISOR or abs(divisor * baud - clock_hz) * 100 > clock_hz:
        raise ValueError(
            f"baud must be at most clock_hz / {LEAST_DIVISOR} and divide it to 1 %, not {baud!r} at {clock_hz!r} Hz"
        )
    return divisor


def _check_divisor(divisor: int) -> int:
    if operator.index(divisor) < LEAST_DIVISOR:
        raise ValueError(f"divisor must be {LEAST_DIVISOR} or more, not {divisor!r}")
    return operator.index(divisor)


class UartReceiver(wiring.Component):
    """Bytes from a line.

    Parameters
    ----------
    divisor : int
        Clock cycles of a bit, ``LEAST_DIVISOR`` or more.

    Members
    -------
    rx : In(1), the line, of any timing
    o : stream of bytes
    framing : Out(1), one cycle: a byte was dropped, its stop bit was low
    overrun : Out(1), one cycle: a byte that was not taken in time was dropped

    Timing
    ------
    A bit is what most of three samples around its middle say. A byte is offered from the middle of its stop bit on, until
    that of the next byte's first bit; the next start bit may follow at once. A start bit that is high again in its middle
    is none. After a stop bit that is low the line must be high before the next start bit counts.

    Raises
    ------
    TypeError, ValueError
        ``divisor`` is not an integer of ``LEAST_DIVISOR`` or more.
    """

    def __init__(self, *, divisor: int) -> None:
        self._divisor = _check_divisor(divisor)
        super().__init__({"rx": In(1), "o": Out(stream.Signature(8)), "framing": Out(1), "overrun": Out(1)})

    def elaborate(self, platform):
        del platform
        m = Module()
        line, before = Signal(init=1), Signal(2, init=0b11)
        m.submodules.synchronizer = FFSynchronizer(self.rx, line, init=1)
        m.d.sync += before.eq(Cat(line, before))
        bit = (line & before[0]) | (line & before[1]) | (before[0] & before[1])
        wait, place = Signal(range(self._divisor)), Signal(range(_BITS))
        now = wait == 0
        m.d.sync += [wait.eq(Mux(now, self._divisor - 1, wait - 1)), self.framing.eq(0), self.overrun.eq(0)]
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.FSM():
            with m.State("IDLE"):
                # The third of three samples in the middle is one cycle behind it.
                m.d.sync += [wait.eq(self._divisor // 2), place.eq(0)]
                with m.If(~line):
                    m.next = "START"
            with m.State("START"):
                with m.If(now):
                    with m.If(bit):
                        m.next = "IDLE"
                    with m.Else():
                        m.next = "DATA"
            with m.State("DATA"):
                with m.If(now):
                    m.d.sync += [
                        self.o.payload.eq(Cat(self.o.payload[1:], bit)),
                        self.o.valid.eq(0),
                        self.overrun.eq(self.o.valid & ~self.o.ready),
                        place.eq(place + 1),
                    ]
                    with m.If(place == _BITS - 1):
                        m.next = "STOP"
            with m.State("STOP"):
                with m.If(now):
                    m.next = "HIGH"
                    m.d.sync += [self.framing.eq(~bit), self.o.valid.eq(bit)]
                    with m.If(bit):
                        m.next = "IDLE"
            with m.State("HIGH"):
                with m.If(line):
                    m.next = "IDLE"
        return m


class UartTransmitter(wiring.Component):
    """Bytes onto a line.

    Parameters
    ----------
    divisor : int
        Clock cycles of a bit, ``LEAST_DIVISOR`` or more.

    Members
    -------
    i : stream of bytes
    tx : Out(1), the line, a register

    Timing
    ------
    A byte is taken when the line is free or in the last cycle of the stop bit before it, and its start bit begins in the next
    cycle; bytes take ``10 * divisor`` cycles each, without a gap while there are some.

    Raises
    ------
    TypeError, ValueError
        ``divisor`` is not an integer of ``LEAST_DIVISOR`` or more.
    """

    def __init__(self, *, divisor: int) -> None:
        self._divisor = _check_divisor(divisor)
        super().__init__({"i": In(stream.Signature(8)), "tx": Out(1, init=1)})

    def elaborate(self, platform):
        del platform
        m = Module()
        frame = 1 + _BITS + 1
        rest, left = Signal(frame - 1, init=-1), Signal(range(frame + 1))
        wait = Signal(range(self._divisor))
        # Known a cycle before: much depends on it elsewhere.
        free = Signal(init=1)
        m.d.comb += self.i.ready.eq(free)
        with m.If(free & self.i.valid):
            m.d.sync += [
                free.eq(0),
                self.tx.eq(0),
                rest.eq(Cat(self.i.payload, 1)),
                left.eq(frame),
                wait.eq(self._divisor - 1),
            ]
        with m.Elif(wait != 0):
            m.d.sync += [wait.eq(wait - 1), free.eq((left == 0) | ((left == 1) & (wait == 1)))]
        with m.Elif(left != 0):
            m.d.sync += [
                free.eq(left == 1),
                self.tx.eq(rest[0]),
                rest.eq(Cat(rest[1:], 1)),
                left.eq(left - 1),
                wait.eq(self._divisor - 1),
            ]
        return m


class ReceiveBuffer(wiring.Component):
    """Bytes that wait, in block RAM.

    Parameters
    ----------
    depth : int
        Of the RAM, a power of two, 2 or more; one byte more waits at the output.

    Members
    -------
    i, o : streams of bytes

    Timing
    ------
    A byte taken in cycle t is offered in cycle t + 2, when nothing is before it; then a byte every two cycles.

    Raises
    ------
    TypeError, ValueError
        ``depth`` is not as above.
    """

    def __init__(self, *, depth: int) -> None:
        self._depth = operator.index(depth)
        if self._depth < 2 or self._depth & (self._depth - 1):
            raise ValueError(f"depth must be a power of two, 2 or more, not {depth!r}")
        super().__init__({"i": In(stream.Signature(8)), "o": Out(stream.Signature(8))})

    def elaborate(self, platform):
        del platform
        m = Module()
        m.submodules.bytes = ram = memory.Memory(shape=8, depth=self._depth, init=[])
        port, read = ram.write_port(), ram.read_port()
        # With a bit more than the address, full and empty differ.
        written, taken = Signal(range(2 * self._depth)), Signal(range(2 * self._depth))
        coming = Signal()
        m.d.comb += [
            self.i.ready.eq(written != taken ^ self._depth),
            port.en.eq(self.i.valid & self.i.ready),
            port.addr.eq(written),
            port.data.eq(self.i.payload),
            read.en.eq((written != taken) & ~coming & (~self.o.valid | self.o.ready)),
            read.addr.eq(taken),
        ]
        m.d.sync += [written.eq(written + port.en), taken.eq(taken + read.en), coming.eq(read.en)]
        # What comes out of a block RAM comes late in its cycle: a register before anything looks at it.
        with m.If(coming):
            m.d.sync += [self.o.valid.eq(1), self.o.payload.eq(read.data)]
        with m.Elif(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        return m
