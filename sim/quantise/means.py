"""The mean of float32 numbers to the last bit: in the order in which PyTorch's CPU kernels sum."""

from __future__ import annotations

import numpy as np

LANES = 8
"""Elements of a vector register in PyTorch's sums; ``CHAINS`` of them are summed side by side."""
CHAINS = 4
LEVELS = 4
"""Of partial sums: so many times a level's sum of 16 or more parts is one part of the next."""


def mean(values: np.ndarray) -> np.ndarray:
    """Mean of float32 ``values`` along the last axis as PyTorch's CPU kernels have it.

    What is beyond float32 is infinite. That is for one thread: PyTorch gives tensors of 32,768 elements or more to several, whose
    number then shows in the last bit.
    """
    count = values.shape[-1]
    vectors = count // LANES
    chained = vectors // CHAINS * CHAINS
    body = values[..., : vectors * LANES].reshape(*values.shape[:-1], vectors, LANES)
    with np.errstate(over="ignore"):
        chains = _cascade(body[..., :chained, :].reshape(*values.shape[:-1], -1, CHAINS * LANES))
        chains = chains.reshape(*values.shape[:-1], CHAINS, LANES)
        first = _running(np.concatenate([chains[..., :1, :], body[..., chained:, :]], axis=-2))
        lanes = _running(np.concatenate([first[..., None, :], chains[..., 1:, :]], axis=-2))
        tail = _running(values[..., vectors * LANES :, None])
        total = _running(np.concatenate([tail, lanes], axis=-1)[..., None])[..., 0]
        return total / np.float32(count)


def _cascade(parts: np.ndarray) -> np.ndarray:
    """Sum of [..., parts, lanes] along the parts, in levels."""
    step = 1 << max(4, (max(parts.shape[-2], 1) - 1).bit_length() // LEVELS)
    sums = []
    for _ in range(LEVELS - 1):
        whole = parts.shape[-2] // step * step
        sums.append(_running(parts[..., whole:, :]))
        parts = _running(parts[..., :whole, :].reshape(*parts.shape[:-2], -1, step, parts.shape[-1]))
    return _running(np.stack([*sums, _running(parts)], axis=-2))


def _running(parts: np.ndarray) -> np.ndarray:
    """Sum of [..., parts, lanes] along the parts, one after another."""
    if not parts.shape[-2]:
        return np.zeros((*parts.shape[:-2], parts.shape[-1]), dtype=parts.dtype)
    return np.add.accumulate(parts, axis=-2)[..., -1, :]
