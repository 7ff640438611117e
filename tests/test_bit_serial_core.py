# amaranth: UnusedElaboratable=no
"""The bit-serial core in simulation against its golden execute and its cycle law: equal, bit for bit and cycle for cycle."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from bit_serial_bench import ALL, array_for, command, configure, core_of, design_for
from core_bench import check_core, check_halts
from hypothesis import given, settings
from hypothesis import strategies as st
from systolic_bench import run
from test_systolic_model import contents

from hw.design import ceil_div
from sim.families.bit_serial import BitSerialModel

SPECIALS = [10, 10 | 32, 16, 16 | 32]
INT8, INT6, INT5, INT4, FP4, FP3 = ALL


def check(array, design, commands, visible, seed=1):
    """Run, and compare everything with the model."""
    return check_core(design, core_of(array), BitSerialModel(array), commands, visible, seed)


def special_values(values=SPECIALS):
    return [configure(index, value) for index, value in enumerate(values)]


SHAPES = [
    {"rows": 1, "columns": 1, "data_bytes": 4}, {"rows": 2, "columns": 3, "variants": (INT8, FP3)},
    {"rows": 3, "columns": 2, "group": 64, "variants": (INT5, FP4)},
    {"rows": 8, "columns": 1, "data_bytes": 4, "variants": (INT6, FP3)},
    {"rows": 5, "columns": 2, "lanes": 8, "group": 64, "variants": (INT8, FP3)},
    {"rows": 1, "columns": 2, "lanes": 16, "variants": (INT4, FP4)},
    {"rows": 1, "columns": 1, "lanes": 32, "group": 256, "data_bytes": 64, "variants": (INT5, FP3)},
    {"rows": 9, "columns": 1, "group": 128, "variants": (INT4, FP4)},
    {"rows": 4, "columns": 1, "variants": (INT8,)}, {"rows": 4, "columns": 2, "variants": (FP3, INT5)},
    {"rows": 3, "columns": 4, "variants": (INT6, INT4)},
]  # fmt: skip
FLOAT_SHAPES = [
    {"rows": 1, "columns": 1, "data_bytes": 4}, {"rows": 3, "columns": 2, "variants": (INT5, FP4)},
    {"rows": 2, "columns": 1, "lanes": 8, "group": 64, "variants": (INT8, FP3), "rounding": "truncate"},
]  # fmt: skip
FLOAT_SHAPES = [{"activations": "fp16"} | shape for shape in FLOAT_SHAPES]


def work_of(array):
    """For each format tiles of a group and a bit, of a bit, of a group, beginning anew and adding; with special values."""
    words, half = array.group_words, 128
    commands = special_values() if array.geometry.settings else []
    for variant in range(len(array.variants)):
        above = half + 2 * array.rows * variant
        commands += [
            command(row_tiles=1, column_tiles=2, depth_tiles=words + 1, activations_stride=words + 2, variant=variant),
            command(row_tiles=2, accumulators_address=above, weights_address=7, variant=variant),
            command(depth_tiles=words, activations_stride=5, accumulators_address=above, accumulate=1, variant=variant),
            command(depth_tiles=1, activations_stride=0, accumulators_address=above, accumulate=1, variant=variant),
        ]  # fmt: skip
    return commands


@pytest.mark.parametrize("shape", SHAPES + FLOAT_SHAPES)
def test_shapes(shape):
    array = array_for(**shape)
    commands = work_of(array)
    _, times = check(array, design_for(array, accumulator_rows=256), commands, [0] * len(commands))
    # Group follows group without a gap, and command follows command.
    assert all(after.end - after.steps >= before.end - 1 for before, after in pairwise(times))


@pytest.mark.long
@pytest.mark.parametrize("shape", SHAPES + FLOAT_SHAPES)
def test_shapes_with_all_formats(shape):
    array = array_for(**(shape | {"variants": ALL}))
    commands = work_of(array)
    check(array, design_for(array, accumulator_rows=256), commands, [0] * len(commands))


def room(array, variant, depth_tiles, column_tiles):
    return BitSerialModel(array).weight_words(variant, depth_tiles) * column_tiles


@st.composite
def programs(draw, shapes):
    """A shape, and a sequence of commands that stay within scratchpads and accumulators."""
    array = array_for(**draw(st.sampled_from(shapes)))
    design = design_for(array)
    g = array.geometry
    half = design.accumulator_rows // 2
    commands, visible, now = [], [], 0
    for _ in range(draw(st.integers(1, 5))):
        now += draw(st.sampled_from([0, 0, 1, 5, 40, 200]))
        visible.append(now)
        if g.settings and draw(st.integers(0, 2)) == 0:
            value = draw(st.sampled_from([0, 3, 5, 9, 10, 16, 24, 35, 48]))
            commands.append(configure(draw(st.integers(0, 3)), value))
            continue
        variant = draw(st.integers(0, len(array.variants) - 1))
        column_tiles = draw(st.integers(1, 3))
        row_tiles = max(1, min(draw(st.integers(1, 3)), half // g.tile_rows // column_tiles))
        depth_tiles = draw(st.integers(1, 2 * array.group_words + 1))
        depth_tiles = min(depth_tiles, max(1, 40 // array.slices))
        stride = draw(st.integers(0, 7))
        space = design.activation_words - depth_tiles - (row_tiles * g.tile_rows - 1) * stride
        rows_used = row_tiles * g.tile_rows * column_tiles
        words = room(array, variant, depth_tiles, column_tiles)
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
    half, rows = design.accumulator_rows // 2, design.geometry.tile_rows
    tiles = half // rows
    firsts = sorted({0, half - tiles * rows, half, 2 * half - tiles * rows})
    return [command(row_tiles=tiles, activations_stride=0, accumulators_address=first) for first in firsts]


def check_program(program):
    array, design, commands, visible, seed = program
    first = clear(design)
    check(array, design, [*first, *commands], [*[0] * len(first), *visible], seed)


@settings(max_examples=4)
@given(programs(SHAPES))
def test_any_sequence(program):
    check_program(program)


@settings(max_examples=3)
@given(programs(FLOAT_SHAPES))
def test_any_sequence_of_floats(program):
    check_program(program)


@pytest.mark.long
@settings(max_examples=60)
@given(programs(SHAPES + FLOAT_SHAPES))
def test_any_sequence_often(program):
    check_program(program)


def test_long_groups_leave_no_gap():
    array = array_for(rows=4, columns=1, group=64)
    design = design_for(array)
    commands = [command(row_tiles=2, depth_tiles=8, activations_stride=8, variant=v) for v in range(len(ALL))]
    seen, _ = check(array, design, commands, [0] * len(commands))
    assert seen.steps == list(range(seen.steps[0], seen.steps[0] + len(seen.steps)))


@pytest.mark.parametrize("activations", ["int8", "fp16"])
def test_special_values_change_between_commands(activations):
    """One command with the old values, one with the new, with no pause between them."""
    array = array_for(rows=2, columns=2, variants=(FP3,), activations=activations)
    design = design_for(array)
    work = {"depth_tiles": 2 * array.group_words, "column_tiles": 2, "activations_stride": 3}
    commands = [
        *special_values([3, 35, 6, 38]), command(**work), *special_values([5, 37, 24, 56]),
        command(accumulators_address=32, **work),
    ]  # fmt: skip
    seen, _ = check(array, design, commands, [0] * len(commands))
    assert not np.array_equal(seen.accumulators[:4], seen.accumulators[32:36])


PAST = [
    {"activations_address": 122, "activations_stride": 2},
    {"activations_address": 127, "depth_tiles": 2, "activations_stride": 0},
    {"weights_address": 236, "column_tiles": 9},
    {"weights_address": 255},
    {"accumulators_address": 126},
    {"accumulators_address": 116, "column_tiles": 20},
]


def test_past_the_end_is_a_fault_of_its_command():
    """Commands to the upper half that go too far, twice in a row; those between them, to the lower half, are not harmed."""
    array = array_for(rows=4, columns=2, variants=(INT8, FP3))
    design = design_for(array, accumulator_rows=128)
    activations, weights = contents(design, 1)
    good, commands, faults = [], [], []
    for past in PAST:
        for variant in range(2):
            fields = {"variant": variant, "depth_tiles": 5, "activations_stride": 5}
            wrong = command(**(fields | {"row_tiles": 2, "accumulators_address": 64} | past))
            good.append(command(**fields, weights_address=7 * variant, accumulators_address=4 * len(good)))
            faults += [len(commands), len(commands) + 1]
            commands += [wrong, wrong, good[-1]]
    seen = run(design, core_of(array), activations, weights, commands, [0] * len(commands))
    assert seen.faults == [seen.finished[index] - 1 for index in faults]
    model = BitSerialModel(array)
    for one in good:
        expected = model.execute(vars(one), activations, weights, [0] * 4)
        first = one.accumulators_address
        np.testing.assert_array_equal(seen.accumulators[first : first + len(expected)], expected)


def test_a_wrong_command_is_cut_short():
    array = array_for(rows=4, columns=1)
    design = design_for(array)
    activations, weights = contents(design, 1)
    huge = command(weights_address=250, row_tiles=65535, column_tiles=65535, depth_tiles=1 << 23)
    seen = run(design, core_of(array), activations, weights, [huge], [0])
    assert seen.faults == [seen.finished[0] - 1]
    assert seen.finished[0] < 400


@pytest.mark.parametrize("variant", [0, 1])
def test_up_to_the_end_is_no_fault(variant):
    array = array_for(rows=4, columns=1, variants=(INT8, FP4))
    design = design_for(array)
    words = room(array, variant, 4, 1)
    one = command(
        row_tiles=4, depth_tiles=4, activations_stride=5, activations_address=128 - (15 * 5 + 4),
        weights_address=256 - words, accumulators_address=64 - 16, variant=variant,
    )  # fmt: skip
    check(array, design, [one], [0])


@pytest.mark.parametrize(
    ("shape", "halts"),
    [
        ({"rows": 3, "columns": 2, "variants": (INT8, INT6, FP4)}, range(1, 130, 12)),
        ({"rows": 1, "columns": 1, "variants": (INT5, FP3, INT8), "activations": "fp16"}, range(1, 100, 4)),
    ],
)
@pytest.mark.parametrize("by_reset", [False, True])
def test_halt_and_reset_leave_nothing_behind(shape, halts, by_reset):
    array = array_for(**shape)

    def work(random):
        size = {"row_tiles": 2, "column_tiles": 2, "depth_tiles": 6, "activations_stride": 6}
        return command(**size, variant=1, accumulators_address=32), command(
            depth_tiles=5, activations_stride=5, variant=int(random.integers(3)),
            activations_address=int(random.integers(64)), weights_address=int(random.integers(64)),
        )  # fmt: skip

    check_halts(
        design_for(array), core_of(array), BitSerialModel(array),
        work=work, halts=halts[:: 4 if by_reset else 1], by_reset=by_reset,
    )  # fmt: skip


def test_core_refuses():
    array = array_for(rows=4, columns=2)
    with pytest.raises(ValueError, match="geometry must be"):
        core_of(array_for(rows=2, columns=2))(design=design_for(array))


@pytest.mark.parametrize(("change", "error", "message"), [
    ({"rows": 0}, ValueError, "rows must be 1 to 64, not 0"),
    ({"columns": 65}, ValueError, "columns must be 1 to 64, not 65"),
    ({"rows": 2.0}, TypeError, "integer"),
    ({"lanes": 5}, ValueError, "lanes must be one of 4, 8, 16, 32, not 5"),
    ({"lanes": 16, "activations": "fp16"}, ValueError, "lanes must be at most 8 with activations in fp16, not 16"),
    ({"activations": "bf16"}, ValueError, "activations must be one of int8, fp16, not 'bf16'"),
    ({"rounding": "up"}, ValueError, "rounding must be one of nearest, truncate, not 'up'"),
    ({"group": 100}, ValueError, "group must be one of 32, 64, 128, 256, not 100"),
    ({"variants": ()}, ValueError, r"variants must be at least one, not \(\)"),
    ({"rows": 64, "lanes": 8}, ValueError, r"group must be a multiple of 256 .*, not 32"),
])  # fmt: skip
def test_array_refuses(change, error, message):
    with pytest.raises(error, match=message):
        array_for(**({"rows": 2, "columns": 2} | change))


def test_weight_words_fill_their_bits():
    """No bit is wasted: with 256 weights in a group, formats of 3 and 5 bits take 3 and 5 bits, and the scales' word."""
    array = array_for(rows=2, columns=2, group=256)
    for format in ALL:
        words = array.group_weight_words(format, array.group_words)
        assert (words - 1) * 4 * array.lanes == 256 * format.bits
    assert ceil_div(array.group, array.word_steps) == array.group_words
