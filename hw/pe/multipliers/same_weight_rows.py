"""Sums of products by bit weight out of whole rows: what the elements of an array have.

Full adders side by side leave two of three rows, whatever bits they have. :mod:`hw.pe.multipliers.same_weight` adds bit by bit:
fewer gates, but more look-up tables, and simulators see words here that are single bits there.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.pe.multipliers.digits import DIGIT
from hw.pe.multipliers.same_weight import DIGITS, OFFSET, sum_width


def two_rows(m: Module, rows: list[Value], width: int, bits: list[Value]) -> tuple[Value, Value, list[Value]]:
    """Two rows of ``width`` whose sum is that of ``rows``, modulo ``2**width``, and of as many ``bits`` as find room; the others.

    A row of carries begins one place up: below it there is room for a bit.
    """
    waiting, left = list(rows), list(bits)
    while len(waiting) > 2:
        a, b, c = waiting[:3]
        either, total, carry = (Signal(width, name=name) for name in ("either", "total", "carry"))
        m.d.comb += [
            either.eq(a ^ b),
            total.eq(either ^ c),
            carry.eq(Cat(left.pop() if left else Const(0, 1), (either & c) | (a & b))),
        ]
        waiting = [*waiting[3:], total, carry]
    return waiting[0], waiting[1] if len(waiting) > 1 else Const(0, width), left


def multiples(digit: data.View, value: Value) -> Value:
    """``digit`` times ``value``, less 1 where the digit is negative, and ``OFFSET`` more: never negative."""
    one, two, negative = (digit[name].replicate(9) for name in ("one", "two", "negative"))
    return (((Cat(value, value[-1]) & one) | (Cat(Const(0, 1), value) & two)) ^ negative) ^ OFFSET


class SameWeightRows(wiring.Component):
    """Sum of ``products`` digits times int8 values, for digits of one weight, as two rows and two bits; combinational.

    Parameters
    ----------
    products : int
        1 to 64.

    Members
    -------
    digits : In(ArrayLayout(DIGIT, products)), values : In(ArrayLayout(signed(8), products))
    total, carry : Out(width), lacks : Out(2)
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
                "lacks": Out(2),
            }
        )

    def elaborate(self, platform):
        m = Module()
        rows: list[Value] = []
        for digit, value in zip(self.digits, self.values, strict=True):
            rows.append(Signal(9, name=f"row_{len(rows)}"))
            m.d.comb += rows[-1].eq(multiples(digit, value))
        total, carry, lacks = two_rows(m, rows, len(self.total), [digit["negative"] for digit in self.digits])
        m.d.comb += [self.total.eq(total), self.carry.eq(carry), self.lacks.eq(Cat(*lacks))]
        return m


class SameWeightTree(wiring.Component):
    """Dot product of ``products`` digits with as many int8 values, both registers.

    Parameters
    ----------
    products : int
        1 to 64.

    Members
    -------
    digits : In(ArrayLayout(ArrayLayout(DIGIT, 4), products)), values : In(ArrayLayout(signed(8), products))
    result : Out(signed(15 + bits of products))
        Two cycles later: rows of each weight, sum.

    Reference
    ---------
    HPCA 2025, OPT2.
    """

    def __init__(self, *, products: int) -> None:
        self._products = products
        super().__init__(
            {
                "digits": In(digits_layout(products)),
                "values": In(data.ArrayLayout(signed(8), products)),
                "result": Out(signed(dot_width(products))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        width = len(self.result)
        rows, below = [], Const(0, 0)
        for place in range(DIGITS):
            m.submodules[f"weight_{place}"] = one = SameWeightRows(products=self._products)
            m.d.comb += one.values.eq(self.values)
            for lane in range(self._products):
                m.d.comb += one.digits[lane].eq(self.digits[lane][place])
            # A reset would need gates before registers that nothing depends on; at first they stand for no products.
            total, carry, lacks = (
                Signal.like(row, name=name, init=init, reset_less=True)
                for row, name, init in (
                    (one.total, "total", OFFSET * self._products),
                    (one.carry, "carry", 0),
                    (one.lacks, "lacks", 0),
                )
            )
            m.d.sync += [total.eq(one.total), carry.eq(one.carry), lacks.eq(one.lacks)]
            # The bits of a weight have room below the rows of the next one.
            shift = 2 * place
            rows += [
                Cat(below_bit(below, 0, shift), total)[:width],
                Cat(below_bit(below, 1, shift), carry)[:width],
            ]
            below = lacks
        # Below the last bits of all there is room in the constant, a multiple of OFFSET.
        least = -OFFSET * self._products * sum(1 << 2 * place for place in range(DIGITS))
        high, low = Const(least >> 8, width - 8), below
        rows.insert(0, Cat(Const(0, 6), low[0] ^ low[1], low[0] & low[1], high))
        total, carry, _ = two_rows(m, rows, width, [])
        m.d.sync += self.result.eq(total + carry)
        return m


def below_bit(lacks: Value, number: int, shift: int) -> Value:
    """A bit of the weight below a row, under that row: zeros around it, ``shift`` bits in all."""
    if not shift:
        return Const(0, 0)
    return Cat(Const(0, shift - 2), lacks[number], Const(0, 1))


def dot_width(products: int) -> int:
    """Bits of a sum of so many products of int8."""
    return (products << 14).bit_length() + 1


def digits_layout(products: int) -> data.ArrayLayout:
    """Of so many operands."""
    return data.ArrayLayout(data.ArrayLayout(DIGIT, DIGITS), products)
