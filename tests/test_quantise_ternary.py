"""BitNet b1.58 and binary weights: equal to published code, and what holds of every quantised matrix.

``vectors/kv_hawq_bitnet.npz``: BitNet (microsoft/BitNet 16da220) with 64 x 64 weights and 8 tokens.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hw.formats import find
from hw.formats.packing import pack, unpack
from sim.golden import gemm
from sim.quantise import quantise
from sim.quantise.ternary import quantise_activations

NAME = "kv_hawq_bitnet.npz"
PLACES = (Path(__file__).parent / "vectors", Path(__file__).parents[2] / "shared" / "vectors")
FILES = [place / NAME for place in PLACES if (place / NAME).exists()]


@st.composite
def matrices(draw: st.DrawFn) -> np.ndarray:
    rows, depth = draw(st.integers(1, 3)), draw(st.integers(1, 40))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    matrix = generator.standard_normal((rows, depth)) * 10.0 ** draw(
        st.sampled_from([-300, -44, -6, 0, 37, 300])
    )
    return matrix * (generator.random((rows, depth)) > draw(st.sampled_from([0, 0.5, 1])))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.parent.parent.name)
def test_equals_published_outputs(path: Path) -> None:
    vectors = np.load(path)
    weights = quantise(vectors["bitnet_w"], "ternary")
    np.testing.assert_array_equal(weights.levels(), vectors["bitnet_t"])
    np.testing.assert_array_equal(weights.scales, vectors["bitnet_ws"].reshape(1, 1))
    codes, factors = quantise_activations(vectors["bitnet_x"])
    np.testing.assert_array_equal(codes, vectors["bitnet_xq"])
    np.testing.assert_array_equal(factors, vectors["bitnet_xs"])
    assert factors.dtype == np.float32
    np.testing.assert_array_equal(gemm(codes, weights.levels().T), vectors["bitnet_acc"])


@given(matrices(), st.sampled_from(["ternary", "ternary:row", "ternary:g7"]))
def test_ternary_of_anything(matrix: np.ndarray, name: str) -> None:
    quantised = quantise(matrix, name)
    values = quantised.values()
    assert np.isfinite(values).all()
    assert (quantised.scales >= np.float32(1e-5)).all()
    # The codes stay; the scale is a mean that zeros make smaller.
    np.testing.assert_array_equal(quantise(values, name).codes, quantised.codes)
    assert (np.sign(values) * np.sign(matrix) >= 0).all()


@given(matrices(), st.sampled_from(["", ":g7"]))
def test_ternary_of_two_levels(matrix: np.ndarray, suffix: str) -> None:
    """The codes are those of one level; a block of scale 0 is zeros when it is quantised again."""
    once, single = quantise(matrix, f"ternary-s8{suffix}"), quantise(matrix, f"ternary{suffix or ':g128'}")
    np.testing.assert_array_equal(once.codes, single.codes)
    again = quantise(once.values(), once.format)
    np.testing.assert_array_equal(again.levels(), once.levels() * (once.spread(once.scales) > 0))


@given(matrices(), st.sampled_from(["binary", "binary:tensor", "binary:g7"]))
def test_binary_of_anything(matrix: np.ndarray, name: str) -> None:
    quantised = quantise(matrix, name)
    values = quantised.values()
    np.testing.assert_array_equal(quantised.levels(), np.where(matrix >= 0, 1, -1))
    np.testing.assert_array_equal(quantise(values, name).values(), values)


@pytest.mark.parametrize("name", ["ternary", "binary:tensor"])
@given(matrices())
def test_monotone(name: str, matrix: np.ndarray) -> None:
    values = quantise(matrix, name).values()
    assert (np.diff(values.reshape(-1)[np.argsort(matrix.reshape(-1))]) >= 0).all()


def test_by_hand() -> None:
    matrix = np.array([[4.0, -1.0, 0.5, -0.5], [2.0, -2.0, 0.0, 2.0]])
    ternary = quantise(matrix, "ternary")
    assert ternary.scales.tolist() == [[1.5]]
    assert ternary.levels().tolist() == [[1, -1, 0, 0], [1, -1, 0, 1]]
    assert ternary.codes.tolist() == [[1, 3, 0, 0], [1, 3, 0, 1]]
    assert pack(ternary.format, ternary.codes).tolist() == [[0b1101], [0b01001101]]
    binary = quantise(matrix, "binary")
    assert binary.values().tolist() == [[1.5, -1.5, 1.5, -1.5], [1.5, -1.5, 1.5, 1.5]]
    blocks = quantise(matrix, "ternary-s8:g2")
    assert blocks.levels().tolist() == [[1, 0, 1, -1], [1, -1, 0, 1]]
    # Means of 2.5 and 0.5, and of 2 and 1: in units of the row's largest over 255, which are a little more in float32.
    assert blocks.scales.tolist() == [[255, 51], [255, 127]]
    binary = quantise(matrix, "binary-s8:g2")
    assert binary.levels().tolist() == [[1, -1, 1, -1], [1, -1, 1, 1]]
    assert binary.scales.tolist() == [[255, 51], [255, 127]]
    # A tie: twice the element is the mean.
    assert quantise(np.array([[3.0, 1.0, 2.0, 2.0, 2.0]]), "ternary").levels().tolist() == [[1, 0, 1, 1, 1]]


def test_the_scale_hangs_on_the_order_of_the_sum() -> None:
    """Of 5 magnitudes the last is added to the first: together they are not lost beside 2**24."""
    found = quantise(np.array([[1.0, 2.0**24, 0.0, 0.0, -1.0]]), "ternary")
    assert found.scales.tolist() == [[float(np.float32(2**24 + 2) / np.float32(5))]]


def test_blocks_of_zeros_of_tiny_and_of_huge_elements() -> None:
    least, most = float(np.float32(1e-5)), float(np.finfo(np.float32).max)
    for matrix in (np.zeros((1, 4)), np.full((1, 4), 1e-300)):
        ternary = quantise(matrix, "ternary")
        assert (ternary.scales.tolist(), ternary.levels().tolist()) == ([[least]], [[0, 0, 0, 0]])
        binary = quantise(matrix, "binary")
        assert (binary.scales.tolist(), binary.values().tolist()) == ([[0.0]], [[0, 0, 0, 0]])
    huge = np.array([[1e300, -1e300]])
    assert quantise(huge, "binary").values().tolist() == [[most, -most]]
    ternary = quantise(huge, "ternary")
    assert ternary.levels().tolist() == [[1, -1]]
    assert 0 < ternary.scales[0, 0] <= most
    codes, factors = quantise_activations(np.array([[0.0, 0.0], [1e-7, -1e-7], [1e300, -1e300]]))
    assert codes.tolist() == [[0, 0], [1, -1], [127, -127]]
    assert np.isfinite(factors).all()
    with pytest.raises(ValueError, match="the activations must be finite, not nan at"):
        quantise_activations(np.array([[np.nan]]))


def test_a_code_that_is_no_number() -> None:
    format = find("ternary")
    codes = unpack(format, np.array([[0b10]], dtype=np.uint8), 1)
    with pytest.raises(ValueError, match="codes of ternary must stand for numbers, not 0x2"):
        format.decode(codes)
