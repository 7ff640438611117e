"""Adders whose carry chain takes in the choice before it."""

from __future__ import annotations

import operator

from amaranth.hdl import Cat, Module, Mux, Shape, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out


class GatedAdder(wiring.Component):
    """``sum = (total if keep else 0) + addend``, combinational.

    It stays a module of its own in the generated design: the look-up tables of a carry chain have a free input for ``keep``,
    which synthesis does not find by itself (``fpga.synthesis`` puts it there); anywhere else it is what it looks like.

    Parameters
    ----------
    width, addend_width : int
        Bits of the sum, 2 or more, and of the addend, at most as many.

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
        if width < 2:
            raise ValueError(f"width must be 2 or more, not {width!r}")
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


class ShiftedAdder(wiring.Component):
    """``sum = total + (addend << shift if far else addend)``, combinational; ``fill`` comes in below a shifted addend.

    Like :class:`GatedAdder` it stays a module of its own: the choice fits into the look-up tables of the carry chain.

    Parameters
    ----------
    width, total_width, addend_width : int
        Bits of the sum, of the total and of the addend; the last two at most as many as the first.
    shift : int
        1 or more, less than ``width``.

    Members
    -------
    total : In(signed(total_width)), addend : In(signed(addend_width)), far : In(1), fill : In(shift), sum : Out(signed(width))

    Raises
    ------
    TypeError, ValueError
        A width or a shift that is not such an integer.
    """

    def __init__(self, *, width: int, total_width: int, addend_width: int, shift: int) -> None:
        self._width = width = operator.index(width)
        shift = operator.index(shift)
        total_width, addend_width = operator.index(total_width), operator.index(addend_width)
        if width < 2:
            raise ValueError(f"width must be 2 or more, not {width!r}")
        for name, value in (("total_width", total_width), ("addend_width", addend_width)):
            if not 1 <= value <= width:
                raise ValueError(f"{name} must be 1 to {width}, not {value!r}")
        if not 1 <= shift < width:
            raise ValueError(f"shift must be 1 to {width - 1}, not {shift!r}")
        super().__init__(
            {
                "total": In(signed(total_width)),
                "addend": In(signed(addend_width)),
                "far": In(1),
                "fill": In(shift),
                "sum": Out(signed(width)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        shifted = Cat(self.fill, self.addend).as_signed()
        addend = Signal(signed(self._width))
        m.d.comb += [addend.eq(Mux(self.far, shifted, self.addend)), self.sum.eq(self.total + addend)]
        return m
