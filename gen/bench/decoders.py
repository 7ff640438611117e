"""Decoders on an ECP5: look-up tables for each format of up to 8 bits, and for a byte of OliVe's pairs."""

from __future__ import annotations

from collections.abc import Callable

from amaranth.lib import wiring

from fpga.synthesis import Flow, synthesise
from gen.bench.figures import Row
from gen.rtlil import to_rtlil
from hw.formats import FORMATS, Format, PairFormat
from hw.formats.pairs import PairShape
from hw.pe.decoder import MOST_BITS, Decoder, PairDecoder

Notify = Callable[[str], None]

FLOW = Flow(dsp=False)
MOST = 26
"""LUT4 for a byte of 4-bit pairs with int4: a decoder written from OliVe's definitions and synthesised earlier."""
BYTE = "ovp4-int4"


def luts(component: wiring.Component, flow: Flow = FLOW) -> tuple[int, int]:
    """LUT4 and CCU2C of ``component``."""
    netlist = synthesise(to_rtlil(component, name="top"), name="top", flow=flow)
    return netlist.count("LUT4"), netlist.count("CCU2C")


def each_once() -> dict[str, Format]:
    """Formats of up to ``MOST_BITS`` bits, those of one table once; all names of it in its own."""
    kinds: dict[tuple, list[str]] = {}
    for name, format in FORMATS.items():
        if format.bits <= MOST_BITS:
            outliers = format.outliers if isinstance(format, PairFormat) else ()
            kinds.setdefault((format.bits, format.tables, outliers), []).append(name)
    return {" = ".join(names): FORMATS[names[0]] for names in kinds.values()}


def pair_bytes() -> dict[str, float]:
    """LUT4 for a byte of each format of pairs."""
    found = {}
    for name, format in FORMATS.items():
        if isinstance(format, PairFormat):
            tables, carries = luts(PairDecoder(format=format))
            found[name] = (tables + 2 * carries) / (2 * format.bits // 8)
    return found


def _text(name: str, tables: int, shape: PairShape) -> str:
    return f"{name}: {tables} (exponent {shape.exponent_bits}, integer {shape.integer_bits} bits)"


def rows(notify: Notify) -> list[Row]:
    """One for the bytes of pairs, one for each number of bits."""
    notify("pairs")
    found = pair_bytes()
    table = [
        Row(
            key="decoders",
            what=f"OliVe's decoders: both codes of a pair to exponent and integer; LUT4 for a byte; {FLOW.text}",
            measured=", ".join(f"{name} {each:g}" for name, each in found.items()),
            must=f"{BYTE}: {MOST}",
            peers=f"a decoder written from the paper's definitions for sizing: {MOST} for a byte of {BYTE}",
            held=found[BYTE] <= MOST,
            values=found,
        )
    ]
    formats = each_once()
    for bits in sorted({format.bits for format in formats.values()}):
        lines, values = [], {}
        for name, format in formats.items():
            if format.bits == bits:
                notify(name)
                values[name] = luts(Decoder(formats=(format,)))[0]
                lines.append(_text(name, values[name], PairShape.of(format)))
        table.append(
            Row(
                key="decoders",
                what=f"decoders of codes of {bits} bits to exponent and integer; LUT4; {FLOW.text}",
                measured="\n".join(lines),
                values=values,
            )
        )
    return table
