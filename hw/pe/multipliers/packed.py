"""Two products of an int8 operand in one multiplier of a DSP block."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.pe.multiplier import RegisteredMultiplier
from hw.share import share

WEIGHT_BITS = 4
JOINED_BITS = 2 * WEIGHT_BITS + 1
PRODUCT_BITS = 12
"""Of int8 times int4: from -1016 to 1024."""
LATENCY = 2
"""Of ``RegisteredMultiplier``."""


def joined(weights: Value) -> Value:
    """Two int4 weights, one above the other: the lower one, and the upper one, in a bit more, less 1 if the lower is negative.

    As in their sum, twelve bits apart; a row or column of multipliers needs it once.
    """
    low, high = weights[:WEIGHT_BITS], weights[WEIGHT_BITS:].as_signed()
    return Cat(low, (high - low[-1])[: WEIGHT_BITS + 1])


class PackedMultiplier(wiring.Component):
    """Products of an int8 value with two int4 weights: one multiplication by both, twelve bits apart.

    The lower product, where it is negative, takes one off the bits above it; its sign says so, and goes out beside the
    upper product, which an accumulator has a free carry for.

    Members
    -------
    value : In(signed(8)), weights : In(9)
        ``weights`` as ``joined`` gives them.
    low_product, high_product : Out(signed(12))
    high_lacks : Out(1)
        Two cycles later. ``value`` times the upper weight is ``high_product + high_lacks``.

    Both factors fit a block of 18 bits by 18: 17 of the weights, 8 of the value. Products of two int8 weights would need
    25 of 18.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "value": In(signed(8)),
                "weights": In(JOINED_BITS),
                "low_product": Out(signed(PRODUCT_BITS)),
                "high_product": Out(signed(PRODUCT_BITS)),
                "high_lacks": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        width = PRODUCT_BITS + WEIGHT_BITS + 1
        m.submodules.multiplier = multiplier = share(
            RegisteredMultiplier, a_width=width, b_width=len(self.value), signed=True
        )
        low, high = self.weights[:WEIGHT_BITS], self.weights[WEIGHT_BITS:]
        m.d.comb += [
            # Both fit: -8 is the least of them, and -8 * 2**12 - 8 has 17 bits.
            multiplier.a.eq(Cat(low, low[-1].replicate(PRODUCT_BITS - WEIGHT_BITS), high)),
            multiplier.b.eq(self.value),
            self.low_product.eq(multiplier.product[:PRODUCT_BITS]),
            self.high_product.eq(multiplier.product[PRODUCT_BITS:]),
            self.high_lacks.eq(self.low_product < 0),
        ]
        return m
