"""Sums of products by bit weight: digits of equal weight are summed over K first, then shifted and added once.

Rows are added by full adders side by side, which leave two of three; so simulators see words, and not single bits.
"""

from __future__ import annotations

import operator

from amaranth.hdl import Cat, Const, Module, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.pe.multipliers.digits import DIGIT

DIGITS = 4
LATENCY = 3
"""Digits and values to their sum: both, rows of each weight, sum."""
MOST_PRODUCTS = 64
OFFSET = 256
"""A digit times a value is not less than this with a minus."""


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


class SameWeightSum(wiring.Component):
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
        rows = []
        for digit, value in zip(self.digits, self.values, strict=True):
            rows.append(Signal(9, name=f"row_{len(rows)}"))
            m.d.comb += rows[-1].eq(multiples(digit, value))
        total, carry, lacks = two_rows(m, rows, len(self.total), [digit["negative"] for digit in self.digits])
        m.d.comb += [self.total.eq(total), self.carry.eq(carry), self.lacks.eq(Cat(*lacks))]
        return m


def sum_width(products: int) -> int:
    """Bits of a sum of digits times int8, each with ``OFFSET``: 0 to 512."""
    return (2 * OFFSET * products).bit_length()


class SameWeightTree(wiring.Component):
    """Dot product of digits with values that are registers: :class:`SameWeightDot` without these.

    Members
    -------
    digits : In(ArrayLayout(ArrayLayout(DIGIT, 4), products)), values : In(ArrayLayout(signed(8), products))
    result : Out(signed(15 + bits of products))
        Two cycles later.
    """

    def __init__(self, *, products: int) -> None:
        self._products = checked_products(products)
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
            m.submodules[f"weight_{place}"] = one = SameWeightSum(products=self._products)
            m.d.comb += one.values.eq(self.values)
            for lane in range(self._products):
                m.d.comb += one.digits[lane].eq(self.digits[lane][place])
            # A reset would need gates before registers that nothing depends on.
            total, carry, lacks = (
                Signal.like(row, name=name, reset_less=True)
                for row, name in ((one.total, "total"), (one.carry, "carry"), (one.lacks, "lacks"))
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


def checked_products(products: int) -> int:
    """``products``, an integer of 1 to 64."""
    found = operator.index(products)
    if not 1 <= found <= MOST_PRODUCTS:
        raise ValueError(f"products must be 1 to {MOST_PRODUCTS}, not {products!r}")
    return found


def dot_width(products: int) -> int:
    """Bits of a sum of so many products of int8."""
    return (products << 14).bit_length() + 1


def digits_layout(products: int) -> data.ArrayLayout:
    """Of so many operands."""
    return data.ArrayLayout(data.ArrayLayout(DIGIT, DIGITS), products)


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
        self._products = checked_products(products)
        digits = digits_layout(products)
        super().__init__(
            {
                "digits": In(digits),
                "digits_next": Out(digits),
                "values": In(data.ArrayLayout(signed(8), products)),
                "result": Out(signed(dot_width(products))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        # A reset would need gates before registers that nothing depends on.
        values = Signal.like(self.values, reset_less=True)
        digits = Signal.like(self.digits, reset_less=True)
        m.d.sync += [values.eq(self.values), digits.eq(self.digits)]
        m.submodules.tree = tree = SameWeightTree(products=self._products)
        m.d.comb += [
            self.digits_next.eq(digits),
            tree.digits.eq(digits),
            tree.values.eq(values),
            self.result.eq(tree.result),
        ]
        return m
