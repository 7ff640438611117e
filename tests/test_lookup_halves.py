"""The table-lookup family with fp16 scales and float32 sums: words, results, law, formats, and what it refuses."""

from fractions import Fraction

import numpy as np
import pytest
from test_lookup_family import BASE, GGUF, family, fields, scratchpads, times

from gen import cases, config
from gen.errors import RequestError
from gen.families.lookup import FLOAT_KINDS, KINDS
from gen.workload import random
from hw.array.lookup.geometry import LookupArray, LookupFormat, Offset
from hw.control.isa import OutputMode
from hw.formats import INT8, Operand, find
from hw.timing import FLOAT_ACCUMULATE, LOOKUP_SETUP
from sim.families.lookup import LookupLaw, LookupModel
from sim.half import half
from sim.lookup import float_result

WAYS = {
    "default": (),
    "odd units": ("array.columns=24", "array.rows=3"),
    "tables of 2": ("array.k=2", "array.groups_per_lane=8", "array.columns=12", "array.outputs=4"),
    "one unit, long words": ("array.columns=16", "array.outputs=16", "array.rows=8", "bus.data_width=256"),
    "narrow parts": ("array.columns=16", "array.groups_per_lane=4", "bus.data_width=64"),
    "groups of 64": ("array.group=64",),
}
"""Overrides of the preset."""


def nearest(exact: Fraction) -> np.float32:
    """The float32 next to a number; the one with an even last bit of two that are as near."""
    near = np.float32(float(exact))
    each = [near, np.nextafter(near, np.float32(-np.inf)), np.nextafter(near, np.float32(np.inf))]
    return min(each, key=lambda one: (abs(Fraction(float(one)) - exact), int(one.view(np.uint32)) & 1))


def added(results: np.ndarray) -> np.ndarray:
    """As the accumulators do."""
    total = results[0]
    for result in results[1:]:
        total = total + result
    return total


def executed(array, x, w, variant=0):
    """All results of the whole GEMM."""
    given = fields(array, (*x.shape, w.shape[1]), variant=variant)
    return array.model().execute(given, *scratchpads(array, given, x, w))


@pytest.mark.parametrize("name", FLOAT_KINDS)
@pytest.mark.parametrize("way", WAYS)
def test_what_is_packed_is_what_is_computed(name, way):
    """Depths that end within a group and within a word, features within a tile, rows within one; to the bit."""
    if name in ("q4_0", "q4_1") and way == "groups of 64":
        name = "int4-asym"
    array = family("output.lanes=1", *WAYS[way], f'array.weights=["{name}"]', preset=GGUF)
    g, group = array.geometry, array.array.group
    for seed, sizes in enumerate([(1, 1, 1), (3, 2 * group + 5, g.columns + 3), (9, group, 2 * g.columns)]):
        load = random(sizes, "raw", seed, array.pairs[0], family=array)
        got = executed(array, load.x, load.w)
        assert got.dtype == np.float32
        assert len(got) == -(-sizes[1] // group) * (1 + (name == "q4_1"))
        wanted = array.golden(load.x, load.w)
        found = np.ascontiguousarray(added(got)[: sizes[0], : sizes[2]])
        np.testing.assert_array_equal(found.view(np.uint32), wanted.view(np.uint32))
        # Features past the last, and results of zero.
        assert not added(got)[: sizes[0], sizes[2] :].view(np.uint32).any()


@pytest.mark.parametrize("name", ["q4_0", "q4_1", "int4-asym", "bipolar3", "ternary"])
def test_golden_sums_by_fractions(name):
    """Every product rounded once; then the additions."""
    array = family(f'array.weights=["{name}"]', preset=GGUF)
    load = random((3, 75, 40), "raw", 5, array.pairs[0], family=array)
    x, w = load.x.integers(), load.w
    wanted = np.zeros((3, 40), np.float32)
    for m in range(3):
        for n in range(40):
            results = []
            for number in range(3):
                part = slice(32 * number, 32 * number + 32)
                scale = 1.0 if w.float_scales is None else float(w.float_scales[number, n])
                results.append(nearest(int(x[m, part] @ w.levels()[part, n]) * Fraction(scale)))
                if w.minimums is not None:
                    results.append(nearest(int(x[m, part].sum()) * Fraction(float(w.minimums[number, n]))))
            wanted[m, n] = added(results)
    np.testing.assert_array_equal(array.golden(load.x, w), wanted)


def test_sums_keep_to_the_adders_rule():
    """The least scale and the greatest: results are multiples of 2**-24, and far below 2**100."""
    least, greatest = np.array([1, 0x7BFF], np.uint16).view(np.float16)
    array = family(preset=GGUF)
    codes = np.full((64, 2), 9, np.uint8)
    scales = np.array([[least, greatest], [-least, greatest]])
    w = Operand(format=find("q4_0"), codes=codes, depth_axis=0, float_scales=scales)
    x = Operand.activations(INT8, np.full((1, 64), -128))
    results = executed(array, x, w)
    assert results[:, 0, :2].tolist() == [
        [-4096 * 2.0**-24, -4096 * 65504.0],
        [4096 * 2.0**-24, -4096 * 65504.0],
    ]
    assert array.golden(x, w).tolist() == [[0.0, -8192 * 65504.0]]


def test_scales_as_the_hardware_takes_them():
    """All finite patterns as NumPy has them; beyond, one binade more. A zero of a result has no sign, and rounding is to even."""
    patterns = np.arange(1 << 16, dtype=np.uint16)
    finite = np.isfinite(patterns.view(np.float16))
    np.testing.assert_array_equal(half(patterns)[finite], patterns.view(np.float16)[finite].astype(float))
    assert half(np.array([0x7C00, 0xFFFF])).tolist() == [65536.0, -131008.0]
    assert not float_result(np.array([0, 5]), np.array([-3.0, -0.0])).view(np.uint32).any()
    assert float_result(np.array([(1 << 24) + 1, (1 << 24) + 3]), np.array(1.0)).tolist() == [
        2**24,
        2**24 + 4,
    ]


def test_words_by_hand():
    """A unit of two places, tables of 2, Q4_1: codes as they are, then scales, then minimums, the lowest bit first."""
    array = family(
        "array.columns=2", "array.outputs=2", "array.k=2", "array.groups_per_lane=8", "array.rows=1",
        'array.weights=["q4_1"]', "bus.data_width=64", preset=GGUF,
    )  # fmt: skip
    codes = np.zeros((32, 2), np.uint8)
    codes[:2] = [[3, 0], [1, 2]]
    scales, minimums = np.array([[1, -2]], np.float16), np.array([[0.5, -0.0]], np.float16)
    w = Operand(format=find("q4_1"), codes=codes, depth_axis=0, float_scales=scales, minimums=minimums)
    words = array.pack_weights(w).view("<u2").tolist()
    assert len(words) == 2 * 2 * 4 + 4
    # Both set: entry 1, their sum; none: the same negated. The second alone: entry 0; the first alone: that negated.
    both, none, second, first = 0b01, 0b11, 0b00, 0b10
    rest = 0xFFFC
    assert [word - rest for word in words[:8]] == [both, none, first, second, none, none, none, none]
    assert words[8:16] == [0xFFFF] * 8
    assert words[16:] == [0x3C00, 0xC000, 0x3800, 0x8000]


def array_for(**changes):
    return LookupArray(**{
        "rows": 2, "columns": 64, "k": 4, "groups_per_lane": 8, "outputs": 8, "group": 32, "data_bytes": 16, "scales": "fp16",
        "variants": (
            LookupFormat(bits=4, offset=Offset.PLAIN, minimum=True), LookupFormat(bits=1, offset=Offset.NONE),
        ),
    } | changes)  # fmt: skip


def test_the_law_by_hand():
    """A group of 32 steps: 32 lookups, 4 words of scales and 4 of minimums; 16 places, two cycles each."""
    array = array_for()
    q4_1, binary = array.variants
    assert (array.word_steps, array.group_words, array.scale_words, array.geometry.sums) == (
        32,
        1,
        4,
        "float32",
    )
    assert [array.spacing(one) for one in array.variants] == [2, 2]
    assert [array.scale_cycles(one) for one in array.variants] == [32, 16]
    assert [array.group_cycles(one, 1) for one in array.variants] == [40, 12]
    # A group of one plane waits for its own results; the first of a command for 30 + 11 + 2 cycles after the last of minimums.
    assert [array.pause(one, 1) for one in array.variants] == [0, 4]
    assert [array.pause(one, 1, fresh=True) for one in array.variants] == [3, 43 - 8 + 4 - 12]
    tail = {one: array.result_latency(one) + array.banks + FLOAT_ACCUMULATE for one in array.variants}
    # Of eight places more, and four words that come before.
    assert tail[q4_1] == tail[binary] + 16 - 4
    law = LookupLaw(array)
    end = 10 + LOOKUP_SETUP + 3 + 4 * 40
    assert times(law, 10) == (10, 11, end, end - 1 + tail[q4_1], 4 * 32)
    last = end + 27 + 2 * (12 + 4) - 4
    assert times(law, 11, depth_tiles=2, variant=1)[2:] == (last, last - 1 + tail[binary], 16)
    assert LookupModel(array).weight_words(0, 3) == 3 * 40


def test_spacing_of_results():
    """All rows, and so many that a place's second result, or that of the next group, is far enough behind."""
    for rows, outputs, spacing in ((1, 8, 2), (1, 16, 1), (8, 8, 8), (1, 2, 6)):
        array = array_for(rows=rows, outputs=outputs, columns=16, k=2, variants=array_for().variants[:1])
        assert array.spacing(array.variants[0]) == spacing


def test_all_formats_by_default():
    assert config.load(GGUF).array.weights == list(FLOAT_KINDS)
    longer = config.load(GGUF, ["array.group=64"]).array.weights
    assert longer == [name for name in FLOAT_KINDS if not name.startswith("q4")]
    assert config.load(BASE).array.weights == list(KINDS)
    array = family(preset=GGUF)
    names = [w.name for _, w in array.pairs]
    assert names[:3] == ["q4_0", "q4_1", "int4-asym:g32"]
    assert [names[array.variant(weights=name)] for name in ("q4_1", "int4-asym", "int4")] == [
        "q4_1",
        "int4-asym:g32",
        "int4",
    ]


def test_results_leave_as_half_precision():
    """fp16 of all magnitudes; weights of a row's scale are integers here."""
    whole = config.load(GGUF)
    for name in ("q4_0", "q4_1", "int2"):
        case = cases.Case((4, 96, 64), OutputMode.REQUANTISED, weights=name)
        load = cases.prepare(whole, case).load
        result = load.golden()
        assert result.dtype == np.float16
        assert len(np.unique(result)) > 100


@pytest.mark.parametrize(("overrides", "line"), [
    (["array.scales=fp32"], 'array.scales = "fp32": must be one of int8, fp16'),
    (['array.weights=["int4-s8"]'], f"weights must be different ones of {', '.join(FLOAT_KINDS)}, not int4-s8"),
    (["array.group=64", 'array.weights=["q4_0"]'],
     f"weights must be different ones of {', '.join(list(FLOAT_KINDS)[2:])}, not q4_0"),
    (["array.scales=int8", 'array.weights=["q4_1"]'], f"weights must be different ones of {', '.join(KINDS)}, not q4_1"),
    (["array.groups_per_lane=2"], "groups_per_lane must be at least 4 with tables of 4 and scales of fp16, not 2"),
])  # fmt: skip
def test_mistakes_take_a_line_each(overrides, line):
    with pytest.raises(RequestError) as caught:
        config.load(GGUF, overrides)
    (given,) = caught.value.lines[1:]
    assert given.startswith("array")
    assert given.endswith(line)


def test_arrays_refuse():
    q4_1 = array_for().variants[0]
    with pytest.raises(ValueError, match=r"scales must be fp16 for LookupFormat\(.*\), not int8"):
        array_for(scales="int8", variants=(q4_1,))
    with pytest.raises(ValueError, match="scales must be one of int8, fp16, not 'fp8'"):
        array_for(scales="fp8")
