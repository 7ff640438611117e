"""Numbers of half precision as the hardware takes them. Plain NumPy; no Amaranth here."""

from __future__ import annotations

import numpy as np


def half(patterns: np.ndarray) -> np.ndarray:
    """float64 of fp16 bit patterns as the hardware takes them: the greatest exponent is one like the others."""
    bits = np.asarray(patterns, dtype=np.int64)
    field = bits >> 10 & 31
    significand = (bits & 1023) + (field > 0) * 1024
    return np.where(bits >> 15 & 1, -1.0, 1.0) * np.ldexp(
        significand.astype(np.float64), np.maximum(field, 1) - 25
    )
