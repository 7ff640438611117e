# amaranth: UnusedElaboratable=no
"""The table-lookup array against the golden model: every offset and width, extremes, gaps, groups as close as may be, resets."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lookup_bench import FORMATS, WHOLE, Plan, array_for, random_group, run
from mapped import run_component, run_mapped
from test_block_ram import number, synthesised

from hw.array.lookup.array import LookupMatrix
from hw.array.lookup.column import LookupColumn
from hw.array.lookup.ternary import TernaryColumn

pytestmark = pytest.mark.long

SHAPES = {
    "two of a table": {"k": 2, "groups_per_lane": 4, "outputs": 2, "columns": 6, "rows": 3},
    "one column": {"k": 2, "groups_per_lane": 16, "outputs": 2, "columns": 2, "rows": 1},
    "eight rows": {"k": 4, "groups_per_lane": 2, "outputs": 8, "columns": 8, "rows": 8},
    "odd outputs": {"k": 2, "groups_per_lane": 8, "outputs": 5, "columns": 15, "rows": 2},
    "sixteen outputs": {"k": 4, "groups_per_lane": 4, "outputs": 16, "columns": 32, "rows": 2},
    "many lookups": {"k": 4, "groups_per_lane": 16, "outputs": 8, "columns": 16, "rows": 2, "group": 64},
}
"""Of arrays, which take one-bit weights."""
VARIANTS = [
    ("none1",),
    ("twos1",),
    ("twos2",),
    ("zero2", "twos1"),
    ("none3", "none2"),
    ("zero3", "none2", "twos4"),
    ("zero4", "none4", "twos4", "none1"),
]


def groups(random, array, count, *, chunks=0):
    """Of formats in turn, half of them twice; every other pair of extremes, and some with gaps and waits."""
    for i in range(count):
        parts = chunks or int(random.integers(1, array.group // array.chunk + 1))
        calm = i % 4 < 3
        yield random_group(
            random, array, array.variants[i // 2 % len(array.variants)], chunks=parts, extreme=i % 4 > 1,
            wait=0 if calm else int(random.integers(20)),
            gaps=() if calm else tuple(random.integers(4, size=parts).tolist()),
        )  # fmt: skip


CASES = {f"{name}, all": (shape, VARIANTS[-1]) for name, shape in SHAPES.items()}
CASES |= {f"{' '.join(names)}": (SHAPES["two of a table"], names) for names in VARIANTS[:-1]}
CASES |= {"one bit, sixteen outputs": (SHAPES["sixteen outputs"], ("none1", "twos1", "zero1"))}


@pytest.mark.parametrize(("shape", "variants"), CASES.values(), ids=CASES)
def test_groups(shape, variants):
    """Of random lengths, formats and operands, as close as their scales allow but for a few."""
    array = array_for(*variants, **shape)
    random = np.random.default_rng(len(variants) * 100 + array.chunk)
    plan = Plan(array)
    for group in groups(random, array, 8):
        plan.add(group)
    run(plan, random=random)


@pytest.mark.parametrize(
    "shape", [*SHAPES.values(), {"k": 4, "outputs": 2, "columns": 4}], ids=[*SHAPES, "two outputs"]
)
def test_direct(shape):
    """Ternary weights without tables, as :func:`test_groups`."""
    array = array_for("twos2", ternary="direct", **shape)
    random = np.random.default_rng(array.chunk)
    plan = Plan(array)
    for group in groups(random, array, 8):
        plan.add(group)
    run(plan, random=random)


@pytest.mark.parametrize("bits", [1, 2, 3, 4])
@pytest.mark.parametrize("offset", ["none", "twos", "zero"])
@pytest.mark.parametrize("apart", [True, False])
def test_extremes(offset, bits, apart):
    """Whole groups of the greatest and least sums, alone and in an array of all formats."""
    name = f"{offset}{bits}"
    array = array_for(*([name] if apart else [name, "zero4", "none4", "twos4"]), columns=8, rows=2)
    plan, random = Plan(array), np.random.default_rng(bits)
    for i in range(4):
        group = random_group(random, array, FORMATS[name], chunks=array.group // array.chunk)
        group.activations[:] = [[-128], [127]]
        group.codes[:] = ((1 << bits) - 1) * (i % 2)
        group.zeros[:] = ((1 << bits) - 1) * (i // 2)
        group.scales[:] = 255
        plan.add(group)
    run(plan, random=random)


@settings(max_examples=8)
@given(
    k=st.sampled_from([2, 4]), lookups=st.sampled_from([4, 8]), outputs=st.integers(2, 9), banks=st.integers(1, 2),
    rows=st.integers(1, 3), variants=st.lists(st.sampled_from(WHOLE), min_size=1, max_size=3, unique=True),
    seed=st.integers(0, 2**32 - 1), count=st.integers(1, 4),
)  # fmt: skip
def test_any_array(k, lookups, outputs, banks, rows, variants, seed, count):
    least = min(FORMATS[name].bits for name in variants)
    outputs = max(outputs, -(-(1 << k - 1) // least))
    array = array_for(
        *variants, k=k, groups_per_lane=lookups, outputs=outputs, rows=rows, columns=outputs * banks, group=64
    )
    plan, random = Plan(array), np.random.default_rng(seed)
    for group in groups(random, array, count):
        plan.add(group)
    run(plan, random=random)


@pytest.mark.parametrize("into", range(0, 80, 13))
@pytest.mark.parametrize(
    "array",
    [array_for("zero3", "none3", "twos2", rows=3), array_for("twos2", ternary="direct", rows=3)],
    ids=["looked up", "direct"],
)
def test_reset(array, into):
    """In the middle of groups: those after it are right all the same."""
    before, after, random = Plan(array), Plan(array), np.random.default_rng(into)
    for plan in (before, after):
        for group in groups(random, array, 4, chunks=2):
            plan.add(group)
    begin = 20 + into
    run(before.then(after, begin=begin, end=begin + 2), random=random, reset=(begin, begin + 2))


def stimulus_of(component, random, cycles):
    """Random inputs by port."""
    found = {}
    for path, member, value in component.signature.flatten(component):
        if member.flow.name == "In":
            found["_".join(map(str, path))] = len(value.as_value() if hasattr(value, "as_value") else value)
    return [
        {"rst": int(cycle % 89 < 2)} | {name: number(random, width) for name, width in found.items()}
        for cycle in range(cycles)
    ]


SMALL = {"k": 2, "groups_per_lane": 4, "outputs": 2, "columns": 4, "rows": 2}
LOOKED_UP, DIRECT = array_for("zero3", "none2", **SMALL), array_for("twos2", ternary="direct", **SMALL)


@pytest.mark.parametrize(
    ("make", "array"),
    [(LookupColumn, LOOKED_UP), (LookupMatrix, LOOKED_UP), (TernaryColumn, DIRECT), (LookupMatrix, DIRECT)],
)
def test_mapped(make, array):
    """The synthesised cells do what the component does, whatever the operands."""
    module, _ = synthesised(make(array=array))
    stimulus = stimulus_of(make(array=array), np.random.default_rng(3), 300)
    assert run_mapped(module, stimulus) == run_component(make(array=array), stimulus)
