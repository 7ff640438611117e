"""When the exponent-integer elements give their results, and how wide their products are. No Amaranth here."""

from __future__ import annotations

import operator

from hw.formats.pairs import PairShape
from hw.timing import JOIN_HALVES, OUTPUT_ELEMENT, WEIGHT_ELEMENT

ONE_CYCLE = 4
"""Bits of a shift that are taken in one cycle: a longer one takes two."""
MOST_SUM_BITS = 80
"""Of an element."""


def product_bits(a: PairShape, b: PairShape) -> int:
    """Of the shifted product of two pairs, in two's complement."""
    return a.value_bits + b.value_bits


def shift_cycles(a: PairShape, b: PairShape) -> int:
    """Cycles that the shift takes besides the one in which a product without exponents is registered again."""
    return int((a.most_exponent + b.most_exponent).bit_length() > ONE_CYCLE)


def product_latency(a: PairShape, b: PairShape) -> int:
    """Pairs at a ``PairProduct`` to the product: factors, product, shift."""
    return 3 + shift_cycles(a, b)


def output_latency(activation: PairShape, weight: PairShape) -> int:
    """``hw.timing.OUTPUT_ELEMENT`` of an element for pairs: the last pair to the sum."""
    return OUTPUT_ELEMENT + shift_cycles(activation, weight)


def weight_latency(activation: PairShape, weight: PairShape) -> int:
    """``hw.timing.WEIGHT_ELEMENT`` of an element for pairs: an activation to the partial sum below."""
    return WEIGHT_ELEMENT + shift_cycles(activation, weight)


def half_shape(shape: PairShape) -> PairShape:
    """Of the halves of a pair with an integer of 5 to 8 bits (``hw.pe.fused``)."""
    if not 5 <= shape.integer_bits <= 8:
        raise ValueError(f"integer_bits must be 5 to 8 for halves of four, not {shape.integer_bits}")
    most = shape.most_exponent + 5
    return PairShape(most.bit_length(), 4, most)


def fused_latency(activation: PairShape, weight: PairShape) -> int:
    """Halves at a ``FusedElement`` to the sum of all."""
    return output_latency(activation, weight) + JOIN_HALVES


def checked_sum(sum_width: int, dropped: int, a: PairShape, b: PairShape) -> tuple[int, int]:
    """Bits of a sum and bits dropped of each product; ``ValueError`` where they are out of range."""
    sum_width, dropped = operator.index(sum_width), operator.index(dropped)
    if not 2 <= sum_width <= MOST_SUM_BITS:
        raise ValueError(f"sum_width must be 2 to {MOST_SUM_BITS}, not {sum_width!r}")
    bits = product_bits(a, b)
    if not 0 <= dropped < bits:
        raise ValueError(f"dropped must be 0 to {bits - 1}, not {dropped!r}")
    return sum_width, dropped
