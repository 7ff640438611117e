# amaranth: UnusedElaboratable=no
"""Skipping of zero terms: masks, golden execute and cycle law against the core in simulation, bit for bit and cycle for cycle."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from bit_serial_bench import array_for, command, configure, core_of, design_for
from hypothesis import given, settings
from hypothesis import strategies as st
from systolic_bench import run
from test_systolic_model import contents

from gen import workload
from gen.families.bit_serial import BitSerialConfig, BitSerialFamily
from hw.pe.weight_format import WeightFormat
from sim import bit_serial
from sim.families.bit_serial import BitSerialModel, SkippingLaw, mask_places

NAMES = ("int8-s8", "int6-s8", "int5-s8", "int4-s8", "fp4-mixed-s8", "fp3-mixed-s8")
"""A format of weights for each ``WeightFormat``."""
KINDS = ("dense", "zero", "first", "others")


def family_for(*, data_bytes=8, weights=NAMES, **keys) -> BitSerialFamily:
    """A small array of this family."""
    return BitSerialFamily(
        BitSerialConfig(**{"lanes": 4, "group": 32, **keys}, weights=list(weights), skip_zero_terms=True),
        data_bytes=data_bytes,
    )


def sparse(w, format: WeightFormat, slices, lanes: int, columns: int):
    """``w`` with zeros, slice by slice and tile by tile: all, all terms but the first, or that alone."""
    values = np.arange(1 << format.bits)
    # Code 0 is zero in all formats; -0 is special.
    masks = format.term_masks(np.array(w.format.decode(values.astype(np.uint8)[:, None], 0)))[:, 0]
    if format.floating:
        masks[1 << format.bits - 1] = 3
    codes = w.codes.copy()
    for place, kind in np.ndenumerate(slices):
        part = codes[place[0] * lanes : (place[0] + 1) * lanes, place[1] * columns : (place[1] + 1) * columns]
        unwanted = {"dense": 0, "zero": 255, "first": 254, "others": 1}[str(kind)]
        part[masks[part] & unwanted != 0] = 0
    return replace(w, codes=codes)


def operand(family, variant, *, depth_tiles, column_tiles, seed, share=None):
    """Weights of whole tiles; each slice of a tile is of a kind of ``KINDS``, in the shares given, or all in one that is drawn."""
    array = family.array
    random = np.random.default_rng(seed)
    sizes = (1, depth_tiles * array.word_steps, column_tiles * array.columns)
    w = workload.random(sizes, "raw", seed, family.pairs[variant], family).w
    share = random.dirichlet([0.5] * len(KINDS)) if share is None else share
    slices = random.choice(KINDS, (depth_tiles * array.slices, column_tiles), p=share)
    return sparse(w, array.variants[variant], slices, array.lanes, array.columns)


def special_values(family, variant):
    return [configure(index, value) for index, value in family.settings(variant)]


def check(family, design, commands, visible, weights, seed=1, halt=range(0)):
    """Run, and compare everything with the model."""
    array = family.array
    g = design.geometry
    activations, _ = contents(design, seed)
    seen = run(design, core_of(array), activations, weights, commands, visible, patience=20000)
    model = family.model()
    law = model.law()
    kind = np.float32 if g.sums == "float32" else np.int32
    expected = np.zeros((design.accumulator_rows, g.columns), kind)
    written = np.zeros(design.accumulator_rows, bool)
    times, busy, values = [], set(), [0] * g.settings
    for one, since in zip(commands, visible, strict=True):
        fields = vars(one)
        visible_at = max(since, times[-1].taken + 1 if times else 0)
        if "configure" in fields:
            times.append(law.configure(visible_at, fields))
            values[one.setting] = one.value
        else:
            times.append(law.execute(visible_at, fields, lambda: weights))
            rows = one.row_tiles * g.tile_rows
            result = model.execute(fields, activations, weights, values).reshape(
                -1, rows, one.column_tiles * g.columns
            )
            for n in range(one.column_tiles):
                place = slice(one.accumulators_address + n * rows, one.accumulators_address + (n + 1) * rows)
                total = expected[place] if one.accumulate else np.zeros_like(expected[place])
                for part in result[:, :, n * g.columns : (n + 1) * g.columns]:
                    total = total + part
                expected[place] = total
                written[place] = True
        busy |= set(range(times[-1].begin, times[-1].end))
    assert seen.taken == [t.taken for t in times]
    assert seen.finished == [t.finished for t in times]
    assert seen.busy == sorted(busy)
    assert len(seen.steps) == sum(t.steps for t in times)
    assert seen.faults == []
    return seen, times, expected, written


def equal(seen, expected, written):
    np.testing.assert_array_equal(seen.accumulators[written], expected[written].view(np.int32))


def place_weights(design, *parts):
    """The words of a weight scratchpad of random bytes with packed ``parts`` at word addresses."""
    _, weights = contents(design, 5)
    for address, part in parts:
        first = address * design.geometry.weight_bytes
        weights[first : first + len(part)] = part
    return weights


SHAPES = [
    {"rows": 2, "columns": 2}, {"rows": 1, "columns": 1, "data_bytes": 4}, {"rows": 4, "columns": 3, "group": 64},
    {"rows": 8, "columns": 8, "lanes": 8, "group": 128}, {"rows": 8, "columns": 2, "group": 128},
    {"rows": 3, "columns": 2, "lanes": 16, "group": 256}, {"rows": 5, "columns": 2, "weights": ("int8-s8",)},
    {"rows": 2, "columns": 4, "weights": ("fp3-er-s8", "int5-s8")},
    {"rows": 2, "columns": 2, "activations": "fp16"}, {"rows": 4, "columns": 4, "group": 128, "activations": "fp16", "rounding": "truncate"},
]  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("share", [None, (1, 0, 0, 0), (0, 1, 0, 0), (0.1, 0.6, 0.15, 0.15)], ids=str)
def test_commands(shape, share):
    """Tiles that are several groups and blocks, whole or not, several tiles, of each format."""
    family = family_for(**shape)
    array = family.array
    commands, parts, address = [], [], 3
    for variant in range(len(array.variants)):
        commands += special_values(family, variant)
        for depth_tiles, column_tiles, row_tiles in (
            (array.group_words + 1, 2, 2),
            (2 * array.group_words, 2, 1),
            (1, 1, 3),
        ):
            w = operand(
                family, variant, depth_tiles=depth_tiles, column_tiles=column_tiles,
                seed=len(parts), share=share,
            )  # fmt: skip
            parts.append((address, family.pack_weights(w)))
            commands.append(
                command(
                    row_tiles=row_tiles,
                    column_tiles=column_tiles,
                    depth_tiles=depth_tiles,
                    activations_stride=depth_tiles,
                    weights_address=address,
                    variant=variant,
                )
            )
            address += len(parts[-1][1]) // array.geometry.weight_bytes
    design = design_for(array, weight_words=1 << address.bit_length())
    weights = place_weights(design, *parts)
    seen, _, expected, written = check(family, design, commands, [0] * len(commands), weights)
    equal(seen, expected, written)
