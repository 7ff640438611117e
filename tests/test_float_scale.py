# amaranth: UnusedElaboratable=no
"""Sums times fp16 scales against the exact product, rounded once, bit for bit; timing, mapped cells."""

from fractions import Fraction

import numpy as np
import pytest
from halves import wide
from hypothesis import given, settings
from hypothesis import strategies as st
from mapped import run_component, run_mapped
from test_block_ram import number, synthesised
from test_lookup import operands

from hw.pe.float_scale import FloatScale, HalfScale
from hw.pe.lookup_times import product_cycles
from hw.pe.row_product import RowProduct
from sim import lookup

SCALES = [
    0,
    1,
    2,
    3,
    0x155,
    0x200,
    0x3FF,
    0x400,
    0x401,
    0x7FF,
    0x3C00,
    0x3C01,
    0x3FFF,
    0x5555,
    0x7BFE,
    0x7BFF,
]
FINITE = 0x7C00


def float16(patterns):
    return np.asarray(patterns).astype(np.uint16).view(np.float16)


def products(unit, totals, scales, **more):
    """float32 patterns, one in each cycle."""
    stimulus = [
        {"total": int(total), "scale": int(scale)} | more for total, scale in zip(totals, scales, strict=True)
    ]
    seen = run_component(unit, [*stimulus, *[{}] * unit.latency])
    return np.array([one["result"] for one in seen[unit.latency :]], np.uint32)


def check(width, totals, scales):
    wanted = lookup.float_result(totals, float16(scales)).view(np.uint32)
    got = products(FloatScale(width=width), np.asarray(totals) % (1 << width), scales)
    np.testing.assert_array_equal(got, wanted)


def check_halves(sums, scales):
    wanted = lookup.float_result(float16(sums), float16(scales))
    magnitude = wanted.view(np.uint32) & 0x7FFFFFFF
    assert ((magnitude == 0) | (magnitude >= 1 << 23)).all()
    for half in (0, 1):
        got = products(HalfScale(), [wide(int(one)) for one in sums], scales, half=half)
        # None is so small that its half is subnormal.
        np.testing.assert_array_equal(got, (wanted / np.float32(1 + half)).view(np.uint32))


def nearest(value: Fraction) -> Fraction:
    """Of 24 bits, ties to even."""
    exponent = 0
    while abs(value) >= Fraction(2) ** (exponent + 24):
        exponent += 1
    while value and abs(value) < Fraction(2) ** (exponent + 23):
        exponent -= 1
    return round(value / Fraction(2) ** exponent) * Fraction(2) ** exponent


def test_golden_model_equals_the_definition():
    random = np.random.default_rng(5)
    totals = [*random.integers(-(1 << 23), 1 << 23, size=600), -(1 << 23), 0, 1]
    scales = float16(random.integers(FINITE, size=len(totals)))
    for total, scale, got in zip(totals, scales, lookup.float_result(totals, scales), strict=True):
        assert Fraction(float(got)) == nearest(int(total) * Fraction(float(scale)))
    assert not lookup.float_result([0], np.float16([-1])).view(np.uint32)[0]


@pytest.mark.parametrize("width", [2, 13, 14, 15, 22])
def test_edges(width):
    """The ends and powers of two, times subnormals, zeros and the greatest scale, in all signs."""
    top = 1 << width - 1
    totals = sorted(
        {
            0,
            top - 1,
            -top,
            *(s * v for i in range(width - 1) for v in (1 << i, (1 << i) - 1) for s in (-1, 1)),
        }
    )
    pairs = [(total, scale | sign) for total in totals for scale in SCALES for sign in (0, 0x8000)]
    check(width, *zip(*pairs, strict=True))


@pytest.mark.parametrize("width", [22])
def test_random(width):
    """Ties among them: products of few bits beyond the 24."""
    random = np.random.default_rng(width)
    totals = random.integers(-(1 << width - 1), 1 << width - 1, size=2500) >> random.integers(
        width, size=2500
    )
    scales = random.integers(FINITE, size=2500) | random.integers(2, size=2500) << 15
    totals[:1500] = totals[:1500] >> 9 << 9
    scales[500:1500] &= ~0x1F
    bits = np.abs(totals) * np.where(scales >> 10 & 31, 1024 | scales & 1023, scales & 1023)
    lost = np.maximum(np.frexp(bits.astype(float))[1] - 24, 0)
    assert ((lost > 0) & (bits & (1 << lost) - 1 == 1 << lost >> 1)).sum() > 20
    check(width, totals, scales)


@settings(max_examples=10)
@given(
    width=st.integers(2, 22),
    pairs=st.lists(st.tuples(st.integers(-(1 << 23), (1 << 23) - 1), st.integers(0, FINITE - 1), st.booleans()), min_size=1),
)  # fmt: skip
def test_any(width, pairs):
    totals = [total >> 24 - width for total, _, _ in pairs]
    check(width, totals, [scale | minus << 15 for _, scale, minus in pairs])


def test_halves():
    """fp16 sums, subnormal ones among them: exact, never subnormal."""
    random = np.random.default_rng(9)
    sums, scales = (
        np.where(random.random(2000) < 0.3, random.choice(SCALES, 2000), random.integers(FINITE, size=2000))
        | random.integers(2, size=2000) << 15
        for _ in range(2)
    )
    check_halves(sums, scales)
    exact = lookup.float_result(float16(sums), float16(scales)).astype(float)
    np.testing.assert_array_equal(exact, float16(sums).astype(float) * float16(scales).astype(float))
    pairs = [(a | x, b | y) for a in SCALES for b in SCALES for x in (0, 0x8000) for y in (0, 0x8000)]
    check_halves(*np.array(pairs).T)


@pytest.mark.parametrize("make", [lambda: FloatScale(width=22), lambda: FloatScale(width=12), HalfScale])
def test_mapped(make):
    """The synthesised cells do what the component does, whatever the operands."""
    module, _ = synthesised(make())
    random = np.random.default_rng(7)
    widths = operands(make())
    stimulus = [
        {"rst": int(cycle % 97 < 2)} | {name: number(random, width) for name, width in widths.items()}
        for cycle in range(300)
    ]
    assert run_mapped(module, stimulus) == run_component(make(), stimulus)


@pytest.mark.parametrize(("bits", "factor_bits"), [(2, 2), (5, 4), (11, 11), (24, 24), (32, 5)])
def test_row_product(bits, factor_bits):
    random = np.random.default_rng(bits)
    pairs = [(number(random, bits), number(random, factor_bits)) for _ in range(300)]
    pairs += [(a, b) for a in (0, 1, (1 << bits) - 1) for b in (0, 1, (1 << factor_bits) - 1)]
    late = product_cycles(factor_bits)
    stimulus = [{"number": a, "factor": b} for a, b in pairs]
    seen = run_component(RowProduct(bits=bits, factor_bits=factor_bits), [*stimulus, *[{}] * late])
    assert [one["product"] for one in seen[late:]] == [a * b for a, b in pairs]


def test_refused():
    with pytest.raises(ValueError, match="factor_bits must be 2 to 32, not 33"):
        RowProduct(bits=2, factor_bits=33)
    with pytest.raises(ValueError, match="width must be 2 to 22, not 23"):
        FloatScale(width=23)
    with pytest.raises(TypeError, match="integer"):
        FloatScale(width=22.0)
