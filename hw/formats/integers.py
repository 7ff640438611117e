"""Two's complement integers."""

from __future__ import annotations

from hw.formats.format import Format


def _signed(bits: int) -> tuple[int, ...]:
    half = 1 << bits - 1
    return (*range(half), *range(-half, 0))


INT8 = Format(name="int8", bits=8, values=_signed(8))
