"""Sums of products by bit weight: digits of equal weight are summed over K first, then shifted and added once."""

from __future__ import annotations

import operator

from amaranth.hdl import Cat, Module, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.pe.multipliers.digits import DIGIT, multiple
from hw.pe.multipliers.heap import Heap

DIGITS = 4
LATENCY = 3
"""Digits and values to their sum: both, rows of each weight, sum."""
MOST_PRODUCTS = 64
OFFSET = 256
"""A digit times a value is not less than this with a minus."""


class SameWeightSum(wiring.Component):
    """Sum of ``products`` digits times int8 values, for digits of one weight, as two rows; combinational.

    Parameters
    ----------
    products : int
        1 to 64.

    Members
    -------
    digits : In(ArrayLayout(DIGIT, products)), values : In(ArrayLayout(signed(8), products))
    total, carry : Out(width)
        Their sum is that of the products, and ``OFFSET`` for each: never negative, so that no bit is missing above the rows.
    """

    def __init__(self, *, products: int) -> None:
        self._products = products
        width = sum_width(products)
        super().__init__(
            {
                "digits": In(data.ArrayLayout(DIGIT, products)),
                "values": In(data.ArrayLayout(signed(8), products)),
                "total": Out(width),
                "carry": Out(width),
            }
        )

    def elaborate(self, platform):
        m = Module()
        heap = Heap(len(self.total))
        for lane in range(self._products):
            row, lacks = multiple(self.digits[lane], self.values[lane])
            heap.add(row ^ OFFSET, time=1)
            heap.add_bit(lacks, 0)
        sums, carries = heap.rows(m)
        m.d.comb += [self.total.eq(Cat(*sums)), self.carry.eq(Cat(*carries))]
        return m


def sum_width(products: int) -> int:
    """Bits of a sum of digits times int8, each with ``OFFSET``: 0 to 512."""
    return (2 * OFFSET * products).bit_length()


class SameWeightDot(wiring.Component):
    """Dot product of ``products`` int8 operands, as digits, with as many int8 values, every cycle.

    Parameters
    ----------
    products : int
        1 to 64.

    Members
    -------
    digits : In(ArrayLayout(ArrayLayout(DIGIT, 4), products))
        Of a :class:`hw.pe.multipliers.digits.DigitEncoder`, which all units of a row share.
    digits_next : Out
        The same, one cycle later, for the next unit.
    values : In(ArrayLayout(signed(8), products))
    result : Out(signed(15 + bits of products))
        Three cycles later.

    Raises
    ------
    TypeError, ValueError
        ``products`` is not an integer of 1 to 64.

    Reference
    ---------
    HPCA 2025, OPT2.
    """

    def __init__(self, *, products: int) -> None:
        self._products = operator.index(products)
        if not 1 <= self._products <= MOST_PRODUCTS:
            raise ValueError(f"products must be 1 to {MOST_PRODUCTS}, not {products!r}")
        digits = data.ArrayLayout(data.ArrayLayout(DIGIT, DIGITS), products)
        super().__init__(
            {
                "digits": In(digits),
                "digits_next": Out(digits),
                "values": In(data.ArrayLayout(signed(8), products)),
                "result": Out(signed((products << 14).bit_length() + 1)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        # A reset would need gates before registers that nothing depends on.
        values = Signal.like(self.values, reset_less=True)
        digits = Signal.like(self.digits, reset_less=True)
        m.d.sync += [values.eq(self.values), digits.eq(self.digits)]
        m.d.comb += self.digits_next.eq(digits)
        heap = Heap(len(self.result))
        for place in range(DIGITS):
            m.submodules[f"weight_{place}"] = one = SameWeightSum(products=self._products)
            m.d.comb += one.values.eq(values)
            for lane in range(self._products):
                m.d.comb += one.digits[lane].eq(digits[lane][place])
            for row in (one.total, one.carry):
                register = Signal.like(row, name=f"row_{place}", reset_less=True)
                m.d.sync += register.eq(row)
                heap.add(register, shift=2 * place)
            heap.add_constant(-OFFSET * self._products << 2 * place)
        sums, carries = heap.rows(m)
        m.d.sync += self.result.eq(Cat(*sums) + Cat(*carries))
        return m
