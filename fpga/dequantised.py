"""What a decoder is compared with: codes to plain integers, for elements without a shifter. It is no part of any design."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.formats.format import Format
from hw.formats.olive import PairFormat
from hw.formats.pairs import pairs, signed_bits
from hw.pe.decoder import looked_up


def value_bits(format: Format) -> int:
    """Of the integers of a format in two's complement, outliers included."""
    return signed_bits([format.minimum, format.maximum])


class Dequantiser(wiring.Component):
    """The integer of a code, a cycle later, made of tables as :class:`hw.pe.decoder.Decoder` is.

    Parameters
    ----------
    format : Format
        Without selectors.

    Members
    -------
    code : In(bits)
    neighbour : In(bits)
        The other code of the pair; of a ``PairFormat`` alone.
    value : Out(signed(value_bits(format)))
    """

    def __init__(self, *, format: Format) -> None:
        if len(format.tables) > 1:
            raise ValueError(f"format must have one table, not be {format.name}")
        self._format = format
        super().__init__(
            {"code": In(format.bits), "value": Out(signed(value_bits(format)))}
            | ({"neighbour": In(format.bits)} if isinstance(format, PairFormat) else {})
        )

    def elaborate(self, platform):
        m = Module()
        index, table = self.code, pairs(self._format)
        if isinstance(self._format, PairFormat):
            index = Cat(self.code, self.neighbour == self._format.identifier)
        m.d.sync += self.value.eq(looked_up(index, table.integers << table.exponents, len(self.value)))
        return m
