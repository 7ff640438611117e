"""Decoders from codes to exponents and integers, made from the formats' tables.

Reference: OliVe, Guo et al., ISCA 2023, section 4 (decoders on the borders of an array).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from amaranth.hdl import Cat, Const, Module, Mux, Value, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.formats.format import Format
from hw.formats.olive import PairFormat
from hw.formats.pairs import PairShape, pairs
from hw.share import share

MOST_BITS = 8
"""Of a code."""


def pair_layout(shape: PairShape) -> data.StructLayout:
    """``exponent``, which is not there if it has no bits, and ``integer``."""
    exponent = {"exponent": unsigned(shape.exponent_bits)} if shape.exponent_bits else {}
    return data.StructLayout({**exponent, "integer": signed(shape.integer_bits)})


class Decoder(wiring.Component):
    """The pair of a code: what ``hw.formats.pairs`` has for it.

    Parameters
    ----------
    formats : sequence of Format
        Those that a code may be of, each of up to 8 bits.
    shape : PairShape or None
        Of the pair, at least that of the formats together; that alone if it is not given.

    Members
    -------
    code : In(bits)
        As many as the widest format has; others lie in the lowest ones, and what is above them does not matter.
    neighbour : In(bits)
        The other code of the pair, 0 for one that has none; there with a :class:`PairFormat` among ``formats`` alone.
    format : In(range(formats))
        Whose place in ``formats``; not there if there is one alone.
    selector : In(range(tables))
        Which of the format's tables; not there if none has several.
    pair : Out(pair_layout(shape))

    Timing
    ------
    ``pair`` comes ``hw.timing.DECODER`` cycles after the code, one in each cycle.

    Raises
    ------
    ValueError
        No format, one of more than 8 bits, or a ``shape`` that does not hold the pairs.
    """

    def __init__(self, *, formats: Sequence[Format], shape: PairShape | None = None) -> None:
        self._formats = formats = tuple(formats)
        _check_formats(formats)
        least = PairShape.of(*formats)
        self._shape = shape = least if shape is None else shape
        if shape.most_exponent < least.most_exponent or shape.integer_bits < least.integer_bits:
            raise ValueError(f"shape must be at least {least}, not {shape}")
        bits = max(format.bits for format in formats)
        tables = max(len(format.tables) for format in formats)
        super().__init__(
            {"code": In(bits), "pair": Out(pair_layout(shape))}
            | ({"neighbour": In(bits)} if any(isinstance(one, PairFormat) for one in formats) else {})
            | ({"format": In(range(len(formats)))} if len(formats) > 1 else {})
            | ({"selector": In(range(tables))} if tables > 1 else {})
        )

    @property
    def shape(self) -> PairShape:
        """Of ``pair``."""
        return self._shape

    def elaborate(self, platform):
        m = Module()
        each = []
        for format in self._formats:
            code = self.code[: format.bits]
            index = Cat(code)
            if len(format.tables) > 1:
                index = Cat(code, self.selector[: format.selector_bits])
            elif isinstance(format, PairFormat):
                index = Cat(code, self.neighbour[: format.bits] == format.identifier)
            table, shape = pairs(format), PairShape.of(format)
            exponent = looked_up(index, table.exponents, shape.exponent_bits)
            each.append((exponent, looked_up(index, table.integers, shape.integer_bits).as_signed()))
        exponent, integer = each[-1]
        for place, (other_exponent, other_integer) in reversed(list(enumerate(each[:-1]))):
            chosen = self.format == place
            exponent = Mux(chosen, other_exponent, exponent)
            integer = Mux(chosen, other_integer, integer).as_signed()
        m.d.sync += self.pair.integer.eq(integer)
        if self._shape.exponent_bits:
            m.d.sync += self.pair.exponent.eq(exponent)
        return m


def _check_formats(formats: Sequence[Format]) -> None:
    if not formats:
        raise ValueError("formats must be at least one, not none")
    for format in formats:
        if format.bits > MOST_BITS:
            raise ValueError(f"formats must be of up to {MOST_BITS} bits, not {format.name} of {format.bits}")


def looked_up(index: Value, values: np.ndarray, width: int) -> Value:
    """``width`` bits of the one of ``values`` whose place is ``index``; past their end it does not matter.

    A bit that is one of the index is taken from there, any other is a truth table.
    """
    bits = []
    for bit in range(width):
        results = [int(value) >> bit & 1 for value in values.flat]
        same = (
            place
            for place in range(len(index))
            if all(result == at >> place & 1 for at, result in enumerate(results))
        )
        table = Const(sum(one << at for at, one in enumerate(results)), 1 << len(index))
        place = next(same, None)
        bits.append(table.bit_select(index, 1) if place is None else index[place])
    return Cat(bits)


class PairDecoder(wiring.Component):
    """Both pairs of two neighbours: a byte of 4-bit codes, two bytes of 8-bit ones.

    Parameters
    ----------
    format : PairFormat

    Members
    -------
    codes : In(ArrayLayout(bits, 2))
        The even element's first.
    pairs : Out(ArrayLayout(pair_layout(PairShape.of(format)), 2))

    Timing
    ------
    As of :class:`Decoder`.

    Raises
    ------
    TypeError
        ``format`` is not a ``PairFormat``.
    """

    def __init__(self, *, format: PairFormat) -> None:
        if not isinstance(format, PairFormat):
            raise TypeError(f"format must be one of pairs, not {format!r}")
        self._format = format
        super().__init__(
            {
                "codes": In(data.ArrayLayout(format.bits, 2)),
                "pairs": Out(data.ArrayLayout(pair_layout(PairShape.of(format)), 2)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        for odd in (0, 1):
            m.submodules[f"decoder_{odd}"] = decoder = share(Decoder, formats=(self._format,))
            m.d.comb += [
                decoder.code.eq(self.codes[odd]),
                decoder.neighbour.eq(self.codes[1 - odd]),
                self.pairs[odd].eq(decoder.pair),
            ]
        return m
