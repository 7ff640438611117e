"""Floating point as integers over a common unit: OCP MX, NVIDIA's blocks, FP6, FP16, and block floating point.

References: OCP Microscaling Formats (MX) v1.0, section 5.3 (elements) and 5.2 (E8M0); NVFP4 after fouroversix's reference.py.
"""

from __future__ import annotations

import math

import ml_dtypes
import numpy as np

from hw.formats.format import Format
from hw.formats.integers import signed


def element(kind: type, bits: int) -> tuple[tuple[int | None, ...], int]:
    """By code, the values of a type of ``ml_dtypes`` or NumPy as integers, None for infinities and NaN; and their unit.

    The unit is the logarithm to base 2 of the smallest subnormal.
    """
    unit = round(math.log2(float(ml_dtypes.finfo(kind).smallest_subnormal)))
    codes = np.arange(1 << bits, dtype=np.uint8 if bits <= 8 else np.uint16)
    with np.errstate(invalid="ignore"):
        values = codes.view(kind).astype(np.float64) / 2.0**unit
    return tuple(int(v) if np.isfinite(v) else None for v in values), unit


E2M1 = element(ml_dtypes.float4_e2m1fn, 4)
E2M3 = element(ml_dtypes.float6_e2m3fn, 6)
E3M2 = element(ml_dtypes.float6_e3m2fn, 6)
E4M3 = element(ml_dtypes.float8_e4m3fn, 8)
E5M2 = element(ml_dtypes.float8_e5m2, 8)
FP16 = element(np.float16, 16)

Element = tuple[tuple[int | None, ...], int]


def _mx(name: str, bits: int, element: Element, what: str, least: int | None = None) -> Format:
    return Format(
        name=name, bits=bits, tables=element[:1], unit=element[1], rule="mx", shared="block", block=32, scale="e8m0",
        least=least, summary=f"OCP MX: {what} elements, a power of two per block",
    )  # fmt: skip


def _nv(name: str, element: Element, summary: str, rule: str = "nv", least: int | None = None) -> Format:
    return Format(
        name=name, bits=4, tables=element[:1], unit=element[1], rule=rule, shared="block", block=16, scale="e4m3", outer="fp32",
        least=least, summary=summary,
    )  # fmt: skip


def _mantissas(bits: int) -> tuple[int, ...]:
    """Sign and magnitude without a hidden bit, by code."""
    half = 1 << bits - 1
    return (*range(half), *(-v for v in range(half)))


FLOATS = (
    _mx("mxfp8-e4m3", 8, E4M3, "E4M3"),
    _mx("mxfp8-e5m2", 8, E5M2, "E5M2"),
    _mx("mxfp6-e3m2", 6, E3M2, "E3M2"),
    _mx("mxfp6-e2m3", 6, E2M3, "E2M3"),
    _mx("mxfp4", 4, E2M1, "E2M1"),
    *(
        _mx(f"mxint{bits}", bits, (signed(bits), 2 - bits), f"{bits}-bit fixed-point", 1 - (1 << bits - 1))
        for bits in (8, 4, 2)
    ),
    _nv("nvfp4", E2M1, "E2M1 elements, E4M3 scale of a block, fp32 scale of the tensor"),
    _nv("nvfp4-4over6", E2M1, "NVFP4 whose blocks end at 6 or at 4, whichever errs less", "nv-4over6"),
    _nv("nvint4", (signed(4), 0), "-7 to 7, E4M3 scale of a block, fp32 scale of the tensor", least=-7),
    Format(
        name="if4", bits=4, tables=([7 * (v or 0) for v in E2M1[0]], [12 * v for v in signed(4)]), unit=E2M1[1], rule="nv-if4",
        shared="block", block=16, scale="e4m3", outer="fp32", selector_in_scale=True, least=-84, parts=7,
        summary="NVFP4 whose blocks are E2M1 or integers times 6/7",
    ),
    Format(
        name="fp6-e3m2", bits=6, tables=E3M2[:1], unit=E3M2[1], rule="nearest", scale="fp16", packing="split42",
        summary="E3M2 with a scale for a row, stored as 4 and 2 bits (FP6-LLM)",
    ),
    *(
        Format(
            name=f"bfp{bits}", bits=bits, tables=(_mantissas(bits),), unit=2 - bits, rule="mx", shared="block", block=16,
            scale="e8m0", summary=f"block floating point: shared exponent, sign and {bits - 1} mantissa bits",
        )
        for bits in range(3, 9)
    ),
    Format(
        name="fp16", bits=16, tables=FP16[:1], unit=FP16[1], rule="cast", shared="tensor", scale="",
        sharings=(), summary="IEEE 754 half precision, for activations",
    ),
)  # fmt: skip
