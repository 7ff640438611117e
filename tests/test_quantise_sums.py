"""Sums in PyTorch's order: equal to PyTorch's own, and to the order stated addition by addition."""

from __future__ import annotations

import numpy as np
import pytest

from sim.quantise import sums

PYTORCH = {
    1: 1.0,
    2: -0.41421353816986084,
    3: 1.3178372383117676,
    4: 3.3178372383117676,
    5: 1.081769347190857,
    6: 3.531259059906006,
    7: 6.177010536193848,
    8: 3.348583459854126,
    9: 6.3485822677612305,
    16: 17.39521598815918,
    17: 13.272109031677246,
    33: 42.91382598876953,
    127: 327.2585754394531,
    128: 315.94488525390625,
    129: 327.30267333984375,
    1000: 7053.44775390625,
    32767: 1318233.0,
}
"""Sums of so many ``roots`` by PyTorch 2.13.0 (CPU, one thread)."""


def roots(count: int) -> np.ndarray:
    """Square roots of 1 and up, which float32 rounds alike everywhere; the second of every three is negative."""
    signs = np.where(np.arange(count) % 3 == 1, np.float32(-1), np.float32(1))
    return np.sqrt(np.arange(1, count + 1, dtype=np.float32)) * signs


def stated(values: np.ndarray) -> np.float32:
    """The sum of a row, one addition after another.

    Numbers go in vectors of 8, or singly if they are fewer than 8. Four vectors at a time are added to four sums. After 16 such
    rounds (32 if there are more than 2**19 of them) the four are carried to four sums above and begin anew; after 16 carries
    these to the next ones, and so thrice. The sums of higher levels are added to the lowest; vectors that are left, to the first
    of the four; the others of the four to that. The numbers that are left come before the elements of this vector.
    """
    lanes = 8 if len(values) >= 8 else 1
    width = 4 * lanes
    rounds = len(values) // width
    step = 32 if rounds > 1 << 19 else 16
    levels = [np.zeros(width, np.float32) for _ in range(4)]
    for done in range(1, rounds + 1):
        levels[0] += values[(done - 1) * width : done * width]
        for level in (1, 2, 3):
            if done % step**level:
                break
            levels[level] += levels[level - 1]
            levels[level - 1] = np.zeros(width, np.float32)
    first, *others = (levels[0] + levels[1] + levels[2] + levels[3]).reshape(4, lanes)
    rest = values[rounds * width :]
    while len(rest) >= lanes:
        first = first + rest[:lanes]
        rest = rest[lanes:]
    for chain in others:
        first = first + chain
    result = np.float32(0)
    for one in (*rest, *first):
        result = result + one
    return result


@pytest.mark.parametrize("count", PYTORCH)
def test_equal_to_pytorch(count: int) -> None:
    assert sums.total(roots(count)) == np.float32(PYTORCH[count])
    assert stated(roots(count)) == np.float32(PYTORCH[count])


@pytest.mark.parametrize(
    "count", [*range(1, 10), 16, 17, 31, 32, 33, 100, 127, 128, 129, 512, 1000, 4096, 3 * 8192 + 777]
)
def test_the_order_as_stated(count: int) -> None:
    """Of rows of a matrix as of a row alone."""
    values = np.random.default_rng(count).standard_normal((4, 5, count), dtype=np.float32)
    wanted = np.array([[stated(row) for row in rows] for rows in values])
    got = sums.total(values)
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, wanted)
    np.testing.assert_array_equal([sums.total(row) for row in values[0]], wanted[0])
    np.testing.assert_array_equal(sums.mean(values), wanted / np.float32(count))


@pytest.mark.parametrize("count", [1 << 17, 1 << 18, 1 << 24, (1 << 24) + 45])
def test_long_sums_have_longer_steps(count: int) -> None:
    """All levels are in use; the last has 2**19 + 1 rounds."""
    values = np.random.default_rng(count).standard_normal(count, dtype=np.float32)
    assert sums.total(values) == stated(values)


def test_nothing_zeros_and_what_is_beyond_float32() -> None:
    most = float(np.finfo(np.float32).max)
    values = np.array([[-0.0, -0.0], [most, most], [-most, -most], [np.inf, -np.inf]], np.float32)
    found = sums.total(values)
    assert found[:3].tolist() == [0, np.inf, -np.inf]
    assert not np.signbit(found[0])
    assert np.isnan(found[3])
    assert sums.total(values[:2, :0]).tolist() == [0, 0]


def test_other_types_are_refused() -> None:
    with pytest.raises(TypeError, match="values must be of float32, not float64"):
        sums.total(np.ones(3))
