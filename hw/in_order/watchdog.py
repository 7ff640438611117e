"""Counts cycles in which nothing moves: for the watchdog, and until a machine that was stopped is at rest."""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.control.run import SETTLING


class Watchdog(wiring.Component):
    """One counter.

    Members
    -------
    limit : In(32), shown : In(1)
        Cycles, 0: never barks. In cycles without ``shown``, in which ``limit`` is something else, nothing is counted.
    restart : In(1)
        Something moved, or there is nothing to watch.
    quiet : In(1)
        Nothing is expected to move.
    barks : Out(1)
        ``limit`` cycles came without ``restart``, a cycle ago, and it is not ``quiet``.
    settled : Out(1)
        So did ``SETTLING``.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "limit": In(32),
                "shown": In(1),
                "restart": In(1),
                "quiet": In(1),
                "barks": Out(1),
                "settled": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        count = Signal(32)
        with m.If(self.restart):
            m.d.sync += count.eq(0)
        with m.Elif(self.shown):
            m.d.sync += count.eq(count + 1)
        reached = Signal()
        m.d.sync += reached.eq(~self.restart & self.shown & (count == self.limit) & self.limit.any())
        m.d.comb += [
            self.barks.eq(~self.quiet & reached),
            self.settled.eq(count[SETTLING.bit_length() - 1]),
        ]
        return m
