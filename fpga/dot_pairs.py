"""Sums of products of floating-point elements, exact: sign and magnitude, aligned by their exponents, decoding included.

They are no part of any design: each takes codes from outside, adds to a register, and has no other, as those of
:mod:`fpga.dot_units`. Codes that are no numbers do not matter.
"""

from __future__ import annotations

from functools import reduce
from operator import or_

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.formats.format import Format
from hw.formats.pairs import PairShape, pairs, signed_bits, sum_bits
from hw.pe.accumulate import GatedAdder, SignedAdder
from hw.share import share


class PairDot(wiring.Component):
    """``k`` products a cycle of two elements of a format with a sign bit, in units of both formats.

    Parameters
    ----------
    format : Format
        Of both factors; its upper half of codes are the negatives of the lower half.
    total_bits : int
        Of the sum, no fewer than that of ``k`` products takes.
    k : int
        2 or more, a power of two.

    Members
    -------
    a, b : In(ArrayLayout(bits, k)), keep : In(1)
        Without ``keep`` a sum begins.
    total : Out(signed(total_bits))
        A cycle later.

    Raises
    ------
    ValueError
        ``k`` is no such number, the sum is too narrow, or the format has no sign bit.
    """

    def __init__(self, *, format: Format, total_bits: int, k: int = 4) -> None:
        if k < 2 or k & k - 1:
            raise ValueError(f"k must be a power of two, 2 or more, not {k!r}")
        half = 1 << format.bits - 1
        if any((format.values[half + c] or 0) != -(format.values[c] or 0) for c in range(half)):
            raise ValueError(f"format must have a sign bit, not be {format.name}")
        least = sum_bits(format, format, k)
        if total_bits < least:
            raise ValueError(f"total_bits must be {least} or more, not {total_bits!r}")
        self._format, self._k = format, k
        codes = data.ArrayLayout(format.bits, k)
        super().__init__({"a": In(codes), "b": In(codes), "keep": In(1), "total": Out(signed(total_bits))})

    def elaborate(self, platform):
        m = Module()
        most = self._format.maximum**2
        signs, sums = [], []
        for lane in range(self._k):
            a, b = self.a[lane], self.b[lane]
            signs.append(a[-1] ^ b[-1])
            sums.append(Cat(_product(m, self._format, a, b), Const(0, 1)).as_signed())
        # What is negative is inverted, and the one that it then lacks is the carry of one of the adders.
        lacking, count = list(signs), 1
        while len(sums) > 1:
            count, joined = 2 * count, []
            width = signed_bits([-count * most, count * most])
            for place in range(0, len(sums), 2):
                low, high = sums[place : place + 2]
                m.submodules[f"adder_{count}_{place}"] = adder = share(
                    SignedAdder, width=width, a_width=len(low), b_width=len(high), signs=count == 2
                )
                m.d.comb += [adder.a.eq(low), adder.b.eq(high), adder.carry.eq(lacking.pop())]
                if count == 2:
                    m.d.comb += [adder.a_negative.eq(signs[place]), adder.b_negative.eq(signs[place + 1])]
                joined.append(adder.sum)
            sums = joined
        m.submodules.accumulator = last = share(
            GatedAdder, width=len(self.total), addend_width=len(sums[0]), carry=True
        )
        m.d.comb += [
            last.total.eq(self.total),
            last.keep.eq(self.keep),
            last.addend.eq(sums[0]),
            last.carry.eq(lacking.pop()),
        ]
        m.d.sync += self.total.eq(last.sum)
        return m


def _product(m: Module, format: Format, a: Value, b: Value) -> Value:
    """Magnitude of the product of two codes."""
    (integer_a, exponent_a, offset), (integer_b, exponent_b, _) = (
        _decoded(m, format, code) for code in (a, b)
    )
    most = 2 * (PairShape.of(format).most_exponent + offset)
    shift = Signal(range(most + 1))
    if len(exponent_a) <= 2:
        added = [(index & 3) + (index >> 2) for index in range(16)]
        m.d.comb += shift.eq(_table(Cat(exponent_a, exponent_b), added, len(shift)))
    else:
        m.d.comb += shift.eq(exponent_a + exponent_b)
    value = _multiplied(m, integer_a, integer_b)
    # The lowest bits of the shift one after another; then a bit of the result is one of few, by all the others together.
    near = min(len(shift) - 1, len(value) - 3, 3)
    for level in range(near):
        shifted = Signal(len(value) + (1 << level))
        m.d.comb += shifted.eq(Mux(shift[level], Cat(Const(0, 1 << level), value), value))
        value = shifted
    result = Signal((format.maximum**2).bit_length())
    for place in range(len(result)):
        sources = ((far, place + 2 * offset - (far << near)) for far in range((most >> near) + 1))
        chosen = (value[at] & (shift[near:] == far) for far, at in sources if 0 <= at < len(value))
        m.d.comb += result[place].eq(reduce(or_, chosen))
    return result


def _multiplied(m: Module, a: Value, b: Value) -> Value:
    """Two bits of ``b`` at a time."""
    parts = []
    for low in range(0, len(b), 2):
        digit = b[low : low + 2]
        products = [(i & (1 << len(a)) - 1) * (i >> len(a)) for i in range(1 << len(a) + len(digit))]
        part = Signal(len(a) + len(digit), name=f"product_{low}")
        m.d.comb += part.eq(_table(Cat(a, digit), products, len(part)))
        parts.append(part << low)
    value = Signal(len(a) + len(b))
    m.d.comb += value.eq(sum(parts))
    return value


def _decoded(m: Module, format: Format, code: Value) -> tuple[Value, Value, int]:
    """Integer and exponent of a code without its sign, and 1 if exponents are one more: so most of their bits are the code's."""
    half = 1 << format.bits - 1
    table, shape = pairs(format), PairShape.of(format)
    exponents, integers = ([int(v) for v in each[0][:half]] for each in (table.exponents, table.integers))
    for place, number in enumerate(format.values[:half]):
        if not number:  # its exponent does not matter, nor its integer if it is no number
            exponents[place] = exponents[place - 1 if place else 1]
        if number is None:
            integers[place] = integers[place - 1] | 1
    needed = [
        sum(len(_support([e + offset for e in exponents], bit)) for bit in range(shape.exponent_bits))
        for offset in (0, 1)
    ]
    offset = int(needed[1] < needed[0])
    exponent = Signal((shape.most_exponent + offset).bit_length())
    integer = Signal(shape.integer_bits - 1)
    m.d.comb += [
        exponent.eq(_table(code[:-1], [e + offset for e in exponents], len(exponent))),
        integer.eq(_table(code[:-1], integers, len(integer))),
    ]
    return integer, exponent, offset


def _support(values: list[int], bit: int) -> list[int]:
    """Places of the bits of an index on which ``bit`` of the values depends."""
    places = range(len(values).bit_length() - 1)
    return [p for p in places if any((v ^ values[i ^ 1 << p]) >> bit & 1 for i, v in enumerate(values))]


def _table(index: Value, values: list[int], width: int) -> Value:
    """``width`` bits, each looked up by those bits of the index on which it depends."""
    bits = []
    for bit in range(width):
        places = _support(values, bit)
        entries = [
            values[sum((i >> rank & 1) << place for rank, place in enumerate(places))] >> bit & 1
            for i in range(1 << len(places))
        ]
        table = Const(sum(one << i for i, one in enumerate(entries)), len(entries))
        bits.append(table.bit_select(Cat(index[place] for place in places), 1))
    return Cat(bits)
