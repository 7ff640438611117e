"""A group's sum, mantissa and exponent, times its scale: a float32.

``sim.bit_serial_fp16``, step 4, defines what it computes, bit for bit.
"""

from __future__ import annotations

from amaranth.hdl import C, Cat, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.delay import delayed
from hw.pe.accumulate import GatedAdder
from hw.pe.element_times import FLOAT_NORMALISE
from hw.share import share

WINDOW = 14
"""Bits of the magnitude of a lane: 11 and three more; and of a group's sum."""
EXPONENT = 7
"""Bits of a group's exponent with its offset."""


class Dequantiser(wiring.Component):
    """A group's sum times its scale, bit by bit, as a float32.

    The magnitude moves left until its highest bit is 1 while the next group is added up; then the scale's bits come, the highest
    first, and the magnitude moves right from the first that is 1 on: the product has its highest bit in one of two places.

    Members
    -------
    capture : In(1), value : In(signed(15)), up : In(1), exponent : In(7)
        A group's sum, as ``hw.pe.bit_serial_fp16.GroupSum`` gives it.
    bit : In(1)
        Of the scale, the first 9 cycles after ``capture``, the last 16 after it; 0 in all other cycles.
    finish : In(1)
        With the last bit.
    result : Out(32)
        In the cycle after ``finish``; 0 in all others.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "capture": In(1),
                "value": In(signed(WINDOW + 1)),
                "up": In(1),
                "exponent": In(EXPONENT),
                "bit": In(1),
                "finish": In(1),
                "result": Out(32),
            }
        )

    def elaborate(self, platform):
        m = Module()
        magnitude, fill, sign, exponent = self._normalised(m)
        load = delayed(m, self.capture, FLOAT_NORMALISE)
        # The magnitude is one more than its bits say where ``more``; what is moved in on the right keeps that so.
        factor, more, minus = Signal(21, reset_less=True), Signal(reset_less=True), Signal(reset_less=True)
        places, product, started = Signal(EXPONENT, reset_less=True), Signal(22), Signal()
        m.submodules.adder = adder = share(GatedAdder, width=24, addend_width=24)
        total = adder.sum[1:23]
        m.d.comb += [
            adder.total.eq(Cat(more, factor)),
            adder.keep.eq(self.bit),
            adder.addend.eq(Cat(C(1, 1), product)),
        ]
        m.d.sync += [
            product.eq(Mux(self.finish, 0, total)),
            started.eq((started | self.bit) & ~self.finish),
            places.eq(Mux(load, exponent, places) - ~(load | started | self.bit)),
        ]
        with m.If(load | started | self.bit):
            m.d.sync += factor.eq(Mux(load, Cat(fill.replicate(7), magnitude), factor >> 1))
        with m.If(load):
            m.d.sync += [more.eq(fill), minus.eq(sign)]
        high, field = Signal(), Signal(EXPONENT)
        m.d.comb += [high.eq(total[21]), field.eq(places + high)]
        m.d.sync += self.result.eq(0)
        with m.If(self.finish & total[20:].any()):
            fraction = Mux(high, total[:21] << 2, total[:20] << 3)
            m.d.sync += self.result.eq(Cat(fraction[:23], field[:6], ~field[6], field[6], minus))
        return m

    def _normalised(self, m: Module) -> tuple[Signal, Signal, Signal, Signal]:
        """Magnitude without ``fill``, which is to be added, sign, exponent.

        They are ready ``FLOAT_NORMALISE`` cycles after ``capture``.
        """
        magnitude = Signal(WINDOW, reset_less=True)
        fill, sign, exponent = (
            Signal(reset_less=True),
            Signal(reset_less=True),
            Signal(EXPONENT, reset_less=True),
        )
        one, two = Signal(), Signal()
        m.d.comb += [one.eq(~magnitude[-1]), two.eq(~magnitude[-2:].any())]
        with m.If(self.capture):
            m.d.sync += [
                # -(value + up) is ~value + 1 - up.
                magnitude.eq(self.value[:WINDOW] ^ self.value[-1].replicate(WINDOW)),
                fill.eq(self.value[-1] ^ self.up),
                sign.eq(self.value[-1]),
                exponent.eq(self.exponent),
            ]
        with m.Elif(one):
            m.d.sync += [
                magnitude.eq(Mux(two, Cat(fill, fill, magnitude), Cat(fill, magnitude))),
                exponent.eq(exponent - Mux(two, 2, 1)),
            ]
        return magnitude, fill, sign, exponent
