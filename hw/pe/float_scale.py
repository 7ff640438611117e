"""Sums times their scales in fp16, as float32: of integers, rounded once to nearest even, and of fp16 sums, exact; and integers
times the float32 scale of quantised tables and then that in fp16, rounded both times.

``sim.lookup.float_result`` defines them. Results are zero or normal and multiples of 2**-49, or of 2**-79 where tables have
scales; sums of float32 demand no more.
"""

from __future__ import annotations

import operator

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.delay import delayed
from hw.memory.float_add import FLOAT32
from hw.pe.bit_serial_fp16 import FP16
from hw.pe.half import FRACTION, HALF, moved_up, rounded_up
from hw.pe.lookup_times import FLOAT_SCALE, HALF_SCALE, TABLE_SCALE, checked, product_cycles
from hw.pe.row_product import RowProduct
from hw.share import share

_FACTOR = FRACTION + 1
"""Bits of a scale's significand."""
_KEPT = 24
"""Bits of a float32's."""
LEAST_WIDTH, MOST_WIDTH = 2, 22
"""Of an integer."""
_OF_HALF, _OF_SINGLE = 25, 150
"""What a scale's exponent field is less by is the exponent of its significand's last bit."""


class ScaledMagnitude(wiring.Component):
    """A magnitude, times two to the power of an exponent, times a scale, as a float32 rounded to nearest even.

    Parameters
    ----------
    most : int
        The greatest magnitude, below 2**24.
    exponent_bits, offset : int
        The magnitude is in units of 2**(``exponent`` + ``offset``).
    single : bool
        The scale is a float32, zero or normal.

    Members
    -------
    magnitude : In, exponent : In(exponent_bits), sign : In(1), scale : In(FP16) or In(FLOAT32)
        Infinities and NaN are taken for numbers. The exponent is not there without bits.
    result : Out(32)
        Zeros are plus zero.

    Timing
    ------
    ``result`` comes ``hw.pe.lookup_times.HALF_SCALE`` cycles after them, or with ``single`` ``SINGLE_SCALE - 1``. One per cycle,
    never stalled.
    """

    def __init__(self, *, most: int, exponent_bits: int, offset: int, single: bool = False) -> None:
        self._single = single
        self._most, self._exponent_bits, self._offset = (
            operator.index(one) for one in (most, exponent_bits, offset)
        )
        super().__init__(
            {
                "magnitude": In(self._most.bit_length()),
                "sign": In(1),
                "scale": In(FLOAT32 if single else FP16),
                "result": Out(32),
            }
            | ({"exponent": In(self._exponent_bits)} if self._exponent_bits else {})
        )

    def elaborate(self, platform):
        m = Module()
        normal = self.scale.exponent.any()
        factor, unit = (_KEPT, _OF_SINGLE) if self._single else (_FACTOR, _OF_HALF)
        multiply = product_cycles(factor)
        bits = (self._most * ((1 << factor) - 1)).bit_length()
        m.submodules.product = rows = share(RowProduct, bits=len(self.magnitude), factor_bits=factor)
        m.d.comb += [rows.number.eq(self.magnitude), rows.factor.eq(Cat(self.scale.fraction, normal))]
        product = rows.product[:bits]
        base, sign = Signal(8), self.sign ^ self.scale.sign
        # 127 is the field of 1, and the top bit is worth as much more.
        of_one = self._offset - unit + 127 + bits - 1
        exponent = self.exponent if self._exponent_bits else Const(0)
        m.d.sync += base.eq(exponent + (self.scale.exponent | ~normal) + of_one)

        coarse, high = moved_up(m, product, (16, 8))
        digits_1, digits_2, field_1, field_2 = Signal(bits), Signal(bits), Signal(8), Signal(8)
        fine, low = moved_up(m, digits_1, (4, 2, 1))
        # The moves come late in their cycle: the field is less by them in the next.
        m.d.comb += field_1.eq(delayed(m, base, multiply) - (delayed(m, Cat(reversed(high)), 1) << 3))
        m.d.sync += [
            digits_1.eq(coarse),
            digits_2.eq(fine),
            # The leading one is added to the field.
            field_2.eq(field_1 - Cat(reversed(low)) - 1),
        ]
        number = Cat(Const(0, max(0, _KEPT - bits)), digits_2)[-_KEPT:]
        up = rounded_up(digits_2, bits - _KEPT) if bits > _KEPT else Const(0)
        m.d.sync += self.result.eq(
            Cat(
                (Cat(number[:-1], field_2) + Cat(up, Const(0, _KEPT - 2), number[-1]))[:31],
                delayed(m, sign, multiply + 2),
            )
        )
        with m.If(~number[-1]):
            m.d.sync += self.result[_KEPT - 1 :].eq(0)
        return m


class FloatScale(wiring.Component):
    """``total * scale``, rounded once to float32.

    Parameters
    ----------
    width : int
        Bits of the sum, 2 to 22.

    Members
    -------
    total : In(signed(width)), scale : In(FP16)
        The scale is finite: infinities and NaN are taken for numbers.
    result : Out(32)

    Attributes
    ----------
    latency : int
        Cycles from them to ``result``. One per cycle, never stalled.

    Raises
    ------
    TypeError, ValueError
        ``width`` is not such an integer.
    """

    def __init__(self, *, width: int) -> None:
        width = checked("width", width, LEAST_WIDTH, MOST_WIDTH)
        self._product = {"most": 1 << width - 1, "exponent_bits": 0, "offset": 0}
        self.latency = FLOAT_SCALE
        super().__init__({"total": In(signed(width)), "scale": In(FP16), "result": Out(32)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.product = product = share(ScaledMagnitude, **self._product)
        magnitude, sign = Signal(len(self.total)), self.total[-1]
        m.d.sync += magnitude.eq((self.total ^ sign.replicate(len(self.total))) + sign)
        m.d.comb += [
            product.magnitude.eq(magnitude),
            product.sign.eq(delayed(m, sign, 1)),
            product.scale.eq(delayed(m, self.scale, 1)),
            self.result.eq(product.result),
        ]
        return m


class HalfScale(wiring.Component):
    """``total * scale`` as a float32, or the half of it, exact.

    Members
    -------
    total : In(HALF), scale : In(FP16)
        Finite. An infinite or NaN scale is taken for a number, and so is a sum: one of 2**16 or more.
    half : In(1)
        With both: the half is wanted.
    result : Out(32)

    Attributes
    ----------
    latency : int
        Cycles from them to ``result``. One per cycle, never stalled.
    """

    def __init__(self) -> None:
        # The exponent is 1 where a significand's top bit is 2**-24.
        self._product = {"most": (1 << _FACTOR) - 1, "exponent_bits": 6, "offset": -1 - 24 - FRACTION}
        self.latency = HALF_SCALE
        super().__init__({"total": In(HALF), "scale": In(FP16), "half": In(1), "result": Out(32)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.product = product = share(ScaledMagnitude, **self._product)
        some = self.total.exponent.any()
        m.d.comb += [
            product.magnitude.eq(Mux(some, Cat(self.total.fraction, 1), 0)),
            product.exponent.eq(self.total.exponent - self.half),
            product.sign.eq(self.total.sign),
            product.scale.eq(self.scale),
            self.result.eq(product.result),
        ]
        return m


class TableScale(wiring.Component):
    """``total * table_scale``, rounded to float32, times ``scale``, rounded again.

    Parameters
    ----------
    width : int
        Bits of the sum, 2 to 22.
    whole, halved : bool
        Some totals count as they are; some count half.

    Members
    -------
    total : In(signed(width)), whole : In(1)
        Whether it counts as it is, not half; only where it may be both.
    table_scale : In(FLOAT32)
        A cycle after them; zero or normal, not negative.
    scale : In(FP16)
        ``hw.pe.lookup_times.SINGLE_SCALE`` cycles after them. Finite: infinities and NaN are taken for numbers.
    result : Out(32)
        Zeros are plus zero.

    Attributes
    ----------
    latency : int
        Cycles from ``total`` to ``result``. One per cycle, never stalled.

    Raises
    ------
    TypeError, ValueError
        ``width`` is not such an integer; totals count neither way.
    """

    def __init__(self, *, width: int, whole: bool, halved: bool) -> None:
        width = checked("width", width, LEAST_WIDTH, MOST_WIDTH)
        if not whole and not halved:
            raise ValueError(f"whole or halved must be true, not {whole!r} and {halved!r}")
        self._both = whole and halved
        self._first = {"most": 1 << width - 1, "exponent_bits": int(self._both), "offset": -halved}
        self._second = {"most": (1 << _KEPT) - 1, "exponent_bits": 8, "offset": -_OF_SINGLE}
        self.latency = TABLE_SCALE
        super().__init__(
            {"total": In(signed(width)), "table_scale": In(FLOAT32), "scale": In(FP16), "result": Out(32)}
            | ({"whole": In(1)} if self._both else {})
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.first = first = share(ScaledMagnitude, **self._first, single=True)
        m.submodules.second = second = share(ScaledMagnitude, **self._second)
        magnitude, sign = Signal(len(self.total)), self.total[-1]
        m.d.sync += magnitude.eq((self.total ^ sign.replicate(len(self.total))) + sign)
        value = data.View(FLOAT32, first.result)
        m.d.comb += [
            first.magnitude.eq(magnitude),
            first.sign.eq(delayed(m, sign, 1)),
            first.scale.eq(self.table_scale),
            second.magnitude.eq(Cat(value.fraction, value.exponent.any())),
            second.exponent.eq(value.exponent),
            second.sign.eq(value.sign),
            second.scale.eq(self.scale),
            self.result.eq(second.result),
        ]
        if self._both:
            m.d.comb += first.exponent.eq(delayed(m, self.whole, 1))
        return m
