# amaranth: UnusedElaboratable=no
"""The bit-serial core in simulation against its golden execute and its cycle law: equal, bit for bit and cycle for cycle."""

from __future__ import annotations

import numpy as np
import pytest
from bit_serial_bench import ALL, array_for, command, configure, core_of, design_for
from hypothesis import given, settings
from hypothesis import strategies as st
from systolic_bench import run
from test_systolic_model import contents

from hw.design import ceil_div
from hw.pe.weight_format import WeightFormat
from sim.families.bit_serial import BitSerialModel

SPECIALS = [10, 10 | 32, 16, 16 | 32]


def check(array, design, commands, visible, seed=1):
    """Run, and compare everything with the model."""
    print(f"seed {seed}")
    g = design.geometry
    activations, weights = contents(design, seed)
    seen = run(design, core_of(array), activations, weights, commands, visible, patience=20000)
    model = BitSerialModel(array)
    law = model.law()
    expected = np.zeros((design.accumulator_rows, g.columns), np.int32)
    written = np.zeros(design.accumulator_rows, bool)
    times, busy, values = [], set(), [0] * g.settings
    for one, since in zip(commands, visible, strict=True):
        fields = vars(one)
        visible_at = max(since, times[-1].taken + 1 if times else 0)
        if "configure" in fields:
            times.append(law.configure(visible_at, fields))
            values[one.setting] = one.value
            busy |= set(range(times[-1].begin, times[-1].end))
            continue
        times.append(law.execute(visible_at, fields))
        busy |= set(range(times[-1].begin, times[-1].end))
        result = model.execute(fields, activations, weights, values)
        rows = result.shape[0]
        for n in range(one.column_tiles):
            place = slice(one.accumulators_address + n * rows, one.accumulators_address + (n + 1) * rows)
            old = expected[place] if one.accumulate else 0
            total = old + result[:, n * g.columns : (n + 1) * g.columns].astype(np.int64)
            expected[place] = total.astype(np.int32)
            written[place] = True
    assert seen.taken == [t.taken for t in times]
    assert seen.finished == [t.finished for t in times]
    assert seen.busy == sorted(busy)
    assert len(seen.steps) == sum(t.steps for t in times)
    assert seen.faults == []
    np.testing.assert_array_equal(seen.accumulators[written], expected[written])
    return seen, times


def special_values(values=SPECIALS):
    return [configure(index, value) for index, value in enumerate(values)]


@pytest.mark.parametrize("format", ALL)
def test_each_format(format):
    array = array_for(rows=2, columns=2)
    design = design_for(array)
    commands = [
        *special_values(),
        command(depth_tiles=4, row_tiles=2, column_tiles=2, activations_stride=4, variant=format),
    ]
    check(array, design, commands, [0] * len(commands))


SHAPES = [
    {"rows": 1, "columns": 1, "data_bytes": 4}, {"rows": 2, "columns": 3, "data_bytes": 8}, {"rows": 3, "columns": 2, "group": 64},
    {"rows": 8, "columns": 2, "data_bytes": 4}, {"rows": 5, "columns": 4, "lanes": 8, "group": 64}, {"rows": 1, "columns": 2, "lanes": 16},
    {"rows": 2, "columns": 1, "lanes": 32, "group": 256, "data_bytes": 64}, {"rows": 9, "columns": 1, "group": 256},
    {"rows": 4, "columns": 2, "variants": (WeightFormat.INT8,)}, {"rows": 4, "columns": 2, "variants": (WeightFormat.FP3, WeightFormat.INT5)},
    {"rows": 3, "columns": 5, "variants": (WeightFormat.INT6, WeightFormat.INT4)},
]  # fmt: skip


def room(array, variant, depth_tiles, column_tiles):
    return BitSerialModel(array).weight_words(variant, depth_tiles) * column_tiles


@st.composite
def programs(draw):
    """A shape, and a sequence of commands that stay within scratchpads and accumulators."""
    array = array_for(**draw(st.sampled_from(SHAPES)))
    design = design_for(array)
    g = array.geometry
    half = design.accumulator_rows // 2
    commands, visible, now = [], [], 0
    for _ in range(draw(st.integers(1, 5))):
        now += draw(st.sampled_from([0, 0, 1, 5, 40, 200]))
        visible.append(now)
        if g.settings and draw(st.integers(0, 2)) == 0:
            value = draw(st.sampled_from([3, 5, 9, 10, 16, 24, 31 ^ 15 ^ 8, 0, 35, 48]))
            commands.append(configure(draw(st.integers(0, 3)), value))
            continue
        variant = draw(st.integers(0, len(array.variants) - 1))
        column_tiles = draw(st.integers(1, 3))
        row_tiles = max(1, min(draw(st.integers(1, 4)), half // g.tile_rows // column_tiles))
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


@settings(max_examples=25, deadline=None)
@given(programs())
def test_any_sequence(program):
    array, design, commands, visible, seed = program
    first = clear(design)
    check(array, design, [*first, *commands], [*[0] * len(first), *visible], seed)


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes(shape):
    array = array_for(**shape)
    design = design_for(array, activation_words=512, weight_words=1024)
    words = array.group_words
    commands = special_values() if array.geometry.settings else []
    for variant in range(len(array.variants)):
        commands += [
            command(
                row_tiles=2,
                column_tiles=2,
                depth_tiles=words + 1,
                activations_stride=words + 2,
                variant=variant,
            ),
            command(depth_tiles=1, accumulators_address=64, weights_address=7, variant=variant),
            command(
                depth_tiles=words,
                activations_stride=8,
                accumulators_address=64,
                accumulate=1,
                variant=variant,
            ),
            command(
                depth_tiles=1, activations_stride=0, accumulators_address=64, accumulate=1, variant=variant
            ),
        ]
    seen, times = check(array, design, commands, [0] * len(commands))
    # Group follows group without a gap, and command follows command.
    assert all(
        after.end - after.steps >= before.end - 1 for before, after in zip(times, times[1:], strict=False)
    )


def test_long_groups_leave_no_gap():
    array = array_for(rows=4, columns=2, group=64)
    design = design_for(array)
    commands = [command(row_tiles=2, depth_tiles=8, activations_stride=8, variant=v) for v in range(len(ALL))]
    seen, times = check(array, design, commands, [0] * len(commands))
    assert seen.steps == list(range(seen.steps[0], seen.steps[0] + len(seen.steps)))


def test_special_values_change_between_commands():
    """One command with the old values, one with the new, with no pause between them."""
    array = array_for(rows=2, columns=3, variants=(WeightFormat.FP3,))
    design = design_for(array)
    work = {"depth_tiles": 2 * array.group_words, "column_tiles": 2, "activations_stride": 3}
    commands = [
        *special_values([3, 35, 6, 38]), command(**work), *special_values([5, 37, 24, 56]),
        command(accumulators_address=32, **work),
    ]  # fmt: skip
    seen, _ = check(array, design, commands, [0] * len(commands))
    assert not np.array_equal(seen.accumulators[:4], seen.accumulators[32:36])


PAST = [
    {"activations_address": 250, "activations_stride": 2},
    {"activations_address": 255, "depth_tiles": 2, "activations_stride": 0},
    {"weights_address": 480, "column_tiles": 9},
    {"weights_address": 511},
    {"accumulators_address": 62},
    {"accumulators_address": 40, "column_tiles": 20},
]


@pytest.mark.parametrize("variant", [0, 5])
@pytest.mark.parametrize("past", PAST)
def test_past_the_end_is_a_fault_of_its_command(past, variant):
    array = array_for(rows=4, columns=2)
    design = design_for(array)
    activations, weights = contents(design, 1)
    fields = {"variant": variant, "depth_tiles": 5, "activations_stride": 5}
    good = command(**fields, row_tiles=2)
    wrong = command(**(fields | {"row_tiles": 2, "accumulators_address": 64} | past))
    after = command(**fields, row_tiles=3, accumulators_address=96)
    commands = [good, wrong, after, wrong, wrong, after]
    seen = run(design, core_of(array), activations, weights, commands, [0] * len(commands))
    assert seen.faults == [seen.finished[1] - 1, seen.finished[3] - 1, seen.finished[4] - 1]
    model = BitSerialModel(array)
    for one in (good, after):
        expected = model.execute(vars(one), activations, weights, [0] * 4)
        first = one.accumulators_address
        if first + len(expected) <= 128 and not (one is good and "accumulators_address" in past):
            np.testing.assert_array_equal(seen.accumulators[first : first + len(expected)], expected)


def test_a_wrong_command_is_cut_short():
    array = array_for(rows=4, columns=2)
    design = design_for(array)
    activations, weights = contents(design, 1)
    huge = command(weights_address=500, row_tiles=65535, column_tiles=65535, depth_tiles=1 << 23)
    seen = run(design, core_of(array), activations, weights, [huge], [0])
    assert seen.faults == [seen.finished[0] - 1]
    assert seen.finished[0] < 400


@pytest.mark.parametrize("variant", [0, 4])
def test_up_to_the_end_is_no_fault(variant):
    array = array_for(rows=4, columns=2)
    design = design_for(array)
    words = room(array, variant, 4, 1)
    one = command(
        row_tiles=4, depth_tiles=4, activations_stride=5, activations_address=256 - (15 * 5 + 4),
        weights_address=512 - words, accumulators_address=128 - 16, variant=variant,
    )  # fmt: skip
    check(array, design, [one], [0])


@pytest.mark.parametrize(
    ("since", "by_reset"),
    [*((since, False) for since in range(1, 150, 3)), *((since, True) for since in range(25, 150, 31))],
)
def test_halt_and_reset_leave_nothing_behind(since, by_reset):
    array = array_for(rows=3, columns=2)
    design = design_for(array)
    activations, weights = contents(design, since)
    dropped = command(
        row_tiles=2, column_tiles=2, depth_tiles=6, activations_stride=6, variant=1, accumulators_address=64
    )
    kept = command(row_tiles=2, depth_tiles=5, activations_stride=5, variant=2)
    commands = [*special_values([]), dropped, dropped, kept]
    seen = run(
        design,
        core_of(array),
        activations,
        weights,
        commands,
        [0, 0, since + 80],
        halt=range(since, since + (4 if by_reset else 60)),
        by_reset=by_reset,
    )
    expected = BitSerialModel(array).execute(vars(kept), activations, weights, [0] * 4)
    np.testing.assert_array_equal(seen.accumulators[: len(expected)], expected)
    assert seen.faults == []


def test_core_refuses():
    array = array_for(rows=4, columns=2)
    with pytest.raises(ValueError, match="geometry must be"):
        core_of(array_for(rows=2, columns=2))(design=design_for(array))


@pytest.mark.parametrize(("change", "error", "message"), [
    ({"rows": 0}, ValueError, "rows must be 1 to 64, not 0"),
    ({"columns": 65}, ValueError, "columns must be 1 to 64, not 65"),
    ({"rows": 2.0}, TypeError, "integer"),
    ({"lanes": 5}, ValueError, "lanes must be one of 4, 8, 16, 32, not 5"),
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
