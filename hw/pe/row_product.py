"""A multiplier of gated adders, for parts and flows without multipliers: half the look-up tables that synthesis takes for one."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.delay import delayed
from hw.pe.accumulate import GatedAdder
from hw.pe.lookup_times import MULTIPLIER_ROWS, checked
from hw.share import share

MOST_BITS = 32
"""Of either number."""


class RowProduct(wiring.Component):
    """``product = number * factor``, unsigned; two bits of the factor in a cycle, the lowest first.

    Parameters
    ----------
    bits, factor_bits : int
        2 to 32 each.

    Members
    -------
    number : In(bits), factor : In(factor_bits)
    product : Out(bits + factor_bits)

    Timing
    ------
    ``product`` belongs to what was at the inputs ``product_cycles(factor_bits)`` cycles before. One per cycle.

    Raises
    ------
    TypeError, ValueError
        A width that is not such an integer.
    """

    def __init__(self, *, bits: int, factor_bits: int) -> None:
        self._bits = checked("bits", bits, 2, MOST_BITS)
        self._factor_bits = checked("factor_bits", factor_bits, 2, MOST_BITS)
        super().__init__(
            {
                "number": In(self._bits),
                "factor": In(self._factor_bits),
                "product": Out(self._bits + self._factor_bits),
            }
        )

    def elaborate(self, platform):
        m = Module()
        number, factor = delayed(m, self.number, 1), delayed(m, self.factor[1:], 1)
        # The lowest row is the number or nothing: a register that is cleared.
        total = Signal(self._bits, name="row_0")
        m.d.sync += total.eq(self.number)
        with m.If(~self.factor[0]):
            m.d.sync += total.eq(0)
        lower, upper = total[:1], total[1:]
        while len(factor):
            for bit in factor[:MULTIPLIER_ROWS]:
                name = f"row_{len(lower)}"
                m.submodules[name] = row = share(
                    GatedAdder, width=self._bits + 1, addend_width=self._bits + 1
                )
                m.d.comb += [row.total.eq(number), row.keep.eq(bit), row.addend.eq(Cat(upper, Const(0, 1)))]
                lower, upper = Cat(lower, row.sum[0]), row.sum[1:]
            factor = factor[MULTIPLIER_ROWS:]
            lower, upper = delayed(m, lower, 1), delayed(m, upper, 1)
            number, factor = delayed(m, number, 1), delayed(m, factor, 1)
        m.d.comb += self.product.eq(Cat(lower, upper))
        return m
