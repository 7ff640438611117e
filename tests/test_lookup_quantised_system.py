"""The whole accelerator around a table-lookup array of quantised tables, in simulation."""

import pytest
from systems import check

from gen import cases

PRESET = "lut-int8tables-m2n64k4"
SMALL = (
    "array.columns=32", "bus.data_width=64", "memory.activations_kib=4", "memory.weights_kib=16",
    "memory.accumulators=128", "memory.parameters=64", "output.lanes=1",
)  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("group", [32, 64])
def test_programs(group):
    """Results as of both golden models and cycles as predicted: each format, raw and as fp16, groups and parts of them."""
    weights = ["int4", "int3-asym", "ternary", "bipolar2"] + ["q4_0", "q4_1"] * (group == 32)
    work = cases.each_format(weights, [(3, 37, 7), (5, 100 + group, 35)], (1, 20))
    assert len(check(PRESET, (*SMALL, f"array.group={group}"), work)) == len(work)
