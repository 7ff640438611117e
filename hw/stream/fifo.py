"""A first-in first-out buffer in distributed RAM, with a registered output."""

from __future__ import annotations

import operator

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.delay import without_reset


class Fifo(wiring.Component):
    """Keeps up to ``depth`` words in order.

    The oldest word sits in a register in front of the output; what is behind it, in ``depth - 1`` words of
    RAM with an asynchronous read (distributed RAM in an FPGA). A word that finds nothing before it goes past
    the RAM.

    Parameters
    ----------
    shape :
        Shape of the payload.
    depth : int
        Words that fit, 1 or more. One more than a power of two uses the RAM best; a power of two makes
        ``i.ready`` a register.

    Members
    -------
    i, o : streams of ``shape``
    level : ``range(depth + 1)``, words inside; a register

    Timing
    ------
    A word taken at ``i`` in cycle t is at ``o`` in cycle t + 1 when nothing is before it. One word per cycle.
    ``o.valid`` and ``o.payload`` are registers; ``i.ready`` depends on ``level`` alone.

    Raises
    ------
    ValueError
        ``depth`` is below 1.
    """

    def __init__(self, *, shape, depth):
        self._depth = operator.index(depth)
        if self._depth < 1:
            raise ValueError(f"depth must be 1 or more, not {depth!r}")
        self._shape = shape
        words = self._depth - 1
        self._read = Signal(range(max(1, words)))
        self._write = Signal(range(max(1, words)))
        super().__init__(
            {
                "i": In(stream.Signature(shape)),
                "o": Out(stream.Signature(shape)),
                "level": Out(range(self._depth + 1)),
            }
        )

    @property
    def depth(self):
        """Items that fit."""
        return self._depth

    def elaborate(self, platform):
        m = Module()
        put, take, behind = Signal(), Signal(), Signal()
        m.d.comb += [
            self.i.ready.eq(self.level != self._depth),
            put.eq(self.i.valid & self.i.ready),
            take.eq(self.o.valid & self.o.ready),
            behind.eq(self.level > 1),
        ]
        m.d.sync += self.level.eq(self.level + put - take)

        oldest = self.i.payload
        if self._depth > 1:
            words = self._depth - 1
            m.submodules.storage = storage = memory.Memory(shape=self._shape, depth=words, init=[])
            write, read = storage.write_port(), storage.read_port(domain="comb")
            m.d.comb += [
                write.en.eq(put & self.o.valid & (behind | ~take)),
                write.addr.eq(self._write),
                write.data.eq(self.i.payload),
                read.addr.eq(self._read),
            ]
            for pointer, moves in ((self._write, write.en), (self._read, take & behind)):
                with m.If(moves):
                    m.d.sync += pointer.eq(Mux(pointer == words - 1, 0, pointer + 1))
            oldest = Mux(behind, read.data, self.i.payload)

        payload = without_reset(m, self.o.payload)
        with m.If(take | ~self.o.valid):
            m.d.sync += [self.o.valid.eq(put | behind), payload.eq(oldest)]
        return m
