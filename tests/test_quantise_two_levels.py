"""Scales of blocks that are integers times one of the row: by hand, and what holds of every matrix that is quantised so."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_quantise_integers import matrices

from hw.formats import FORMATS, find
from hw.formats.scales import encode
from sim.quantise import quantise
from sim.quantise.integers import asymmetric, symmetric

TWO_LEVELS = [
    name for name, format in FORMATS.items() if format.rule == "symmetric" and format.scale == "int8"
]


def test_two_levels_by_hand() -> None:
    """The codes are those of the scale before it is rounded: 0.25 is 1 in units of 0.25, not of 64/255."""
    quantised = quantise(np.array([[7.0, -3.5, 1.75, 0.25, 0.0, 0.0], [0.0] * 6]), "int4-s8:g2")
    assert quantised.levels().tolist() == [[7, -4, 7, 1, 0, 0], [0] * 6]
    assert quantised.scales.tolist() == [[255, 64, 0], [0, 0, 0]]  # 63.75 to 64
    assert quantised.outer is not None
    assert quantised.outer.shape == (2, 1)
    assert quantised.outer[0, 0] == np.float32(1 / 255)
    # Half a unit is 0, ties to even; a little more is 1.
    for peak, multiple in ((0.5, 0), (0.51, 1), (1.5, 2), (2.5, 2)):
        matrix = np.array([[255.0 * 31, 0.0, 31 * peak, 0.0]])
        assert quantise(matrix, "int6-s8:g2").scales.tolist() == [[255, multiple]]


def test_two_levels_are_there() -> None:
    assert [f"int{bits}-s8" for bits in (2, 3, 4, 5, 6, 8)] == TWO_LEVELS
    for name in TWO_LEVELS:
        format, single = FORMATS[name], find(name.removesuffix("-s8") + ":g128")
        assert (format.tables, format.block, format.least) == (single.tables, 128, single.least)
        assert (format.scale, format.outer, format.outer_shared) == ("int8", "fp32", "row")
        assert (format.bits_per_weight, format.bits_per_row) == (format.bits + 8 / 128, 32)
        assert find(name + ":g32").block == 32


@pytest.mark.parametrize("name", TWO_LEVELS)
@given(matrices(), st.sampled_from(["", ":g5"]))
def test_two_levels_of_anything(name: str, matrix: np.ndarray, suffix: str) -> None:
    format = find(name + suffix)
    once = quantise(matrix, format)
    encode("int8", once.scales)
    values = once.values()
    assert np.isfinite(values).all()
    np.testing.assert_array_equal(quantise(values, format).values(), values)
    assert (once.levels() >= (format.least or 0)).all()
    # Codes know nothing of the row; the outermost is used in each block that has anything.
    for first in range(0, matrix.shape[1], format.block):
        span = slice(first, first + format.block)
        alone = quantise(matrix[:, span], format)
        np.testing.assert_array_equal(alone.codes, once.codes[:, span])
        peaks = np.abs(alone.levels()).max(axis=1)
        np.testing.assert_array_equal(peaks, format.maximum * matrix[:, span].any(axis=1))
        order = np.argsort(matrix[:, span], axis=1)
        assert (np.diff(np.take_along_axis(values[:, span], order, axis=1), axis=1) >= 0).all()


@pytest.mark.parametrize("name", TWO_LEVELS)
def test_two_levels_lose_half_a_unit_of_the_row(name: str) -> None:
    matrix = np.random.default_rng(3).standard_normal((16, 8 * 128)) * 0.02
    matrix[3, 128:] *= 1000
    quantised, ideal = (
        quantise(matrix, name),
        np.abs(matrix.reshape(16, 8, 128)).max(axis=-1) / find(name).maximum,
    )
    assert quantised.outer is not None
    assert (quantised.scales.max(axis=1) == 255).all()
    assert quantised.scales[3, 0] == 0
    # Half a unit, and what single precision takes from 255 of them.
    assert (
        np.abs(quantised.scales * quantised.outer - ideal) <= quantised.outer * (0.5 + 255 * 2.0**-24)
    ).all()
    np.testing.assert_array_equal(
        quantised.levels().reshape(16, 8, 128), np.rint(matrix.reshape(16, 8, 128) / ideal[..., None])
    )


@pytest.mark.parametrize("name", TWO_LEVELS)
@pytest.mark.parametrize("arithmetic", ["exact", "fp16"])
def test_two_levels_of_zeros_of_tiny_and_of_huge_elements(name: str, arithmetic: str) -> None:
    format = find(name + ":g3")
    matrix = np.zeros((3, 6))
    matrix[1, :3], matrix[2, 3:] = 6e-8, -60000
    quantised = symmetric(format, matrix, arithmetic=arithmetic)
    assert not quantised.codes[0].any()
    assert not quantised.values()[:2, 3:].any()
    assert quantised.scales[[0, 2]].tolist() == [[0, 0], [0, 255]]
    assert quantised.levels()[2, 3:].tolist() == [-format.maximum] * 3
    # The smallest number of half precision is more than it can hold a scale of.
    assert quantised.scales[1].tolist() == [255 if arithmetic == "exact" else 0, 0]
    if arithmetic == "exact":
        huge = quantise(np.array([[1.7e308, -1.7e308, 0.0, 1.0, 1.0, 1.0]]), format)
        assert huge.levels().tolist() == [[format.maximum, -format.maximum, 0, *[format.maximum] * 3]]
        assert huge.scales.tolist() == [[255, 0]]


OTHER_LEVELS = [
    *(f"int{bits}-asym-s8" for bits in (2, 3, 4)), *(f"bipolar{bits}-s8" for bits in (1, 2, 3, 4)), "binary-s8"
]  # fmt: skip
"""With zero points, or without a zero."""


@pytest.mark.parametrize("name", OTHER_LEVELS)
@given(matrices(), st.sampled_from(["", ":g5"]))
def test_other_second_levels_of_anything(name: str, matrix: np.ndarray, suffix: str) -> None:
    """Quantised again it stays; codes and zero points know nothing of the row; larger elements never get smaller values."""
    format = find(name + suffix)
    once = quantise(matrix, format)
    encode("int8", once.scales)
    values = once.values()
    assert np.isfinite(values).all()
    np.testing.assert_array_equal(quantise(values, format).values(), values)
    for first in range(0, matrix.shape[1], format.block):
        span, place = slice(first, first + format.block), first // format.block
        alone = quantise(matrix[:, span], format)
        np.testing.assert_array_equal(alone.codes, once.codes[:, span])
        if once.offsets is not None and alone.offsets is not None:
            np.testing.assert_array_equal(alone.offsets, once.offsets[:, place : place + 1])
        order = np.argsort(matrix[:, span], axis=1)
        assert (np.diff(np.take_along_axis(values[:, span], order, axis=1), axis=1) >= 0).all()


@pytest.mark.parametrize("name", OTHER_LEVELS)
def test_other_second_levels_lose_half_a_unit_of_the_row(name: str) -> None:
    """The scales are those of one level, but for the rounding of half precision and of the unit."""
    matrix = np.random.default_rng(3).standard_normal((16, 8 * 128)) * 0.02
    matrix[3, 128:] *= 1000
    twice, single = quantise(matrix, name), quantise(matrix, name.removesuffix("-s8") + ":g128")
    assert twice.outer is not None
    assert (twice.scales.max(axis=1) == 255).all()
    assert twice.scales[3, 0] == 0
    found = twice.scales * twice.outer
    assert (
        np.abs(found - single.scales) <= twice.outer * (0.5 + 255 * 2.0**-24) + single.scales * 2.0**-10
    ).all()


def test_asymmetric_two_levels_by_hand() -> None:
    quantised = quantise(np.array([[-1.0, 0.0, 2.0, 0.0, 0.0, 0.0, 0.375, 0.25, 0.75]]), "int2-asym-s8:g3")
    assert quantised.scales.tolist() == [[255, 0, 64]]  # 63.75 to 64
    assert quantised.offsets is not None
    assert quantised.offsets.tolist() == [[1, 0, 0]]
    # A scale of 0.25: one and a half goes to even.
    assert quantised.levels().tolist() == [[-1, 0, 2, 0, 0, 0, 2, 1, 3]]
    assert quantised.outer is not None
    assert quantised.outer.tolist() == [[float(np.float32(1 / 255))]]


def test_ends_in_the_middle_of_two_codes_are_the_outermost() -> None:
    """Scale 1: from -0.5 to 2.5, which to even would be 0 and 2."""
    once = quantise(np.array([[-0.5, 1.0, 2.5]]), "int2-asym-s8:g3")
    assert once.codes.tolist() == [[0, 2, 3]]
    values = once.values()
    np.testing.assert_array_equal(quantise(values, once.format).values(), values)


@pytest.mark.parametrize("arithmetic", ["exact", "fp16"])
def test_asymmetric_two_levels_of_zeros_and_of_huge_elements(arithmetic: str) -> None:
    format = find("int4-asym-s8:g2")
    quantised = asymmetric(
        format, np.array([[0.0, 0.0, 65504.0, -65504.0], [0.0] * 4]), arithmetic=arithmetic
    )
    assert quantised.offsets is not None
    assert quantised.scales.tolist() == [[0, 255], [0, 0]]
    assert quantised.codes[:, :2].tolist() == [[0, 0], [0, 0]]
    assert quantised.offsets[:, 0].tolist() == [0, 0]
    assert np.isfinite(quantised.values()).all()
    if arithmetic == "exact":
        widest = quantise(np.array([[1.7e308, -1.7e308, 0.0]]), "int4-asym-s8:g3")
        assert widest.codes.tolist() == [[15, 0, 8]]
        assert np.isfinite(widest.values()).all()
