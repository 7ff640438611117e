"""Elements for exponents and integers on an ECP5, beside those of plain integers; sums of four products, decoding included."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from amaranth.lib import wiring

from fpga.dequantised import Dequantiser, value_bits
from fpga.dot_pairs import PairDot
from fpga.measure import measure
from fpga.synthesis import Flow
from gen.bench.decoders import luts
from gen.bench.figures import Row
from hw.formats import FORMATS
from hw.formats.pairs import Accumulator, PairShape
from hw.pe import systolic
from hw.pe.decoder import Decoder
from hw.pe.exponent_integer import OutputStationaryElement

Notify = Callable[[str], None]

EQUAL = Flow(dsp=False, wide_luts=True)
"""As the published sizes were made."""
BEST = Flow(dsp=False)
PLACED = Flow(dsp=False, device="25k", frequency=200)
SEEDS = (1, 2, 3)
SIDE = 16
"""Rows and columns of an array: its decoders stand on two borders."""
STEPS = 256
"""Products of an exact sum."""
WINDOW = 24
"""Bits that the widest product of E4M3 keeps where it is aligned."""


@dataclass(frozen=True)
class Dot:
    """Sum of four products: its bits, LUT4 and CCU2C of a unit made earlier from the same definitions; of ours, both flows."""

    total_bits: int
    published: tuple[int, int]
    equal: tuple[int, int]
    best: tuple[int, int]


DOTS = {
    "mxfp4": Dot(24, (237, 38), equal=(113, 31), best=(95, 31)),
    "mxfp6-e2m3": Dot(24, (577, 64), equal=(267, 49), best=(224, 49)),
    "mxfp6-e3m2": Dot(28, (706, 77), equal=(363, 48), best=(256, 48)),
    "mxfp8-e4m3": Dot(44, (1380, 146), equal=(578, 107), best=(414, 107)),
}
"""By format of both factors."""


def together(tables: int, carries: int) -> int:
    """A carry cell is as large as two look-up tables."""
    return tables + 2 * carries


def dot(name: str, flow: Flow) -> tuple[int, int]:
    """LUT4 and CCU2C of a sum of four products of a format."""
    return luts(PairDot(format=FORMATS[name], total_bits=DOTS[name].total_bits), flow)


def _dot_row(name: str, notify: Notify) -> Row:
    notify(f"sum of four products: {name}")
    equal, best, published = dot(name, EQUAL), dot(name, BEST), DOTS[name].published

    def text(flow: Flow, found: tuple[int, int]) -> str:
        options = " ".join(["synth_ecp5", *flow.synthesis_options])
        size = together(*found)
        return f"{found[0]:,} LUT4, {found[1]} CCU2C ({size:,}, {together(*published) / size:.2f} times smaller), {options}"

    return Row(
        key="exponent-integer",
        what=f"four products of {name} a cycle, decoded, exact, {DOTS[name].total_bits} bits; LUT4 and two for each CCU2C",
        measured=f"{text(EQUAL, equal)}\n{text(BEST, best)}",
        must=f"{together(*published):,} with equal options",
        peers=f"a unit from the same definitions, synthesised earlier: {published[0]:,} LUT4, {published[1]} CCU2C, "
        "synth_ecp5 -nodsp",
        held=together(*equal) <= together(*published),
        values={"equal": equal, "best": best, "published": published},
    )


def _element(name: str, accumulator: Accumulator) -> wiring.Component:
    shape = PairShape.of(FORMATS[name])
    return OutputStationaryElement(
        activation=shape, weight=shape, sum_width=accumulator.width, dropped=accumulator.dropped
    )


def elements() -> dict[str, tuple[str, wiring.Component]]:
    """By name: the format of both operands and the element."""
    e4m3 = FORMATS["mxfp8-e4m3"]
    exact = Accumulator.exact(e4m3, e4m3, STEPS)
    aligned = Accumulator.aligned(e4m3, e4m3, STEPS, WINDOW)
    fixed = PairShape(0, value_bits(FORMATS["mxfp4"]))
    narrow = Accumulator(width=24)
    return {
        "OVP-4": ("ovp4-int4", _element("ovp4-int4", Accumulator(width=32))),
        "MXFP4": ("mxfp4", _element("mxfp4", narrow)),
        f"MXFP8 E4M3, exact, {exact.width} bits": ("mxfp8-e4m3", _element("mxfp8-e4m3", exact)),
        f"MXFP8 E4M3, aligned, {aligned.width} bits": ("mxfp8-e4m3", _element("mxfp8-e4m3", aligned)),
        "int8 as pairs": ("int8", _element("int8", Accumulator(width=32))),
        "plain int8": ("", systolic.OutputStationaryElement()),
        f"plain int{fixed.integer_bits}": (
            "", OutputStationaryElement(activation=fixed, weight=fixed, sum_width=narrow.width),
        ),
    }  # fmt: skip


def _border(component: wiring.Component) -> int:
    return together(*luts(component))


def rows(notify: Notify) -> list[Row]:
    """Of elements, of sums of four products."""
    found: dict[str, dict[str, Any]] = {}
    lines = []
    made = elements()
    for name, (format, component) in made.items():
        notify(f"element: {name}")
        placed = measure(component, flow=PLACED, seeds=SEEDS)
        decoder = _border(Decoder(formats=(FORMATS[format],))) if format else 0
        each = placed.area.luts + 2 * decoder / SIDE
        found[name] = {**placed.as_dict(), "decoder": decoder, "each": each}
        lines.append(
            f"{name}: {placed.area.luts} COMB, {placed.area.flip_flops} FF, {placed.median:.0f} MHz; decoder {decoder}; "
            f"{each:.1f}"
        )
    rivals = {}
    for name, element in (("OVP-4", "plain int8"), ("MXFP4", "plain int8"), ("MXFP4", "plain int5")):
        dequantiser = _border(Dequantiser(format=FORMATS[made[name][0]]))
        each = found[element]["luts"] + 2 * dequantiser / SIDE
        rivals[f"{name} on {element}"] = each
        lines.append(f"{name} dequantised, {element}: dequantiser {dequantiser}; {each:.1f}")
    held = all(found[name.partition(" on ")[0]]["each"] < each for name, each in rivals.items())
    row = Row(
        key="exponent-integer",
        what=f"output-stationary elements, one product a cycle; last number: COMB with the decoders of an array of "
        f"{SIDE} × {SIDE}; clock: median of seeds {', '.join(map(str, SEEDS))}; {PLACED.text}",
        measured="\n".join(lines),
        must="OVP-4 and MXFP4 less than dequantised to plain integers",
        peers="an exponent-integer element for OVP-4 written for sizing, unpipelined: 91 LUT4, 20 CCU2C, 32 FF",
        held=held,
        values={"elements": found, "dequantised": rivals},
    )
    return [row, *(_dot_row(name, notify) for name in DOTS)]
