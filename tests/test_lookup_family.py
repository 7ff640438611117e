"""The table-lookup family: what its packer writes is what its model reads, its law in numbers, and what it refuses."""

import numpy as np
import pytest
from program_bench import check_program

from gen import cases, config
from gen.errors import RequestError
from gen.families.lookup import DIRECT, KINDS
from gen.workload import random
from hw.array.lookup.geometry import LookupArray, LookupFormat, Offset
from hw.formats import INT8, Operand, find
from hw.timing import ACCUMULATE, LOOKUP_SETUP
from sim import golden, lookup
from sim.families.lookup import LookupLaw, LookupModel, Unpacker

BASE, TERNARY, SMALL, GGUF = "lut-m2n64k4", "lut-ternary-m2n64k4", "lut-up5k", "lut-gguf-m2n64k4"
WAYS = {
    "default": (),
    "groups of 32, odd units": (
        "array.columns=24",
        "array.outputs=8",
        "array.group=32",
        "array.rows=3",
        "output.lanes=1",
    ),
    "tables of 2": (
        "array.k=2",
        "array.groups_per_lane=4",
        "array.columns=12",
        "array.outputs=4",
        "output.lanes=1",
    ),
    "one unit, long words": (
        "array.columns=16",
        "array.outputs=16",
        "array.rows=8",
        "bus.data_width=512",
        "output.lanes=1",
    ),
    "narrow parts": ("array.columns=16", "array.groups_per_lane=2", "array.group=64", "bus.data_width=64"),
}
"""Overrides of the default preset: a unit or several, streams of one word and of many, words of several chunks."""


def family(*overrides: str, preset: str = BASE):
    return config.load(preset, ("output.lanes=1", *overrides)).instance


def fields(array, sizes, **more):
    """An EXECUTE of the whole GEMM."""
    g, (m, k, n) = array.geometry, sizes
    tiles = {
        "row_tiles": -(-m // g.tile_rows),
        "depth_tiles": -(-k // g.tile_depth),
        "column_tiles": -(-n // g.columns),
    }
    places = {"activations_address": 1, "activations_stride": tiles["depth_tiles"] + 1, "weights_address": 3}
    return tiles | places | more


def scratchpads(array, given, x, w):
    """Operands as a program puts them there, and bytes of chance everywhere else."""
    g, model = array.geometry, array.model()
    random_ = np.random.default_rng(1)
    rows = given["row_tiles"] * g.tile_rows
    activations = random_.integers(
        0, 256, (rows + 1) * given["activations_stride"] * g.activation_bytes, np.uint8
    )
    packed = array.pack_activations(x)
    assert packed.shape == (x.shape[0], model.activation_bytes(given["variant"], x.depth))
    for row, content in enumerate(packed):
        start = (given["activations_address"] + row * given["activations_stride"]) * g.activation_bytes
        activations[start : start + content.size] = content
    words = array.pack_weights(w)
    wanted = given["column_tiles"] * model.weight_words(given["variant"], given["depth_tiles"])
    assert words.size == wanted * g.weight_bytes
    before = random_.integers(0, 256, given["weights_address"] * g.weight_bytes, np.uint8)
    return activations, np.concatenate([before, words, before])


@pytest.mark.parametrize(
    ("name", "ternary"), [*((name, "planes") for name in KINDS), *((name, "direct") for name in DIRECT)]
)
@pytest.mark.parametrize("way", WAYS)
def test_what_is_packed_is_what_is_computed(name, ternary, way):
    """Depths that end within a group and within a word, features within a tile, rows within one."""
    array = family(*WAYS[way], f'array.weights=["{name}"]', f"array.ternary={ternary}")
    g, group = array.geometry, array.array.group
    for seed, sizes in enumerate([(1, 1, 1), (3, 2 * group + 5, g.columns + 3), (9, group, 2 * g.columns)]):
        load = random(sizes, "raw", seed, array.pairs[0], family=array)
        given = fields(array, sizes, variant=0)
        got = array.model().execute(given, *scratchpads(array, given, load.x, load.w))
        assert got.dtype == np.int32
        assert got.shape == (given["row_tiles"] * g.tile_rows, given["column_tiles"] * g.columns)
        wanted = golden.gemm(load.x.integers(), load.w.integers())
        np.testing.assert_array_equal(got[: sizes[0], : sizes[2]], wanted)


@pytest.mark.parametrize(
    ("name", "ternary"), [*((name, "planes") for name in KINDS), ("ternary-s8", "direct")]
)
def test_missing_weights_count_for_nothing(name, ternary):
    """Features past the last have none; past the depth they are zero, where there is a zero."""
    array = family(f'array.weights=["{name}"]', f"array.ternary={ternary}")
    depth = array.array.group + 1
    w = random((1, depth, 5), "raw", 3, array.pairs[0], family=array).w
    words = array.pack_weights(w).reshape(-1, array.geometry.weight_bytes)
    values = Unpacker(array.array, KINDS[name]).tile(words, array.array.group_words + 1)
    np.testing.assert_array_equal(values[:depth, :5], w.integers())
    if KINDS[name].offset is not Offset.NONE:
        assert not values[depth:].any()


@pytest.mark.parametrize("preset", [BASE, TERNARY, SMALL, GGUF])
def test_programs_equal_the_golden_model(preset):
    """Compiled for the whole accelerator, in each format; raw and requantised by turns."""
    whole = config.load(preset)
    names = whole.array.weights
    for case in cases.each_format(names, [(3, 37, 7), (2, 300, 70)], (1,)):
        check_program(whole, case)


def test_a_group_is_the_sum_of_its_lookups():
    """The model multiplies; the definition looks up."""
    array = family('array.weights=["int3-asym-s8", "bipolar3-s8", "int3-s8"]')
    for variant, (activations, weights) in enumerate(array.pairs):
        load = random((2, 128, 64), "raw", variant, (activations, weights), family=array)
        given = fields(array, load.sizes, variant=variant)
        got = array.model().execute(given, *scratchpads(array, given, load.x, load.w))
        offset = KINDS[weights.name.partition(":")[0]].offset
        codes = load.w.codes.astype(int) ^ (4 if offset is Offset.TWOS else 0)
        for row, feature in ((0, 0), (1, 9), (0, 63)):
            zero = {Offset.NONE: None, Offset.TWOS: 4, Offset.ZERO: None}[offset]
            if load.w.zeros is not None:
                zero = int(load.w.zeros[0, feature])
            result = lookup.group_result(
                load.x.integers()[row], codes[:, feature], bits=3, k=4, scale=int(load.w.scales[0, feature]), zero=zero
            )  # fmt: skip
            assert got[row, feature] == (result if zero is None else result // 2)


def test_words_by_hand():
    """Two units of two places, tables of two, asymmetric weights of two bits: every bit where the layout says."""
    array = family(
        "array.columns=4", "array.outputs=2", "array.k=2", "array.groups_per_lane=4", "array.rows=1", "array.group=32",
        'array.weights=["int2-asym-s8"]', "bus.data_width=64",
    )  # fmt: skip
    zeros, scales = np.array([[1, 2, 3, 0]]), np.array([[0x80, 0x01, 0xC5, 0xFF]])
    codes = np.zeros((8, 4), np.uint8)
    codes[:2] = [[3, 0, 1, 2], [3, 0, 2, 1]]
    w = Operand(format=find("int2-asym-s8:g32"), codes=codes, depth_axis=0, scales=scales, zeros=zeros)
    words = array.pack_weights(w).reshape(-1, 2).tolist()
    assert len(words) == 1 + 2 * 2 + 2
    # Feature s * 2 + b: unit 0 has 0 and 2, unit 1 has 1 and 3. Planes before places.
    assert words[0] == [0b1011, 0b0100]
    # Both weights set: entry 1, their sum; none: the same negated. The second alone: entry 0; the first alone: that negated.
    both, none, second, first = 0b11_11_11_01, 0b11_11_11_11, 0b11_11_11_00, 0b11_11_11_10
    assert words[1:5] == [
        [both, none],  # plane 0, place 0: features 0 and 1
        [first, second],  # place 1: features 2 and 3
        [both, none],  # plane 1
        [second, first],
    ]
    # The most significant bit first.
    assert words[5:] == [[0x01, 0x80], [0xA3, 0xFF]]


def test_ternary_words_by_hand():
    """As above, of ternary weights without tables: the lower four steps, then the upper four."""
    array = family(
        "array.columns=4", "array.outputs=2", "array.k=2", "array.groups_per_lane=4", "array.rows=1", "array.group=32",
        "array.ternary=direct", "bus.data_width=64",
    )  # fmt: skip
    codes = np.zeros((8, 4), np.uint8)
    codes[:2] = [[1, 0, 3, 1], [3, 0, 1, 3]]
    codes[7] = [0, 1, 0, 3]
    scales = np.array([[0x80, 0x01, 0xC5, 0xFF]])
    w = Operand(format=find("ternary-s8:g32"), codes=codes, depth_axis=0, scales=scales)
    words = array.pack_weights(w).reshape(-1, 2).tolist()
    assert len(words) == 2 * 2 + 2
    # Bit 2 * i: zero; bit 2 * i + 1: negative.
    assert words[:4] == [
        [0b01_01_10_00, 0b01_01_01_01],  # steps 0 to 3, place 0: features 0 and 1
        [0b01_01_00_10, 0b01_01_10_00],  # place 1: features 2 and 3
        [0b01_01_01_01, 0b00_01_01_01],  # steps 4 to 7
        [0b01_01_01_01, 0b10_01_01_01],
    ]
    assert words[4:] == [[0x01, 0x80], [0xA3, 0xFF]]


def array_for(**changes):
    return LookupArray(**{
        "rows": 2, "columns": 64, "k": 4, "groups_per_lane": 8, "outputs": 8, "group": 128, "data_bytes": 16,
        "variants": (LookupFormat(bits=2, offset=Offset.TWOS), LookupFormat(bits=1, offset=Offset.NONE)),
    } | changes)  # fmt: skip


def times(law, visible, **given):
    t = law.execute(visible, {"row_tiles": 1, "column_tiles": 1, "depth_tiles": 4, "variant": 0} | given)
    return t.taken, t.begin, t.end, t.finished, t.steps


def test_the_law_by_hand():
    """Of a group of 128 steps in two planes: 4 chunks of 16 lookups and 2 words of scales; scaling takes 32 cycles, or 40."""
    array = array_for()
    assert (array.slices, array.word_steps, array.group_words, array.scale_words) == (1, 32, 4, 2)
    two, one = array.variants
    tail = {format: array.result_latency(format) + array.banks + ACCUMULATE for format in (two, one)}
    assert tail[one] == tail[two] + 7  # of eight places the last
    law = LookupLaw(array)
    # No scaling takes longer than the first group.
    end = 10 + LOOKUP_SETUP + 66
    assert times(law, 10) == (10, 11, end, end - 1 + tail[two], 64)
    # Ready while the one before is busy: taken when it begins, and without a gap. Six tiles of two groups, of 66 and 18.
    again = end + 6 * (66 + 18 + (32 - 18))
    given = {"row_tiles": 2, "column_tiles": 3, "depth_tiles": 5}
    assert times(law, 11, **given) == (10 + LOOKUP_SETUP, 16, again, again - 1 + tail[two], 6 * 80)
    # One plane: 34 cycles of 40, in every group; 2 more in the first, whose results may be for the last one's accumulators.
    last = again + 2 + 2 * 40
    assert times(law, 12, depth_tiles=8, variant=1) == (end, end + 1, last, last - 1 + tail[one], 64)
    # A command that comes late.
    late = 9999 + LOOKUP_SETUP + 2 + 40
    assert times(law, 9999, variant=1) == (9999, 10000, late, late - 1 + tail[one], 32)


def test_zero_points_take_words():
    """Of 16 places of 4 bits in parts of 8 bits: 8 words; and 16 of scales."""
    asymmetric = LookupFormat(bits=4, offset=Offset.ZERO)
    array = array_for(groups_per_lane=2, outputs=16, group=32, variants=(asymmetric,), data_bytes=4)
    assert (array.word_steps, array.zero_words(asymmetric), array.scale_words) == (8, 8, 16)
    model = LookupModel(array)
    assert [model.weight_words(0, depth) for depth in (1, 4, 5)] == [88, 280, 368]
    # The scaling of 16 places: 64 cycles, which the short group has.
    assert array.pause(asymmetric, 1) == 0
    assert model.tile_cycles(0, 3, 5) == 3 * 368
    assert times(LookupLaw(array), 0, depth_tiles=5)[2] == LOOKUP_SETUP + 368
    # 2 rows and 4 units of 8 weights, in 4 lookups.
    assert model.multiplications(0) == 16
    assert model.activation_bytes(0, 9) == 16


def test_names_of_weights():
    array = family("array.group=64")
    full = [w.name for _, w in array.pairs]
    assert full[array.variant(weights="int4-asym")] == "int4-asym-s8:g64"
    assert full[array.variant("int8", "int2-s8")] == "int2-s8:g64"
    assert full[array.variant(weights="int2")] == "int2"
    assert full[array.variant(weights="ternary:g64")] == "ternary-s8:g64"
    assert [a for a, _ in array.pairs] == [INT8] * len(KINDS)
    few = family('array.weights=["bipolar2-s8", "ternary-s8"]')
    assert (few.variant(weights="ternary"), few.variant(weights="bipolar2")) == (1, 0)
    with pytest.raises(
        RequestError, match="weights 'int3': must be one of bipolar2-s8, ternary-s8 for this array"
    ):
        few.variant(weights="int3")


def mistakes(*overrides):
    with pytest.raises(RequestError) as caught:
        config.load(BASE, overrides)
    return caught.value.lines[1:]


@pytest.mark.parametrize(("overrides", "end"), [
    (["array.rows=9"], "array.rows = 9: must be an integer from 1 to 8"),
    (["array.k=3"], "array.k = 3: must be one of 2, 4"),
    (["array.groups_per_lane=5"], "array.groups_per_lane = 5: must be one of 1, 2, 4, 8, 16, 32"),
    (["array.ternary=direct", 'array.weights=["int4", "ternary", "int2"]'],
     "weights must be among ternary-s8, ternary where array.ternary is direct, not int4, int2"),
    (["array.ternary=odd"], 'array.ternary = "odd": must be one of planes, direct'),
    (["array.outputs=5"], "outputs must divide columns, not be 5 with 64 columns"),
    (["array.outputs=4"], "outputs must be at least 8 (a table of 4 has 8 entries, and the narrowest weights 1 planes), not 4"),
    (["array.groups_per_lane=1"], "groups_per_lane must be at least 2 with tables of 4, not 1"),
    (["array.groups_per_lane=16", "array.group=32"], "group must be a multiple of 64 (steps in a word of activations, with "
     "16 tables of 4 and a bus of 16 bytes), not 32"),
    (['array.weights=["int8", "int2"]'], f"weights must be different ones of {', '.join(KINDS)}, not int8"),
    (['array.weights=["int2", "int2"]'], f"weights must be different ones of {', '.join(KINDS)}, not int2, int2"),
])  # fmt: skip
def test_mistakes_take_a_line_each(overrides, end):
    (line,) = mistakes(*overrides)
    assert line.startswith("array")
    assert line.endswith(end)


def test_direct_has_ternary_weights_alone_and_may_have_fewer_outputs():
    array = family("array.ternary=direct", "array.outputs=2")
    assert [w.name for _, w in array.pairs] == ["ternary-s8", "ternary"]
    assert array.geometry.spread == 2


def test_narrow_weights_need_more_outputs():
    """Tables are written while the ones before are used: in as many cycles as the narrowest weights have lookups."""
    assert family("array.outputs=4", 'array.weights=["int2", "int4"]').geometry.spread == 4
