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

from gen import cases, config, workload
from gen.bench import simulation, skipping
from gen.families.bit_serial import BitSerialConfig, BitSerialFamily
from gen.generate import generate
from hw.pe.weight_format import WeightFormat
from sim import bit_serial, interpreter
from sim.cycles.program import predict
from sim.families.bit_serial import Unpacker, mask_places

pytestmark = pytest.mark.long

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
    """Weights of whole tiles; each slice of a tile is of a kind of ``KINDS``, in the shares given or in ones that are drawn."""
    array = family.array
    random = np.random.default_rng(seed)
    sizes = (1, depth_tiles * array.word_steps, column_tiles * array.columns)
    w = workload.random(sizes, "raw", seed, family.pairs[variant], family).w
    share = random.dirichlet([0.5] * len(KINDS)) if share is None else share
    slices = random.choice(KINDS, (depth_tiles * array.slices, column_tiles), p=share)
    return sparse(w, array.variants[variant], slices, array.lanes, array.columns)


def special_values(family, variant):
    return [configure(index, value) for index, value in family.settings(variant)]


def check(family, design, commands, visible, weights, seed=1):
    """Run, and compare all times with the law. Returned: what was seen, times, accumulators that the model gives."""
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
    {"rows": 2, "columns": 2}, {"rows": 1, "columns": 1, "data_bytes": 4, "weights": NAMES[3:]},
    {"rows": 4, "columns": 3, "group": 64, "weights": NAMES[1:5:3]},
    {"rows": 8, "columns": 2, "group": 64, "weights": NAMES[::5]},
    {"rows": 3, "columns": 2, "lanes": 16, "group": 128, "weights": NAMES[2:4]}, {"rows": 5, "columns": 2, "weights": NAMES[:1]},
    {"rows": 2, "columns": 4, "weights": ("fp3-er-s8", "int5-s8")}, {"rows": 2, "columns": 2, "activations": "fp16"},
    {"rows": 4, "columns": 4, "activations": "fp16", "rounding": "truncate", "weights": ("fp4-mixed-s8", "int6-s8")},
]  # fmt: skip
DENSE, ZERO, MOSTLY = (1, 0, 0, 0), (0, 1, 0, 0), (0.1, 0.6, 0.15, 0.15)
SHARES = [MOSTLY, None, DENSE, ZERO, None, MOSTLY, None, MOSTLY, None]
"""Of the kinds of slices, for each shape."""


@pytest.mark.parametrize(("shape", "share"), [*zip(SHAPES, SHARES, strict=True)], ids=str)
def test_commands(shape, share):
    """Tiles that are several groups and blocks, whole or not, several tiles, of each format."""
    family = family_for(**shape)
    array = family.array
    commands, parts, address = [], [], 3
    for variant in range(len(array.variants)):
        commands += special_values(family, variant)
        for depth_tiles, column_tiles, row_tiles in (
            (array.group_words + 1, 2, 2),
            (1, 1, 1),
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


def terms_of(value: int, format: WeightFormat):
    if format.floating:
        return bit_serial.magnitude_terms(int(value < 0), abs(value))
    return bit_serial.integer_terms(value, format.bits)


def mask_of(value: int, format: WeightFormat) -> int:
    """By the golden definition of terms."""
    return sum(man << place for place, (_, _, man, _) in enumerate(terms_of(value, format)))


@pytest.mark.parametrize("format", WeightFormat)
def test_masks_of_weights(format):
    least, most = format.values
    values = [v for v in range(least, most + 1) if not format.floating or abs(v).bit_count() <= 2]
    assert format.term_masks(np.array(values)).tolist() == [mask_of(v, format) for v in values]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_packed_words_hold_values_and_masks(shape):
    """What the model unpacks are the weights; the masks are those of its values and no others."""
    family = family_for(**shape)
    array = family.array
    for variant, format in enumerate(array.variants):
        for depth_tiles in (1, array.group_words + 1, 3 * array.group_words):
            w = operand(family, variant, depth_tiles=depth_tiles, column_tiles=2, seed=variant + depth_tiles)
            words = family.pack_weights(w).reshape(2, -1, array.geometry.weight_bytes)
            assert words.shape[1] == family.model().weight_words(variant, depth_tiles)
            settings = [value for _, value in family.settings(variant)]
            for tile in range(2):
                groups = Unpacker(array, format, settings).tile(words[tile], depth_tiles)
                values = np.concatenate([part for part, _ in groups])
                columns = slice(tile * array.columns, (tile + 1) * array.columns)
                np.testing.assert_array_equal(values, w.values()[:, columns])
                known = {int(v): mask_of(int(v), format) for v in np.unique(values)}
                wanted = [
                    np.bitwise_or.reduce([known[int(v)] for v in part.flat])
                    for part in np.split(values, depth_tiles * array.slices)
                ]
                masks = words[tile][mask_places(array, format, depth_tiles)]
                nibbles = np.stack([masks & 15, masks >> 4], axis=-1).reshape(len(masks), -1)
                got = nibbles[:, : array.block_words * array.slices].reshape(-1)
                assert got[: len(wanted)].tolist() == wanted
                assert not got[len(wanted) :].any()


@st.composite
def programs(draw):
    """A shape, commands that stay within scratchpads and accumulators, and a seed of memory contents: masks of any bits."""
    family = family_for(**draw(st.sampled_from(SHAPES)))
    array = family.array
    design = design_for(array, weight_words=512)
    g, half = array.geometry, design.accumulator_rows // 2
    commands, visible, now = [], [], 0
    for _ in range(draw(st.integers(1, 4))):
        now += draw(st.sampled_from([0, 0, 1, 7, 40, 300]))
        visible.append(now)
        if g.settings and draw(st.integers(0, 3)) == 0:
            commands.append(configure(draw(st.integers(0, 3)), draw(st.sampled_from([3, 16, 35]))))
            continue
        variant = draw(st.integers(0, len(array.variants) - 1))
        column_tiles, depth_tiles = draw(st.integers(1, 3)), draw(st.integers(1, 2 * array.group_words + 1))
        depth_tiles = min(depth_tiles, max(1, 32 // array.slices))
        row_tiles = max(1, min(draw(st.integers(1, 3)), half // g.tile_rows // column_tiles))
        words = column_tiles * family.model().weight_words(variant, depth_tiles)
        rows = row_tiles * g.tile_rows * column_tiles
        commands.append(
            command(
                row_tiles=row_tiles,
                column_tiles=column_tiles,
                depth_tiles=depth_tiles,
                weights_address=draw(st.sampled_from([0, 1, design.weight_words - words])),
                accumulators_address=draw(st.integers(0, 1)) * half + draw(st.integers(0, half - rows)),
                accumulate=0,
                variant=variant,
            )
        )
    return family, design, commands, visible, draw(st.integers(0, 1000)), draw(st.sampled_from([0, 1, 2, 5]))


@settings(max_examples=4, deadline=None)
@given(programs())
def test_any_masks_take_the_cycles_of_the_law(program):
    """The more often memory is combined with other random bits, the rarer are ones."""
    family, design, commands, visible, seed, times = program
    _, weights = contents(design, seed)
    for further in range(times):
        weights &= contents(design, seed + 1 + further)[1]
    check(family, design, commands, visible, weights, seed)


PAST = [
    {"activations_address": 250, "activations_stride": 2}, {"weights_address": 470, "column_tiles": 9},
    {"weights_address": 511}, {"accumulators_address": 62},
]  # fmt: skip


@pytest.mark.parametrize("variant", [0, pytest.param(4, marks=pytest.mark.long)])
@pytest.mark.parametrize("past", PAST, ids=str)
def test_past_the_end_is_a_fault_of_its_command(past, variant):
    family = family_for(rows=4, columns=2)
    design = design_for(family.array, weight_words=512)
    activations, weights = contents(design, 1)
    fields = {"variant": variant, "depth_tiles": 5, "activations_stride": 5}
    good = command(**fields, row_tiles=2)
    wrong = command(**(fields | {"row_tiles": 2, "accumulators_address": 64} | past))
    commands = [good, wrong, good, wrong, wrong, good]
    seen = run(design, core_of(family.array), activations, weights, commands, [0] * len(commands))
    assert seen.faults == [seen.finished[place] - 1 for place in (1, 3, 4)]


@pytest.mark.parametrize(
    "since", [1, 37, 73, 109, 145, *(pytest.param(one, marks=pytest.mark.long) for one in range(13, 150, 12))]
)
def test_halt_leaves_nothing_behind(since):
    family = family_for(rows=3, columns=2)
    w = operand(family, 3, depth_tiles=5, column_tiles=1, seed=since, share=MOSTLY)
    design = design_for(family.array, weight_words=512)
    activations, _ = contents(design, 1)
    weights = place_weights(design, (300, family.pack_weights(w)))
    dropped = command(
        row_tiles=2, column_tiles=2, depth_tiles=6, activations_stride=6, variant=1, accumulators_address=64
    )
    kept = command(row_tiles=2, depth_tiles=5, activations_stride=5, variant=3, weights_address=300)
    commands, visible = [dropped, dropped, kept], [0, 0, since + 80]
    seen = run(
        design, core_of(family.array), activations, weights, commands, visible, halt=range(since, since + 60)
    )
    expected = family.model().execute(vars(kept), activations, weights, [0] * 4)
    np.testing.assert_array_equal(seen.accumulators[: len(expected)], expected)
    assert seen.faults == []


def test_masks_must_fit_a_word():
    message = r"columns must be at least 4 where zero terms are skipped \(a mask for each of 16 slices, 4 lanes\), not 2"
    with pytest.raises(ValueError, match=message):
        array_for(rows=9, columns=2, group=128, skip_zero_terms=True)


# The whole accelerator -------------------------------------------------------------------------------------------

SMALL = ("array.rows=4", "array.columns=4", "array.lanes=4", "array.group=64", "memory.accumulators=64")


@pytest.fixture(scope="module")
def system():
    """A small accelerator, its Verilog, and GEMMs on random weights and on such with zero slices, each with its simulation."""
    loaded = config.load("bitmod-int8-8x8", [*SMALL, skipping.OPTION])
    made = generate(loaded)
    prepared = []
    for seed, (weights, share) in enumerate(
        [("int8-s8:g64", 0), ("fp4-mixed-s8:g64", 0.7), ("int6", 0.5), ("fp3-er-s8:g64", 0.9)]
    ):
        family = loaded.instance
        load = workload.random(
            (9, 200, 21), "raw", seed, family.pairs[family.variant(weights=weights)], family
        )
        w = skipping.pruned(load.w, share, lanes=4, columns=4, seed=seed)
        prepared.append(skipping.prepared(loaded, replace(load, w=w)))
    return loaded, prepared, simulation.run(loaded, made, prepared, lambda _: None)


def test_cycles_equal_the_prediction(system):
    """``simulation.run`` has compared the results with the golden model."""
    loaded, prepared, results = system
    for one, result in zip(prepared, results, strict=True):
        predicted = cases.prediction(loaded, one)
        assert predicted.cycles == result.counters["cycles"]
        assert predicted.array_steps == result.counters["array_steps"]


def test_the_prediction_needs_the_weights(system):
    loaded, (one, *_), _ = system
    with pytest.raises(ValueError, match="image must be given"):
        predict(loaded.design(), loaded.instance.model().law(), one.program.instructions)


def test_the_interpreter_says_the_same(system):
    loaded, prepared, _ = system
    for one in prepared:
        memory, program = one.image.copy(), one.program
        where = (program.address, program.length, program.window)
        model = loaded.instance.model()
        assert interpreter.run(loaded.design(), model, memory, *where, base=program.base).passed
        np.testing.assert_array_equal(program.read_output(memory), one.load.golden())
