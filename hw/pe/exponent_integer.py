"""Processing elements that take exponents and integers: integers are multiplied, exponents added, the product shifted by these.

Reference: OliVe, Guo et al., ISCA 2023, section 4.
"""

from __future__ import annotations

import operator

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.delay import delayed
from hw.formats.pairs import PairShape
from hw.pe.accumulate import GatedAdder
from hw.pe.decoder import pair_layout
from hw.pe.exponent_integer_times import checked_sum, product_bits, product_latency, shift_cycles
from hw.pe.multiplier import RegisteredMultiplier
from hw.share import share

SMALL = 10
"""Bits of both integers up to which their product is made of look-up tables, wherever there are DSP blocks."""


class SmallMultiplier(wiring.Component):
    """As :class:`hw.pe.multiplier.RegisteredMultiplier` of signed factors, of rows that are added up: never a DSP block.

    Parameters
    ----------
    a_width, b_width : int
        Bits of the factors, 1 or more.

    Members
    -------
    a, b : In
    product : Out(signed(a_width + b_width))
        Two cycles later.
    """

    def __init__(self, *, a_width: int, b_width: int) -> None:
        a_width, b_width = operator.index(a_width), operator.index(b_width)
        for name, width in (("a_width", a_width), ("b_width", b_width)):
            if width < 1:
                raise ValueError(f"{name} must be 1 or more, not {width!r}")
        super().__init__(
            {"a": In(signed(a_width)), "b": In(signed(b_width)), "product": Out(signed(a_width + b_width))}
        )

    def elaborate(self, platform):
        m = Module()
        a, b = Signal.like(self.a), Signal.like(self.b)
        m.d.sync += [a.eq(self.a), b.eq(self.b), self.product.eq(row_product(a, b))]
        return m


def row_product(a: Value, b: Value) -> Value:
    """Signed product as a sum of rows; that of the highest bit of ``b`` is taken off."""
    rows = [(a.as_unsigned() & bit.replicate(len(a))).as_signed() << place for place, bit in enumerate(b)]
    return sum(rows[:-1]) - rows[-1]


class PairProduct(wiring.Component):
    """The product of two pairs, shifted into place.

    Parameters
    ----------
    a, b : PairShape
    width : int
        Bits of the product that are kept, above those that are dropped; no more than it has.
    dropped : int
        Lowest bits of the product that are cut off.

    Members
    -------
    a : In(pair_layout(a)), b : In(pair_layout(b))
    product : Out(signed(width))
        ``(a.integer * b.integer << a.exponent + b.exponent) >> dropped``, without what is above its bits.

    Timing
    ------
    ``product`` comes ``product_latency`` cycles later: factors, product, shift (two if it is long).
    """

    def __init__(self, *, a: PairShape, b: PairShape, width: int, dropped: int) -> None:
        self._shapes, self._dropped = (a, b), dropped
        super().__init__({"a": In(pair_layout(a)), "b": In(pair_layout(b)), "product": Out(signed(width))})

    def elaborate(self, platform):
        m = Module()
        a, b = self._shapes
        widths = {"a_width": a.integer_bits, "b_width": b.integer_bits}
        small = sum(widths.values()) <= SMALL
        m.submodules.multiplier = multiplier = (
            share(SmallMultiplier, **widths) if small else share(RegisteredMultiplier, signed=True, **widths)
        )
        m.d.comb += [multiplier.a.eq(self.a.integer), multiplier.b.eq(self.b.integer)]
        shift = Signal(range(a.most_exponent + b.most_exponent + 1))
        pairs = zip((self.a, self.b), self._shapes, strict=True)
        exponents = [delayed(m, pair.exponent, 1) for pair, shape in pairs if shape.exponent_bits]
        if exponents:
            m.d.sync += shift.eq(sum(exponents))
        value, levels = multiplier.product, len(shift)
        split = levels // 2 if shift_cycles(a, b) else 0
        for level in range(levels):
            if level and level == split:
                value, shift = delayed(m, value, 1).as_signed(), delayed(m, shift, 1)
            value = _shifted(m, value, level, shift[level], len(self.product) + self._dropped)
        m.d.sync += self.product.eq(value >> self._dropped)
        return m


def _shifted(m: Module, value: Value, level: int, far: Value, most: int) -> Value:
    """``value``, or with ``far`` shifted up by ``2**level``; of ``most`` bits, those above do not matter."""
    shifted = Signal(signed(min(most, len(value) + (1 << level))), name=f"shifted_{level}")
    m.d.comb += shifted.eq(Mux(far, Cat(Const(0, 1 << level), value).as_signed(), value))
    return shifted


def _product(a: PairShape, b: PairShape, sum_width: int, dropped: int):
    width = min(sum_width, product_bits(a, b) - dropped)
    return share(PairProduct, a=a, b=b, width=width, dropped=dropped)


class OutputStationaryElement(wiring.Component):
    """Sums the products of the pairs that pass, and lets the sum out on the last: as ``hw.pe.systolic.OutputStationaryElement``.

    Parameters
    ----------
    activation, weight : PairShape
        Of the operands. Without exponents there is no shifter.
    sum_width : int
        Bits of the sum, 2 to 80; it wraps (``hw.formats.pairs.Accumulator`` knows how many it takes).
    dropped : int
        Lowest bits of each product that are cut off before it is added; the sum counts in ``2**dropped``.

    Members
    -------
    activation : In(pair_layout(activation)), weight : In(pair_layout(weight))
        Operands of this cycle. A zero integer leaves the sum alone.
    last : In(1)
        The pair of operands is the last of its sum.
    activation_next, weight_next, last_next : Out
        The same, one cycle later, for the neighbours.
    result : Out(sum_width)
        The sum, two's complement, in one cycle; zero in all others.
    valid : Out(1)
        ``result`` is a sum.

    Timing
    ------
    ``result`` comes ``output_latency`` cycles after the last operands; the next ones belong to the next sum.

    Raises
    ------
    TypeError, ValueError
        ``sum_width`` or ``dropped`` is not an integer in range: at least one bit of a product must be left.
    """

    def __init__(self, *, activation: PairShape, weight: PairShape, sum_width: int, dropped: int = 0) -> None:
        self._shapes = activation, weight
        sum_width, self._dropped = checked_sum(sum_width, dropped, activation, weight)
        operands = {"activation": pair_layout(activation), "weight": pair_layout(weight), "last": 1}
        super().__init__(
            {name: In(shape) for name, shape in operands.items()}
            | {f"{name}_next": Out(shape) for name, shape in operands.items()}
            | {"result": Out(sum_width), "valid": Out(1)}
        )

    def elaborate(self, platform):
        m = Module()
        width = len(self.result)
        m.submodules.product = product = _product(*self._shapes, width, self._dropped)
        m.submodules.adder = adder = share(GatedAdder, width=width, addend_width=len(product.product))
        last = delayed(m, self.last_next, product_latency(*self._shapes) - 1)
        keep, total = Signal(init=1), Signal(width)
        m.d.comb += [
            product.a.eq(self.activation),
            product.b.eq(self.weight),
            adder.total.eq(total),
            adder.keep.eq(keep),
            adder.addend.eq(product.product),
        ]
        m.d.sync += [
            self.activation_next.eq(self.activation),
            self.weight_next.eq(self.weight),
            self.last_next.eq(self.last),
            keep.eq(~last),
            total.eq(adder.sum),
            self.valid.eq(~keep),
            self.result.eq(Mux(keep, 0, total)),
        ]
        return m


class WeightStationaryElement(wiring.Component):
    """Adds activation × held weight to the partial sum from above: as ``hw.pe.systolic.WeightStationaryElement``.

    Parameters
    ----------
    activation, weight, sum_width, dropped
        As of :class:`OutputStationaryElement`.

    Members
    -------
    activation : In(pair_layout(activation))
        From the left; ``activation_next``, one cycle later, to the right.
    weight : In(pair_layout(weight))
        From above; ``weight_next``, one cycle later, to below.
    capture : In(1)
        The weight of this cycle is this element's next one. ``capture_next``, one cycle later, to the right.
    swap : In(1)
        The next weight is held from the activation of the cycle after this one on. ``swap_next``, one cycle later, to the right.
    sum : In(signed(sum_width))
        From above, ``weight_latency - 1`` cycles after its activation; ``sum_next``, one cycle later, to below.

    Timing
    ------
    A weight captured in cycle t may be swapped in by a ``swap`` in cycle t + 1 or later, and another weight may be captured
    in the cycle of the ``swap``.

    Raises
    ------
    TypeError, ValueError
        As of :class:`OutputStationaryElement`.
    """

    def __init__(self, *, activation: PairShape, weight: PairShape, sum_width: int, dropped: int = 0) -> None:
        self._shapes = activation, weight
        sum_width, self._dropped = checked_sum(sum_width, dropped, activation, weight)
        passed = {
            "activation": pair_layout(activation), "weight": pair_layout(weight), "capture": 1, "swap": 1,
            "sum": signed(sum_width),
        }  # fmt: skip
        super().__init__(
            {name: In(shape) for name, shape in passed.items()}
            | {f"{name}_next": Out(shape) for name, shape in passed.items()}
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.product = product = _product(*self._shapes, len(self.sum), self._dropped)
        waiting, held = Signal.like(self.weight), Signal.like(self.weight)
        m.d.comb += [product.a.eq(self.activation_next), product.b.eq(held)]
        m.d.sync += [
            self.activation_next.eq(self.activation),
            self.weight_next.eq(self.weight),
            self.capture_next.eq(self.capture),
            self.swap_next.eq(self.swap),
            self.sum_next.eq(self.sum + product.product),
        ]
        with m.If(self.capture_next):
            m.d.sync += waiting.eq(self.weight_next)
        with m.If(self.swap_next):
            m.d.sync += held.eq(waiting)
        return m
