"""Whole quantised matrices to bytes and back, for every format; what cannot be held, and streams that are malformed."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from hw.formats import FORMATS, Format, find
from hw.formats.format import SCALES
from sim.quantise import Quantised, quantise
from sim.quantise.packed import Packed, pack, unpack

STREAMS = [field.name for field in fields(Packed)]
BLOCKS = [format for format in FORMATS.values() if format.block]


def matrix(rows: int, depth: int, seed: int = 1) -> np.ndarray:
    """Normal numbers with outliers, and a row of zeros."""
    random = np.random.default_rng(seed)
    result = random.normal(size=(rows, depth)) * random.choice([1, 1, 1, 20], (rows, depth))
    result[rows // 2] = 0
    return result


def bits_of(values: np.ndarray) -> list[int]:
    return values.view(np.uint64).reshape(-1).tolist()


def same(back: Quantised, quantised: Quantised) -> None:
    """Codes, values and all numbers beside them, the signs of zeros included."""
    assert back.codes.dtype == quantised.codes.dtype
    assert np.array_equal(back.codes, quantised.codes)
    assert bits_of(back.values()) == bits_of(quantised.values())
    for name in ("scales", "offsets", "outer"):
        before, after = getattr(quantised, name), getattr(back, name)
        assert (before is None) == (after is None)
        assert before is None or np.array_equal(before, after)


@pytest.mark.parametrize("format", FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize("shape", [(5, 70), (1, 1), (3, 130)])
def test_every_format_comes_back(format: Format, shape: tuple[int, int]) -> None:
    """K is no multiple of the block."""
    quantised = quantise(matrix(*shape), format)
    packed = pack(quantised)
    assert packed.bytes == sum(getattr(packed, name).size for name in STREAMS)
    assert all(getattr(packed, name).dtype == np.uint8 for name in STREAMS)
    back = unpack(format, packed, shape)
    same(back, quantised)
    if format.selector_bits:
        assert back.selectors is not None
        assert back.selectors.dtype == np.uint8
        assert np.array_equal(back.selectors, quantised.selectors)
    again = pack(back)
    assert all(np.array_equal(getattr(again, name), getattr(packed, name)) for name in STREAMS)


@pytest.mark.parametrize("format", FORMATS.values(), ids=FORMATS)
def test_scales_shared_otherwise_come_back(format: Format) -> None:
    for shared in format.sharings:
        other = format.grouped(8) if shared == "block" else format.shared_by(shared)
        quantised = quantise(matrix(4, 21), other)
        same(unpack(other, pack(quantised), (4, 21)), quantised)


@pytest.mark.parametrize("name", ["int4-asym", "fp4-mixed", "fp3-mixed-s8", "int6-s8"])
def test_half_precision_arithmetic_comes_back(name: str) -> None:
    quantised = quantise(matrix(5, 70), name, arithmetic="fp16")
    same(unpack(find(name), pack(quantised), (5, 70)), quantised)


@pytest.mark.parametrize("format", BLOCKS, ids=lambda format: format.name)
def test_bytes_are_those_of_bits_per_weight(format: Format) -> None:
    """With 8 whole blocks in a row, everything is whole bytes; what the row or the tensor shares comes on top."""
    rows, depth = 3, 8 * format.block
    packed = pack(quantise(matrix(rows, depth), format))
    assert (packed.bytes - packed.outer.size) * 8 == rows * depth * format.bits_per_weight
    assert packed.outer.size * 8 == SCALES[format.outer] * (rows if format.outer_shared == "row" else 1)


@pytest.mark.parametrize("format", BLOCKS, ids=lambda format: format.name)
def test_rows_start_at_bytes(format: Format) -> None:
    """Packed by itself, but with the same numbers, the last row has the last bytes of each stream."""
    quantised = quantise(matrix(3, 70), format)
    packed = pack(quantised)
    last = {
        name: None if numbers is None else numbers[-1:]
        for name in ("codes", "scales", "selectors", "offsets", "outer")
        for numbers in [getattr(quantised, name)]
    }
    alone = pack(replace(quantised, **last))
    for name in STREAMS:
        data = getattr(alone, name)
        assert np.array_equal(getattr(packed, name)[getattr(packed, name).size - data.size :], data)


def test_the_bytes_are_as_documented() -> None:
    """Two rows of three blocks of four elements, the last block short."""
    format = Format(
        name="made-up", bits=4, tables=(range(16), range(16), range(16)), shared="block", block=4, scale="fp16",
        offset="zero", outer="fp32", outer_shared="row",
    )  # fmt: skip
    quantised = Quantised(
        format=format,
        codes=np.arange(18, dtype=np.uint8).reshape(2, 9) % 16,
        scales=np.array([[1.0, 0.0, -2.0], [0.5, 2.0**-24, 65504.0]]),
        selectors=np.array([[1, 2, 0], [2, 2, 1]], dtype=np.uint8),
        offsets=np.array([[15.0, 1.0, 2.0], [0.0, 9.0, 3.0]]),
        outer=np.array([[1.0], [0.25]]),
    )
    packed = pack(quantised)
    assert packed.codes.tobytes().hex() == "1032547608" + "a9cbed0f01"
    assert packed.scales.tobytes().hex() == "003c000000c0" + "00380100ff7b"
    assert packed.selectors.tolist() == [0b00_10_01, 0b01_10_10]
    assert packed.offsets.tobytes().hex() == "1f02" + "9003"
    assert packed.outer.tobytes().hex() == "0000803f" + "0000803e"
    assert packed.bytes == 10 + 12 + 2 + 4 + 8
    same(unpack(format, packed, (2, 9)), quantised)


@pytest.mark.parametrize("name", ["kivi2", "q4_1"])
def test_minima_are_half_precision_numbers(name: str) -> None:
    quantised = quantise(matrix(5, 70), name)
    assert quantised.offsets is not None
    packed = pack(quantised)
    assert np.array_equal(packed.offsets.view("<f2").reshape(5, 3), quantised.offsets)


@pytest.mark.parametrize(
    "name", ["nvfp4", "if4", "bipolar4", "binary", "q4_0", "fp4-mixed-s8", "int8-s8", "kivi4"]
)
def test_scales_of_zero_come_back(name: str) -> None:
    quantised = quantise(np.zeros((2, 40)), name)
    assert not quantised.scales.any()
    same(unpack(find(name), pack(quantised), (2, 40)), quantised)


def test_a_selector_may_be_the_sign_of_its_scale() -> None:
    quantised = quantise(matrix(5, 70), "if4")
    packed = pack(quantised)
    assert quantised.selectors is not None
    assert set(quantised.selectors.reshape(-1)) == {0, 1}
    assert packed.selectors.size == 0
    assert np.array_equal(packed.scales.reshape(5, 5) >> 7, quantised.selectors)
    wide = replace(find("if4"), name="wide", scale="fp16")
    halves = replace(quantised, format=wide)
    assert np.array_equal(pack(halves).scales.view("<u2").reshape(5, 5) >> 15, quantised.selectors)
    same(unpack(wide, pack(halves), (5, 70)), halves)
    for sign in (-1.0, -0.0):
        with pytest.raises(ValueError, match="scales of wide must be positive or 0, not -"):
            pack(replace(halves, scales=np.full((5, 5), sign)))


def test_a_format_without_scale_has_none() -> None:
    packed = pack(quantise(matrix(5, 70), "fp16"))
    assert (packed.codes.size, packed.bytes) == (700, 700)


def test_minima_of_single_precision_are_refused() -> None:
    """The rule works in the precision of the scale; a format's minima are fp16."""
    format = replace(find("kivi4"), name="kivi4-fp32", scale="fp32")
    with pytest.raises(ValueError, match=r"offsets of kivi4-fp32 must be numbers of fp16, not -?\d"):
        pack(quantise(matrix(5, 70), format))
    with pytest.raises(ValueError, match=r"offsets of kivi4-fp32 must be numbers of fp16, not 1000000\.0"):
        pack(quantise(np.full((1, 4), 1e6) + np.eye(4)[:1] * 1e30, format))
    whole = quantise(np.arange(32.0).reshape(1, 32), format)
    same(unpack(format, pack(whole), (1, 32)), whole)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("int4", {"scales": np.full((5, 1), 0.1)}, "scales of int4 must be numbers of fp16, not 0.1 to 0.1"),
        ("int4", {"scales": np.full((5, 1), np.inf)}, "scales of int4 must be finite, not inf to inf"),
        (
            "int4",
            {"scales": np.full((5, 1), np.nan)},
            "scales of int4 must be numbers of fp16, not nan to nan",
        ),
        ("int4", {"scales": np.ones((5, 2))}, r"scales of int4 must be of shape \(5, 1\), not \(5, 2\)"),
        ("int4", {"codes": np.full((5, 70), 16, np.uint8)}, "codes of int4 must be below 16, not 16"),
        ("int4", {"offsets": np.ones((5, 1))}, "offsets of int4 must be 0, not 1.0 to 1.0"),
        ("int4", {"outer": np.full((5, 1), 2.0)}, "outer of int4 must be 1, not 2.0 to 2.0"),
        ("int4", {"selectors": np.ones((5, 1), np.uint8)}, "selectors of int4 must be 0, not 1 to 1"),
        ("fp16", {"scales": np.full((1, 1), 2.0)}, "scales of fp16 must be 1, not 2.0 to 2.0"),
        ("mxfp4", {"scales": np.zeros((5, 3))}, "scales of mxfp4 must be numbers of e8m0, not 0.0 to 0.0"),
        (
            "nvfp4",
            {"scales": np.full((5, 5), -1.0)},
            "scales of nvfp4 must be numbers of e4m3, not -1.0 to -1.0",
        ),
        (
            "nvfp4",
            {"scales": np.full((5, 5), -0.0)},
            "scales of nvfp4 must be numbers without a sign, not -0.0",
        ),
        ("nvfp4", {"outer": None}, "outer of nvfp4 must be an array, not None"),
        ("nvfp4", {"outer": np.full((1, 1), 1e39)}, r"outer of nvfp4 must be numbers of fp32, not 1e\+39"),
        ("fp4-er", {"selectors": None}, "selectors of fp4-er must be an array, not None"),
        (
            "fp4-er",
            {"selectors": np.full((5, 1), 2, np.uint8)},
            "selectors of fp4-er must be whole numbers from 0 to 1, not 2 to 2",
        ),
        (
            "fp4-er-s8",
            {"scales": np.full((5, 1), 256.0)},
            "scales of fp4-er-s8 must be numbers of int8, not 256",
        ),
        ("int3-asym", {"offsets": None}, "offsets of int3-asym must be an array, not None"),
        (
            "int3-asym",
            {"offsets": np.full((5, 1), 8.0)},
            "offsets of int3-asym must be whole numbers from 0 to 7, not 8.0 to 8.0",
        ),
        ("int3-asym", {"offsets": np.full((5, 1), -1.0)}, "whole numbers from 0 to 7, not -1.0 to -1.0"),
        ("int3-asym", {"offsets": np.full((5, 1), 0.5)}, "whole numbers from 0 to 7, not 0.5 to 0.5"),
        ("int3-asym", {"offsets": np.full((5, 1), np.nan)}, "whole numbers from 0 to 7, not nan to nan"),
    ],
)
def test_what_the_format_cannot_hold_is_refused(name: str, change: dict, message: str) -> None:
    quantised = replace(quantise(matrix(5, 70), name), **change)
    with pytest.raises(ValueError, match=message):
        pack(quantised)


def test_what_rows_share_may_be_given_once() -> None:
    quantised = replace(quantise(matrix(5, 70), "int4"), scales=np.full((1, 1), 0.5))
    packed = pack(quantised)
    assert packed.scales.view("<f2").tolist() == [0.5] * 5
    assert bits_of(unpack(find("int4"), packed, (5, 70)).values()) == bits_of(quantised.values())


@pytest.mark.parametrize("format", FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize("stream", STREAMS)
def test_streams_of_another_length_are_refused(format: Format, stream: str) -> None:
    packed = pack(quantise(matrix(5, 70), format))
    data = getattr(packed, stream)
    message = rf"{stream} of {format.name} must be uint8 of shape \({data.size},\), not uint8 of "
    for wrong in (np.append(data, np.uint8(0)), data[:-1] if data.size else np.zeros(3, np.uint8)):
        with pytest.raises(ValueError, match=message):
            unpack(format, replace(packed, **{stream: wrong}), (5, 70))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("int4", {"codes": np.zeros(175, np.int8)}, "codes of int4 must be uint8 of shape .175,., not int8"),
        ("int4", {"scales": np.full(10, 0x7C, np.uint8)}, "scales of int4 must be finite, not code 0x7c7c"),
        ("mxfp4", {"scales": np.full(15, 255, np.uint8)}, "scales of mxfp4 must be finite, not code 0xff"),
        ("nvfp4", {"scales": np.full(25, 127, np.uint8)}, "scales of nvfp4 must be codes 0 to 126, not 127"),
        ("nvfp4", {"scales": np.full(25, 0x80, np.uint8)}, "scales of nvfp4 must be codes 0 to 126, not 128"),
        ("nvfp4", {"outer": np.full(4, 255, np.uint8)}, "outer of nvfp4 must be finite, not code 0xffffffff"),
        (
            "kivi2",
            {"offsets": np.full(30, 0xFC, np.uint8)},
            "offsets of kivi2 must be finite, not code 0xfcfc",
        ),
    ],
)
def test_streams_of_no_numbers_are_refused(name: str, change: dict, message: str) -> None:
    packed = replace(pack(quantise(matrix(5, 70), name)), **change)
    with pytest.raises(ValueError, match=message):
        unpack(find(name), packed, (5, 70))


def test_selectors_of_no_table_are_refused() -> None:
    format = replace(find("fp4-mixed"), name="three", tables=find("fp4-mixed").tables[:3])
    packed = pack(quantise(matrix(5, 70), format))
    with pytest.raises(ValueError, match="selectors of three must be 0 to 2, not 3"):
        unpack(format, replace(packed, selectors=np.full(5, 3, np.uint8)), (5, 70))


@pytest.mark.parametrize("shape", [(0, 70), (5, 0), (-5, -70)])
def test_shapes_without_elements_are_refused(shape: tuple[int, int]) -> None:
    packed = pack(quantise(matrix(5, 70), "int4"))
    with pytest.raises(ValueError, match="shape must be 1 or more rows and columns, not "):
        unpack(find("int4"), packed, shape)
