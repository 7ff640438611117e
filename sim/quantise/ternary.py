"""Ternary and binary by the mean magnitude, and the activations that go with ternary weights.

BitNet's are float32 throughout, as in the published code, sums in the order of PyTorch's CPU kernels: another order of summation
ends in another last bit of the scale in one of four matrices.
"""

from __future__ import annotations

import numpy as np

from hw.formats import Format
from sim.quantise.quantised import Quantised, by_blocks, checked, largest

SMALLEST = np.float32(1e-5)
"""Least mean or largest magnitude that is divided by."""
LANES = 8
"""Elements of a vector register in PyTorch's sums; ``CHAINS`` of them are summed side by side."""
CHAINS = 4
LEVELS = 4
"""Of partial sums: so many times a level's sum of 16 or more parts is one part of the next."""


def quantise(format: Format, matrix: np.ndarray) -> Quantised:
    """BitNet b1.58: ``round(x / mean)``, ties to even, between -1 and 1; the mean magnitude is the scale.

    The division is a product with the reciprocal, as published. Quantised again, the codes stay but the scale does not: the mean
    of a ternary matrix is smaller by its share of zeros. A matrix of zeros, or one of tiny elements, has scale 1e-5.

    Reference
    ---------
    The Era of 1-bit LLMs (arXiv 2402.17764), equations 1 to 3; microsoft/BitNet.
    """

    def work(blocks: np.ndarray) -> tuple[np.ndarray, ...]:
        blocks = _float32(blocks)
        scales = np.maximum(mean(np.abs(blocks)), SMALLEST)
        # What is infinite is far beyond 1.
        with np.errstate(over="ignore"):
            integers = np.clip(np.rint(blocks * (np.float32(1) / scales)[..., None]), -1, 1)
        return format.encode(integers), scales.astype(np.float64)

    codes, scales = by_blocks(format, matrix, work)
    return Quantised(format=format, codes=codes, scales=scales)


def binary(format: Format, matrix: np.ndarray) -> Quantised:
    """1 for elements of 0 or more, -1 for others, times the mean magnitude, rounded once to float32.

    A block of zeros has scale 0.

    Reference
    ---------
    XNOR-Net, Rastegari et al., ECCV 2016, section 3.1.
    """

    def work(blocks: np.ndarray) -> tuple[np.ndarray, ...]:
        scales = np.abs(_float32(blocks)).mean(axis=-1, dtype=np.float64).astype(np.float32)
        return format.encode(np.where(blocks >= 0, 1, -1)), scales.astype(np.float64)

    codes, scales = by_blocks(format, matrix, work)
    return Quantised(format=format, codes=codes, scales=scales)


def quantise_activations(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """BitNet's activations [tokens, K]: int8 codes, and float32 factors [tokens, 1] by which they were multiplied.

    ``127 / largest magnitude`` is the reciprocal times 127, as PyTorch computes it; ties go to even. A token whose largest
    magnitude is below 1e-5 has the factor of 1e-5.

    Reference
    ---------
    BitNet (arXiv 2310.11453), section 2.1; microsoft/BitNet.
    """
    values = _float32(checked("the activations", matrix))
    factors = np.float32(1) / np.maximum(largest(values), SMALLEST)[:, None] * np.float32(127)
    return np.clip(np.rint(values * factors), -128, 127).astype(np.int8), factors


def mean(values: np.ndarray) -> np.ndarray:
    """Mean of float32 ``values`` along the last axis as PyTorch's CPU kernels have it.

    That is for one thread: PyTorch gives tensors of 32,768 elements or more to several, whose number then shows in the last bit.
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
        return np.minimum(total / np.float32(count), np.finfo(np.float32).max)


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


def _float32(values: np.ndarray) -> np.ndarray:
    """What is beyond float32 saturates."""
    most = float(np.finfo(np.float32).max)
    return np.clip(values, -most, most).astype(np.float32)
