"""int32 to int8 at the output: bias, dyadic scaling, round half up, saturation."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.delay import without_reset
from hw.pe.multiplier import RegisteredMultiplier
from hw.share import share
from hw.timing import REQUANTISE

_LIMB = 16
"""Bits of a limb of sum and multiplier: with its sign it fits one side of an 18 x 18 bit multiplier."""


class Requantise(wiring.Component):
    """``saturate_int8(((accumulator + bias) * multiplier + round) >> shift)``, or the accumulator as it is.

    ``round`` is half of ``2 ** shift``, 0 for shift 0: ties go up. Every intermediate value is exact. Rounding needs no
    wide adder: the bit below the binary point is kept through the shifter and added to the 8 bits that are left.

    Members
    -------
    accumulator, bias : signed(32)
    multiplier : unsigned(32)
    shift : unsigned(6)
    raw : pass the accumulator
    result : unsigned(32), the accumulator, or the int8 result in its low 8 bits and zeros

    Timing
    ------
    ``result`` belongs to what was at the inputs ``hw.timing.REQUANTISE`` cycles before. One per cycle, never stalled.

    Reference
    ---------
    HAWQ-V3: Dyadic Neural Network Quantization (arXiv 2011.10680), section 3: scaling by an integer over a power of two.
    """

    def __init__(self):
        super().__init__(
            {
                "accumulator": In(signed(32)),
                "bias": In(signed(32)),
                "multiplier": In(32),
                "shift": In(6),
                "raw": In(1),
                "result": Out(32),
            }
        )

    def _register(self, m, name, value):
        """``value`` one cycle later."""
        register = Signal(value.shape(), name=name, reset_less=True)
        m.d.sync += register.eq(value)
        return register

    def _later(self, m, name, value, cycles):
        """``value`` after each number of cycles from 0 to ``cycles``."""
        stages = [value]
        for i in range(cycles):
            stages.append(self._register(m, f"{name}_{i + 1}", stages[-1]))
        return stages

    def elaborate(self, platform):
        m = Module()
        # The time at which a value is there is its index: shift[7] stands beside what was computed in stage 7.
        accumulator = self._later(m, "accumulator", self.accumulator, REQUANTISE - 1)
        raw = self._later(m, "raw", self.raw, REQUANTISE - 1)
        shift = self._later(m, "shift", self.shift, REQUANTISE - 2)

        product = self._product(m)
        chosen, uniform, sign = self._shift(m, product, shift)

        value, half = chosen[1:].as_signed(), chosen[0]
        fits = uniform & (chosen[8] == sign)
        # All that does not need the sum is chosen beside it: one gate is left behind the carry.
        summed, otherwise = Signal(), Signal.like(self.result)
        saturated = Mux(fits | ~sign, 127, 0x80)
        m.d.comb += [
            summed.eq(fits & (value != 127) & ~raw[-1]),
            otherwise.eq(Mux(raw[-1], accumulator[-1].as_unsigned(), saturated)),
        ]
        m.d.sync += without_reset(m, self.result).eq(Mux(summed, (value + half).as_unsigned()[:8], otherwise))
        return m

    def _product(self, m):
        """Stages 1 to 6: (accumulator + bias) * multiplier, 65 bits."""
        total = self._register(m, "total", self.accumulator + self.bias)
        multiplier = self._register(m, "multiplier_1", self.multiplier)

        total_low, total_high = total[:_LIMB], total[_LIMB:].as_signed()
        low, high = multiplier[:_LIMB], multiplier[_LIMB:]
        factors = {"low_low": (total_low, low), "low_high": (total_low, high), "high_low": (total_high, low)}
        factors["high_high"] = (total_high, high)
        partial = {}
        for name, (a, b) in factors.items():
            m.submodules[name] = block = share(
                RegisteredMultiplier, a_width=_LIMB + 1, b_width=_LIMB + 1, signed=True
            )
            m.d.comb += [block.a.eq(a), block.b.eq(b)]
            partial[name] = block.product
        low_low, low_high = partial["low_low"][: 2 * _LIMB], partial["low_high"][: 2 * _LIMB]
        high_low, high_high = partial["high_low"], partial["high_high"]

        # The outer products do not overlap, so that only the middle ones are left to add, from bit 16 on.
        middle = self._register(m, "middle", (low_high + high_low).as_signed())
        outer = self._register(m, "outer", Cat(low_low, high_high)[:65].as_signed())

        half = 40
        low_sum = self._register(m, "low_sum", outer[_LIMB:half] + middle[: half - _LIMB])
        bottom = self._register(m, "bottom", outer[:_LIMB])
        outer_top = self._register(m, "outer_top", outer[half:].as_signed())
        middle_top = self._register(m, "middle_top", middle[half - _LIMB :].as_signed())

        top = (outer_top + middle_top + low_sum[-1])[: 65 - half]
        return self._register(m, "product", Cat(bottom, low_sum[:-1], top))

    def _shift(self, m, product, shift):
        """Stages 7 to 9: the 8 bits above the binary point and the one below; whether all above are alike; the sign.

        Bits that no further shift can bring down are only asked whether they are all like the sign.
        """
        whole = Cat(0, product)

        def alike(bits):
            return Mux(sign, bits.all(), ~bits.any())

        sign = product[-1]
        window, above = Signal(24, reset_less=True), Signal(3, reset_less=True)
        with m.Switch(shift[6][4:6]):
            for i in range(4):
                with m.Case(i):
                    m.d.sync += window.eq(whole[16 * i :].as_signed())
        m.d.sync += above.eq(Cat(alike(whole[first : first + 16]) for first in (24, 40, 56)))
        sign = self._register(m, "sign_7", sign)

        narrow, same = Signal(12, reset_less=True), Signal(reset_less=True)
        clear = Cat(above.all(), above[1:].all(), above[2], 1).bit_select(shift[7][4:6], 1)
        with m.Switch(shift[7][2:4]):
            for i in range(4):
                with m.Case(i):
                    m.d.sync += [
                        narrow.eq(window[4 * i :]),
                        same.eq(clear & alike(Cat(window[4 * i + 12 :], sign))),
                    ]
        sign = self._register(m, "sign_8", sign)

        chosen, uniform = Signal(9, reset_less=True), Signal(reset_less=True)
        with m.Switch(shift[8][:2]):
            for i in range(4):
                with m.Case(i):
                    m.d.sync += [chosen.eq(narrow[i:]), uniform.eq(same & alike(Cat(narrow[i + 9 :], sign)))]
        return chosen, uniform, self._register(m, "sign_8", sign)
