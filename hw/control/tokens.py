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
        Tokens of which there is at least one; a token posted in cycle t is present from t + ``hw.timing.TOKEN_COUNT`` on.
    overflow : Out(3)
        Per queue, three cycles after the post: it gave a token that could not be counted.

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
            count = Signal(range(TOKEN_MAXIMUM + 2), name=f"count_{name}")
            given = Signal(range(len(Queue) + 1), name=f"given_{name}")
            less = Signal(range(-1, len(Queue)), name=f"given_less_one_{name}")
            take = self.takes[token.waiter][token]
            posts = Mux(self.clear, 0, sum(self.posts[queue][token] for queue in Queue))
            m.d.sync += [given.eq(posts), less.eq(posts - 1)]
            # The take comes late in its cycle and only chooses; and no carry chain is in the way of ``present``.
            some = count.any() | given.any()
            several = count[1:].any() | given[1:].any() | (count[0] & given[0])
            m.d.sync += [
                count.eq(Mux(take, count + less, count + given)),
                self.present[token].eq(Mux(take, several, some) & ~self.clear),
            ]
            m.d.comb += over[token].eq(count[-1])
            with m.If(self.clear):
                m.d.sync += count.eq(0)
        # A count past the maximum is seen two cycles after the post that made it so.
        posted, blamed = Signal.like(self.posts), Signal.like(self.posts)
        m.d.sync += [posted.eq(self.posts), blamed.eq(posted)]
        for queue in Queue:
            spilt = Cat(over[token] & blamed[queue][token] for token in Token)
            m.d.sync += self.overflow[queue].eq(spilt.any() & ~self.clear)
        return m
