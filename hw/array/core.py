"""The systolic family's core, by dataflow."""

from __future__ import annotations

from functools import partial

from amaranth.lib import wiring

from hw.array.carry_save import CarrySaveOutputArray, CarrySaveWeightArray
from hw.array.cube import CubeArray
from hw.array.geometry import MULTIPLIERS, Dataflow, Multiplier, check_elements, systolic_geometry
from hw.array.output_core import OutputStationaryCore
from hw.array.output_stationary import OutputStationaryArray
from hw.array.packed import PackedOutputArray, PackedWeightArray
from hw.array.sparse_digit.core import DigitCore
from hw.array.weight_core import WeightStationaryCore
from hw.array.weight_stationary import WeightStationaryArray
from hw.design import Design
from hw.pe.cube_times import output_element
from hw.timing import CORNER_TURN, DIGIT_ENCODER, WEIGHT_ELEMENTS

OUTPUT_ARRAYS: dict[Multiplier, type[OutputStationaryArray]] = {
    "native": OutputStationaryArray,
    "carry_save": CarrySaveOutputArray,
    "dsp": PackedOutputArray,
}
"""Of elements that take one step of K at a time; the others are ``CubeArray``."""

WEIGHT_ARRAYS: dict[Multiplier, type[WeightStationaryArray]] = {
    "native": WeightStationaryArray,
    "carry_save": CarrySaveWeightArray,
    "dsp": PackedWeightArray,
}


def systolic_core(
    *, design: Design, dataflow: Dataflow, multiplier: Multiplier = "native"
) -> wiring.Component:
    """The core of ``dataflow``, "output-stationary" or "weight-stationary", with the members of ``core_members``.

    Raises
    ------
    ValueError
        There is no such array (``hw.array.geometry.check_elements``); the design's geometry is not that of it, or
        ``accumulator_rows`` is not a power of two, 2 or more.
    """
    geometry, accumulator_rows = design.geometry, design.accumulator_rows
    rows, depth = geometry.tile_rows, geometry.tile_depth
    if dataflow == "weight-stationary":
        rows, depth = depth, 1
    elif multiplier in MULTIPLIERS:
        depth //= MULTIPLIERS[multiplier].group
    check_elements(multiplier, columns=geometry.columns, dataflow=dataflow, depth=depth)
    expected = systolic_geometry(
        rows=rows,
        columns=geometry.columns,
        data_bytes=design.data_bytes,
        dataflow=dataflow,
        multiplier=multiplier,
        depth=depth,
        single=geometry.single,
    )
    if geometry != expected:
        raise ValueError(f"geometry must be {expected}, not {geometry}")
    if accumulator_rows < 2 or accumulator_rows & (accumulator_rows - 1):
        raise ValueError(f"accumulator_rows must be a power of two, 2 or more, not {accumulator_rows!r}")
    if dataflow == "weight-stationary":
        stays = WEIGHT_ARRAYS[multiplier]
        return WeightStationaryCore(design=design, array=stays, element=WEIGHT_ELEMENTS[multiplier])
    if multiplier == "sparse_digit":
        return DigitCore(design=design)
    element = output_element(multiplier, depth)
    if depth == 1 and multiplier in OUTPUT_ARRAYS:
        return OutputStationaryCore(design=design, array=OUTPUT_ARRAYS[multiplier], element=element)
    return OutputStationaryCore(
        design=design,
        array=partial(CubeArray, depth=depth, multiplier=multiplier),
        element=element,
        step_bytes=depth,
        # Encoders stand above the columns.
        weights_late=CORNER_TURN - (DIGIT_ENCODER if multiplier == "same_weight" else 0),
    )
