"""Whole systolic arrays with each multiplier, in both dataflows: area and clock on an ECP5, out of context."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from amaranth.lib import wiring

from fpga.measure import measure
from fpga.synthesis import Placed
from gen.bench.figures import Row
from hw.array.core import OUTPUT_ARRAYS, WEIGHT_ARRAYS
from hw.array.geometry import MULTIPLIERS, Multiplier

Notify = Callable[[str], None]

SIZE = 8
"""Rows and columns."""


def row(multiplier: Multiplier, dataflow: str, placed: Placed) -> Row:
    """A row of the table."""
    area, sharing = placed.area, MULTIPLIERS[multiplier]
    most = 0 if multiplier == "carry_save" else SIZE * SIZE // sharing.together
    return Row(
        key="systolic-multipliers",
        what=f"{SIZE}×{SIZE} {dataflow} array, {multiplier}, int8 x int{sharing.weight_bits}; {placed.flow.text}",
        measured=f"{area.luts:,} LUT, {area.flip_flops:,} FF, {area.dsps} DSP; {placed.median:.0f} MHz",
        must=f"at most {most} DSP",
        held=area.dsps <= most,
        values={"multiplier": multiplier, "dataflow": dataflow, **placed.as_dict()},
    )


def rows(notify: Notify) -> list[Row]:
    """A row for each array; one seed."""
    result = []
    arrays: Mapping[Multiplier, Callable[..., wiring.Component]]
    for dataflow, arrays in (("output-stationary", OUTPUT_ARRAYS), ("weight-stationary", WEIGHT_ARRAYS)):
        for multiplier, array in arrays.items():
            notify(f"{dataflow}, {multiplier}")
            result.append(row(multiplier, dataflow, measure(array(rows=SIZE, columns=SIZE))))
    return result
