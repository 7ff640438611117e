"""The eight token counters."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.control.isa import TOKEN_MAXIMUM, Queue, Token


class TokenCounters(wiring.Component):
    """Counts of the tokens that were given and not yet taken.

    Members
    -------
    clear : In(1)
        Sets every counter to zero.
    posts : In(3 × 8)
        Per queue, the mask of an instruction that ended in this cycle, or zero.
    takes : In(3 × 8)
        Per queue, the mask that an instruction takes in this cycle; only tokens that are there.
    present : Out(8)
        Tokens of which there is at least one; a token given in cycle t is present from t + ``hw.timing.TOKEN`` on.
    overflow : Out(3)
        Per queue, two cycles after the post: it gave a token that could not be counted.

    Reference: the dependency tokens of VTA (Moreau et al., 2018), here with names, one waiter each, and a bound.
    """

    def __init__(self) -> None:
        masks = data.ArrayLayout(len(Token), len(Queue))
        super().__init__(
            {
                "clear": In(1),
                "posts": In(masks),
                "takes": In(masks),
                "present": Out(len(Token)),
                "overflow": Out(len(Queue)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        over = Signal(len(Token))
        for token in Token:
            name = token.name.lower()
            count = Signal(range(TOKEN_MAXIMUM + 1), name=f"count_{name}")
            given = Signal(range(len(Queue) + 1), name=f"given_{name}")
            plenty = Signal(len(count) + 1, name=f"plenty_{name}")
            take = self.takes[token.waiter][token]
            # The take comes late in its cycle: everything else is ready by then.
            m.d.comb += [
                plenty.eq(count + given),
                over[token].eq(Mux(take, plenty > TOKEN_MAXIMUM + 1, plenty > TOKEN_MAXIMUM)),
            ]
            m.d.sync += [
                given.eq(Mux(self.clear, 0, sum(self.posts[queue][token] for queue in Queue))),
                count.eq(Mux(take, plenty - 1, plenty)),
                self.present[token].eq(Mux(take, plenty > 1, plenty != 0) & ~self.clear),
            ]
            with m.If(self.clear):
                m.d.sync += count.eq(0)
        posted = Signal.like(self.posts)
        m.d.sync += posted.eq(self.posts)
        for queue in Queue:
            spilt = Cat(over[token] & posted[queue][token] for token in Token)
            m.d.sync += self.overflow[queue].eq(spilt.any() & ~self.clear)
        return m
