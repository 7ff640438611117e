"""Caches of keys and values in few bits: what attention reads of them is what the codes stand for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gen.chat.attention import MakeCache
from gen.chat.host import Cache
from hw.formats import Format, find
from sim.quantise import quantise
from sim.quantise.kivi import quantise_keys, quantise_values

GROUP = 32
"""Tokens of a group of keys of KIVI, and channels of one of values."""
PUBLISHED = 128
"""Tokens that stay as they are in KIVI as it was published; here ``GROUP``, unless it is said."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of cache. ``make`` takes key heads and elements of a head, ``bits`` are those of an element, scales included.

    Without ``make`` the array computes attention, with a cache of int8 (``gen.chat.attention``).
    """

    name: str
    bits: float
    make: MakeCache | None


class TokenCache(Cache):
    """Keys and values of each token and head in a format of rows, with one scale."""

    def __init__(self, heads: int, size: int, format: Format):
        super().__init__(heads, size)
        self._format = format

    def add(self, keys: np.ndarray, values: np.ndarray) -> None:
        """Those of the next token, [key head, element]."""
        super().add(quantise(keys, self._format).values(), quantise(values, self._format).values())


class KiviCache(Cache):
    """KIVI: keys per channel in groups of ``GROUP`` tokens, values per token in groups of channels.

    The last tokens stay as they are: keys until there are ``residual`` of them, which then become few bits together, and
    ``residual`` values.

    Reference: KIVI, Liu et al., ICML 2024, section 3.2, algorithm 1.
    """

    def __init__(self, heads: int, size: int, format: Format, residual: int):
        super().__init__(heads, size)
        self._format, self._residual = format.grouped(min(GROUP, size)), residual

    def add(self, keys: np.ndarray, values: np.ndarray) -> None:
        """Those of the next token, [key head, element]."""
        super().add(keys, values)
        residual = self._residual
        if self.length % residual == 0:
            group = self.keys[:, -residual:]
            kept = quantise_keys(self._format.grouped(GROUP), group).values()
            group[:] = kept.reshape(len(group), -1, residual).swapaxes(1, 2)
        if self.length > residual:
            row = self.values[:, -residual - 1]
            row[:] = quantise_values(self._format, row).values()


def _kivi(bits: int, residual: int = GROUP) -> Kind:
    format = find(f"kivi{bits}")
    return Kind(
        name=format.name + (f"-r{residual}" if residual != GROUP else ""),
        bits=format.grouped(GROUP).bits_per_weight,
        make=lambda heads, size: KiviCache(heads, size, format, residual),
    )


INT8 = find("int8")
KINDS = {
    kind.name: kind
    for kind in (
        Kind(name="float", bits=64.0, make=Cache),
        Kind(name="int8", bits=8.0, make=lambda heads, size: TokenCache(heads, size, INT8)),
        _kivi(4),
        _kivi(2),
        _kivi(4, PUBLISHED),
        _kivi(2, PUBLISHED),
        Kind(name="array", bits=8.0, make=None),
    )
}
"""By the names that commands take; ``float`` is the host's own precision."""
