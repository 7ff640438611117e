"""When a bit-serial core reads its words of weights."""

from __future__ import annotations

from collections.abc import Iterable

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from hw.array.bit_serial.geometry import LOWER_WORD
from hw.delay import delayed
from hw.pe.terms import format_set
from hw.pe.weight_format import NIBBLE, WeightFormat


class WordTimes(wiring.Component):
    """Which word of weights is read in a cycle: in the order in which they lie in memory, one at most.

    Parameters
    ----------
    formats : iterable of WeightFormat
        What ``format`` may be.

    Members
    -------
    slice, group : In(1)
        The first step of a slice; of a group.
    part : In(2)
        With ``slice``: which of the group it is, modulo four. ``format``: of its weights.
    scale, high, low : Out(1)
        A word of scales, of upper parts, of lower parts is read.

    Timing
    ------
    The scales' word is read one cycle after the group's first step; the words that a slice begins two cycles after its first
    step, upper parts before lower parts. Slices have two steps or more, so no two words are read in the same cycle, and all of
    a group before those of the next, whatever formats they have.
    """

    def __init__(self, *, formats: Iterable[WeightFormat]) -> None:
        self._formats = format_set(formats)
        super().__init__(
            {
                "slice": In(1),
                "group": In(1),
                "part": In(2),
                "format": In(WeightFormat),
                **dict.fromkeys(("scale", "high", "low"), Out(1)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        high, second, only = Signal(), Signal(), Signal()
        with m.Switch(self.format):
            for one in sorted(self._formats):
                way = one.way
                with m.Case(one):
                    m.d.comb += (second if way.high else only).eq(self.slice & self._every(way.low))
                    if way.high:
                        m.d.comb += high.eq(self.slice & self._every(way.high))
        m.d.comb += [
            self.scale.eq(delayed(m, self.group, 1)),
            self.high.eq(delayed(m, high, LOWER_WORD - 1)),
            self.low.eq(delayed(m, delayed(m, second, 1) | only, LOWER_WORD - 1)),
        ]
        return m

    def _every(self, bits: int):
        """``part`` is the first of the slices that share a word."""
        return ~self.part[: exact_log2(NIBBLE // bits)].any() if bits < NIBBLE else 1
