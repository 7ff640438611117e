"""Bit-serial elements on an ECP5 beside parallel multipliers made with equal care: area, clock, area for a product a cycle."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from amaranth.lib import wiring

from fpga.measure import measure
from fpga.parallel import ParallelElement, Weights
from fpga.synthesis import Flow
from gen.bench.figures import Row
from hw.pe.bit_serial import BitSerialElement
from hw.pe.weight_format import WeightFormat

Notify = Callable[[str], None]

LANES = (4, 8, 16, 32)
GROUP = 128
MOST = 120
"""Most COMB for a product of FP4 or INT4 a cycle."""
FLOW = Flow(dsp=False, device="25k", frequency=200)

_FORMATS = WeightFormat
_FLOATS = frozenset({_FORMATS.FP4, _FORMATS.FP3})
SETS = {
    "all": frozenset(_FORMATS),
    "FP4, FP3, INT4": _FLOATS | {_FORMATS.INT4},
    "FP4, FP3": _FLOATS,
    "INT4": frozenset({_FORMATS.INT4}),
    "INT8": frozenset({_FORMATS.INT8}),
}
"""Formats of an element."""
RIVALS: dict[Any, Weights] = {
    _FORMATS.FP4: "fp4",
    _FORMATS.INT4: "int4",
    _FORMATS.INT8: "int8",
}
"""The parallel element for weights of a format; that of INT8 could take any."""


def _figures(component: wiring.Component) -> dict[str, Any]:
    placed = measure(component, flow=FLOW)
    return {"comb": placed.area.luts, "ff": placed.area.flip_flops, "mhz": placed.median}


def _text(name: str, figures: dict[str, Any]) -> str:
    each = ", ".join(f"{key} {value:.1f}" for key, value in figures["each"].items())
    return f"{name}: {figures['comb']:,} COMB, {figures['ff']:,} FF, {figures['mhz']:.0f} MHz; {each}"


def compare(
    serial: dict[str, Any], parallel: dict[Weights, dict[int, dict[str, Any]]], lanes: int
) -> list[str]:
    """Where an element of ``lanes`` lanes takes as much as a parallel one for a product a cycle, or more."""
    lost = []
    for format, weights in RIVALS.items():
        if format.name in serial["each"]:
            for what, size in (("as many lanes", lanes), ("as many products", max(1, lanes // format.terms))):
                other = parallel[weights][size]["each"]
                if serial["each"][format.name] >= other:
                    lost.append(f"{format.name} at {what} ({serial['each'][format.name]:.1f} to {other:.1f})")
    return lost


def rows(notify: Notify) -> list[Row]:
    """A row for each number of lanes."""
    parallel: dict[Weights, dict[int, dict[str, Any]]] = {}
    for format, weights in RIVALS.items():
        sizes = sorted({size for lanes in LANES for size in (lanes, max(1, lanes // format.terms))})
        for size in sizes:
            notify(f"parallel {weights}, {size} lanes")
            figures = _figures(ParallelElement(lanes=size, weights=weights, group=GROUP))
            parallel.setdefault(weights, {})[size] = {**figures, "each": figures["comb"] / size}
    table = []
    for lanes in LANES:
        serial = {}
        for name, formats in SETS.items():
            notify(f"bit-serial {name}, {lanes} lanes")
            figures = _figures(BitSerialElement(lanes=lanes, formats=formats, group=GROUP))
            each = {one.name: figures["comb"] * one.terms / lanes for one in _FORMATS if one in formats}
            serial[name] = {**figures, "each": each}
        table.append(_row(lanes, serial, parallel))
    return table


def _row(
    lanes: int, serial: dict[str, dict[str, Any]], parallel: dict[Weights, dict[int, dict[str, Any]]]
) -> Row:
    lost = {name: compare(figures, parallel, lanes) for name, figures in serial.items()}
    loses = "\n".join(
        f"no less than parallel, {name}: {', '.join(what)}" for name, what in lost.items() if what
    )
    peers = "\n".join(
        f"parallel {weights}: {figures['each']:.1f} with {size} lanes ({figures['comb']:,} COMB, {figures['ff']:,} FF, "
        f"{figures['mhz']:.0f} MHz)"
        for weights, sizes in parallel.items()
        for size, figures in sizes.items()
        if size <= lanes
    )
    few = [
        figures["each"][one]
        for figures in serial.values()
        for one in ("FP4", "INT4")
        if one in figures["each"]
    ]
    rival = parallel["fp4"][lanes // _FORMATS.FP4.terms]["each"]
    floats = [figures["each"]["FP4"] for figures in serial.values() if "FP4" in figures["each"]]
    return Row(
        key="elements",
        what=f"bit-serial element, {lanes} lanes, groups of {GROUP}; COMB for a product a cycle; {FLOW.text}",
        measured="\n".join([*(_text(name, figures) for name, figures in serial.items()), loses]),
        must=f"{MOST} at FP4 and INT4; at FP4 less than the parallel element of as many products a cycle, {rival:.1f}",
        peers=peers,
        held=max(few) <= MOST and max(floats) < rival,
        values={"lanes": lanes, "serial": serial, "parallel": parallel, "lost": lost},
    )
