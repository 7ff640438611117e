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
    begins : Out(1)
        The word of the next cycle is a group's first.
    scale, high, low : Out(1)
        A word of scales, of upper parts, of lower parts is read.

    Timing
    ------
    The scales' word one cycle after the group's first step, or two if there are no upper parts; a word of upper parts two cycles
    after the first step of the slice that begins it, a word of lower parts ``LOWER_WORD``. So no two are read in the same cycle,
    whatever comes before: a group has an even number of slices, and a slice two steps at least.
    """

    def __init__(self, *, formats: Iterable[WeightFormat]) -> None:
        self._formats = format_set(formats)
        super().__init__(
            {
                "slice": In(1),
                "group": In(1),
                "part": In(2),
                "format": In(WeightFormat),
                **dict.fromkeys(("begins", "scale", "high", "low"), Out(1)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        high, low, early = Signal(), Signal(), Signal()
        with m.Switch(self.format):
            for one in sorted(self._formats):
                way = one.way
                with m.Case(one):
                    m.d.comb += [
                        early.eq(way.high != 0),
                        high.eq(self.slice & (self._every(way.high) if way.high else 0)),
                        low.eq(self.slice & self._every(way.low)),
                    ]
        late = delayed(m, self.group & ~early, 1)
        m.d.comb += [
            self.begins.eq(self.group & early | late),
            self.scale.eq(delayed(m, self.begins, 1)),
            self.high.eq(delayed(m, high, LOWER_WORD - 1)),
            self.low.eq(delayed(m, low, LOWER_WORD)),
        ]
        return m

    def _every(self, bits: int):
        """``part`` is the first of the slices that share a word."""
        return ~self.part[: exact_log2(NIBBLE // bits)].any() if bits < NIBBLE else 1
