"""The systolic family's core, by dataflow."""

from __future__ import annotations

from amaranth.lib import wiring

from hw.array.geometry import Dataflow, Multiplier, systolic_geometry
from hw.array.output_core import OutputStationaryCore
from hw.array.sparse_digit.core import DigitCore
from hw.array.weight_core import WeightStationaryCore
from hw.design import Design


def systolic_core(
    *, design: Design, dataflow: Dataflow, multiplier: Multiplier = "native"
) -> wiring.Component:
    """The core of ``dataflow``, "output-stationary" or "weight-stationary", with the members of ``core_members``.

    Raises
    ------
    ValueError
        ``dataflow`` is unknown, or has no such multiplier; the design's geometry is not that of such an array, or
        ``accumulator_rows`` is not a power of
        two, 2 or more.
    """
    geometry, accumulator_rows = design.geometry, design.accumulator_rows
    rows = geometry.tile_depth if dataflow == "weight-stationary" else geometry.tile_rows
    if multiplier != "native" and dataflow != "output-stationary":
        raise ValueError(f"multiplier must be native when dataflow is {dataflow}, not {multiplier!r}")
    expected = systolic_geometry(
        rows=rows,
        columns=geometry.columns,
        data_bytes=design.data_bytes,
        dataflow=dataflow,
        multiplier=multiplier,
    )
    if geometry != expected:
        raise ValueError(f"geometry must be {expected}, not {geometry}")
    if accumulator_rows < 2 or accumulator_rows & (accumulator_rows - 1):
        raise ValueError(f"accumulator_rows must be a power of two, 2 or more, not {accumulator_rows!r}")
    if multiplier == "sparse_digit":
        return DigitCore(design=design)
    if dataflow == "output-stationary":
        return OutputStationaryCore(design=design, multiplier=multiplier)
    return WeightStationaryCore(design=design)
