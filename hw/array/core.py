"""The systolic family's core, by dataflow."""

from __future__ import annotations

from functools import partial

from amaranth.lib import wiring

from hw.array.cube import CubeArray
from hw.array.geometry import Dataflow, Multiplier, check_multiplier, systolic_geometry
from hw.array.output_core import OutputStationaryCore
from hw.array.output_stationary import OutputStationaryArray
from hw.array.weight_core import WeightStationaryCore
from hw.design import Design
from hw.pe.cube_times import output_element
from hw.timing import CORNER_TURN, DIGIT_ENCODER


def systolic_core(
    *, design: Design, dataflow: Dataflow, multiplier: Multiplier = "native"
) -> wiring.Component:
    """The core of ``dataflow``, "output-stationary" or "weight-stationary", with the members of ``core_members``.

    Raises
    ------
    ValueError
        ``dataflow`` is unknown, or has no such multiplier; the design's geometry is not that of such an array, or
        ``accumulator_rows`` is not a power of two, 2 or more.
    """
    geometry, accumulator_rows = design.geometry, design.accumulator_rows
    rows, depth = geometry.tile_rows, geometry.tile_depth
    if dataflow == "weight-stationary":
        rows, depth = depth, 1
    expected = systolic_geometry(
        rows=rows, columns=geometry.columns, data_bytes=design.data_bytes, dataflow=dataflow, depth=depth
    )
    if geometry != expected:
        raise ValueError(f"geometry must be {expected}, not {geometry}")
    if accumulator_rows < 2 or accumulator_rows & (accumulator_rows - 1):
        raise ValueError(f"accumulator_rows must be a power of two, 2 or more, not {accumulator_rows!r}")
    check_multiplier(multiplier, dataflow=dataflow, depth=depth)
    if dataflow == "weight-stationary":
        return WeightStationaryCore(design=design)
    element = output_element(multiplier, depth)
    if depth == 1 and multiplier != "same_weight":
        array = partial(OutputStationaryArray, multiplier=multiplier)
        return OutputStationaryCore(design=design, array=array, element=element)
    return OutputStationaryCore(
        design=design,
        array=partial(CubeArray, depth=depth, multiplier=multiplier),
        element=element,
        step_bytes=depth,
        # Encoders stand above the columns.
        weights_late=CORNER_TURN - (DIGIT_ENCODER if multiplier == "same_weight" else 0),
    )
