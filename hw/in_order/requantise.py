"""int32 to int8 with one multiplier of 16 x 16 bits: bias, dyadic scaling, round half up, saturation."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.timing import LEAN_ACCUMULATOR_READ, MOVER_READ, MOVER_REQUANTISE

LIMB = 16
"""Bits of a limb: of sum, multiplier and product."""
SHIFT_STEP, BIAS_STEP, FIRST_STEP = 1, LEAN_ACCUMULATOR_READ, MOVER_READ
LAST_STEP = FIRST_STEP + 5
"""The steps in which shift and bias are there, and the first and the last one of the six that multiply."""
STEPS = LAST_STEP + 2
"""Steps of a result; nothing is done in the last one, while it is settled whether another one follows."""
FINE = MOVER_REQUANTISE - (LAST_STEP - FIRST_STEP) - 3
"""Cycles behind the last limb of a product in which it may be shifted by a bit."""


class LimbRequantise(wiring.Component):
    """``saturate_int8(((accumulator + bias) * multiplier + round) >> shift)``, exactly, as ``sim.requantise`` has it.

    Sum and multiplier have two limbs of 16 bits each, beside the sum's sign. Their products are added row by row, so that no
    intermediate value has more than 32 bits: the multiplier, the adder behind it and its register are one DSP block. A negative
    sum is worth its 32 bits less 2**32: the multiplier's complement is added in the upper half. Limbs of the product leave in
    their order; the one with the bit below the binary point and 7 bits of the one above are kept, of the others only
    whether they are all signs.

    Members
    -------
    step : In(STEPS)
        Bit i: step i is made. ``SHIFT_STEP`` to ``LAST_STEP`` come in turn; ``FIRST_STEP`` may be repeated.
    accumulator : In(signed(32))
        Of step ``BIAS_STEP``.
    word : In(32)
        The shift (6 bits) in its step, the bias in its step, the multiplier from ``FIRST_STEP`` to ``LAST_STEP``.
    result : Out(8)
    ready : Out(1)
        ``result`` is there; it stays until the next result's step ``FIRST_STEP`` + 1.

    Timing
    ------
    ``ready`` is high for one cycle, ``hw.timing.MOVER_REQUANTISE`` cycles after the last ``FIRST_STEP``. The next result's
    ``SHIFT_STEP`` may come 2 cycles after ``LAST_STEP``.

    Reference
    ---------
    HAWQ-V3: Dyadic Neural Network Quantization (arXiv 2011.10680), section 3: scaling by an integer over a power of two.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "step": In(STEPS),
                "accumulator": In(signed(32)),
                "word": In(32),
                "result": Out(8),
                "ready": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        step, word = self.step, self.word
        total, shift = Signal(33), Signal(6)
        with m.If(step[SHIFT_STEP]):
            m.d.sync += shift.eq(word)
        with m.If(step[BIAS_STEP]):
            m.d.sync += total.eq(self.accumulator + word.as_signed())
        product = self._product(m, total)

        # The limbs of the product, as ``_product`` makes them: in steps 4, 6, 8 and the one behind.
        behind = Signal(FINE + 3)
        m.d.sync += behind.eq(Cat(step[LAST_STEP], behind))
        number, final, there = Signal(2), behind[0], Signal()
        m.d.comb += [
            there.eq(step[4] | step[6] | step[8] | final),
            number.eq(Cat(step[6] | final, step[8] | final)),
            self.ready.eq(behind[-1]),
        ]
        self._keep(m, total[-1], product, number, there, final, shift=shift, behind=behind)
        return m

    def _product(self, m, total):
        """The sum of partial products, a limb and what is above it."""
        step, word = self.step, self.word
        a, b, limb, kept, addend = *(Signal(LIMB) for _ in range(4)), Signal(32)
        product = Signal(32, reset_less=True)
        # Steps 3 and 4 take the sum's lower limb, 5 and 6 the upper, 7 and 8 the sign; 3, 5, 7 the multiplier's lower limb.
        complement, odd = Signal(), Signal()
        m.d.comb += [
            complement.eq(step[7] | step[8]),
            odd.eq(step[3] | step[5] | step[7]),
            b.eq(Mux(odd, word[:LIMB], word[LIMB:]) ^ complement.replicate(LIMB)),
            a.eq(Mux(complement, total[-1], Mux(step[3] | step[4], total[:LIMB], total[LIMB:]))),
            limb.eq(Mux(step[3], 0, Mux(odd, product[:LIMB], product[LIMB:]))),
            addend.eq((Cat(1, limb) + Cat(step[7] & total[-1], kept))[1:]),
        ]
        m.d.sync += kept.eq(Mux(step[5] | step[7], product[LIMB:], 0))
        m.d.sync += product.eq((a * b + addend)[:32])
        return product

    def _keep(self, m, negative, product, number, there, final, *, shift, behind):
        """The limb that the binary point lies in, a bit below it and 7 above; and whether all that is above is the sign."""
        limb, point = product[:LIMB], shift[4:]
        # Of a negative sum times 0 all limbs are 0: the carry out of them says so.
        sign, zero, differs, unlike = Signal(), Signal(), Signal(), Signal(LIMB)
        kept, places = Signal(LIMB + 8), Signal(4)
        low, high = kept[: LIMB + 1], kept[LIMB + 1 :]
        m.d.comb += unlike.eq(limb ^ negative.replicate(LIMB))
        with m.If(there):
            with m.If(number <= point):
                m.d.sync += [low.eq(Cat(low[-1] & number.any(), limb)), differs.eq(0)]
            with m.Elif(number == point + 1):
                m.d.sync += [high.eq(limb), differs.eq(unlike[len(high) :].any())]
            with m.Else():
                m.d.sync += differs.eq(differs | unlike.any())
        with m.If(final):
            m.d.sync += [
                sign.eq(negative & ~product[LIMB]),
                zero.eq(negative & product[LIMB]),
                places.eq(shift[:4]),
            ]
            with m.If(point == 3):
                m.d.sync += high.eq((negative & ~product[LIMB]).replicate(len(high)))
        with m.If((behind[1 : 1 + FINE] & Cat(places[:2] != 0, places[1], places[:2] == 3)).any()):
            m.d.sync += kept.eq(Cat(kept[1:], sign))

        # By 8 and by 4 places; what falls off above must be the sign.
        nine, fits = Signal(9), Signal()
        eighths = Mux(places[3], kept[8:21], kept[:13])
        alike = kept ^ sign.replicate(len(kept))
        more = ~places[3] & alike[13:21].any() | ~places[2] & (eighths[9:] ^ sign.replicate(4)).any()
        m.d.sync += [
            nine.eq(Mux(places[2], eighths[4:], eighths[:9])),
            fits.eq(~(differs & ~zero | alike[21:].any() | more)),
        ]
        half, value = nine[0], nine[1:]
        fitting, greatest = Signal(), Signal()
        m.d.comb += [
            fitting.eq(fits & (value[-1] == sign)),
            greatest.eq(value == 127),
            self.result.eq(Mux(fitting, value + (half & ~greatest), Cat((~sign).replicate(7), sign))),
        ]
