"""Two products of an int8 operand in one multiplier of a DSP block."""

from __future__ import annotations

from amaranth.hdl import Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.pe.multiplier import RegisteredMultiplier
from hw.share import share

WEIGHT_BITS = 4
PRODUCT_BITS = 12
"""Of int8 times int4: from -1016 to 1024."""
LATENCY = 2
"""Of ``RegisteredMultiplier``."""


class PackedMultiplier(wiring.Component):
    """Products of an int8 value with two int4 weights: one multiplication by both, twelve bits apart.

    The lower product, where it is negative, takes one off the bits above it; its sign says so, and goes out beside the
    upper product,
    which an accumulator has a free carry for. The weights' sum needs a carry of four bits before it goes into the block.

    Members
    -------
    value : In(signed(8)), low, high : In(signed(4))
    low_product, high_product : Out(signed(12))
    high_lacks : Out(1)
        Two cycles later. ``value * high`` is ``high_product + high_lacks``.

    Both factors fit a block of 18 bits by 18: 17 of the weights, 8 of the value. Products of two int8 weights would need
    25 of 18.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "value": In(signed(8)),
                "low": In(signed(WEIGHT_BITS)),
                "high": In(signed(WEIGHT_BITS)),
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
        weights = Signal(signed(width))
        m.d.comb += [
            # Both fit: -8 is the least of them, and -8 * 2**12 - 8 has 17 bits.
            weights.eq((self.high << PRODUCT_BITS) + self.low),
            multiplier.a.eq(weights),
            multiplier.b.eq(self.value),
            self.low_product.eq(multiplier.product[:PRODUCT_BITS]),
            self.high_product.eq(multiplier.product[PRODUCT_BITS:]),
            self.high_lacks.eq(self.low_product < 0),
        ]
        return m
