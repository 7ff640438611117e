"""Digits of radix 4 in which multipliers take an int8 operand, and how many of them are not zero. Plain NumPy.

Reference: "Exploring the Performance Improvement of Tensor Processing Engines through Transformation in the Bit-weight Dimension
of MACs", HPCA 2025, sections 2 and 4.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

DIGITS = 4
"""Of an int8 operand."""
GROUP = 4
"""Operands whose digits of one weight are looked through together."""
INT8 = np.arange(-128, 128)

Digits = Callable[[np.ndarray], np.ndarray]


def _checked(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values)
    if values.dtype.kind not in "iu":
        raise TypeError(f"values must be integers, not {values.dtype}")
    if values.size and not -128 <= values.min() <= values.max() <= 127:
        raise ValueError(f"values must be -128 to 127, not {int(values.min())} to {int(values.max())}")
    return values.astype(np.int64)


def booth(values: np.ndarray) -> np.ndarray:
    """Modified Booth digits, -2 to 2, lowest first: int [..., 4]."""
    doubled = (_checked(values) & 255) << 1
    triples = [doubled >> 2 * place & 7 for place in range(DIGITS)]
    return np.stack([(t & 1) + (t >> 1 & 1) - 2 * (t >> 2) for t in triples], axis=-1)


def en_t(values: np.ndarray) -> np.ndarray:
    """EN-T digits, lowest first: int [..., 4]. Those of the magnitude are -1 to 2; a negative value's are these with a minus."""
    values = _checked(values)
    left = abs(values)
    found = []
    for _ in range(DIGITS):
        digit = (left + 1) % 4 - 1
        found.append(digit)
        left = (left - digit) // 4
    return np.stack(found, axis=-1) * np.where(values < 0, -1, 1)[..., None]


def bits(values: np.ndarray) -> np.ndarray:
    """Bits in two's complement: int [..., 8]."""
    return _checked(values)[..., None] >> np.arange(8) & 1


def magnitude_bits(values: np.ndarray) -> np.ndarray:
    """Bits of the magnitude: int [..., 8]."""
    return np.abs(_checked(values))[..., None] >> np.arange(8) & 1


CODES: dict[str, Digits] = {
    "EN-T": en_t,
    "MBE": booth,
    "two's complement": bits,
    "sign and magnitude": magnitude_bits,
}


def value(digits: np.ndarray) -> np.ndarray:
    """What digits of radix 4, [..., 4], are worth."""
    return (np.asarray(digits) * 4 ** np.arange(DIGITS)).sum(axis=-1)


def nonzero(code: Digits) -> np.ndarray:
    """Digits that are not zero, of every int8 from -128 on: int [256]."""
    return np.count_nonzero(code(INT8), axis=-1)


def normal(sigma: float) -> np.ndarray:
    """Probability of every int8, in proportion to the density of a normal variable around 0: float64 [256]."""
    density = np.exp(-((INT8 / sigma) ** 2) / 2)
    return density / density.sum()


UNIFORM = np.full(256, 1 / 256)


def average(code: Digits, probability: np.ndarray = UNIFORM) -> float:
    """Digits that are not zero, on average."""
    return float(nonzero(code) @ probability)


def cycles(digits: np.ndarray) -> int:
    """Cycles in which a digit-serial element takes ``digits`` [K, 4]: a digit that is not zero each, a group of zeros one.

    Groups are of ``GROUP`` operands' digits of one weight; what is missing from the last is zero.
    """
    digits = np.asarray(digits)
    padded = np.zeros((-(-len(digits) // GROUP) * GROUP, DIGITS), dtype=bool)
    padded[: len(digits)] = digits != 0
    return int(np.maximum(padded.reshape(-1, GROUP, DIGITS).sum(axis=1), 1).sum())


def cycles_per_operand(code: Digits, probability: np.ndarray = UNIFORM) -> float:
    """What ``cycles`` gives on average for an operand, if operands are independent."""
    found = 0.0
    for place in range(DIGITS):
        zero = float((code(INT8)[:, place] == 0) @ probability)
        found += (GROUP * (1 - zero) + zero**GROUP) / GROUP
    return found
