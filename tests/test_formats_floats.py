"""Tables of floating point and types of scales: every code and every rounding, by gfloat."""

from __future__ import annotations

import gfloat
import numpy as np
import pytest
from gfloat import formats as gf
from hypothesis import given
from hypothesis import strategies as st

from hw.formats import FORMATS
from hw.formats.floats import FLOATS
from hw.formats.packing import pack, row_bytes, unpack
from hw.formats.scales import decode, encode, rounded
from sim.quantise import quantise

ORACLES = {
    "mxfp8-e4m3": gf.format_info_ocp_e4m3, "mxfp8-e5m2": gf.format_info_ocp_e5m2, "mxfp6-e3m2": gf.format_info_ocp_e3m2,
    "mxfp6-e2m3": gf.format_info_ocp_e2m3, "mxfp4": gf.format_info_ocp_e2m1, "mxint8": gf.format_info_ocp_int8,
    "nvfp4": gf.format_info_ocp_e2m1, "nvfp4-4over6": gf.format_info_ocp_e2m1, "fp6-e3m2": gf.format_info_ocp_e3m2,
    "fp16": gf.format_info_binary16,
}  # fmt: skip
LIMITS = {
    "fp16": (2.0**-24, 65504), "fp32": (2.0**-149, (2 - 2.0**-23) * 2.0**127), "e8m0": (2.0**-127, 2.0**127),
    "e4m3": (2.0**-9, 448),
}  # fmt: skip
"""Smallest and largest number but 0, by type of scale."""


@pytest.mark.parametrize("name", ORACLES)
def test_every_code(name: str) -> None:
    """Its exact value; infinities and NaN are no numbers."""
    format = FORMATS[name]
    wanted = gfloat.decode_ndarray(ORACLES[name], np.arange(1 << format.bits))
    values = np.array([np.nan if value is None else value * 2.0**format.unit for value in format.values])
    numbers = np.isfinite(wanted)
    assert np.array_equal(np.isfinite(values), numbers)
    assert np.array_equal(values[numbers], wanted[numbers])


@pytest.mark.parametrize("bits", range(3, 9))
def test_mantissas_of_block_floating_point(bits: int) -> None:
    format, half = FORMATS[f"bfp{bits}"], 1 << bits - 1
    assert list(format.values) == [(-1) ** (code // half) * (code % half) for code in range(2 * half)]
    assert 1 <= format.maximum * 2.0**format.unit < 2


def test_integers_of_nvidia_s_blocks() -> None:
    """NVINT4 counts in ones; IF4 in fourteenths: halves of E2M1 are 7, integers times 6/7 are 12."""
    assert FORMATS["nvint4"].values == (*range(8), *range(-8, 0))
    floats, integers = FORMATS["if4"].tables
    assert list(floats) == [7 * (value or 0) for value in FORMATS["nvfp4"].values]
    assert list(integers) == [12 * value for value in (*range(8), *range(-8, 0))]
    assert (FORMATS["if4"].selector_bits, FORMATS["nvfp4"].bits_per_weight) == (1, 4.5)
    assert (FORMATS["if4"].shared_bits, FORMATS["if4"].bits_per_weight) == (
        8,
        4.5,
    )  # the selector is the scale's sign
    assert (FORMATS["mxfp4"].bits_per_weight, FORMATS["mxfp6-e2m3"].bits_per_weight) == (4.25, 6.25)


@given(st.sampled_from([format.name for format in FLOATS]), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_packing_of_all_codes(name: str, count: int, seed: int) -> None:
    format = FORMATS[name]
    codes = np.random.default_rng(seed).integers(0, 1 << format.bits, (3, count)).astype(format.code_type)
    data = pack(format, codes)
    assert data.shape == (3, row_bytes(format, count))
    assert np.array_equal(unpack(format, data, count), codes)
    every = np.arange(1 << format.bits).astype(format.code_type).reshape(1, -1)
    assert np.array_equal(unpack(format, pack(format, every), every.size), every)


def test_codes_of_e8m0_and_e4m3() -> None:
    """E8M0: every one. E4M3: those without sign, and NaN."""
    codes = np.arange(256)
    assert np.array_equal(
        decode("e8m0", codes), gfloat.decode_ndarray(gf.format_info_ocp_e8m0, codes), equal_nan=True
    )
    codes = codes[:128]
    assert np.array_equal(
        decode("e4m3", codes), gfloat.decode_ndarray(gf.format_info_ocp_e4m3, codes), equal_nan=True
    )
    assert np.array_equal(encode("e8m0", decode("e8m0", np.arange(255))), np.arange(255))
    assert np.array_equal(encode("e4m3", decode("e4m3", np.arange(127))), np.arange(127))


@pytest.mark.parametrize(
    ("kind", "scale"),
    [("e8m0", 2.0**128), ("e8m0", 3.0), ("e8m0", 0.0), ("e4m3", 17.0), ("e4m3", 480.0), ("int8", 256.0), ("fp16", 1 + 2.0**-12)],
)  # fmt: skip
def test_scales_that_a_type_does_not_have(kind: str, scale: float) -> None:
    with pytest.raises(ValueError, match=f"scales must be numbers of {kind}, not"):
        encode(kind, np.array([1.0, scale]))


@given(st.sampled_from(sorted(LIMITS)), st.floats(1e-44, 1e39), st.booleans())
def test_scales_go_to_the_nearest(kind: str, scale: float, tie: bool) -> None:
    """No neighbour is nearer, and of two as near it is the one with the even code; never 0, nor more than there is."""
    result = rounded(kind, np.array([scale]))
    if tie:
        code = encode(kind, result).astype(np.int64)
        scale = float((result + decode(kind, np.maximum(code - 1, 0)))[0] / 2)
        result = rounded(kind, np.array([scale]))
    code = int(encode(kind, result)[0])
    scale = float(np.clip(scale, *LIMITS[kind]))
    assert code > 0 or kind == "e8m0"
    off = abs(float(result[0]) - scale)
    for other in (code - 1, code + 1):
        if other < (kind != "e8m0"):
            continue
        neighbour = decode(kind, np.array([other]))[0]
        if np.isfinite(neighbour):
            assert abs(neighbour - scale) > off or (abs(neighbour - scale) == off and code % 2 == 0)


@given(st.integers(1, 9), st.integers(0, 2**32 - 1), st.integers(-10, 10))
def test_fp6_for_rows(depth: int, seed: int, exponent: int) -> None:
    """FP6-LLM's: a scale for a row, the largest magnitude at 28; stable when it is done again."""
    matrix = np.random.default_rng(seed).standard_normal((2, depth)) * 2.0**exponent
    first = quantise(matrix, "fp6-e3m2")
    assert first.scales.shape == (2, 1)
    assert np.array_equal(np.abs(first.levels()).max(axis=1), [28 * 16, 28 * 16])
    assert np.array_equal(quantise(first.values(), "fp6-e3m2").values(), first.values())
