"""A register slice: cuts every path of a stream, in both directions."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.delay import without_reset


class SkidBuffer(wiring.Component):
    """Passes a stream on through registers; also ``i.ready`` is one.

    A second register takes the word that is on its way when the output stalls.

    Parameters
    ----------
    shape :
        Shape of the payload.

    Members
    -------
    i, o : streams of ``shape``

    Timing
    ------
    A word taken at ``i`` in cycle t is at ``o`` in cycle t + 1 when nothing is before it. One word per cycle.
    ``i.ready`` falls the cycle after a word was taken that ``o`` had no room for. All outputs are registers.
    """

    def __init__(self, *, shape):
        self._shape = shape
        self._spare, self._full = Signal(shape, reset_less=True), Signal()
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.i.ready.eq(~self._full)
        with m.If(~self._full):
            m.d.sync += self._spare.eq(self.i.payload)
        payload = without_reset(m, self.o.payload)
        with m.If(self.o.ready | ~self.o.valid):
            m.d.sync += [
                self.o.valid.eq(self.i.valid | self._full),
                payload.eq(Mux(self._full, self._spare, self.i.payload)),
                self._full.eq(0),
            ]
        with m.Elif(self.i.valid):
            m.d.sync += self._full.eq(1)
        return m
