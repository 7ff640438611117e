"""The systolic family's core, by dataflow."""

from __future__ import annotations

from amaranth.lib import wiring

from hw.array.output_core import OutputStationaryCore
from hw.array.weight_core import WeightStationaryCore
from hw.design import Design


def systolic_core(*, design: Design, dataflow: str) -> wiring.Component:
    """The core of ``dataflow``, "output-stationary" or "weight-stationary", with the members of ``core_members``."""
    if dataflow == "output-stationary":
        return OutputStationaryCore(design=design)
    if dataflow == "weight-stationary":
        return WeightStationaryCore(design=design)
    raise ValueError(f"dataflow must be output-stationary or weight-stationary, not {dataflow!r}")
