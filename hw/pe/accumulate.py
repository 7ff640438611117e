"""Adders whose carry chain takes in the choice before it."""

from __future__ import annotations

import operator

from amaranth.hdl import Cat, Module, Mux, Shape, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out


class GatedAdder(wiring.Component):
    """``sum = (total if keep else 0) + addend``, combinational; with ``carry`` one more where it is set.

    It stays a module of its own in the generated design: the look-up tables of a carry chain have a free input for ``keep``,
    which synthesis does not find by itself (``fpga.cells`` puts it there); anywhere else it is what it looks like.

    Parameters
    ----------
    width, addend_width : int
        Bits of the sum, 2 or more, and of the addend, at most as many.
    carry : bool
        ``carry`` is added too.

    Members
    -------
    total : In(width), keep : In(1), addend : In(signed(addend_width)), sum : Out(width)
    carry : In(1)
        Only with the parameter.

    Raises
    ------
    TypeError, ValueError
        A width that is not such an integer.
    """

    def __init__(self, *, width: int, addend_width: int, carry: bool = False) -> None:
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
            | ({"carry": In(1)} if carry else {})
        )
        self._carry = carry

    def elaborate(self, platform):
        m = Module()
        widened = Signal(signed(len(self.sum)))
        m.d.comb += [
            widened.eq(self.addend),
            self.sum.eq(Mux(self.keep, self.total, 0) + widened + (self.carry if self._carry else 0)),
        ]
        return m


class SignedAdder(wiring.Component):
    """``sum = (~a if a_negative else a) + (~b if b_negative else b) + carry``, combinational.

    Like :class:`GatedAdder` it stays a module of its own: both inversions fit into the look-up tables of the carry chain.

    Parameters
    ----------
    width, a_width, b_width : int
        Bits of the sum and of the addends, these at most as many.
    signs : bool
        The addends may be inverted; without, ``a_negative`` and ``b_negative`` are not there.

    Members
    -------
    a : In(signed(a_width)), a_negative : In(1), b : In(signed(b_width)), b_negative : In(1)
    carry : In(1), sum : Out(signed(width))

    Raises
    ------
    TypeError, ValueError
        A width that is not such an integer.
    """

    def __init__(self, *, width: int, a_width: int, b_width: int, signs: bool) -> None:
        width, a_width, b_width = (operator.index(one) for one in (width, a_width, b_width))
        if width < 2:
            raise ValueError(f"width must be 2 or more, not {width!r}")
        for name, value in (("a_width", a_width), ("b_width", b_width)):
            if not 1 <= value <= width:
                raise ValueError(f"{name} must be 1 to {width}, not {value!r}")
        self._signs = signs
        super().__init__(
            {"a": In(signed(a_width)), "b": In(signed(b_width)), "carry": In(1), "sum": Out(signed(width))}
            | ({"a_negative": In(1), "b_negative": In(1)} if signs else {})
        )

    def elaborate(self, platform):
        m = Module()
        a, b = (Signal(signed(len(self.sum)), name=name) for name in ("wide_a", "wide_b"))
        m.d.comb += [a.eq(self.a), b.eq(self.b), self.sum.eq(a + b + self.carry)]
        if self._signs:
            m.d.comb += [
                a.eq(Mux(self.a_negative, ~self.a, self.a)),
                b.eq(Mux(self.b_negative, ~self.b, self.b)),
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
    carry : bool
        ``carry`` is added too.

    Members
    -------
    total : In(signed(total_width)), addend : In(signed(addend_width)), far : In(1), fill : In(shift), sum : Out(signed(width))
    carry : In(1)
        Only with the parameter.

    Raises
    ------
    TypeError, ValueError
        A width or a shift that is not such an integer.
    """

    def __init__(
        self, *, width: int, total_width: int, addend_width: int, shift: int, carry: bool = False
    ) -> None:
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
            | ({"carry": In(1)} if carry else {})
        )
        self._carry = carry

    def elaborate(self, platform):
        m = Module()
        shifted = Cat(self.fill, self.addend).as_signed()
        addend = Signal(signed(self._width))
        m.d.comb += addend.eq(Mux(self.far, shifted, self.addend))
        m.d.comb += self.sum.eq(self.total + addend + (self.carry if self._carry else 0))
        return m
