"""Units with ordinary adders, beside which multipliers of other kinds are measured; part of no design.

Their products are made with as much care: Booth's digits and layers of full adders, and one adder that carries.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.pe.multipliers.carry_save import LOWEST_CARRY, add_product, checked_width, multiply_add
from hw.pe.multipliers.heap import Heap


class Mac(wiring.Component):
    """:class:`hw.pe.multipliers.carry_save.CarrySaveMac` with one row: what is left of product and sum is added every cycle.

    Parameters
    ----------
    width : int
        16 to 64.

    Members
    -------
    a, b : In(signed(8)), keep : In(1)
        ``keep`` a cycle later.
    total : Out(width)
        Two cycles after a pair.
    """

    def __init__(self, *, width: int) -> None:
        self._width = checked_width("width", width)
        super().__init__({"a": In(signed(8)), "b": In(signed(8)), "keep": In(1), "total": Out(width)})

    def elaborate(self, platform):
        m = Module()
        a, b = Signal.like(self.a), Signal.like(self.b)
        heap = Heap(self._width)
        heap.add(self.total & self.keep.replicate(self._width))
        add_product(heap, a, b)
        sums, carries = heap.rows(m)
        m.d.sync += [a.eq(self.a), b.eq(self.b), self.total.eq(Cat(*sums) + Cat(*carries))]
        return m


class PassingMac(wiring.Component):
    """Adds a product to the sum that comes from above: of a weight-stationary array, without what loads the weight.

    Parameters
    ----------
    width : int
        16 to 64.
    rows : int
        1, or 2 for sums that are kept as two rows.

    Members
    -------
    a, b : In(signed(8)), load : In(1)
        ``b`` is held from a ``load`` on.
    total, carry : In(width), total_next, carry_next : Out(width)
        A cycle after the operands are there; two after they came. With one row there is no carry.
    """

    def __init__(self, *, width: int, rows: int) -> None:
        self._width, self._rows = checked_width("width", width), rows
        carry = {"carry": In(width), "carry_next": Out(width)} if rows > 1 else {}
        super().__init__(
            {
                "a": In(signed(8)),
                "b": In(signed(8)),
                "load": In(1),
                "total": In(width),
                "total_next": Out(width),
            }
            | carry
        )

    def elaborate(self, platform):
        m = Module()
        a, b = Signal.like(self.a), Signal.like(self.b)
        m.d.sync += a.eq(self.a)
        with m.If(self.load):
            m.d.sync += b.eq(self.b)
        if self._rows > 1:
            upper = Signal(self._width - LOWEST_CARRY)
            sums, carries = multiply_add(m, a, b, self.total, self.carry)
            m.d.sync += [self.total_next.eq(sums), upper.eq(carries[LOWEST_CARRY:])]
            m.d.comb += self.carry_next[LOWEST_CARRY:].eq(upper)
        else:
            heap = Heap(self._width)
            heap.add(self.total)
            add_product(heap, a, b)
            first, second = heap.rows(m)
            m.d.sync += self.total_next.eq(Cat(*first) + Cat(*second))
        return m


class MultiplierTree(wiring.Component):
    """Dot product of int8 operands: as many multipliers, each with its adder, and a tree of adders behind their
    registers, with others after two layers.

    Parameters
    ----------
    products : int
        1 or more.

    Members
    -------
    a, b : In(ArrayLayout(signed(8), products))
    result : Out(signed(15 + bits of products))
        Four cycles later.
    """

    def __init__(self, *, products: int) -> None:
        self._products = products
        operands = data.ArrayLayout(signed(8), products)
        super().__init__(
            {
                "a": In(operands),
                "b": In(operands),
                "result": Out(signed((products << 14).bit_length() + 1)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        a, b = Signal.like(self.a, reset_less=True), Signal.like(self.b, reset_less=True)
        m.d.sync += [a.eq(self.a), b.eq(self.b)]
        level = []
        for lane in range(self._products):
            heap = Heap(16)
            add_product(heap, a[lane], b[lane])
            sums, carries = heap.rows(m)
            level.append(Signal(signed(16), name=f"product_{lane}", reset_less=True))
            m.d.sync += level[-1].eq(Cat(*sums) + Cat(*carries))
        fours = []
        for place in range(0, self._products, 4):
            fours.append(Signal(signed(18), name=f"sum_{place}", reset_less=True))
            m.d.sync += fours[-1].eq(_tree(level[place : place + 4]))
        m.d.sync += self.result.eq(_tree(fours))
        return m


def _tree(values: list) -> Value:
    """Their sum, by twos."""
    while len(values) > 1:
        values = [sum(values[place : place + 2]) for place in range(0, len(values), 2)]
    return values[0]
