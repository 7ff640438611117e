"""fp16 numbers with room in the exponent: subnormals normalised, what is too great still a number; their addition.

All fp16 are multiples of 2**-24, and so are the sums of such, rounded or not. One below 2**-14 has less than 11 bits then: with
an exponent that goes as low as 2**-24 it needs no rounding of its own, and additions know no subnormals.
"""

from __future__ import annotations

from collections.abc import Sequence

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.delay import delayed
from hw.pe.lookup_times import HALF_ADD

FRACTION = 10
HALF = data.StructLayout({"fraction": FRACTION, "exponent": 6, "sign": 1})
"""Exponent 0 is zero (its fraction, too), 1 to 40 are 2**-24 to 2**15, 41 to 55 infinity, 56 to 63 NaN, with any fraction."""
TOO_GREAT, INFINITE, NOT_A_NUMBER = 41, 48, 56
"""The first exponent that is infinity; those that stand for infinity and NaN: 7 planes further they still do."""
_GUARDS = 2
"""Bits kept below the larger operand's last one, beside the OR of all that are lower still."""
_SUM = 1 + FRACTION + _GUARDS + 2
"""Bits of the sum of two significands: one more above, the OR below."""


def moved_up(m: Module, value: Value, steps: Sequence[int]) -> tuple[Value, list[Value]]:
    """``value``, moved up in each step by as many places if that loses only zeros; which steps it was moved in."""
    moves: list[Value] = []
    for by in steps:
        moved, move = Signal(len(value), name=f"moved_{by}"), Signal(name=f"move_{by}")
        m.d.comb += [move.eq(~value[-by:].any()), moved.eq(Mux(move, value << by, value))]
        value = moved
        moves.append(move)
    return value, moves


def rounded_up(digits: Value, last: int) -> Value:
    """Whether the bits of ``digits`` from ``last`` on are one more when rounded to nearest even."""
    return digits[last - 1] & Cat(digits[last], digits[: last - 1]).any()


class HalfAdder(wiring.Component):
    """``sum = a + b`` as IEEE 754 has it for fp16, infinities and NaN included.

    Zeros have their signs: -0 + -0 is -0, every other sum that is zero is +0. The sign of NaN means nothing.

    Members
    -------
    a, b : In(HALF)
    sum : Out(HALF)
        Combinational, from registers: for a memory.

    Timing
    ------
    ``sum`` belongs to what was at the inputs ``hw.pe.lookup_times.HALF_ADD`` cycles before. One per cycle, never stalled.

    Reference
    ---------
    IEEE 754-2019, sections 4.3.1 and 5.4.1; hw/memory/float_add.py.
    """

    def __init__(self) -> None:
        super().__init__({"a": In(HALF), "b": In(HALF), "sum": Out(HALF)})

    def elaborate(self, platform):
        m = Module()
        # A number in a name is the stage behind which the value stands.
        large_2, small_2, far_2, amount_2, subtract_2 = self._order(m)
        addend_3, lost_3 = self._align(m, small_2, far_2, amount_2, subtract_2)
        large_3, subtract_3 = data.View(HALF, delayed(m, large_2, 1)), delayed(m, subtract_2, 1)

        # The sum, with a bit above for a carry; never negative. The ones below carry in.
        whole = Cat(1, Const(0, _GUARDS + 1), large_3.fraction, large_3.exponent.any(), 0)
        addend = Cat(subtract_3, lost_3.any() ^ subtract_3, addend_3, subtract_3)
        total_4 = Signal(_SUM)
        m.d.sync += total_4.eq((whole + addend)[1:])

        # Its leading one stands where a carry would: without any shift the exponent is one more.
        exponent_4 = delayed(m, large_3.exponent, 1)
        coarse, (by_8, by_4) = moved_up(m, total_4, (8, 4))
        digits_5, exponent_5 = Signal(_SUM), Signal(6)
        m.d.sync += [digits_5.eq(coarse), exponent_5.eq(exponent_4 + 1 - Cat(0, 0, by_4, by_8))]
        fine, (by_2, by_1) = moved_up(m, digits_5, (2, 1))
        digits_6, exponent_6 = Signal(_SUM), Signal(6)
        m.d.sync += [digits_6.eq(fine), exponent_6.eq(exponent_5 - Cat(by_1, by_2))]

        sign_6, subtract_6 = (delayed(m, value, HALF_ADD - 3) for value in (large_3.sign, subtract_3))
        special_6, wrong_6 = (delayed(m, value, HALF_ADD - 1) for value in self._special(m))
        nothing = ~digits_6[-1]
        number = Cat(digits_6[-1 - FRACTION : -1], exponent_6) + rounded_up(digits_6, _SUM - 1 - FRACTION)
        m.d.comb += [
            self.sum.fraction.eq(number),
            self.sum.exponent.eq(
                Mux(special_6, Cat(Const(INFINITE, 6)[:3], wrong_6, Const(0b11, 2)), number[FRACTION:16])
            ),
            self.sum.sign.eq(sign_6 & ~(nothing & subtract_6)),
        ]
        with m.If(nothing & ~special_6):
            m.d.comb += self.sum.exponent.eq(0)
        return m

    def _special(self, m: Module) -> tuple[Signal, Signal]:
        """Stage 1: whether the sum is no finite number whatever is added, and whether it is NaN."""
        a, b = self.a, self.b
        special_1, wrong_1 = Signal(), Signal()
        a_great, b_great = a.exponent >= TOO_GREAT, b.exponent >= TOO_GREAT
        m.d.sync += [
            special_1.eq(a_great | b_great),
            wrong_1.eq(
                (a.exponent >= NOT_A_NUMBER)
                | (b.exponent >= NOT_A_NUMBER)
                | (a_great & b_great & (a.sign ^ b.sign))
            ),
        ]
        return special_1, wrong_1

    def _order(self, m: Module) -> tuple[data.View, Signal, Signal, Signal, Signal]:
        """Stages 1 and 2: the operand of the greater magnitude, the other one's significand, how far that lies below."""
        a, b = self.a, self.b
        a_1, b_1 = (data.View(HALF, delayed(m, value, 1)) for value in (a, b))
        above_1, below_1, less_1 = Signal(7), Signal(7), Signal()
        m.d.sync += [
            above_1.eq(a.exponent - b.exponent),
            below_1.eq(b.exponent - a.exponent),
            less_1.eq(a.fraction < b.fraction),
        ]
        swap = above_1[-1] | (less_1 & ~below_1[-1])

        large_2, small_2, amount_2 = Signal(HALF), Signal(1 + FRACTION), Signal(4)
        far_2, subtract_2 = Signal(), Signal()
        significand_a, significand_b = (Cat(x.fraction, x.exponent.any()) for x in (a_1, b_1))
        far = Mux(swap, below_1[4:6].any(), above_1[4:6].any())
        m.d.sync += [
            large_2.as_value().eq(Mux(swap, b_1.as_value(), a_1.as_value())),
            small_2.eq(Mux(swap, significand_a, significand_b)),
            far_2.eq(far & Mux(swap, significand_a[-1], significand_b[-1])),
            amount_2.eq(Mux(swap, below_1, above_1)),
            subtract_2.eq(a_1.sign ^ b_1.sign),
        ]
        with m.If(far):
            m.d.sync += small_2.eq(0)
        return large_2, small_2, far_2, amount_2, subtract_2

    def _align(
        self, m: Module, small: Signal, far: Signal, amount: Signal, subtract: Signal
    ) -> tuple[Signal, Signal]:
        """Stage 3: ``small`` moved down by ``amount``, guard bits below it, inverted when it is to be taken away; and whether
        either half of the bits that are lost had a one."""
        value, lost = Cat(Const(0, _GUARDS), small), []
        for i in reversed(range(4)):
            lost.append(amount[i] & value[: 1 << i].any())
            moved = Signal(len(value), name=f"aligned_{1 << i}")
            m.d.comb += moved.eq(Mux(amount[i], value >> (1 << i), value))
            value = moved
        aligned_3, lost_3 = Signal(len(value)), Signal(2)
        m.d.sync += [
            aligned_3.eq(value ^ subtract.replicate(len(value))),
            lost_3.eq(Cat(far | lost[0] | lost[1], lost[2] | lost[3])),
        ]
        return aligned_3, lost_3
