"""The systolic family's core, by dataflow."""

from __future__ import annotations

from amaranth.lib import wiring

from hw.array.carry_save import CarrySaveOutputArray, CarrySaveWeightArray
from hw.array.geometry import Dataflow, Multiplier, systolic_geometry
from hw.array.output_core import OutputStationaryCore
from hw.array.output_stationary import OutputStationaryArray
from hw.array.packed import PackedOutputArray, PackedWeightArray
from hw.array.weight_core import WeightStationaryCore
from hw.array.weight_stationary import WeightStationaryArray
from hw.design import Design
from hw.timing import OUTPUT_ELEMENTS, WEIGHT_ELEMENTS

ARRAYS: dict[Multiplier, tuple[type[OutputStationaryArray], type[WeightStationaryArray]]] = {
    "native": (OutputStationaryArray, WeightStationaryArray),
    "carry_save": (CarrySaveOutputArray, CarrySaveWeightArray),
    "dsp": (PackedOutputArray, PackedWeightArray),
}
"""Output-stationary and weight-stationary."""


def systolic_core(
    *, design: Design, dataflow: Dataflow, multiplier: Multiplier = "native"
) -> wiring.Component:
    """The core of ``dataflow``, "output-stationary" or "weight-stationary", with the members of ``core_members``.

    Raises
    ------
    ValueError
        ``dataflow`` or ``multiplier`` is unknown; the design's geometry is not that of such an array, or
        ``accumulator_rows`` is not a power of two, 2 or more.
    """
    geometry, accumulator_rows = design.geometry, design.accumulator_rows
    rows = geometry.tile_depth if dataflow == "weight-stationary" else geometry.tile_rows
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
    output, weight = ARRAYS[multiplier]
    if dataflow == "output-stationary":
        return OutputStationaryCore(design=design, array=output, element=OUTPUT_ELEMENTS[multiplier])
    return WeightStationaryCore(design=design, array=weight, element=WEIGHT_ELEMENTS[multiplier])
