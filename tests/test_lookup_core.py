# amaranth: UnusedElaboratable=no
"""The table-lookup core in simulation against its golden execute and its cycle law: equal, bit for bit and cycle for cycle."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from bit_serial_bench import command
from core_bench import check_core, check_halts
from hypothesis import given, settings
from hypothesis import strategies as st
from lookup_core_bench import (
    ALL,
    ASYM2,
    ASYM3,
    ASYM4,
    BIPOLAR2,
    BIPOLAR4,
    W1,
    W2,
    W3,
    W4,
    array_for,
    core_of,
    design_for,
)
from systolic_bench import run
from test_systolic_model import contents

from sim.families.lookup import LookupModel


def check(array, design, commands, visible, seed=1):
    """Run, and compare everything with the model."""
    return check_core(design, core_of(array), LookupModel(array), commands, visible, seed)


SHAPES = [
    {"variants": (W2, ASYM3)},
    {"rows": 1, "columns": 8, "variants": (W1, BIPOLAR4)},
    {"rows": 3, "columns": 4, "outputs": 4, "group": 64, "variants": (W4, ASYM2)},
    {"rows": 2, "columns": 6, "outputs": 2, "groups_per_lane": 4, "variants": (W4, ASYM4)},
    {"rows": 8, "columns": 32, "outputs": 16, "groups_per_lane": 4, "data_bytes": 16, "variants": (W1, W3)},
    {"k": 2, "groups_per_lane": 4, "columns": 4, "outputs": 2, "group": 64, "variants": (W1, W2, BIPOLAR2)},
    {"groups_per_lane": 8, "group": 128, "data_bytes": 16, "columns": 8, "variants": (W1, ASYM2)},
    {"groups_per_lane": 16, "group": 64, "data_bytes": 64, "rows": 1, "columns": 16, "variants": (W2, BIPOLAR2)},
    {"groups_per_lane": 32, "group": 256, "data_bytes": 8, "rows": 2, "columns": 8, "variants": (ASYM4, W1)},
    {"columns": 9, "outputs": 3, "groups_per_lane": 2, "variants": (W3, ASYM3)},
]  # fmt: skip
DIRECT = [
    {"ternary": "direct", "variants": (W2, W2)},
    {"ternary": "direct", "variants": (W2,), "rows": 8, "columns": 6, "outputs": 2, "data_bytes": 16},
    {"ternary": "direct", "variants": (W2,), "columns": 32, "outputs": 16, "groups_per_lane": 8, "group": 64},
]  # fmt: skip


QUICK = (1, 2, 3, 5, 6, 7)
"""Those that are quickly simulated; between them they have all that others have."""


def work_of(array):
    """For each format tiles of a group and a bit, of a bit, of a group, beginning anew and adding."""
    words, half = array.group_words, 512
    commands = []
    for variant in range(len(array.variants)):
        above = half + 2 * array.rows * array.outputs * variant
        commands += [
            command(row_tiles=1, column_tiles=2, depth_tiles=words + 1, activations_stride=words + 2, variant=variant),
            command(row_tiles=2, accumulators_address=above, weights_address=7, variant=variant),
            command(depth_tiles=words, activations_stride=5, accumulators_address=above, accumulate=1, variant=variant),
            command(depth_tiles=1, activations_stride=0, accumulators_address=above, accumulate=1, variant=variant),
        ]  # fmt: skip
    return commands


@pytest.mark.parametrize(
    "shape",
    [
        shape if place in QUICK or shape is DIRECT[0] else pytest.param(shape, marks=pytest.mark.long)
        for place, shape in enumerate(SHAPES + DIRECT)
    ],
)
def test_shapes(shape):
    array = array_for(**shape)
    commands = work_of(array)
    _, times = check(array, design_for(array, accumulator_rows=1024), commands, [0] * len(commands))
    # Command follows command.
    assert all(after.begin < before.end for before, after in pairwise(times))


@pytest.mark.long
@pytest.mark.parametrize("shape", [{}, *SHAPES])
def test_shapes_with_all_formats(shape):
    array = array_for(**(shape | {"variants": ALL if shape.get("outputs", 8) >= 8 else ALL[1:]}))
    commands = work_of(array)
    check(array, design_for(array, accumulator_rows=2048), commands, [0] * len(commands))


@st.composite
def programs(draw, shapes):
    """A shape, and a sequence of commands that stay within scratchpads and accumulators."""
    array = array_for(**draw(st.sampled_from(shapes)))
    design = design_for(array)
    g, model = array.geometry, LookupModel(array)
    half = design.accumulator_rows // 2
    commands, visible, now = [], [], 0
    for _ in range(draw(st.integers(1, 5))):
        now += draw(st.sampled_from([0, 0, 1, 5, 40, 200]))
        visible.append(now)
        variant = draw(st.integers(0, len(array.variants) - 1))
        most = half // g.tile_rows // g.spread
        column_tiles = min(draw(st.integers(1, 2)), most)
        row_tiles = max(1, min(draw(st.integers(1, 3)), most // column_tiles))
        depth_tiles = draw(st.integers(1, min(2 * array.group_words + 1, max(1, 64 // array.slices))))
        stride = draw(st.integers(0, 7))
        space = design.activation_words - depth_tiles - (row_tiles * g.tile_rows - 1) * stride
        rows_used = row_tiles * g.tile_rows * column_tiles * g.spread
        words = model.weight_words(variant, depth_tiles) * column_tiles
        commands.append(
            command(
                row_tiles=row_tiles,
                column_tiles=column_tiles,
                depth_tiles=depth_tiles,
                activations_stride=stride if space >= 0 else 0,
                activations_address=draw(st.integers(0, max(space, 0))),
                weights_address=draw(st.integers(0, design.weight_words - words)),
                accumulators_address=draw(st.integers(0, 1)) * half + draw(st.integers(0, half - rows_used)),
                accumulate=draw(st.integers(0, 1)),
                variant=variant,
            )
        )
    return array, design, commands, visible, draw(st.integers(0, 1000))


def clear(design):
    """Commands that write all of the accumulators' rows once (any values)."""
    g, half = design.geometry, design.accumulator_rows // 2
    tiles = half // (g.tile_rows * g.spread)
    used = tiles * g.tile_rows * g.spread
    firsts = sorted({0, half - used, half, 2 * half - used})
    return [command(row_tiles=tiles, activations_stride=0, accumulators_address=first) for first in firsts]


def check_program(program):
    array, design, commands, visible, seed = program
    first = clear(design)
    check(array, design, [*first, *commands], [*[0] * len(first), *visible], seed)


@settings(max_examples=3)
@given(programs([SHAPES[place] for place in QUICK] + DIRECT[:1]))
def test_any_sequence(program):
    check_program(program)


@pytest.mark.long
@settings(max_examples=60)
@given(programs(SHAPES + DIRECT))
def test_any_sequence_often(program):
    check_program(program)


def test_long_groups_leave_no_gap():
    """Words of scales alone are between the lookups of groups that are long enough."""
    array = array_for(rows=2, columns=8, groups_per_lane=8, group=128, variants=(W2,), data_bytes=16)
    design = design_for(array)
    seen, _ = check(array, design, [command(depth_tiles=8, activations_stride=8)] * 2, [0, 0])
    assert len(seen.steps) == 2 * 8 * 16
    assert seen.steps[-1] - seen.steps[0] == len(seen.steps) - 1 + 3 * array.scale_words


PAST = [
    {"activations_address": 122, "activations_stride": 2},
    {"activations_address": 127, "depth_tiles": 2, "activations_stride": 0},
    {"weights_address": 1000, "column_tiles": 3},
    {"weights_address": 1023},
    {"accumulators_address": 241},
    {"accumulators_address": 200, "column_tiles": 20},
    {"row_tiles": 9},
]


def test_past_the_end_is_a_fault_of_its_command():
    """Commands to the upper half that go too far, twice in a row; those between them, to the lower half, are not harmed."""
    array = array_for(rows=2, columns=8, variants=(W2, ASYM3, BIPOLAR2))
    design = design_for(array)
    activations, weights = contents(design, 1)
    good, commands, faults = [], [], []
    for number, past in enumerate(PAST):
        fields = {"variant": number % 3, "depth_tiles": 5, "activations_stride": 5}
        wrong = command(**(fields | {"accumulators_address": 128} | past))
        good.append(command(**fields, weights_address=7 * number, accumulators_address=16 * number))
        faults += [len(commands), len(commands) + 1]
        commands += [wrong, wrong, good[-1]]
    seen = run(design, core_of(array), activations, weights, commands, [0] * len(commands), patience=20000)
    assert seen.faults == [seen.finished[index] - 1 for index in faults]
    model = LookupModel(array)
    for one in good:
        expected = model.execute(vars(one), activations, weights)
        first = one.accumulators_address
        expected = np.concatenate(np.split(expected, array.outputs, axis=1))
        np.testing.assert_array_equal(seen.accumulators[first : first + len(expected)], expected)


def test_a_wrong_command_is_cut_short():
    array = array_for(rows=2, columns=8, variants=(W2,))
    design = design_for(array)
    activations, weights = contents(design, 1)
    huge = command(weights_address=1020, row_tiles=65535, column_tiles=65535, depth_tiles=1 << 23)
    seen = run(design, core_of(array), activations, weights, [huge], [0])
    assert seen.faults == [seen.finished[0] - 1]
    assert seen.finished[0] < 400


@pytest.mark.parametrize("variant", [0, 1])
def test_up_to_the_end_is_no_fault(variant):
    array = array_for(rows=2, columns=8, variants=(W2, ASYM4))
    design = design_for(array)
    words = LookupModel(array).weight_words(variant, 4)
    one = command(
        row_tiles=4, depth_tiles=4, activations_stride=5, activations_address=128 - (7 * 5 + 4),
        weights_address=1024 - words, accumulators_address=128 - 64, variant=variant,
    )  # fmt: skip
    check(array, design, [one], [0])


@pytest.mark.parametrize("by_reset", [False, True])
def test_halt_and_reset_leave_nothing_behind(by_reset):
    array = array_for(rows=2, columns=16, variants=(W2, ASYM3, BIPOLAR4))

    def work(random):
        size = {"row_tiles": 2, "column_tiles": 2, "depth_tiles": 6, "activations_stride": 6}
        return command(**size, variant=1, accumulators_address=128), command(
            depth_tiles=5, activations_stride=5, variant=int(random.integers(3)),
            activations_address=int(random.integers(64)), weights_address=int(random.integers(64)),
        )  # fmt: skip

    check_halts(
        design_for(array), core_of(array), LookupModel(array),
        work=work, halts=range(1, 400, 67 if by_reset else 29), by_reset=by_reset, settle=256, patience=2000,
    )  # fmt: skip


def test_core_refuses():
    array = array_for()
    with pytest.raises(ValueError, match="geometry must be"):
        core_of(array_for(rows=1))(design=design_for(array))


@pytest.mark.parametrize(("change", "error", "message"), [
    ({"rows": 9}, ValueError, "rows must be 1 to 8, not 9"),
    ({"columns": 129}, ValueError, "columns must be 1 to 128, not 129"),
    ({"rows": 2.0}, TypeError, "integer"),
    ({"k": 3}, ValueError, "k must be one of 2, 4, not 3"),
    ({"groups_per_lane": 3}, ValueError, "groups_per_lane must be one of 1, 2, 4, 8, 16, 32, not 3"),
    ({"groups_per_lane": 1}, ValueError, "groups_per_lane must be at least 2 with tables of 4, not 1"),
    ({"outputs": 5}, ValueError, "outputs must divide columns, not be 5 with 16 columns"),
    ({"outputs": 4}, ValueError, "outputs must be at least 8 .*, not 4"),
    ({"ternary": "direct", "variants": (W2,), "columns": 15, "outputs": 15}, ValueError, "outputs must be fewer .*, not 15"),
    ({"group": 100}, ValueError, "group must be one of 32, 64, 128, 256, not 100"),
    ({"groups_per_lane": 16}, ValueError, "group must be a multiple of 64 .*, not 32"),
    ({"ternary": "none"}, ValueError, "ternary must be one of planes, direct, not 'none'"),
    ({"ternary": "direct", "variants": (W2, W4)}, ValueError,
     "variants must be two's complement of 2 bits where ternary is direct, not .*bits=4"),
    ({"variants": ()}, ValueError, r"variants must be at least one, not \(\)"),
])  # fmt: skip
def test_array_refuses(change, error, message):
    with pytest.raises(error, match=message):
        array_for(**change)
