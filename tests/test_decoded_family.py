"""The family of decoded operands: what its packers write is what its model reads, what results are, and what it refuses."""

import json
from fractions import Fraction
from itertools import product

import numpy as np
import pytest

from gen import config
from gen.errors import RequestError
from gen.families.decoded import DEFAULTS
from gen.workload import random
from hw.formats import Operand, find
from sim import golden
from sim.block_results import rounded_products, scaled

OLIVE, MX, STAY = "olive-8x8", "mx-8x8", "mx-ws-16x16"
WAYS = {
    "default": (),
    "odd sizes": ("array.rows=3", "array.columns=5", "bus.data_width=32", "output.lanes=1"),
    "wide bus": ("array.rows=5", "bus.data_width=256"),
}
STATIONARY = 'array.dataflow="weight-stationary"'


def _rows(block):
    """Of an array whose weights stay."""
    return f"array.rows={block}", f"array.block={block}"


def family(preset, *overrides):
    return config.load(preset, overrides).instance


def fields(array, sizes, **more):
    """An EXECUTE of the whole GEMM."""
    g, (m, k, n) = array.geometry, sizes
    tiles = {
        "row_tiles": -(-m // g.tile_rows),
        "depth_tiles": -(-k // g.tile_depth),
        "column_tiles": -(-n // g.columns),
    }
    words = array.model().activation_bytes(more["variant"], k) // g.activation_bytes
    places = {"activations_address": 1, "activations_stride": words + 1, "weights_address": 3}
    return tiles | places | more


def scratchpads(array, given, x, w):
    """Operands as a program puts them there, and bytes of chance everywhere else."""
    g, model, variant = array.geometry, array.model(), given["variant"]
    random_ = np.random.default_rng(1)
    rows = given["row_tiles"] * g.tile_rows
    activations = random_.integers(
        0, 256, (rows + 1) * given["activations_stride"] * g.activation_bytes, np.uint8
    )
    packed = array.pack_activations(x, variant)
    assert packed.shape == (x.shape[0], model.activation_bytes(variant, x.depth))
    for row, content in enumerate(packed):
        start = (given["activations_address"] + row * given["activations_stride"]) * g.activation_bytes
        activations[start : start + content.size] = content
    words = array.pack_weights(w, variant)
    wanted = given["column_tiles"] * model.weight_words(variant, given["depth_tiles"])
    assert words.size == wanted * g.weight_bytes
    before = random_.integers(0, 256, given["weights_address"] * g.weight_bytes, np.uint8)
    return activations, np.concatenate([before, words, before])


def executed(array, variant, sizes, seed):
    """Sums of the model, from bytes, and of the golden model, from the operands."""
    load = random(sizes, "raw", seed, array.pairs[variant], family=array)
    given = fields(array, sizes, variant=variant)
    got = array.model().execute(given, *scratchpads(array, given, load.x, load.w))
    if array.geometry.sums == "int32":
        assert got.dtype == np.int32
        assert got.shape == (
            given["row_tiles"] * array.geometry.tile_rows,
            given["column_tiles"] * array.geometry.columns,
        )
        return got[: sizes[0], : sizes[2]], golden.gemm(load.x.integers(), load.w.integers())
    assert got.dtype == np.float32
    total = got[0]
    with np.errstate(all="ignore"):  # Rows and features beyond the last are anything.
        for one in got[1:]:
            total = total + one
    return total[: sizes[0], : sizes[2]], array.golden(load.x, load.w)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("preset", [OLIVE, MX])
def test_what_is_packed_is_what_is_computed(preset, way):
    """Each pair of formats; depths that end within a pair of codes, a word and a block."""
    array = family(preset, *WAYS[way])
    for variant in range(len(array.pairs)):
        for seed, sizes in enumerate([(1, 1, 1), (3, 47, array.geometry.columns + 3), (9, 64, 4)]):
            got, wanted = executed(array, variant, sizes, seed)
            np.testing.assert_array_equal(got, wanted, err_msg=str((array.pairs[variant], sizes)))


@pytest.mark.parametrize(("preset", "overrides"), [
    (OLIVE, (STATIONARY,)),
    (OLIVE, ('array.activations=["ovp8-int8-e2m5", "int6", "fp6-e3m2"]', 'array.weights=["ovp8-int8-e2m5", "int3"]')),
    (OLIVE, (STATIONARY, 'array.activations=["ovp8-int8-e2m5", "int4"]', 'array.weights=["ovp8-int8-e2m5", "int7"]')),
    (MX, ("array.block=32", 'array.activations=["mxfp8-e5m2", "mxfp6-e3m2"]', 'array.weights=["mxfp8-e5m2", "mxfp4"]')),
    (MX, ('array.activations=["int8", "nvfp4", "q8_0", "int4:g32"]', 'array.weights=["q4_0", "q8_0", "int4-s8", "bipolar4"]')),
    (MX, ("array.block=128", 'array.activations=["int8-s8", "int4-s8"]', 'array.weights=["int8-s8", "int4:g256"]')),
    (MX, ('array.activations=["ovp8-int8-e2m5"]', 'array.weights=["mxfp4", "bfp8"]')),
    (MX, ("array.block=32", 'array.activations=["ovp4-int4"]', 'array.weights=["mxfp4", "q4_0"]')),
    (MX, ('array.activations=["mxfp8-e5m2"]', 'array.weights=["mxfp8-e5m2"]', "array.accumulator=aligned")),
    (MX, ('array.activations=["mxfp8-e4m3"]', 'array.weights=["mxfp8-e4m3"]', "array.accumulator=aligned")),
    (STAY, ()),
    (STAY, (*_rows(32), 'array.activations=["q8_0", "mxfp4", "int4"]', 'array.weights=["q4_0", "q8_0", "int8"]')),
    (STAY, ("array.columns=6", 'array.activations=["ovp8-int8-e2m5", "nvfp4"]', 'array.weights=["ovp8-int8-e2m5"]')),
    (STAY, (*_rows(64), 'array.activations=["int8-s8", "int4-s8"]', 'array.weights=["int8-s8", "int4-s8"]')),
    (STAY, ('array.activations=["mxfp8-e5m2"]', 'array.weights=["mxfp8-e5m2"]', "array.accumulator=aligned")),
])  # fmt: skip
def test_other_formats(preset, overrides):
    """Weights that stay, 8-bit pairs, sums of 71 bits, fp16 and whole scales, streams of different slots, bits left out."""
    array = family(preset, *overrides)
    for variant in range(len(array.pairs)):
        for seed, sizes in enumerate([(1, 3, 2), (10, 301, 11)]):
            got, wanted = executed(array, variant, sizes, seed)
            np.testing.assert_array_equal(got, wanted, err_msg=str((array.pairs[variant], sizes)))


@pytest.mark.parametrize(("preset", "overrides"), [(OLIVE, ()), (OLIVE, (STATIONARY,)), (MX, ()), (STAY, ())])
def test_parts_that_begin_at_a_granule_are_parts_of_the_whole(preset, overrides):
    """Streams cut there: rows of activations in bytes, weights in words."""
    array = family(preset, *overrides)
    g, model = array.geometry, array.model()
    for variant, (activations, weights) in enumerate(array.pairs):
        granule = array.depth_granule(variant)
        depth = granule + 5
        load = random((2, depth, 3), "raw", variant, (activations, weights), family=array)
        first, rest = (0, granule), (granule, depth)
        rows = [array.pack_activations(load.x.part(part, (0, 2)), variant) for part in (first, rest)]
        np.testing.assert_array_equal(np.concatenate(rows, axis=1), array.pack_activations(load.x, variant))
        words = [array.pack_weights(load.w.part(part, (0, 3)), variant) for part in (first, rest)]
        np.testing.assert_array_equal(np.concatenate(words), array.pack_weights(load.w, variant))
        assert granule % g.tile_depth == 0
        assert model.activation_bytes(variant, 3 * granule) == 3 * model.activation_bytes(variant, granule)
        tiles = granule // g.tile_depth
        assert model.weight_words(variant, 3 * tiles) == 3 * model.weight_words(variant, tiles)


def test_streams_by_hand():
    """Three codes of 4 bits beside three of 8 bits; a block of MXFP4 beside one of MXFP8, scales behind their codes."""
    olive = family(OLIVE, "array.columns=2", 'array.activations=["ovp4-int4"]', 'array.weights=["int8"]')
    x = Operand(format=find("ovp4-int4"), codes=np.array([[0x8, 0x5, 0x3]], np.uint8), depth_axis=1)
    w = Operand(format=find("int8"), codes=np.array([[1, 2], [3, 4], [5, 6]], np.uint8), depth_axis=0)
    assert olive.pack_activations(x).tolist() == [[0x58, 0x03, *[0] * 6]]
    assert olive.pack_weights(w).tolist() == [1, 2, 3, 4, 5, 6]
    assert x.integers().tolist() == [[0, 48, 3]]

    mx = family(MX, "array.columns=1", 'array.activations=["mxfp4"]', 'array.weights=["mxfp8-e4m3"]')
    ones = np.ones((1, 32), np.uint8)
    scale = np.array([[2.0**-3]])
    x = Operand(format=find("mxfp4"), codes=ones, depth_axis=1, float_scales=scale)
    w = Operand(format=find("mxfp8-e4m3"), codes=2 * ones.T, depth_axis=0, float_scales=scale * 4)
    # A scale takes a byte in both streams. To whole words of 8 bytes.
    assert mx.pack_activations(x).tolist() == [[0x11] * 16 + [124] + [0] * 7]
    assert mx.pack_weights(w).tolist() == [2] * 32 + [126]
    assert mx.array.block_steps(0) == 33
    assert mx.array.depth_granule(0) == 32 * 8  # 8 blocks of 17 bytes are 17 words of 8

    nv = family(MX, "array.columns=1", 'array.activations=["nvfp4"]', 'array.weights=["mxfp8-e4m3"]')
    x = Operand(format=find("nvfp4"), codes=ones[:, :16], depth_axis=1, float_scales=np.array([[0.5]]))
    w = Operand(format=find("mxfp8-e4m3"), codes=2 * ones.T, depth_axis=0, float_scales=scale)
    # Blocks of NVFP4 are no longer: the other's scale is sent behind each half of its block.
    assert nv.pack_activations(x).tolist() == [[0x11] * 8 + [0x30] + [0] * 7]
    assert nv.pack_weights(w).tolist() == ([2] * 16 + [124]) * 2


def test_tiles_that_stay_by_hand():
    """A tile of MXFP4 is eight bytes and a scale in sixteen; 16 words of MXFP8, and one with the scales of both columns."""
    array = family(
        STAY,
        "array.columns=2",
        "output.lanes=1",
        'array.activations=["mxfp4"]',
        'array.weights=["mxfp8-e4m3"]',
    )
    ones, scale = np.ones((1, 32), np.uint8), np.array([[2.0**-3]])
    x = Operand(format=find("mxfp4"), codes=ones, depth_axis=1, float_scales=scale)
    w = Operand(
        format=find("mxfp8-e4m3"), codes=np.concatenate([2 * ones, 3 * ones]).T, depth_axis=0,
        float_scales=np.array([[4.0, 8.0]]),
    )  # fmt: skip
    assert array.pack_activations(x).tolist() == [([0x11] * 8 + [124] + [0] * 7) * 2]
    assert array.pack_weights(w).tolist() == ([2, 3] * 16 + [129, 130]) * 2


def test_results_by_fractions():
    """Of each block: the sum exactly, once rounded, times the scales, once more rounded."""

    def rounded(value):
        """The nearest float32, ties to even, of a fraction within the normal numbers."""
        if not value:
            return np.float32(0)
        exponent = 0
        while abs(value) >= 1 << 24:
            value, exponent = value / 2, exponent + 1
        while abs(value) < 1 << 23:
            value, exponent = value * 2, exponent - 1
        return np.float32(float(round(value)) * 2.0**exponent)

    array = family(
        MX, 'array.activations=["mxfp8-e5m2", "nvfp4"]', 'array.weights=["mxfp8-e5m2", "nvfp4"]', "array.block=16"
    )  # fmt: skip
    for variant, (activations, weights) in enumerate(array.pairs):
        load = random((2, 40, 3), "raw", variant, (activations, weights), family=array)
        x, w = load.x, load.w
        got = array.golden(x, w)
        for row, feature in product(range(2), range(3)):
            total, length = np.float32(0), 16 if "nvfp4" in (activations.name, weights.name) else 32
            for first in range(0, 40, length):
                part = range(first, min(first + length, 40))
                sum_ = sum(int(x.levels()[row, k]) * int(w.levels()[k, feature]) for k in part)
                scale, exponent = Fraction(1), 0
                for one, places in (
                    (x, (row, first // x.format.block)),
                    (w, (first // w.format.block, feature)),
                ):
                    number = Fraction(float(one.float_scales[places]))
                    if one.format.scale == "e8m0":
                        exponent += int(np.log2(float(number)))
                    else:
                        scale *= number
                unit = x.format.unit + w.format.unit
                factor = scale * Fraction(2) ** (min(max(exponent, -94), 48) + unit)
                total = total + rounded(Fraction(float(rounded(Fraction(sum_)))) * factor)
            assert got[row, feature] == total


def test_wide_sums_are_rounded_once():
    """Halfway between two numbers, and a little off it on either side, of sums up to 2**71; negative ones alike."""
    top, one = 1 << 32, 1
    step = 1 << 41  # of float32 from 2**64 on
    for sign, more, wanted in (
        (1, 0, 0), (1, 1, 1), (1, -1, 0), (-1, 0, 0), (-1, 1, 1), (-1, -1, 0),
    ):  # fmt: skip
        x = np.array([[top, 1 << 20, one]], np.int64) * sign
        w = np.array([[top], [step >> 21], [more]], np.int64)
        got = rounded_products(x, w)[0, 0]
        assert int(got) == sign * ((1 << 64) + wanted * step)
    # A tie beside an odd number goes up.
    x, w = (
        np.array([[top, 1 << 20, 1 << 20]], np.int64),
        np.array([[top], [step >> 20], [step >> 21]], np.int64),
    )
    assert int(rounded_products(x, w)[0, 0]) == (1 << 64) + 2 * step
    x = np.full((1, 128), -top, np.int64)
    assert int(rounded_products(x, x.T)[0, 0]) == 1 << 71
    generator = np.random.default_rng(1)
    x, w = (generator.integers(-(1 << 32), 1 << 32, shape) for shape in ((5, 60), (60, 4)))
    exact = x.astype(object) @ w.astype(object)
    assert (
        rounded_products(x, w)
        == np.vectorize(lambda v: float(v >> 20 | 1), otypes=[float])(exact).astype(np.float32) * 2**20
    ).all()


def test_products_without_their_lowest_bits():
    """Each is rounded down before it is added, whatever its size."""
    x = np.array([[-3, 5, 7 << 25, -(1 << 32)]], np.int64)
    w = np.array([[1, 3], [1, -3], [1 << 20, 0], [1 << 31, 1]], np.int64)
    wanted = [[sum(int(a) * int(b) >> 9 for a, b in zip(x[0], w[:, n], strict=True)) for n in range(2)]]
    assert rounded_products(x, w, dropped=9).tolist() == np.array(wanted).astype(np.float32).tolist()


def test_scales_are_limited_together():
    """Two of E8M0: -127 and 127 are 1; beside a scale of another type only E8M0's is limited. Zero is +0."""
    ones = np.ones((1, 1), np.float32)

    def factor(kinds, x, w, unit=0):
        each = ((kind, np.array([scale])) for kind, scale in zip(kinds, (x, w), strict=True))
        return float(scaled(ones, *each, unit)[0, 0])

    both = ("e8m0", "e8m0")
    assert factor(both, 2.0**-127, 2.0**127) == 1
    assert factor(both, 2.0**-127, 2.0**20) == 2.0**-94
    assert factor(both, 2.0**-60, 2.0**-60, -32) == 2.0**-126
    assert factor(both, 2.0**60, 2.0**20) == 2.0**48
    assert factor(("e8m0", "e4m3"), 2.0**-127, 2.0**-9) == 2.0**-103
    assert factor(("fp16", "int8"), -0.5, 255.0) == -127.5
    zero = scaled(np.zeros((1, 1), np.float32), ("fp16", np.array([-1.0])), ("", None), 0)
    assert not np.signbit(zero[0, 0])


def test_formats_by_block():
    for block, (activations, weights) in DEFAULTS.items():
        array = family(MX, f"array.block={block}", *_unset(block))
        assert [a.name for a, _ in array.pairs[:: len(weights)]] == list(activations)
        assert [w.name for _, w in array.pairs[: len(weights)]] == list(weights)
        assert array.geometry.sums == ("float32" if block else "int32")


def _unset(block):
    """Overrides that make the formats of a preset those that a configuration without any has."""
    keys = zip(("activations", "weights"), DEFAULTS[block], strict=True)
    return [f"array.{key}={json.dumps(list(names))}" for key, names in keys]


def mistakes(preset, *overrides):
    with pytest.raises(RequestError) as caught:
        config.load(preset, overrides)
    return caught.value.lines[1:]


@pytest.mark.parametrize(("preset", "overrides", "end"), [
    (OLIVE, ["array.rows=65"], "array.rows = 65: must be an integer from 1 to 64"),
    (OLIVE, ["array.block=8"], "array.block = 8: must be one of 0, 16, 32, 64, 128"),
    (OLIVE, ['array.weights=["int4", "int4"]'], "weights must be different formats, not int4, int4"),
    (OLIVE, ['array.activations=["fp16"]'], "with scales of e8m0, e4m3, int8, fp16 if of blocks, not fp16"),
    (OLIVE, ['array.activations=["bipolar4"]'], "with scales of e8m0, e4m3, int8, fp16 if of blocks, not bipolar4"),
    (OLIVE, ['array.weights=["fp4-mixed"]'], "if of blocks, not fp4-mixed"),
    (OLIVE, ['array.weights=["int4-asym"]'], "if of blocks, not int4-asym"),
    (OLIVE, ['array.weights=["mxfp4"]'], "block must be 32 or a divisor for mxfp4, not 0"),
    (MX, ["array.block=32"], "block must divide the block of nvfp4, 16, not be 32"),
    (OLIVE, ['array.activations=["ovp8-int8"]', 'array.weights=["ovp8-int8"]'],
     "products must be of up to 32 bits, not 47 of ovp8-int8 x ovp8-int8"),
    (MX, ['array.weights=["q8_0"]'], "not of 2**-127 as those of mxfp8-e4m3 x q8_0"),
    (MX, [STATIONARY], "rows must be as many as steps of a block, 16, when dataflow is weight-stationary, not 8"),
    (MX, [STATIONARY, "array.block=128", 'array.activations=["int8"]', 'array.weights=["int8"]'],
     "block must be up to 64 when dataflow is weight-stationary, not 128"),
    (OLIVE, ["array.accumulator=aligned"], "accumulator must be exact without blocks, not aligned"),
    (MX, ["array.rows=20", "memory.accumulators=2048"], "(results take 26 cycles to leave), not 20"),
])  # fmt: skip
def test_mistakes(preset, overrides, end):
    (line,) = mistakes(preset, *overrides)
    assert line.startswith("array")
    assert line.endswith(end)
