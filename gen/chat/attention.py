"""Who mixes the values of earlier tokens: the host, in float64, or the array, with keys and values of 8 bits in its memory.

On the array the products of a key head are two GEMMs, in which the query heads that share it are rows, for every token that is
read at once:

* scores ``Q·Kᵀ``: queries ``int8`` with a scale for each row; keys are the weights [element, token], a scale for each token;
* mix ``P·V``: values are the weights [token, element] with a scale for each token, too. That scale runs along the sum, where no
  result could take it off, so it is multiplied into the chances before these become ``int8`` with a scale for each row.

Every scale is of one token or of one row, so a token's integers do not depend on what is read beside it; tokens that come later
than a row's own have chance 0, whose code adds nothing. Softmax and scales are the host's, row by row, sums in the fixed order of
``gen.chat.host``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from gen.chat import host
from gen.chat.device import Device
from gen.chat.network import Part, Target, enter
from gen.errors import RequestError
from gen.families.contract import Family
from gen.models.llama import Sizes
from hw.design import ceil_div
from hw.formats import INT8, Operand

STEP = 32
"""Tokens by which matrices grow, at least: programs are made for a few lengths only."""
MakeCache = Callable[[int, int], host.Cache]


class Attention(Protocol):
    """Remembers keys and values of all blocks."""

    @property
    def position(self) -> int:
        """Tokens read so far."""

    def mix(self, block: int, queries: np.ndarray, keys: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Of the next tokens, [token, head * element], each after all before it.

        ``queries`` are [token, head, element], ``keys`` and ``values`` [token, key head, element], all rotated.
        """


class HostAttention:
    """The host's own.

    Parameters
    ----------
    sizes : Sizes
    make : callable
        A cache for key heads and elements of a head.
    """

    def __init__(self, sizes: Sizes, make: MakeCache = host.Cache):
        self._caches = [make(sizes.key_heads, sizes.head) for _ in range(sizes.blocks)]

    @property
    def position(self) -> int:
        """Tokens read so far."""
        return self._caches[-1].length

    def mix(self, block: int, queries: np.ndarray, keys: np.ndarray, values: np.ndarray) -> np.ndarray:
        """See ``Attention``."""
        cache, mixed = self._caches[block], np.empty((len(queries), queries[0].size))
        for row in range(len(queries)):
            cache.add(keys[row], values[row])
            mixed[row] = host.attend(queries[row], cache.keys, cache.values)
        return mixed


class Codes:
    """Vectors of one key head, [token, element], as int8 codes with a scale for each token; whole steps of tokens, the rest 0."""

    def __init__(self, size: int, step: int):
        self._step, self.length = step, 0
        self.codes = np.zeros((0, size), INT8.code_type)
        self.scales = np.zeros(0)

    def add(self, operand: Operand, scales: np.ndarray) -> None:
        """Those of the next tokens, and their scales [token]."""
        end = self.length + len(operand.codes)
        if (more := ceil_div(end, self._step) * self._step - len(self.codes)) > 0:
            self.codes = np.pad(self.codes, ((0, more), (0, 0)))
            self.scales = np.pad(self.scales, (0, more))
        self.codes[self.length : end], self.scales[self.length : end] = operand.codes, scales
        self.length = end


class CachedPart(Part):
    """A product with keys or values: other weights every time."""

    @property
    def cached(self) -> bool:
        """Whether its weights are keys or values: they are."""
        return True


def cache_variant(family: Family) -> int:
    """The array's for products with keys and values; ``RequestError`` when it was not generated for int8 by int8."""
    if (INT8, INT8) not in family.pairs:
        there = ", ".join(dict.fromkeys(f"{x.name} x {w.name}" for x, w in family.pairs))
        raise RequestError(f"attention on the array: it must take int8 x int8, not only {there}")
    return family.pairs.index((INT8, INT8))


class ArrayAttention:
    """That of an array which takes int8 both ways.

    Parameters
    ----------
    sizes : Sizes
    target : Target
    device : Device
        Who computes the sums.

    Raises
    ------
    RequestError
        When the array was not generated for int8 by int8, or programs cannot be made to fit.
    """

    def __init__(self, sizes: Sizes, target: Target, device: Device):
        self._sizes, self._target, self._device = sizes, target, device
        self._variant = cache_variant(target.family)
        columns = target.family.geometry.columns
        step = ceil_div(STEP, columns) * columns
        self._keys, self._values = (
            [[Codes(sizes.head, step) for _ in range(sizes.key_heads)] for _ in range(sizes.blocks)]
            for _ in range(2)
        )

    @property
    def position(self) -> int:
        """Tokens read so far."""
        return self._keys[-1][0].length

    def mix(self, block: int, queries: np.ndarray, keys: np.ndarray, values: np.ndarray) -> np.ndarray:
        """See ``Attention``."""
        heads, size = self._sizes.key_heads, self._sizes.head
        rows, before = len(queries), self._keys[block][0].length
        family = self._target.family
        for head in range(heads):
            for codes, new in ((self._keys[block][head], keys), (self._values[block][head], values)):
                operand, scales = enter(new[:, head], INT8, family)
                codes.add(operand, scales[:, 0])
        # Rows of a key head: token by token, the query heads that share it.
        grouped = queries.reshape(rows, heads, -1, size).swapaxes(0, 1).reshape(heads, -1, size)
        scores = self._products(block, "qk", list(grouped), self._keys[block], turned=True)
        lengths = before + 1 + np.arange(rows).repeat(grouped.shape[1] // rows)
        chances, totals = [], []
        for head in range(heads):
            scaled = scores[head] * self._keys[block][head].scales / np.sqrt(size)
            own, total = _chances(scaled, lengths)
            chances.append(own * self._values[block][head].scales)
            totals.append(total)
        mixed = self._products(block, "pv", chances, self._values[block], turned=False)
        result = np.stack([each / total for each, total in zip(mixed, totals, strict=True)])
        return result.reshape(heads, rows, -1, size).swapaxes(0, 1).reshape(rows, -1)

    def _products(
        self, block: int, kind: str, rows: list[np.ndarray], cached: list[Codes], *, turned: bool
    ) -> list[np.ndarray]:
        """float64, for each key head: ``rows`` by its keys (``turned``) or values, whose own scales are left out."""
        tasks, left = [], []
        for head, (each, codes) in enumerate(zip(rows, cached, strict=True)):
            x, scales = enter(each, INT8, self._target.family)
            matrix = np.ascontiguousarray(codes.codes.T) if turned else codes.codes
            part = CachedPart(
                name=f"blk.{block}.attn_{kind}[{head}]",
                target=self._target,
                w=Operand(format=INT8, codes=matrix, depth_axis=0),
                variant=self._variant,
            )
            tasks.append((part, x))
            left.append(scales)
        return [
            sums.astype(np.float64) * scales
            for sums, scales in zip(self._device.sums(tasks), left, strict=True)
        ]


def _chances(scores: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Softmax of each row's first scores, ``lengths`` of them: numerators [row, token], 0 behind, and denominators [row, 1]."""
    chances, totals = np.zeros_like(scores), np.empty((len(scores), 1))
    for row, length in enumerate(lengths):
        own = scores[row, :length]
        chances[row, :length] = np.exp(own - own.max())
        totals[row] = host.total(chances[row, :length])
    return chances, totals
