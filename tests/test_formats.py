"""Number formats as tables, and matrices of their codes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hw.formats import FORMATS, INT8, Format, Operand, find
from sim.quantise import quantise

TWO_ZEROS = Format(name="two-zeros", bits=2, tables=((0, 3, 0, -3),))
BLOCKS = Format(name="blocks", bits=4, tables=(range(-8, 8),), shared="block", block=4)
WIDE = Format(name="wide", bits=9, tables=([1 << 40 if i == 511 else 2 * i for i in range(512)],))


def test_int8_codes_and_values() -> None:
    assert FORMATS["int8"] is INT8
    codes = np.arange(256)
    values = INT8.decode(codes)
    assert np.array_equal(values, codes.astype(np.uint8).view(np.int8))
    assert np.array_equal(INT8.encode(values.reshape(16, 16)), codes.reshape(16, 16))
    assert (INT8.minimum, INT8.maximum) == (-128, 127)
    with pytest.raises(ValueError, match="values must be those of int8, not 128"):
        INT8.encode(np.array([0, 128]))
    with pytest.raises(ValueError, match="values must be those of int8, not -129"):
        INT8.encode(np.array([-129]))
    with pytest.raises(ValueError, match="codes of int8 must be 0 to 255"):
        INT8.decode(np.array([256]))


def test_the_lowest_code_of_a_value_is_written() -> None:
    assert TWO_ZEROS.encode(np.array([0, -3, 3])).tolist() == [0, 3, 1]
    assert TWO_ZEROS.encode(np.zeros((2, 0))).shape == (2, 0)


def test_wide_codes_and_values() -> None:
    assert WIDE.code_type == np.uint16
    assert WIDE.encode(np.array([1 << 40, 1020])).tolist() == [511, 510]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bits": 17}, "bits of format bad must be 1 to 16, not 17"),
        ({"bits": 3}, "values of format bad must be 8, not 4"),
        ({"sharings": ("column",)}, "sharings of format bad must be one of block, row, tensor, not 'column'"),
        ({"parts": 0}, "parts of format bad must be 1 or more, not 0"),
        (
            {"selector_in_scale": True},
            "selector_in_scale of format bad must come with two tables .* not 1 and 'fp32'",
        ),
        ({"block": -1}, "block of format bad must be more than 0 with shared = block and only then, not -1"),
    ],
)
def test_tables_that_cannot_be(changes, message) -> None:
    with pytest.raises(ValueError, match=message):
        Format(**{"name": "bad", "bits": 2, "tables": ((0, 1, 2, 3),)} | changes)
    with pytest.raises(TypeError):
        Format(name="bad", bits=1, tables=((0, 0.5),))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("fp16:g32", "format fp16 must be named alone, having no scale to share, not 'fp16:g32'"),
        ("fp16:row", "format fp16 must be named alone, having no scale to share, not 'fp16:row'"),
        ("q4_0:g64", "block of format q4_0:g64 must be 32, not 64"),
        ("q4_1:row", "block of format q4_1:row must be 32, not 0"),
        ("q8_0:tensor", "block of format q8_0:tensor must be 32, not 0"),
        ("fp3-er-s8:row", "block of format fp3-er-s8:row must be 1 or more, not 0"),
    ],
)
def test_scales_that_cannot_be_shared_so(name, message) -> None:
    base, _, suffix = name.partition(":")
    with pytest.raises(ValueError, match=message):
        find(name)
    with pytest.raises(ValueError, match=message):
        FORMATS[base].grouped(int(suffix[1:])) if suffix[1:].isdigit() else FORMATS[base].shared_by(suffix)


def test_scales_that_can_be_shared_so() -> None:
    assert find("q4_0:g32").block == 32
    assert find("fp3-er-s8:g64").block == 64
    assert (find("kivi2:g16").block, find("nvfp4:row").shared, find("int4:tensor").shared) == (
        16,
        "row",
        "tensor",
    )


@pytest.mark.parametrize("name", FORMATS)
def test_rules_write_within_the_range(name: str) -> None:
    """Where an integer below ``least`` has a code, the rule uses ``least`` and nothing below it."""
    format = FORMATS[name]
    matrix = np.random.default_rng(3).standard_t(3, (6, 256))
    matrix[0, 0], matrix[1, 5] = -99, 99
    quantised = quantise(matrix, format)
    # An integer zero point is no part of what a code stands for.
    levels = format.decode(quantised.codes) if format.offset == "zero" else quantised.levels()
    low, high = format.range
    assert low <= format.element(levels.min())
    assert format.element(levels.max()) <= high
    if format.least is not None:
        assert format.minimum < format.least
        assert format.element(levels.min()) == low


@given(st.integers(1, 14), st.integers(1, 5), st.integers(0, 2**32 - 1), st.booleans())
def test_parts_of_blocks(depth: int, others: int, seed: int, weights: bool) -> None:
    """A part holds what the whole holds there; every code is multiplied by its block's scale."""
    generator = np.random.default_rng(seed)
    values = generator.integers(-8, 8, (depth, others))
    scales = generator.integers(-99, 100, (-(-depth // 4), others))
    exact = np.array([[values[k, n] * scales[k // 4, n] for n in range(others)] for k in range(depth)])
    first, last = 4 * (depth // 8), max(4 * (depth // 8) + 1, depth - 1)
    if weights:
        whole = Operand.weights(BLOCKS, values, scales)
        part, wanted = whole.part((first, last), (0, others)), exact[first:last]
    else:
        whole = Operand.activations(BLOCKS, values.T, np.ascontiguousarray(scales.T))
        exact = exact.T
        part, wanted = whole.part((first, last), (0, others)), exact[:, first:last]
    assert (whole.depth, whole.shape) == (depth, exact.shape)
    assert np.array_equal(whole.integers(), exact)
    assert np.array_equal(part.integers(), wanted)


def test_operands_that_cannot_be() -> None:
    codes = np.zeros((8, 2), np.uint8)
    with pytest.raises(TypeError, match="codes must be an array of uint8, not dtype"):
        Operand(format=INT8, codes=codes.astype(np.int8), depth_axis=0)
    with pytest.raises(ValueError, match="depth_axis be 0 or 1, not 2 and 2"):
        Operand(format=INT8, codes=codes, depth_axis=2)
    with pytest.raises(ValueError, match="codes of blocks must be below 16, not 16"):
        Operand(format=BLOCKS, codes=codes + 16, depth_axis=0, scales=np.ones((2, 2), np.int64))
    with pytest.raises(ValueError, match="scales must be given for a format with blocks alone, blocks has 4"):
        Operand(format=BLOCKS, codes=codes, depth_axis=0)
    with pytest.raises(ValueError, match="scales must be given for a format with blocks alone, int8 has 0"):
        Operand(format=INT8, codes=codes, depth_axis=0, scales=np.ones((2, 2), np.int64))
    with pytest.raises(ValueError, match=r"scales must be int64 of shape \(2, 2\), not int64 \(3, 2\)"):
        Operand(format=BLOCKS, codes=codes, depth_axis=0, scales=np.ones((3, 2), np.int64))
    whole = Operand(format=BLOCKS, codes=codes, depth_axis=0, scales=np.ones((2, 2), np.int64))
    with pytest.raises(ValueError, match="a part must begin at a multiple of 4 steps, not at 2"):
        whole.part((2, 8), (0, 2))
