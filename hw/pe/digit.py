"""Element of an array that multiplies digit by digit: one digit of one of four weights a cycle."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.pe.accumulate import GatedAdder
from hw.share import share
from hw.timing import DIGIT_GROUP

STEP = data.StructLayout({"taken": 1, "position": 2, "place": 2, "two": 1, "negative": 1, "last": 1})
"""What an element does in a cycle.

``taken``: there is a digit, 1 or with ``two`` 2, with ``negative`` a minus, times ``4**place``; of the weight ``position`` of its
group. ``last``: a sum ends, with this digit if there is one.
"""
ACTIVATIONS = data.ArrayLayout(signed(8), DIGIT_GROUP)
"""Those that belong to the weights of a group."""
_ROW = 15
"""Bits of an activation times a digit, but for what an inversion lacks."""


class DigitElement(wiring.Component):
    """Adds digits times activations, and lets the sum out with the last.

    The shift is here, in front of an ordinary adder, so all digits of four weights follow each other: sums are never taken
    out and put together, and no operand is read twice.

    Members
    -------
    activations : In(ACTIVATIONS)
        From the left, for as long as their group lasts; ``activations_next``, one cycle later, to the right.
    step : In(STEP)
        From above; ``step_next``, one cycle later, to below.
    result : Out(32)
        The sum, two's complement, in one cycle; zero in all others, so that results may be joined by OR.
    valid : Out(1)
        ``result`` is a sum.

    Timing
    ------
    ``result`` comes ``hw.timing.DIGIT_ELEMENT`` cycles after ``last``; the next step belongs to the next sum.

    Reference
    ---------
    HPCA 2025, OPT4C, with a shifter and an adder in place of sums of each weight in two rows.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "activations": In(ACTIVATIONS),
                "step": In(STEP),
                "activations_next": Out(ACTIVATIONS),
                "step_next": Out(STEP),
                "result": Out(32),
                "valid": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.adder = adder = share(GatedAdder, width=32, addend_width=_ROW, carry=True)
        chosen = Signal(signed(8))
        place, two, negative, chosen_last = Signal(2), Signal(), Signal(), Signal()
        row, lacks, row_last = Signal(signed(_ROW)), Signal(), Signal()
        keep, total = Signal(init=1), Signal(32)
        step = self.step_next
        doubled = Mux(two, chosen << 1, chosen)
        multiple = (doubled << (place << 1))[:_ROW]
        m.d.comb += [
            adder.total.eq(total),
            adder.keep.eq(keep),
            adder.addend.eq(row),
            adder.carry.eq(lacks),
        ]
        m.d.sync += [
            self.activations_next.eq(self.activations),
            self.step_next.eq(self.step),
            chosen.eq(Mux(step.taken, self.activations_next[step.position], 0)),
            place.eq(step.place),
            two.eq(step.two),
            negative.eq(step.negative),
            chosen_last.eq(step.last),
            row.eq(multiple ^ negative.replicate(_ROW)),
            lacks.eq(negative),
            row_last.eq(chosen_last),
            keep.eq(~row_last),
            total.eq(adder.sum),
            self.valid.eq(~keep),
            self.result.eq(Mux(keep, 0, total)),
        ]
        return m
