# amaranth: UnusedElaboratable=no
"""The table-lookup array of fp16 activations against the definition, bit for bit: planes, special values, gaps, resets."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lookup_bench import run
from lookup_fp16_bench import FloatPlan, array_for, random_group
from mapped import run_component, run_mapped
from test_block_ram import synthesised
from test_lookup_array import stimulus_of

from hw.array.lookup.geometry import LookupArray, LookupFormat, Offset
from hw.array.lookup.half_column import HalfColumn

pytestmark = pytest.mark.long

SHAPES = {
    "two units": {},
    "one unit, one row": {"columns": 8, "rows": 1},
    "eight rows": {"columns": 16, "rows": 8},
    "odd outputs": {"columns": 18, "outputs": 9, "rows": 3},
    "sixteen outputs": {"columns": 32, "outputs": 16},
}


def groups(random, array, count, *, chunks=0):
    """Of widths in turn, half of them twice; every other of special values, and some with gaps and waits."""
    for i in range(count):
        parts = chunks or int(random.integers(1, array.group // array.chunk + 1))
        calm = i % 4 < 3
        yield random_group(
            random, array, array.variants[i // 2 % len(array.variants)], chunks=parts, special=i % 2 == 1,
            wait=0 if calm else int(random.integers(20)),
            gaps=() if calm else tuple(random.integers(4, size=parts).tolist()),
        )  # fmt: skip


CASES = {name: (shape, (4, 1, 2, 3)) for name, shape in SHAPES.items()}
CASES |= {"one plane": ({}, (1,)), "two planes": ({}, (2,))}
CASES |= {f"{name}, with offsets": (shape, ("zero3", 2, "twos2", "zero4")) for name, shape in SHAPES.items()}
CASES |= {"doubled": ({}, ("twos4", "zero1", "plain2")), "one plane, doubled": ({}, ("twos1",))}


@pytest.mark.parametrize(("shape", "bits"), CASES.values(), ids=CASES)
def test_groups(shape, bits):
    """Of random lengths, widths and operands, as close as their results allow but for a few."""
    array = array_for(*bits, **shape)
    random = np.random.default_rng(array.columns + len(bits))
    plan = FloatPlan(array)
    for group in groups(random, array, 8):
        plan.add(group)
    run(plan, random=random)


def test_the_shortest_groups():
    """Of a chunk of one plane, one after the other: sums and scales wait for their turn, and no others take their places."""
    for outputs, formats in product((8, 16), ((1,), ("twos1",), (1, "zero1"))):
        array = array_for(*formats, outputs=outputs, columns=2 * outputs, rows=8, data_bytes=4)
        plan, random = FloatPlan(array), np.random.default_rng(outputs)
        for group in groups(random, array, 6, chunks=1):
            plan.add(group)
        run(plan, random=random)


ANY = st.sampled_from([f"{offset.name.lower()}{bits}" for offset in Offset for bits in (1, 2, 3, 4)])


@settings(max_examples=6)
@given(
    outputs=st.integers(8, 16), units=st.integers(1, 2), rows=st.integers(1, 4), seed=st.integers(0, 2**32 - 1),
    formats=st.lists(ANY, min_size=1, max_size=3, unique=True), count=st.integers(1, 4),
)  # fmt: skip
def test_any_array(outputs, units, rows, seed, formats, count):
    array = array_for(*formats, outputs=outputs, columns=2 * units * outputs, rows=rows)
    plan, random = FloatPlan(array), np.random.default_rng(seed)
    for group in groups(random, array, count):
        plan.add(group)
    run(plan, random=random)


@pytest.mark.parametrize("into", range(0, 120, 23))
def test_reset(into):
    """In the middle of groups: those after it are right all the same."""
    array = array_for(3, "zero2", rows=3)
    before, after, random = FloatPlan(array), FloatPlan(array), np.random.default_rng(into)
    for plan in (before, after):
        for group in groups(random, array, 4, chunks=2):
            plan.add(group)
    begin = 20 + into
    run(before.then(after, begin=begin, end=begin + 2), random=random, reset=(begin, begin + 2))


def test_mapped():
    """The synthesised cells do what the component does, whatever the operands."""
    array = array_for(3, "twos1", rows=2)
    module, _ = synthesised(HalfColumn(array=array))
    stimulus = stimulus_of(HalfColumn(array=array), np.random.default_rng(3), 200)
    assert run_mapped(module, stimulus) == run_component(HalfColumn(array=array), stimulus)


@pytest.mark.parametrize(("change", "message"), [
    ({"activations": "fp8"}, "activations must be one of int8, fp16, not 'fp8'"),
    ({"scales": "int8"}, "scales must be fp16 with fp16 activations, not int8"),
    ({"k": 2}, "k must be 4 with fp16 activations, not 2"),
    ({"groups_per_lane": 2}, "groups_per_lane must be 1 with fp16 activations, not 2"),
    ({"outputs": 4}, r"outputs must be at least 8 with fp16 activations \(the cycles of a sum\), not 4"),
    ({"variants": [LookupFormat(bits=2, offset=Offset.PLAIN, minimum=True)]},
     r"variants must be without minimums with fp16 activations, not LookupFormat\(bits=2, .*minimum=True\)"),
])  # fmt: skip
def test_refused(change, message):
    sizes = {
        "rows": 2,
        "columns": 16,
        "k": 4,
        "groups_per_lane": 1,
        "outputs": 8,
        "group": 32,
        "data_bytes": 8,
    }
    given = sizes | {
        "variants": [LookupFormat(bits=2, offset=Offset.NONE)],
        "scales": "fp16",
        "activations": "fp16",
    }
    with pytest.raises(ValueError, match=message):
        LookupArray(**(given | change))
