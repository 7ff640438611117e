"""Where the operands of a bit-serial core are read."""

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


class SkippingWeightWalk(wiring.Component):
    """The same with words of masks: of a tile's first block before all else, of the others in the middle of the block before.

    The first masks of a tile are read before the tile begins: while the last block of the tile before it is under way, whose
    words go on afterwards; or before the command begins.

    Members
    -------
    lead : In(1)
        The word of the next cycle is a command's first masks.
    ahead : In(1), again : In(1)
        The word of this cycle is read; that of the next cycle is the first masks of the next tile, which has the columns of this
        one with ``again``.
    left : In
        With ``ahead``: words from this one to the tile that follows in memory.
    tile : In(1)
        The word of the next cycle is the first of a tile after its masks.
    read : In(1)
        The word at ``address`` is read.
    base : In
        Of the command.
    address : Out
        A register, wide enough to pass the end of the scratchpad once.
    """

    def __init__(self, *, words: int, left: int) -> None:
        width = ceil_log2(words)
        super().__init__(
            {
                "lead": In(1),
                "ahead": In(1),
                "again": In(1),
                "left": In(left),
                "tile": In(1),
                "read": In(1),
                "base": In(width),
                "address": Out(width + 1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        # First masks of this tile and the next; where this tile's words go on after them.
        this, following, resume = (Signal.like(self.address) for _ in range(3))
        onward, target, jumped = Signal.like(self.address), Signal.like(self.address), Signal()
        m.d.comb += [
            onward.eq(self.address + self.read),
            target.eq(Mux(self.again, this, self.address + self.left)),
        ]
        m.d.sync += [self.address.eq(Mux(jumped, resume, onward)), jumped.eq(self.ahead)]
        with m.If(self.ahead):
            m.d.sync += [self.address.eq(target), following.eq(target), resume.eq(onward)]
        with m.If(self.lead):
            m.d.sync += [self.address.eq(self.base), following.eq(self.base)]
        with m.If(self.tile):
            m.d.sync += [self.address.eq(following + 1), this.eq(following)]
        return m
