"""The table-lookup family with fp16 activations: words, results against the definition, formats, and what it refuses."""

import numpy as np
import pytest
from test_lookup_family import family, fields, scratchpads

from gen import cases, config
from gen.errors import RequestError
from gen.families.lookup import HALF_KINDS
from gen.workload import random
from hw.formats import FORMATS, Operand, find
from sim import lookup
from sim.interpreter import run

PRESET = "lut-fp16-m2n64k4"
WAYS = {
    "default": (),
    "odd units": ("array.columns=24", "array.rows=3", "array.group=32"),
    "nine outputs": ("array.columns=27", "array.outputs=9", "bus.data_width=64", "array.group=64"),
    "sixteen outputs, narrow bus": (
        "array.columns=32",
        "array.outputs=16",
        "bus.data_width=32",
        "array.group=32",
    ),
}
"""Overrides of the preset."""


def bits_of(results):
    """Patterns, so that zeros have their signs."""
    return np.asarray(results, np.float32).view(np.uint32)


def added(results):
    """As the accumulators do."""
    total = results[0]
    for one in results[1:]:
        total = total + one
    return total


@pytest.mark.parametrize("name", HALF_KINDS)
@pytest.mark.parametrize("way", WAYS)
def test_what_is_packed_is_what_is_computed(name, way):
    """Depths that end within a chunk, a group and a word; features within a tile, rows within one."""
    array = family(*WAYS[way], f'array.weights=["{name}"]', preset=PRESET)
    g, group = array.geometry, array.array.group
    for seed, sizes in enumerate([(1, 1, 1), (3, 2 * group + 5, g.columns + 3), (5, group, 2 * g.columns)]):
        load = random(sizes, "raw", seed, array.pairs[0], family=array)
        given = fields(array, sizes, variant=0)
        got = array.model().execute(given, *scratchpads(array, given, load.x, load.w))
        assert got.dtype == np.float32
        assert got.shape[1:] == (given["row_tiles"] * g.tile_rows, given["column_tiles"] * g.columns)
        wanted = array.golden(load.x, load.w)
        np.testing.assert_array_equal(bits_of(added(got)[: sizes[0], : sizes[2]]), bits_of(wanted))


def by_definition(x, codes, scale, bits):
    """One result of a group, entry by entry."""
    total = np.float16(0)
    for first in range(0, len(x), 4):
        four = x[first : first + 4].astype(float)
        for plane in range(bits):
            signs = 2 * (codes[first : first + 4].astype(int) >> plane & 1) - 1
            with np.errstate(over="ignore", invalid="ignore"):
                # A float64 holds the sum of four halves; times a power of two fp16 stays exact, or becomes infinite.
                total = np.float16(total + np.float16(np.float16(signs @ four) * np.float16(1 << plane)))
    return np.float32(float(total) * float(scale))


@pytest.mark.parametrize("bits", [1, 2, 3, 4])
def test_golden_is_the_definition(bits):
    """Of numbers whose sums stay finite, with subnormal ones and those that vanish beside others."""
    array, generator = family("array.group=32", preset=PRESET), np.random.default_rng(bits)
    size = 2.0 ** generator.integers(-24, 4, (3, 44))
    x = (generator.standard_normal((3, 44)) * size).astype(np.float16)
    codes = generator.integers(1 << bits, size=(44, 5), dtype=np.uint8)
    scales = generator.standard_normal((2, 5)).astype(np.float16)
    w = Operand(format=find(f"bipolar{bits}:g32"), codes=codes, depth_axis=0, float_scales=scales)
    got = array.golden(Operand(format=FORMATS["fp16"], codes=x.view(np.uint16), depth_axis=1), w)
    for row in range(3):
        for column in range(5):
            first, second = (
                by_definition(x[row, part], codes[part, column], scales[number, column], bits)
                for number, part in enumerate((slice(0, 32), slice(32, 44)))
            )
            assert bits_of(got[row, column]) == bits_of(np.float32(first + np.float32(0)) + second)


def test_what_is_too_great():
    """Infinite sums count as 2**16, NaN as half as much again; zeros have no minus."""
    sums = np.array([np.inf, -np.inf, np.nan, -0.0, 65504], np.float16)
    got = lookup.half_float_results(sums, np.float64(-0.5))
    assert bits_of(got).tolist() == bits_of([-32768, 32768, -49152, 0, -32752]).tolist()


def test_programs_equal_the_golden_model():
    """Compiled for the whole accelerator, in each format."""
    whole = config.load(PRESET)
    for case in cases.each_format(whole.array.weights, [(3, 37, 7), (2, 300, 70)], (1,)):
        prepared = cases.prepare(whole, case)
        program, image = prepared.program, prepared.image.copy()
        result = run(
            whole.design(), whole.instance.model(), image, program.address, program.length, program.window, base=program.base
        )  # fmt: skip
        assert result.passed, case
        np.testing.assert_array_equal(program.read_output(image), prepared.load.golden(), err_msg=str(case))
        assert cases.prediction(whole, prepared).cycles > 0


def test_names_and_sizes():
    array = family(preset=PRESET)
    names = [(a.name, w.name) for a, w in array.pairs]
    assert names == [("fp16", f"bipolar{bits}:g128") for bits in (4, 3, 2, 1)] + [("fp16", "binary")]
    assert array.variant(weights="bipolar2") == array.variant("fp16", "bipolar2:g128") == 2
    sizes = array.array
    # Two chunks of four make a word of 16 bytes; eight scales of 16 bits, 32 words of four bits for a unit.
    assert (sizes.slices, sizes.word_steps, sizes.group_words, sizes.scale_words) == (2, 8, 16, 32)
    g = array.geometry
    assert (g.activation_bytes, g.weight_bytes, g.sums) == (16, 4, "float32")
    # A group of four planes: 32 chunks of 32 lookups, and never a pause.
    four = sizes.variants[0]
    assert sizes.group_cycles(four, 16) == 32 * 32 + 32
    assert sizes.pause(four, 1, fresh=True) == 0
    assert array.model().multiplications(0) == 2 * 8 * 4 / 4
    with pytest.raises(
        RequestError, match=r"weights 'int4': must be one of bipolar4:g128, .* for this array"
    ):
        array.variant(weights="int4")


@pytest.mark.parametrize(("overrides", "end"), [
    (["array.scales=int8"], "scales must be fp16 with fp16 activations, not int8"),
    (["array.groups_per_lane=2"], "groups_per_lane must be 1 with fp16 activations, not 2"),
    (["array.k=2"], "k must be 4 with fp16 activations, not 2"),
    (["array.outputs=4"], "outputs must be at least 8 with fp16 activations (the cycles of a sum), not 4"),
    (['array.weights=["int4"]'], f"weights must be different ones of {', '.join(HALF_KINDS)}, not int4"),
    (["array.activations=bf16"], 'array.activations = "bf16": must be one of int8, fp16'),
])  # fmt: skip
def test_mistakes_take_a_line_each(overrides, end):
    with pytest.raises(RequestError) as caught:
        config.load(PRESET, overrides)
    (line,) = caught.value.lines[1:]
    assert line.startswith("array")
    assert end in line
