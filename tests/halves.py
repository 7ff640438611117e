"""fp16 numbers as ``hw.pe.half`` has them, from and to patterns of fp16; all NaN are one."""

from __future__ import annotations

import numpy as np

from hw.pe.half import INFINITE, NOT_A_NUMBER, TOO_GREAT

NAN = 0x7E00


def one_nan(patterns: np.ndarray) -> np.ndarray:
    """fp16 patterns, with the same one for all NaN."""
    return np.where(patterns & 0x7FFF > 0x7C00, NAN, patterns)


def wide(pattern: int) -> int:
    """The number of an fp16 pattern."""
    sign, field, fraction = pattern >> 15, pattern >> 10 & 31, pattern & 1023
    if field == 31:
        return sign << 16 | (NOT_A_NUMBER if fraction else INFINITE) << 10
    if field:
        return sign << 16 | field + 10 << 10 | fraction
    if not fraction:
        return sign << 16
    length = fraction.bit_length()
    return sign << 16 | length << 10 | fraction << 11 - length & 1023


def narrow(number: int) -> int:
    """The fp16 pattern of a number."""
    sign, exponent, fraction = number >> 16 << 15, number >> 10 & 63, number & 1023
    if exponent >= NOT_A_NUMBER:
        return NAN
    if exponent >= TOO_GREAT:
        return sign | 0x7C00
    if exponent > 10:
        return sign | exponent - 10 << 10 | fraction
    if not exponent:
        assert not fraction
        return sign
    assert not fraction & (1 << 11 - exponent) - 1, "bits below fp16's last"
    return sign | (1024 | fraction) >> 11 - exponent
