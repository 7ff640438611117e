# amaranth: UnusedElaboratable=no
"""The table-lookup core of tables quantised to int8 against its golden execute and its cycle law, bit for bit and cycle for
cycle."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from core_bench import check_core, check_halts
from lookup_core_bench import command, core_of, design_for
from lookup_quantised_bench import array_for
from systolic_bench import run
from test_lookup_core import work_of
from test_systolic_model import contents

from sim.families.lookup import LookupModel

pytestmark = pytest.mark.long

SHAPES = [
    {"formats": ("zero4", "plain2m"), "data_bytes": 4},
    {"formats": ("none2", "twos3"), "columns": 16, "rows": 1, "group": 32},
    {"formats": ("twos4",), "columns": 16, "outputs": 8, "rows": 5, "data_bytes": 64},
    {"formats": ("plain4m", "none4"), "columns": 16, "groups_per_lane": 8, "group": 32, "rows": 2},
]


def shaped(formats, **sizes):
    return array_for(*formats, **sizes)


@pytest.mark.parametrize(
    "shape", [SHAPES[0], *(pytest.param(one, marks=pytest.mark.long) for one in SHAPES[1:])]
)
def test_shapes(shape):
    """Activations of all patterns."""
    array = shaped(**shape)
    commands = work_of(array)
    design = design_for(array, accumulator_rows=1024)
    _, times = check_core(design, core_of(array), LookupModel(array), commands, [0] * len(commands))
    # Command follows command.
    assert all(after.begin < before.end for before, after in pairwise(times))


def test_a_stop_leaves_nothing_behind():
    """Neither a halt nor a reset, during which results of hundreds of cycles are on their way."""
    array = shaped(("twos2", "plain2m"), columns=16, rows=2)

    def work(random):
        return command(row_tiles=2, depth_tiles=6, activations_stride=6, accumulators_address=128), command(
            depth_tiles=5, activations_stride=5, variant=int(random.integers(2)),
            activations_address=int(random.integers(64)), weights_address=int(random.integers(64)),
        )  # fmt: skip

    for by_reset in (False, True):
        check_halts(
            design_for(array), core_of(array), LookupModel(array),
            work=work, halts=range(1, 700, 171), by_reset=by_reset, settle=256, patience=2000,
        )  # fmt: skip


PAST = [
    {"activations_address": 127, "depth_tiles": 2, "activations_stride": 0},
    {"weights_address": 1023},
    {"row_tiles": 20},
    {"weights_address": 1020, "row_tiles": 65535, "column_tiles": 65535, "depth_tiles": 1 << 23},
]


def test_past_the_end():
    """Of activations, weights and accumulators; commands that are far too long are cut short, and those beside them unharmed."""
    array = shaped(("twos2", "plain2m"), columns=16, rows=2, group=32)
    design, depth = design_for(array), array.group_words + 1
    activations, weights = contents(design, 1)
    good, commands, faults = [], [], []
    for number, past in enumerate(PAST):
        fields = {"variant": number % 2, "depth_tiles": depth, "activations_stride": depth}
        wrong = command(**(fields | past))
        good.append(
            command(
                **fields,
                weights_address=7 * number,
                accumulators_address=2 * number * array.rows * array.outputs,
            )
        )
        faults += [len(commands), len(commands) + 1]
        commands += [wrong, wrong, good[-1]]
    seen = run(design, core_of(array), activations, weights, commands, [0] * len(commands), patience=40000)
    assert seen.faults == [seen.finished[index] - 1 for index in faults]
    results = LookupModel(array).execute(vars(good[-1]), activations, weights)
    total = results[0]
    for each in results[1:]:
        total = total + each
    expected = np.concatenate(np.split(total, array.outputs, axis=1))
    first = good[-1].accumulators_address
    np.testing.assert_array_equal(seen.accumulators[first : first + len(expected)], expected.view(np.int32))
