"""What turns the terms of a column into those of its elements."""

from __future__ import annotations

import operator

from amaranth.hdl import Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.pe.element_times import CHAIN
from hw.pe.terms import TERM

ELEMENT_TERM = data.StructLayout({"zero": 1, "negative": 1, "fine": 1, "far": 1})
"""A term as the element takes it; ``negative`` only when it is not ``zero``; twice with ``fine``, four times with ``far``."""
SHIFT = data.StructLayout({"one": 1, "four": 1})
"""How far the sum of the lanes' terms is shifted: not at all, by one or by four."""


def element_lanes(lanes: int) -> int:
    """``lanes``, if an element may have as many: 1 to 8, or a multiple of 8 up to 64; errors as of the element."""
    lanes = operator.index(lanes)
    if not (1 <= lanes <= CHAIN or (lanes % CHAIN == 0 and CHAIN <= lanes <= 8 * CHAIN)):
        raise ValueError(
            f"lanes must be 1 to {CHAIN}, or a multiple of {CHAIN} up to {8 * CHAIN}, not {lanes!r}"
        )
    return lanes


class TermFolder(wiring.Component):
    """At a column's head: terms as the elements take them, and how many of them are negative.

    Of an integer's significance the lanes take two as four times in place of once: integers have no exponent of two or more.

    Parameters
    ----------
    lanes : int
        1 to 8, or a multiple of 8 up to 64.

    Members
    -------
    terms : In(ArrayLayout(TERM, lanes)), significance : In(3)
        As of :class:`hw.pe.terms.TermEncoder`.
    elements : Out(ArrayLayout(ELEMENT_TERM, lanes))
        For the elements' ``terms``, of all lanes in the same cycle: lane i is still to be delayed by its skew.
    shift : Out(SHIFT)
        For the elements' ``shift``, in the same cycle; still to be delayed by the elements' ``times.significance``.
    negatives : Out(range(lanes + 1))
        For the elements' ``negatives``, one cycle later, as they are due.

    Timing
    ------
    ``elements`` and ``shift`` come ``hw.timing.TERM_FOLDER`` cycles after ``terms``.

    Raises
    ------
    TypeError, ValueError
        ``lanes`` is not such an integer.
    """

    def __init__(self, *, lanes: int) -> None:
        self._lanes = lanes = element_lanes(lanes)
        super().__init__(
            {
                "terms": In(data.ArrayLayout(TERM, lanes)),
                "significance": In(3),
                "elements": Out(data.ArrayLayout(ELEMENT_TERM, lanes)),
                "shift": Out(SHIFT),
                "negatives": Out(range(lanes + 1)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        negative = Signal(self._lanes)
        for lane in range(self._lanes):
            term, element = self.terms[lane], self.elements[lane]
            m.d.comb += negative[lane].eq(term.sign & term.man)
            m.d.sync += [
                element.zero.eq(~term.man),
                element.negative.eq(negative[lane]),
                element.fine.eq(term.exponent[0]),
                element.far.eq(term.exponent[1] | self.significance[1]),
            ]
        counts = []
        for first in range(0, self._lanes, CHAIN):
            count = Signal(range(CHAIN + 1), name=f"negatives_from_{first}")
            m.d.sync += count.eq(sum(negative[first : first + CHAIN]))
            counts.append(count)
        m.d.sync += [
            self.shift.one.eq(self.significance[0]),
            self.shift.four.eq(self.significance[2]),
            self.negatives.eq(sum(counts)),
        ]
        return m
