"""Scales of blocks as whole numbers, 0 to 255, in units of a scale of the row.

Reference: BitMoD, Chen et al., HPCA 2025, section III-C; the development repository's ``quant_weight_double.py``
(yc2367/BitMoD at b18cacb) for half precision.
"""

from __future__ import annotations

import numpy as np

from hw.formats import Format
from hw.formats.scales import rounded
from sim.quantise import half
from sim.quantise.quantised import Quantised


def multiples(scales: np.ndarray, arithmetic: str) -> tuple[np.ndarray, np.ndarray]:
    """``scales`` [rows, blocks] as multiples, and what these count [rows, 1]: the row's largest over 255. Ties go to even.

    "exact": in double precision, only the unit being rounded, to single. "fp16": every step in half precision; a row of zeros
    has the unit 0.
    """
    if arithmetic == "exact":
        outer = rounded("fp32", scales.max(axis=1, keepdims=True) / 255)
        return np.clip(np.rint(scales / outer), 0, 255), outer
    counts, unit = half.second_level(8, scales.astype(np.float16))
    return np.where(unit > 0, counts, 0).astype(np.float64), unit.astype(np.float64)


def with_scales(
    format: Format,
    codes: np.ndarray,
    scales: np.ndarray,
    *,
    offsets: np.ndarray | None = None,
    arithmetic: str = "exact",
) -> Quantised:
    """The matrix of codes whose blocks have ``scales`` [rows or 1, blocks]: as ``multiples``, if the format's have 8 bits."""
    outer = None
    if format.scale == "int8":
        scales, outer = multiples(scales, arithmetic)
    return Quantised(format=format, codes=codes, scales=scales, offsets=offsets, outer=outer)
