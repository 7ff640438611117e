"""Whole arrays of decoded operands on an ECP5, borders included, beside plain int8 for as many products a cycle.

Counted module by module (`synth_ecp5 -noflatten`, LUT4 and two for each CCU2C): each kind of module is synthesised once and
counted as often as it is there, so the decoders' share is of one sum. Those of 8×8 are also placed and routed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

from amaranth.lib import wiring

from fpga.measure import measure
from fpga.synthesis import Flow, Placed
from fpga.whole_arrays import DecodedMatrix, PlainMatrix, StationaryMatrix
from gen import config
from gen.bench.decoders import luts
from gen.bench.exponent_integer import together
from gen.bench.figures import Row
from gen.families.decoded import DecodedFamily
from hw.array.decoded.geometry import DecodedArray
from hw.array.decoded.output_array import WeightDecoder
from hw.array.decoded.rows import DecodedRow
from hw.array.decoded.slots import SlotDecoder
from hw.array.weight_stationary import WeightStationaryArray
from hw.formats import FORMATS
from hw.pe.block_scale import BlockScale
from hw.pe.decoder import Decoder
from hw.pe.exponent_integer import OutputStationaryElement, WeightStationaryElement

Notify = Callable[[str], None]

OLIVE, MX = "olive-8x8", "mx-8x8"
PAIRS = "ovp4-int4"
PLAIN, DEQUANTISED = "plain int8", f"{PAIRS} dequantised, plain int8"
ALONE = {PAIRS: OLIVE, "mxfp4": MX, "nvfp4": MX}
"""Formats that arrays are made for alone: preset whose other sizes they have."""
SIDE, BYTES = 8, 8
"""Rows and columns as placed; least bytes of a word of activations."""
PLACED = Flow(dsp=False, device="85k", frequency=150)
BLOCKS = Flow(dsp=True, device="85k", frequency=150)
COUNTED = Flow(dsp=False, flatten=False)
LONGER = 32
"""Block of arrays of more rows."""
SIDES = (SIDE, 16, 64)
"""Rows and columns of those that are counted; the paper's array is the last."""
SHARES = {"4-bit": 2.2, "8-bit": 1.5}
"""Per cent of the paper's array that its decoders are, 22 nm."""


def array_of(name: str, side: int = SIDE) -> DecodedArray:
    """That of a preset, or of one format alone, with so many rows and columns.

    Results of more rows would not leave within a block of 16: it is 32 then, without formats whose blocks are shorter.
    """
    found = cast(DecodedFamily, config.load(ALONE.get(name, name)).instance).array
    pairs = ((FORMATS[name],) * 2,) if name in ALONE else found.pairs
    block = found.block
    if block and side > SIDE:
        block = LONGER
        pairs = tuple(pair for pair in pairs if not any(one.block % block for one in pair))
    return replace(found, pairs=pairs, block=block, rows=side, columns=side)


def whole(name: str, side: int = SIDE) -> wiring.Component:
    """An array with its borders."""
    if name in (PLAIN, DEQUANTISED):
        format = FORMATS[PAIRS] if name == DEQUANTISED else None
        return PlainMatrix(rows=side, columns=side, data_bytes=BYTES, format=format)
    return DecodedMatrix(array=array_of(name, side))


def _text(placed: Placed) -> str:
    area = placed.area
    return f"{area.luts:,} COMB, {area.flip_flops:,} FF, {area.dsps} DSP, {placed.median:.0f} MHz"


def _placed(what: str, several: dict[str, tuple[str, Flow]], notify: Notify, **more: Any) -> Row:
    """By what it is called: the array and its flow."""
    found = {}
    for called, (name, flow) in several.items():
        notify(f"{called}: synthesis, place and route")
        found[called] = measure(whole(name), flow=flow)
        notify(f"{called}: {_text(found[called])}")
    held = None
    if PAIRS in found:
        held = found[PAIRS].area.luts < min(found[one].area.luts for one in (PLAIN, DEQUANTISED))
    return Row(
        key="decoded-clock",
        what=f"{what}, {SIDE}×{SIDE}, decoders on the borders included; {PLACED.text}, or with DSPs, seed 1",
        measured="\n".join(f"{called}: {_text(placed)}" for called, placed in found.items()),
        values={called: placed.as_dict() for called, placed in found.items()},
        held=held,
        **more,
    )


@dataclass(frozen=True)
class Counted:
    """LUT4, and two for each CCU2C, of an array that was synthesised module by module."""

    side: int
    whole: int
    decoders: int
    borders: int
    scalers: int = 0

    @property
    def share(self) -> float:
        """Per cent that the decoders are."""
        return 100 * self.decoders / self.whole

    @property
    def values(self) -> dict[str, float]:
        """Plain data."""
        return {
            "whole": self.whole, "decoders": self.decoders, "borders": self.borders, "scalers": self.scalers, "share": self.share,
        }  # fmt: skip

    @property
    def text(self) -> str:
        """For people."""
        scalers = f", scalers {100 * self.scalers / self.whole:.1f} %" * bool(self.scalers)
        return (
            f"{self.side}×{self.side} {self.whole:,}, decoders {self.decoders:,}: {self.share:.2f} % "
            f"(what feeds rows and columns, decoders included, {100 * self.borders / self.whole:.1f} %{scalers})"
        )


def size(component: wiring.Component) -> int:
    """LUT4, and two for each CCU2C."""
    return together(*luts(component, COUNTED))


def counted(name: str, side: int) -> Counted:
    """Of an array of decoded operands."""
    array = array_of(name, side)
    sides = zip((array.activations, array.weights), array.shapes, strict=True)
    decoders = sum(size(Decoder(formats=formats, shape=shape)) for formats, shape in sides)
    borders = size(DecodedRow(array=array)) + size(WeightDecoder(array=array))
    scaler = 0
    if array.block:
        (x_kinds, w_kinds), (x_bits, w_bits) = array.scale_kinds, array.scale_bits
        width = array.sum_bits
        scaler = size(BlockScale(width=width, x_kinds=x_kinds, w_kinds=w_kinds, x_bits=x_bits, w_bits=w_bits))
    return Counted(side, size(whole(name, side)), side * decoders, side * borders, side * scaler)


def element(name: str) -> int:
    """One element of an array."""
    array = array_of(name)
    x, w = array.shapes
    return size(
        OutputStationaryElement(activation=x, weight=w, sum_width=array.sum_bits, dropped=array.dropped)
    )


def _shares(notify: Notify) -> Row:
    lines, held = [], True
    values: dict[str, Any] = {}
    for name, most in ((PAIRS, SHARES["4-bit"]), (OLIVE, sum(SHARES.values()))):
        several = []
        for side in SIDES:
            several.append(counted(name, side))
            notify(f"{name}: {several[-1].text}")
        lines.append(f"{name}: element {element(name)}; " + "; ".join(one.text for one in several))
        values[name] = {str(one.side): one.values for one in several}
        held &= several[-1].share <= most
    for name in (PLAIN, DEQUANTISED):
        sizes = {str(side): size(whole(name, side)) for side in SIDES}
        lines.append(f"{name}: " + "; ".join(f"{side}×{side} {one:,}" for side, one in sizes.items()))
        notify(lines[-1])
        values[name] = sizes
    published = f"{SHARES['4-bit']} % of 4 bits and {SHARES['8-bit']} % of 8"
    return Row(
        key="decoded-array",
        what=f"share of the decoders in an array; LUT4 and two for each CCU2C, {' '.join(COUNTED.synthesis_options)}",
        measured="\n".join(lines),
        must=f"64×64: {PAIRS} {SHARES['4-bit']} %, {OLIVE} {sum(SHARES.values()):.1f} %",
        peers=f"OliVe, ISCA 2023: {published} of a 64×64 array in 22 nm",
        held=held,
        values=values,
    )


def _float_shares(notify: Notify) -> Row:
    lines, values = [], {}
    for name, sides in (("nvfp4", (SIDE,)), ("mxfp4", SIDES[:2]), (MX, SIDES[:2])):
        several = [counted(name, side) for side in sides]
        lines.append(f"{name}: element {element(name)}; " + "; ".join(one.text for one in several))
        notify(lines[-1])
        values[name] = {str(one.side): one.values for one in several}
    return Row(
        key="decoded-array",
        what=f"the same, blocks of 16 or more (16×16: {LONGER}), a scaler for each column; {' '.join(COUNTED.synthesis_options)}",
        measured="\n".join(lines),
        values=values,
    )


def stationary(name: str, side: int) -> DecodedArray:
    """That of ``array_of``, whose weights stay."""
    return replace(array_of(name, side), dataflow="weight-stationary")


def counted_stationary(name: str, side: int) -> Counted:
    """Of an array of decoded operands whose weights stay."""
    array = stationary(name, side)
    sides = tuple(zip((array.activations, array.weights), array.shapes, strict=True))
    decoders = sum(size(Decoder(formats=formats, shape=shape)) for formats, shape in sides)
    formats, shape = sides[0]
    borders = size(SlotDecoder(formats=formats, shape=shape)) + size(WeightDecoder(array=array))
    return Counted(side, size(StationaryMatrix(array=array)), side * decoders, side * borders)


def _stationary(notify: Notify) -> Row:
    lines, values = [], {}
    for name in (PAIRS, OLIVE):
        several = [counted_stationary(name, side) for side in SIDES[:2]]
        array = stationary(name, SIDE)
        x, w = array.shapes
        one = size(WeightStationaryElement(activation=x, weight=w, sum_width=array.sum_bits))
        lines.append(f"{name}: element {one}; " + "; ".join(each.text for each in several))
        notify(lines[-1])
        values[name] = {str(each.side): each.values for each in several}
    plain = {str(side): size(WeightStationaryArray(rows=side, columns=side)) for side in SIDES[:2]}
    lines.append(f"{PLAIN}: " + "; ".join(f"{side}×{side} {each:,}" for side, each in plain.items()))
    notify(lines[-1])
    return Row(
        key="decoded-array",
        what=f"the same, weight-stationary; {' '.join(COUNTED.synthesis_options)}",
        measured="\n".join(lines),
        values=values | {PLAIN: plain},
    )


def rows(notify: Notify) -> list[Row]:
    """Sizes of arrays, and the share of decoders."""
    return [_shares(notify), _float_shares(notify), _stationary(notify)]


def placed_rows(notify: Notify) -> list[Row]:
    """Arrays as placed."""
    integers = {
        PAIRS: (PAIRS, PLACED), f"{OLIVE}, DSPs": (OLIVE, BLOCKS), PLAIN: (PLAIN, PLACED),
        DEQUANTISED: (DEQUANTISED, PLACED), OLIVE: (OLIVE, PLACED),
    }  # fmt: skip
    floats = {"mxfp4": ("mxfp4", PLACED), "nvfp4": ("nvfp4", PLACED), MX: (MX, PLACED)}
    return [
        _placed("arrays of int32 sums", integers, notify, must=f"{PAIRS} less COMB than plain int8"),
        _placed("arrays of float32 sums, blocks of 16 or more, exact", floats, notify),
    ]
