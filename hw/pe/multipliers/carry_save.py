"""Multipliers that never carry: sums are two rows of bits, which are added once, outside, after the last product."""

from __future__ import annotations

import operator

from amaranth.hdl import Cat, Const, Module, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.pe.multipliers.digits import booth, multiple
from hw.pe.multipliers.heap import Heap

LOWEST_CARRY = 3
"""The lowest place at which ``carry`` may have a bit: in the columns below there is time to add all."""
LEAST_WIDTH, MOST_WIDTH = 16, 64


def checked_width(name: str, width: int) -> int:
    """``width``, if a sum of products of int8 may have it."""
    width = operator.index(width)
    if not LEAST_WIDTH <= width <= MOST_WIDTH:
        raise ValueError(f"{name} must be {LEAST_WIDTH} to {MOST_WIDTH}, not {width!r}")
    return width


def add_product(heap: Heap, a: Value, b: Value) -> None:
    """Add the product of two values in two's complement; ``a`` has an even number of bits."""
    for place, digit in enumerate(booth(a)):
        row, lacks = multiple(digit, b)
        heap.add_signed(row, shift=2 * place, time=1)
        heap.add_bit(lacks, 2 * place)


def multiply_add(m: Module, a: Value, b: Value, total: Value, carry: Value) -> tuple[Value, Value]:
    """``total + carry + a * b`` modulo their width, again as two rows.

    Of ``carry`` and of the second row the ``LOWEST_CARRY`` lowest bits are 0. Combinational: the digits of ``a``, its
    multiples of
    ``b``, three layers of full adders, whatever the width.
    """
    width = len(total)
    heap = Heap(width, eager=LOWEST_CARRY)
    heap.add(total)
    heap.add(carry[LOWEST_CARRY:], shift=LOWEST_CARRY)
    add_product(heap, a, b)
    sums, carries = heap.rows(m)
    return Cat(*sums), Cat(*carries)


def accumulator(width: int) -> tuple[Signal, Signal, Value]:
    """Registers of a sum's first row, of what there is of its second, and the second as a whole."""
    total, upper = Signal(width, name="total"), Signal(width - LOWEST_CARRY, name="upper")
    return total, upper, Cat(Const(0, LOWEST_CARRY), upper)


def whole(rows: Value, width: int) -> Value:
    """Sum of two rows that lie one above the other, the second without its ``LOWEST_CARRY`` lowest bits."""
    return (rows[:width] + Cat(Const(0, LOWEST_CARRY), rows[width:]))[:width]


class CarrySaveMac(wiring.Component):
    """Adds the product of the operands that pass to a sum that is kept as two rows.

    Parameters
    ----------
    width : int
        Bits of the sum, 16 to 64.
    b_width : int
        Of an operand, 2 to 8; the other has 8.

    Members
    -------
    a : In(signed(8)), b : In(signed(b_width))
    a_next, b_next : Out
        The same, one cycle later.
    keep : In(1)
        One cycle after a pair: it is added to the sum; without, it is the first of its sum.
    total, carry : Out(width)
        Two cycles after a pair: rows whose sum, modulo ``2**width``, is the sum up to it.

    Timing
    ------
    One pair per cycle. From operands' registers to rows no path is longer for a wider sum.

    Raises
    ------
    TypeError, ValueError
        A width that is not such an integer.

    Reference
    ---------
    HPCA 2025, OPT1.
    """

    def __init__(self, *, width: int, b_width: int = 8) -> None:
        self._width = checked_width("width", width)
        b_width = operator.index(b_width)
        if not 2 <= b_width <= 8:
            raise ValueError(f"b_width must be 2 to 8, not {b_width!r}")
        super().__init__(
            {
                "a": In(signed(8)),
                "b": In(signed(b_width)),
                "a_next": Out(signed(8)),
                "b_next": Out(signed(b_width)),
                "keep": In(1),
                "total": Out(width),
                "carry": Out(width),
            }
        )

    def elaborate(self, platform):
        m = Module()
        total, upper, carry = accumulator(self._width)
        kept = self.keep.replicate(self._width)
        sums, carries = multiply_add(m, self.a_next, self.b_next, total & kept, carry & kept)
        m.d.sync += [
            self.a_next.eq(self.a),
            self.b_next.eq(self.b),
            total.eq(sums),
            upper.eq(carries[LOWEST_CARRY:]),
        ]
        m.d.comb += [self.total.eq(total), self.carry.eq(carry)]
        return m
