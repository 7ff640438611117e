"""BitMoD: sign and magnitude whose code for -0 stands for a special value, chosen per block.

Reference: BitMoD, Chen et al., HPCA 2025, table IV and section III.
"""

from __future__ import annotations

from hw.formats.format import Format, second_level

FP3 = (0, 1, 2, 4)
"""Magnitudes by code."""
FP4 = (0, 1, 2, 3, 4, 6, 8, 12)
"""Magnitudes by code, in halves: E2M1."""
EXTRA = {3: {"er": 3, "ea": 6}, 4: {"er": 10, "ea": 16}}
"""Special values in the same units: extra resolution, and extra asymmetry."""
KINDS = {"er": ("er",), "ea": ("ea",), "mixed": ("er", "ea")}


def table(magnitudes: tuple[int, ...], special: int | None) -> tuple[int | None, ...]:
    """By code, sign bit first; the place of -0 is the special value's."""
    return (*magnitudes, special, *(-v for v in magnitudes[1:]))


def _format(bits: int, kind: str) -> Format:
    magnitudes = FP3 if bits == 3 else FP4
    specials = [sign * EXTRA[bits][one] for one in KINDS[kind] for sign in (1, -1)]
    return Format(
        name=f"fp{bits}-{kind}", bits=bits, tables=[table(magnitudes, special) for special in specials],
        unit=0 if bits == 3 else -1, rule="bitmod", shared="block", block=128, scale="fp16",
        summary=f"FP{bits} with one of {', '.join(f'{v if bits == 3 else v / 2:g}' for v in specials)} in place of -0",
    )  # fmt: skip


_SINGLE = tuple(_format(bits, kind) for bits in (3, 4) for kind in KINDS)
BITMOD = (*_SINGLE, *map(second_level, _SINGLE))
