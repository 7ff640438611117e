"""A ring of distributed RAM: its places, and a queue in them whose flags are registers."""

from __future__ import annotations

import operator

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2


class Places(wiring.Component):
    """Which words of a ring are in use.

    Parameters
    ----------
    depth : int
        Words that may be in use, 2 or more.

    Members
    -------
    put : In(1)
        A word is written in this cycle; only with ``room``.
    take : In(1)
        The oldest is given up in this cycle; only with ``some``.
    clear : In(1)
        Give up all.
    write, read : Out
        Where the next word goes, and the oldest stands.
    level : Out
        Words in use.
    some, room : Out(1)
        ``level`` is not 0; it is not ``depth``. Registers, as everything here.

    Raises
    ------
    ValueError
        ``depth`` is below 2.
    """

    def __init__(self, *, depth: int) -> None:
        self._depth = operator.index(depth)
        if self._depth < 2:
            raise ValueError(f"depth must be 2 or more, not {depth!r}")
        super().__init__(
            {
                "put": In(1),
                "take": In(1),
                "clear": In(1),
                "write": Out(ceil_log2(self._depth)),
                "read": Out(ceil_log2(self._depth)),
                "level": Out(range(self._depth + 1)),
                "some": Out(1),
                "room": Out(1, init=1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        last_room = Signal()
        m.d.comb += last_room.eq(self.level == self._depth - 1)
        m.d.sync += [
            self.some.eq(self.put | self.level[1:].any() | (self.some & ~self.take)),
            self.room.eq(self.take | (self.room & ~(self.put & last_room))),
        ]
        with m.If(self.put ^ self.take):
            m.d.sync += self.level.eq(self.level + Mux(self.take, -1, 1))
        with m.If(self.put):
            m.d.sync += self.write.eq(self.write + 1)
        with m.If(self.take):
            m.d.sync += self.read.eq(self.read + 1)
        with m.If(self.clear):
            m.d.sync += [
                self.write.eq(0),
                self.read.eq(0),
                self.level.eq(0),
                self.some.eq(0),
                self.room.eq(1),
            ]
        return m


class Ring(wiring.Component):
    """Keeps words in order; the oldest is seen through the RAM's read port, behind no register.

    Parameters
    ----------
    shape :
        Shape of the payload.
    depth : int
        Words that fit, 2 or more.

    Members
    -------
    i, o : streams of ``shape``
    clear : In(1)
        Drop everything.
    level : Out
        Words inside.

    Timing
    ------
    A word taken at ``i`` in cycle t is at ``o`` in cycle t + 1 when nothing is before it. One word per cycle. ``i.ready`` and
    ``o.valid`` are registers.
    """

    def __init__(self, *, shape, depth: int) -> None:
        self._shape = shape
        self._depth = depth
        self._places = Places(depth=depth)
        super().__init__(
            {
                "i": In(stream.Signature(shape)),
                "o": Out(stream.Signature(shape)),
                "clear": In(1),
                "level": Out(range(depth + 1)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.places = places = self._places
        m.submodules.storage = storage = memory.Memory(
            shape=self._shape, depth=1 << len(places.write), init=[]
        )
        write, read = storage.write_port(), storage.read_port(domain="comb")
        m.d.comb += [
            places.put.eq(self.i.valid & self.i.ready),
            places.take.eq(self.o.valid & self.o.ready),
            places.clear.eq(self.clear),
            self.i.ready.eq(places.room),
            self.o.valid.eq(places.some),
            self.level.eq(places.level),
            write.en.eq(places.room),  # what is not put there is written over
            write.addr.eq(places.write),
            write.data.eq(self.i.payload),
            read.addr.eq(places.read),
            self.o.payload.eq(read.data),
        ]
        return m
