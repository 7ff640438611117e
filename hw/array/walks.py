"""Where the operands of a core are read whose tiles read words of activations row after row, and words of weights in turn."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, Value
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
    base, stride, tile_stride : In
        Of the command: the first word, words from a row to the next, and from a tile to the next.
    address : Out
        A register, wide enough to pass the end of the scratchpad once.

    One command at a time (``single``) needs no copies of its strides. With one row the address may stay until the next word
    (``stays``). With ``again`` all rows' words are read again in the cycles after ``slice``, too.
    """

    def __init__(
        self, *, words: int, tile_stride_bits: int, stride_bits: int = 16, single: bool = False, stays: bool = False,
        again: bool = False,
    ) -> None:  # fmt: skip
        self._single, self._stays, self._again = single, stays, again
        super().__init__(
            {
                "word": In(1),
                "tile": In(1),
                "fresh": In(1),
                "again": In(1),
                "base": In(ceil_log2(words)),
                "stride": In(stride_bits),
                "tile_stride": In(tile_stride_bits),
                "address": Out(max(tile_stride_bits, ceil_log2(words)) + 1),
                **({"slice": In(1)} if again else {}),
            }
        )

    def elaborate(self, platform):
        m = Module()
        row_0, first, further = (Signal.like(self.address) for _ in range(3))
        # The next command may be under way before the last rows of this one have been read.
        stride: Value = self.stride
        tile_stride: Value = self.tile_stride
        if not self._single:
            stride, tile_stride = Signal.like(stride), Signal.like(tile_stride)
            with m.If(self.word & self.tile):
                m.d.sync += [stride.eq(self.stride), tile_stride.eq(self.tile_stride)]
        target = Mux(self.tile, Mux(self.again, further, self.base), row_0 + 1)
        m.d.sync += further.eq(first + tile_stride)
        if not self._stays:
            m.d.sync += self.address.eq(self.address + stride)
        if self._again:
            # The rows' words once more, for their next slice.
            with m.If(self.slice):
                m.d.sync += self.address.eq(row_0)
        with m.If(self.word):
            m.d.sync += [self.address.eq(target), row_0.eq(target)]
            with m.If(self.tile):
                m.d.sync += first.eq(target)
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
