# amaranth: UnusedElaboratable=no
"""Systolic arrays and cores: geometry, what is refused, halts, addresses past the end, tiles without a gap."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from amaranth.sim import Simulator
from core_bench import check_halts
from systolic_bench import command, design_for, run
from test_systolic_model import contents

from hw.array.core import OUTPUT_ARRAYS, WEIGHT_ARRAYS, systolic_core
from hw.array.corner_turn import CornerTurn
from hw.array.geometry import MULTIPLIERS, systolic_geometry
from hw.array.output_stationary import OutputStationaryArray
from hw.array.packed import PackedOutputArray, PackedWeightArray
from hw.array.weight_stationary import WeightStationaryArray
from hw.pe.packed import PackedWeightElement
from hw.pe.systolic import CarrySaveWeightElement, WeightStationaryElement
from hw.timing import DRAIN_ROWS, OUTPUT_ELEMENTS, WEIGHT_ELEMENTS
from sim.families.systolic import SystolicModel

OUTPUT, WEIGHT = "output-stationary", "weight-stationary"


@pytest.mark.parametrize(
    ("rows", "columns", "data_bytes", "dataflow", "multiplier", "expected"),
    [
        (8, 8, 8, OUTPUT, "native", (8, 8, 1, 8, 8, 1)),
        (3, 5, 4, OUTPUT, "carry_save", (3, 5, 1, 4, 8, 1)),
        (9, 3, 4, OUTPUT, "native", (9, 3, 1, 16, 4, 1)),
        (8, 6, 8, OUTPUT, "dsp", (8, 6, 1, 8, 4, 1)),
        (16, 16, 8, WEIGHT, "native", (1, 16, 16, 16, 16, 16)),
        (4, 1, 64, WEIGHT, "carry_save", (1, 1, 4, 64, 1, 4)),
        (4, 2, 64, WEIGHT, "dsp", (1, 2, 4, 64, 1, 4)),
    ],
)
def test_geometry(rows, columns, data_bytes, dataflow, multiplier, expected):
    g = systolic_geometry(
        rows=rows, columns=columns, data_bytes=data_bytes, dataflow=dataflow, multiplier=multiplier
    )
    assert expected == (
        g.tile_rows, g.columns, g.tile_depth, g.activation_bytes, g.weight_bytes, g.weight_words,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"rows": 0}, ValueError, "rows must be 1 or more, not 0"),
        ({"columns": -1}, ValueError, "columns must be 1 or more, not -1"),
        ({"rows": 2.0}, TypeError, "integer"),
        ({"data_bytes": 128}, ValueError, "data_bytes must be 4, 8, 16, 32 or 64, not 128"),
        ({"dataflow": "both"}, ValueError, "dataflow must be one of .*, not 'both'"),
        ({"rows": 3, "dataflow": WEIGHT}, ValueError, "rows must be a power of two .*, not 3"),
        (
            {"multiplier": "best"},
            ValueError,
            "multiplier must be one of native, .*, sparse_digit, not 'best'",
        ),
        (
            {"multiplier": "dsp", "columns": 3},
            ValueError,
            "columns must be a multiple of 2 when multiplier is dsp, not 3",
        ),
    ],
)
def test_geometry_refuses(change, error, message):
    with pytest.raises(error, match=message):
        systolic_geometry(**{"rows": 4, "columns": 4, "data_bytes": 8, "dataflow": OUTPUT} | change)


def test_components_refuse():
    with pytest.raises(ValueError, match=r"rows must be 1 .*, not 0"):
        OutputStationaryArray(rows=0, columns=1)
    for array in (PackedOutputArray, PackedWeightArray):
        with pytest.raises(ValueError, match="columns must be a multiple of 2, not 5"):
            array(rows=1, columns=5)
    with pytest.raises(ValueError, match=r"columns must be 1 .*, not 0"):
        WeightStationaryArray(rows=1, columns=0)
    with pytest.raises(ValueError, match="sum_width must be 16 to 32, not 33"):
        WeightStationaryElement(sum_width=33)
    with pytest.raises(ValueError, match="sum_width must be 12 to 32, not 11"):
        PackedWeightElement(sum_width=11)
    with pytest.raises(ValueError, match="sum_width must be 16 to 64, not 15"):
        CarrySaveWeightElement(sum_width=15)
    with pytest.raises(ValueError, match="rows must be 1 to the steps of a word, 4, not 5"):
        CornerTurn(rows=5, word_bytes=4)
    design = design_for(rows=2, columns=2, data_bytes=4, dataflow=OUTPUT)
    with pytest.raises(ValueError, match="geometry must be"):
        systolic_core(design=design, dataflow=WEIGHT)
    with pytest.raises(ValueError, match=r"geometry must be .*weight_bytes=1"):
        systolic_core(design=design, dataflow=OUTPUT, multiplier="dsp")
    with pytest.raises(ValueError, match="accumulator_rows must be a power of two, 2 or more, not 96"):
        systolic_core(design=replace(design, accumulator_rows=96), dataflow=OUTPUT)


def operands(rows, columns, depth, multiplier):
    """The least among them, whose products are the greatest."""
    random = np.random.default_rng(depth)
    least = -1 << MULTIPLIERS[multiplier].weight_bits - 1
    x, w = random.integers(-128, 128, (rows, depth)), random.integers(least, -least, (depth, columns))
    x[0], w[:, 0], w[:, -1] = -128, least, least
    return x, w


@pytest.mark.parametrize(("rows", "columns", "multiplier"), [
    *((*size, "native") for size in ((1, 1), (2, 3), (4, 4), (7, 2))),
    (1, 1, "carry_save"), (1, 2, "dsp"), (7, 4, "dsp"),
    *(pytest.param(*size, "carry_save", marks=pytest.mark.long) for size in ((2, 3), (4, 4), (7, 2))),
    *(pytest.param(*size, "dsp", marks=pytest.mark.long) for size in ((2, 6), (4, 4))),
])  # fmt: skip
def test_output_stationary_array(rows, columns, multiplier):
    """Two products of matrices, the second as close behind the first as results allow; every result in its cycle."""
    dut = OUTPUT_ARRAYS[multiplier](rows=rows, columns=columns)
    depth = rows + (rows - 1) // DRAIN_ROWS + 1
    pairs = [operands(rows, columns, depth + more, multiplier) for more in (0, 1)]
    x, w = np.hstack([p[0] for p in pairs]), np.vstack([p[1] for p in pairs])
    ends = [depth - 1, 2 * depth]
    due = {
        end + r + OUTPUT_ELEMENTS[multiplier] + r // DRAIN_ROWS + 1: (x_i[r] @ w_i) & 0xFFFFFFFF
        for end, (x_i, w_i) in zip(ends, pairs, strict=True)
        for r in range(rows)
    }

    async def bench(ctx):
        total = x.shape[1]
        for now in range(max(due) + columns + 4):
            for r in range(rows):
                k = now - r
                ctx.set(dut.activations[r], int(x[r, k]) if 0 <= k < total else 0)
            ctx.set(dut.last, sum((now - r in ends) << r for r in range(rows)))
            for c in range(columns):
                ctx.set(dut.weights[c], int(w[now, c]) if now < total else 0)
                expected = due.get(now - c)
                assert ctx.get(dut.results[c]) == (0 if expected is None else expected[c]), (now, c)
            assert ctx.get(dut.valid) == (now in due)
            await ctx.tick()

    simulate(dut, bench)


@pytest.mark.parametrize(("rows", "columns", "multiplier"), [
    *((*size, "native") for size in ((1, 1), (2, 3), (4, 4))),
    (2, 1, "carry_save"), (1, 2, "dsp"), (4, 4, "dsp"),
    *(pytest.param(*size, "carry_save", marks=pytest.mark.long) for size in ((1, 1), (2, 3), (8, 1))),
    *(pytest.param(*size, "dsp", marks=pytest.mark.long) for size in ((2, 6), (8, 2), (64, 2))),
])  # fmt: skip
def test_weight_stationary_array(rows, columns, multiplier):
    """Three tiles, weights of the next taken in from the cycle on in which activations of the one before begin."""
    dut, late = WEIGHT_ARRAYS[multiplier](rows=rows, columns=columns), WEIGHT_ELEMENTS[multiplier]
    tiles = 3
    # As many activations as it takes to load the next weights.
    x = np.stack([operands(rows, columns, rows, multiplier)[0]] * tiles)
    w = np.stack([operands(rows, columns, rows + tile, multiplier)[1][:rows] for tile in range(tiles)])

    async def bench(ctx):
        for now in range((tiles + 2) * rows + rows + columns + 4):
            loading, word = divmod(now, rows)
            passing, step = divmod(now - 1, rows)
            ctx.set(dut.capture, word == 0 and loading < tiles)
            ctx.set(dut.swap, word == 0 and 1 <= loading <= tiles)
            for c in range(columns):
                ctx.set(dut.weights[c], int(w[loading, word, c]) if loading < tiles else 7)
            for r in range(rows):
                ctx.set(dut.activations[r], int(x[passing - 1, step, r]) if 1 <= passing <= tiles else 77)
            for c in range(columns):
                tile, row = divmod(now - 1 - c - (rows - 1 + late), rows)
                if 1 <= tile <= tiles:
                    assert ctx.get(dut.results[c]) == int(x[tile - 1, row] @ w[tile - 1, :, c]) & 0xFFFFFFFF
            await ctx.tick()

    simulate(dut, bench)


def simulate(dut, bench):
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


@pytest.mark.parametrize(("dataflow", "fields"), [
    (OUTPUT, {"row_tiles": 3, "column_tiles": 2, "depth_tiles": 64}),
    (WEIGHT, {"row_tiles": 16, "column_tiles": 2, "depth_tiles": 5}),
])  # fmt: skip
def test_no_gap_within_and_across_commands(dataflow, fields):
    """Back to back, every cycle from the first step to the last is a step."""
    design = design_for(rows=8 if dataflow == OUTPUT else 16, columns=2, data_bytes=8, dataflow=dataflow)
    activations, weights = contents(design, 1)
    seen = run(design, dataflow, activations, weights, [command(**fields)] * 3, [0, 0, 0])
    assert len(seen.steps) == 3 * np.prod(list(fields.values()))
    assert seen.steps == list(range(seen.steps[0], seen.steps[-1] + 1))


@pytest.mark.parametrize("since", range(0, 60, 3))
@pytest.mark.parametrize("dataflow", [OUTPUT, WEIGHT])
@pytest.mark.parametrize("past", [0, 250])
def test_halt(dataflow, since, past):
    """Whenever halted, the core stops at once; nothing of what it dropped is left in a command that comes right after."""
    design = design_for(rows=4, columns=3, data_bytes=4, dataflow=dataflow)
    activations, weights = contents(design, since)
    long = command(row_tiles=4, column_tiles=3, depth_tiles=9, activations_stride=3, weights_address=past)
    after = command(row_tiles=2, column_tiles=2, depth_tiles=3, activations_stride=3, accumulators_address=64)
    halt = range(since, since + 40)
    seen = run(design, dataflow, activations, weights, [long, long, after], [0, 0, halt.stop], halt=halt)
    assert all(cycle <= since or cycle > halt.stop for cycle in [*seen.steps, *seen.busy])
    model = SystolicModel(geometry=design.geometry, dataflow=dataflow)
    time = model.law().execute(halt.stop, vars(after))
    assert seen.taken[-1] == time.taken == halt.stop
    assert not [cycle for cycle in seen.faults if cycle > halt.stop]
    assert [cycle for cycle in seen.finished if cycle > halt.stop] == [time.finished]
    expected = model.execute(vars(after), activations, weights)
    rows = len(expected)
    for n in range(2):
        np.testing.assert_array_equal(
            seen.accumulators[64 + n * rows : 64 + (n + 1) * rows], expected[:, 3 * n : 3 * n + 3]
        )


PAST = [
    {"activations_address": 250, "activations_stride": 9},
    {"activations_address": 255, "depth_tiles": 9},
    {"activations_address": 250, "activations_stride": 2, "depth_tiles": 7},
    {"activations_address": 249, "activations_stride": 2, "depth_tiles": 12},
    {"activations_stride": 65535},
    {"weights_address": 254, "depth_tiles": 9},
    {"depth_tiles": 1 << 23},
    {"row_tiles": 65535, "activations_stride": 0},
    {"column_tiles": 65535},
    {"accumulators_address": 63, "row_tiles": 9},
    {"accumulators_address": 127, "row_tiles": 9},
]


@pytest.mark.parametrize("past", PAST, ids=str)
@pytest.mark.parametrize("dataflow", [OUTPUT, WEIGHT])
@pytest.mark.parametrize("position", [0, 1, 2])
def test_address_past_the_end(dataflow, past, position):
    """The command at fault is named, by a pulse in the cycle before it has finished; the commands before it are right."""
    design = design_for(rows=4, columns=2, data_bytes=4, dataflow=dataflow)
    activations, weights = contents(design, position)
    good = [
        command(row_tiles=2, depth_tiles=2, activations_stride=2, accumulators_address=8 * i)
        for i in range(position)
    ]
    wrong = command(**{"row_tiles": 4, "depth_tiles": 2} | past)
    later = command(row_tiles=3, depth_tiles=2, activations_stride=2, accumulators_address=96)
    commands = [*good, wrong, later]
    visible = [0] * (position + 1) + [400]
    seen = run(design, dataflow, activations, weights, commands, visible)
    assert seen.faults == [seen.finished[position] - 1]
    model = SystolicModel(geometry=design.geometry, dataflow=dataflow)
    expected = model.execute(vars(later), activations, weights)
    np.testing.assert_array_equal(seen.accumulators[96 : 96 + len(expected)], expected)


@pytest.mark.parametrize(
    "past",
    [{"activations_address": 255}, *({"weights_address": address} for address in (253, 254, 255))],
    ids=str,
)
@pytest.mark.parametrize("dataflow", [OUTPUT, WEIGHT])
def test_a_command_before_a_fault_is_whole(dataflow, past):
    """A command that is cut short right behind a good one neither overtakes its results, nor cuts it, nor passes for it."""
    design = design_for(rows=8, columns=2, data_bytes=8, dataflow=dataflow)
    activations, weights = contents(design, 1)
    good = command(depth_tiles=16, row_tiles=4, activations_stride=2)
    if dataflow == WEIGHT:
        good = command(depth_tiles=2, row_tiles=48, activations_stride=2)
    wrong = command(depth_tiles=16, accumulators_address=64, **past)
    seen = run(design, dataflow, activations, weights, [good, wrong], [0, 0])
    assert seen.faults == [seen.finished[1] - 1]
    expected = SystolicModel(geometry=design.geometry, dataflow=dataflow).execute(
        vars(good), activations, weights
    )
    np.testing.assert_array_equal(seen.accumulators[: len(expected)], expected)


OTHERS = [
    (OUTPUT, "dsp", 4), (WEIGHT, "dsp", 4),
    pytest.param(OUTPUT, "carry_save", 1, marks=pytest.mark.long),
    pytest.param(WEIGHT, "carry_save", 1, marks=pytest.mark.long),
]  # fmt: skip
"""Dataflow, multiplier and columns of two rows."""


@pytest.mark.parametrize("by_reset", [False, True])
@pytest.mark.parametrize(("dataflow", "multiplier", "columns"), OTHERS)
def test_halts_with_other_multipliers(dataflow, multiplier, columns, by_reset):
    """Nothing is left of what was dropped."""
    _check_halts(dataflow, multiplier, columns, by_reset)


@pytest.mark.parametrize("dataflow", [OUTPUT, WEIGHT])
def test_a_reset_leaves_nothing_behind(dataflow):
    """Of what has no reset itself neither."""
    _check_halts(dataflow, "native", 6, by_reset=True)


def _check_halts(dataflow, multiplier, columns, by_reset):
    design = design_for(rows=2, columns=columns, data_bytes=4, dataflow=dataflow, multiplier=multiplier)
    long = command(row_tiles=4, column_tiles=3, depth_tiles=9, activations_stride=3)

    def work(random):
        return long, command(
            row_tiles=2, depth_tiles=3, activations_stride=3, weights_address=int(random.integers(200))
        )

    check_halts(
        design,
        partial(systolic_core, dataflow=dataflow, multiplier=multiplier),
        SystolicModel(geometry=design.geometry, dataflow=dataflow, multiplier=multiplier),
        work=work,
        halts=range(1, 60, 6),
        by_reset=by_reset,
    )


@pytest.mark.parametrize("past", [{"weights_address": 254}, {"accumulators_address": 127}], ids=str)
@pytest.mark.parametrize(("dataflow", "multiplier", "columns"), OTHERS)
def test_faults_with_other_multipliers(dataflow, multiplier, columns, past):
    """In the cycle before the command has finished, whenever results come."""
    design = design_for(rows=2, columns=columns, data_bytes=4, dataflow=dataflow, multiplier=multiplier)
    activations, weights = contents(design, 1)
    good = command(depth_tiles=16, row_tiles=4, activations_stride=2)
    wrong = command(**{"row_tiles": 4, "depth_tiles": 5, "accumulators_address": 64} | past)
    core = partial(systolic_core, dataflow=dataflow, multiplier=multiplier)
    seen = run(design, core, activations, weights, [good, wrong], [0, 0])
    assert seen.faults == [seen.finished[1] - 1]
    model = SystolicModel(geometry=design.geometry, dataflow=dataflow, multiplier=multiplier)
    expected = model.execute(vars(good), activations, weights)
    np.testing.assert_array_equal(seen.accumulators[: len(expected)], expected)


@pytest.mark.parametrize("dataflow", [OUTPUT, WEIGHT])
def test_up_to_the_end_is_no_fault(dataflow):
    design = design_for(rows=4, columns=2, data_bytes=4, dataflow=dataflow)
    tile_rows, words = design.geometry.tile_rows, design.geometry.weight_words
    activations, weights = contents(design, 1)
    fields = command(
        row_tiles=4,
        depth_tiles=2,
        activations_stride=2,
        activations_address=256 - (2 * (4 * tile_rows - 1) + (2 if dataflow == WEIGHT else 1)),
        weights_address=256 - 2 * words,
        accumulators_address=128 - 4 * tile_rows,
    )
    seen = run(design, dataflow, activations, weights, [fields], [0])
    assert seen.faults == []
    expected = SystolicModel(geometry=design.geometry, dataflow=dataflow).execute(
        vars(fields), activations, weights
    )
    np.testing.assert_array_equal(seen.accumulators[-len(expected) :], expected)
