"""The table-lookup family with fp16 activations: words, results against the definition, formats, and what it refuses."""

import numpy as np
import pytest
from program_bench import check_program
from test_lookup_family import family, fields, scratchpads

from gen import cases, config
from gen.errors import RequestError
from gen.families.lookup import HALF_KINDS
from gen.workload import random
from hw.formats import FORMATS, Operand
from sim import lookup

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
    length = ("array.group=32",) if name == "q4_0" else ()
    array = family(*WAYS[way], *length, f'array.weights=["{name}"]', preset=PRESET)
    g, group = array.geometry, array.array.group
    for seed, sizes in enumerate([(1, 1, 1), (3, 2 * group + 5, g.columns + 3), (5, group, 2 * g.columns)]):
        load = random(sizes, "raw", seed, array.pairs[0], family=array)
        given = fields(array, sizes, variant=0)
        got = array.model().execute(given, *scratchpads(array, given, load.x, load.w))
        assert got.dtype == np.float32
        assert got.shape[1:] == (given["row_tiles"] * g.tile_rows, given["column_tiles"] * g.columns)
        wanted = array.golden(load.x, load.w)
        np.testing.assert_array_equal(bits_of(added(got)[: sizes[0], : sizes[2]]), bits_of(wanted))


def by_definition(x, codes, scale, bits, zero):
    """One result of a group, entry by entry; ``zero``: the code of its zero point, or None."""
    total, plus = np.float16(0), np.float16(0)
    for first in range(0, len(x), 4):
        four = x[first : first + 4].astype(float)
        for plane in range(bits):
            signs = 2 * (codes[first : first + 4].astype(int) >> plane & 1) - 1
            with np.errstate(over="ignore", invalid="ignore"):
                # A float64 holds the sum of four halves; times a power of two fp16 stays exact, or becomes infinite.
                total = np.float16(total + np.float16(np.float16(signs @ four) * np.float16(1 << plane)))
        plus = np.float16(plus + np.float16(four.sum()))
    if zero is None:
        return np.float32(float(total) * float(scale))
    for plane in range(bits):
        sign = -1 if zero >> plane & 1 else 1
        total = np.float16(total + np.float16(plus * np.float16(sign << plane)))
    return np.float32(float(total) / 2 * float(scale))


@pytest.mark.parametrize("name", [
    *(f"bipolar{bits}" for bits in (1, 2, 3, 4)), *(f"int{bits}{kind}" for kind in ("", "-asym") for bits in (2, 3, 4)),
    "q4_0", "ternary",
])  # fmt: skip
def test_golden_is_the_definition(name):
    """Of numbers whose sums stay finite, with subnormal ones and those that vanish beside others."""
    array = family("array.group=32", preset=PRESET)
    generator, format = np.random.default_rng(len(name)), array.pairs[array.variant(weights=name)][1]
    bits = format.bits
    size = 2.0 ** generator.integers(-24, 4, (3, 44))
    x = (generator.standard_normal((3, 44)) * size).astype(np.float16)
    codes = generator.integers(1 << bits, size=(44, 5), dtype=np.uint8)
    if name == "ternary":
        codes[codes == 2] = 3
    scales = generator.standard_normal((2, 5)).astype(np.float16) if format.block else None
    zeros = generator.integers(1 << bits, size=(2, 5)) if format.offset else None
    w = Operand(format=format, codes=codes, depth_axis=0, float_scales=scales, zeros=zeros)
    factors, points = (np.ones((2, 5)) if scales is None else scales), zeros
    if zeros is None:
        points = np.full((2, 5), None if name.startswith("bipolar") else 1 << bits - 1)
    if name.startswith(("int", "ternary")) and zeros is None:
        # Two's complement: its highest bit inverted it is unsigned.
        codes = codes ^ 1 << bits - 1
    got = array.golden(Operand(format=FORMATS["fp16"], codes=x.view(np.uint16), depth_axis=1), w)
    for row in range(3):
        for column in range(5):
            results = [
                by_definition(x[row, part], codes[part, column], scale[column], bits, point[column])
                for part, scale, point in zip((slice(0, 32), slice(32, 44)), factors, points, strict=True)
            ]
            assert bits_of(got[row, column]) == bits_of(added(results) + np.float32(0))


def test_what_is_too_great():
    """Infinite sums count as 2**16, NaN as half as much again; zeros have no minus."""
    sums = np.array([np.inf, -np.inf, np.nan, -0.0, 65504], np.float16)
    got = lookup.half_float_results(sums, np.float64(-0.5))
    assert bits_of(got).tolist() == bits_of([-32768, 32768, -49152, 0, -32752]).tolist()
    got = lookup.half_float_results(sums, np.float64(2.0**-24), doubled=True)
    assert bits_of(got).tolist() == bits_of(np.array([1, -1, 1.5, 0, 65504 / 65536]) * 2.0**-9).tolist()


def test_sums_of_zero_points():
    """Of weights that are zero points: nothing; of a total that is infinite or NaN: the same, if the planes' sums are not."""
    x = np.array(
        [[1, 2, 3, 4], [60000, 60000, -60000, -60000], [np.inf, 1, 1, 1], [-0.0, 0, -0.0, 0]], np.float16
    )
    zeros = np.array([0, 1, 5, 15])
    got = lookup.half_group_sums(x, zeros[None].repeat(4, 0), bits=4, zeros=zeros)
    np.testing.assert_array_equal(got[[0, 1, 3]], np.zeros((3, 4)))
    assert not np.signbit(got[[0, 1, 3]]).any()
    assert np.isnan(got[2]).all()


def test_programs_equal_the_golden_model():
    """Compiled for the whole accelerator, in each format."""
    whole = config.load(PRESET)
    for case in cases.each_format(whole.array.weights, [(3, 37, 7), (2, 300, 70)], (1,)):
        check_program(whole, case)


def test_names_and_sizes():
    array = family(preset=PRESET)
    names = [(a.name, w.name) for a, w in array.pairs]
    whole = [f"int{bits}{kind}" for kind in ("-asym", ":g128") for bits in (4, 3, 2)]
    bipolar = [f"bipolar{bits}:g128" for bits in (4, 3, 2, 1)]
    assert names == [("fp16", name) for name in (*whole, "ternary", *bipolar, "binary")]
    assert array.variant(weights="bipolar2") == array.variant("fp16", "bipolar2:g128") == 9
    assert family("array.group=32", preset=PRESET).pairs[0][1].name == "q4_0"
    sizes = array.array
    # Two chunks of four make a word of 16 bytes; eight scales of 16 bits, 32 words of four bits for a unit.
    assert (sizes.slices, sizes.word_steps, sizes.group_words, sizes.scale_words) == (2, 8, 16, 32)
    g = array.geometry
    assert (g.activation_bytes, g.weight_bytes, g.sums) == (16, 4, "float32")
    # A group of four planes: 32 chunks of 32 lookups, and never a pause.
    four, bipolar4 = (sizes.variants[array.variant(weights=name)] for name in ("int4", "bipolar4"))
    assert sizes.group_cycles(bipolar4, 16) == 32 * 32 + 32
    assert sizes.pause(bipolar4, 1, fresh=True) == 0
    # A chunk more, of the total.
    assert sizes.group_cycles(four, 16) == 33 * 32 + 32
    assert [sizes.zero_words(one) for one in sizes.variants] == [0] * len(sizes.variants)
    assert array.model().multiplications(0) == 2 * 8 * 4 / 4
    with pytest.raises(
        RequestError, match=r"weights 'q4_1': must be one of .*bipolar4:g128, .* for this array"
    ):
        array.variant(weights="q4_1")


@pytest.mark.parametrize(("overrides", "end"), [
    (["array.scales=int8"], "scales must be fp16 with fp16 activations, not int8"),
    (["array.groups_per_lane=2"], "groups_per_lane must be 1 with fp16 activations, not 2"),
    (["array.k=2"], "k must be 4 with fp16 activations, not 2"),
    (["array.outputs=4"], "outputs must be at least 8 with fp16 activations (the cycles of a sum), not 4"),
    (['array.weights=["q4_1"]'], f"weights must be different ones of {', '.join(list(HALF_KINDS)[1:])}, not q4_1"),
    (['array.weights=["q4_0"]'], f"weights must be different ones of {', '.join(list(HALF_KINDS)[1:])}, not q4_0"),
    (["array.activations=bf16"], 'array.activations = "bf16": must be one of int8, fp16'),
])  # fmt: skip
def test_mistakes_take_a_line_each(overrides, end):
    with pytest.raises(RequestError) as caught:
        config.load(PRESET, overrides)
    (line,) = caught.value.lines[1:]
    assert line.startswith("array")
    assert end in line
