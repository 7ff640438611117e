"""The whole accelerator around a table-lookup array of fp16 activations, in simulation."""

import pytest
from systems import check

from gen import cases

SMALL = (
    "array.columns=16", "bus.data_width=64", "memory.activations_kib=4", "memory.weights_kib=16",
    "memory.accumulators=64", "memory.parameters=32", "output.lanes=1",
)  # fmt: skip


WEIGHTS = ["bipolar4", "int4", "int3-asym", "bipolar1", "ternary", "binary"]
"""Those that are halved and those that are not, one after the other."""


@pytest.mark.long
@pytest.mark.parametrize("group", [32, 128])
def test_programs(group):
    """Results as of both golden models and cycles as predicted: groups of every width, raw and as fp16, in several tiles.

    Before long groups there is never a pause.
    """
    work = cases.each_format(WEIGHTS, [(3, 37, 7), (5, 100 + group, 35)], (1, 20))
    assert len(check("lut-fp16-m2n64k4", (*SMALL, f"array.group={group}"), work)) == len(work)


@pytest.mark.long
@pytest.mark.parametrize("name", ["twos", "any"])
def test_formats_alone(name):
    """Without bipolar weights all sums are halved; ``any``: GGUF's own, and one that has zero points."""
    weights = {"twos": ["int2", "ternary"], "any": ["q4_0", "int3-asym", "bipolar2"]}[name]
    work = cases.each_format(weights, [(1, 1, 1), (4, 75, 20)], (1,))
    own = f"array.weights={weights}".replace("'", '"')
    assert len(check("lut-fp16-m2n64k4", (*SMALL, "array.group=32", "array.rows=1", own), work)) == len(work)
