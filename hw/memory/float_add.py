"""A float32 adder for the accumulators: one addition per cycle, rounded to nearest even."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.delay import delayed
from hw.timing import FLOAT_ADD

FLOAT32 = data.StructLayout({"fraction": 23, "exponent": 8, "sign": 1})
"""Bit pattern of a float32."""

MINUS_ZERO = 1 << 31
"""What leaves the bits of everything that it is added to as they are."""

_GUARDS = 2
"""Bits kept below the larger operand's last one, beside the OR of all that are lower still."""
_SUM = 24 + _GUARDS + 2
"""Bits of the sum of two significands: one more above, the OR below."""


def _sum(a, b, carry):
    """``a + b + carry``, in a single carry chain."""
    return (Cat(1, a) + Cat(carry, b))[1:]


def _one_less(places):
    """``1 - places``, 8 bits of two's complement; ``places`` has 5."""
    half = places[1:]
    return Cat(~places[0], (half[i] ^ half[:i].any() for i in range(4)), half.any().replicate(3))


class FloatAdder(wiring.Component):
    """``sum = a + b`` as IEEE 754 has it, for zeros and normal numbers whose sum is zero or a normal number again.

    No subnormal is taken or made, no infinity or NaN. It needs none: **let every operand be zero or a normal number that is a
    multiple of u, where u is a power of two and at least 2**-126.** Their exact sum is a multiple of u, so it is zero or not
    below 2**-126, and so is what it is rounded to: rounding only puts zeros in place of bits, or carries, which leaves a
    multiple of u. So all sums of sums obey the law, too. The other end, a sum of 2**128 or more, is excluded: who sends
    results keeps below it (a group of fp16 numbers times the codes and scales of this house is below 2**40).

    Zeros have their signs: -0 + -0 is -0, every other sum that is zero is +0. So ``x + -0`` has exactly the bits of ``x``.

    Members
    -------
    a, b : In(32)
        Patterns of float32.
    sum : Out(32)

    Timing
    ------
    ``sum`` belongs to what was at the inputs ``hw.timing.FLOAT_ADD`` cycles before. One per cycle, never stalled.

    Reference
    ---------
    IEEE 754-2019, sections 4.3.1 and 5.4.1. Muller et al., Handbook of Floating-Point Arithmetic, 2nd ed., section 8.4: guard
    and sticky bits.
    """

    def __init__(self) -> None:
        super().__init__({"a": In(32), "b": In(32), "sum": Out(32)})

    def elaborate(self, platform):
        m = Module()
        # A number in a name is the stage behind which the value stands.
        large_2, small_2, far_2, amount_2, subtract_2 = self._order(m)
        addend_3, lost_3 = self._align(m, small_2, far_2, amount_2, subtract_2)
        large_3, subtract_3 = data.View(FLOAT32, delayed(m, large_2, 1)), delayed(m, subtract_2, 1)

        # The sum, with a bit above for a carry; never negative.
        whole = Cat(Const(0, _GUARDS + 1), large_3.fraction, large_3.exponent.any(), 0)
        total_4 = Signal(_SUM)
        m.d.sync += total_4.eq(_sum(whole, Cat(lost_3.any() ^ subtract_3, addend_3, subtract_3), subtract_3))

        digits_6, places_6 = self._normalise(m, total_4)
        exponent_6, sign_6, subtract_6 = (
            delayed(m, value, FLOAT_ADD - 4) for value in (large_3.exponent, large_3.sign, subtract_3)
        )

        # The last one and all below it are rounded off. Above, the leading one is left out: with no digit it is missing. It
        # stands where a carry would: without any shift the exponent is one more.
        digits, last, half, lower = digits_6[4:-1], digits_6[4], digits_6[3], digits_6[:3]
        nothing = ~digits_6[-1]
        result = data.View(FLOAT32, self.sum)
        m.d.sync += [
            Cat(result.fraction, result.exponent).eq(
                _sum(
                    Cat(digits, exponent_6),
                    Cat(Const(0, 23), _one_less(places_6)),
                    half & (last | lower.any()),
                )
            ),
            result.sign.eq(sign_6 & ~(nothing & subtract_6)),
        ]
        with m.If(nothing):
            m.d.sync += result.exponent.eq(0)
        return m

    def _order(self, m):
        """Stages 1 and 2: the operand of the greater magnitude, the other one's significand, how far that lies below."""
        a, b = (data.View(FLOAT32, value) for value in (self.a, self.b))
        a_1, b_1 = (data.View(FLOAT32, delayed(m, value, 1)) for value in (self.a, self.b))
        above_1, below_1, less_1 = Signal(9), Signal(9), Signal()
        m.d.sync += [
            above_1.eq(a.exponent - b.exponent),
            below_1.eq(b.exponent - a.exponent),
            less_1.eq(a.fraction < b.fraction),
        ]
        swap = above_1[-1] | (less_1 & ~below_1[-1])

        large_2, small_2, amount_2 = Signal(FLOAT32), Signal(24), Signal(5)
        far_2, subtract_2 = Signal(), Signal()
        significand_a, significand_b = (Cat(x.fraction, x.exponent.any()) for x in (a_1, b_1))
        amount = Mux(swap, below_1, above_1)
        far = Mux(swap, below_1[5:8].any(), above_1[5:8].any())
        m.d.sync += [
            Value.cast(large_2).eq(Mux(swap, b_1.as_value(), a_1.as_value())),
            small_2.eq(Mux(swap, significand_a, significand_b)),
            far_2.eq(far & Mux(swap, significand_a[-1], significand_b[-1])),
            amount_2.eq(amount),
            subtract_2.eq(a_1.sign ^ b_1.sign),
        ]
        with m.If(far):
            m.d.sync += small_2.eq(0)
        return large_2, small_2, far_2, amount_2, subtract_2

    def _align(self, m, small, far, amount, subtract):
        """Stage 3: ``small`` shifted down by ``amount``, guard bits below it; and whether any of three groups of bits that are
        lost had one. When it is to be taken away, the complement: a gate that the shifter has room for."""
        value, lost = Cat(Const(0, _GUARDS), small), [far]
        for i in reversed(range(5)):
            lost.append(amount[i] & value[: 1 << i].any())
            value = Mux(amount[i], value >> (1 << i), value)[: 24 + _GUARDS]
        aligned_3, lost_3 = Signal(24 + _GUARDS), Signal(3)
        m.d.sync += [
            aligned_3.eq(value ^ subtract.replicate(len(aligned_3))),
            lost_3.eq(Cat(lost[0] | lost[1], lost[2] | lost[3], lost[4] | lost[5])),
        ]
        return aligned_3, lost_3

    def _normalise(self, m, total):
        """Stages 5 and 6: ``total`` shifted up until its top bit is set; by how many places.

        By three places or more only sums are shifted whose operands were at most a place apart: their two lowest bits are zero.
        """

        def shifted(value, by, when):
            still = 2 if by > 2 else 0
            return Cat(value[:still], Mux(when, value[still:] << by, value[still:])[: _SUM - still])

        none_16 = ~total[-16:].any()
        none_8 = Mux(none_16, ~total[-24:-16].any(), ~total[-8:].any())
        digits_5, coarse_5 = Signal(_SUM), Signal(2)
        m.d.sync += [
            digits_5.eq(shifted(shifted(total, 16, none_16), 8, none_8)),
            coarse_5.eq(Cat(none_8, none_16)),
        ]
        digits, places = digits_5, []
        for by in (4, 2, 1):
            places.append(~digits[-by:].any())
            digits = shifted(digits, by, places[-1])
        digits_6, places_6 = Signal(_SUM), Signal(5)
        m.d.sync += [
            digits_6.eq(digits),
            places_6.eq(Cat(*reversed(places), coarse_5)),
        ]
        return digits_6, places_6
