"""Adds to a sum, or begins a new one."""

from __future__ import annotations

import operator

from amaranth.hdl import Module, Mux, Shape, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out


class GatedAdder(wiring.Component):
    """``sum = (total if keep else 0) + addend``, combinational.

    It stays a module of its own in the generated design: the look-up tables of a carry chain have a free input for ``keep``,
    which synthesis does not find by itself (``fpga.synthesis`` puts it there); anywhere else it is what it looks like.

    Parameters
    ----------
    width, addend_width : int
        Bits of the sum, 2 or more and even, and of the addend, at most as many.

    Members
    -------
    total : In(width), keep : In(1), addend : In(signed(addend_width)), sum : Out(width)

    Raises
    ------
    TypeError, ValueError
        A width that is not such an integer.
    """

    def __init__(self, *, width: int, addend_width: int) -> None:
        width, addend_width = operator.index(width), operator.index(addend_width)
        if width < 2 or width % 2:
            raise ValueError(f"width must be even and 2 or more, not {width!r}")
        if not 1 <= addend_width <= width:
            raise ValueError(f"addend_width must be 1 to {width}, not {addend_width!r}")
        super().__init__(
            {
                "total": In(width),
                "keep": In(1),
                "addend": In(Shape(addend_width, signed=True)),
                "sum": Out(width),
            }
        )

    def elaborate(self, platform):
        m = Module()
        widened = Signal(signed(len(self.sum)))
        m.d.comb += [
            widened.eq(self.addend),
            self.sum.eq(Mux(self.keep, self.total, 0) + widened),
        ]
        return m
