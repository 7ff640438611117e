"""STORE's bytes become beats of the bus, which are written one by one."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from hw.design import Design
from hw.interfaces import axi_write


class BeatWriter(wiring.Component):
    """Counts bytes into a beat and writes it, in a burst of its own, when it is full or its row ends.

    Parameters
    ----------
    design : Design

    Members
    -------
    begin : a row begins, at byte ``place`` of its first beat
    valid, end : a byte, taken in a cycle with ``ready``; the last one of its row
    put : bit i: the byte is byte i of the beat
    gathered : the beat, kept elsewhere
    enable : bursts may be started
    ready : no beat waits for being written
    address : of the beat that is gathered, in beats
    forward : the address of the beat was taken: ``address`` changes to the next one's
    axi : write half of an AXI4 master; ``b.ready`` is always high
    quiet : no burst is under way or unanswered
    refused : an error was answered, in this cycle

    Timing
    ------
    A byte that completes a beat in cycle t: AW and W are valid from t + 2 on, later while ``outstanding`` bursts are unanswered.
    ``ready`` is high again the cycle after both were taken. An answer counts the cycle after B.
    """

    def __init__(self, *, design: Design) -> None:
        if not isinstance(design, Design):
            raise TypeError(f"design must be a Design, not {design!r}")
        self._design = design
        lane = exact_log2(design.data_bytes)
        super().__init__(
            {
                "begin": In(1),
                "place": In(lane),
                "valid": In(1),
                "end": In(1),
                "put": Out(design.data_bytes),
                "gathered": In(8 * design.data_bytes),
                "enable": In(1),
                "ready": Out(1),
                "address": In(design.address_width - lane),
                "forward": Out(1),
                "axi": Out(axi_write(design.address_width, 8 * design.data_bytes)),
                "quiet": Out(1),
                "refused": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        size, most = self._design.data_bytes, self._design.outstanding
        aw, w, b = self.axi.aw, self.axi.w, self.axi.b
        place, strobe = Signal.like(self.place), Signal(size)
        full, started, unanswered = Signal(), Signal(), Signal(range(most + 1))
        take, start, done, answered = Signal(), Signal(), Signal(), Signal()

        m.d.comb += [
            take.eq(self.valid & ~full),
            start.eq(full & ~started & self.enable & (unanswered != most)),
            done.eq(started & ~(aw.valid & ~aw.ready) & ~(w.valid & ~w.ready)),
            b.ready.eq(1),
            answered.eq(b.valid & (unanswered != 0)),
            self.ready.eq(~full),
            self.forward.eq(aw.valid & aw.ready),
            self.refused.eq(answered & b.payload),
            self.quiet.eq(~started & (unanswered == 0)),
            aw.payload.address.eq(self.address << exact_log2(size)),
            w.payload.data.eq(self.gathered),
            w.payload.strobe.eq(strobe),
            w.payload.last.eq(1),
        ]
        with m.If(self.begin):
            m.d.sync += place.eq(self.place)
        with m.Elif(take):
            m.d.sync += place.eq(place + 1)
        m.d.comb += self.put.eq(Cat(take & (place == i) for i in range(size)))
        m.d.sync += strobe.eq(Mux(done | self.begin, 0, strobe | self.put))
        m.d.sync += [
            full.eq((full | take & (place.all() | self.end)) & ~done & ~self.begin),
            started.eq((started | start) & ~done),
            aw.valid.eq((aw.valid & ~aw.ready) | start),
            w.valid.eq((w.valid & ~w.ready) | start),
            unanswered.eq(unanswered + start - answered),
        ]
        return m
