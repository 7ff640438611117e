"""Number formats as tables, and matrices of their codes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hw.formats import FORMATS, INT8, Format, Operand

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
        ({"block": -1}, "block of format bad must be more than 0 with shared = block and only then, not -1"),
    ],
)
def test_tables_that_cannot_be(changes, message) -> None:
    with pytest.raises(ValueError, match=message):
        Format(**{"name": "bad", "bits": 2, "tables": ((0, 1, 2, 3),)} | changes)
    with pytest.raises(TypeError):
        Format(name="bad", bits=1, tables=((0, 0.5),))


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
