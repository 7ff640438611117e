# amaranth: UnusedElaboratable=no
"""Weight-stationary cores of decoded operands against a plain reference and their cycle law: bit for bit, cycle for cycle."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from core_bench import check_halts
from decoded_bench import WEIGHT, Plain, array_for, command, design_for
from systolic_bench import run
from test_decoded_core import (
    OLIVE,
    SOME_PAST,
    check,
    check_halt,
    check_past,
    check_random,
    dropped_and_kept,
    long,
)
from test_systolic_model import contents

from hw.array.decoded.core import decoded_core

PAIRS = ("ovp8-int8-e2m5", "int4", "ovp4-int4")
array_of = partial(array_for, dataflow=WEIGHT)


@pytest.mark.parametrize(
    "shape",
    [
        {"rows": 2, "columns": 1},
        {"rows": 4, "columns": 5, "data_bytes": 16},
        {"rows": 2, "columns": 3, "data_bytes": 8},
        long({"rows": 8, "columns": 2, "data_bytes": 8}),
        long({"rows": 16, "columns": 3}),
    ],
    ids=str,
)
def test_random_commands(shape):
    """Words of one tile of activations and of several, and halves of one."""
    check_random(array_of(OLIVE, OLIVE, **shape), 8, seed=shape["rows"])


@pytest.mark.parametrize(
    ("activations", "weights"),
    [
        (PAIRS, PAIRS),
        long(("int8",), ("int8",)),
        (("int8",), ("ovp8-int8",)),
        (("ovp8-int8-e2m5",), ("int8", "ternary")),
        (("ovp4-int4",), ("ovp4-int4",)),
        long(("ovp4-flint4", "int4"), ("int8",)),
        (("fp6-e3m2",), ("ovp8-int8-e2m5",)),
    ],
    ids=str,
)
def test_formats(activations, weights):
    """One slot width and two; neighbours in a byte and beside it; sums of fewer than 32 bits and such that wrap."""
    check_random(array_of(activations, weights), 6, seed=len(activations))


@pytest.mark.parametrize("variant", [0, 1, 2, 3])
def test_no_gap_within_and_across_commands(variant):
    """Back to back, and in another variant in between, every cycle from the first step to the last is a step."""
    array = array_of(("int8", "ovp8-int8-e2m5"), ("ovp4-int4", "ovp8-int8-e2m5"), rows=8, data_bytes=8)
    commands = [
        command(array, variant=each, row_tiles=8, column_tiles=2, depth_tiles=3, activations_stride=8)
        for each in (variant, 3 - variant, variant)
    ]
    seen, _ = check(array, commands, [0] * 3)
    assert seen.steps == list(range(seen.steps[0], seen.steps[0] + 3 * 8 * 6))


@pytest.mark.parametrize("past", SOME_PAST, ids=str)
@pytest.mark.parametrize("position", [long(0), 1, long(2)])
def test_address_past_the_end(past, position):
    """The command at fault is named, by a pulse in the cycle before it has finished; the commands before it are right."""
    check_past(array_of(OLIVE, OLIVE), past, position, variant=24 * position)


@pytest.mark.parametrize("past", [255, 254, 250])
@pytest.mark.parametrize("weights", ["int8", "ovp8-int8-e2m5", "int4"])
def test_a_command_before_a_fault_is_whole(past, weights):
    """Weights past the end that are read while a good command's activations pass are not its."""
    array = array_of(("int8",), (weights,), rows=8, columns=2, data_bytes=8)
    design, model = design_for(array), Plain(array)
    operands = contents(design, 1)
    good = command(array, depth_tiles=2, row_tiles=48, activations_stride=2)
    wrong = command(array, depth_tiles=2, accumulators_address=64, weights_address=past)
    seen = run(design, partial(decoded_core, array=array), *operands, [good, wrong], [0, 0])
    assert seen.faults == [seen.finished[1] - 1]
    expected = model.execute(vars(good), *operands)
    np.testing.assert_array_equal(seen.accumulators[: len(expected)], expected)


@pytest.mark.parametrize("weights", ["int8", "ovp8-int8-e2m5", "int4"])
def test_up_to_the_end_is_no_fault(weights):
    """The last word of either scratchpad, and the last row of accumulators."""
    array = array_of(("int4",), (weights,))
    words = array.weight_words(0, 4)
    fields = command(
        array, row_tiles=5, depth_tiles=4, activations_stride=2, activations_address=256 - 2 * 4 - 2,
        weights_address=256 - words, accumulators_address=128 - 5,
    )  # fmt: skip
    check(array, [fields], [0])


@pytest.mark.parametrize("by_reset", [False, True])
def test_halts_leave_nothing_behind(by_reset):
    array = array_of(OLIVE, OLIVE)
    check_halts(
        design_for(array), partial(decoded_core, array=array), Plain(array),
        work=partial(dropped_and_kept, array), halts=range(0, 60, 6), by_reset=by_reset, patience=3000,
    )  # fmt: skip


@pytest.mark.parametrize("since", [9, 20, 33, *map(long, (0, 13, *range(34, 60, 3)))])
def test_halt(since):
    """Whenever halted, the core stops at once; nothing of what it dropped is left in a command that comes right after."""
    check_halt(array_of(PAIRS, PAIRS), since)
