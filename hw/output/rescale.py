"""float32 to fp16 at the output: bias, scaling, round to nearest even, saturation."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.delay import delayed
from hw.memory.float_add import FLOAT32, MINUS_ZERO, FloatAdder
from hw.pe.multiplier import RegisteredMultiplier
from hw.share import share
from hw.timing import FLOAT_ADD, FLOAT_REQUANTISE

SCALE_BITS = 18
"""Bits of a multiplier's significand: what one side of an 18 x 18 bit multiplier takes."""
GREATEST = 0x7BFF
"""The largest fp16, 65504."""
_LIMB = 12
"""Bits of a limb of the sum's significand."""
_KEPT = 12
"""Bits of a product that are kept: the 11 of an fp16 significand and the half below them."""


class Rescale(wiring.Component):
    """``saturate_fp16((accumulator + bias) * multiplier)``, or the accumulator as it is.

    The sum is rounded to float32 (``hw.memory.float_add``, whose law holds for ``bias``, too); the product is exact and rounded
    once, to nearest even, subnormals included. What is beyond the largest fp16 becomes that: there are no infinities.

    Members
    -------
    accumulator, bias : In(32)
        float32.
    multiplier : In(32)
        float32, zero or normal; of its significand the first ``SCALE_BITS`` bits count.
    raw : In(1)
        Pass the accumulator.
    result : Out(32)
        The accumulator, or the fp16 result in its low 16 bits and zeros.

    Timing
    ------
    ``result`` belongs to what was at the inputs ``hw.timing.FLOAT_REQUANTISE`` cycles before. One per cycle, never stalled.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "accumulator": In(32),
                "bias": In(32),
                "multiplier": In(32),
                "raw": In(1),
                "result": Out(32),
            }
        )

    def elaborate(self, platform):
        m = Module()
        # A number in a name is the stage behind the sum in which the value stands.
        m.submodules.adder = adder = share(FloatAdder)
        m.d.comb += [
            adder.a.eq(self.accumulator),
            adder.b.eq(Mux(self.raw, MINUS_ZERO, self.bias)),
        ]
        total = data.View(FLOAT32, adder.sum)
        multiplier = data.View(FLOAT32, delayed(m, self.multiplier, FLOAT_ADD))
        exponents_1, nothing_1, sign_1 = Signal(9), Signal(), Signal()
        m.d.sync += [
            exponents_1.eq(total.exponent + multiplier.exponent),
            nothing_1.eq(~total.exponent.any() | ~multiplier.exponent.any()),
            sign_1.eq(total.sign ^ multiplier.sign),
        ]

        product_3, lower_3 = self._product(m, total, multiplier)
        kept_4, lower_4, down_4 = self._normalise(m, product_3, lower_3, delayed(m, exponents_1, 1))
        nothing_4, sign_6 = delayed(m, nothing_1, 3), delayed(m, sign_1, 5)
        kept_5, lower_5, field_5, over_5 = self._place(m, kept_4, lower_4, down_4, nothing_4)

        # The greatest number is never rounded up: what is above it has become it.
        number_6, up_6, over_6 = Signal(15), Signal(), delayed(m, over_5, 1)
        number = Cat(kept_5[1:11], field_5)
        m.d.sync += [
            number_6.eq(number),
            up_6.eq(kept_5[0] & (kept_5[1] | lower_5) & (number != GREATEST)),
        ]
        half = Cat(Mux(over_6, GREATEST, (number_6 + up_6)[:15]), sign_6)
        raw_6 = delayed(m, self.raw, FLOAT_REQUANTISE - 1)
        passed_6 = delayed(m, adder.sum, FLOAT_REQUANTISE - 1 - FLOAT_ADD)
        m.d.sync += self.result.eq(Mux(raw_6, passed_6, half))
        return m

    def _product(self, m, total, multiplier):
        """Stages 1 to 3: the significands' product from bit ``_LIMB`` on, 30 bits, and whether one of those below is set."""
        significand = Cat(total.fraction, 1)
        factor = Cat(multiplier.fraction[-(SCALE_BITS - 1) :], 1)
        products = []
        for name, limb in (("low", significand[:_LIMB]), ("high", significand[_LIMB:])):
            m.submodules[name] = block = share(
                RegisteredMultiplier, a_width=_LIMB, b_width=SCALE_BITS, signed=False
            )
            m.d.comb += [block.a.eq(limb), block.b.eq(factor)]
            products.append(block.product)
        low, high = products
        product, lower = Signal(_LIMB + SCALE_BITS), Signal()
        m.d.sync += [product.eq(high + low[_LIMB:]), lower.eq(low[:_LIMB].any())]
        return product, lower

    def _normalise(self, m, product, lower, exponents):
        """Stages 3 and 4: the product's first ``_KEPT`` bits, whether one below is set, and 1 less the number's exponent field:
        as many places, if more than 0, a subnormal one is to be shifted down."""
        # Significands are 1 to 2 and so their product is 1 to 4: with its top bit set it is one place higher.
        below_3, higher_3 = Signal(signed(10)), Signal(signed(10))
        m.d.sync += [below_3.eq(240 - exponents), higher_3.eq(239 - exponents)]
        top, rest = product[-1], product[: -_KEPT - 1]
        kept_4, lower_4, down_4 = Signal(_KEPT), Signal(), Signal(signed(10))
        m.d.sync += [
            kept_4.eq(Mux(top, product[-_KEPT:], product[-_KEPT - 1 : -1])),
            lower_4.eq(lower | rest.any() | (top & product[-_KEPT - 1])),
            down_4.eq(Mux(top, higher_3, below_3)),
        ]
        return kept_4, lower_4, down_4

    def _place(self, m, kept, lower, down, nothing):
        """Stage 5: the bits shifted to where an fp16 has them, its exponent field, and whether it is beyond all."""
        subnormal = ~down[-1] & down.any()
        value, lost = kept, lower
        for i in reversed(range(4)):
            by = down[i] & subnormal
            lost |= by & value[: 1 << i].any()
            value = Mux(by, value >> (1 << i), value)[:_KEPT]
        away = nothing | (~down[-1] & down[4:].any())
        kept_5, lower_5, field_5, over_5 = Signal(_KEPT), Signal(), Signal(5), Signal()
        m.d.sync += [
            kept_5.eq(value),
            lower_5.eq(lost),
            field_5.eq(Mux(down[-1] | ~down.any(), 1 - down, 0)),
            over_5.eq((down < -29) & ~nothing),
        ]
        with m.If(away):
            m.d.sync += [kept_5.eq(0), field_5.eq(Const(0, 5))]
        return kept_5, lower_5, field_5, over_5
