# amaranth: UnusedElaboratable=no
"""The table-lookup core with fp16 activations against its golden execute and its cycle law, bit for bit and cycle for cycle."""

from __future__ import annotations

from itertools import pairwise

import core_bench
import numpy as np
import pytest
from core_bench import check_core, check_halts
from lookup_core_bench import command, core_of, design_for
from lookup_fp16_bench import array_for
from test_lookup_core import work_of
from test_systolic_model import contents

from sim.families.lookup import LookupModel

pytestmark = pytest.mark.long

BELOW_TWO = 0xBFFF
"""Bits of an fp16 number that is less than 2 in magnitude."""
SHAPES = [
    {"bits": (2, 4), "columns": 16, "data_bytes": 4},
    {"bits": (1,), "columns": 16, "outputs": 16, "rows": 1},
    {"bits": (1, 3), "columns": 18, "outputs": 9, "rows": 5},
    {"bits": (2, "twos2", "zero3"), "columns": 16, "data_bytes": 16},
    {"bits": ("twos4", "zero2"), "columns": 8, "data_bytes": 4, "rows": 1},
    {"bits": ("twos1",), "columns": 16, "outputs": 16, "rows": 8},
]
"""Formats by name, or bipolar ones by their bits; words of activations of one chunk, two and four."""


def shaped(bits, **sizes):
    return array_for(*bits, **sizes)


def below_two(design, seed):
    """Scratchpads without great activations."""
    activations, weights = contents(design, seed)
    return (activations.view(np.uint16) & BELOW_TWO).view(np.uint8), weights


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("any_number", [False, True])
def test_shapes(shape, any_number, monkeypatch):
    """With all activations there are, infinities and NaN among them, most groups' sums are such; with small ones none is."""
    if not any_number:
        monkeypatch.setattr(core_bench, "contents", below_two)
    array = shaped(**shape)
    commands = work_of(array)[: 3 if any_number else None]
    design = design_for(array, accumulator_rows=1024)
    _, times = check_core(design, core_of(array), LookupModel(array), commands, [0] * len(commands))
    # Command follows command.
    assert all(after.begin < before.end for before, after in pairwise(times))


@pytest.mark.parametrize("formats", [(2, 1), ("zero2", "twos1")])
def test_a_stop_leaves_nothing_behind(formats, monkeypatch):
    monkeypatch.setattr(core_bench, "contents", below_two)
    array = shaped(formats, columns=8, rows=2)

    def work(random):
        return command(row_tiles=2, depth_tiles=6, activations_stride=6, accumulators_address=128), command(
            depth_tiles=5, activations_stride=5, variant=int(random.integers(2)),
            activations_address=int(random.integers(64)), weights_address=int(random.integers(64)),
        )  # fmt: skip

    check_halts(
        design_for(array), core_of(array), LookupModel(array),
        work=work, halts=range(1, 400, 93), by_reset=False, settle=256, patience=2000,
    )  # fmt: skip


@pytest.mark.parametrize("outputs", [8, 11, 16])
@pytest.mark.parametrize("rows", [1, 2, 8])
@pytest.mark.parametrize("bits", [1, 4, "twos1"])
def test_sums_wait_for_the_multiplier(outputs, rows, bits):
    """In the numbers of the geometry: no sum or scale is replaced before it is read, none is read before it is there."""
    array = array_for(bits, outputs=outputs, columns=outputs, rows=rows, data_bytes=4)
    (format,) = array.variants
    spacing, words = array.spacing(format), 16 // array.part_bits
    for length in (1, array.group_words):
        apart = array.pause(format, length) + array.group_cycles(format, length)
        for place in range(outputs):
            read, complete = array.drain + place * spacing, place + 11
            scale = outputs + words * (place + 1)
            assert complete <= read < complete + apart
            assert scale <= read
            assert read + rows <= scale + apart
