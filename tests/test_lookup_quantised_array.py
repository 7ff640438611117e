# amaranth: UnusedElaboratable=no
"""Table-lookup arrays of tables quantised to int8 against the definition, bit for bit: formats, special values, gaps, resets."""

import numpy as np
import pytest
from lookup_bench import run
from lookup_quantised_bench import QuantisedPlan, array_for, random_group

ALL = ("zero4", "none4", "plain4m", "twos4", "zero2", "none2", "twos3", "plain2m")
SHAPES = {
    "two units": {},
    "one unit, one row": {"columns": 16, "rows": 1},
    "eight rows": {"columns": 16, "rows": 8, "group": 32},
}


def groups(random, array, count, *, chunks=0):
    """Formats in turn, half of them twice; every other of special values, and some with gaps and waits."""
    for i in range(count):
        parts = chunks or int(random.integers(1, array.group // array.chunk + 1))
        calm = i % 4 < 3
        yield random_group(
            random, array, array.variants[i // 2 % len(array.variants)], chunks=parts, special=i % 2 == 1,
            wait=0 if calm else int(random.integers(20)),
            gaps=() if calm else tuple(random.integers(4, size=parts).tolist()),
        )  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_shapes(shape):
    """Groups of random lengths, formats and operands, as close as may be but for a few."""
    array = array_for(*ALL, **shape)
    random, plan = np.random.default_rng(array.columns + array.rows), QuantisedPlan(array)
    for group in groups(random, array, 16):
        plan.add(group)
    run(plan, random=random)
