"""The float32 adder against NumPy's, bit for bit, and the law that keeps subnormal numbers away."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.memory.float_add import MINUS_ZERO, FloatAdder
from hw.timing import FLOAT_ADD

SEED = 20260912
LEAST, GREATEST = 1, 254
"""Exponent fields of the smallest and largest normal numbers."""


def added(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Patterns of the sums that the hardware gives, each ``FLOAT_ADD`` cycles after its operands."""
    dut, result = FloatAdder(), []

    async def testbench(ctx):
        for cycle in range(len(a) + FLOAT_ADD):
            if cycle < len(a):
                ctx.set(dut.a, int(a[cycle]))
                ctx.set(dut.b, int(b[cycle]))
            if cycle >= FLOAT_ADD:
                result.append(ctx.get(dut.sum))
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    return np.array(result, np.uint32)


def check(a, b) -> None:
    """Equal to NumPy's sums of these patterns."""
    a, b = np.array(a, np.uint32), np.array(b, np.uint32)
    wanted = (a.view(np.float32) + b.view(np.float32)).view(np.uint32)
    magnitude = wanted & 0x7FFFFFFF
    lawful = (magnitude == 0) | ((magnitude >= LEAST << 23) & (magnitude < 0x7F800000))
    assert lawful.all(), "the operands are outside of what is promised"
    for i in np.flatnonzero(added(a, b) != wanted):
        raise AssertionError(f"{a[i]:#010x} + {b[i]:#010x} must be {wanted[i]:#010x}")


def number(sign: int, exponent: int, fraction: int) -> int:
    return sign << 31 | exponent << 23 | fraction


def test_edges():
    """Zeros of both signs, ties both ways, carries through all bits, cancellation to every length, every distance."""
    zeros = [0, MINUS_ZERO]
    one, ones = number(0, 127, 0), number(0, 127, 0x7FFFFF)
    pairs = [(x, y) for x in zeros for y in [*zeros, one, ones, number(1, LEAST, 1), number(0, GREATEST, 5)]]
    for sign in (0, 1):
        for distance in [*range(30), 63, 64, 127, 128, 200, 253]:
            for large in (0, 1, 2, 0x400000, 0x7FFFFE, 0x7FFFFF):
                for small in (0, 1, 0x3FFFFF, 0x400000, 0x400001, 0x7FFFFF):
                    # From the top, so that the distance finds room; no sum beyond the greatest.
                    pairs.append(
                        (number(0, GREATEST - 1, large), number(sign, GREATEST - 1 - distance, small))
                    )
        for place in range(24):
            for fraction in (0, 1, 0x2AAAAA, 0x555555, 0x7FFFFF):
                other = (fraction + (1 << place >> 1)) & 0x7FFFFF
                pairs += [
                    (number(0, 127, fraction), number(sign, 127, other)),
                    (number(0, 127, fraction), number(sign, 126, other)),
                ]
    pairs += [(y ^ MINUS_ZERO, x ^ MINUS_ZERO) for x, y in pairs]
    check(*zip(*pairs, strict=True))


def test_random_numbers():
    """Distances up to 40, half of the pairs close to cancelling, fractions with long runs of ones and zeros."""
    random = np.random.default_rng(SEED)
    count = 6000

    def numbers() -> np.ndarray:
        fraction = random.integers(0, 1 << 23, count) & random.choice([0x7FFFFF, 0x7F0000], count)
        fraction |= random.choice([0, 0x7FFFF0], count, p=[0.8, 0.2])
        pattern = random.integers(0, 2, count) << 31 | random.integers(100, 140, count) << 23 | fraction
        return np.where(random.random(count) < 0.05, pattern & MINUS_ZERO, pattern)

    a, b = numbers(), numbers()
    near = (a ^ MINUS_ZERO) + random.integers(-40, 41, count) * (1 << random.integers(0, 20, count))
    b = np.where((random.random(count) < 0.5) & (a & 0x7FFFFFFF > 0), near & 0xFFFFFFFF, b)
    check(a, b)


patterns = st.one_of(
    st.sampled_from([0, MINUS_ZERO]),
    st.builds(number, st.integers(0, 1), st.integers(30, 253), st.integers(0, (1 << 23) - 1)),
)


@settings(max_examples=30)
@given(st.lists(st.tuples(patterns, patterns), min_size=1, max_size=60))
def test_any_numbers(pairs):
    check(*zip(*pairs, strict=True))


@settings(max_examples=100)
@given(
    st.integers(-126, 60),
    st.integers(-(2**40), 2**40),
    st.integers(-(2**40), 2**40),
)
def test_multiples_of_a_unit_stay_multiples(unit, a, b):
    """The law: of numbers that are multiples of u, 2**-126 or more, the rounded sum is one, too, and so never subnormal."""
    u = Fraction(2) ** unit
    x, y = (np.float32(int(np.float32(value))) * np.float32(2.0**unit) for value in (a, b))
    for value in (x, y, x + y):
        assert (Fraction(float(value)) / u).denominator == 1
        assert value == 0 or abs(value) >= 2.0**-126


def test_minus_zero_leaves_every_pattern_alone():
    """Also such as are no numbers: what overwrites an accumulator passes the adder."""
    random = np.random.default_rng(SEED)
    a = (
        random.integers(1 << 23, 1 << 31, 500, dtype=np.uint32)
        | random.integers(0, 2, 500, dtype=np.uint32) << 31
    )
    a[:4] = 0, MINUS_ZERO, 0x7F800000, 0xFFC00001
    np.testing.assert_array_equal(added(a, np.full(500, MINUS_ZERO, np.uint32)), a)
