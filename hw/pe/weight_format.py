"""Formats of bit-serial weights: their terms, and how they travel in words. No Amaranth here.

Reference: BitMoD, Chen et al., HPCA 2025, sections IV-A and V-C.
"""

from __future__ import annotations

import enum
import operator
from dataclasses import dataclass

NIBBLE = 4
"""Bits that a word has for each lane."""
FLOATING_TERMS = 2
"""Ones that the magnitude of a floating-point weight may have, and terms that it takes."""
MAGNITUDE_BITS = 5
"""Of a floating-point weight: FP4 in halves, FP3 in ones."""
MOST_SPECIAL = 0b11000
"""Greatest magnitude with no more than two ones."""


@dataclass(frozen=True)
class Way:
    """How weights travel: the upper ``high`` bits of ``NIBBLE // high`` successive weights of a lane share a nibble, the lower
    ``low`` ones of ``NIBBLE // low``. So formats of 3, 5 or 6 bits waste none.
    """

    high: int
    low: int


class WeightFormat(enum.IntEnum):
    """What a weight's code means: two's complement, or sign and magnitude with a special value for -0."""

    INT8 = 0
    INT6 = 1
    INT5 = 2
    INT4 = 3
    FP4 = 4
    FP3 = 5

    @property
    def bits(self) -> int:
        """Bits of a code."""
        return int(self.name[-1])

    @property
    def floating(self) -> bool:
        """Sign and magnitude; otherwise two's complement."""
        return self.name.startswith("FP")

    @property
    def terms(self) -> int:
        """Terms of a weight, and cycles that it takes: radix 4 Booth digits, or two leading ones."""
        return FLOATING_TERMS if self.floating else (self.bits + 1) // 2

    @property
    def values(self) -> tuple[int, int]:
        """Least and greatest weight: FP4 in halves, FP3 in ones, special values included."""
        if self.floating:
            return -MOST_SPECIAL, MOST_SPECIAL
        half = 1 << self.bits - 1
        return -half, half - 1

    @property
    def way(self) -> Way:
        """How it travels."""
        low = NIBBLE if self.bits >= NIBBLE else NIBBLE // 2
        return Way(high=self.bits - low, low=low)


def special_value(value: int) -> tuple[int, int]:
    """Sign and magnitude of a special value.

    Raises
    ------
    TypeError, ValueError
        It is not an integer, it does not fit, or its magnitude has three ones or more: a weight takes two terms.
    """
    value = operator.index(value)
    if abs(value) >> MAGNITUDE_BITS or abs(value).bit_count() > FLOATING_TERMS:
        raise ValueError(
            f"a special value must be {1 - (1 << MAGNITUDE_BITS)} to {(1 << MAGNITUDE_BITS) - 1} "
            f"with no more than {FLOATING_TERMS} ones in its magnitude, not {value!r}"
        )
    return int(value < 0), abs(value)
