"""Bytes between beats of the bus and others: LOAD's stream is realigned, STORE's results are gathered."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2


class Realign(wiring.Component):
    """LOAD: beats that begin at a row's first byte, of those that begin ``place`` bytes before it. STORE: a beat, byte by byte.

    LOAD's stream is delayed by the bytes that are missing to a whole beat. Each power of two has a stage of its own, which
    keeps of the beat before no more than it delays: there is no rotation of whole beats and no mask to merge them. What these
    stages keep, and one byte more, is the beat that STORE gathers.

    Parameters
    ----------
    data_bytes : int
        Bytes of a beat, a power of two.

    Members
    -------
    storing : bytes are gathered
    valid, data : a beat; not while ``storing``
    first : it is the first of its row
    place : constant from a row's first beat until the last one is out
    write, moved : a beat of the moved stream. Unless ``place`` is 0, a beat comes out when its successor comes in.
    put, byte : bit i: byte i of the beat that is gathered is ``byte``
    gathered : that beat

    Timing
    ------
    A beat that comes in in cycle t completes the one that is out in cycle t + 1. Never stalled. A byte is there a cycle later.
    """

    def __init__(self, *, data_bytes: int) -> None:
        width = 8 * data_bytes
        super().__init__(
            {
                "storing": In(1),
                "valid": In(1),
                "first": In(1),
                "data": In(width),
                "place": In(exact_log2(data_bytes)),
                "write": Out(1),
                "moved": Out(width),
                "put": In(data_bytes),
                "byte": In(8),
                "gathered": Out(width),
            }
        )

    def elaborate(self, platform):
        m = Module()
        delay = Signal.like(self.place)
        stages = len(delay)
        came = Signal()
        m.d.comb += delay.eq(-self.place)
        m.d.sync += [came.eq(self.valid), self.write.eq(self.valid & ~(self.first & self.place.any()))]
        value, valid = self.data, self.valid
        kept: list[Signal] = []
        for stage in reversed(range(stages)):
            bits = 8 << stage
            before = []
            for first in range(0, bits, 8):
                byte = Signal(8, name=f"kept_{len(kept)}")
                with m.If(valid | self.put[len(kept)]):
                    m.d.sync += byte.eq(Mux(self.storing, self.byte, value[len(value) - bits + first :][:8]))
                before.append(byte)
                kept.append(byte)
            value = Mux(delay[stage], Cat(*before, value[:-bits]), value)
            # The register of the stream lies behind the first half of the stages.
            if stage == stages // 2:
                half = Signal(len(self.data))
                with m.If(valid):
                    m.d.sync += half.eq(value)
                value, valid = half, came
        last = Signal(8)
        with m.If(self.put[-1]):
            m.d.sync += last.eq(self.byte)
        m.d.comb += [self.moved.eq(value), self.gathered.eq(Cat(*kept, last))]
        return m
