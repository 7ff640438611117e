# amaranth: UnusedElaboratable=no
"""Systolic cores against their golden model and their cycle law: every result, every cycle."""

import numpy as np
import pytest
from core_bench import run
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.array.core import systolic_core
from hw.array.geometry import systolic_geometry
from hw.design import Design
from sim.families.systolic import SystolicModel

SHAPES = [
    (1, 1, 4, "output-stationary"),
    (2, 3, 4, "output-stationary"),
    (3, 5, 8, "output-stationary"),
    (4, 4, 8, "output-stationary"),
    (5, 9, 4, "output-stationary"),
    (1, 1, 4, "weight-stationary"),
    (2, 3, 4, "weight-stationary"),
    (4, 4, 4, "weight-stationary"),
    (2, 5, 8, "weight-stationary"),
    (8, 2, 4, "weight-stationary"),
]


def make(rows, columns, data_bytes, dataflow):
    geometry = systolic_geometry(rows=rows, columns=columns, data_bytes=data_bytes, dataflow=dataflow)
    design = Design(
        geometry=geometry,
        data_bytes=data_bytes,
        address_width=32,
        burst_beats=16,
        outstanding=2,
        activation_words=64,
        weight_words=256,
        accumulator_rows=64,
        parameter_entries=32,
        output_lanes=1,
    )
    return design, SystolicModel(geometry=geometry, dataflow=dataflow)


def commands(draw, design, model):
    """A few commands that stay inside scratchpads and one half of the accumulators."""
    g, result = design.geometry, []
    for _ in range(draw(st.integers(1, 5))):
        depth = draw(st.integers(1, max(1, 40 // g.tile_depth)))
        words = -(-depth * g.tile_depth // g.activation_bytes)
        most = min(
            design.activation_words // words // g.tile_rows, design.accumulator_rows // 2 // g.tile_rows, 6
        )
        row_tiles = draw(st.integers(1, max(1, most)))
        rows = row_tiles * g.tile_rows
        most = min(design.weight_words // model.weight_words(depth), design.accumulator_rows // 2 // rows, 4)
        column_tiles = draw(st.integers(1, max(1, most)))
        stride = draw(st.integers(words, max(words, (design.activation_words - words) // max(1, rows - 1))))
        stride = min(stride, max(words, (design.activation_words - words) // max(1, rows - 1)))
        half = draw(st.integers(0, 1)) * design.accumulator_rows // 2
        room = design.accumulator_rows // 2 - rows * column_tiles
        fields = {
            "activations_address": draw(
                st.integers(0, design.activation_words - (rows - 1) * stride - words)
            ),
            "weights_address": draw(
                st.integers(0, design.weight_words - column_tiles * model.weight_words(depth))
            ),
            "accumulators_address": half + draw(st.integers(0, room)),
            "activations_stride": stride,
            "row_tiles": row_tiles,
            "column_tiles": column_tiles,
            "depth_tiles": depth,
            "accumulate": draw(st.integers(0, 1)),
        }
        result.append((draw(st.sampled_from([0, 0, 0, 30, 100, 101, 102, 150])), fields))
    gaps, now = [], 0
    for gap, fields in result:
        now += gap
        gaps.append((now, fields))
    return gaps


@pytest.mark.parametrize(("rows", "columns", "data_bytes", "dataflow"), SHAPES)
@settings(max_examples=12)
@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_results_and_cycles(rows, columns, data_bytes, dataflow, data, seed):
    design, model = make(rows, columns, data_bytes, dataflow)
    rng = np.random.default_rng(seed)
    contents = {
        "activations": rng.integers(
            0, 256, design.activation_words * design.geometry.activation_bytes, np.uint8
        ),
        "weights": rng.integers(0, 256, design.weight_words * design.geometry.weight_bytes, np.uint8),
    }
    sequence = commands(data.draw, design, model)
    core = systolic_core(design=design, dataflow=dataflow)  # only now: a draw may be given up
    times, steps, table = run(design, core, contents, sequence)
    law, wanted, begun = model.law(), np.zeros_like(table), []
    for (_, fields), (visible, taken, finished) in zip(sequence, times, strict=True):
        predicted = law.execute(visible, fields)
        assert (taken, finished) == (predicted.taken, predicted.finished), fields
        begun.append(predicted)
        result = model.execute(fields, contents["activations"], contents["weights"])
        m = result.shape[0]
        for tile in range(fields["column_tiles"]):
            place = slice(
                fields["accumulators_address"] + tile * m, fields["accumulators_address"] + (tile + 1) * m
            )
            part = result[:, tile * columns : (tile + 1) * columns]
            wanted[place] = wanted[place] + part if fields["accumulate"] else part
    np.testing.assert_array_equal(table, wanted)
    assert len(steps) == sum(t.steps for t in begun)
    assert steps[0] == begun[0].begin


@pytest.mark.parametrize("dataflow", ["output-stationary", "weight-stationary"])
def test_tiles_follow_without_a_gap_and_commands_almost(dataflow):
    design, _ = make(4, 4, 8, dataflow)
    core = systolic_core(design=design, dataflow=dataflow)
    contents = {
        "activations": np.zeros(design.activation_words * 8, np.uint8),
        "weights": np.zeros(design.weight_words * 4, np.uint8),
    }
    depth, rows = (16, 2) if dataflow == "output-stationary" else (4, 16)
    fields = {
        "activations_address": 0, "weights_address": 0, "accumulators_address": 0, "activations_stride": 2,
        "row_tiles": rows, "column_tiles": 2, "depth_tiles": depth, "accumulate": 0,
    }  # fmt: skip
    _, steps, _ = run(design, core, contents, [(0, fields)] * 3)
    # The output-stationary front end takes a cycle to see that a command's operands are there.
    each, pause = 2 * rows * depth, int(dataflow == "output-stationary")
    assert steps == [steps[0] + command * (each + pause) + k for command in range(3) for k in range(each)]
