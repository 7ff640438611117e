"""The whole accelerator around a table-lookup array of fp16 activations, in simulation."""

import pytest
from systems import check

from gen import cases

SMALL = (
    "array.columns=16", "bus.data_width=64", "memory.activations_kib=4", "memory.weights_kib=16",
    "memory.accumulators=64", "memory.parameters=32", "output.lanes=1",
)  # fmt: skip


@pytest.mark.parametrize("group", [32, pytest.param(128, marks=pytest.mark.long)])
def test_programs(group):
    """Results as of both golden models and cycles as predicted: groups of every width, raw and as fp16, in several tiles.

    Before long groups there is never a pause.
    """
    weights = ["bipolar4", "bipolar3", "bipolar2", "bipolar1", "binary"]
    work = cases.each_format(weights, [(3, 37, 7), (5, 100 + group, 35)], (1, 20))
    assert len(check("lut-fp16-m2n64k4", (*SMALL, f"array.group={group}"), work)) == len(work)
