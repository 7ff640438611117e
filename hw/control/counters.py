"""Counts where the cycles of a run went."""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.control.registers import COUNTERS


class Counters(wiring.Component):
    """One 32-bit counter (modulo 2**32) for each of ``registers.COUNTERS``.

    Parameters
    ----------
    every : bool
        Otherwise only ``cycles`` counts, and the others are 0.

    Members
    -------
    clear : In(1)
    running : In(1)
        Only cycles with it count.
    events : In(by name)
        High in a cycle that the counter of that name counts; ``cycles`` is not among them.
    values : Out(n × 32)
        Up to date 3 cycles after ``running`` has fallen.
    """

    def __init__(self, *, every: bool = True) -> None:
        self._every = every
        names = [name for name, _ in COUNTERS if name != "cycles"]
        super().__init__(
            {
                "clear": In(1),
                "running": In(1),
                "events": In(data.StructLayout(dict.fromkeys(names, 1))),
                "values": Out(data.ArrayLayout(32, len(COUNTERS))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        # A register alone, since it reaches all counters; a reset sets it. It is as late as ``seen``.
        clear = Signal(init=1)
        m.d.sync += clear.eq(self.clear)
        for i, (name, _) in enumerate(COUNTERS):
            if not self._every and name != "cycles":
                continue
            seen = Signal(
                name=f"seen_{name}"
            )  # a register between the event, wherever it is, and the carry chain
            m.d.sync += seen.eq(self.running & (1 if name == "cycles" else self.events[name]))
            value = Signal(32, name=name, reset_less=True)
            m.d.comb += self.values[i].eq(value)
            with m.If(seen):
                m.d.sync += value.eq(value + 1)
            with m.If(clear):
                m.d.sync += value.eq(seen)
        return m
