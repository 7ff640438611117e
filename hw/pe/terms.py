"""Bit-serial weights: formats, terms, and the encoder at the head of a column.

Reference: BitMoD, Chen et al., HPCA 2025, section IV-A, figure 4 and equation 4.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.formats.bitmod import FP3, FP4
from hw.pe.weight_format import MAGNITUDE_BITS, WeightFormat
from hw.share import share

MAGNITUDES = {WeightFormat.FP4: FP4, WeightFormat.FP3: FP3}
"""By code without its sign, in the units of the format."""

TERM = data.StructLayout({"sign": 1, "exponent": 2, "man": 1})
"""``(-1)**sign * man * 2**exponent``, times ``2**significance``, which all lanes share."""
SPECIAL = data.StructLayout({"magnitude": MAGNITUDE_BITS, "sign": 1})
"""What the code of -0 stands for."""


def format_set(formats: Iterable[WeightFormat]) -> frozenset[WeightFormat]:
    """``formats`` as a set.

    Raises ``TypeError`` when one is no ``WeightFormat``, ``ValueError`` when there is none.
    """
    chosen = frozenset(formats)
    for one in chosen:
        if not isinstance(one, WeightFormat):
            raise TypeError(f"formats must be members of WeightFormat, not {one!r}")
    if not chosen:
        raise ValueError(f"formats must be at least one WeightFormat, not {formats!r}")
    return chosen


class LaneEncoder(wiring.Component):
    """Codes of one lane to terms: a shift register of Booth strings, or a magnitude that loses its leading one.

    Parameters
    ----------
    formats : frozenset of WeightFormat
        What ``format`` may be.

    Members
    -------
    start, code, format, special : In
        As of :class:`TermEncoder`, of one lane.
    first : In(1)
        One cycle after ``start``.
    term : Out(TERM)

    Timing
    ------
    As :class:`TermEncoder`.

    Raises
    ------
    TypeError, ValueError
        ``formats`` is not such a set.
    """

    def __init__(self, *, formats: frozenset[WeightFormat]) -> None:
        self._formats = format_set(formats)
        super().__init__(
            {
                "start": In(1),
                "code": In(8),
                "format": In(WeightFormat),
                "special": In(SPECIAL),
                "first": In(1),
                "term": Out(TERM),
            }
        )

    def elaborate(self, platform):
        m = Module()
        # Integers: the bits that are left, the one below them first. Floating point: magnitude, and the sign on top.
        state, floating = Signal(9), Signal()
        booth, leading = Signal(TERM), Signal(TERM)
        sign, found = state[8], Signal(4)
        m.d.comb += [
            booth.man.eq((state[:3] != 0) & (state[:3] != 7)),
            booth.sign.eq(state[2] & booth.man),
            booth.exponent.eq((state[:3] == 3) | (state[:3] == 4)),
            found.eq(Mux(self.first, state[1:5], state[:4])),
            leading.man.eq(found != 0),
            leading.sign.eq(sign & leading.man),
        ]
        rest = Signal(MAGNITUDE_BITS)
        for place in range(4):
            with m.If(found[place:] == 1):
                m.d.comb += leading.exponent.eq(place)
                # What the first term takes must not be counted again by the second, which may take all that is left.
                m.d.comb += rest.eq(Mux(self.first, state[:5] & ~(2 << place), 0))
        with m.If(found == 0):
            m.d.comb += rest.eq(Mux(self.first, state[:5], 0))
        m.d.sync += [
            state.eq(Mux(floating, Cat(rest, 0, 0, 0, sign), Cat(state[2:], sign, sign))),
            self.term.eq(Mux(floating, leading, booth)),
        ]
        with m.If(self.start), m.Switch(self.format):
            for one in sorted(self._formats, key=lambda one: one.value):
                with m.Case(one):
                    m.d.sync += [state.eq(self._loaded(one)), floating.eq(one.floating)]
        return m

    def _loaded(self, format: WeightFormat) -> Value:
        """The first state of ``code``."""
        code = self.code[: format.bits]
        if not format.floating:
            return Cat(0, code, code[-1].replicate(8 - format.bits))
        magnitude = Array(Const(m, MAGNITUDE_BITS) for m in MAGNITUDES[format])[code[:-1]]
        special = code == 1 << format.bits - 1
        return Cat(
            Mux(special, self.special.magnitude, magnitude),
            Const(0, 3),
            Mux(special, self.special.sign, code[-1]),
        )


class TermEncoder(wiring.Component):
    """Encodes the weights of all lanes of a column.

    Parameters
    ----------
    lanes : int
        1 or more.
    formats : iterable of WeightFormat
        What ``format`` may be; decoders for others are not there.

    Members
    -------
    start : In(1)
        ``codes``, ``format`` and ``special`` are those of the next weights.
    codes : In(ArrayLayout(8, lanes))
        Codes in the lowest bits; what is above them does not matter.
    format : In(WeightFormat)
        One of ``formats``.
    special : In(SPECIAL)
        What the code of -0 stands for; see ``hw.pe.weight_format.special_value``.
    terms : Out(ArrayLayout(TERM, lanes))
        Of all lanes in the same cycle.
    significance : Out(3)
        Their common one: 0, 2, 4, 6 for integers; 1, 0 for floating point.

    Timing
    ------
    Term 0 comes ``hw.timing.TERM_ENCODER`` cycles after ``start``, the others follow cycle by cycle; ``start`` at least
    ``format.terms`` cycles apart. Terms are zero after the last, until the next.

    Raises
    ------
    TypeError, ValueError
        ``lanes`` is not an integer of 1 or more, ``formats`` are none.

    Reference
    ---------
    BitMoD, section IV-A. A second leading-one detector that saw the one that the first has taken would count it twice.
    """

    def __init__(self, *, lanes: int, formats: Iterable[WeightFormat]) -> None:
        self._lanes, self._formats = operator.index(lanes), format_set(formats)
        if self._lanes < 1:
            raise ValueError(f"lanes must be 1 or more, not {lanes!r}")
        super().__init__(
            {
                "start": In(1),
                "codes": In(data.ArrayLayout(8, self._lanes)),
                "format": In(WeightFormat),
                "special": In(SPECIAL),
                "terms": Out(data.ArrayLayout(TERM, self._lanes)),
                "significance": Out(3),
            }
        )

    def elaborate(self, platform):
        m = Module()
        index, floating = Signal(2), Signal()
        m.d.sync += self.significance.eq(Mux(floating, index == 0, index << 1))
        with m.If(self.start):
            m.d.sync += [
                index.eq(0),
                floating.eq(_any(self.format == f for f in self._formats if f.floating)),
            ]
        with m.Else():
            m.d.sync += index.eq(index + 1)
        for lane in range(self._lanes):
            m.submodules[f"lane_{lane}"] = encoder = share(LaneEncoder, formats=self._formats)
            m.d.comb += [
                encoder.start.eq(self.start),
                encoder.code.eq(self.codes[lane]),
                encoder.format.eq(self.format),
                encoder.special.eq(self.special),
                encoder.first.eq(index == 0),
                self.terms[lane].eq(encoder.term),
            ]
        return m


def _any(conditions: Iterable[Value]) -> Value:
    return Cat(*conditions).any()
