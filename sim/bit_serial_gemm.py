"""Sums of a GEMM as bit-serial arrays with fp16 activations give them: groups along K, each one float32, added in float32.

The definition of a group is ``sim.bit_serial_fp16``'s, that of a weight's terms ``sim.bit_serial``'s. No Amaranth here.
"""

from __future__ import annotations

import numpy as np

from hw.formats import Operand
from sim import bit_serial
from sim.bit_serial_fp16 import Sum, float32, group_sum

FEATURES = 64
"""Features that are worked on together: what keeps intermediate arrays small."""


def terms_of(values: np.ndarray, bits: int, *, floating: bool) -> np.ndarray:
    """Terms of integers, int64 [values..., terms, 4]: sign, exponent, man, significance.

    Parameters
    ----------
    values
        The weights: of two's complement of ``bits`` bits, or of sign and magnitude.
    """
    known, place = np.unique(values, return_inverse=True)
    if floating:
        table = [bit_serial.magnitude_terms(int(v < 0), abs(int(v))) for v in known]
    else:
        table = [bit_serial.integer_terms(int(v), bits) for v in known]
    return np.array(table, np.int64)[place.reshape(values.shape)]


def group_results(
    x: np.ndarray, terms: np.ndarray, scale: np.ndarray, *, lanes: int, rounding: str
) -> np.ndarray:
    """What a group gives to each accumulator: float32 [M, N].

    Parameters
    ----------
    x : uint16 [M, steps]
        fp16 patterns; steps are whole slices.
    terms : int64 [steps, N, terms, 4]
    scale : int64 [N]
    """
    parts = [
        _group(x, terms[:, first : first + FEATURES], lanes, rounding)
        for first in range(0, terms.shape[1], FEATURES)
    ]
    total = Sum(*(np.concatenate(each, axis=1) for each in zip(*parts, strict=True)))
    return float32(total, scale).view(np.float32)


def _group(x: np.ndarray, terms: np.ndarray, lanes: int, rounding: str) -> Sum:
    _, features, count, _ = terms.shape
    activations = x.reshape(len(x), 1, -1, lanes).repeat(count, axis=2)
    # Each [N, slices * terms, lanes].
    sign, exponent, man, significance = (
        terms.reshape(-1, lanes, features, count, 4).transpose(4, 2, 0, 3, 1).reshape(4, features, -1, lanes)
    )
    return group_sum(activations, sign, exponent, man, significance[0, :, 0], rounding=rounding)


def gemm(x: Operand, w: Operand, *, lanes: int, group: int, floating: bool, rounding: str) -> np.ndarray:
    """float32 [M, N]: ``x`` [M, K] of fp16 times ``w`` [K, N], groups of ``group`` steps in rising order.

    What is missing to whole slices is zero. Weights without scales count as scaled by 1.
    """
    values = w.format.decode(w.codes, _selectors(w), axis=0)
    m, n = x.shape[0], w.shape[1]
    total = np.zeros((m, n), np.float32)
    for number, first in enumerate(range(0, w.depth, group)):
        part = values[first : first + group]
        missing = -len(part) % lanes
        terms = terms_of(np.pad(part, ((0, missing), (0, 0))), w.format.bits, floating=floating)
        rows = np.pad(x.codes[:, first : first + group], ((0, 0), (0, missing)))
        scale = np.ones(n, np.int64) if w.scales is None else w.scales[number]
        result = group_results(rows, terms, scale, lanes=lanes, rounding=rounding)
        total = total + result if number else result
    return total


def _selectors(w: Operand) -> np.ndarray | int:
    """Of each element."""
    if w.selectors is None:
        return 0
    return w.selectors.repeat(w.format.block or w.depth, axis=0)[: w.depth]
