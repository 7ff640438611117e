"""Sums of blocks times the scales of both operands, as float32.

``sim.block_scale`` defines them: the sum is rounded to float32, its product with both scales once more, both to nearest even.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.delay import delayed
from hw.pe.block_scale_times import (
    E8M0_LEAST,
    E8M0_MOST,
    KEPT,
    SHIFTS,
    factor_bits,
    scale_cycles,
    shift_cycles,
    steps,
)
from hw.pe.half import moved_up, rounded_up
from hw.pe.lookup_times import product_cycles
from hw.pe.row_product import RowProduct
from hw.share import share

E8M0_BIAS = 127
UNIT_BITS = 8


def scale_layout(factor: int) -> data.StructLayout:
    """Sign, significand of ``factor`` bits (not there if none), exponent of that modulo 256, and E8M0's, biased."""
    significand = {"significand": factor} if factor else {}
    return data.StructLayout({**significand, "exponent": 8, "power": 8, "sign": 1})


class ScaleDecoder(wiring.Component):
    """The parts of a scale.

    Parameters
    ----------
    kinds : tuple of str
        Types that there are, out of ``block_scale_times.SIGNIFICAND``.
    bits : int
        Of ``scale``, 8 or 16; those of 8 bits are in the upper half of 16. 0: there is none.

    Members
    -------
    scale : In(bits), kind : In(range(kinds))
    parts : Out(scale_layout)
        One cycle later.
    """

    def __init__(self, *, kinds: tuple[str, ...], bits: int) -> None:
        self._kinds, self._bits = kinds, bits
        super().__init__(
            {
                "scale": In(bits),
                "kind": In(range(len(kinds))),
                "parts": Out(scale_layout(factor_bits(kinds))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        parts, factor = self.parts, factor_bits(self._kinds)
        byte = self.scale[-8:]
        m.d.sync += [parts.power.eq(E8M0_BIAS), parts.exponent.eq(0), parts.sign.eq(0)]
        if factor:
            m.d.sync += parts.significand.eq(1)
        with m.Switch(self.kind):
            for number, kind in enumerate(self._kinds):
                with m.Case(number):
                    if kind == "e8m0":
                        m.d.sync += parts.power.eq(byte)
                    elif kind == "int8":
                        m.d.sync += parts.significand.eq(byte)
                    elif kind == "e4m3":
                        self._float(m, byte[:3], byte[3:7], -7 - 3)
                    elif kind == "fp16":
                        self._float(m, self.scale[:10], self.scale[10:15], -15 - 10)
                        m.d.sync += parts.sign.eq(self.scale[15])
        return m

    def _float(self, m: Module, fraction: Value, exponent: Value, of_one: int) -> None:
        normal = exponent.any()
        m.d.sync += [
            self.parts.significand.eq(Cat(fraction, normal)),
            self.parts.exponent.eq((exponent | ~normal) + of_one),
        ]


class BlockScale(wiring.Component):
    """``float32(float32(total) * x_scale * w_scale * 2**unit)``.

    Parameters
    ----------
    width : int
        Bits of the sum, 2 to 80.
    x_kinds, w_kinds : tuple of str
        Types of scales, out of "", "e8m0", "e4m3", "int8", "fp16"; "" stands for 1.
    x_bits, w_bits : int
        Of each scale: 0, 8 or 16.

    Members
    -------
    total : In(signed(width))
    x_scale, w_scale, x_kind, w_kind : In
        See ``ScaleDecoder``.
    unit : In(signed(8))
    result : Out(32)
        Zeros are plus zero. Anything but a normal number is not provided for.

    Timing
    ------
    ``result`` comes ``block_scale_latency`` cycles after them. One per cycle, never stalled.
    """

    def __init__(
        self, *, width: int, x_kinds: tuple[str, ...], w_kinds: tuple[str, ...], x_bits: int, w_bits: int
    ) -> None:
        self._width, self._kinds, self._bits = width, (x_kinds, w_kinds), (x_bits, w_bits)
        super().__init__(
            {
                "total": In(signed(width)),
                "x_scale": In(x_bits),
                "w_scale": In(w_bits),
                "x_kind": In(range(len(x_kinds))),
                "w_kind": In(range(len(w_kinds))),
                "unit": In(signed(UNIT_BITS)),
                "result": Out(32),
            }
        )

    def elaborate(self, platform):
        m = Module()
        width = max(self._width, KEPT)
        magnitude, negative = Signal(width), self.total[-1]
        m.d.sync += magnitude.eq(
            Cat(Const(0, width - self._width), (self.total ^ negative.replicate(self._width)) + negative)
            if width > self._width
            else (self.total ^ negative.replicate(width)) + negative
        )
        # What a number counts in, and where the exponent's field would be if nothing had to be shifted.
        digits, moved = self._normal(m, "sum", magnitude, width - 1)
        kept, carry = self._rounded(m, "sum", digits)
        at = 1 + shift_cycles(width - 1) + 1
        low = self._width - KEPT
        factor, exponent, sign, ready = self._scale(m)
        late = max(at, ready)
        # 127 is the field of 1; a kept number is 2**23 or more.
        base = Signal(8)
        field = 127 + KEPT - 1 + (low if width == self._width else self._width - KEPT)
        some = delayed(m, kept[-1], late - at)
        kept, carry, moved = (delayed(m, one, late - at) for one in (kept, carry, delayed(m, moved, 1)))
        exponent = delayed(m, exponent, late - ready)
        sign = delayed(m, sign ^ delayed(m, negative, ready), late - ready)
        m.d.comb += base.eq(exponent - moved + carry + field)
        if factor is None:
            m.d.sync += self.result.eq(Mux(some, Cat(kept[:-1], base, sign), 0))
            return m
        factor = delayed(m, factor, late - ready)
        m.submodules.product = product = share(RowProduct, bits=KEPT, factor_bits=max(2, len(factor)))
        m.d.comb += [product.number.eq(kept), product.factor.eq(factor)]
        cycles = product_cycles(max(2, len(factor)))
        whole, most = product.product[: KEPT + len(factor)], len(factor)
        digits, moved = self._normal(m, "product", whole, most)
        kept, up = digits[-KEPT:], rounded_up(digits, most)
        rest = cycles + shift_cycles(most)
        total = Cat(kept[:-1], Signal(0)) + up
        after = Signal(8)
        m.d.comb += after.eq(delayed(m, base, rest) - moved + most + total[KEPT - 1])
        m.d.sync += self.result.eq(Mux(kept[-1], Cat(total[: KEPT - 1], after, delayed(m, sign, rest)), 0))
        return m

    def _normal(self, m: Module, name: str, value: Value, most: int) -> tuple[Value, Value]:
        """``value`` shifted up until its top bit is 1, by up to ``most`` places; and by how many, in the same cycle."""
        moves: list[Value] = []
        left = steps(most)
        while left:
            value, moved = moved_up(m, value, left[:SHIFTS])
            moves = [delayed(m, one, 1) for one in (*moves, *moved)]
            value, left = delayed(m, value, 1), left[SHIFTS:]
        return value, Cat(reversed(moves))

    def _rounded(self, m: Module, name: str, digits: Value) -> tuple[Value, Value]:
        """The upper bits, rounded to nearest even, and whether they have become 2**KEPT: a cycle later."""
        lost = len(digits) - KEPT
        number = digits[-KEPT:]
        if not lost:
            return delayed(m, number, 1), Const(0, 1)
        total = Signal(KEPT + 1, name=f"{name}_rounded")
        m.d.sync += total.eq(number + rounded_up(digits, lost))
        return Cat(total[: KEPT - 1], total[KEPT - 1] | total[KEPT]), total[KEPT]

    def _scale(self, m: Module) -> tuple[Value | None, Value, Value, int]:
        """Product of both significands, if there are any; sum of all exponents, modulo 256; sign; their cycle."""
        decoders, sides = [], zip(("x", "w"), self._kinds, self._bits, strict=True)
        for name, kinds, bits in sides:
            decoder = ScaleDecoder(kinds=kinds, bits=max(bits, 8))
            m.submodules[f"{name}_scale"] = decoder
            m.d.comb += [
                decoder.scale.eq(getattr(self, f"{name}_scale")),
                decoder.kind.eq(getattr(self, f"{name}_kind")),
            ]
            decoders.append(decoder.parts)
        x, w = decoders
        power, exponent = Signal(9), Signal(8)
        m.d.sync += [
            power.eq(x.power + w.power),
            exponent.eq(x.exponent + w.exponent + delayed(m, self.unit, 1)),
        ]
        least, most = E8M0_LEAST + 2 * E8M0_BIAS, E8M0_MOST + 2 * E8M0_BIAS
        limited, all_exponents = Signal(9), Signal(8)
        m.d.comb += limited.eq(Mux(power < least, least, Mux(power > most, most, power)))
        m.d.sync += all_exponents.eq(exponent + limited - 2 * E8M0_BIAS)
        ready = scale_cycles(*self._kinds)
        both = [parts.significand for parts in decoders if "significand" in parts.shape().members]
        factor: Value | None = None
        if len(both) == 2:
            m.submodules.factor = product = share(RowProduct, bits=len(both[0]), factor_bits=len(both[1]))
            m.d.comb += [product.number.eq(both[0]), product.factor.eq(both[1])]
            factor = delayed(m, product.product, ready - 1 - product_cycles(len(both[1])))
        elif both:
            factor = delayed(m, both[0], ready - 1)
        return factor, delayed(m, all_exponents, ready - 3), delayed(m, x.sign ^ w.sign, ready - 1), ready
