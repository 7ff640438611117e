# amaranth: UnusedElaboratable=no
"""Cores of decoded operands against a plain reference and their cycle law: equal, bit for bit and cycle for cycle."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from core_bench import check_core, check_halts
from decoded_bench import Plain, array_for, command, design_for
from systolic_bench import run
from test_systolic_model import contents

from hw.array.decoded.core import decoded_core
from sim.families.decoded import DecodedModel

OLIVE = ("ovp4-int4", "ovp4-flint4", "int2", "int4", "ternary", "flint4", "int8")


def long(*values):
    """A case of the long matrix."""
    return pytest.param(*values, marks=pytest.mark.long)


SHAPES = [
    {"rows": 1, "columns": 1},
    {"rows": 3, "columns": 5},
    long({"rows": 4, "columns": 2, "data_bytes": 16}),
    {"rows": 9, "columns": 3, "data_bytes": 8},
]


def random_commands(array, design, count, seed):
    """That stay within scratchpads and accumulators."""
    random = np.random.default_rng(seed)
    g, half = array.geometry, design.accumulator_rows // 2
    commands, visible, now = [], [], 0
    for _ in range(count):
        variant = int(random.integers(len(array.pairs)))
        column_tiles = int(random.integers(1, 3))
        depth_tiles = int(random.integers(1, 5 if array.block else 40 // g.tile_depth + 3))
        while column_tiles * array.weight_words(variant, depth_tiles) > design.weight_words:
            depth_tiles -= 1
        most = (24 if array.block else 12) if array.stationary_weights else 4
        row_tiles = int(random.integers(1, 1 + max(1, min(most, half // g.tile_rows // column_tiles))))
        words = array.activation_words(variant, depth_tiles)
        stride = int(random.integers(0, 5))
        room = design.activation_words - words - (row_tiles * g.tile_rows - 1) * stride
        rows = row_tiles * g.tile_rows * column_tiles
        commands.append(
            command(
                array,
                variant=variant,
                row_tiles=row_tiles,
                column_tiles=column_tiles,
                depth_tiles=depth_tiles,
                activations_stride=stride if room >= 0 else 0,
                activations_address=int(random.integers(max(room, 0) + 1)),
                weights_address=int(
                    random.integers(
                        design.weight_words - column_tiles * array.weight_words(variant, depth_tiles) + 1
                    )
                ),
                accumulators_address=int(random.integers(2)) * half + int(random.integers(half - rows + 1)),
                accumulate=int(commands != [] and random.integers(2)),
            )
        )
        now += int(random.choice([0, 0, 0, 1, 5, 40, 200]))
        visible.append(now)
    return commands, visible


def clear(array, design):
    """Commands that write every row of the accumulators."""
    half, rows = design.accumulator_rows // 2, array.geometry.tile_rows
    tiles = half // rows
    return [
        command(array, row_tiles=tiles, activations_stride=0, accumulators_address=address)
        for address in sorted({0, half - tiles * rows, half, 2 * half - tiles * rows})
    ]


def model_of(array):
    """The plain reference; of float32 the family's own golden execute."""
    return DecodedModel(array) if array.block else Plain(array)


def check(array, commands, visible, seed=1, **sizes):
    design, core = design_for(array, **sizes), partial(decoded_core, array=array)
    return check_core(design, core, model_of(array), commands, visible, seed)


def check_random(array, count, seed, **sizes):
    design = design_for(array, **sizes)
    commands, visible = random_commands(array, design, count, seed)
    first = clear(array, design)
    return check(array, [*first, *commands], [*[0] * len(first), *visible], seed, **sizes)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_random_commands(shape):
    check_random(array_for(OLIVE, OLIVE, **shape), 8, seed=shape["rows"])


@pytest.mark.parametrize(
    ("activations", "weights"),
    [
        (("ovp8-int8-e2m5", "int8", "ovp4-int4"), ("ovp8-int8-e2m5", "int4", "int6")),
        (("int8",), ("ovp8-int8",)),
        (("ovp4-int4",), ("ovp4-int4",)),
        long(("ovp4-flint4", "int4"), ("int8",)),
        long(("int8",), ("ternary", "flint4")),
    ],
    ids=str,
)
def test_formats(activations, weights):
    check_random(array_for(activations, weights), 6, seed=len(activations))


def test_no_gap_within_and_across_commands():
    """Back to back in changing variants, every cycle from the first step to the last is a step."""
    array = array_for(OLIVE, OLIVE, rows=8, columns=2, data_bytes=8)
    commands = [
        command(array, variant=variant, row_tiles=3, column_tiles=2, depth_tiles=64, activations_stride=8)
        for variant in (0, 48, 6, 42)
    ]
    seen, _ = check(array, commands, [0] * 4)
    assert seen.steps == list(range(seen.steps[0], seen.steps[0] + 4 * 6 * 64))


PAST = [
    {"activations_address": 250, "activations_stride": 9},
    {"activations_address": 255, "depth_tiles": 9},
    {"activations_address": 250, "activations_stride": 2, "depth_tiles": 7},
    {"activations_stride": 65535},
    {"weights_address": 255, "depth_tiles": 3},
    {"weights_address": 253, "depth_tiles": 30},
    {"depth_tiles": (1 << 24) - 1},
    {"row_tiles": 65535, "activations_stride": 0},
    {"column_tiles": 65535},
    {"accumulators_address": 63, "row_tiles": 9},
    {"accumulators_address": 127, "row_tiles": 9},
]
SOME_PAST = [long(past) if number % 3 else past for number, past in enumerate(PAST)]
"""Of each kind."""


@pytest.mark.parametrize("past", SOME_PAST, ids=str)
@pytest.mark.parametrize("position", [long(0), 1, long(2)])
def test_address_past_the_end(past, position):
    """The command at fault is named, by a pulse in the cycle before it has finished; the commands before it are right."""
    array = array_for(OLIVE, OLIVE)
    check_past(array, past, position, variant=2 * position)


def check_past(array, past, position, *, variant):
    design, model = design_for(array), model_of(array)
    activations, weights = contents(design, position)
    good = [
        command(array, variant=variant, depth_tiles=3, activations_stride=2, accumulators_address=8 * i)
        for i in range(position)
    ]
    wrong = command(array, **{"row_tiles": 4, "depth_tiles": 2, "variant": variant} | past)
    later = command(array, row_tiles=3, depth_tiles=2, activations_stride=2, accumulators_address=96)
    # Nothing lies between a good command and the one at fault.
    visible = [0] * (position + 1) + [600]
    core = partial(decoded_core, array=array)
    seen = run(design, core, activations, weights, [*good, wrong, later], visible)
    assert seen.faults == [seen.finished[position] - 1]
    expected = total(model.execute(vars(later), activations, weights)).view(np.int32)
    np.testing.assert_array_equal(seen.accumulators[96 : 96 + len(expected)], expected)


@pytest.mark.parametrize("past", [255, 254, 250])
@pytest.mark.parametrize("weights", ["int8", "ovp8-int8-e2m5", "int4"])
def test_a_command_before_a_fault_is_whole(past, weights):
    """A command whose second word of weights is past the end, right behind a good one, does not pass for it."""
    array = array_for(("int8",), (weights,), rows=8, columns=2, data_bytes=8)
    design, model = design_for(array), Plain(array)
    operands = contents(design, 1)
    good = command(array, depth_tiles=16, row_tiles=4, activations_stride=2)
    wrong = command(array, depth_tiles=16, accumulators_address=64, weights_address=past)
    seen = run(design, partial(decoded_core, array=array), *operands, [good, wrong], [0, 0])
    words = 256 - past
    assert seen.faults == ([seen.finished[1] - 1] if array.weight_words(0, 16) > words else [])
    expected = model.execute(vars(good), *operands)
    np.testing.assert_array_equal(seen.accumulators[: len(expected)], expected)


def dropped_and_kept(array, random):
    """Two commands for ``check_halts``."""
    return tuple(
        command(
            array,
            variant=int(random.integers(len(array.pairs))),
            row_tiles=2,
            column_tiles=column_tiles,
            depth_tiles=int(random.integers(1, 40 if array.geometry.tile_depth == 1 else 4)),
            activations_stride=3,
        )
        for column_tiles in (2, 1)
    )


def test_halts_by_reset():
    array = array_for(OLIVE, OLIVE)
    check_halts(
        design_for(array), partial(decoded_core, array=array), Plain(array),
        work=partial(dropped_and_kept, array), halts=range(0, 90, 9), by_reset=True, patience=3000,
    )  # fmt: skip


@pytest.mark.parametrize("since", [0, long(9), long(18), 27, long(36), 45, long(54), 63, long(72), long(81)])
def test_halt(since):
    """Whenever halted, the core stops at once; nothing of what it dropped is left in a command that comes right after."""
    check_halt(array_for(OLIVE, OLIVE), since)


def check_halt(array, since):
    design, model = design_for(array), model_of(array)
    activations, weights = contents(design, since)
    dropped, kept = dropped_and_kept(array, np.random.default_rng(since))
    halt = range(since, since + 60)
    commands, visible = [dropped, dropped, kept], [0, 0, halt.stop]
    seen = run(design, partial(decoded_core, array=array), activations, weights, commands, visible, halt=halt)
    assert all(cycle <= since or cycle > halt.stop for cycle in [*seen.steps, *seen.busy])
    assert not [cycle for cycle in seen.faults if cycle > halt.stop]
    time = model.law().execute(halt.stop, vars(kept))
    assert seen.taken[-1] == time.taken == halt.stop
    assert [cycle for cycle in seen.finished if cycle > halt.stop] == [time.finished]
    expected = total(model.execute(vars(kept), activations, weights))
    np.testing.assert_array_equal(seen.accumulators[: len(expected)], expected.view(np.int32))


def total(results):
    """What is added up of an EXECUTE's results; int32 are one."""
    if results.ndim == 2:
        return results
    added = results[0]
    for result in results[1:]:
        added = added + result
    return added


MX = ("mxfp4", "mxfp6-e2m3", "mxfp8-e4m3", "mxint8", "nvfp4", "int8")


@pytest.mark.parametrize(
    ("activations", "weights", "changes"),
    [
        long(MX, MX, {}),
        long(MX, MX, {"rows": 9, "columns": 2, "data_bytes": 8}),
        (("nvfp4", "int8"), ("nvfp4", "mxint8"), {"rows": 2, "columns": 1}),
        long(("nvfp4",), ("nvfp4",), {"rows": 1, "columns": 1}),
        long(("mxfp8-e5m2",), ("mxfp8-e5m2", "mxfp4"), {"block": 32}),
        long(("mxfp8-e4m3",), ("mxfp8-e4m3",), {"block": 32, "accumulator": "aligned"}),
        long(("q8_0", "int8"), ("q4_0", "mxfp4", "int4"), {"block": 32}),
        long(("int8",), ("mxint4",), {"block": 32}),
        long(("nvfp4", "int8"), ("nvfp4", "bfp6"), {"rows": 13, "columns": 1}),
        long(("mxfp4", "bfp4"), ("mxfp4", "mxint8"), {"rows": 8, "columns": 1, "data_bytes": 8}),
        long(("mxfp4", "nvfp4"), ("mxfp8-e4m3", "bfp4"), {"rows": 3, "columns": 1, "data_bytes": 32}),
        long(("ovp8-int8-e2m5", "ovp4-int4"), ("mxint8", "nvfp4", "ovp8-int8-e2m5"), {}),
        long(("int8",), ("mxfp4", "int4"), {}),
        long(("int4",), ("int4", "int8"), {"rows": 1, "columns": 1}),
    ],
    ids=str,
)
def test_blocks(activations, weights, changes):
    array = array_for(activations, weights, **({"block": 16} | changes))
    check_random(array, 3 if array.rows == 2 else 6, seed=len(activations))


@pytest.mark.parametrize("data_bytes", [8, long(4)])
def test_no_gap_in_blocks(data_bytes):
    """A row's words are read in time: a tile's first step follows the last scale of the one before, whatever blocks they have."""
    array = array_for(
        ("mxfp4", "int8"), ("mxfp4", "nvfp4"), rows=1, columns=1, data_bytes=data_bytes, block=16
    )
    commands = [
        command(array, variant=variant, row_tiles=3, depth_tiles=3, activations_stride=8)
        for variant in (0, 2, 3, 1)
    ]
    seen, _ = check(array, commands, [0] * 4)
    assert array.command_gap == 0
    assert seen.steps == list(range(seen.steps[0], seen.steps[0] + 3 * (66 + 66 + 51 + 51)))


PAST_BLOCKS = [
    {"activations_address": 250, "activations_stride": 9},
    {"activations_address": 255, "depth_tiles": 9},
    {"weights_address": 240, "depth_tiles": 3},
    {"depth_tiles": (1 << 24) - 1},
    {"column_tiles": 65535},
    {"accumulators_address": 127, "row_tiles": 9},
]


@pytest.mark.parametrize("past", [PAST_BLOCKS[0], *map(long, PAST_BLOCKS[1:])], ids=str)
def test_blocks_past_the_end(past):
    array = array_for(("mxfp4", "int8"), ("mxfp4", "int4"), block=16)
    check_past(array, past, 1, variant=1)


@pytest.mark.parametrize("since", [20, 100, *map(long, (0, 40, 60, 80, 120, 140, 160))])
def test_halt_in_blocks(since):
    check_halt(array_for(("mxfp4", "int8"), ("mxfp4", "mxint8"), block=16), since)
