"""The whole table-lookup array on an ECP5 without DSPs: tables, units, streams of scales and zero points, and control.

COMB for a product a cycle: all of the array's, by the products of whole weights while lookups go on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

from fpga.measure import measure
from fpga.synthesis import Flow, Placed
from gen import config
from gen.bench.figures import Row
from gen.bench.lookup import MOST, TERNARY, TERNARY_CLOCK, TERNARY_PEERS
from gen.families.lookup import LookupFamily
from hw.array.lookup.array import LookupMatrix
from hw.array.lookup.geometry import LookupArray, LookupFormat, Offset

Notify = Callable[[str], None]

PRESET, DIRECT, FLOATS, HALVES = "lut-m2n64k4", "lut-ternary-m2n64k4", "lut-gguf-m2n64k4", "lut-fp16-m2n64k4"
QUANTISED = "lut-int8tables-m2n64k4"
FLOW = Flow(dsp=False, device="85k", frequency=150)
CLOCK = 80
"""MHz."""
ALONE = {
    "binary": LookupFormat(bits=1, offset=Offset.NONE),
    "int2": LookupFormat(bits=2, offset=Offset.TWOS),
    "int4": LookupFormat(bits=4, offset=Offset.TWOS),
}
"""Arrays that are made for one format."""
WIDE = 128
"""Columns of the widest array."""
WIDTHS = tuple(bits for bits in MOST if bits != 3)
"""Bits of a weight for which a limit is set."""
PEERS = (
    "the reference's first array, M2 N16 K4: 74 with 2 bits; bitnet-kv260: 63 per MAC, 91 MHz, decode, tree and "
    "control included"
)


@dataclass(frozen=True)
class Figure:
    """An array as it was placed."""

    name: str
    array: LookupArray
    placed: Placed

    @property
    def each(self) -> dict[int, float]:
        """COMB for a product a cycle, by the bits of a weight."""
        array = self.array
        planes = array.rows * array.banks * array.chunk
        widths = sorted({one.bits for one in array.variants})
        return {bits: self.placed.area.luts * bits / planes for bits in widths}

    @property
    def text(self) -> str:
        """For people."""
        area = self.placed.area
        each = ", ".join(f"W{bits} {comb:.1f}" for bits, comb in self.each.items())
        return (
            f"{each}: {self.name} ({area.luts:,} COMB, {area.flip_flops:,} FF, {self.placed.median:.0f} MHz)"
        )

    @property
    def values(self) -> dict[str, Any]:
        """Plain data."""
        return {**self.placed.as_dict(), "each": {str(bits): comb for bits, comb in self.each.items()}}

    def holds(self, clock: float = CLOCK) -> bool:
        """As small and as fast as it must be."""
        small = all(self.each[bits] <= MOST[bits] for bits in WIDTHS if bits in self.each)
        return small and self.placed.median >= clock


def array_of(preset: str) -> LookupArray:
    """A preset's."""
    return cast(LookupFamily, config.load(preset).instance).array


def figure(name: str, array: LookupArray, notify: Notify) -> Figure:
    """Placed."""
    notify(f"array of {name}")
    found = Figure(name, array, measure(LookupMatrix(array=array), flow=FLOW))
    notify(found.text)
    return found


def rows(notify: Notify) -> list[Row]:
    """Arrays of presets, and of one format alone."""
    whole = array_of(PRESET)
    limits = ", ".join(f"W{bits} {MOST[bits]}" for bits in WIDTHS)
    what = f"whole array, M{whole.rows} N{whole.columns} K{whole.k}"
    unit = f"COMB for a product a cycle; {FLOW.text}"

    def row(kind: str, figures: list[Figure], **more: Any) -> Row:
        return Row(
            key="lookup-array",
            what=f"{kind}; {unit}",
            measured="\n".join(one.text for one in figures),
            values={one.name: one.values for one in figures},
            **more,
        )

    asked = {"must": f"{limits}; {CLOCK} MHz", "peers": PEERS}
    every = figure(PRESET, whole, notify)
    direct = figure(DIRECT, array_of(DIRECT), notify)
    single = [figure(f"{name} alone", replace(whole, variants=(one,)), notify) for name, one in ALONE.items()]
    floats = figure(FLOATS, array_of(FLOATS), notify)
    halves = array_of(HALVES)
    bipolar = tuple(one for one in halves.variants if not one.doubled)
    tables = [
        figure(HALVES, halves, notify),
        figure(f"{HALVES}, bipolar", replace(halves, variants=bipolar), notify),
    ]
    quantised = figure(QUANTISED, array_of(QUANTISED), notify)
    wide = figure(f"int2 alone, N{WIDE}", replace(whole, variants=(ALONE["int2"],), columns=WIDE), notify)
    return [
        row(f"{what}, all formats", [every], held=every.holds(), **asked),
        row(f"{what}, one format", single, held=all(one.holds() for one in single), **asked),
        row(
            f"{what}, ternary without tables",
            [direct],
            must=f"{TERNARY}; {TERNARY_CLOCK} MHz",
            aim=f"less than {single[1].each[2]:.1f}, two planes",
            peers=TERNARY_PEERS,
            held=direct.each[2] <= TERNARY and direct.placed.median >= TERNARY_CLOCK,
        ),
        row(f"{what}, scales of fp16, all formats", [floats]),
        row(f"{what}, activations and scales of fp16, all formats and without totals", tables),
        row(f"{what}, fp16 activations, tables of int8", [quantised]),
        row(f"the same with N{WIDE}", [wide], must=f"{CLOCK} MHz", held=wide.placed.median >= CLOCK),
    ]
