"""Digits of int8 operands: every value exactly, and the statistics that the paper and its code publish."""

import numpy as np
import pytest

from sim import digits


@pytest.mark.parametrize("name", ["EN-T", "MBE"])
def test_digits_are_worth_the_value(name):
    found = digits.CODES[name](digits.INT8)
    np.testing.assert_array_equal(digits.value(found), digits.INT8)
    assert (found.min(), found.max()) == (-2, 2)


def test_en_t_digits_of_a_negative_value_are_its_magnitudes():
    found = digits.en_t(digits.INT8)
    assert set(found[128:].ravel()) == {-1, 0, 1, 2}
    np.testing.assert_array_equal(found[1:128], -found[:128:-1])
    assert found[0].tolist() == [0, 0, 0, -2]
    assert found[128 + 27].tolist() == [-1, -1, 2, 0]


def test_bits():
    weights = 1 << np.arange(8)
    np.testing.assert_array_equal(digits.bits(digits.INT8) @ weights, digits.INT8 & 255)
    np.testing.assert_array_equal(digits.magnitude_bits(digits.INT8) @ weights, abs(digits.INT8))


def test_uniform_averages():
    found = {name: 256 * digits.average(code) for name, code in digits.CODES.items()}
    assert found == {"EN-T": 747, "MBE": 768, "two's complement": 1024, "sign and magnitude": 897}
    assert np.count_nonzero(digits.nonzero(digits.booth) <= 3) / 256 == 0.68359375


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("EN-T", [1.76, 2.11, 2.33, 2.49, 2.60]),
        ("MBE", [1.93, 2.29, 2.53, 2.67, 2.77]),
        ("sign and magnitude", [1.89, 2.34, 2.62, 2.82, 2.97]),
    ],
)
def test_normal_averages(name, published):
    found = [digits.average(digits.CODES[name], digits.normal(sigma)) for sigma in (10, 20, 30, 40, 50)]
    assert [round(one, 2) for one in found] == published


def test_normal_is_a_distribution():
    found = digits.normal(20)
    assert found.sum() == pytest.approx(1, abs=1e-15)
    np.testing.assert_array_equal(found[1:128], found[:128:-1])


def test_cycles_per_operand():
    found = [digits.cycles_per_operand(digits.en_t)]
    found += [digits.cycles_per_operand(digits.en_t, digits.normal(sigma)) for sigma in (10, 20, 30, 40, 50)]
    assert [round(one, 3) for one in found] == [2.924, 2.076, 2.342, 2.466, 2.559, 2.643]


def test_cycles():
    """Digits that are not zero, but one for a group of zeros; the last group is filled up."""
    assert digits.cycles(np.zeros((0, 4), dtype=int)) == 0
    assert digits.cycles(np.zeros((5, 4), dtype=int)) == 8
    assert digits.cycles(np.ones((5, 4), dtype=int)) == 20
    some = np.zeros((8, 4), dtype=int)
    some[1, 2], some[3, 2], some[6, 0] = -2, 1, -1
    assert digits.cycles(some) == 9


def test_what_is_refused():
    with pytest.raises(TypeError, match="values must be integers, not float64"):
        digits.en_t(np.zeros(2))
    with pytest.raises(ValueError, match="values must be -128 to 127, not 0 to 128"):
        digits.booth(np.array([0, 128]))
