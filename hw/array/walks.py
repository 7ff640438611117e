"""Where the operands of a core are read whose tiles read words of activations row after row, and words of weights in turn."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2


class ActivationWalk(wiring.Component):
    """Address of each activation word: words of a tile's rows one after another, then their next.

    Members
    -------
    word : In(1)
        A word of row 0 is due: in the next cycle; those of the other rows follow it.
    tile, fresh, again : In(1)
        With ``word``: it is the first of a tile; of a command; of a tile with the columns of the one before, but further rows.
    base : In, stride, tile_stride : In(16), In
        Of the command: the first word, words from a row to the next, and from a tile to the next.
    address : Out
        A register, wide enough to pass the end of the scratchpad once.
    """

    def __init__(self, *, words: int, tile_stride_bits: int) -> None:
        super().__init__(
            {
                "word": In(1),
                "tile": In(1),
                "fresh": In(1),
                "again": In(1),
                "base": In(ceil_log2(words)),
                "stride": In(16),
                "tile_stride": In(tile_stride_bits),
                "address": Out(max(tile_stride_bits, ceil_log2(words)) + 1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        row_0, first, further = (Signal.like(self.address) for _ in range(3))
        # The next command may be under way before the last rows of this one have been read.
        stride, tile_stride = Signal.like(self.stride), Signal.like(self.tile_stride)
        target = Mux(self.tile, Mux(self.again, further, self.base), row_0 + 1)
        m.d.sync += [self.address.eq(self.address + stride), further.eq(first + tile_stride)]
        with m.If(self.word):
            m.d.sync += [self.address.eq(target), row_0.eq(target)]
            with m.If(self.tile):
                m.d.sync += [first.eq(target), stride.eq(self.stride), tile_stride.eq(self.tile_stride)]
        return m


class WeightWalk(wiring.Component):
    """Address of each weight word: those of a column tile in turn, again for every row tile.

    Members
    -------
    tile, fresh, again : In(1)
        The word of the next cycle is the first of a tile; of a command; of a tile with the columns of the one before.
    read : In(1)
        The word at ``address`` is read.
    base : In
        Of the command.
    address : Out
        A register, wide enough to pass the end of the scratchpad once.
    """

    def __init__(self, *, words: int) -> None:
        width = ceil_log2(words)
        super().__init__(
            {
                "tile": In(1),
                "fresh": In(1),
                "again": In(1),
                "read": In(1),
                "base": In(width),
                "address": Out(width + 1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        first, onward = Signal.like(self.address), Signal.like(self.address)
        target = Mux(self.fresh, self.base, Mux(self.again, first, onward))
        m.d.comb += onward.eq(self.address + self.read)
        m.d.sync += self.address.eq(onward)
        with m.If(self.tile):
            m.d.sync += [self.address.eq(target), first.eq(target)]
        return m
