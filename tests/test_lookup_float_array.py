# amaranth: UnusedElaboratable=no
"""Table-lookup arrays of fp16 scales and minimums against the golden model, bit by bit: every format, shape and distance."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lookup_bench import FORMATS, Plan, array_for, random_group, run
from mapped import run_component, run_mapped
from test_block_ram import synthesised
from test_lookup_array import groups, stimulus_of

from hw.array.lookup.array import LookupMatrix
from hw.array.lookup.float_column import FloatColumn, Halves
from hw.array.lookup.geometry import LookupFormat, Offset

pytestmark = pytest.mark.long

SHAPES = {
    "one column": {"k": 2, "groups_per_lane": 16, "outputs": 2, "columns": 2, "rows": 1},
    "eight rows": {"k": 4, "groups_per_lane": 4, "outputs": 8, "columns": 8, "rows": 8},
    "odd outputs": {"k": 2, "groups_per_lane": 8, "outputs": 5, "columns": 15, "rows": 2},
    "sixteen outputs": {"k": 4, "groups_per_lane": 4, "outputs": 16, "columns": 32, "rows": 1},
    "one word of scales": {
        "k": 4,
        "groups_per_lane": 32,
        "outputs": 8,
        "columns": 16,
        "rows": 2,
        "group": 256,
    },
}
ALL = ("zero4", "none4", "plain4m", "twos4", "plain1m", "none1")


def float_array(*names, **sizes):
    return array_for(*names, **({"groups_per_lane": 4, "scales": "fp16"} | sizes))


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_shapes(shape):
    """Groups of random lengths, formats and operands, as close as may be but for a few."""
    array = float_array(*ALL, **shape)
    random, plan = np.random.default_rng(array.chunk), Plan(array)
    for group in groups(random, array, 12):
        plan.add(group)
    run(plan, random=random)


@pytest.mark.parametrize("bits", [1, 2, 3, 4])
@pytest.mark.parametrize("name", ["twos", "zero", "plain", "plain{}m", "none"])
def test_format(name, bits):
    """Whole groups and single chunks, of one format alone."""
    name = name.format(bits) if "{" in name else f"{name}{bits}"
    array = float_array(name, columns=8, rows=3)
    random, plan = np.random.default_rng(bits), Plan(array)
    for i in range(5):
        chunks = 1 if i in (1, 2) else array.group // array.chunk
        plan.add(random_group(random, array, FORMATS[name], chunks=chunks, extreme=i > 2))
    run(plan, random=random)


@pytest.mark.parametrize("names", [("plain4m", "zero3m"), ("twos2m", "plain4", "none3"), ("none3", "none1")])
def test_extremes(names):
    """The greatest and least sums of activations and products."""
    array = float_array(*names, columns=8, group=256)
    random, plan = np.random.default_rng(len(names)), Plan(array)
    for i in range(2 * len(names)):
        format = array.variants[i // 2]
        group = random_group(random, array, format, chunks=array.group // array.chunk, extreme=True)
        group.activations[:] = [[-128], [127]]
        group.codes[:] = ((1 << format.bits) - 1) * (i % 2)
        group.zeros[:] = ((1 << format.bits) - 1) * (1 - i % 2)
        plan.add(group)
    run(plan, random=random)


@settings(max_examples=8)
@given(
    k=st.sampled_from([2, 4]), lookups=st.sampled_from([8, 16]), outputs=st.integers(2, 16), banks=st.integers(1, 2),
    rows=st.integers(1, 4), variants=st.lists(st.sampled_from(sorted(FORMATS)), min_size=1, max_size=3, unique=True),
    seed=st.integers(0, 2**32 - 1), count=st.integers(1, 4),
)  # fmt: skip
def test_any_array(k, lookups, outputs, banks, rows, variants, seed, count):
    least = min(FORMATS[name].bits for name in variants)
    outputs = max(outputs, -(-(1 << k - 1) // least))
    array = float_array(
        *variants, k=k, groups_per_lane=lookups, outputs=outputs, rows=rows, columns=outputs * banks, group=64
    )
    plan, random = Plan(array), np.random.default_rng(seed)
    for group in groups(random, array, count):
        plan.add(group)
    run(plan, random=random)


@pytest.mark.parametrize("into", range(0, 80, 13))
def test_reset(into):
    """In the middle of groups: those after it are right all the same."""
    array = float_array("zero3", "plain3m", "none2", rows=3)
    before, after, random = Plan(array), Plan(array), np.random.default_rng(into)
    for plan in (before, after):
        for group in groups(random, array, 4, chunks=2):
            plan.add(group)
    begin = 20 + into
    run(before.then(after, begin=begin, end=begin + 2), random=random, reset=(begin, begin + 2))


@pytest.mark.parametrize("make", [Halves, FloatColumn, pytest.param(LookupMatrix, marks=pytest.mark.long)])
def test_mapped(make):
    """The synthesised cells do what the component does, whatever the operands."""
    array = float_array("plain3m", "none2", k=2, groups_per_lane=8, outputs=2, columns=4)
    module, _ = synthesised(make(array=array))
    stimulus = stimulus_of(make(array=array), np.random.default_rng(3), 300)
    assert run_mapped(module, stimulus) == run_component(make(array=array), stimulus)


@pytest.mark.parametrize(
    ("names", "sizes", "error"),
    [
        (("plain4",), {"scales": "int8"}, "scales must be fp16"),
        (("zero4m",), {"scales": "int8"}, "scales must be fp16"),
        (("zero4",), {"scales": "fp32"}, "scales must be one of int8, fp16, not 'fp32'"),
        (("zero4",), {"groups_per_lane": 2}, "groups_per_lane must be at least 4 .*scales of fp16, not 2"),
    ],
)
def test_errors(names, sizes, error):
    with pytest.raises(ValueError, match=error):
        float_array(*names, **sizes)


def test_minimums_of_doubled_sums_only():
    """Else the sums of chunks of activations would be taken off the sums of products."""
    with pytest.raises(ValueError, match="offset must be TWOS, ZERO or PLAIN with minimums, not NONE"):
        replace(float_array("none2"), variants=[LookupFormat(bits=2, offset=Offset.NONE, minimum=True)])
