"""int8 tables of fp16 activations, with a float32 scale for the tables of a group: ``sim.lookup.quantised_tables``, bit for bit.

Sums, quotients and products are rounded to float32 as T-MAC's are. None of them is subnormal: sums of fp16 are multiples of
2**-24, rounded or not, a scale is at least 2**-24 / 127 > 2**-31 and below 2**13, its inverse lies within 2**-13 and 2**31, and
an entry times that is 0 or at least 2**-37. Nor does an entry saturate: three roundings make it at most 1 + 2**-21 times the sum
that the scale is of, and two more the product, below 127.5.

Reference: T-MAC, Wei et al., EuroSys 2025, and microsoft/T-MAC, ``lut_ctor.cc``; LUT Tensor Core, Mo et al., ISCA 2025,
section 3.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.delay import delayed
from hw.memory.float_add import FLOAT32, FloatAdder
from hw.pe.bit_serial_fp16 import FP16
from hw.pe.half import FRACTION, moved_up, rounded_up
from hw.pe.lookup_times import MOST_TABLES, QUOTIENT_BITS, K, QuantiserTimes, checked, product_cycles
from hw.pe.row_product import RowProduct
from hw.share import share
from hw.timing import FLOAT_ADD

SHORT = data.StructLayout({"fraction": FRACTION, "exponent": 8, "sign": 1})
"""The highest bits of a float32; those of an fp16 have nothing below them."""
_SIGNIFICAND = 24
_MOST = (1 << 23) * 127 // 64
"""The significand of 127, whose exponent field is 127 + 6."""
_MULTIPLY = product_cycles(_SIGNIFICAND)


def _significand(number: data.View) -> Value:
    """Of a float32, with its leading one."""
    return Cat(number.fraction, number.exponent.any())


def widened(m: Module, activation: data.View) -> Value:
    """A SHORT of an fp16, whose subnormals are normalised."""
    normal = activation.exponent.any()
    digits, moves = moved_up(m, Cat(activation.fraction, normal), (8, 4, 2, 1))
    field = (activation.exponent | ~normal) - Cat(reversed(moves)) + (127 - 15)
    return Cat(digits[:-1], Mux(digits[-1], field, 0)[:8], activation.sign)


class ScaleDivider(wiring.Component):
    """``scale = most / 127`` and ``inverse = 1 / scale`` in float32, a bit of a quotient in a cycle; 0 and 0 of 0.

    A quotient of two significands is never half-way between two others, so that the bit below its last one rounds it.

    Members
    -------
    most : In(32), start : In(1)
        Zero or from 2**-24 to 2**19; ``start`` not before the last inverse is there.
    scale, inverse : Out(32), scale_done, inverse_done : Out(1)
        High in the cycle in which they are there for the first time.

    Timing
    ------
    ``scale`` comes ``QUOTIENT_BITS + 2`` cycles after ``start``, ``inverse`` as many later.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "most": In(FLOAT32),
                "start": In(1),
                "scale": Out(FLOAT32),
                "inverse": Out(FLOAT32),
                "scale_done": Out(1),
                "inverse_done": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        rest, divisor = Signal(_SIGNIFICAND + 1), Signal(_SIGNIFICAND)
        quotient, field, some = Signal(QUOTIENT_BITS), Signal(8), Signal()
        left, second = Signal(range(QUOTIENT_BITS + 1)), Signal()
        less = Signal(signed(_SIGNIFICAND + 2))
        m.d.comb += less.eq(rest - divisor)
        enough = ~less[-1]
        m.d.sync += [
            rest.eq(Mux(enough, less, rest) << 1),
            quotient.eq(Cat(enough, quotient)),
        ]
        top = quotient[-1]
        last, whole = Signal(), Signal(31)
        m.d.comb += whole.eq(
            Cat(Mux(top, quotient[2:-1], quotient[1:-2]), (field - ~top)[:8])
            + Mux(top, quotient[1], quotient[0])
        )
        result = Mux(some, whole, 0)
        m.d.sync += [last.eq(left == 1), self.scale_done.eq(0), self.inverse_done.eq(0)]
        with m.If(left.any()):
            m.d.sync += left.eq(left - 1)
        with m.If(self.start):
            m.d.sync += [
                rest.eq(_significand(self.most)), divisor.eq(_MOST), field.eq(self.most.exponent - 6),
                some.eq(self.most.exponent.any()), left.eq(QUOTIENT_BITS), second.eq(0),
            ]  # fmt: skip
        with m.If(last & ~second):
            m.d.sync += [self.scale.as_value().eq(result), self.scale_done.eq(1)]
        with m.If(self.scale_done):
            m.d.sync += [
                rest.eq(1 << _SIGNIFICAND - 1), divisor.eq(Cat(self.scale.fraction, 1)),
                field.eq(254 - self.scale.exponent), left.eq(QUOTIENT_BITS), second.eq(1),
            ]  # fmt: skip
        with m.If(last & second):
            m.d.sync += [self.inverse.as_value().eq(result), self.inverse_done.eq(1)]
        return m


class GreatestSum(wiring.Component):
    """The greatest sum of four magnitudes, ``(a + b) + (c + d)``, of the tables of a group, by one adder.

    Members
    -------
    activation : In(SHORT), second, fourth : In(1)
        The second or the fourth of a table, which comes in four cycles one after the other; tables begin a multiple of four
        cycles apart.
    first, last : In(1)
        With ``fourth``: of the first and the last table of a group.
    most : Out(32), done : Out(1)
        High with the group's, ``2 * FLOAT_ADD + 1`` cycles after ``last``.
    """

    def __init__(self) -> None:
        flags = {name: In(1) for name in ("second", "fourth", "first", "last")}
        super().__init__({"activation": In(SHORT), "most": Out(FLOAT32), "done": Out(1)} | flags)

    def elaborate(self, platform):
        m = Module()
        m.submodules.adder = adder = share(FloatAdder)
        size = Cat(Const(0, 23 - FRACTION), self.activation.as_value()[:-1], 0)
        join = delayed(m, self.fourth, FLOAT_ADD)
        m.d.comb += [
            adder.a.eq(Mux(join, delayed(m, adder.sum, 2), delayed(m, size, 1))),
            adder.b.eq(Mux(join, adder.sum, size)),
        ]
        found, first, last = (
            delayed(m, value, 2 * FLOAT_ADD) for value in (self.fourth, self.first, self.last)
        )
        m.d.sync += self.done.eq(found & last)
        with m.If(found & (first | (adder.sum > self.most.as_value()))):
            m.d.sync += self.most.as_value().eq(adder.sum)
        return m


class QuantisedEntry(wiring.Component):
    """``entry * inverse``, rounded to float32 and then to a whole number, to nearest even both times.

    Members
    -------
    entry, inverse : In(32)
        float32; the product is below 127.5 in magnitude.
    code : Out(signed(8))

    Timing
    ------
    ``code`` comes ``product_cycles(24) + 4`` cycles after both. One per cycle, never stalled.
    """

    def __init__(self) -> None:
        super().__init__({"entry": In(FLOAT32), "inverse": In(FLOAT32), "code": Out(signed(8))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.product = rows = share(RowProduct, bits=_SIGNIFICAND, factor_bits=_SIGNIFICAND)
        m.d.comb += [rows.number.eq(_significand(self.entry)), rows.factor.eq(_significand(self.inverse))]
        fields_1 = Signal(9)
        m.d.sync += fields_1.eq(self.entry.exponent + self.inverse.exponent)
        fields = delayed(m, fields_1, _MULTIPLY - 1)

        # A number in a name is the stage behind the product. Its top bit is 64 after ``down`` places down.
        product, top = rows.product, rows.product[-1]
        digits = Mux(top, product, product << 1)[: 2 * _SIGNIFICAND]
        kept_1, up_1, down_1 = Signal(_SIGNIFICAND), Signal(), Signal(10)
        m.d.sync += [
            kept_1.eq(digits[_SIGNIFICAND:]),
            up_1.eq(rounded_up(digits, _SIGNIFICAND)),
            down_1.eq(Mux(top, 259, 260) - fields),
        ]
        rounded_2, down_2 = Signal(_SIGNIFICAND + 1), Signal(3)
        m.d.sync += [rounded_2.eq(kept_1 + up_1), down_2.eq(down_1)]
        with m.If(down_1[3:].any()):
            m.d.sync += rounded_2.eq(0)

        value, lost = rounded_2, []
        for bit in reversed(range(3)):
            lost.append(down_2[bit] & value[: 1 << bit].any())
            moved = Signal(len(value), name=f"moved_down_{1 << bit}")
            m.d.comb += moved.eq(Mux(down_2[bit], value >> (1 << bit), value))
            value = moved
        units = _SIGNIFICAND - 7
        whole_3, half_3, lower_3 = Signal(7), Signal(), Signal()
        m.d.sync += [
            whole_3.eq(value[units:]),
            half_3.eq(value[units - 1]),
            lower_3.eq(value[: units - 1].any() | Cat(lost).any()),
        ]
        minus_3 = delayed(m, self.entry.sign, _MULTIPLY + 3)
        up_3 = half_3 & (whole_3[0] | lower_3)
        # -(whole + up) is ~whole + 1 - up.
        m.d.sync += self.code.eq((Cat(whole_3, 0) ^ minus_3.replicate(8)) + (minus_3 ^ up_3))
        return m


class TableQuantiser(wiring.Component):
    """Quantises the half tables of groups of fp16 activations.

    It keeps the activations of two groups: while one is written and its scale is worked out, entries of the other are read.

    Parameters
    ----------
    tables : int
        Of a group, 1 to 16: 16 as T-MAC has it for 64 activations, 1 as the LUT tensor core.

    Members
    -------
    activation : In(FP16), write : In(1), write_bank : In(1), write_table : In(range(max(tables, 2))), place : In(2)
        An activation of a table, infinities and NaN taken for numbers: four in four cycles one after the other; tables begin a
        multiple of four cycles apart.
    first, last : In(1)
        With each write of the first and the last table of a group.
    scale : Out(32), valid : Out(1)
        float32 of the group last written, and that it is there for the first time: ``times.scale`` cycles after its last write.
    read_bank : In(1), read_table : In(range(max(tables, 2))), index : In(3)
        From ``times.inverse`` cycles after the last write of the bank's group on.
    entry : Out(signed(8))
        Of the half table: the last activation, plus activation i where bit i of ``index`` is set, minus it where not.

    Timing
    ------
    ``times`` (:class:`hw.pe.lookup_times.QuantiserTimes`): ``entry`` comes ``times.entry`` cycles after the read, one per cycle.
    The last writes of two groups are ``times.interval`` cycles apart or more. The banks take turns; a table is not written anew
    until ``times.late`` cycles after it was read.

    Raises
    ------
    TypeError, ValueError
        ``tables`` is not such an integer.
    """

    def __init__(self, *, tables: int) -> None:
        self._tables = max(2, checked("tables", tables, 1, MOST_TABLES))
        self.times = QuantiserTimes()
        super().__init__(
            {
                "activation": In(FP16),
                **{name: In(1) for name in ("write", "write_bank", "first", "last", "read_bank")},
                "write_table": In(range(self._tables)),
                "place": In(range(K)),
                "scale": Out(FLOAT32),
                "valid": Out(1),
                "read_table": In(range(self._tables)),
                "index": In(K - 1),
                "entry": Out(signed(8)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        # A number in a name is the stage behind which the value stands.
        activation_1 = Signal(SHORT)
        write_1, last_1, bank_1 = (delayed(m, one, 1) for one in (self.write, self.last, self.write_bank))
        place_1 = delayed(m, self.place, 1)
        m.d.sync += activation_1.as_value().eq(widened(m, self.activation))
        m.submodules.greatest = greatest = share(GreatestSum)
        m.submodules.divider = divider = share(ScaleDivider)
        fourth_1 = write_1 & (place_1 == K - 1)
        m.d.comb += [
            greatest.activation.eq(activation_1),
            greatest.fourth.eq(fourth_1),
            greatest.first.eq(delayed(m, self.first, 1)),
            greatest.last.eq(last_1),
            divider.most.eq(greatest.most),
            divider.start.eq(greatest.done),
            self.scale.eq(divider.scale),
            self.valid.eq(divider.scale_done),
        ]
        bank, coming = Signal(), delayed(m, bank_1, 2 * FLOAT_ADD + 1)
        with m.If(greatest.done):
            m.d.sync += bank.eq(coming)
        inverses = [Signal(FLOAT32, name=f"inverse_{i}") for i in range(2)]
        for i, inverse in enumerate(inverses):
            with m.If(divider.inverse_done & (bank == i)):
                m.d.sync += inverse.eq(divider.inverse)

        address_1 = Cat(delayed(m, self.write_table, 1), bank_1)
        operands = [
            self._stored(m, place, write_1 & (place_1 == place), address_1, activation_1)
            for place in range(K)
        ]
        total = operands[0]
        for place in range(1, K):
            m.submodules[f"adder_{place}"] = adder = share(FloatAdder)
            m.d.comb += [adder.a.eq(total), adder.b.eq(operands[place])]
            total = adder.sum
        m.submodules.quantised = quantised = share(QuantisedEntry)
        m.d.comb += [
            quantised.entry.as_value().eq(total),
            quantised.inverse.as_value().eq(
                Mux(
                    delayed(m, self.read_bank, 1 + 3 * FLOAT_ADD),
                    *(one.as_value() for one in reversed(inverses)),
                )
            ),
            self.entry.eq(quantised.code),
        ]
        return m

    def _stored(self, m: Module, place: int, enable: Value, address: Value, activation: Signal) -> Value:
        """The memory of a table's activation; what is read of it when the adder that takes it wants it, as a float32."""
        late = max(0, place - 1) * FLOAT_ADD
        m.submodules[f"activations_{place}"] = memory = Memory(
            shape=SHORT, depth=2 << len(self.read_table), init=[]
        )
        write, read = memory.write_port(), memory.read_port(domain="comb")
        found, minus = Signal(SHORT, name=f"found_{place}"), Signal(name=f"minus_{place}")
        m.d.comb += [
            write.en.eq(enable),
            write.addr.eq(address),
            write.data.eq(activation),
            read.addr.eq(delayed(m, Cat(self.read_table, self.read_bank), late)),
        ]
        m.d.sync += found.eq(read.data)
        if place < K - 1:
            m.d.sync += minus.eq(~delayed(m, self.index[place], late))
        return Cat(Const(0, 23 - FRACTION), found.as_value()[:-1], found.sign ^ minus)
