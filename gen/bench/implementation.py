"""Area and clock on an ECP5, out of context."""

from __future__ import annotations

from collections.abc import Callable

from amaranth.lib import wiring

from fpga.measure import measure
from fpga.synthesis import Placed
from gen import config
from gen.bench.figures import Row
from gen.generate import accelerator
from hw.array.output_stationary import OutputStationaryArray

Notify = Callable[[str], None]

SEEDS = (1, 2, 3)
LUTS, CLOCK, SHARE = 4354, 117.0, 0.9
"""Most LUTs and least MHz of the array; the accelerator's clock to the array's."""


def _placed(what: str, component: wiring.Component, notify: Notify) -> Placed:
    notify(f"{what}: synthesis")
    return measure(
        component, name="top", seeds=SEEDS, progress=lambda seed: notify(f"{what}: placing, seed {seed}")
    )


def _text(placed: Placed) -> str:
    area = placed.area
    return (
        f"{area.luts:,} LUT, {area.flip_flops:,} FF, {area.dsps} DSP, {area.block_rams} BRAM; "
        f"{placed.slowest:.1f} / {placed.median:.1f} / {placed.fastest:.1f} MHz "
        f"(slowest, median, fastest of seeds {', '.join(map(str, placed.seeds))}); {placed.flow.text}"
    )


def rows(notify: Notify) -> list[Row]:
    """The array alone, its core, and the whole accelerator."""
    loaded = config.load("systolic-8x8")
    design = loaded.design()
    array = _placed("array", OutputStationaryArray(rows=8, columns=8), notify)
    core = _placed("core", loaded.instance.core(design), notify)
    whole = _placed("accelerator", accelerator(loaded), notify)
    share = whole.median / array.median
    return [
        Row(
            key="clock",
            what="8×8 output-stationary array with DSPs",
            measured=_text(array),
            must=f"{LUTS:,} LUT, {CLOCK:g} MHz (median)",
            aim="3,500 LUT, 140 MHz",
            peers="CFU Playground 4,354 LUT, 116.7 MHz; axis_sa 6,516 LUT, 93.8 MHz; Gemmini WS with its delays 4,053 LUT, "
            "77.4 MHz (own run: same tools and part, default flags, seed 1)",
            held=array.area.luts <= LUTS and array.median >= CLOCK,
            values=array.as_dict(),
        ),
        Row(
            key="clock",
            what="the core around it: setup, sequencer, address walks, corner turn",
            measured=_text(core),
            values=core.as_dict(),
        ),
        Row(
            key="clock",
            what="whole accelerator, systolic-8x8",
            measured=f"{share:.0%} of the array's median clock; {_text(whole)}",
            must=f"{SHARE:.0%} of the array's clock",
            peers="VTA's core, 4×4: 12,761 LUT, 36.1 MHz, limited by its store unit (own run)",
            held=share >= SHARE,
            values={**whole.as_dict(), "share": share},
        ),
    ]
