"""Codes to bytes and back, for every format; and the orders of bits that others have published."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hw.formats import FORMATS, Format, find
from hw.formats.packing import PACKINGS, pack, row_bytes, unpack


@pytest.mark.parametrize("format", FORMATS.values(), ids=FORMATS)
def test_every_code_comes_back(format: Format) -> None:
    codes = np.arange(1 << format.bits, dtype=format.code_type).reshape(1, -1)
    data = pack(format, codes)
    assert data.shape == (1, row_bytes(format, codes.size))
    assert np.array_equal(unpack(format, data, codes.size), codes)


@given(st.sampled_from(sorted(FORMATS)), st.integers(1, 4), st.integers(1, 100), st.integers(0, 2**32 - 1))
def test_any_shape_comes_back(name: str, rows: int, depth: int, seed: int) -> None:
    format = FORMATS[name]
    codes = np.random.default_rng(seed).integers(0, 1 << format.bits, (rows, depth), dtype=format.code_type)
    data = pack(format, codes)
    assert data.dtype == np.uint8
    assert data.shape == (rows, row_bytes(format, depth))
    back = unpack(format, data, depth)
    assert back.dtype == format.code_type
    assert np.array_equal(back, codes)
    # A row's bytes are its own, and what is left of the last one is zero.
    assert np.array_equal(pack(format, codes[-1:]), data[-1:])
    assert np.array_equal(pack(format, back), data)


@given(st.integers(1, 16), st.lists(st.integers(0, 2**16 - 1), min_size=1, max_size=40))
def test_dense_is_a_number_in_base_two(bits: int, numbers: list[int]) -> None:
    format = Format(name="dense", bits=bits, tables=(range(1 << bits),))
    codes = np.array([[n % (1 << bits) for n in numbers]], dtype=format.code_type)
    whole = sum(int(code) << bits * place for place, code in enumerate(codes[0]))
    assert pack(format, codes).tobytes() == whole.to_bytes(row_bytes(format, len(numbers)), "little")


def test_dense_words() -> None:
    """Sixteen codes of two bits are a word of 32 bits, the first code lowest."""
    codes = np.array([[1, 2, 3] + [0] * 12 + [2]], dtype=np.uint8)
    assert pack(find("int2"), codes).view("<u4").tolist() == [[2 << 30 | 3 << 4 | 2 << 2 | 1]]


def test_split_has_the_upper_bits_first() -> None:
    codes = np.array([[0b100001, 0b010010, 0b110100, 0b001000]], dtype=np.uint8)
    assert pack(find("fp6-e3m2"), codes).tolist() == [[0b00110110, 0b0010_0001, 0b1000_0100]]


def test_halves_have_an_element_and_the_one_sixteen_further() -> None:
    codes = np.arange(32, dtype=np.uint8)[None] % 16
    codes[0, 16:] = 15 - codes[0, 16:]
    data = pack(find("q4_0"), codes)
    assert data.tolist() == [[i | (15 - i) << 4 for i in range(16)]]
    # Of a short block the missing elements are zeros.
    assert pack(find("q4_0"), codes[:, :1]).tolist() == [[0] * 16]
    assert row_bytes(find("q4_0"), 33) == 32


@pytest.mark.parametrize("packing", PACKINGS)
def test_what_cannot_be_packed(packing: str) -> None:
    format = next(format for format in FORMATS.values() if format.packing == packing)
    codes = np.zeros((1, 3), dtype=np.uint8)
    with pytest.raises(ValueError, match=r"codes must be uint8 \[rows, K\], not int64"):
        pack(format, codes.astype(np.int64))
    with pytest.raises(ValueError, match="not uint8 of 1 dimensions"):
        pack(format, codes[0])
    with pytest.raises(ValueError, match=r"data must be uint8 \[rows, \d+\] for 3 codes"):
        unpack(format, np.zeros((1, 99), dtype=np.uint8), 3)
    if format.bits < 8:
        with pytest.raises(ValueError, match=f"must be below {1 << format.bits}, not 255"):
            pack(format, codes + 255)
