"""Types of scales: which numbers they have, and the codes of these."""

from __future__ import annotations

import ml_dtypes
import numpy as np

from hw.formats.floats import E4M3

E8M0_BIAS = 127
E8M0_NAN = 255
_E4M3 = np.array([np.nan if v is None else v * 2.0 ** E4M3[1] for v in E4M3[0][:128]])
"""By code; the last is NaN, which sorts above all numbers."""


def rounded(kind: str, scales: np.ndarray) -> np.ndarray:
    """Positive ``scales`` (float64), each to the nearest number (ties to even) of a type out of ``format.SCALES``.

    Never 0: what would be 0 becomes the smallest number; what is too large becomes the largest.
    """
    scales = np.asarray(scales, dtype=np.float64)
    if kind in ("fp16", "fp32"):
        info = np.finfo(np.float16 if kind == "fp16" else np.float32)
        kept = np.clip(scales, float(info.smallest_subnormal), float(info.max))
        return kept.astype(info.dtype).astype(np.float64)
    if kind == "e8m0":
        mantissas, exponents = np.frexp(scales)
        upper_even = exponents + E8M0_BIAS & 1 == 0
        up = (mantissas > 0.75) | (mantissas == 0.75) & upper_even
        return np.exp2(np.clip(exponents - 1 + up, -E8M0_BIAS, E8M0_BIAS))
    if kind == "e4m3":
        kept = np.clip(scales, _E4M3[1], _E4M3[126])
        return kept.astype(ml_dtypes.float8_e4m3fn).astype(np.float64)
    if kind == "int8":
        return np.clip(np.rint(scales), 1, 255)
    raise ValueError(f"scale must be fp16, fp32, e8m0, e4m3 or int8, not {kind!r}")


def encode(kind: str, scales: np.ndarray) -> np.ndarray:
    """The codes (unsigned integers) of scales that the type has."""
    scales = np.asarray(scales, dtype=np.float64)
    if kind == "fp16":
        codes = scales.astype(np.float16).view(np.uint16)
    elif kind == "fp32":
        codes = scales.astype(np.float32).view(np.uint32)
    elif kind == "e8m0":
        codes = (np.frexp(scales)[1] - 1 + E8M0_BIAS).astype(np.uint8)
    elif kind == "e4m3":
        codes = np.searchsorted(_E4M3, scales).astype(np.uint8)
    elif kind == "int8":
        codes = scales.astype(np.uint8)
    else:
        raise ValueError(f"scale must be fp16, fp32, e8m0, e4m3 or int8, not {kind!r}")
    wrong = np.flatnonzero(decode(kind, codes).reshape(-1) != scales.reshape(-1))
    if wrong.size:
        raise ValueError(f"scales must be numbers of {kind}, not {float(scales.reshape(-1)[wrong[0]])!r}")
    return codes


def decode(kind: str, codes: np.ndarray) -> np.ndarray:
    """The scales (float64) of codes."""
    codes = np.asarray(codes)
    if kind == "fp16":
        return codes.astype(np.uint16).view(np.float16).astype(np.float64)
    if kind == "fp32":
        return codes.astype(np.uint32).view(np.float32).astype(np.float64)
    if kind == "e8m0":
        return np.where(codes == E8M0_NAN, np.nan, np.exp2(codes.astype(np.float64) - E8M0_BIAS))
    if kind == "e4m3":
        return _E4M3[codes]
    if kind == "int8":
        return codes.astype(np.float64)
    raise ValueError(f"scale must be fp16, fp32, e8m0, e4m3 or int8, not {kind!r}")
