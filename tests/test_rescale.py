"""float32 to fp16 at the output: both golden models against the definition, the hardware against them."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.output.rescale import GREATEST, SCALE_BITS, Rescale
from hw.timing import FLOAT_REQUANTISE
from sim import golden, rescale

SEED = 20260913
COUNT = 6000


def exact(total: float, multiplier: float) -> float:
    """The definition in fractions: the nearest multiple of what an fp16 of that size is a multiple of, ties to even."""
    product = Fraction(total) * Fraction(multiplier)
    exponent = -14
    while abs(product) >= Fraction(2) ** (exponent + 1):
        exponent += 1
    unit = Fraction(2) ** (exponent - 10)
    return float(max(-65504, min(65504, round(product / unit) * unit)))


def patterns(random: np.random.Generator, exponents: tuple[int, int]) -> np.ndarray:
    """float32 of any sign, zeros among them; fractions with long runs of zeros as often as any."""
    fraction = random.integers(0, 1 << 23, COUNT) & random.choice([0x7FFFFF, 0x7F0000], COUNT)
    pattern = random.integers(0, 2, COUNT) << 31 | random.integers(*exponents, COUNT) << 23 | fraction
    return np.where(random.random(COUNT) < 0.05, pattern & 1 << 31, pattern).astype(np.uint32)


def cases() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Patterns of accumulators, biases and multipliers: results of every exponent, subnormal, too small and too large."""
    random = np.random.default_rng(SEED)
    accumulators, biases = patterns(random, (110, 150)), patterns(random, (100, 150))
    biases = np.where(random.random(COUNT) < 0.5, 0, biases).astype(np.uint32)
    multipliers = patterns(random, (90, 140)) & 0xFFFFFFC0
    # Ties of normal and subnormal numbers, the last number before saturation and the first after it, the ends of the range.
    ones = [0x3F801000, 0x3F803000, 0x3FFFF000, 0x3F800000, 0x3FFFE000, 0x3F7FFFFF, 0x3FC00000]
    powers = [(127 + e) << 23 for e in (0, 1, 15, 16, -14, -15, -16, -23, -24, -25, -26, -30)]
    for i, (one, power) in enumerate((one, power) for one in ones for power in powers):
        accumulators[i], biases[i], multipliers[i] = one, 0, power
    accumulators[200:204] = 1 << 23, 0x7F000000, 1 << 23, 0x7F000000
    biases[200:204] = 0
    multipliers[200:204] = 1 << 23, 0x7F7FFFC0, 0x7F7FFFC0, 0x80800000
    return accumulators, biases, multipliers


def floats(*arrays: np.ndarray) -> list[np.ndarray]:
    return [array.view(np.float32) for array in arrays]


def test_golden_models_equal_the_definition():
    """As bits, so that zeros have the sign of their product."""
    accumulators, biases, multipliers = floats(*cases())
    results = rescale.rescale(accumulators, biases, multipliers)
    assert results.dtype == np.float16
    other = golden.rescaled(accumulators[None], biases, multipliers)[0]
    np.testing.assert_array_equal(other.view(np.uint16), results.view(np.uint16))
    totals = accumulators + biases
    assert results.tolist() == [
        exact(float(total), float(factor)) for total, factor in zip(totals, multipliers, strict=True)
    ], f"seed {SEED}"
    np.testing.assert_array_equal(np.signbit(results), np.signbit(totals) ^ np.signbit(multipliers))
    fields = results.view(np.uint16) >> 10 & 31
    assert set(fields.tolist()) == set(range(31))


def test_hardware_equals_golden_with_exact_latency():
    accumulators, biases, multipliers = cases()
    random = np.random.default_rng(SEED + 1)
    raw = random.random(COUNT) < 0.1
    # Of a multiplier only the first bits count.
    noise = random.integers(0, 1 << 24 - SCALE_BITS, COUNT, dtype=np.uint32)
    wanted = rescale.rescale(*floats(accumulators, biases, multipliers)).view(np.uint16).astype(np.uint32)
    wanted = np.where(raw, accumulators, wanted)
    dut, results = Rescale(), []

    async def testbench(ctx):
        for cycle in range(COUNT + FLOAT_REQUANTISE):
            if cycle < COUNT:
                ctx.set(dut.accumulator, int(accumulators[cycle]))
                ctx.set(dut.bias, int(biases[cycle]))
                ctx.set(dut.multiplier, int(multipliers[cycle] | noise[cycle]))
                ctx.set(dut.raw, int(raw[cycle]))
            if cycle >= FLOAT_REQUANTISE:
                results.append(ctx.get(dut.result))
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    np.testing.assert_array_equal(np.array(results, np.uint32), wanted)


def test_constants_agree():
    """Each model states them for itself."""
    assert SCALE_BITS == golden.SCALE_BITS == rescale.SCALE_BITS
    assert np.uint16(GREATEST).view(np.float16) == golden.FP16_MAXIMUM
    assert rescale.GREATEST == GREATEST


@settings(max_examples=200)
@given(st.floats(2.0**-100, 2.0**100), st.booleans())
def test_short_is_the_nearest_of_18_bits(scale: float, negative: bool) -> None:
    scale = -scale if negative else scale
    short = golden.short(np.array([scale]))
    assert short.dtype == np.float32
    value = Fraction(float(short[0]))
    unit = Fraction(2) ** (int(np.frexp(scale)[1]) - SCALE_BITS)
    assert value == round(Fraction(scale) / unit) * unit
    np.testing.assert_array_equal(golden.short(short), short)


def test_short_knows_no_subnormal_numbers() -> None:
    scales = np.ldexp([1.0, 1 - 2.0**-18, 1 - 2.0**-19, -0.5], -126)
    assert golden.short(scales).tolist() == [2.0**-126, 0, 2.0**-126, 0]


def test_a_scale_that_is_too_long_is_refused():
    sums, bias = np.ones((1, 1), np.float32), np.zeros(1, np.float32)
    with pytest.raises(ValueError, match="scale must have significands of 18 bits at most"):
        golden.rescaled(sums, bias, np.array([1 + 2.0**-18], np.float32))


@pytest.mark.parametrize("place", range(3))
def test_other_types_are_refused(place):
    arguments = [np.ones(1, np.float32)] * 3
    arguments[place] = np.ones(1)
    name = ("accumulators", "bias", "multiplier")[place]
    with pytest.raises(TypeError, match=f"{name} must be an array of float32, not float64"):
        rescale.rescale(*arguments)
