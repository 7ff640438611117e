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
    families : tuple of str
        Names of the array families that take it.

    Raises
    ------
    TypeError, ValueError
        When the table does not belong to that many bits, or a value is not an integer.
    """

    name: str
    bits: int
    values: tuple[int, ...]
    families: tuple[str, ...]

    def __post_init__(self) -> None:
        bits = operator.index(self.bits)
        if not 1 <= bits <= 16:
            raise ValueError(f"bits of format {self.name} must be 1 to 16, not {self.bits!r}")
        if len(self.values) != 1 << bits:
            raise ValueError(f"values of format {self.name} must be {1 << bits}, not {len(self.values)}")
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

    @cached_property
    def _table(self) -> np.ndarray:
        return np.array(self.values, dtype=np.int64)

    @cached_property
    def _codes(self) -> dict[int, int]:
        # A value that several codes share (two zeros, say) is written with the lowest of them.
        return {value: code for code, value in reversed(list(enumerate(self.values)))}

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """The exact values (int64) of ``codes``."""
        codes = np.asarray(codes)
        if codes.size and not 0 <= int(codes.min()) <= int(codes.max()) < len(self.values):
            raise ValueError(
                f"codes of {self.name} must be 0 to {len(self.values) - 1}, not {codes.min()} to {codes.max()}"
            )
        return self._table[codes]

    def encode(self, values: np.ndarray) -> np.ndarray:
        """The codes (uint16) of ``values``, each of which must be one that the format has."""
        values = np.asarray(values)
        distinct, place = np.unique(values, return_inverse=True)
        missing = [int(v) for v in distinct if int(v) not in self._codes]
        if missing:
            raise ValueError(f"values must be those of {self.name}, not {missing[0]}")
        codes = np.array([self._codes[int(v)] for v in distinct], dtype=np.uint16)
        return codes[place].reshape(values.shape)
