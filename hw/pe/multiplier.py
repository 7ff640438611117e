"""A multiplier with registers on both sides, which an FPGA's DSP block holds inside."""

from __future__ import annotations

import operator

from amaranth.hdl import Module, Shape, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.delay import without_reset

MOST_BITS = 18
"""Of a factor: what the DSP blocks of the parts that are aimed at take."""


class RegisteredMultiplier(wiring.Component):
    """``product`` of ``a`` and ``b`` of two cycles ago, after a reset too.

    It stays a module of its own in the generated design, so that synthesis for a part whose tools do not pack registers
    into DSP blocks can replace the whole of it (``fpga.cells``); anywhere else it is what it looks like.

    Parameters
    ----------
    a_width, b_width : int
        Bits of the factors, 1 to 18.
    signed : bool
        Both factors are two's complement; otherwise neither is.

    Members
    -------
    a, b : In
    product : Out(a_width + b_width)

    Raises
    ------
    TypeError, ValueError
        A width that is not an integer of 1 to 18.
    """

    def __init__(self, *, a_width: int, b_width: int, signed: bool) -> None:
        a_width, b_width = operator.index(a_width), operator.index(b_width)
        for name, width in (("a_width", a_width), ("b_width", b_width)):
            if not 1 <= width <= MOST_BITS:
                raise ValueError(f"{name} must be 1 to {MOST_BITS}, not {width!r}")
        super().__init__(
            {
                "a": In(Shape(a_width, signed)),
                "b": In(Shape(b_width, signed)),
                "product": Out(Shape(a_width + b_width, signed)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        a, b = Signal.like(self.a, reset_less=True), Signal.like(self.b, reset_less=True)
        product = without_reset(m, self.product)
        m.d.sync += [a.eq(self.a), b.eq(self.b), product.eq(a * b)]
        return m
