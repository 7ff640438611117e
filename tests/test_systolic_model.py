"""The systolic core in simulation against its golden execute and its cycle law: equal, bit for bit and cycle for cycle."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from systolic_bench import command, design_for, run

from hw.array.core import systolic_core
from hw.array.geometry import MULTIPLIERS
from hw.design import ceil_div
from sim.families.systolic import SystolicModel

OUTPUT, WEIGHT = "output-stationary", "weight-stationary"


def contents(design, seed):
    """Random scratchpads."""
    random = np.random.default_rng(seed)
    g = design.geometry
    return (
        random.integers(0, 256, design.activation_words * g.activation_bytes, dtype=np.uint8),
        random.integers(0, 256, design.weight_words * g.weight_bytes, dtype=np.uint8),
    )


def check(design, dataflow, commands, visible, seed=1, multiplier="native"):
    """Run, and compare everything with the model."""
    print(f"seed {seed}")
    g = design.geometry
    activations, weights = contents(design, seed)
    make = partial(systolic_core, dataflow=dataflow, multiplier=multiplier)
    seen = run(design, make, activations, weights, commands, visible)
    model = SystolicModel(geometry=g, dataflow=dataflow, multiplier=multiplier)
    law = model.law()
    expected = np.zeros((design.accumulator_rows, g.columns), np.int32)
    written = np.zeros(design.accumulator_rows, bool)
    times, busy = [], set()
    for fields, since in zip(commands, visible, strict=True):
        after = times[-1].taken + 1 if times else 0
        times.append(law.execute(max(since, after), vars(fields)))
        busy |= set(range(times[-1].begin, times[-1].end))
        result = model.execute(vars(fields), activations, weights)
        rows = result.shape[0]
        for n in range(fields.column_tiles):
            place = slice(
                fields.accumulators_address + n * rows, fields.accumulators_address + (n + 1) * rows
            )
            old = expected[place] if fields.accumulate else 0
            expected[place] = (old + result[:, n * g.columns : (n + 1) * g.columns].astype(np.int64)).astype(
                np.int32
            )
            written[place] = True
    assert seen.taken == [t.taken for t in times]
    assert seen.finished == [t.finished for t in times]
    assert seen.busy == sorted(busy)
    assert len(seen.steps) == sum(t.steps for t in times)
    assert seen.faults == []
    np.testing.assert_array_equal(seen.accumulators[written], expected[written])
    return seen, times


SHAPES = [
    (1, 1, 4, OUTPUT), (2, 3, 4, OUTPUT), (3, 5, 4, OUTPUT), (4, 4, 8, OUTPUT), (8, 8, 8, OUTPUT), (5, 2, 16, OUTPUT),
    (7, 9, 64, OUTPUT), (9, 3, 32, OUTPUT),
    (1, 1, 4, WEIGHT), (2, 3, 4, WEIGHT), (4, 4, 8, WEIGHT), (8, 8, 4, WEIGHT), (2, 5, 16, WEIGHT), (4, 3, 64, WEIGHT),
    (16, 2, 8, WEIGHT), (8, 3, 32, WEIGHT),
]  # fmt: skip


@st.composite
def programs(draw, shapes=SHAPES, **sizes):
    """A shape, and a sequence of commands that stay within scratchpads and accumulators."""
    rows, columns, data_bytes, dataflow, *depth = draw(st.sampled_from(shapes))
    # Of carry-save elements Amaranth's simulator makes code for minutes.
    multiplier = "native" if depth else draw(st.sampled_from(["native", "dsp"]))
    columns = ceil_div(columns, MULTIPLIERS[multiplier].together) * MULTIPLIERS[multiplier].together
    sizes |= {"depth": depth[0]} if depth else {}
    design = design_for(
        rows=rows, columns=columns, data_bytes=data_bytes, dataflow=dataflow, multiplier=multiplier, **sizes
    )
    g = design.geometry
    half = design.accumulator_rows // 2
    commands, visible, now = [], [], 0
    for _ in range(draw(st.integers(1, 5))):
        row_tiles = draw(st.integers(1, 5 if g.tile_rows > 1 else 12))
        column_tiles = draw(st.integers(1, 3))
        depth_tiles = draw(st.integers(1, 3 * g.activation_bytes // 2 if dataflow == OUTPUT else 6))
        depth_tiles = min(depth_tiles, 40, design.weight_words // column_tiles // g.weight_words)
        row_tiles = max(1, min(row_tiles, half // g.tile_rows // column_tiles))
        words = ceil_div(depth_tiles * g.tile_depth, g.activation_bytes)
        stride = draw(st.integers(0, 7))
        room = design.activation_words - words - (row_tiles * g.tile_rows - 1) * stride
        rows_used = row_tiles * g.tile_rows * column_tiles
        commands.append(
            command(
                row_tiles=row_tiles,
                column_tiles=column_tiles,
                depth_tiles=depth_tiles,
                activations_stride=stride if room >= 0 else 0,
                activations_address=draw(st.integers(0, max(room, 0))),
                weights_address=draw(
                    st.integers(0, design.weight_words - column_tiles * depth_tiles * g.weight_words)
                ),
                accumulators_address=draw(st.integers(0, 1)) * half + draw(st.integers(0, half - rows_used)),
                accumulate=draw(st.integers(0, 1)),
            )
        )
        now += draw(st.sampled_from([0, 0, 1, 5, 40, 200]))
        visible.append(now)
    return design, dataflow, multiplier, commands, visible, draw(st.integers(0, 1000))


def clear(design):
    """Commands that write all of the accumulators' rows once (any values)."""
    half = design.accumulator_rows // 2
    tiles = half // design.geometry.tile_rows
    return [
        command(row_tiles=tiles, activations_stride=0, accumulators_address=address)
        for address in sorted(
            {0, half - tiles * design.geometry.tile_rows, half, 2 * half - tiles * design.geometry.tile_rows}
        )
    ]


@settings(max_examples=12, deadline=None)
@given(programs())
def test_any_sequence(program):
    design, dataflow, multiplier, commands, visible, seed = program
    first = clear(design)
    check(design, dataflow, [*first, *commands], [*[0] * len(first), *visible], seed, multiplier)


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes(shape):
    rows, columns, data_bytes, dataflow = shape
    design = design_for(rows=rows, columns=columns, data_bytes=data_bytes, dataflow=dataflow)
    commands = [
        command(row_tiles=2, column_tiles=2, depth_tiles=3, activations_stride=6),
        command(depth_tiles=1, accumulators_address=64, weights_address=7),
        command(depth_tiles=5, activations_stride=8, accumulators_address=64, accumulate=1),
        command(depth_tiles=1, activations_stride=0, accumulators_address=64, accumulate=1),
    ]
    check(design, dataflow, commands, [0, 0, 0, 0])


@pytest.mark.parametrize("accumulate", [0, 1])
@pytest.mark.parametrize(
    ("rows", "columns", "dataflow", "multiplier", "earlier"),
    [
        (1, 3, OUTPUT, "carry_save", 1),
        (2, 1, WEIGHT, "carry_save", 2),
        (3, 4, OUTPUT, "dsp", 0),
        (4, 6, WEIGHT, "dsp", 0),
        pytest.param(4, 3, OUTPUT, "carry_save", 1, marks=pytest.mark.long),
        pytest.param(4, 3, WEIGHT, "carry_save", 2, marks=pytest.mark.long),
    ],
)
def test_multipliers(rows, columns, dataflow, multiplier, earlier, accumulate):
    """Sums are exact; those of multipliers without registers inside come earlier."""
    sizes = {"rows": rows, "columns": columns, "data_bytes": 4, "dataflow": dataflow}
    commands = [
        command(row_tiles=2, column_tiles=2, depth_tiles=depth, activations_stride=13, accumulate=accumulate)
        for depth in (1, 13, 3)
    ]
    design = design_for(**sizes, multiplier=multiplier)
    seen, times = check(design, dataflow, commands, [0, 0, 90], multiplier=multiplier)
    law = SystolicModel(geometry=design_for(**sizes).geometry, dataflow=dataflow).law()
    native = [law.execute(one.taken, vars(fields)) for one, fields in zip(times, commands, strict=True)]
    assert [one.taken for one in native] == seen.taken
    assert [one.finished - other for one, other in zip(native, seen.finished, strict=True)] == [earlier] * 3
