"""The mathematical golden model: what a GEMM of these formats equals. Plain NumPy, no code of the interpreter's.

Nothing here knows of tiles, scratchpads or programs.
"""

from __future__ import annotations

import math

import numpy as np

INT8_MAXIMUM = 127
FP16_MAXIMUM = 65504
SCALE_BITS = 18
"""Bits of the significand of a scale of float32 results."""
EXACT_FLOAT64 = 1 << 53
"""Integers up to this, and so all sums that stay below it, are exact in float64."""


def gemm(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """``x`` [M, K] times ``w`` [K, N], integers of any type: int32 [M, N], which wraps as int32 does."""
    for name, array in (("x", x), ("w", w)):
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "iu":
            raise TypeError(
                f"{name} must be an array of integers, not {getattr(array, 'dtype', type(array))}"
            )
        if array.ndim != 2:
            raise ValueError(f"{name} must have 2 dimensions, not {array.ndim}")
    if x.shape[1] != w.shape[0]:
        raise ValueError(f"rows of w must be {x.shape[1]} as columns of x, not {w.shape[0]}")
    if _largest(x) * _largest(w) * x.shape[1] < EXACT_FLOAT64:
        # A product of BLAS is far faster than one of integers.
        return (x.astype(np.float64) @ w.astype(np.float64)).astype(np.int64).astype(np.int32)
    # What wraps in 64 bits has the same low 32.
    return (x.astype(np.uint64) @ w.astype(np.uint64)).astype(np.uint32).view(np.int32)


def _largest(array: np.ndarray) -> int:
    return max(abs(int(array.min(initial=0))), abs(int(array.max(initial=0))))


def requantised_gemm(
    x: np.ndarray, w: np.ndarray, bias: np.ndarray, multiplier: np.ndarray, shift: np.ndarray
) -> np.ndarray:
    """int8 [M, N]: ``(gemm + bias) * multiplier / 2**shift`` per feature, rounded half up, saturated.

    ``bias`` is int32 [N], ``multiplier`` uint32 [N], ``shift`` uint8 [N] of 0 to 63. Only the accumulator wraps; all that
    follows is exact, in integers without bound.
    """
    return requantised(gemm(x, w), bias, multiplier, shift)


def requantised(sums: np.ndarray, bias: np.ndarray, multiplier: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """The same of ``sums``, int32 [M, N]."""
    _check("sums", sums, np.int32, 2)
    _check("bias", bias, np.int32, 1)
    _check("multiplier", multiplier, np.uint32, 1)
    _check("shift", shift, np.uint8, 1)
    if shift.size and int(shift.max()) > 63:
        raise ValueError(f"shift must be 0 to 63, not {int(shift.max())}")
    scaled = (sums.astype(object) + bias.astype(object)) * multiplier.astype(object)
    divisor = np.array([2 ** int(s) for s in shift], dtype=object)
    rounded = (2 * scaled + divisor) // (2 * divisor)  # floor(v + 1/2): half up, towards plus infinity
    return np.clip(rounded, -INT8_MAXIMUM - 1, INT8_MAXIMUM).astype(np.int8)


def rescaled(sums: np.ndarray, bias: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """fp16 [M, N]: ``(sums + bias) * scale`` per feature, the sum rounded to float32, the product once to fp16, saturated.

    All are float32: ``sums`` [M, N], ``bias`` and ``scale`` [N], each scale with a significand of ``SCALE_BITS`` bits at
    most: its product with one of 24 is exact in float64.
    """
    _check("sums", sums, np.float32, 2)
    _check("bias", bias, np.float32, 1)
    _check("scale", scale, np.float32, 1)
    if not np.array_equal(scale, short(scale)):
        raise ValueError(f"scale must have significands of {SCALE_BITS} bits at most")
    product = (sums + bias).astype(np.float64) * scale.astype(np.float64)
    # Clipped before rounding: what lies between the greatest fp16 and infinity would be rounded to either.
    return np.clip(product, -FP16_MAXIMUM, FP16_MAXIMUM).astype(np.float16)


def short(scales: np.ndarray) -> np.ndarray:
    """The nearest float32 whose significands have ``SCALE_BITS`` bits, ties to even; 0 for what is below 2**-126."""
    mantissa, exponent = np.frexp(np.asarray(scales, np.float64))
    short = np.ldexp(np.rint(np.ldexp(mantissa, SCALE_BITS)), exponent - SCALE_BITS)
    return np.where(np.abs(short) < 2.0**-126, 0, short).astype(np.float32)


def dyadic(scale: float) -> tuple[int, int]:
    """``(multiplier, shift)`` with ``scale ~ multiplier / 2**shift``.

    The mantissa of ``scale`` (0.5 to 1) becomes a multiplier of 31 bits, rounded half up, and the exponent the shift.

    Raises
    ------
    ValueError
        When ``scale`` is negative or not finite, or the shift is not 0 to 63: ``scale`` is 2**31 or more, or below 2**-33.

    Reference
    ---------
    HAWQ-V3: Dyadic Neural Network Quantization (Yao et al., 2021), section 3.
    """
    scale = float(scale)
    if not math.isfinite(scale) or scale < 0:
        raise ValueError(f"scale must be finite and at least 0, not {scale!r}")
    mantissa, exponent = math.frexp(scale)
    multiplier = math.floor(mantissa * 2**31 + 0.5)
    shift = 31 - exponent
    if not 0 <= shift <= 63:
        raise ValueError(
            f"scale must be 0, or at least 2**-33 and below 2**31, for a shift of 0 to 63, not {scale!r}"
        )
    return multiplier, shift


def dyadics(scales: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``dyadic`` of every scale: multipliers (uint32) and shifts (uint8)."""
    pairs = [dyadic(scale) for scale in np.asarray(scales).reshape(-1)]
    multiplier = np.array([m for m, _ in pairs], dtype=np.uint32)
    return multiplier, np.array([s for _, s in pairs], dtype=np.uint8)


def _check(name: str, array: np.ndarray, dtype: type, dimensions: int) -> None:
    if not isinstance(array, np.ndarray) or array.dtype != dtype:
        raise TypeError(
            f"{name} must be an array of {np.dtype(dtype).name}, not {getattr(array, 'dtype', type(array))}"
        )
    if array.ndim != dimensions:
        raise ValueError(f"{name} must have {dimensions} dimensions, not {array.ndim}")
