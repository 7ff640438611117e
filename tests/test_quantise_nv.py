"""NVFP4, four over six, NVINT4, IF4: equal to published code, to the formulas spelled out, and at the edges.

``vectors/nvfp4.npz``: outputs of fouroversix (mit-han-lab/fouroversix, commit dadfad6, reference.py) on 16 rows of 128, one block
of them zeros; the same, or more, when the file lies beside the checkout.
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
from sim.quantise import Quantised, mx, nv, quantise

PLACES = (Path(__file__).parent, Path(__file__).parents[2] / "shared")
FILES = [path for place in PLACES if (path := place / "vectors" / "nvfp4.npz").exists()]
NV = ["nvfp4", "nvfp4-4over6", "nvint4", "if4"]
WHOLE = {"nvfp4": 6 * 448, "nvfp4-4over6": 6 * 256, "nvint4": 7 * 448, "if4": 7 * 6 * 448}
"""The tensor's largest magnitude over the second scale."""
NORMAL = 2.0**-6
"""E4M3's smallest normal number."""


@st.composite
def matrices(draw: st.DrawFn) -> np.ndarray:
    """float32; K seldom a multiple of a block; magnitudes far enough apart for zero and subnormal scales."""
    shape = draw(st.integers(1, 3)), draw(st.integers(1, 50))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    spread = draw(st.sampled_from([1, 4, 25]))
    values = generator.standard_normal(shape) * np.exp2(generator.integers(-spread, spread, shape))
    values[generator.random(shape) < 0.1] = 0
    return (values * 2.0 ** draw(st.integers(-60, 30))).astype(np.float32).astype(np.float64)


def scale_codes(result: Quantised) -> np.ndarray:
    """E4M3 codes; IF4's selector is the sign bit."""
    codes = encode("e4m3", result.scales)
    return codes if result.selectors is None else codes | result.selectors << 7


@pytest.mark.parametrize("path", FILES, ids=str)
@pytest.mark.parametrize("name", NV)
def test_published_code(path: Path, name: str) -> None:
    """Element codes, packed bytes, scales, the tensor's scale from its largest magnitude, and values."""
    vectors, key = np.load(path), name.replace("-", "_")
    result = quantise(vectors["x"], name)
    assert np.array_equal(result.codes, vectors[f"{key}_code"])
    assert np.array_equal(pack(result.format, result.codes), vectors[f"{key}_packed"])
    assert np.array_equal(scale_codes(result).reshape(-1), vectors[f"{key}_scale_u8"])
    peak = np.abs(vectors["x"]).max()
    assert peak == vectors[f"{key}_amax"]
    assert result.outer is not None
    assert result.outer[0, 0] == peak / np.float32(WHOLE[name])
    if f"{key}_dq" in vectors:
        assert np.array_equal(result.values().astype(np.float32), vectors[f"{key}_dq"])


@pytest.mark.parametrize("path", FILES, ids=str)
def test_published_mxfp4(path: Path) -> None:
    """Whose scales they round up."""
    vectors, format = np.load(path), FORMATS["mxfp4"]
    result = mx.quantise(format, vectors["x"].astype(np.float64), scaling="ceiling")
    assert np.array_equal(result.codes, vectors["mxfp4_roundup_code"])
    assert np.array_equal(pack(format, result.codes), vectors["mxfp4_roundup_packed"])
    assert np.array_equal(encode("e8m0", result.scales).reshape(-1), vectors["mxfp4_roundup_scale_u8"])


def e4m3(value: np.float32) -> np.float32:
    return np.float32(gfloat.round_float(gf.format_info_ocp_e4m3, float(value)))


def block_scale(
    block: np.ndarray, tensor: np.ndarray, most: int, scale_most: int, times: float = 1
) -> np.float32:
    """The formula, a block at a time."""
    one, peak = np.float32(1), np.abs(tensor).max()
    scale = e4m3(
        np.abs(block).max()
        / np.float32(most)
        * (np.float32(most * scale_most) / peak)
        * (one * np.float32(times))
    )
    return scale


def factor(scale: np.float32, tensor: np.ndarray, product: int) -> np.float32:
    one, peak = np.float32(1), np.abs(tensor).max()
    return one / (one / (np.float32(product) / peak) * scale) if scale else np.float32(0)


def e2m1(values: np.ndarray) -> np.ndarray:
    wide = values.astype(np.float64)
    return gfloat.round_ndarray(gf.format_info_ocp_e2m1, wide, sat=True).astype(np.float32)


@given(matrices())
def test_the_formulas_block_by_block(matrix: np.ndarray) -> None:
    """NVFP4, NVINT4, and both candidates of four over six, all with gfloat's roundings; the candidate chosen errs less."""
    tensor = matrix.astype(np.float32)
    if not tensor.any():
        return
    plain, integer, better = (quantise(matrix, name) for name in ("nvfp4", "nvint4", "nvfp4-4over6"))
    for row in range(len(tensor)):
        for number, start in enumerate(range(0, tensor.shape[1], 16)):
            columns = slice(start, start + 16)
            block = tensor[row, columns]
            scale = block_scale(block, tensor, 6, 448)
            assert plain.scales[row, number] == scale
            elements = plain.levels()[row, columns] / 2
            assert np.array_equal(elements, e2m1(block * factor(scale, tensor, 6 * 448)))
            scale = block_scale(block, tensor, 7, 448)
            assert integer.scales[row, number] == scale
            steps = np.clip(np.rint(block * factor(scale, tensor, 7 * 448)), -7, 7)
            assert np.array_equal(integer.levels()[row, columns], steps)
            candidates = []
            for times in (1, 1.5):
                scale = block_scale(block, tensor, 6, 256, times)
                elements = e2m1(block * factor(scale, tensor, 6 * 256))
                values = elements * scale * np.abs(tensor).max() / np.float32(6 * 256)
                candidates.append((float((np.square(values - block)).sum(dtype=np.float64)), scale, elements))
            _, scale, elements = min(candidates, key=lambda candidate: candidate[0])
            assert better.scales[row, number] == scale
            assert np.array_equal(better.levels()[row, columns] / 2, elements)


@pytest.mark.parametrize("error", nv.ERRORS)
@pytest.mark.parametrize("name", ["nvfp4-4over6", "if4"])
def test_the_better_candidate(name: str, error: str) -> None:
    """No block errs more than in a format that has but one of the two, by the measure asked for."""
    matrix = np.random.default_rng(4).standard_normal((8, 256)).astype(np.float32).astype(np.float64)
    matrix[0, 0] = 9
    format = FORMATS[name]
    rule = nv.four_over_six if name == "nvfp4-4over6" else nv.integer_or_float
    measures = {"mse": np.square, "mae": np.abs, "abs_max": np.abs}

    def errors(result: Quantised) -> np.ndarray:
        off = measures[error](result.values() - matrix).reshape(8, -1, 16)
        return off.max(axis=2) if error == "abs_max" else off.sum(axis=2)

    chosen = rule(format, matrix, error=error)
    if name == "if4":
        other = nv.quantise(FORMATS["nvfp4"], matrix)
        assert chosen.selectors is not None
        assert 0 < chosen.selectors.sum() < chosen.selectors.size
        same = chosen.selectors == 0
    else:
        tensor = nv.Tensor.of(matrix, 6, nv.FOUR_OVER_SIX_MOST)
        scales = tensor.scales(matrix.astype(np.float32).reshape(8, -1, 16))
        codes = mx.rounded_codes(
            format, tensor.scaled(matrix.astype(np.float32).reshape(8, -1, 16), scales), "even"
        )
        other = Quantised(
            format=format, codes=codes.reshape(8, -1), scales=scales.astype(np.float64), outer=tensor.outer()
        )
        same = chosen.scales == other.scales
    # Float32 decides between candidates: what it cannot tell apart may be the worse one by its rounding.
    assert (errors(chosen) <= errors(other) * (1 + 2.0**-18)).all()
    assert 0 < same.sum() < same.size
    assert (errors(chosen)[~same] < errors(other)[~same]).all()


def test_options_that_there_are_not() -> None:
    for name, rule in (("nvfp4-4over6", nv.four_over_six), ("if4", nv.integer_or_float)):
        with pytest.raises(ValueError, match="error must be one of mse, mae, abs_max, not 'l1'"):
            rule(FORMATS[name], np.ones((1, 1)), error="l1")


def test_ties_go_to_even() -> None:
    """Tensor peak 6 * 448 and block peak 6: scale 1, second scale 1."""
    matrix = np.zeros((1, 32))
    matrix[0, 0], matrix[0, 16:25] = 2688, [6, 0.25, 0.75, 1.25, 1.75, 2.5, -3.5, 5, -5]
    result = quantise(matrix, "nvfp4")
    assert result.scales.tolist() == [[448, 1]]
    assert (result.levels()[0, 16:25] / 2).tolist() == [6, 0, 1, 1, 2, 2, -4, 4, -4]


@pytest.mark.parametrize("name", NV)
def test_zeros(name: str) -> None:
    """Of a block: scale 0. Of a tensor: all scales 0. The codes are 0, whatever the sign."""
    matrix = np.zeros((2, 48))
    assert not quantise(matrix, name).codes.any()
    matrix[0, :16], matrix[1, 20] = 3, -0.0
    result = quantise(matrix, name)
    assert (result.scales > 0).tolist() == [[True, False, False], [False, False, False]]
    assert not result.codes[1].any()
    assert not result.codes[0, 16:].any()
    assert quantise(np.zeros((1, 3)), name).values().tolist() == [[0, 0, 0]]


@pytest.mark.parametrize("name", NV)
def test_a_tiny_block_in_a_tensor(name: str) -> None:
    """Below half of E4M3's smallest number there is no scale: zeros, with no sign."""
    matrix = np.zeros((1, 32))
    matrix[0, 0], matrix[0, 16], matrix[0, 17] = 1, 2.0**-21, -(2.0**-21)
    result = quantise(matrix, name)
    assert result.scales[0, 1] == 0
    assert result.codes[0, 16:18].tolist() == [0, 0]


@pytest.mark.parametrize("sign", [1, -1])
def test_a_subnormal_scale_saturates(sign: int) -> None:
    """Wanted: 1.49 of E4M3's smallest numbers; got: 1. The element would be 8.9 (published: overflow into the sign bit)."""
    matrix = np.zeros((1, 32))
    matrix[0, 0], matrix[0, 16] = 2688, sign * 6 * 1.49 * 2.0**-9
    result = quantise(matrix, "nvfp4")
    assert result.scales[0, 1] == 2.0**-9
    assert result.levels()[0, 16] == sign * 12


@pytest.mark.parametrize("name", NV)
@pytest.mark.parametrize("peak", [1e-320, 2.0**-149, 1e-40, 7e-36, 1e-33])
def test_a_tiny_tensor(name: str, peak: float) -> None:
    """Finite and no larger than it was; what float32 can scale keeps its largest element, what it cannot becomes zeros."""
    matrix = np.full((1, 20), -peak)
    values = quantise(matrix, name).values()
    assert np.isfinite(values).all()
    assert (np.abs(values) <= peak * (1 + 2.0**-4)).all()
    if peak < 1e-39:
        assert not values.any()
    if peak >= 7e-36:
        assert (np.abs(values + peak) <= peak * 2.0**-3).all()


@pytest.mark.parametrize("name", NV)
def test_a_huge_tensor(name: str) -> None:
    """float64 beyond float32 is its largest number; nothing overflows, nor does the comparison of candidates."""
    largest = float(np.finfo(np.float32).max)
    for peak in (3e38, largest, 1e39, 1e300):
        values = quantise(np.array([[peak, -peak, 0.0, 1.0]]), name).values()[0]
        assert np.allclose(values, np.clip([peak, -peak, 0, 0], -largest, largest), rtol=2.0**-22, atol=0)


@given(st.sampled_from(NV), matrices())
def test_quantised_again(name: str, matrix: np.ndarray) -> None:
    """Equal values, but for blocks with subnormal scales."""
    first = quantise(matrix, name)
    again = quantise(first.values(), name)
    normal = (first.scales >= NORMAL) | (first.scales == 0)
    where = normal.repeat(16, axis=1)[:, : matrix.shape[1]]
    assert np.array_equal(again.values()[where], first.values()[where])
    assert np.array_equal(again.outer, first.outer)


@given(st.sampled_from(NV), matrices())
def test_order_is_kept(name: str, matrix: np.ndarray) -> None:
    """Within a block the larger element never gets the smaller value; signs never turn."""
    values = quantise(matrix, name).values()
    for start in range(0, matrix.shape[1], 16):
        for row, result in zip(matrix[:, start : start + 16], values[:, start : start + 16], strict=True):
            assert (np.diff(result[np.argsort(row)]) >= 0).all()
    assert (values * np.sign(matrix) >= 0).all()


@given(st.sampled_from(NV), matrices())
def test_packed(name: str, matrix: np.ndarray) -> None:
    result = quantise(matrix, name)
    data = pack(result.format, result.codes)
    assert data.shape == (len(matrix), row_bytes(result.format, matrix.shape[1]))
    assert np.array_equal(unpack(result.format, data, matrix.shape[1]), result.codes)
    assert result.scales.shape == (len(matrix), -(-matrix.shape[1] // 16))


@given(st.sampled_from(NV), matrices(), st.integers(1, 15))
def test_a_short_last_block(name: str, matrix: np.ndarray, more: int) -> None:
    """Is what it is with zeros after it."""
    longer = np.pad(matrix, ((0, 0), (0, -matrix.shape[1] % 16)))
    short, long = quantise(matrix, name), quantise(longer, name)
    assert np.array_equal(short.codes, long.codes[:, : matrix.shape[1]])
    assert np.array_equal(short.scales, long.scales)
    wider = quantise(matrix, find(f"{name}:g{more}"))
    assert wider.scales.shape[1] == -(-matrix.shape[1] // more)
