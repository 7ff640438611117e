"""Whole systolic arrays with each multiplier, in both dataflows: area and clock on an ECP5, out of context."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

from fpga.measure import measure
from fpga.synthesis import Placed
from gen.bench.figures import Row
from hw.array.core import ARRAYS
from hw.array.geometry import MULTIPLIERS, Dataflow, Multiplier

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
    for multiplier, arrays in ARRAYS.items():
        for place, dataflow in enumerate(get_args(Dataflow)):
            notify(f"{dataflow}, {multiplier}")
            result.append(row(multiplier, dataflow, measure(arrays[place](rows=SIZE, columns=SIZE))))
    return result
