# amaranth: UnusedElaboratable=no
"""The array that multiplies digit by digit: golden execute and cycle law against the core, bit for bit and cycle for cycle."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from core_bench import check_core, check_halts
from hypothesis import given, settings
from hypothesis import strategies as st
from systolic_bench import command, design_for, run
from test_systolic_model import contents

from gen.families.systolic import Systolic, SystolicConfig
from gen.workload import random
from hw.array.core import systolic_core
from hw.array.geometry import least_interval, systolic_geometry
from hw.design import ceil_div
from hw.timing import DIGIT_GROUP, DIGIT_LEAD, DIGIT_SETUP
from sim import digits
from sim.families.sparse_digit import SparseDigitLaw, SparseDigitModel

ARRAY = {"dataflow": "output-stationary", "multiplier": "sparse_digit"}
CORE = partial(systolic_core, **ARRAY)


def design_of(rows, columns, data_bytes, *, words=64, accumulator_rows=64):
    size = {"rows": rows, "columns": columns, "data_bytes": data_bytes}
    design = design_for(
        **size, dataflow=ARRAY["dataflow"], activation_words=words, weight_words=words,
        accumulator_rows=accumulator_rows,
    )  # fmt: skip
    return replace(design, geometry=systolic_geometry(**size, **ARRAY))


def changed(kind, weights):
    """``weights``, random bytes, as weights of a kind."""
    values, spread = weights.view(np.int8).astype(int), np.arange(len(weights))
    found = {
        "uniform": values,
        "int4": values // 16,
        "zero": values * 0,
        "least": values * 0 - 128,
        "most": values * 0 + 127,
        "extreme": np.where(values < 0, -128, 127),
        # Full of digits, and without any: groups of the most cycles and of the fewest follow each other.
        "blocks": np.where(spread // 64 % 2, values * 0, -86),
        "rare": np.where(spread % 13 == 0, values, 0),
    }[kind]
    return np.ascontiguousarray(found.astype(np.int8)).view(np.uint8)


KINDS = ("uniform", "int4", "zero", "least", "most", "extreme", "blocks", "rare")


def check(design, commands, visible, kind="uniform", seed=1):
    model = SparseDigitModel(geometry=design.geometry)
    return check_core(design, CORE, model, commands, visible, seed, change=partial(changed, kind))


COMMANDS = [
    command(row_tiles=2, column_tiles=2, depth_tiles=3, activations_stride=5),
    command(depth_tiles=1, accumulators_address=64, weights_address=7),
    command(depth_tiles=5, activations_stride=3, accumulators_address=64, accumulate=1),
    command(depth_tiles=1, activations_stride=0, accumulators_address=64, accumulate=1),
]


@pytest.mark.parametrize(("shape", "kind"), [
    ((1, 1, 4), "uniform"), ((3, 2, 4), "extreme"), ((2, 1, 4), "blocks"),
    *(
        pytest.param(shape, kind, marks=pytest.mark.long)
        for shape in ((1, 1, 4), (2, 3, 4), (5, 2, 8), (3, 5, 16), (9, 2, 64))
        for kind in KINDS
    ),
    *(pytest.param((8, 8, 8), kind, marks=pytest.mark.long) for kind in ("uniform", "rare")),
])  # fmt: skip
def test_shapes(shape, kind):
    check(design_of(*shape, words=128, accumulator_rows=128), COMMANDS, [0, 0, 0, 0], kind)


def test_many_rows():
    """Tiles wait until their results have left, and until the word of every row has been read."""
    design = design_of(24, 1, 4, words=32, accumulator_rows=128)
    one = command(column_tiles=2, row_tiles=1, depth_tiles=1, activations_stride=1)
    word = design.geometry.activation_bytes // DIGIT_GROUP
    further = command(depth_tiles=word + 1, activations_stride=0, accumulators_address=64)
    _, times = check(design, [one, one, further, one], [0, 0, 0, 0], "zero")
    least = least_interval(24)
    assert times[0].end - times[0].taken == DIGIT_SETUP + DIGIT_LEAD + 24 + least
    assert times[1].end - times[0].end == 2 * least
    assert times[2].end - times[1].end == DIGIT_LEAD + word * DIGIT_GROUP + 24


@st.composite
def programs(draw):
    """A shape, and a sequence of commands that stay within scratchpads and accumulators."""
    design = design_of(*draw(st.sampled_from([(1, 1, 4), (2, 3, 4), (5, 2, 8), (3, 1, 16), (7, 1, 4)])))
    g, half = design.geometry, design.accumulator_rows // 2
    commands, visible, now = [], [], 0
    for _ in range(draw(st.integers(1, 4))):
        column_tiles, depth_tiles = draw(st.integers(1, 3)), draw(st.integers(1, 7))
        row_tiles = draw(st.integers(1, min(3, half // g.tile_rows // column_tiles)))
        stride = draw(st.integers(0, 2))
        words = ceil_div(depth_tiles * g.tile_depth, g.activation_bytes)
        room = design.activation_words - words - (row_tiles * g.tile_rows - 1) * stride
        rows_used = row_tiles * g.tile_rows * column_tiles
        commands.append(
            command(
                row_tiles=row_tiles,
                column_tiles=column_tiles,
                depth_tiles=depth_tiles,
                activations_stride=stride,
                activations_address=draw(st.integers(0, room)),
                weights_address=draw(st.integers(0, design.weight_words - column_tiles * depth_tiles)),
                accumulators_address=draw(st.integers(0, 1)) * half + draw(st.integers(0, half - rows_used)),
            )
        )
        now += draw(st.sampled_from([0, 0, 1, 5, 40, 200]))
        visible.append(now)
    return design, commands, visible, draw(st.sampled_from(KINDS)), draw(st.integers(0, 1000))


@settings(max_examples=3, deadline=None)
@given(programs())
def test_any_sequence(program):
    check(*program)


@pytest.mark.long
@settings(max_examples=40, deadline=None)
@given(programs())
def test_any_sequence_at_length(program):
    check(*program)


def test_past_the_end_is_a_fault_of_its_command():
    """A fault of each memory, among commands without one; those follow without harm."""
    design = design_of(2, 1, 4)
    good = command(depth_tiles=2, row_tiles=2)
    bad = [
        command(depth_tiles=2, row_tiles=2, activations_address=62, activations_stride=1),
        command(depth_tiles=3, row_tiles=3, weights_address=62),
        command(depth_tiles=2, row_tiles=2, accumulators_address=29),
        command(depth_tiles=6, activations_address=57, activations_stride=2),
        command(column_tiles=5, depth_tiles=1, accumulators_address=32 + 23),
    ]
    commands = [one for each in bad for one in (each, good)] + [bad[1], bad[2], good]
    faults = [*range(0, 2 * len(bad), 2), 2 * len(bad), 2 * len(bad) + 1]
    activations, weights = contents(design, 1)
    seen = run(design, CORE, activations, weights, commands, [0] * len(commands))
    assert seen.faults == [seen.finished[index] - 1 for index in faults]
    model = SparseDigitModel(geometry=design.geometry)
    np.testing.assert_array_equal(seen.accumulators[:4], model.execute(vars(good), activations, weights))


def test_a_fault_cuts_its_command_short():
    """Of very many tiles one or two are begun."""
    design = design_of(2, 1, 4)
    commands = [command(row_tiles=40000, column_tiles=40000, accumulators_address=32, activations_stride=0)]
    activations, weights = contents(design, 1)
    seen = run(design, CORE, activations, weights, commands, [0], patience=1000)
    assert seen.faults == [seen.finished[0] - 1]


def test_up_to_the_end_is_no_fault():
    design = design_of(2, 1, 4)
    one = command(
        row_tiles=2, depth_tiles=4, activations_stride=5, activations_address=64 - (3 * 5 + 4),
        weights_address=64 - 4, accumulators_address=64 - 4,
    )  # fmt: skip
    check(design, [one], [0])


@pytest.mark.parametrize("by_reset", [False, True])
def test_halt_and_reset_leave_nothing_behind(by_reset):
    design = design_of(3, 1, 4)

    def work(random):
        dropped = command(
            row_tiles=2, column_tiles=2, depth_tiles=6, activations_stride=6, accumulators_address=32
        )
        return dropped, command(
            depth_tiles=int(random.integers(1, 6)), activations_stride=5,
            activations_address=int(random.integers(32)), weights_address=int(random.integers(32)),
        )  # fmt: skip

    check_halts(
        design, CORE, SparseDigitModel(geometry=design.geometry),
        work=work, halts=range(1, 200, 37 if by_reset else 11), by_reset=by_reset,
    )  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("by_reset", [False, True])
def test_halt_and_reset_in_any_cycle(by_reset):
    design = design_of(2, 2, 4)

    def work(random):
        dropped = command(row_tiles=1, column_tiles=2, depth_tiles=2, accumulators_address=32)
        return dropped, command(depth_tiles=2, weights_address=int(random.integers(32)))

    check_halts(
        design, CORE, SparseDigitModel(geometry=design.geometry),
        work=work, halts=range(1, 90), by_reset=by_reset,
    )  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_cycles_are_those_of_the_column_with_the_most_digits(kind):
    """The law's digits, from packed words, beside those of W itself."""
    family = Systolic(SystolicConfig(rows=4, columns=3, multiplier="sparse_digit"), data_bytes=8)
    load = random((1, 29, 7), "raw", 1, family.pairs[0], family)
    w = replace(load.w, codes=np.ascontiguousarray(changed(kind, load.w.codes.ravel()).reshape(29, 7)))
    found = SparseDigitLaw(family.geometry).digits(family.pack_weights(w)).reshape(3, 8)
    padded = np.zeros((32, 9), np.int64)
    padded[:29, :7] = w.integers()
    for tile, group in np.ndindex(found.shape):
        part = padded[group * 4 : group * 4 + 4, tile * 3 : tile * 3 + 3]
        assert found[tile, group] == np.count_nonzero(digits.en_t(part), axis=(0, 2)).max()
    model = family.model()
    law = model.law()
    content = family.pack_weights(w)
    times = law.execute(0, vars(command(depth_tiles=8, column_tiles=3, row_tiles=2)), lambda: content)
    assert times.steps == 2 * found.sum()
    assert times.end - times.taken - DIGIT_SETUP - DIGIT_LEAD <= 3 * model.tile_cycles(0, 2, 8)


def test_the_most_cycles():
    """-86 has four digits: all groups of such weights take sixteen cycles, which is what the compiler reckons with."""
    family = Systolic(SystolicConfig(rows=2, columns=2, multiplier="sparse_digit"), data_bytes=4)
    content = np.full(64, -86, np.int8).view(np.uint8)
    law = family.model().law()
    times = law.execute(0, vars(command(depth_tiles=4)), lambda: content)
    assert times.end - DIGIT_SETUP - DIGIT_LEAD == family.model().tile_cycles(0, 1, 4) == 64
    assert family.model().multiplications(0) == 1


def test_refuses():
    with pytest.raises(
        ValueError,
        match="multiplier must be native or carry_save or dsp when dataflow is weight-stationary, not 'sp",
    ):
        systolic_geometry(
            rows=2, columns=2, data_bytes=4, dataflow="weight-stationary", multiplier="sparse_digit"
        )
    with pytest.raises(
        ValueError,
        match="multiplier must be native or carry_save or dsp when dataflow is weight-stationary, not 'sp",
    ):
        SystolicConfig(dataflow="weight-stationary", multiplier="sparse_digit")
    native = design_for(rows=2, columns=2, data_bytes=4, dataflow=ARRAY["dataflow"])
    with pytest.raises(ValueError, match=r"depth must be one of .*, not 0"):
        CORE(design=native)
