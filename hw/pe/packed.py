"""Elements of two columns of a systolic array: int8 × two int4 in one multiplier of a DSP block."""

from __future__ import annotations

import operator

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from hw.pe.accumulate import GatedAdder
from hw.pe.multipliers.packed import JOINED_BITS, PRODUCT_BITS, PackedMultiplier
from hw.share import share


def sum_width(rows: int) -> int:
    """Bits of a sum of ``rows`` products of int8 and int4: 1024 at most each, and a sign."""
    return PRODUCT_BITS + ceil_log2(rows)


class PackedOutputElement(wiring.Component):
    """:class:`hw.pe.systolic.OutputStationaryElement` for two columns, with a sum for each.

    Members
    -------
    activation, last, activation_next, last_next, valid
        As there.
    weight : In(9)
        Of both columns (``hw.pe.multipliers.packed.joined``); ``weight_next``, one cycle later, to below.
    result : Out(64)
        The lower column's sum, and above it the upper one's; zero when there is none.

    Timing
    ------
    ``result`` comes ``hw.timing.OUTPUT_ELEMENT`` cycles after the last pair. One pair per cycle without a gap.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "activation": In(signed(8)),
                "weight": In(JOINED_BITS),
                "last": In(1),
                "activation_next": Out(signed(8)),
                "weight_next": Out(JOINED_BITS),
                "last_next": Out(1),
                "result": Out(64),
                "valid": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.multiplier = multiplier = share(PackedMultiplier)
        # Registers beside the adders: the multiplier may be far away.
        low, high = Signal(signed(PRODUCT_BITS)), Signal(signed(PRODUCT_BITS))
        product_last, multiplied_last, keep = Signal(), Signal(), Signal(init=1)
        totals = Signal(data.ArrayLayout(32, 2))
        m.submodules.low_adder = low_adder = share(GatedAdder, width=32, addend_width=PRODUCT_BITS)
        m.submodules.high_adder = high_adder = share(
            GatedAdder, width=32, addend_width=PRODUCT_BITS, carry=True
        )
        m.d.comb += [
            multiplier.value.eq(self.activation),
            multiplier.weights.eq(self.weight),
            low_adder.addend.eq(low),
            high_adder.addend.eq(high),
            # What the upper product lacks, see ``PackedMultiplier``.
            high_adder.carry.eq(low[-1]),
        ]
        for adder, total in zip((low_adder, high_adder), totals, strict=True):
            m.d.comb += [adder.total.eq(total), adder.keep.eq(keep)]
            m.d.sync += total.eq(adder.sum)
        m.d.sync += [
            self.activation_next.eq(self.activation),
            self.weight_next.eq(self.weight),
            self.last_next.eq(self.last),
            multiplied_last.eq(self.last_next),
            low.eq(multiplier.low_product),
            high.eq(multiplier.high_product),
            product_last.eq(multiplied_last),
            keep.eq(~product_last),
            self.valid.eq(~keep),
            self.result.eq(Mux(keep, 0, totals.as_value())),
        ]
        return m


class PackedWeightElement(wiring.Component):
    """:class:`hw.pe.systolic.WeightStationaryElement` for two columns, with a sum for each.

    Parameters
    ----------
    sum_width : int
        Bits of a partial sum, 12 to 32.

    Members
    -------
    activation, capture, swap, activation_next, capture_next, swap_next
        As there.
    weight : In(9)
        Of both columns (``hw.pe.multipliers.packed.joined``); ``weight_next``, one cycle later, to below.
    sum : In(2 * sum_width)
        The lower column's, and above it the upper one's; ``sum_next`` likewise.

    Timing
    ------
    As there.

    Raises
    ------
    TypeError, ValueError
        ``sum_width`` is not an integer of 12 to 32.
    """

    def __init__(self, *, sum_width: int) -> None:
        sum_width = operator.index(sum_width)
        if not PRODUCT_BITS <= sum_width <= 32:
            raise ValueError(f"sum_width must be {PRODUCT_BITS} to 32, not {sum_width!r}")
        self._width = sum_width
        super().__init__(
            {
                "activation": In(signed(8)),
                "weight": In(JOINED_BITS),
                "capture": In(1),
                "swap": In(1),
                "sum": In(2 * sum_width),
                "activation_next": Out(signed(8)),
                "weight_next": Out(JOINED_BITS),
                "capture_next": Out(1),
                "swap_next": Out(1),
                "sum_next": Out(2 * sum_width),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.multiplier = multiplier = share(PackedMultiplier)
        waiting, held = Signal(JOINED_BITS), Signal(JOINED_BITS)
        # Registers beside the adders: the multiplier may be far away.
        low, high = Signal(signed(PRODUCT_BITS)), Signal(signed(PRODUCT_BITS))
        above = (self.sum[: self._width], self.sum[self._width :])
        m.d.comb += [multiplier.value.eq(self.activation_next), multiplier.weights.eq(held)]
        m.d.sync += [
            self.activation_next.eq(self.activation),
            self.weight_next.eq(self.weight),
            self.capture_next.eq(self.capture),
            self.swap_next.eq(self.swap),
            low.eq(multiplier.low_product),
            high.eq(multiplier.high_product),
            # What the upper product lacks, see ``PackedMultiplier``.
            self.sum_next.eq(
                Cat((above[0] + low)[: self._width], (above[1] + high + low[-1])[: self._width])
            ),
        ]
        with m.If(self.capture_next):
            m.d.sync += waiting.eq(self.weight_next)
        with m.If(self.swap_next):
            m.d.sync += held.eq(waiting)
        return m
