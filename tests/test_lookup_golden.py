"""Lookups by the definition against what T-MAC's code and the published RTL of the LUT tensor core gave.

``vectors/lookup.npz``: of four cases (one and two bits, with and without zero points) all activations and tables and eight of 64
rows of weights that microsoft/T-MAC (7042f8f) made and multiplied; and eight of 64 inputs and outputs of
``fp_lut_array_b_cycle_stage1`` of the same repository's branch LUTTensorCore_ISCA25 (c3319db), simulated with two planes. All of
both where the files lie beside the checkout.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim import lookup

HERE = Path(__file__).parent
BESIDE = HERE.parents[1] / "shared" / "vectors"
TMAC = [
    dict(np.load(path))
    for path in (HERE / "vectors" / "lookup.npz", BESIDE / "tmac_lut.npz")
    if path.exists()
]
RTL = [
    dict(np.load(path))
    for path in (HERE / "vectors" / "lookup.npz", BESIDE / "luttc_rtl.npz")
    if path.exists()
]
TABLES = 16
"""Under a scale: 64 activations."""


@pytest.mark.parametrize("case", ["w1", "w1z", "w2", "w2z"])
@pytest.mark.parametrize("arrays", TMAC)
def test_tmac(arrays, case):
    """Tables, their scales, sums of activations, indices, int32 sums and the products themselves, bit for bit."""
    bits = int(case[1])
    given = {
        name.removeprefix(f"{case}_"): value for name, value in arrays.items() if name.startswith(f"{case}_")
    }
    x = given["x"][0]
    tables, scales = lookup.quantised_tables(x, tables_per_scale=TABLES)
    index = lookup.indices(given["w"], bits=bits, k=4)
    assert np.array_equal(tables, given["qlut"])
    assert np.array_equal(scales, given["lut_scales"])
    assert np.array_equal(lookup.biases(x, tables_per_scale=TABLES), given["lut_biases"])
    assert np.array_equal(index.transpose(1, 0, 2), given["idx"])
    assert np.array_equal(lookup.plane_sums(tables, index).T, given["cbits_int32"])
    y = lookup.tmac(
        x, given["w"], given["scales"], bits=bits, tables_per_scale=TABLES, zeros=given.get("zeros")
    )
    assert np.array_equal(y, given["y"])


@pytest.mark.parametrize("arrays", RTL)
def test_rtl(arrays):
    """float16 tables, recoded codes and results, bit for bit."""
    entries = lookup.half_float_table(arrays["b2_x"])
    codes = lookup.half_float_codes(arrays["b2_w"], bits=2)
    result = lookup.half_float_sums(entries, codes, arrays["b2_psum"], bits=2)
    assert np.array_equal(entries.view(np.uint16), arrays["b2_table"].view(np.uint16))
    assert np.array_equal(codes, arrays["b2_codes"])
    assert np.array_equal(result.view(np.uint16), arrays["b2_result"].view(np.uint16))


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_where_the_rtl_is_wrong(bits):
    """Activations of zero give zero in every plane; the published array gives 7 × 2**-14 with four bits."""
    codes = np.random.default_rng(bits).integers(1 << bits, size=(4, 16))
    entries = lookup.half_float_table(np.zeros((2, 4)))
    recoded = lookup.half_float_codes(codes, bits=bits)
    assert not lookup.half_float_sums(entries, recoded, np.zeros((2, 16)), bits=bits).any()


def test_too_great_is_infinite():
    entries = lookup.half_float_table(np.full((1, 4), 16000, np.float16))
    codes = lookup.half_float_codes(np.full((4, 1), 3), bits=2)
    assert np.isposinf(lookup.half_float_sums(entries, codes, np.zeros((1, 1)), bits=2)).all()


def numbers(least, most, size):
    return st.lists(st.integers(least, most), min_size=size, max_size=size)


@given(data=st.data(), bits=st.integers(1, 8), k=st.integers(2, 6), groups=st.integers(1, 5))
def test_group_is_the_sum_of_products(data, bits, k, groups):
    """Twice the activations times the weights less the zero point; without one, the reinterpreted weights alone."""
    size = k * groups
    x = np.array(data.draw(numbers(-128, 127, size)))
    codes = np.array(data.draw(numbers(0, (1 << bits) - 1, size)))
    zero = data.draw(st.integers(0, (1 << bits) - 1))
    assert lookup.group_sum(x, codes, bits=bits, k=k, zero=zero) == 2 * int(x @ (codes - zero))
    odd = 2 * codes - (1 << bits) + 1
    assert lookup.group_sum(x, codes, bits=bits, k=k) == int(x @ odd)
    assert lookup.group_result(x, codes, bits=bits, k=k, scale=200) == 200 * int(x @ odd)


@pytest.mark.parametrize(("k", "width"), [(2, 9), (3, 10), (4, 10), (5, 11), (6, 11)])
def test_bits_of_an_entry(k, width):
    """Four activations of -128 take no more than 10 bits, where the last is not negated."""
    extremes = np.array(np.meshgrid(*[[-128, 127]] * k)).reshape(k, -1).T
    half = lookup.half_table(extremes)
    assert half.min() >= -(1 << width - 1)
    assert half.max() < 1 << width - 1
    assert half.min() < -(1 << width - 2) or half.max() >= 1 << width - 2


@pytest.mark.parametrize("k", range(2, 7))
def test_every_index(k):
    x = np.random.default_rng(k).integers(-128, 128, size=k)
    entry, negative = lookup.recoded(np.arange(1 << k), k)
    half = np.broadcast_to(lookup.half_table(x), (1 << k, 1 << k - 1))
    assert np.array_equal(lookup.looked_up(half, entry, negative), lookup.table(x))


def test_a_scale_for_each_table():
    """Every table then reaches 127 or -127."""
    x = np.random.default_rng(3).normal(size=256).astype(np.float32)
    x[16:20] = 0
    tables, scales = lookup.quantised_tables(x, tables_per_scale=1)
    assert scales.shape == (64,)
    assert not tables[4].any()
    assert (np.abs(np.delete(tables, 4, 0)).max(1) == 127).all()
    with pytest.raises(ValueError, match="tables_per_scale must divide 64 tables, not 7"):
        lookup.quantised_tables(x, tables_per_scale=7)


@given(a=st.floats(width=32, min_value=-1e9, max_value=1e9), b=st.floats(width=32, min_value=-1e3, max_value=1e3),
       c=st.floats(width=32, min_value=-1e9, max_value=1e9))  # fmt: skip
def test_fused(a, b, c):
    """The nearest float32 to the exact value, where that is not too small for one."""
    got = lookup.fused(np.float32(a), np.float32(b), np.float32(c))
    exact = Fraction(a) * Fraction(b) + Fraction(c)
    around = [np.nextafter(got, np.float32(end)) for end in (-np.inf, np.inf)]
    assert all(abs(exact - Fraction(float(got))) <= abs(exact - Fraction(float(one))) for one in around)


def test_ternary():
    assert lookup.ternary_sum([-128, 127, 5], [-1, 1, 0]) == 255
