"""Ternary and binary by the mean magnitude, and the activations that go with ternary weights.

BitNet's are float32 throughout, as in the published code, sums in the order of PyTorch's CPU kernels: another order of summation
ends in another last bit of the scale in one of four matrices.
"""

from __future__ import annotations

import numpy as np

from hw.formats import Format
from sim.quantise import sums
from sim.quantise.quantised import Quantised, by_blocks, checked, largest
from sim.quantise.second_level import with_scales

SMALLEST = np.float32(1e-5)
"""Least mean or largest magnitude that is divided by."""


def quantise(format: Format, matrix: np.ndarray) -> Quantised:
    """BitNet b1.58: ``round(x / mean)``, ties to even, between -1 and 1; the mean magnitude is the scale.

    The division is a product with the reciprocal, as published. Quantised again, the codes stay but the scale does not: the mean
    of a ternary matrix is smaller by its share of zeros. A matrix of zeros, or one of tiny elements, has scale 1e-5. 8-bit scales
    are rounded after the codes have been chosen.

    Reference
    ---------
    The Era of 1-bit LLMs (arXiv 2402.17764), equations 1 to 3; microsoft/BitNet.
    """

    def work(blocks: np.ndarray) -> tuple[np.ndarray, ...]:
        blocks = _float32(blocks)
        scales = np.clip(sums.mean(np.abs(blocks)), SMALLEST, np.finfo(np.float32).max)
        # What is infinite is far beyond 1.
        with np.errstate(over="ignore"):
            integers = np.clip(np.rint(blocks * (np.float32(1) / scales)[..., None]), -1, 1)
        return format.encode(integers), scales.astype(np.float64)

    codes, scales = by_blocks(format, matrix, work)
    return with_scales(format, codes, scales)


def binary(format: Format, matrix: np.ndarray) -> Quantised:
    """1 for elements of 0 or more, -1 for others, times the mean magnitude, rounded once to float32, or to an 8-bit scale.

    A block of zeros has scale 0.

    Reference
    ---------
    XNOR-Net, Rastegari et al., ECCV 2016, section 3.1.
    """

    def work(blocks: np.ndarray) -> tuple[np.ndarray, ...]:
        if format.scale == "int8":
            # What is infinite has the largest scale.
            with np.errstate(over="ignore"):
                scales = np.abs(blocks).mean(axis=-1)
        else:
            scales = np.abs(_float32(blocks)).mean(axis=-1, dtype=np.float64).astype(np.float32)
        return format.encode(np.where(blocks >= 0, 1, -1)), scales.astype(np.float64)

    codes, scales = by_blocks(format, matrix, work)
    return with_scales(format, codes, scales)


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


def _float32(values: np.ndarray) -> np.ndarray:
    """What is beyond float32 saturates."""
    most = float(np.finfo(np.float32).max)
    return np.clip(values, -most, most).astype(np.float32)
