# amaranth: UnusedElaboratable=no
"""Arrays whose elements take several steps of K at once: words, packers, what is refused, results and cycles of their cores."""

from functools import partial

import numpy as np
import pytest
from amaranth.sim import Simulator
from core_bench import check_core, check_halts
from hypothesis import given, settings
from systolic_bench import command, design_for
from test_systolic_model import clear, programs

from gen import config
from gen.cases import Case, memory, prediction, prepare
from gen.errors import RequestError
from hw.array.core import systolic_core
from hw.array.corner_turn import CornerTurn
from hw.array.cube import CubeArray
from hw.array.geometry import systolic_geometry
from hw.formats import INT8, Operand
from hw.pe.cube import CubeElement
from hw.pe.cube_times import output_element
from sim import digits
from sim.families.systolic import SystolicModel

OUTPUT = "output-stationary"
NATIVE, SAME = "native", "same_weight"


def long(*values):
    """A case of the long matrix."""
    return pytest.param(*values, marks=pytest.mark.long)


def parts(design, multiplier):
    """Core and model."""
    make = partial(systolic_core, dataflow=OUTPUT, multiplier=multiplier)
    return make, SystolicModel(geometry=design.geometry, dataflow=OUTPUT, multiplier=multiplier)


@pytest.mark.parametrize(
    ("rows", "columns", "data_bytes", "depth", "expected"),
    [
        (8, 8, 8, 8, (8, 8, 8, 64, 64, 1)),
        (3, 5, 4, 2, (3, 5, 2, 8, 16, 1)),
        (1, 3, 4, 16, (1, 3, 16, 64, 64, 1)),
        (2, 1, 64, 4, (2, 1, 4, 64, 4, 1)),
    ],
)
def test_geometry(rows, columns, data_bytes, depth, expected):
    """A word of activations lasts as many steps as there are rows, and four at least."""
    g = systolic_geometry(rows=rows, columns=columns, data_bytes=data_bytes, dataflow=OUTPUT, depth=depth)
    assert expected == (
        g.tile_rows, g.columns, g.tile_depth, g.activation_bytes, g.weight_bytes, g.weight_words,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["array.depth=3"], "array.depth = 3: must be one of 1, 2, 4, 8, 16"),
        (["array.depth=16", "array.rows=9"], "rows times depth must be at most 128, .*, not 9 times 16"),
        (
            ["array.depth=16", "array.columns=9"],
            "columns times depth must be at most 128, .*, not 9 times 16",
        ),
        (
            ["array.depth=4", "array.dataflow=weight-stationary"],
            "depth must be 1 when dataflow is weight-st.*, not 4",
        ),
        (
            ["array.depth=4", "pe.multiplier=carry_save"],
            "multiplier must be native or same_weight when depth is 4, not 'carry_save'",
        ),
        (
            ["pe.multiplier=same_weight", "array.dataflow=weight-stationary"],
            "multiplier must be native or carry_save or dsp when dataflow is weight-stationary, not 'same_weight'",
        ),
    ],
)
def test_configurations_that_are_refused(overrides, message):
    with pytest.raises(RequestError, match=message):
        config.load("systolic-8x8", overrides)


def test_components_refuse():
    with pytest.raises(ValueError, match="rows must be 1 or more, not 0"):
        CubeArray(rows=0, columns=1, depth=2, multiplier=NATIVE)
    with pytest.raises(ValueError, match="multiplier must be native or same_weight when depth is 2, not"):
        CubeArray(rows=1, columns=1, depth=2, multiplier="carry_save")
    with pytest.raises(ValueError, match="depth must be one of 1, 2, 4, 8, 16, not 32"):
        systolic_geometry(rows=1, columns=1, data_bytes=4, dataflow=OUTPUT, depth=32)
    with pytest.raises(ValueError, match="rows must be 1 to the steps of a word, 2, not 3"):
        CornerTurn(rows=3, word_bytes=8, step_bytes=4)
    with pytest.raises(ValueError, match="step_bytes must be a power of two, not 3"):
        CornerTurn(rows=1, word_bytes=8, step_bytes=3)


def test_words_of_weights():
    """Two steps of three features: feature by feature; zeros to whole steps, columns and words."""
    family = config.load("systolic-4x4", ["array.columns=3", "array.depth=2"]).instance
    codes = np.arange(1, 13, dtype=np.uint8).reshape(3, 4)
    words = family.pack_weights(Operand(format=INT8, codes=codes, depth_axis=0)).reshape(
        -1, family.geometry.weight_bytes
    )
    assert words.tolist() == [
        [1, 5, 2, 6, 3, 7, 0, 0],
        [9, 0, 10, 0, 11, 0, 0, 0],
        [4, 8, 0, 0, 0, 0, 0, 0],
        [12, 0, 0, 0, 0, 0, 0, 0],
    ]
    assert family.depth_granule(0) == family.geometry.activation_bytes == 8


def digit(number):
    """Of three bits."""
    return {"one": abs(number) == 1, "two": abs(number) == 2, "negative": number < 0}


@pytest.mark.parametrize(
    ("depth", "multiplier"),
    [*((depth, NATIVE) for depth in (1, 2, 8, 16)), (1, SAME), (2, SAME), long(4, SAME), long(16, SAME)],
)
def test_element(depth, multiplier):
    """Sums of all lengths follow each other; extremes first. Only the last operands of a sum let it out."""
    dut = CubeElement(depth=depth, multiplier=multiplier)
    random = np.random.default_rng(depth)
    x, w = random.integers(-128, 128, (2, 40, depth))
    x[:4], w[:3], w[3] = -128, -128, 127
    last = random.random(40) < 0.4
    last[[0, 3, 39]] = 1
    due, total = {}, 0
    for step in range(40):
        total += int(x[step] @ w[step])
        if last[step]:
            due[step + output_element(multiplier, depth)], total = total & 0xFFFFFFFF, 0

    weights = [one.tolist() for one in (digits.en_t(w) if multiplier == SAME else w)]
    if multiplier == SAME:
        weights = [[[digit(one) for one in operand] for operand in step] for step in weights]

    async def bench(ctx):
        for now in range(48):
            ctx.set(dut.activation, x[now].tolist() if now < 40 else [0] * depth)
            ctx.set(dut.weight, weights[min(now, 39)])
            ctx.set(dut.last, bool(now < 40 and last[now]))
            assert (ctx.get(dut.valid), ctx.get(dut.result)) == (now in due, due.get(now, 0))
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


def test_latencies():
    """Trees have a register for two layers."""
    assert [output_element(NATIVE, depth) for depth in (1, 2, 4, 8, 16)] == [5, 5, 5, 6, 6]
    assert {output_element(SAME, depth) for depth in (1, 2, 4, 8, 16)} == {5}


@pytest.mark.parametrize(
    ("rows", "columns", "data_bytes", "depth", "multiplier"),
    [
        (3, 2, 4, 4, NATIVE),
        long(4, 3, 8, 8, NATIVE),
        long(9, 2, 16, 2, NATIVE),
        (1, 1, 4, 2, SAME),
        long(1, 2, 4, 1, SAME),
        long(3, 2, 4, 4, SAME),
        long(2, 1, 4, 16, SAME),
    ],
)
def test_core(rows, columns, data_bytes, depth, multiplier):
    design = design_for(
        rows=rows, columns=columns, data_bytes=data_bytes, dataflow=OUTPUT, depth=depth,
        activation_words=64, weight_words=64,
    )  # fmt: skip
    commands = [
        command(
            row_tiles=2,
            column_tiles=2,
            depth_tiles=steps,
            activations_stride=3,
            accumulate=accumulate,
            accumulators_address=address,
        )
        for steps, accumulate, address in ((1, 0, 0), (7, 1, 0), (3, 0, 64), (13, 1, 0))
    ]
    check_core(design, *parts(design, multiplier), commands, [0, 0, 0, 90])


SHAPES = [
    (2, 2, 4, OUTPUT, 2),
    (3, 2, 8, OUTPUT, 4),
    (5, 3, 4, OUTPUT, 2),
    (1, 1, 64, OUTPUT, 8),
    (4, 1, 16, OUTPUT, 16),
]


@settings(max_examples=4, deadline=None)
@given(programs(SHAPES, weight_words=128))
def test_any_sequence(program):
    design, _, _, commands, visible, seed = program
    first = clear(design)
    check_core(design, *parts(design, NATIVE), [*first, *commands], [*[0] * len(first), *visible], seed)


@pytest.mark.long
@settings(max_examples=4, deadline=None)
@given(programs([(2, 1, 4, OUTPUT, 2), (1, 2, 8, OUTPUT, 1), (3, 1, 4, OUTPUT, 4)], weight_words=128))
def test_any_sequence_by_bit_weight(program):
    design, _, _, commands, visible, seed = program
    first = clear(design)
    check_core(design, *parts(design, SAME), [*first, *commands], [*[0] * len(first), *visible], seed)


def work(random):
    """Commands to be dropped, and one that follows."""
    sizes = random.integers(1, 4, 6)
    dropped = command(
        row_tiles=int(sizes[0]),
        column_tiles=int(sizes[1]),
        depth_tiles=int(5 * sizes[2]),
        activations_stride=3,
    )
    kept = command(row_tiles=int(sizes[3]), depth_tiles=int(sizes[4] * sizes[5]))
    return dropped, kept


@pytest.mark.parametrize(
    ("multiplier", "by_reset", "halts"),
    [
        (NATIVE, False, range(0, 60, 7)),
        (NATIVE, True, range(0, 60, 9)),
        (SAME, True, range(10, 30, 9)),
        long(SAME, False, range(0, 60, 3)),
        long(SAME, True, range(0, 60, 3)),
    ],
)
def test_halts(multiplier, by_reset, halts):
    """Nothing of what was dropped is left, after a reset of four cycles neither, however many columns there are."""
    design = design_for(
        rows=2, columns=2 if multiplier == SAME else 6, data_bytes=4, dataflow=OUTPUT, depth=2,
        activation_words=64, weight_words=128,
    )  # fmt: skip
    core, model = parts(design, multiplier)
    check_halts(design, core, model, work=work, halts=halts, by_reset=by_reset)


@pytest.mark.parametrize(
    ("multiplier", "depth", "data_width", "shown"), [(SAME, 4, 64, "97.9 %"), (NATIVE, 8, 256, "95.7 %")]
)
def test_utilisation(multiplier, depth, data_width, shown):
    """Of a layer of SmolLM2-135M's sizes, by the cycle model, which simulation is equal to."""
    overrides = [f"array.depth={depth}", f"array.multiplier={multiplier}", f"bus.data_width={data_width}"]
    loaded = config.load("systolic-8x8", overrides)
    expected = prediction(loaded, prepare(loaded, Case((64, 576, 1536), timing=memory(20))))
    products = loaded.instance.model().multiplications(0)
    assert products == 64 * depth
    found = 64 * 576 * 1536 / (expected.cycles * products)
    assert found >= 0.95
    assert f"{100 * found:.1f} %" == shown
