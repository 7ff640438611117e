"""Operands that are drawn, the golden model of such, and layers whose sums do not fit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gen import config, workload
from gen.errors import RequestError
from hw.control.isa import OutputMode
from hw.formats import FORMATS, INT8, Format, Operand, find
from sim import golden

SECOND_LEVEL = [format for format in FORMATS.values() if format.scale == "int8"]
FP16 = find("fp16")


@pytest.mark.parametrize("format", SECOND_LEVEL, ids=lambda format: format.name)
@pytest.mark.parametrize("block", [16, 128])
def test_scales_selectors_and_zeros_are_drawn(format: Format, block: int) -> None:
    format = format.grouped(block)
    load = workload.random((3, 40 * block + 5, 9), "raw", 1, (INT8, format))
    scales, selectors = load.w.scales, load.w.selectors
    assert scales is not None
    assert scales.shape == (41, 9)
    assert 0 == scales.min() < 240 < scales.max() <= 255
    assert 0.02 < float(np.mean(scales == 0)) < 0.15
    numbers = {code for code, value in enumerate(format.values) if value is not None}
    assert set(load.w.codes.reshape(-1)) == numbers
    assert (load.w.zeros is None) == (format.offset == "")
    if load.w.zeros is not None:
        assert set(load.w.zeros.reshape(-1)) == set(range(1 << format.bits))
    assert (selectors is None) == (len(format.tables) == 1)
    if selectors is not None:
        assert set(selectors.reshape(-1)) == set(range(len(format.tables)))
    again = workload.random((3, 40 * block + 5, 9), "raw", 1, (INT8, format))
    np.testing.assert_array_equal(load.w.integers(), again.w.integers())
    assert load.golden().dtype == np.int32


@pytest.mark.parametrize("name", ["int8", "int4-s8", "int8-s8", "fp3-mixed-s8", "fp4-ea-s8"])
def test_outputs_are_all_over_int8(name: str) -> None:
    """Bias and multiplier go by the integers, scales included; the sums here are far from 2**31."""
    load = workload.random((128, 300, 128), "requantised", 3, (INT8, find(name)))
    result = load.golden()
    assert len(np.unique(result)) == 256
    assert 30 < result.std() < 100
    exact = load.x.integers().astype(object) @ load.w.integers()
    assert (np.abs(exact) < 1 << 31).all()
    wanted = golden.requantised_gemm(
        load.x.integers(), load.w.integers(), load.bias, load.multiplier, load.shift
    )
    np.testing.assert_array_equal(result, wanted)


def test_sums_wrap_as_those_of_the_hardware() -> None:
    load = workload.random((4, 2000, 6), "raw", 1, (INT8, find("int8-s8")))
    w = replace(load.w, codes=load.w.codes & 0x7F, scales=np.full((16, 6), 255))
    load = replace(load, x=Operand.activations(INT8, np.full((4, 2000), 127)), w=w)
    exact = load.x.integers().astype(object) @ w.integers()
    assert (exact >= 1 << 31).all()
    wanted = [(int(v) + (1 << 31)) % (1 << 32) - (1 << 31) for v in exact.reshape(-1)]
    assert load.golden().reshape(-1).tolist() == wanted


def test_int8_is_drawn_as_ever() -> None:
    """One generator in a fixed order: activations, weights, multipliers, bias."""
    load = workload.random((5, 9, 7), "requantised", 8)
    generator = np.random.default_rng(8)
    np.testing.assert_array_equal(load.x.codes, generator.integers(0, 256, (5, 9), dtype=np.uint8))
    np.testing.assert_array_equal(load.w.codes, generator.integers(0, 256, (9, 7), dtype=np.uint8))
    powers = [np.mean(operand.integers() ** 2.0) for operand in (load.x, load.w)]
    spread = np.sqrt(9 * powers[0] * powers[1])
    multiplier, shift = golden.dyadics(generator.uniform(40, 80, 7) / spread)
    np.testing.assert_array_equal(load.multiplier, multiplier)
    np.testing.assert_array_equal(load.shift, shift)
    bias = generator.integers(-int(spread), int(spread) + 1, 7, dtype=np.int32)
    np.testing.assert_array_equal(load.bias, bias)


@pytest.mark.parametrize("weights", ["int8", "int6-s8", "fp4-mixed-s8"])
def test_half_precision_is_drawn(weights: str) -> None:
    """Rows of moderate numbers, rows of every exponent, rows of both; zeros of both signs, subnormal numbers of both."""
    load = workload.random((40, 500, 3), "requantised", 2, (FP16, find(weights)))
    values = load.x.codes.view(np.float16)
    assert load.x.codes.dtype == np.uint16
    assert np.isfinite(values).all()
    _, exponents = np.frexp(values.astype(np.float64))
    widest = exponents.max(axis=1)
    wild = np.mean(np.abs(values) > 8, axis=1)
    assert {0 if share == 0 else 1 if share < 0.2 else 2 for share in wild} == {0, 1, 2}
    assert (widest[wild == 0] <= 3).all()
    assert (widest[wild > 0.2] == 16).all()
    subnormal = (values != 0) & (np.abs(values) < 2.0**-14)
    assert {bool(sign) for sign in np.signbit(values[subnormal])} == {False, True}
    assert {bool(sign) for sign in np.signbit(values[values == 0])} == {False, True}
    assert 0.03 < float(np.mean(values == 0)) < 0.1
    assert load.formats == ("fp16", weights)
    # By the numbers themselves, not by their units of 2**-24.
    sums = values.astype(np.float64) @ load.w.integers()
    scaled = sums * load.multiplier / 2.0 ** load.shift.astype(float)
    assert 20 < scaled.std() < 200


@pytest.mark.parametrize("seed", range(20))
def test_nothing_is_too_small_for_a_multiplier(seed: int) -> None:
    for format in (INT8, FP16):
        for weights in ("int8", "int4-s8", "fp3-er-s8"):
            load = workload.random((1, 1, 2), "requantised", seed, (format, find(weights)))
            assert (load.shift <= 63).all()
            assert load.mode is OutputMode.REQUANTISED


@pytest.mark.parametrize("weights", ["q4_0", "q4_1", "int4-asym:g32"])
def test_half_precision_scales_are_drawn(weights: str) -> None:
    """Finite ones of both signs and of every exponent, and zeros of both signs; minimums alike."""
    family = config.load("lut-gguf-m2n64k4").instance
    load = workload.random((2, 3200, 40), "requantised", 2, (INT8, find(weights)), family)
    drawn = [load.w.float_scales] + [load.w.minimums] * (weights == "q4_1")
    for each in drawn:
        assert each is not None
        assert (each.dtype, each.shape) == (np.float16, (100, 40))
        assert np.isfinite(each).all()
        magnitudes = np.abs(each[each != 0].astype(float))
        assert magnitudes.min() < 2.0**-14
        assert magnitudes.max() >= 2.0**15
        assert {bool(sign) for sign in np.signbit(each[each == 0])} == {False, True}
        assert 0.03 < float(np.mean(each == 0)) < 0.1
    assert (load.w.minimums is None) == (weights != "q4_1")
    assert (load.w.zeros is None) == (weights != "int4-asym:g32")
    assert load.golden().dtype == np.float16


def test_codes_without_a_number_are_not_drawn() -> None:
    load = workload.random((7, 50, 3), "raw", 1, (INT8, find("ternary")))
    assert set(load.w.codes.reshape(-1)) == {0, 1, 3}


def test_blocks_with_other_scales_are_refused() -> None:
    with pytest.raises(
        ValueError, match="scales must be given for a format with blocks alone, binary:g32 has 32"
    ):
        workload.random((2, 64, 2), "raw", 1, (INT8, find("binary:g32")))


def test_pairs_are_drawn() -> None:
    """Every normal value and every outlier, these beside a victim on either side; an odd last element is normal."""
    format = find("ovp4-int4")
    for axis, load in enumerate(
        workload.random((300, 41, 300), "raw", seed, (format, format)) for seed in (1, 2)
    ):
        operand = (load.x, load.w)[axis]
        values = operand.values() if axis == 0 else operand.values().T
        assert set(values[:, :-1].reshape(-1)) == {
            *range(-7, 8),
            *(v for v in format.outliers if v is not None),
        }
        assert set(values[:, -1]) == set(range(-7, 8))
        outlier = np.abs(values) > 7
        assert 0.1 < outlier.mean() < 0.15
        assert outlier[:, 0:40:2].any()
        assert outlier[:, 1:40:2].any()


@pytest.mark.parametrize(("weights", "least", "most"), [("mxfp4", -127, 127), ("nvfp4", -9, 8)])
def test_scales_of_other_types_are_drawn(weights: str, least: int, most: int) -> None:
    """Numbers of E8M0, moderate and of every size; of E4M3 any, and zeros."""
    family = config.load("mx-8x8").instance
    load = workload.random((2, 3200, 40), "requantised", 2, (find("mxfp8-e4m3"), find(weights)), family)
    drawn = load.w.float_scales
    assert drawn is not None
    exponents = np.frexp(drawn[drawn != 0])[1] - 1
    assert (exponents.min(), exponents.max()) == (least, most)
    assert float(np.mean(np.abs(exponents) <= 8)) > 0.2
    zeros = float(np.mean(drawn == 0))
    assert zeros == 0 if weights == "mxfp4" else 0.03 < zeros < 0.1
    assert load.golden().dtype == np.float16


def widest(name: str, depth: int) -> Operand:
    """Weights of the largest magnitude that the rule writes, with the largest scales."""
    format = find(name)
    selectors = None
    table = max(range(len(format.tables)), key=lambda number: max(format.tables[number]))
    if len(format.tables) > 1:
        selectors = np.full((-(-depth // 128), 2), table, np.uint8)
    values = np.full((depth, 2), format.maximum)
    return Operand.weights(format, values, np.full((-(-depth // 128), 2), 255), selectors)


@pytest.mark.parametrize(
    ("name", "depth"),
    [
        ("int8-s8", 522), ("int6-s8", 2139), ("int5-s8", 4420), ("int4-s8", 9473),
        ("fp4-mixed-s8", 4144), ("fp3-mixed-s8", 11051),
    ],
)  # fmt: skip
def test_the_law_of_widths(name: str, depth: int) -> None:
    """The depths up to which any weights and activations pass."""
    for steps in (depth, depth + 1):
        x = Operand.activations(INT8, np.full((1, steps), -127))
        w = widest(name, steps)
        exact = abs(int(x.integers()[0].astype(object) @ w.integers()[:, 0]))
        assert (exact < 1 << 31) == (steps == depth)
        if steps == depth:
            workload.check_width("blk.0.ffn_down", x, w)
            continue
        with pytest.raises(RequestError) as caught:
            workload.check_width("blk.0.ffn_down", x, w)
        assert str(caught.value) == (
            f"--layer 'blk.0.ffn_down': sums in {name} must stay below 2**31, but those of feature 0 could reach {exact}"
        )


def test_the_bound_is_exactly_2_to_the_31() -> None:
    """Of another feature than the first; whatever the signs."""
    wide = Format(name="wide", bits=9, tables=([1 << 24, (1 << 24) - 1, -(1 << 24)] * 170 + [0, 1],))
    x = Operand.activations(INT8, np.array([[-128, 127], [1, 1]]))
    w = Operand.weights(wide, np.array([[1, 0], [0, (1 << 24) - 1]]))
    workload.check_width("a", x, w)
    w = Operand.weights(wide, np.array([[1, 0], [0, -(1 << 24)]]))
    with pytest.raises(RequestError, match=r"those of feature 1 could reach 2147483648$"):
        workload.check_width("a", x, w)
