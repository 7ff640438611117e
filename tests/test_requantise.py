"""Output stage: golden model against published values, hardware against the golden model."""

import random
from pathlib import Path

import numpy as np
import pytest
from amaranth.sim import Simulator

from hw.output.requantise import Requantise
from hw.timing import REQUANTISE
from sim.golden import dyadic
from sim.requantise import requantise

SEED = 20260707
INT32 = (-(1 << 31), (1 << 31) - 1)

# Outputs of HAWQ-v3's published code (Zhen-Dong/HAWQ 1616df6) for 8 rows of 256 features; ``scale`` is what it started from.
HAWQ = Path(__file__).parent / "vectors" / "hawq.npz"


def exact(accumulator, bias, multiplier, shift):
    """The definition, in Python's integers."""
    value = (accumulator + bias) * multiplier + (1 << shift >> 1) >> shift
    return max(-128, min(127, value))


def cases(count):
    """Corners, values close to ties and to saturation, and anything."""
    generator = random.Random(SEED)
    corners = [*INT32, -1, 0, 1, 127, -128, 128, -129]
    for shift in range(64):
        for accumulator in corners:
            yield accumulator, 0, 1, shift
            yield (
                accumulator,
                generator.choice(corners),
                generator.choice([0, 1, 1 << 31, (1 << 32) - 1]),
                shift,
            )
    for _ in range(count):
        shift = generator.randrange(64)
        multiplier = generator.randrange(1 << generator.randint(1, 32))
        if generator.random() < 0.7:
            # A value whose result lies about the int8 range, often close to a tie.
            twice = generator.randint(-2 * 140, 2 * 140)
            total = (twice << shift >> 1) // max(1, multiplier) + generator.randint(-1, 1)
        else:
            total = generator.randint(-(1 << generator.randint(1, 32)), 1 << generator.randint(1, 32))
        bias = generator.randint(-(1 << generator.randint(0, 31)), (1 << generator.randint(0, 31)) - 1)
        yield min(max(total - bias, INT32[0]), INT32[1]), bias, multiplier, shift


def test_golden_equals_published_outputs():
    vectors = np.load(HAWQ)
    result = requantise(vectors["accumulators"], 0, vectors["multiplier"], vectors["shift"])
    np.testing.assert_array_equal(result, vectors["outputs"])


def test_dyadic_equals_published_multipliers():
    vectors = np.load(HAWQ)
    for scale, multiplier, shift in zip(
        vectors["scale"], vectors["multiplier"], vectors["shift"], strict=True
    ):
        assert dyadic(float(scale)) == (int(multiplier), int(shift))


def test_golden_equals_definition():
    stimulus = list(cases(2000))
    result = requantise(*np.array(stimulus, dtype=np.int64).T)
    assert result.dtype == np.int8
    assert result.tolist() == [exact(*case) for case in stimulus], f"seed {SEED}"
    # One at a time: most of them fit into 64 bits.
    assert [int(requantise(*case)) for case in stimulus] == result.tolist(), f"seed {SEED}"


@pytest.mark.parametrize(
    ("place", "value", "text"),
    [
        (0, 1 << 31, "accumulators must be -2147483648 to 2147483647, not 2147483648"),
        (1, -(1 << 31) - 1, "bias must be"),
        (2, -1, "multiplier must be 0 to 4294967295, not -1"),
        (3, 64, "shift must be 0 to 63, not 64"),
    ],
)
def test_golden_refuses(place, value, text):
    arguments = [0, 0, 1, 0]
    arguments[place] = value
    with pytest.raises(ValueError, match=text):
        requantise(*arguments)


def test_hardware_equals_golden_with_exact_latency():
    stimulus = list(cases(1500))
    generator = random.Random(SEED + 1)
    raw = [generator.random() < 0.1 for _ in stimulus]
    expected = [
        case[0] & 0xFFFFFFFF if passed else exact(*case) & 0xFF
        for case, passed in zip(stimulus, raw, strict=True)
    ]
    results = []
    dut = Requantise()

    async def testbench(ctx):
        for cycle in range(len(stimulus) + REQUANTISE):
            if cycle < len(stimulus):
                accumulator, bias, multiplier, shift = stimulus[cycle]
                ctx.set(dut.accumulator, accumulator)
                ctx.set(dut.bias, bias)
                ctx.set(dut.multiplier, multiplier)
                ctx.set(dut.shift, shift)
                ctx.set(dut.raw, raw[cycle])
            if cycle >= REQUANTISE:
                results.append(ctx.get(dut.result))
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    assert results == expected, f"seed {SEED}"
