"""OliVe: pairs of a normal value and a victim that gives its place to an outlier (Guo et al., ISCA 2023); and ANT's flint4.

Two neighbours along K, the even one first, are a pair. An element whose code is ``identifier`` is a victim and stands for 0; its
neighbour's code then is an outlier's: a sign, an exponent and a mantissa, worth ``(2**m + mantissa) << exponent + bias``
(adaptive biased float, abfloat). A pair has one victim at most.

No packing is published; ours, like all dense ones, goes from the lowest bit up::

    4 bits: a pair is a byte                     8 bits: a pair is two bytes, the even element's at the lower address
    bit    7 6 5 4   3 2 1 0                     bit    7   6 5 4 3    2 1 0
           K odd     K even                             s   exponent   mantissa     of an outlier (E4M3; E2M5: 6 5, 4 to 0)
           s e e m   identifier   victim, outlier
           identifier   s e e m   outlier, victim

(s sign, e exponent, m mantissa.) Normal codes are two's complement, or flint4 with its sign first. The identifier is the sign
bit alone: the lowest integer, or flint4's -0. A decoder needs nothing but the pair. The last element of an odd row has no
neighbour: it is a normal value, and the upper half of its byte is 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from hw.formats.format import Format

FLINT4 = (0, 1, 2, 3, 16, 8, 4, 6)
"""Magnitudes by code: three bits, the first a marker behind which leading zeros count (Guo et al., ANT, MICRO 2022)."""


def abfloat(exponent: int, mantissa: int, bias: int) -> tuple[int | None, ...]:
    """Outliers by code, sign first; exponent and mantissa 0 is not used with either sign."""
    half: list[int | None] = [
        (1 << mantissa) + (code & (1 << mantissa) - 1) << (code >> mantissa) + bias
        for code in range(1 << exponent + mantissa)
    ]
    half[0] = None
    return (*half, *(None if v is None else -v for v in half))


@dataclass(frozen=True, kw_only=True)
class PairFormat(Format):
    """``tables`` has the normal values, None at the identifier.

    Parameters
    ----------
    outliers : sequence of int or None
        What a victim's neighbour's code stands for.
    identifier : int
        The code of a victim.
    """

    outliers: Sequence[int | None] = field(repr=False)
    identifier: int

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "outliers", tuple(self.outliers))
        if len(self.outliers) != 1 << self.bits:
            raise ValueError(
                f"outliers of format {self.name} must be {1 << self.bits}, not {len(self.outliers)}"
            )
        if any(table[self.identifier] is not None for table in self.tables):
            raise ValueError(
                f"identifier of format {self.name} must be no number, not code {self.identifier:#x}"
            )
        if self.block % 2:
            raise ValueError(f"block of format {self.name} must be even, for pairs, not {self.block}")

    @property
    def minimum(self) -> int:
        """Smallest integer, outliers included."""
        return min(super().minimum, *(v for v in self.outliers if v is not None))

    @property
    def maximum(self) -> int:
        """Largest integer, outliers included."""
        return max(super().maximum, *(v for v in self.outliers if v is not None))

    @cached_property
    def _outlier_table(self) -> np.ndarray:
        return np.array([0 if v is None else v for v in self.outliers], dtype=np.int64)

    def decode(self, codes: np.ndarray, selectors: np.ndarray | int = 0, *, axis: int = -1) -> np.ndarray:
        """The exact integers (int64) of ``codes``, pairs along ``axis``; an odd last element has no neighbour."""
        codes = np.moveaxis(np.asarray(codes), axis, -1)
        victim = codes == self.identifier
        beside = np.zeros_like(victim)
        last = codes.shape[-1] // 2 * 2
        beside[..., 0:last:2], beside[..., 1:last:2] = victim[..., 1:last:2], victim[..., 0:last:2]
        if (victim & beside).any():
            raise ValueError(f"a pair of {self.name} must have one victim at most, not two")
        if victim[..., last:].any():
            raise ValueError(
                f"a victim of {self.name} must have a neighbour: the last element of an odd row has none"
            )
        unused = beside & np.array([v is None for v in self.outliers])[codes]
        if unused.any():
            raise ValueError(
                f"outliers of {self.name} must be codes in use, not {codes[unused].reshape(-1)[0]:#x}"
            )
        normal = super().decode(np.where(victim | beside, 0, codes), selectors)
        result = np.where(beside, self._outlier_table[codes], np.where(victim, 0, normal))
        return np.moveaxis(result, -1, axis)

    def encode(self, values: np.ndarray, selector: int = 0, *, axis: int = -1) -> np.ndarray:
        """The codes of integers, pairs along ``axis``: what is no normal value must be an outlier beside a 0."""
        values = np.moveaxis(np.asarray(values), axis, -1)
        last = values.shape[-1] // 2 * 2
        outlier = ~np.isin(values, self.levels(selector)[0])
        beside = np.zeros_like(outlier)
        beside[..., 0:last:2], beside[..., 1:last:2] = outlier[..., 1:last:2], outlier[..., 0:last:2]
        lone = outlier[..., last:]
        if lone.any():
            raise ValueError(
                f"an outlier of {self.name} must have a neighbour, not {values[..., last:][lone][0]} at the end of an odd row"
            )
        wrong = beside & (values != 0)
        if wrong.any():
            raise ValueError(f"an outlier's neighbour in {self.name} must be 0, not {values[wrong][0]}")
        used = [code for code, v in enumerate(self.outliers) if v is not None]
        order = np.array(used)[np.argsort(self._outlier_table[used])]
        known = self._outlier_table[order]
        place = np.minimum(np.searchsorted(known, values), len(known) - 1)
        missing = outlier & (known[place] != values)
        if missing.any():
            raise ValueError(f"values must be those of {self.name}, not {values[missing][0]}")
        codes = super().encode(np.where(outlier | beside, 0, values), selector)
        codes = np.where(outlier, order[place], np.where(beside, self.identifier, codes))
        return np.moveaxis(codes.astype(self.code_type), -1, axis)


def _flint4(zero: int | None) -> tuple[int | None, ...]:
    return (*FLINT4, zero, *(-v for v in FLINT4[1:]))


def _int(bits: int) -> tuple[int | None, ...]:
    half = 1 << bits - 1
    return (*range(half), None, *range(1 - half, 0))


OLIVE = (
    PairFormat(
        name="ovp4-int4", bits=4, tables=(_int(4),), outliers=abfloat(2, 1, 2), identifier=8, rule="olive",
        summary="OliVe: -7 to 7, outliers 12 to 96",
    ),
    PairFormat(
        name="ovp4-flint4", bits=4, tables=(_flint4(None),), outliers=abfloat(2, 1, 3), identifier=8, rule="olive",
        summary="OliVe: flint4, outliers 24 to 192",
    ),
    PairFormat(
        name="ovp8-int8", bits=8, tables=(_int(8),), outliers=abfloat(4, 3, 4), identifier=0x80, rule="olive",
        summary="OliVe: -127 to 127, outliers 144 to 7,864,320",
    ),
    PairFormat(
        name="ovp8-int8-e2m5", bits=8, tables=(_int(8),), outliers=abfloat(2, 5, 2), identifier=0x80, rule="olive",
        summary="OliVe with the outliers of its code: -127 to 127, outliers 132 to 2,016",
    ),
    Format(name="flint4", bits=4, tables=(_flint4(0),), rule="nearest", scale="fp16", summary="ANT: 0 to 4, 6, 8, 16"),
)  # fmt: skip
