"""Widths and times of ``hw.pe.block_scale``. No Amaranth here."""

from __future__ import annotations

from collections.abc import Sequence

from hw.design import ceil_div
from hw.pe.lookup_times import product_cycles

SIGNIFICAND = {"": 0, "e8m0": 0, "e4m3": 4, "int8": 8, "fp16": 11}
"""Bits of a scale's significand by its type; none where it is a power of two."""
E8M0_LEAST, E8M0_MOST = -94, 48
"""What the sum of the exponents of both operands' E8M0 scales is limited to."""
KEPT = 24
"""Bits of a float32's."""
SHIFTS = 2
"""Binary shifts in a cycle."""


def factor_bits(kinds: Sequence[str]) -> int:
    """Of the significand of scales of one operand, of several types."""
    return max(SIGNIFICAND[kind] for kind in kinds)


def steps(most: int) -> tuple[int, ...]:
    """Powers of two by which a number is shifted up by 0 to ``most`` places, the greatest first."""
    return tuple(1 << place for place in reversed(range(most.bit_length())))


def shift_cycles(most: int) -> int:
    """Cycles that this takes."""
    return ceil_div(len(steps(most)), SHIFTS)


def block_scale_latency(width: int, x_kinds: Sequence[str], w_kinds: Sequence[str]) -> int:
    """Sum and scales at a ``BlockScale`` to the result: magnitude, shift, rounding, product, shift, rounding."""
    factors = [bits for bits in map(factor_bits, (x_kinds, w_kinds)) if bits]
    sums = 1 + shift_cycles(max(width, KEPT) - 1) + 1
    if not factors:
        return sums + 1
    return (
        max(sums, scale_cycles(x_kinds, w_kinds))
        + product_cycles(sum(factors))
        + shift_cycles(sum(factors))
        + 1
    )


def scale_cycles(x_kinds: Sequence[str], w_kinds: Sequence[str]) -> int:
    """Scales to the product of their significands and the sum of their exponents."""
    factors = [bits for bits in map(factor_bits, (x_kinds, w_kinds)) if bits]
    return 3 if len(factors) < 2 else 1 + max(2, product_cycles(factors[1]))
