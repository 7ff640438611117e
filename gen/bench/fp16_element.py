"""Area and clock of the bit-serial element for fp16 activations, beside the published one."""

from __future__ import annotations

from collections.abc import Callable

from fpga.synthesis import Flow, place, synthesise
from gen.bench.figures import Row
from gen.reproduce.bitmod import MAC_LUTS
from gen.rtlil import to_rtlil
from hw.pe.bit_serial_fp16 import FloatElement
from hw.pe.weight_format import WeightFormat

Notify = Callable[[str], None]

FLOW = Flow(dsp=False)
SEEDS = (1, 2, 3)
LUTS, CARRIES, CLOCK = 939, 116, 42.7
"""LUT4, CCU2C and MHz of the published element, whose group sum and dequantisation are unfinished."""
SHARE = 2.4
"""How many times fewer LUT4 for each product per cycle it must be."""
CYCLES = {
    "FP3, FP4": WeightFormat.FP4.terms,
    "INT5, INT6": WeightFormat.INT6.terms,
    "INT8": WeightFormat.INT8.terms,
}
"""Of a weight."""
LANES = 4


def _row(rounding: str, notify: Notify) -> Row:
    notify(f"{rounding}: synthesis")
    rtlil = to_rtlil(FloatElement(lanes=LANES, rounding=rounding), name="top")
    netlist = synthesise(rtlil, name="top", flow=FLOW)
    placed = place(netlist, seeds=SEEDS, progress=lambda seed: notify(f"{rounding}: placing, seed {seed}"))
    luts, carries = netlist.count("LUT4"), netlist.count("CCU2C")
    together = luts + 2 * carries
    each = luts * CYCLES["FP3, FP4"] / LANES
    rates = ", ".join(f"{LANES / cycles:.2f} ({names})" for names, cycles in CYCLES.items())
    return Row(
        key="fp16-element",
        what=f"bit-serial element for fp16 activations, {LANES} lanes, rounding {rounding}",
        measured=f"{luts} LUT4, {carries} CCU2C (LUT4 and two for each CCU2C: {together}), {netlist.count('TRELLIS_FF')} FF; "
        f"{placed.slowest:.1f} / {placed.median:.1f} / {placed.fastest:.1f} MHz (slowest, median, fastest of seeds "
        f"{', '.join(map(str, SEEDS))}); products per cycle: {rates}; {each:.0f} LUT4 for each product per cycle of FP4, "
        f"{MAC_LUTS / each:.2f} times fewer than the MAC; {FLOW.text}",
        must=f"{LUTS} LUT4, {LUTS + 2 * CARRIES} with carries, {2 * CLOCK:g} MHz (median), {SHARE:g} times fewer LUT4",
        aim="100 MHz",
        peers=f"BitMoD's published blocks, group sum and dequantisation unfinished: {LUTS} LUT4, {CARRIES} CCU2C "
        f"({LUTS + 2 * CARRIES}), 248 FF, {CLOCK:g} MHz; the same authors' fp16 MAC: {MAC_LUTS} LUT4, 65 CCU2C, 64 FF, "
        "30.4 MHz, 1 product per cycle (yc2367/BitMoD at b18cacb, synthesised earlier: same tools, options and part, seed 1)",
        held=luts <= LUTS
        and together <= LUTS + 2 * CARRIES
        and placed.median >= 2 * CLOCK
        and SHARE * each <= MAC_LUTS,
        values={
            **placed.as_dict(), "lut4": luts, "ccu2c": carries, "lut4_with_carries": together, "lut4_per_product": each,
        },
    )  # fmt: skip


def rows(notify: Notify) -> list[Row]:
    """With either rounding."""
    return [_row(rounding, notify) for rounding in ("nearest", "truncate")]
