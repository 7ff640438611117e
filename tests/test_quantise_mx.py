"""OCP MX, block floating point and half precision: equal to published code, to a second implementation, and at the edges.

``vectors/mx.npz``: outputs of microxcaling (microsoft/microxcaling, commit 7bc4195) on 27 of 48 blocks, among them zeros, float32
subnormals, 3e38 and exact ties; the other 21 when the whole file lies beside the checkout.
"""

from __future__ import annotations

from pathlib import Path

import gfloat
import numpy as np
import pytest
from gfloat import formats as gf
from hypothesis import given
from hypothesis import strategies as st

from hw.formats import FORMATS, find
from hw.formats.packing import pack, row_bytes, unpack
from hw.formats.scales import encode
from sim.quantise import mx, quantise

PLACES = (Path(__file__).parent, Path(__file__).parents[2] / "shared")
FILES = [path for place in PLACES if (path := place / "vectors" / "mx.npz").exists()]
ELEMENTS = {
    "mxfp8-e4m3": "fp8_e4m3", "mxfp8-e5m2": "fp8_e5m2", "mxfp6-e3m2": "fp6_e3m2", "mxfp6-e2m3": "fp6_e2m3",
    "mxfp4": "fp4_e2m1", "mxint8": "int8", "mxint4": "int4",
}  # fmt: skip
"""Formats by the names of elements in the vectors."""
ORACLES = {
    "mxfp8-e4m3": gf.format_info_ocp_e4m3, "mxfp8-e5m2": gf.format_info_ocp_e5m2, "mxfp4": gf.format_info_ocp_e2m1,
    "mxfp6-e3m2": gf.format_info_ocp_e3m2, "mxfp6-e2m3": gf.format_info_ocp_e2m3,
}  # fmt: skip
MX = [name for name, format in FORMATS.items() if format.rule == "mx"]
UNSCALED = [*MX, "fp16"]


@st.composite
def matrices(draw: st.DrawFn) -> np.ndarray:
    """K seldom a multiple of a block; magnitudes far apart, some zeros, some equal, the signs mixed."""
    shape = draw(st.integers(1, 3)), draw(st.integers(1, 70))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    values = generator.standard_normal(shape) * np.exp2(generator.integers(-12, 12, shape))
    values[generator.random(shape) < 0.1] = 0
    coarse = generator.random(shape) < 0.3
    values[coarse] = np.rint(values[coarse])
    return values * 2.0 ** draw(st.integers(-140, 140))


@pytest.mark.parametrize("path", FILES, ids=str)
@pytest.mark.parametrize("name", ELEMENTS)
def test_published_code(path: Path, name: str) -> None:
    """Values in all roundings, E8M0 codes, element codes (ties to even), and exact dot products of blocks."""
    vectors, key, format = np.load(path), ELEMENTS[name], FORMATS[name]
    matrix = vectors["x"].astype(np.float64)
    for rounding in mx.ROUNDINGS:
        result = mx.quantise(format, matrix, rounding=rounding)
        assert np.array_equal(result.values(), vectors[f"{key}_{rounding}_dq"])
        assert np.array_equal(encode("e8m0", result.scales).reshape(-1), vectors[f"{key}_e8m0"])
    result = quantise(vectors["x"], name)
    assert np.array_equal(result.codes, vectors[f"{key}_even_code"].view(np.uint8) & (1 << format.bits) - 1)
    if f"{key}_dot" in vectors:
        first, second = result.levels()[:8].astype(object), result.levels()[-8:]
        scales = result.scales[:8, 0] * result.scales[-8:, 0] * 4.0**format.unit
        assert np.array_equal((first * second).sum(axis=1).astype(np.float64) * scales, vectors[f"{key}_dot"])


@pytest.mark.parametrize(
    ("rounding", "mode"),
    [
        ("even", gfloat.RoundMode.TiesToEven),
        ("nearest", gfloat.RoundMode.TiesToAway),
        ("floor", gfloat.RoundMode.TowardZero),
    ],
)
@pytest.mark.parametrize("name", ORACLES)
def test_every_rounding_of_every_element(name: str, rounding: str, mode: gfloat.RoundMode) -> None:
    """Values, codes, the middle of every two neighbours, and what lies right beside these, by gfloat: all of both signs."""
    format, oracle = FORMATS[name], ORACLES[name]
    levels = format.levels()[0] * 2.0**format.unit
    points = np.concatenate([levels, (levels[1:] + levels[:-1]) / 2, levels[[0, -1]] * 1.25])
    points = np.concatenate([points, np.nextafter(points, np.inf), np.nextafter(points, -np.inf)])
    wanted = gfloat.round_ndarray(oracle, points, mode, sat=True)
    codes = mx.rounded_codes(format, points, rounding)
    assert np.array_equal(format.decode(codes) * 2.0**format.unit, wanted)
    assert np.array_equal(codes, gfloat.encode_ndarray(oracle, wanted))


@given(st.sampled_from(sorted(ORACLES)), st.integers(0, 2**32 - 1), st.integers(-150, 120))
def test_blocks_of_the_second_implementation(name: str, seed: int, exponent: int) -> None:
    values = np.random.default_rng(seed).standard_normal(32) * 2.0**exponent
    block = gfloat.BlockFormatInfo("block", ORACLES[name], 32, gf.format_info_ocp_e8m0)
    wanted = gfloat.quantize_block(block, values, gfloat.compute_scale_amax)
    assert np.array_equal(quantise(values[None], name).values()[0], wanted)


@given(st.sampled_from([name for name in MX if "int" in name or "bfp" in name]), matrices())
def test_integer_elements(name: str, matrix: np.ndarray) -> None:
    """MXINT and BFP: the same values from integers alone, rounded by Python."""
    format = FORMATS[name]
    result = quantise(matrix, name)
    most, fractions = (1 << format.bits - 1) - 1, format.bits - 2
    for (row, column), value in np.ndenumerate(matrix):
        scale = result.scales[row, column // format.block]
        numerator, denominator = float(value / scale * 2.0**fractions).as_integer_ratio()
        nearest, rest = divmod(abs(numerator), denominator)
        nearest += 2 * rest > denominator or (2 * rest == denominator and nearest % 2)
        assert result.levels()[row, column] == np.copysign(min(nearest, most), value)


def test_block_floating_point_is_mxint_with_signs() -> None:
    matrix = np.random.default_rng(3).standard_normal((4, 64))
    bfp, integers = quantise(matrix, "bfp8:g32"), quantise(matrix, "mxint8")
    assert np.array_equal(bfp.values(), integers.values())
    assert np.array_equal(bfp.scales, integers.scales)
    negative = integers.levels() < 0
    assert np.array_equal(bfp.codes[negative], 128 - integers.levels()[negative])
    assert FORMATS["bfp4"].bits_per_weight == 4.5


@pytest.mark.parametrize("name", MX)
def test_edges(name: str) -> None:
    """Zeros, tiny, subnormal, 3e38, and beyond float32 (where microxcaling gives NaN): each block by itself."""
    format = find(f"{name}:g4")
    most = format.maximum * 2.0**format.unit
    top = int(np.floor(np.log2(most)))
    peaks = [0.0, 1e-300, 2.0**-149, 2.0 ** (top - 127), 3e38, 2.0**128, 1e300]
    matrix = np.array([[peak, -peak, 0, 0] for peak in peaks]).reshape(1, -1)
    result = quantise(matrix, format)
    exponents = np.log2(result.scales)[0].tolist()
    assert exponents == [max(-126 - top, -127), -127, -127, -127, 127 - top, min(128 - top, 127), 127]
    values = result.values().reshape(-1, 4)
    assert (values[:, 2:] == 0).all()
    assert np.array_equal(values[:, 0], -values[:, 1])
    assert values[:2, 0].tolist() == [0, 0]
    assert values[3, 0] == peaks[3]
    assert values[6, 0] == most * 2.0**127
    assert np.isfinite(values).all()
    assert encode("e8m0", result.scales).max() < 255


def test_the_sign_of_zero() -> None:
    """Kept by elements that have one; two's complement does not."""
    matrix = np.array([[1.0, -1e-9, 1e-9, 0.0, -0.0]])
    assert quantise(matrix, "mxfp4").codes[0, 1:].tolist() == [8, 0, 0, 8]
    assert quantise(matrix, "bfp4").codes[0, 1:].tolist() == [8, 0, 0, 8]
    assert quantise(matrix, "fp16").codes[0, 3:].tolist() == [0, 0x8000]
    assert quantise(matrix, "mxint8").codes[0, 1:].tolist() == [0, 0, 0, 0]


def test_two_s_complement_is_symmetric() -> None:
    assert quantise(np.array([[-1.999, 1.999]]), "mxint8").levels().tolist() == [[-127, 127]]
    assert quantise(np.array([[-1.999, 1.999]]), "mxint2").levels().tolist() == [[-1, 1]]


def test_scales_rounded_up() -> None:
    """No block saturates, and none has room for a scale half as large; a float32 subnormal has scale 2**-126."""
    format = FORMATS["mxfp4"]
    peaks = np.array([6, np.nextafter(6, 7), np.nextafter(6, 5), 3, 4.5, 12, 1e-40, 0.0, 3e38, 1e300])
    matrix = np.zeros((len(peaks), 32))
    matrix[:, 5] = -peaks
    result = mx.quantise(format, matrix, scaling="ceiling")
    assert np.log2(result.scales)[:, 0].tolist() == [0, 1, 0, -1, 0, 1, -126, -127, 126, 127]
    assert result.values()[:6, 5].tolist() == [-6, -6, -6, -3, -4, -12]
    assert mx.quantise(format, matrix).scales[1, 0] == 1


@given(st.sampled_from(MX), matrices())
def test_ceiling_is_the_least_that_does_not_saturate(name: str, matrix: np.ndarray) -> None:
    format = FORMATS[name]
    most = format.maximum * 2.0**format.unit
    result = mx.quantise(format, matrix, scaling="ceiling")
    for block, scale in enumerate(result.scales.T):
        peak = np.abs(matrix[:, block * format.block : (block + 1) * format.block]).max(axis=1)
        assert ((peak <= scale * most) | (scale == 2.0**127)).all()
        assert ((peak > scale / 2 * most) | (scale <= 2.0**-126)).all()


@given(st.sampled_from(UNSCALED), st.sampled_from(mx.ROUNDINGS), st.sampled_from(mx.SCALINGS), matrices())
def test_quantised_again(name: str, rounding: str, scaling: str, matrix: np.ndarray) -> None:
    """Equal values: always."""
    format = FORMATS[name]
    if format.rule == "cast":
        first, again = quantise(matrix, name), quantise(quantise(matrix, name).values(), name)
    else:
        first = mx.quantise(format, matrix, rounding=rounding, scaling=scaling)
        again = mx.quantise(format, first.values(), rounding=rounding, scaling=scaling)
    assert np.array_equal(again.values(), first.values())


@given(st.sampled_from(UNSCALED), matrices())
def test_order_is_kept(name: str, matrix: np.ndarray) -> None:
    """Within a block the larger element never gets the smaller value; signs never turn."""
    block = FORMATS[name].block or matrix.shape[1]
    values = quantise(matrix, name).values()
    for start in range(0, matrix.shape[1], block):
        for row, result in zip(
            matrix[:, start : start + block], values[:, start : start + block], strict=True
        ):
            assert (np.diff(result[np.argsort(row)]) >= 0).all()
    assert (values * np.sign(matrix) >= 0).all()


@given(st.sampled_from(UNSCALED), matrices())
def test_blocks_alone_and_packed(name: str, matrix: np.ndarray) -> None:
    """A block, the short last one too, is what it is by itself; packing and unpacking changes no code."""
    format = FORMATS[name]
    result = quantise(matrix, name)
    block = format.block or matrix.shape[1]
    for number, start in enumerate(range(0, matrix.shape[1], block)):
        part = quantise(matrix[:, start : start + block], name)
        assert np.array_equal(part.codes, result.codes[:, start : start + block])
        if format.block:
            assert np.array_equal(part.scales[:, 0], result.scales[:, number])
    data = pack(format, result.codes)
    assert data.shape == (len(matrix), row_bytes(format, matrix.shape[1]))
    assert np.array_equal(unpack(format, data, matrix.shape[1]), result.codes)


@given(matrices())
def test_half_precision(matrix: np.ndarray) -> None:
    """By gfloat, element by element; saturated."""
    wanted = gfloat.round_ndarray(gf.format_info_binary16, matrix, sat=True)
    result = quantise(matrix, "fp16")
    assert np.array_equal(result.values(), wanted)
    assert result.scales.tolist() == [[1]]


def test_half_precision_at_the_edges() -> None:
    matrix = np.array([[65504.0, 65519.9, 65520, -1e300, 2.0**-24, 2.0**-25, 1.5 * 2.0**-24, 1e-320]])
    wanted = [65504, 65504, 65504, -65504, 2.0**-24, 0, 2.0**-23, 0]
    assert quantise(matrix, "fp16").values()[0].tolist() == wanted


@pytest.mark.parametrize(
    ("whom", "scales", "last"), [("row", [[0.5], [2], [0.125]], 0.5), ("tensor", [[2]], 0)]
)
def test_one_scale_for_more(whom: str, scales: list[list[float]], last: float) -> None:
    matrix = np.array([[1.0, 2.0], [8.0, 0.25], [0.5, 0.5]])
    result = quantise(matrix, f"mxfp4:{whom}")
    assert result.scales.tolist() == scales
    assert result.values().tolist() == [[1, 2], [8, 0], [last, last]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rounding": "up"}, "rounding must be one of even, nearest, floor, not 'up'"),
        ({"scaling": "up"}, "scaling must be one of floor, ceiling, not 'up'"),
    ],
)
def test_options_that_there_are_not(options: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mx.quantise(FORMATS["mxfp4"], np.ones((1, 1)), **options)
