"""Terms of every weight, in every format, sum to its value; and after the last there are none."""

from __future__ import annotations

import pytest
from amaranth.hdl import Array, Assert, Assume, C, Cover, Elaboratable, Module, Mux, Signal, signed

from hw.pe import terms
from hw.pe.terms import MAGNITUDES, TermEncoder
from hw.pe.weight_format import FLOATING_TERMS, WeightFormat
from hw.timing import TERM_ENCODER
from tests.formal import check, free, mutant, previous, refute
from tests.formal_inside import implies

FORMATS = tuple(WeightFormat)


class EncoderRules(Elaboratable):
    """``starts`` are as far apart as their terms are many; special values have no more ones than there are terms."""

    def __init__(self, *formats):
        self._formats = formats
        self._dut = TermEncoder(lanes=1, formats=formats)

    def _value(self, code, format, special):
        """The weight, from the definition of its format."""
        value = C(0, signed(9))
        for one in self._formats:
            bits = code[: one.bits]
            if one.floating:
                size = Mux(bits == 1 << one.bits - 1, special.magnitude, Array(MAGNITUDES[one])[bits[:-1]])
                negative = Mux(bits == 1 << one.bits - 1, special.sign, bits[-1])
                meant = Mux(negative, -size, size)
            else:
                meant = bits.as_signed()
            value = Mux(format == one, meant, value)
        return value

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self._dut
        free(m, dut)
        ones = sum(dut.special.magnitude[i] for i in range(len(dut.special.magnitude)))
        m.d.comb += [
            Assume(ones <= FLOATING_TERMS),
            Assume(Array(int(number in self._formats) for number in range(8))[dut.format]),
        ]
        start, value = dut.start, self._value(dut.codes[0], dut.format, dut.special)
        count = Array(one.terms for one in FORMATS)[dut.format]
        since = Signal(3, init=4)  # cycles since a start, and how many there must be
        apart = Signal(3, init=4)
        m.d.sync += since.eq(Mux(start, 1, since + (since != 4)))
        with m.If(start):
            m.d.sync += apart.eq(count)
        m.d.comb += Assume(implies(start, since >= Mux(apart > 4, 4, apart)))
        for age in range(TERM_ENCODER):
            start, value, count = (
                previous(m, each, f"{name}_{age}")
                for name, each in (("start", start), ("value", value), ("count", count))
            )
        meant, due, place, so_far = Signal(signed(9)), Signal(3), Signal(3, init=7), Signal(signed(12))
        now_meant, now_due = Mux(start, value, meant), Mux(start, count, due)
        now_place = Mux(start, 0, place)
        term = dut.terms[0]
        size = Mux(term.man, C(1, 10) << (term.exponent + dut.significance), 0)
        total = (Mux(start, 0, so_far) + Mux(term.sign, -size, size))[:12].as_signed()
        m.d.sync += [
            meant.eq(now_meant),
            due.eq(now_due),
            place.eq(Mux(now_place == 7, 7, now_place + 1)),
            so_far.eq(total),
        ]
        m.d.comb += [
            Assert(implies(now_place + 1 == now_due, total == now_meant)),
            Assert(implies(now_place >= now_due, ~term.man)),
            Assert(implies(term.sign, term.man)),
            Cover((now_place + 1 == now_due) & (total == self._formats[0].values[0])),
            Cover((now_place + 1 == now_due) & (total == self._formats[0].values[1])),
            Cover(start & (now_due == 2) & previous(m, now_place == 1, "second")),
        ]
        return m


@pytest.mark.parametrize("formats", [FORMATS, (WeightFormat.FP3,)])
def test_terms_sum_to_the_value(formats):
    check(EncoderRules(*formats), depth=12)


@pytest.mark.parametrize(
    "bug",
    [
        ("self.first, state[:5] & ~(2 << place), 0", "self.first, state[:5], 0"),
        ("(state[:3] == 3) | (state[:3] == 4)", "state[:3] == 3"),
        ("Cat(state[2:], sign, sign)", "Cat(state[2:], 0, 0)"),
        ("code[-1].replicate(8 - format.bits)", "code[-1]"),
        ("with m.If(found == 0)", "with m.If(found == 1)"),
        ("Mux(special, self.special.sign, code[-1])", "code[-1]"),
    ],
)
def test_terms_with_a_bug(bug, monkeypatch):
    monkeypatch.setattr(terms, "LaneEncoder", mutant(terms.LaneEncoder, bug))
    refute(EncoderRules(*FORMATS), depth=10)
