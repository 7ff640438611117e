"""A number format as a table: code by code the exact integer that it stands for."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Format:
    """A format of 1 to 16 bits whose codes stand for integers (a scale, if any, is applied outside the element).

    Parameters
    ----------
    name : str
        As in configurations and on the command line.
    bits : int
        Bits of a stored code.
    values : tuple of int
        What code 0, code 1, ... stands for; ``2 ** bits`` of them.
    block : int
        Steps of K that share a scale within the sum; 0 when there is none.

    Raises
    ------
    TypeError, ValueError
        When the table does not belong to that many bits, or a value is not an integer.
    """

    name: str
    bits: int
    values: tuple[int, ...]
    block: int = 0

    def __post_init__(self) -> None:
        bits = operator.index(self.bits)
        if not 1 <= bits <= 16:
            raise ValueError(f"bits of format {self.name} must be 1 to 16, not {self.bits!r}")
        if len(self.values) != 1 << bits:
            raise ValueError(f"values of format {self.name} must be {1 << bits}, not {len(self.values)}")
        if operator.index(self.block) < 0:
            raise ValueError(f"block of format {self.name} must be 0 or more, not {self.block!r}")
        object.__setattr__(self, "bits", bits)
        object.__setattr__(self, "values", tuple(operator.index(v) for v in self.values))

    @property
    def minimum(self) -> int:
        """Smallest value that a code stands for."""
        return min(self.values)

    @property
    def maximum(self) -> int:
        """Largest value that a code stands for."""
        return max(self.values)

    @property
    def code_type(self) -> np.dtype:
        """Type of arrays of codes."""
        return np.dtype(np.uint8 if self.bits <= 8 else np.uint16)

    @cached_property
    def _table(self) -> np.ndarray:
        return np.array(self.values, dtype=np.int64)

    @cached_property
    def _sorted(self) -> tuple[np.ndarray, np.ndarray]:
        """The values that there are, rising, and a code of each: the lowest when several share it (two zeros, say)."""
        values, codes = np.unique(self._table, return_index=True)
        return values, codes.astype(self.code_type)

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """The exact values (int64) of ``codes``."""
        codes = np.asarray(codes)
        if codes.size and not 0 <= int(codes.min()) <= int(codes.max()) < len(self.values):
            raise ValueError(
                f"codes of {self.name} must be 0 to {len(self.values) - 1}, not {codes.min()} to {codes.max()}"
            )
        return self._table[codes]

    def encode(self, values: np.ndarray) -> np.ndarray:
        """The codes (``code_type``) of ``values``, each of which must be one that the format has."""
        values = np.asarray(values)
        known, codes = self._sorted
        place = np.minimum(np.searchsorted(known, values), len(known) - 1)
        missing = known[place] != values
        if missing.any():
            raise ValueError(f"values must be those of {self.name}, not {values[missing].reshape(-1)[0]}")
        return codes[place]
