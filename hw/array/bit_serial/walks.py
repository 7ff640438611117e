"""Where a bit-serial core reads its weights when it skips terms."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2


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
