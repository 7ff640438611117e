"""The encoder at the head of a column where look-up tables are few: terms of floating point come from tables of codes."""

from __future__ import annotations

from amaranth.hdl import Array, C, Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.formats.bitmod import FP4
from hw.pe.terms import MAGNITUDES, SPECIAL, TERM, TermEncoder
from hw.pe.weight_format import MAGNITUDE_BITS, WeightFormat
from hw.share import share

TABLE = tuple(FP4)
"""Magnitudes that codes may stand for, those of FP3 too."""
INDEX_BITS = 3


def term_bits(magnitude: int) -> tuple[int, int]:
    """``man`` and ``exponent`` of a magnitude's two terms: the leading one of its upper four bits, whose significance is one, and
    of what is left in its lower four.
    """
    upper = magnitude >> 1 & 15
    lower = (magnitude & ~(1 << upper.bit_length()) if upper else magnitude) & 15
    first, second = (1 | one.bit_length() - 1 << 1 if one else 0 for one in (upper, lower))
    return first, second


class TableLane(wiring.Component):
    """Codes of one lane to terms: a shift register of Booth strings, or the place of a magnitude in a table.

    Parameters
    ----------
    formats : frozenset of WeightFormat
        What ``format`` may be.

    Members
    -------
    start, code, format : In
        As of :class:`hw.pe.terms.TermEncoder`, of one lane.
    floating, first, over : In(1)
        From one cycle after ``start`` on: the format is one of floating point; the term is its first; it has had all.
    special : In(TERM)
        With those, the term of the special value.
    term : Out(TERM)

    Timing
    ------
    As :class:`hw.pe.terms.TermEncoder`.
    """

    def __init__(self, *, formats: frozenset[WeightFormat]) -> None:
        self._formats = formats
        super().__init__(
            {
                "start": In(1),
                "code": In(8),
                "format": In(WeightFormat),
                "floating": In(1),
                "first": In(1),
                "over": In(1),
                "special": In(TERM),
                "term": Out(TERM),
            }
        )

    def elaborate(self, platform):
        m = Module()
        # The bit below a Booth string first; a floating point's place in the table, and its sign, stay where they are.
        state, loaded = Signal(9), Signal(9)
        booth, plain = Signal(TERM), Signal(TERM)
        string, index, sign = state[:3], state[1 : 1 + INDEX_BITS], state[1 + INDEX_BITS]
        first, second = (Array(C(term_bits(one)[place], 3) for one in TABLE)[index] for place in range(2))
        m.d.comb += [
            booth.man.eq((string != 0) & (string != 7)),
            booth.sign.eq(string[2] & booth.man),
            booth.exponent.eq((string == 3) | (string == 4)),
            Cat(plain.man, plain.exponent).eq(Mux(self.first, first, second)),
            plain.sign.eq(sign & plain.man),
        ]
        m.d.sync += self.term.eq(Mux(self.floating, Mux(sign & ~index.any(), self.special, plain), booth))
        with m.If(self.over):
            m.d.sync += self.term.eq(0)
        with m.Switch(self.format):
            for one in sorted(self._formats, key=lambda one: one.value):
                with m.Case(one):
                    m.d.comb += loaded.eq(self._loaded(one))
        with m.If(self.start):
            m.d.sync += state.eq(loaded)
        with m.Elif(~self.floating):
            m.d.sync += state.eq(state >> 2)
        return m

    def _loaded(self, format: WeightFormat) -> Value:
        """The first state of ``code``."""
        code = self.code[: format.bits]
        if format.floating:
            places = Array(C(TABLE.index(one), INDEX_BITS) for one in MAGNITUDES[format])
            code = Cat(places[code[:-1]], code[-1])
            return Cat(0, code, self.code[INDEX_BITS + 1 :])
        # An odd code has one bit more, its sign; what is above the last string does not matter.
        known = Cat(code, code[-1].replicate(format.bits % 2))
        return Cat(0, known, self.code[len(known) :])


class TableEncoder(TermEncoder):
    """As :class:`hw.pe.terms.TermEncoder`, where terms are not chosen; a column's special value is taken apart once."""

    def elaborate(self, platform):
        m = Module()
        index, last, floating, first, live = Signal(2), Signal(2), Signal(), Signal(), Signal()
        kept, special = Signal(SPECIAL), Signal(TERM)
        terms = [
            Array(C(term_bits(one)[place], 3) for one in range(1 << MAGNITUDE_BITS)) for place in range(2)
        ]
        m.d.comb += [
            Cat(special.man, special.exponent).eq(
                Mux(first, terms[0][kept.magnitude], terms[1][kept.magnitude])
            ),
            special.sign.eq(kept.sign & special.man),
        ]
        m.d.sync += [
            self.significance.eq(Mux(floating, first, index << 1)),
            first.eq(self.start),
            live.eq(self.start | (live & (index != last))),
            index.eq(Mux(self.start, 0, index + 1)),
        ]
        with m.If(self.start):
            m.d.sync += [
                floating.eq(Cat(self.format == one for one in self._formats if one.floating).any()),
                kept.eq(self.special),
            ]
            with m.Switch(self.format):
                for one in sorted(self._formats):
                    with m.Case(one):
                        m.d.sync += last.eq(one.terms - 1)
        for lane in range(self._lanes):
            m.submodules[f"lane_{lane}"] = encoder = share(TableLane, formats=self._formats)
            m.d.comb += [
                encoder.start.eq(self.start),
                encoder.code.eq(self.codes[lane]),
                encoder.format.eq(self.format),
                encoder.floating.eq(floating),
                encoder.first.eq(first),
                encoder.over.eq(~live),
                encoder.special.eq(special),
                self.terms[lane].eq(encoder.term),
            ]
        return m
