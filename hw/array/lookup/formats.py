"""What table-lookup arrays may be asked for, and the formats of their weights. No Amaranth here."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Literal

JUDGED = 2
"""Cycles from the last word of a group to all faults of its addresses."""
Tables = Literal[2, 4]
"""Activations of a table."""
Lookups = Literal[1, 2, 4, 8, 16, 32]
"""Lookups that are summed before an accumulator."""
Ternary = Literal["planes", "direct"]
"""How ternary weights are multiplied: two bit planes are looked up, or they say what is added."""
Scales = Literal["int8", "fp16"]
"""Type of groups' scales: whole numbers 0 to 255, and results of int32; or half precision, and results of float32."""
Activations = Literal["int8", "fp16"]
"""What tables are made of: int8, their sums exact; or fp16, whose sums are, too."""
Entries = Literal["exact", "int8"]
"""Entries of tables: sums of activations, or these quantised."""


class Offset(enum.IntEnum):
    """What is taken off a weight of reinterpreted value q' (``sim.lookup``)."""

    NONE = 0
    """Nothing: the weight is q', an odd number (bipolar, binary)."""
    TWOS = 1
    """One: the weight is (q' - 1) / 2, two's complement with its highest bit inverted."""
    ZERO = 2
    """z' of a zero point of the group: the weight is (q' - z') / 2 = q - z."""
    PLAIN = 3
    """What makes it q itself, unsigned: (q' + 2**bits - 1) / 2."""


@dataclass(frozen=True, kw_only=True)
class LookupFormat:
    """How weights travel and what they mean: bit planes, and what is taken off."""

    bits: int
    offset: Offset
    minimum: bool = False
    """Groups have an fp16 minimum beside their fp16 scale: the sum of the activations times that is a result of its own."""

    @property
    def passes(self) -> int:
        """Results of a group for each accumulator."""
        return 1 + self.minimum

    @property
    def middle(self) -> int:
        """What makes codes of two's complement unsigned; their zero point."""
        return 1 << self.bits - 1 if self.offset is Offset.TWOS else 0

    @property
    def doubled(self) -> bool:
        """Whether sums of planes are twice what the weights say: halves are taken at the end."""
        return self.offset is not Offset.NONE
