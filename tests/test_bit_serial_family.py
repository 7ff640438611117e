"""The bit-serial family: what its packers write is what its model reads, and what it refuses."""

from dataclasses import replace

import numpy as np
import pytest

from gen import workload
from gen.config import load
from gen.errors import RequestError
from gen.families.bit_serial import KINDS
from gen.manifest import describe
from hw.formats.bitmod import FP4, table
from sim.families.bit_serial import Unpacker


def family(*overrides: str, preset: str = "bitmod-int8-8x8"):
    return load(preset, overrides).instance


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(
    ("rows", "lanes", "columns", "group"), [(8, 4, 8, 128), (3, 8, 5, 32), (2, 16, 3, 64)]
)
def test_words_hold_the_weights(name, rows, lanes, columns, group):
    """Scales, selectors and codes come back from the words, for a depth that ends within a group, and features within a tile."""
    array = family(
        f"array.rows={rows}", f"array.lanes={lanes}", f"array.columns={columns}", f"array.group={group}"
    )
    sizes, bits = array.array, {w.name: number for number, (_, w) in enumerate(array.pairs)}
    full = next(w for w in bits if w in (name, f"{name}:g{group}"))
    variant = bits[full]
    depth, features = 2 * group + sizes.word_steps - 1, 2 * columns + 1
    load_ = workload.random((1, depth, features), "raw", 7, array.pairs[variant], family=array)
    words = array.pack_weights(load_.w).reshape(-1, array.geometry.weight_bytes)
    tiles, depth_tiles = 3, 2 * sizes.group_words + 1
    each = array.model().weight_words(variant, depth_tiles)
    assert len(words) == tiles * each
    settings = [0] * 4
    for index, value in array.settings(variant):
        settings[index] = value
    wanted = np.zeros((depth_tiles * sizes.word_steps, tiles * columns), np.int64)
    wanted[:depth, :features] = load_.w.integers()
    for tile in range(tiles):
        groups = Unpacker(sizes, sizes.variants[variant], settings).tile(
            words[tile * each : (tile + 1) * each], depth_tiles
        )
        got = np.concatenate([values * scale for values, scale in groups])
        np.testing.assert_array_equal(got, wanted[:, tile * columns : (tile + 1) * columns])


def test_plain_names_stand_for_scales_of_8_bits():
    array = family("array.group=64")
    assert array.pairs[array.variant(weights="fp4-mixed")][1].name == "fp4-mixed-s8:g64"
    assert array.pairs[array.variant(weights="int6")][1].name == "int6"


def test_a_short_name_of_weights_is_none_of_activations():
    array = family('array.weights=["int4", "int8-s8"]')
    assert array.variant("int8", "int4") == 0
    assert array.variant("int8", "int8-s8") == array.variant("int8", "int8") == 1


def test_rows_of_fp16_are_whole_words_of_zeros():
    """An fp16 activation has an exponent even where the weight is zero."""
    array = family(preset="bitmod-fp16-4x4")
    x = workload.random((3, 100, 4), "raw", 1, array.pairs[0], family=array).x
    packed = array.pack_activations(x)
    steps = array.array.word_steps
    assert packed.shape == (3, array.model().activation_bytes(0, 100)) == (3, 2 * -(-100 // steps) * steps)
    np.testing.assert_array_equal(packed.view("<u2")[:, :100], x.codes)
    assert not packed.view("<u2")[:, 100:].any()


def test_special_values_of_three_ones_are_refused(monkeypatch):
    array = family()
    variant = array.variant(weights="fp4-mixed")
    activations, weights = array.pairs[variant]
    seven = replace(weights, tables=[table(FP4, 7)] * 4)
    pairs = tuple(
        (activations, seven) if number == variant else pair for number, pair in enumerate(array.pairs)
    )
    monkeypatch.setattr(type(array), "pairs", pairs)
    with pytest.raises(
        RequestError, match=r"format fp4-mixed-s8: a special value must be .* two ones|2 ones"
    ):
        array.settings(variant)


@pytest.mark.parametrize(("override", "message"), [
    ("array.lanes=5", "must be one of 4, 8, 16, 32"),
    ("array.group=100", "must be one of 32, 64, 128, 256"),
    ('array.weights=["int9"]', "weights must be different ones of int8-s8, .*, not int9"),
    ('array.weights=["int8", "int8"]', "weights must be different ones of .*, not int8, int8"),
    ('array.activations="fp16" ', None),
])  # fmt: skip
def test_configurations(override, message):
    if message is None:
        assert family(override.strip()).geometry.sums == "float32"
        return
    with pytest.raises(RequestError, match=message):
        family(override)


def test_groups_are_whole_words_of_activations():
    """Told with what the rule names and nothing else, from the preset or given."""
    with pytest.raises(RequestError, match=r"group must be a multiple of 256 .*, not 32") as caught:
        family("array.rows=64", "array.group=32")
    told = 'array = {"group": 32, "activations": "int8", "rows": 64, "lanes": 8}: group'
    assert caught.value.lines[1].startswith(told)


@pytest.mark.parametrize(
    ("group", "weights", "hint"),
    [
        (128, "int7", ""), (128, "int7:g64", ""), (128, "fp3-er-s8:g64", ""),
        (128, "fp4-mixed-s8:g64", " (its groups are as long as array.group = 128, not 64)"),
        (64, "fp4-mixed:g128", " (its groups are as long as array.group = 64, not 128)"),
    ],
)  # fmt: skip
def test_weights_that_are_not_there(group, weights, hint):
    """Only they are told of, and when a group of another length would do."""
    array = family(f"array.group={group}", "array.weights=['int4', 'fp4-mixed-s8']")
    there = "int4, fp4-mixed-s8" + ":g64" * (group == 64)
    for activations in (None, "int8"):
        with pytest.raises(RequestError) as caught:
            array.variant(activations, weights)
        if activations is None:
            assert str(caught.value) == f"weights '{weights}': must be one of {there} for this array{hint}"
        else:
            assert str(caught.value).endswith(f" for this array{hint}")


def test_manifest_has_formats_by_variant():
    loaded = load("bitmod-int8-8x8", ["array.group=64", "array.weights=['int4', 'fp4-mixed-s8']"])
    assert describe(loaded)["variants"] == [
        {"number": 0, "activations": "int8", "weights": "int4"},
        {"number": 1, "activations": "int8", "weights": "fp4-mixed-s8:g64"},
    ]


def test_activations_that_are_not_there():
    with pytest.raises(RequestError) as caught:
        family("array.group=64").variant("fp16")
    assert str(caught.value) == "activations 'fp16': must be one of int8 for this array"
