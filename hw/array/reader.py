"""From loops over a scratchpad to a stream of operand words."""

from __future__ import annotations

import operator
from collections.abc import Sequence

from amaranth.hdl import Module, ResetInserter, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.array.delay import delayed
from hw.interfaces import read_port
from hw.stream.fifo import Fifo
from hw.timing import READER_DEPTH, SCRATCHPAD

STRIDE_BITS = 24


def loops(levels: int, count_bits: int) -> data.StructLayout:
    """A nest of loops, innermost first: ``counts`` less one, and ``strides`` from an iteration's first address to the next's."""
    return data.StructLayout(
        {
            "base": STRIDE_BITS,
            "counts": data.ArrayLayout(count_bits, levels),
            "strides": data.ArrayLayout(STRIDE_BITS, levels),
        }
    )


class LoopNest(wiring.Component):
    """Addresses of a nest of loops, one per cycle.

    Parameters
    ----------
    levels, count_bits : int
    onward : sequence of int
        Levels (not 0) whose next iteration goes on one innermost stride behind the last address, instead of from its stride.

    Members
    -------
    nest : In(stream of ``loops``)
        Taken while idle, or in the cycle in which the last address is used.
    address : Out(24), valid : Out(1)
    advance : In(1)
        The address was used in this cycle.

    Timing
    ------
    The first address is valid in the cycle after the nest was taken.
    """

    def __init__(self, *, levels: int, count_bits: int, onward: Sequence[int] = ()) -> None:
        self._levels, self._onward = operator.index(levels), frozenset(onward)
        self._layout = loops(levels, count_bits)
        super().__init__(
            {
                "nest": In(stream.Signature(self._layout)),
                "address": Out(STRIDE_BITS),
                "valid": Out(1),
                "advance": In(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        kept = Signal(self._layout)
        starts = [self.address, *(Signal(STRIDE_BITS, name=f"start_{i}") for i in range(1, self._levels))]
        lefts = [Signal.like(kept.counts[i], name=f"left_{i}") for i in range(self._levels)]
        # "This is the last iteration" of each level is a register of its own: no comparison before the choice of the address.
        lasts = [Signal(name=f"last_{i}") for i in range(self._levels)]
        onward = Signal(STRIDE_BITS)
        m.d.comb += onward.eq(self.address + kept.strides[0])
        over = self.valid & self.advance  # walks outwards: the levels so far are all at their end
        for level in range(self._levels):
            with m.If(over & ~lasts[level]):
                following = Signal(STRIDE_BITS, name=f"following_{level}")
                jump = starts[level] + kept.strides[level]
                m.d.comb += following.eq(onward if level in self._onward else jump)
                m.d.sync += [start.eq(following) for start in starts[: level + 1]]
                m.d.sync += [lefts[level].eq(lefts[level] - 1), lasts[level].eq(lefts[level] == 1)]
                for inner in range(level):
                    m.d.sync += [
                        lefts[inner].eq(kept.counts[inner]),
                        lasts[inner].eq(kept.counts[inner] == 0),
                    ]
            over = over & lasts[level]
        m.d.comb += self.nest.ready.eq(~self.valid | over)
        with m.If(over):
            m.d.sync += self.valid.eq(0)
        with m.If(self.nest.valid & self.nest.ready):
            m.d.sync += [self.valid.eq(1), kept.eq(self.nest.payload)]
            m.d.sync += [start.eq(self.nest.payload.base) for start in starts]
            for level in range(self._levels):
                count = self.nest.payload.counts[level]
                m.d.sync += [lefts[level].eq(count), lasts[level].eq(count == 0)]
        return m


class OperandReader(wiring.Component):
    """Reads the words of a nest of loops ahead of their use.

    Parameters
    ----------
    words, width : int
        Of the scratchpad.
    levels, count_bits, onward
        As of ``LoopNest``.
    part_bits : int
        The lowest bits of an address choose a part of a word; they travel with it.

    Members
    -------
    nest : In(stream of ``loops``)
    port : Out(``read_port``)
    o : Out(stream of {word, part})
    fault : Out(1)
        One cycle: an address past the scratchpad was read (wrapped).
    clear : In(1)
        Drop everything.

    Timing
    ------
    ``hw.timing.READER`` cycles from a nest's handshake to its first word at ``o``; then a word per cycle. Word i is
    asked for in the cycle after word ``i - READER_DEPTH`` has left ``o``, at the earliest.
    """

    def __init__(
        self,
        *,
        words: int,
        width: int,
        levels: int,
        count_bits: int,
        onward: Sequence[int] = (),
        part_bits: int = 0,
    ) -> None:
        self._words, self._part_bits = operator.index(words), operator.index(part_bits)
        self._nest = {"levels": levels, "count_bits": count_bits, "onward": onward}
        self._word = data.StructLayout({"word": width, "part": self._part_bits})
        super().__init__(
            {
                "nest": In(stream.Signature(loops(levels, count_bits))),
                "port": Out(read_port(words=words, width=width)),
                "o": Out(stream.Signature(self._word)),
                "fault": Out(1),
                "clear": In(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        nest, fifo = LoopNest(**self._nest), Fifo(shape=self._word, depth=READER_DEPTH)
        m.submodules.nest = ResetInserter(self.clear)(nest)
        m.submodules.fifo = ResetInserter(self.clear)(fifo)
        wiring.connect(m, wiring.flipped(self.nest), nest.nest)
        wiring.connect(m, fifo.o, wiring.flipped(self.o))
        # Words asked for and not yet gone: the memory's pipeline never stalls, so there must be a place for each.
        asked = Signal(range(READER_DEPTH + 1))
        ask, gone = Signal(), Signal()
        m.d.comb += [
            ask.eq(nest.valid & (asked != READER_DEPTH)),
            gone.eq(self.o.valid & self.o.ready),
            nest.advance.eq(ask),
            self.port.address.eq(nest.address >> self._part_bits),
            fifo.i.valid.eq(delayed(m, ask, SCRATCHPAD) & ~self.clear),
            fifo.i.payload.word.eq(self.port.data),
        ]
        if self._part_bits:
            m.d.comb += fifo.i.payload.part.eq(delayed(m, nest.address[: self._part_bits], SCRATCHPAD))
        m.d.sync += [
            asked.eq(asked + ask - gone),
            self.fault.eq(ask & (nest.address >= self._words << self._part_bits)),
        ]
        with m.If(self.clear):
            m.d.sync += asked.eq(0)
        return m
