"""What bit-serial hardware must give, from the paper's definition: terms of weights, sums of groups.

Reference: BitMoD, Chen et al., HPCA 2025, section IV-A and equation 4. Plain integers; no Amaranth here.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Term = tuple[int, int, int, int]
"""Sign, exponent, man, significance."""

INTEGERS = {"int8": 8, "int6": 6, "int5": 5, "int4": 4}
"""Bits of two's complement."""
FLOATS = {"fp4": (0, 1, 2, 3, 4, 6, 8, 12), "fp3": (0, 1, 2, 4)}
"""Magnitudes by code without its sign: E2M1 in halves, and FP3 in ones (table IV)."""

_BOOTH = {0: 0, 1: 1, 2: 1, 3: 2, 4: -2, 5: -1, 6: -1, 7: 0}
"""Digit of each string of three bits (figure 4)."""


def value(code: int, format: str, special: int) -> int:
    """The weight that ``code`` stands for; ``special`` is the value of -0."""
    if format in INTEGERS:
        bits = INTEGERS[format]
        return code - (code >> bits - 1 << bits)
    magnitudes = FLOATS[format]
    if code == len(magnitudes):
        return special
    return magnitudes[code] if code < len(magnitudes) else -magnitudes[code - len(magnitudes)]


def integer_terms(number: int, bits: int) -> list[Term]:
    """Radix 4 Booth digits of ``number``, the lowest first."""
    terms = []
    for low in range(0, bits, 2):
        # Bits low + 1, low and low - 1; below the lowest there is a 0, above the highest the sign goes on.
        digit = _BOOTH[(number << 1 >> low) & 7]
        terms.append((int(digit < 0), int(abs(digit) == 2), int(digit != 0), low))
    return terms


def magnitude_terms(sign: int, magnitude: int) -> list[Term]:
    """The leading one of the upper four of five bits, and the one that is left in the lower four.

    Raises ``ValueError`` when that is not all of ``magnitude``.
    """
    terms, left = [], magnitude
    for significance in (1, 0):
        seen = left >> significance & 15
        if seen:
            exponent = seen.bit_length() - 1
            terms.append((sign, exponent, 1, significance))
            left -= 1 << exponent + significance
        else:
            terms.append((0, 0, 0, significance))
    if left:
        raise ValueError(f"a magnitude must have no more than two ones in five bits, not {magnitude!r}")
    return terms


def terms(code: int, format: str, special: int = 0) -> list[Term]:
    """The terms of a weight in the order in which they are taken."""
    number = value(code, format, special)
    if format in INTEGERS:
        return integer_terms(number, INTEGERS[format])
    return magnitude_terms(int(number < 0), abs(number))


def term_value(term: Term) -> int:
    """Equation 4."""
    sign, exponent, man, significance = term
    return (-1) ** sign * man << exponent + significance


def group_result(
    activations: Sequence[int] | np.ndarray,
    codes: Sequence[int] | np.ndarray,
    *,
    format: str,
    special: int,
    scale: int,
) -> int:
    """The scaled dot product of a group of weights with as many activations."""
    weights = [value(int(code), format, special) for code in codes]
    return scale * sum(int(a) * w for a, w in zip(activations, weights, strict=True))
