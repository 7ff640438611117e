"""Processing elements of the systolic arrays: int8 × int8, links to neighbours only, the product registered."""

from __future__ import annotations

import operator

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.delay import OWN, without_reset
from hw.pe.accumulate import GatedAdder
from hw.pe.multiplier import RegisteredMultiplier
from hw.pe.multipliers.carry_save import LOWEST_CARRY, CarrySaveMac, checked_width, multiply_add
from hw.share import share


class OutputStationaryElement(wiring.Component):
    """Sums the products of the pairs of operands that pass, and lets the sum out on the last pair.

    Members
    -------
    activation, weight : In(signed(8))
        Operands of this cycle. A zero activation leaves the sum alone.
    last : In(1)
        The pair is the last of its sum.
    activation_next, weight_next, last_next : Out
        The same, one cycle later, for the neighbours.
    result : Out(32)
        The sum, two's complement, in one cycle; zero in all others, so that results may be joined by OR.
    valid : Out(1)
        ``result`` is a sum.

    Timing
    ------
    ``result`` comes ``hw.timing.OUTPUT_ELEMENT`` cycles after the last pair; the next pair belongs to the next sum. One pair per
    cycle without a gap. A reset of ``hw.timing.RESET`` cycles leaves no sum: products under way have left it by then.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "activation": In(signed(8)),
                "weight": In(signed(8)),
                "last": In(1),
                "activation_next": Out(signed(8)),
                "weight_next": Out(signed(8)),
                "last_next": Out(1),
                "result": Out(32),
                "valid": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.multiplier = multiplier = share(RegisteredMultiplier, a_width=8, b_width=8, signed=True)
        m.submodules.adder = adder = share(GatedAdder, width=32, addend_width=16)
        # A register beside the adder: the multiplier may be far away.
        product = Signal(signed(16), reset_less=True)
        # Elements on a diagonal have the same: each keeps its own. In a reset ``keep`` clears the sum, which has none.
        multiplied_last, product_last, keep, ended = Signal(), Signal(attrs=OWN), Signal(attrs=OWN), Signal()
        total, weight = Signal(32, reset_less=True), without_reset(m, self.weight_next)
        result = without_reset(m, self.result)
        m.d.comb += [
            multiplier.a.eq(self.activation),
            multiplier.b.eq(self.weight),
            adder.total.eq(total),
            adder.keep.eq(keep),
            adder.addend.eq(product),
        ]
        m.d.sync += [
            self.activation_next.eq(self.activation),
            weight.eq(self.weight),
            self.last_next.eq(self.last),
            multiplied_last.eq(self.last_next),
            product.eq(multiplier.product),
            product_last.eq(multiplied_last),
            keep.eq(~product_last),
            ended.eq(product_last),
            total.eq(adder.sum),
            self.valid.eq(ended),
            result.eq(Mux(keep, 0, total)),
        ]
        return m


class CarrySaveOutputElement(wiring.Component):
    """:class:`OutputStationaryElement` whose sum is two rows of bits, which are added elsewhere: no adder carries here.

    Members
    -------
    activation, weight, last, activation_next, weight_next, last_next, valid
        As there.
    result : Out(32 + 29)
        The sum's first row, and above it what there is of the second (``hw.pe.multipliers.carry_save.whole``); zero when there is
        none.

    Timing
    ------
    ``result`` comes ``hw.timing.OUTPUT_CARRY_SAVE - 1`` cycles after the last pair. One pair per cycle without a gap.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "activation": In(signed(8)),
                "weight": In(signed(8)),
                "last": In(1),
                "activation_next": Out(signed(8)),
                "weight_next": Out(signed(8)),
                "last_next": Out(1),
                "result": Out(2 * 32 - LOWEST_CARRY),
                "valid": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.mac = mac = CarrySaveMac(width=32)
        keep = Signal(init=1)
        m.d.comb += [
            mac.a.eq(self.weight),
            mac.b.eq(self.activation),
            mac.keep.eq(keep),
            self.weight_next.eq(mac.a_next),
            self.activation_next.eq(mac.b_next),
        ]
        m.d.sync += [
            self.last_next.eq(self.last),
            keep.eq(~self.last_next),
            self.valid.eq(~keep),
            self.result.eq(Mux(keep, 0, Cat(mac.total, mac.carry[LOWEST_CARRY:]))),
        ]
        return m


class WeightStationaryElement(wiring.Component):
    """Adds activation × held weight to the partial sum from above; the next weight is loaded meanwhile.

    Parameters
    ----------
    sum_width : int
        Bits of a partial sum, 16 to 32.

    Members
    -------
    activation : In(signed(8))
        From the left; ``activation_next``, one cycle later, to the right.
    weight : In(signed(8))
        From above; ``weight_next``, one cycle later, to below.
    capture : In(1)
        The weight of this cycle is this element's next one. ``capture_next``, one cycle later, to the right.
    swap : In(1)
        The next weight is held from the activation of the cycle after this one on. ``swap_next``, one cycle later, to the right.
    sum : In(signed(sum_width))
        From above, ``hw.timing.WEIGHT_ELEMENT - 1`` cycles after the activation that it belongs to; ``sum_next``, one cycle
        later, to below.

    Timing
    ------
    A weight captured in cycle t may be swapped in by a ``swap`` in cycle t + 1 or later, and another weight may be captured
    in the cycle of the ``swap``.

    Raises
    ------
    TypeError, ValueError
        ``sum_width`` is not an integer of 16 to 32.
    """

    def __init__(self, *, sum_width: int) -> None:
        sum_width = operator.index(sum_width)
        if not 16 <= sum_width <= 32:
            raise ValueError(f"sum_width must be 16 to 32, not {sum_width!r}")
        super().__init__(
            {
                "activation": In(signed(8)),
                "weight": In(signed(8)),
                "capture": In(1),
                "swap": In(1),
                "sum": In(signed(sum_width)),
                "activation_next": Out(signed(8)),
                "weight_next": Out(signed(8)),
                "capture_next": Out(1),
                "swap_next": Out(1),
                "sum_next": Out(signed(sum_width)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.multiplier = multiplier = share(RegisteredMultiplier, a_width=8, b_width=8, signed=True)
        waiting, held = Signal(signed(8), reset_less=True), Signal(signed(8), reset_less=True)
        # A register beside the adder: the multiplier may be far away.
        product = Signal(signed(16), reset_less=True)
        activation, weight, sum_ = (
            without_reset(m, output) for output in (self.activation_next, self.weight_next, self.sum_next)
        )
        m.d.comb += [multiplier.a.eq(activation), multiplier.b.eq(held)]
        m.d.sync += [
            activation.eq(self.activation),
            weight.eq(self.weight),
            self.capture_next.eq(self.capture),
            self.swap_next.eq(self.swap),
            product.eq(multiplier.product),
            sum_.eq(self.sum + product),
        ]
        with m.If(self.capture_next):
            m.d.sync += waiting.eq(self.weight_next)
        with m.If(self.swap_next):
            m.d.sync += held.eq(waiting)
        return m


class CarrySaveWeightElement(wiring.Component):
    """:class:`WeightStationaryElement` whose sum is two rows of bits, which are added below the column.

    Parameters
    ----------
    sum_width : int
        Bits of a partial sum, 16 to 64.

    Members
    -------
    activation, weight, capture, swap, activation_next, weight_next, capture_next, swap_next
        As there.
    sum : In(2 * sum_width - 3)
        From above: the first row, and above it what there is of the second (``hw.pe.multipliers.carry_save.whole``), a cycle
        after the activation that it belongs to; ``sum_next``, one cycle later, to below.

    Timing
    ------
    As there. From registers to rows no path is longer for a wider sum.

    Raises
    ------
    TypeError, ValueError
        ``sum_width`` is not an integer of 16 to 64.

    Reference
    ---------
    HPCA 2025, OPT1, weight-stationary.
    """

    def __init__(self, *, sum_width: int) -> None:
        self._width = checked_width("sum_width", sum_width)
        rows = 2 * self._width - LOWEST_CARRY
        super().__init__(
            {
                "activation": In(signed(8)),
                "weight": In(signed(8)),
                "capture": In(1),
                "swap": In(1),
                "sum": In(rows),
                "activation_next": Out(signed(8)),
                "weight_next": Out(signed(8)),
                "capture_next": Out(1),
                "swap_next": Out(1),
                "sum_next": Out(rows),
            }
        )

    def elaborate(self, platform):
        m = Module()
        waiting, held = Signal(signed(8)), Signal(signed(8))
        total, carry = self.sum[: self._width], Cat(Const(0, LOWEST_CARRY), self.sum[self._width :])
        sums, carries = multiply_add(m, held, self.activation_next, total, carry)
        m.d.sync += [
            self.activation_next.eq(self.activation),
            self.weight_next.eq(self.weight),
            self.capture_next.eq(self.capture),
            self.swap_next.eq(self.swap),
            self.sum_next.eq(Cat(sums, carries[LOWEST_CARRY:])),
        ]
        with m.If(self.capture_next):
            m.d.sync += waiting.eq(self.weight_next)
        with m.If(self.swap_next):
            m.d.sync += held.eq(waiting)
        return m
