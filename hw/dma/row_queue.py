"""Rows of LOAD that wait for their beats."""

from __future__ import annotations

import operator

from amaranth.hdl import Module, Signal
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.design import Design
from hw.dma.realign import row_layout


class RowQueue(wiring.Component):
    """Rows between the issue side and their first beat, in distributed RAM that is read in no time.

    Parameters
    ----------
    design : Design
    depth : int
        Rows that fit, a power of two.

    Members
    -------
    i, o : streams of ``row_layout``; between two words of ``i`` there is a cycle without one
    clear : forget all rows; not in a cycle in which one is taken at ``i``

    Timing
    ------
    A word taken at ``i`` in cycle t is at ``o`` in cycle t + 2 when nothing is before it. ``i.ready`` is a
    register.

    Raises
    ------
    ValueError
        ``depth`` is not a power of two.
    """

    def __init__(self, *, design, depth):
        if not isinstance(design, Design):
            raise TypeError(f"design must be a Design, not {design!r}")
        self._depth = operator.index(depth)
        if self._depth < 1 or self._depth & (self._depth - 1):
            raise ValueError(f"depth must be a power of two, not {depth!r}")
        self._layout = row_layout(design)
        super().__init__(
            {
                "i": In(stream.Signature(self._layout)),
                "o": Out(stream.Signature(self._layout)),
                "clear": In(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.storage = storage = memory.Memory(shape=self._layout, depth=self._depth, init=[])
        port, head = storage.write_port(), storage.read_port(domain="comb")
        # Bit i: i rows are in it. Both ends look at one bit.
        level = Signal(self._depth + 1, init=1)
        put, take = Signal(), Signal()
        m.d.comb += [
            self.i.ready.eq(~level[-1]),
            port.en.eq(self.i.valid & self.i.ready),
            port.data.eq(self.i.payload),
            self.o.valid.eq(~level[0]),
            self.o.payload.eq(head.data),
            take.eq(self.o.valid & self.o.ready),
        ]
        # Counted a cycle late: whether a row goes in is known late in its cycle.
        m.d.sync += [put.eq(port.en), port.addr.eq(port.addr + port.en), head.addr.eq(head.addr + take)]
        with m.If(put & ~take):
            m.d.sync += level.eq(level << 1)
        with m.Elif(take & ~put):
            m.d.sync += level.eq(level >> 1)
        with m.If(self.clear):
            m.d.sync += [head.addr.eq(port.addr), level.eq(1)]
        return m
