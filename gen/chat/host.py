"""What the host computes between linear layers: norm, rotation, attention, gate. float64, one row at a time.

Golden model and accelerator share this code. A row's results do not depend on what is computed beside it: every sum is taken in
an order that its length alone settles (``total``), and never by BLAS, whose order depends on the shapes. So the same integers
leave the linear layers whether a prompt comes token by token or in chunks.
"""

from __future__ import annotations

import numpy as np


def total(values: np.ndarray, axis: int = -1) -> np.ndarray:
    """Sum along ``axis``: the first half is added to the second, element by element, until one is left; an odd last one waits."""
    values = np.moveaxis(values, axis, 0)
    while len(values) > 1:
        half = len(values) // 2
        sums = values[:half] + values[half : 2 * half]
        values = np.concatenate([sums, values[2 * half :]]) if len(values) % 2 else sums
    return values[0]


def norm(row: np.ndarray, weights: np.ndarray, epsilon: float) -> np.ndarray:
    """RMSNorm of ``row`` [width] (Zhang and Sennrich, 2019, section 4)."""
    return row / np.sqrt(total(row * row) / len(row) + epsilon) * weights


def rotate(heads: np.ndarray, position: int, base: float) -> np.ndarray:
    """Rotary position embedding (Su et al., 2021, section 3.4) of ``heads`` [head, element]; pairs lie side by side."""
    size = heads.shape[1]
    angles = position * base ** (-np.arange(0, size, 2) / size)
    cos, sin = np.cos(angles), np.sin(angles)
    even, odd = heads[:, 0::2], heads[:, 1::2]
    return np.stack([even * cos - odd * sin, even * sin + odd * cos], axis=-1).reshape(heads.shape)


def attend(queries: np.ndarray, keys: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Attention of one token, [heads * element]: ``queries`` [head, element], ``keys``, ``values`` [key head, token, element].

    Successive query heads share a key head.
    """
    size = queries.shape[1]
    grouped = queries.reshape(len(keys), -1, 1, size)
    scores = total(grouped * keys[:, None]) / np.sqrt(size)
    scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
    mixed = total(scores[..., None] * values[:, None], axis=2)
    return (mixed / total(scores)[..., None]).reshape(-1)


def gated(gate: np.ndarray, up: np.ndarray) -> np.ndarray:
    """SwiGLU (Shazeer, 2020, section 2): SiLU of ``gate`` times ``up``."""
    # Where exp overflows, the quotient is the zero that it should be.
    with np.errstate(over="ignore"):
        return gate / (1 + np.exp(-gate)) * up


class Cache:
    """Keys and values of one block, [key head, token, element] each, as they grow."""

    def __init__(self, heads: int, size: int):
        self._both = np.empty((2, heads, 64, size))
        self.length = 0

    def add(self, keys: np.ndarray, values: np.ndarray) -> None:
        """Those of the next token, [key head, element]."""
        if self.length == self._both.shape[2]:
            self._both = np.concatenate([self._both, np.empty_like(self._both)], axis=2)
        self._both[0, :, self.length], self._both[1, :, self.length] = keys, values
        self.length += 1

    @property
    def keys(self) -> np.ndarray:
        """Of all tokens so far."""
        return self._both[0, :, : self.length]

    @property
    def values(self) -> np.ndarray:
        """Of all tokens so far."""
        return self._both[1, :, : self.length]
