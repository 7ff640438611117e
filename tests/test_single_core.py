# amaranth: UnusedElaboratable=no
"""Cores of designs that issue in order: one command at a time, against golden execute and cycle law."""

from __future__ import annotations

from dataclasses import replace

import lookup_core_bench as lookup
import pytest
import test_lookup_core
from bit_serial_bench import ALL, array_for, command, core_of, design_for
from core_bench import check_core, check_halts
from systolic_bench import command as systolic_command
from systolic_bench import design_for as systolic_design
from systolic_bench import run
from test_bit_serial_core import PAST, special_values, work_of
from test_systolic_model import contents

from hw.array.geometry import systolic_geometry
from sim.families.bit_serial import BitSerialModel
from sim.families.lookup import LookupModel
from sim.families.systolic import SystolicModel

INT8, INT6, INT5, INT4, FP4, FP3 = ALL
SHAPES = [
    {"rows": 2, "columns": 1, "data_bytes": 4, "variants": (INT8, INT4, FP4, FP3)},
    {"rows": 1, "columns": 2, "data_bytes": 4, "variants": (INT5, FP3)},
    {"rows": 5, "columns": 1, "variants": (INT6, FP4)},
    {"rows": 2, "columns": 2, "variants": (INT8, FP3), "activations": "fp16"},
]


def first_of(shapes):
    """The first one always, the others among the longer tests."""
    return [shapes[0], *(pytest.param(one, marks=pytest.mark.long) for one in shapes[1:])]


def bit_serial(shape, **sizes):
    array = array_for(single=True, **shape)
    return array, replace(design_for(array, **sizes), issue="in-order")


@pytest.mark.parametrize("shape", first_of(SHAPES))
def test_bit_serial(shape):
    array, design = bit_serial(shape, accumulator_rows=256)
    commands = work_of(array)
    check_core(design, core_of(array), BitSerialModel(array), commands, [0] * len(commands))


def test_special_values_change_between_commands():
    array, design = bit_serial({"rows": 2, "columns": 2, "variants": (FP3,)})
    work = {"depth_tiles": 2 * array.group_words, "column_tiles": 2, "activations_stride": 3}
    commands = [
        *special_values([3, 35, 6, 38]), command(**work), *special_values([5, 37, 24, 56]),
        command(accumulators_address=32, **work),
    ]  # fmt: skip
    check_core(design, core_of(array), BitSerialModel(array), commands, [0] * len(commands))


def test_past_the_end_is_a_fault_of_its_command():
    array, design = bit_serial({"rows": 4, "columns": 2, "variants": (INT8, FP3)}, accumulator_rows=128)
    activations, weights = contents(design, 1)
    fields = {"depth_tiles": 5, "activations_stride": 5, "row_tiles": 2, "accumulators_address": 64}
    commands = [command(**(fields | past)) for past in PAST for _ in range(2)] + [command()]
    seen = run(design, core_of(array), activations, weights, commands, [0] * len(commands))
    assert seen.faults == [finished - 1 for finished in seen.finished[:-1]]


def test_a_wrong_command_is_cut_short():
    array, design = bit_serial({"rows": 4, "columns": 1})
    bits = design.execute_fields
    huge = command(
        weights_address=250, **{name: (1 << bits[name]) - 1 for name in ("row_tiles", "column_tiles", "depth_tiles")}
    )  # fmt: skip
    seen = run(design, core_of(array), *contents(design, 1), [huge], [0])
    assert seen.faults == [seen.finished[0] - 1]
    assert seen.finished[0] < 400


@pytest.mark.long
@pytest.mark.parametrize("by_reset", [False, True])
def test_halt_and_reset_leave_nothing_behind(by_reset):
    array, design = bit_serial({"rows": 2, "columns": 2, "variants": (INT8, INT6, FP4)})

    def work(random):
        size = {"row_tiles": 2, "column_tiles": 2, "depth_tiles": 6, "activations_stride": 6}
        return command(**size, variant=1, accumulators_address=32), command(
            depth_tiles=5, activations_stride=5, variant=int(random.integers(3)),
            activations_address=int(random.integers(64)), weights_address=int(random.integers(64)),
        )  # fmt: skip

    check_halts(
        design, core_of(array), BitSerialModel(array),
        work=work, halts=range(1, 130, 48 if by_reset else 12), by_reset=by_reset,
    )  # fmt: skip


LOOKUPS = [
    {"rows": 1, "columns": 8, "variants": (lookup.W2, lookup.ASYM2, lookup.W1)},
    {"rows": 1, "columns": 16, "outputs": 16, "groups_per_lane": 4, "group": 64, "variants": (lookup.W1, lookup.ASYM3)},
    {"rows": 3, "columns": 8, "outputs": 4, "variants": (lookup.W4, lookup.BIPOLAR2)},
    {"ternary": "direct", "variants": (lookup.W2,), "rows": 2, "columns": 6, "outputs": 2},
    {"rows": 1, "columns": 8, "groups_per_lane": 4, "variants": (lookup.W2,), "scales": "fp16"},
]  # fmt: skip


def lookups(shape, **sizes):
    array = lookup.array_for(single=True, **shape)
    return array, replace(lookup.design_for(array, **sizes), issue="in-order")


@pytest.mark.parametrize("shape", first_of(LOOKUPS))
def test_lookups(shape):
    array, design = lookups(shape, accumulator_rows=1024)
    commands = test_lookup_core.work_of(array)
    check_core(design, lookup.core_of(array), LookupModel(array), commands, [0] * len(commands))


def test_lookups_past_the_end_are_a_fault_of_their_command():
    array, design = lookups({"rows": 2, "columns": 16, "variants": (lookup.W2, lookup.ASYM2)})
    activations, weights = contents(design, 1)
    fields = {"depth_tiles": 5, "activations_stride": 5, "row_tiles": 2, "accumulators_address": 128}
    commands = [command(**(fields | past)) for past in test_lookup_core.PAST for _ in range(2)] + [command()]
    seen = run(design, lookup.core_of(array), activations, weights, commands, [0] * len(commands))
    assert seen.faults == [finished - 1 for finished in seen.finished[:-1]]


@pytest.mark.long
@pytest.mark.parametrize("by_reset", [False, True])
def test_lookups_halted_leave_nothing_behind(by_reset):
    array, design = lookups({"rows": 2, "columns": 8, "variants": (lookup.W2, lookup.ASYM2, lookup.W1)})

    def work(random):
        size = {"row_tiles": 2, "column_tiles": 2, "depth_tiles": 6, "activations_stride": 6}
        return command(**size, variant=1, accumulators_address=128), command(
            depth_tiles=5, activations_stride=5, variant=int(random.integers(3)),
            activations_address=int(random.integers(64)), weights_address=int(random.integers(64)),
        )  # fmt: skip

    check_halts(
        design, lookup.core_of(array), LookupModel(array),
        work=work, halts=range(1, 200, 70 if by_reset else 25), by_reset=by_reset,
    )  # fmt: skip


def test_systolic():
    size = {"rows": 2, "columns": 3, "data_bytes": 4, "dataflow": "output-stationary"}
    design = replace(
        systolic_design(**size), geometry=systolic_geometry(**size, single=True), issue="in-order"
    )
    fields = {"row_tiles": 2, "column_tiles": 2, "depth_tiles": 5, "activations_stride": 4}
    commands = [systolic_command(**fields, accumulate=one) for one in (0, 1)]
    model = SystolicModel(geometry=design.geometry, dataflow="output-stationary")
    check_core(design, "output-stationary", model, commands, [0, 3])
