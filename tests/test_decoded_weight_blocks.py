# amaranth: UnusedElaboratable=no
"""Weight-stationary cores with scales of blocks against the golden execute and their cycle law: bit for bit, to the cycle."""

from __future__ import annotations

from dataclasses import fields, replace
from functools import partial

import numpy as np
import pytest
from core_bench import check_halts
from decoded_bench import WEIGHT, array_for, command, design_for
from hypothesis import given, settings
from hypothesis import strategies as st
from test_decoded_core import check, check_halt, check_past, check_random, clear, dropped_and_kept, long

from hw.array.decoded.core import decoded_core
from hw.array.decoded.geometry import DecodedArray
from hw.array.decoded.weight_blocks import StationaryBlocks
from sim.families.decoded import DecodedModel

MX = ("mxfp4", "mxfp6-e2m3", "mxfp8-e4m3", "mxint8", "nvfp4", "int8")
MIXED = ("q8_0", "nvfp4", "int8"), ("q4_0", "int4-s8", "mxfp6-e2m3", "int8")
"""Scales of two bytes, of one and of none; of each type."""
SIZES = {"dataflow": WEIGHT, "block": 16, "rows": 16, "columns": 1}


def array_of(activations, weights, **changes):
    return array_for(activations, weights, **(SIZES | changes))


@pytest.mark.parametrize(
    ("activations", "weights", "changes"),
    [
        (*MIXED, {}),
        long(("mxfp8-e4m3", "mxfp4"), ("mxfp8-e4m3", "mxfp4"), {"columns": 2, "data_bytes": 64}),
        long(MX, MX, {"columns": 3}),
        long(MX, MX, {"data_bytes": 64}),
        long(*MIXED, {"columns": 2, "data_bytes": 32}),
        long(("q8_0", "int8"), ("q4_0", "mxfp4", "int4"), {"rows": 32, "block": 32, "columns": 2}),
        long(("int8-s8", "int4-s8"), ("int8-s8", "int4-s8", "int8"), {"rows": 64, "block": 64}),
        long(("nvfp4", "ovp8-int8-e2m5"), ("ovp8-int8-e2m5", "q8_0", "bfp4"), {"columns": 2}),
        long(("int4",), ("q4_0",), {"columns": 2}),
        long(("mxfp4",), ("int4",), {"columns": 2}),
        long(("mxint4",), ("int8",), {"rows": 32, "block": 32}),
        long(("mxfp8-e5m2",), ("mxfp8-e5m2",), {}),
        long(("mxfp8-e5m2",), ("mxfp8-e5m2",), {"accumulator": "aligned"}),
        long(("nvfp4",), ("nvfp4",), {"columns": 20}),
    ],
    ids=str,
)
def test_random_commands(activations, weights, changes):
    """Words of one tile of activations and of several; scales behind weights of 4 bits and of 8."""
    array = array_of(activations, weights, **changes)
    check_random(array, 5, seed=len(activations), activation_words=512, weight_words=512)


@st.composite
def programs(draw):
    """A sequence of commands that stay within scratchpads and accumulators."""
    array = array_of(*MIXED)
    design = design_for(array)
    half = design.accumulator_rows // 2
    commands, visible, now = [], [], 0
    for _ in range(draw(st.integers(1, 6))):
        now += draw(st.sampled_from([0, 0, 1, 5, 40, 200]))
        visible.append(now)
        variant = draw(st.integers(0, len(array.pairs) - 1))
        column_tiles, depth_tiles = draw(st.integers(1, 2)), draw(st.integers(1, 3))
        row_tiles = draw(st.one_of(st.integers(1, 3), st.integers(10, 24)))
        stride = draw(st.integers(0, 5))
        words = array.activation_words(variant, depth_tiles) + (row_tiles - 1) * stride
        last_weights = design.weight_words - column_tiles * array.weight_words(variant, depth_tiles)
        last_row = half - row_tiles * column_tiles
        commands.append(
            command(
                array,
                variant=variant,
                row_tiles=row_tiles,
                column_tiles=column_tiles,
                depth_tiles=depth_tiles,
                activations_stride=stride,
                activations_address=draw(st.integers(0, design.activation_words - words)),
                weights_address=draw(st.integers(0, last_weights)),
                accumulators_address=draw(st.integers(0, 1)) * half + draw(st.integers(0, last_row)),
                accumulate=draw(st.integers(0, 1)),
            )
        )
    return array, commands, visible, draw(st.integers(0, 1000))


def check_program(program):
    array, commands, visible, seed = program
    first = clear(array, design_for(array))
    check(array, [*first, *commands], [*[0] * len(first), *visible], seed)


@pytest.mark.long
@settings(max_examples=40)
@given(programs())
def test_any_sequence(program):
    check_program(program)


@pytest.mark.parametrize("row_tiles", [long(17), 18, long(19)])
def test_no_gap_within_and_across_commands(row_tiles):
    """With as many rows as weights take cycles every one is a step, whatever the scales: of two words, one, or none."""
    array = array_of(*MIXED)
    commands = [
        command(
            array, variant=variant, row_tiles=row_tiles, column_tiles=2, depth_tiles=3, activations_stride=4
        )
        for variant in (1, 4, 7)
    ]
    seen, _ = check(array, commands, [0] * 3)
    gaps = np.diff(seen.steps) - 1
    words = [array.rows + array.scale_words(one.variant) for one in commands]
    assert words == [17, 18, 16]
    # The first tile's weights come while the last tile of the command before passes.
    assert gaps.sum() == sum(6 * max(0, each - row_tiles) for each in words) - max(0, words[0] - row_tiles)


def test_results_that_meet_are_added_in_order():
    """Commands of one row, each added to the same accumulator as soon as it may be; float32 does not commute."""
    array = array_of(("nvfp4",), ("nvfp4",))
    commands = [command(array, depth_tiles=1, activations_address=i, weights_address=9 * i, accumulate=int(i > 0))
                for i in range(6)]  # fmt: skip
    check(array, commands, [0] * 6)


PAST = [
    {"activations_address": 250, "activations_stride": 9},
    {"activations_address": 255, "depth_tiles": 9},
    {"weights_address": 248, "depth_tiles": 1},
    {"weights_address": 240, "depth_tiles": 3},
    {"depth_tiles": (1 << 24) - 1},
    {"row_tiles": 65535, "activations_stride": 0},
    {"column_tiles": 65535},
    {"accumulators_address": 127, "row_tiles": 9},
]


@pytest.mark.parametrize("past", [*map(long, PAST[:2]), PAST[2], *map(long, PAST[3:])], ids=str)
def test_past_the_end(past):
    """A word of scales past the end is one of weights."""
    check_past(array_of(("mxfp4", "int8"), ("mxfp4", "int4")), past, 1, variant=0)


@pytest.mark.long
def test_up_to_the_end_is_no_fault():
    """The last words of scales, of activations, and the last row of accumulators."""
    array = array_of(("mxfp4",), ("q4_0",))
    one = command(
        array, row_tiles=5, depth_tiles=2, activations_stride=2, activations_address=256 - 2 * 4 - 2,
        weights_address=256 - 2 * 10, accumulators_address=128 - 5,
    )  # fmt: skip
    check(array, [one], [0])


@pytest.mark.long
@pytest.mark.parametrize("by_reset", [False, True])
def test_halts_leave_nothing_behind(by_reset):
    array = array_of(("mxfp4", "int8"), ("q4_0", "mxint8"))
    check_halts(
        design_for(array), partial(decoded_core, array=array), DecodedModel(array),
        work=partial(dropped_and_kept, array), halts=range(0, 120, 8), by_reset=by_reset, patience=3000,
    )  # fmt: skip


@pytest.mark.parametrize("since", [30, *map(long, range(0, 120, 7))])
def test_halt(since):
    """Whenever halted, the core stops at once; nothing of what it dropped is left in a command that comes right after."""
    check_halt(array_of(("mxfp4", "int8"), ("mxfp4", "mxint8")), since)


def test_sizes():
    """Tiles of activations are padded to powers of two; words of weights are not."""
    array = array_of(*MIXED, data_bytes=4, columns=5)
    g = array.geometry
    assert isinstance(array, StationaryBlocks)
    assert (g.activation_bytes, g.weight_bytes, g.weight_words, g.tile_depth, g.sums) == (
        32,
        8,
        18,
        16,
        "float32",
    )
    q8_0, nvfp4, int8 = 0, 4, 8
    assert [array.activation_tile(v) for v in (q8_0, nvfp4, int8)] == [32, 16, 16]
    assert [array.word_tiles(v) for v in (q8_0, nvfp4, int8)] == [1, 2, 2]
    # Of both formats' own blocks, too: 32 of q4_0, 128 of int4-s8.
    assert [array.depth_granule(v) for v in range(4)] == [32, 128, 32, 32]
    assert [array.activation_words(v, 3) for v in (q8_0, nvfp4, int8)] == [3, 2, 2]
    assert [array.weight_words(v, 3) for v in range(4)] == [30, 27, 51, 48]
    assert [array.scale_words(v) for v in range(4)] == [2, 1, 1, 0]
    assert array_of(("nvfp4",), ("nvfp4",)).geometry.activation_bytes == 16
    assert array_of(("int4",), ("nvfp4",), data_bytes=64).word_tiles(0) == 8


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"rows": 8},
            "rows must be as many as steps of a block, 16, when dataflow is weight-stationary, not 8",
        ),
        ({"rows": 64, "block": 128}, "block must be up to 64 when dataflow is weight-stationary, not 128"),
    ],
    ids=str,
)
def test_sizes_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        array_of(("int8",), ("int4",), **changes)


def test_cores_refused():
    array = array_of(("int8",), ("int4",))
    with pytest.raises(ValueError, match="dataflow must be output-stationary with blocks"):
        DecodedArray(**{field.name: getattr(array, field.name) for field in fields(array)})
    with pytest.raises(ValueError, match="geometry must be"):
        decoded_core(design=design_for(array), array=replace(array, columns=2))
