"""Bit-serial element for fp16 activations: exponent match, shifted sum of the lanes, group sum with an exponent, dequantisation.

``sim.bit_serial_fp16`` defines what it computes, bit for bit.

Reference
---------
BitMoD: Bit-serial Mixture-of-Datatype LLM Acceleration (Chen et al., HPCA 2025), section IV-B, figure 5. Unlike the draft of it
that was published, it moves the smaller operand of the group's sum whichever it is, clears the product before each scale, rounds,
and lets a float32 out.
"""

from __future__ import annotations

import operator
from typing import get_args

from amaranth.hdl import C, Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.data import ArrayLayout, StructLayout
from amaranth.lib.wiring import In, Out

from hw.delay import delayed
from hw.pe.accumulate import GatedAdder
from hw.pe.dequantiser import EXPONENT, WINDOW, Dequantiser
from hw.pe.element_times import Rounding, fp16_times, tree_cycles
from hw.pe.terms import TERM
from hw.share import share

FP16 = StructLayout({"fraction": 10, "exponent": 5, "sign": 1})
"""An activation."""
LANES = (1, 2, 4, 8)
ROUNDINGS = get_args(Rounding)
SUM = 18
"""Bits of a group's sum: a sign, 14 and three more."""
OFFSET = 55
"""In all exponents but those of the lanes: that of the float32 is then 64 more than what is left of it."""


def check(lanes: int, rounding: str) -> int:
    """``lanes`` as an int; both must be allowed."""
    lanes = operator.index(lanes)
    if lanes not in LANES:
        raise ValueError(f"lanes must be one of {', '.join(map(str, LANES))}, not {lanes!r}")
    if rounding not in ROUNDINGS:
        raise ValueError(f"rounding must be one of {', '.join(ROUNDINGS)}, not {rounding!r}")
    return lanes


def extra_bits(lanes: int) -> int:
    """Bits that a sum of ``lanes`` has more than each of them."""
    return (lanes - 1).bit_length()


Addend = tuple[Value, Value]
"""A value, and what must be added to it: 0 or 1."""


def plus(a: Value, b: Value, one: Value, also: Value | None = None) -> Value:
    """``a + b + one`` in one carry chain, signed; with ``also``, both must be 1 to count."""
    total = Cat(C(1, 1) if also is None else also, a).as_signed() + Cat(one, b).as_signed()
    return total[1:].as_signed()


def shifted(m: Module, value: Value, places: Value, *, sticky: bool) -> tuple[Value, Value]:
    """``value >> places``, and whether a one was lost on the way (0 without ``sticky``)."""
    lost: Value = Value.cast(0)
    for bit in reversed(range(len(places))):
        moved = Signal(value.shape(), name=f"moved_{1 << bit}")
        m.d.comb += moved.eq(Mux(places[bit], value >> (1 << bit), value))
        if sticky:
            lost = lost | (places[bit] & value[: 1 << bit].any())
        value = moved
    return value, lost


class DotProduct(wiring.Component):
    """Sum of the lanes' significands, each with its term's sign and moved right to the greatest exponent of all.

    Parameters
    ----------
    lanes : int
        Products per cycle, 1, 2, 4 or 8.
    rounding : str
        Of what moves right: ``nearest`` (even) or ``truncate``.

    Members
    -------
    activations : In(ArrayLayout(FP16, lanes)), terms : In(ArrayLayout(TERM, lanes))
        ``activations_next`` and ``terms_next``, one cycle later, to the neighbours.
    exponent : Out(6)
        The greatest sum of the exponents of an activation and its term, zeros included.
    product : Out(signed(15 + extra_bits(lanes)))
        In eighths of a significand's unit.

    Timing
    ------
    One slice per cycle; ``exponent`` comes 2 + ``tree_cycles(lanes)`` cycles after the terms, and ``product`` one later.
    """

    def __init__(self, *, lanes: int, rounding: str) -> None:
        self._lanes, self._rounding = check(lanes, rounding), rounding
        super().__init__(
            {
                "activations": In(ArrayLayout(FP16, self._lanes)),
                "terms": In(ArrayLayout(TERM, self._lanes)),
                "activations_next": Out(ArrayLayout(FP16, self._lanes)),
                "terms_next": Out(ArrayLayout(TERM, self._lanes)),
                "exponent": Out(6),
                "product": Out(signed(WINDOW + 1 + extra_bits(self._lanes))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.d.sync += [self.activations_next.eq(self.activations), self.terms_next.eq(self.terms)]
        places = []
        for lane in range(self._lanes):
            exponent = self.activations[lane].exponent
            place = Signal(6, name=f"places_{lane}", reset_less=True)
            m.d.sync += place.eq((exponent | (exponent == 0)) + self.terms[lane].exponent)
            places.append(place)
        greatest = Signal(6, reset_less=True)
        m.d.sync += greatest.eq(self._greatest(m, places))
        m.d.comb += self.exponent.eq(delayed(m, greatest, tree_cycles(self._lanes)))
        addends = [self._lane(m, lane, places[lane], greatest) for lane in range(self._lanes)]
        for stage in range(tree_cycles(self._lanes)):
            addends = self._add(m, addends, first=stage == 0)
        m.d.comb += self.product.eq(addends[0][0])
        return m

    @staticmethod
    def _add(m: Module, addends: list[Addend], *, first: bool) -> list[Addend]:
        """Sums of pairs. Each takes the one that its left addend lacks; that of the last addend goes in on its own."""
        if first:
            (*others, (value, one)) = addends
            addends = [*others, (plus(value, C(0, 1), one), C(0, 1))]
        pairs = zip(addends[::2], addends[1::2], strict=len(addends) > 1)
        sums = [(plus(a, b, a_one), b_one) for (a, a_one), (b, b_one) in pairs]
        result: list[Addend] = []
        for value, one in sums or addends:
            held = Signal(signed(len(value)), name="held_value", reset_less=True)
            m.d.sync += held.eq(value)
            result.append((held, delayed(m, one, 1)))
        return result

    @staticmethod
    def _greatest(m: Module, values: list[Signal]) -> Signal:
        while len(values) > 1:
            winners = [Signal(6, name="winner") for _ in values[::2]]
            for winner, a, b in zip(winners, values[::2], values[1::2], strict=True):
                m.d.comb += winner.eq(Mux(a < b, b, a))
            values = winners
        return values[0]

    def _lane(self, m: Module, lane: int, places: Signal, greatest: Signal) -> Addend:
        """The lane's addend, from ``places`` of the cycle before ``greatest``."""
        activation, term = self.activations_next[lane], self.terms_next[lane]
        nearest = self._rounding == "nearest"
        held = Signal(11, name=f"significand_{lane}", reset_less=True)
        own = Signal(6, name=f"own_{lane}", reset_less=True)
        negative, man = (Signal(name=f"{name}_{lane}", reset_less=True) for name in ("negative", "man"))
        m.d.sync += [
            held.eq(Cat(activation.fraction, activation.exponent.any())),
            own.eq(places),
            negative.eq(activation.sign ^ term.sign),
            man.eq(term.man),
        ]
        distance = Signal(6, name=f"distance_{lane}")
        m.d.comb += distance.eq(greatest - own)
        # One bit below the window decides, with what was lost below it.
        window, lost = shifted(m, Cat(Value.cast(0).replicate(4), held), distance[:4], sticky=nearest)
        up = window[0] & (lost | window[1]) & nearest
        value = Signal(signed(WINDOW + 1), name=f"value_{lane}", reset_less=True)
        one = Signal(name=f"one_{lane}", reset_less=True)
        # -(magnitude + up) is ~magnitude + 1 - up.
        m.d.sync += [value.eq(Cat(window[1:] ^ negative.replicate(WINDOW), negative)), one.eq(negative ^ up)]
        with m.If(~man | distance[4:].any()):
            m.d.sync += [value.eq(0), one.eq(0)]
        return value, one


class GroupSum(wiring.Component):
    """Sum of the dot products of a group, with an exponent of its own.

    What has outgrown its bits is halved at the next addition, where it has to be moved anyway. The exponents of sum and addend
    are known a cycle ahead but for that place: what is kept is how far apart they are, not the exponent of the sum.

    Parameters
    ----------
    lanes, rounding
        As for :class:`DotProduct`.

    Members
    -------
    exponent, product : In
        Of :class:`DotProduct`.
    significance : In(3)
        0 to 6, with ``exponent``.
    first : In(1)
        The slice whose ``product`` came two cycles ago is the first of its group.
    before : In(1)
        The next cycle's will be.
    value : Out(signed(15)), up : Out(1), sum_exponent : Out(7)
        With ``first``: mantissa of the group before, rounded down; 1 must be added to it; its exponent and ``OFFSET``.
    """

    def __init__(self, *, lanes: int, rounding: str) -> None:
        self._lanes, self._rounding = check(lanes, rounding), rounding
        super().__init__(
            {
                "exponent": In(6),
                "product": In(signed(WINDOW + 1 + extra_bits(self._lanes))),
                "significance": In(3),
                "first": In(1),
                "before": In(1),
                "value": Out(signed(WINDOW + 1)),
                "up": Out(1),
                "sum_exponent": Out(EXPONENT),
            }
        )

    def elaborate(self, platform):
        m = Module()
        nearest = self._rounding == "nearest"
        coming, exponent, addend, empty = self._addend(m)
        total, held, outgrown = Signal(signed(SUM + 1)), Signal(signed(SUM)), Signal()
        m.d.comb += [
            outgrown.eq(total[-1] ^ total[-2]),
            held.eq(Mux(outgrown, Cat(total[1] | (total[0] & nearest), total[2:]), total).as_signed()),
        ]
        # The addend's exponent is greater than the sum's, or the sum is another group's.
        greater = Signal(init=1)
        apart, below = self._apart(m, coming, exponent, greater, outgrown, empty)
        distance, move_total, move_addend = Signal(4, reset_less=True), Signal(), Signal()
        near = (apart[4:EXPONENT] == below.replicate(EXPONENT - 4)) & ~self.before
        m.d.sync += [
            greater.eq(~below | self.before),
            distance.eq(apart[:4] ^ below.replicate(4)),
            move_total.eq(near & ~below),
            move_addend.eq(near & below),
        ]
        # The smaller operand with a bit below its lowest: the sum moves one place more than ``distance``, the addend ``halve``.
        smaller, halve, little = Signal(signed(SUM + 1)), outgrown & ~greater, Signal(signed(SUM + 1))
        m.d.comb += smaller.eq(Mux(move_total, total, 0) | Mux(move_addend, addend << 1, 0))
        moved, lost = shifted(m, smaller, distance, sticky=nearest)
        m.d.comb += little.eq(Mux(halve, moved >> 1, moved))
        up = (lost | (halve & moved[0]) | little[1]) & nearest
        with m.If(self.first | ~empty):
            m.d.sync += total.eq(plus(Mux(greater, addend, held), little[1:].as_signed(), up, little[0]))
        m.d.comb += [
            self.value.eq(held[3:]),
            self.up.eq(held[2] & (held[:2].any() | held[3]) & nearest),
        ]
        return m

    def _apart(
        self, m: Module, coming: Signal, exponent: Signal, greater: Signal, outgrown: Signal, empty: Signal
    ) -> tuple[Value, Value]:
        """How far the next addend's exponent is above the sum's, less one, and whether that is less than 0.

        The sum's exponent is this addend's, if that is ``greater``; otherwise as much more as there is between them, and one
        more when the sum has ``outgrown`` its bits; an ``empty`` addend changes nothing.
        """
        apart = Signal(EXPONENT, reset_less=True)
        m.submodules.difference = difference = share(
            GatedAdder, width=EXPONENT + 3, addend_width=EXPONENT + 2
        )
        m.d.comb += [
            difference.total.eq(Cat(empty | ~outgrown, apart, C(0b11, 2))),
            difference.keep.eq(~greater),
            difference.addend.eq(Cat(C(1, 1), (coming + ~Cat(exponent, C(0, 1)))[: EXPONENT + 1])),
            self.sum_exponent.eq(exponent + ~apart + outgrown),
        ]
        m.d.sync += apart.eq(difference.sum[1:])
        return difference.sum[1 : EXPONENT + 1], difference.sum[EXPONENT + 1]

    def _addend(self, m: Module) -> tuple[Signal, Signal, Signal, Signal]:
        """Exponents of the next addend and this one, this addend in 18 bits, and whether it is nothing."""
        extra = extra_bits(self._lanes)
        base, significance = Signal(6, reset_less=True), Signal(3, reset_less=True)
        m.d.sync += [base.eq(self.exponent + self.significance), significance.eq(self.significance)]
        product = self.product
        places, room = Signal(4), Signal(4)
        # As far to the left as there is room, but no further than the bits of the extra ones and the significance.
        limit = significance + extra
        for n in range(1, extra + 7):
            with m.If((product[-1 - n :] == product[-1].replicate(n + 1)) & (limit >= n)):
                m.d.comb += room.eq(n)
        nothing = Signal()
        m.d.comb += nothing.eq(product == 0)
        held, coming = Signal.like(product, reset_less=True), Signal(EXPONENT, reset_less=True)
        m.d.sync += [held.eq(product), places.eq(room), coming.eq(base + (OFFSET + extra - room))]
        # A dot product of zero must not raise the sum's exponent.
        with m.If(nothing):
            m.d.sync += coming.eq(0)
        addend, exponent = Signal(signed(SUM), reset_less=True), Signal(EXPONENT, reset_less=True)
        empty = Signal(reset_less=True)
        m.d.sync += [
            addend.eq((held << places) << (3 - extra)),
            exponent.eq(coming),
            empty.eq(coming == 0),
        ]
        return coming, exponent, addend, empty


class FloatElement(wiring.Component):
    """Sums the products of fp16 activations and weights' terms over a group, and multiplies the sum by the group's scale.

    Parameters
    ----------
    lanes : int
        Products per cycle, 1, 2, 4 or 8.
    rounding : str
        ``nearest`` (even) or ``truncate``: see ``sim.bit_serial_fp16``.

    Members
    -------
    activations : In(ArrayLayout(FP16, lanes))
        Held for all slices of a weight. Infinities and NaN are taken for numbers.
    terms : In(ArrayLayout(TERM, lanes))
        All with ``man`` 0 when there is no slice: such a cycle changes nothing, wherever it comes.
    significance : In(3)
        0 to 6, ``times.significance`` cycles after the terms that it belongs to.
    last : In(1)
        ``times.last`` cycles after the last terms of a group.
    scale_bit : In(1)
        Of the scale, the highest of 8 ``times.scale`` cycles after ``last``, one in each cycle; 0 in all other cycles.
    finish : In(1)
        With the lowest bit.
    activations_next, terms_next, significance_next, last_next, scale_bit_next, finish_next : Out
        The same, one cycle later, for the neighbours.
    result : Out(32)
        float32, ``times.latency`` cycles after the last terms of a group; zero in all other cycles, so that results may be joined
        by OR. In units of the format's integers times the activation.
    valid : Out(1)
        ``result`` is a result.

    Timing
    ------
    One slice per cycle without a gap, also between groups; 8 cycles or more from one ``last`` to the next. Lanes have no skew;
    ``times`` are those of ``hw.pe.element_times.fp16_times``. The design's reset must last four cycles or more.

    Raises
    ------
    TypeError, ValueError
        A parameter is not one of those.

    Reference
    ---------
    BitMoD (Chen et al., HPCA 2025), section IV-B, figure 5.
    """

    def __init__(self, *, lanes: int = 4, rounding: str = "nearest") -> None:
        self._lanes, self._rounding = check(lanes, rounding), rounding
        self.times = fp16_times(self._lanes)
        controls = {"significance": 3, "last": 1, "scale_bit": 1, "finish": 1}
        operands = {"activations": ArrayLayout(FP16, self._lanes), "terms": ArrayLayout(TERM, self._lanes)}
        members = {**operands, **controls}
        super().__init__(
            {
                **{name: In(shape) for name, shape in members.items()},
                **{f"{name}_next": Out(shape) for name, shape in members.items()},
                "result": Out(32),
                "valid": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.dot = dot = DotProduct(lanes=self._lanes, rounding=self._rounding)
        m.submodules.sum = group = GroupSum(lanes=self._lanes, rounding=self._rounding)
        m.submodules.dequantiser = dequantiser = Dequantiser()
        m.d.sync += [
            self.significance_next.eq(self.significance),
            self.last_next.eq(self.last),
            self.scale_bit_next.eq(self.scale_bit),
            self.finish_next.eq(self.finish),
            self.valid.eq(self.finish_next),
        ]
        m.d.comb += [
            dot.activations.eq(self.activations),
            dot.terms.eq(self.terms),
            self.activations_next.eq(dot.activations_next),
            self.terms_next.eq(dot.terms_next),
            group.exponent.eq(dot.exponent),
            group.product.eq(dot.product),
            group.significance.eq(self.significance_next),
            group.before.eq(self.last),
            group.first.eq(self.last_next),
            dequantiser.capture.eq(self.last_next),
            dequantiser.value.eq(group.value),
            dequantiser.up.eq(group.up),
            dequantiser.exponent.eq(group.sum_exponent),
            dequantiser.bit.eq(self.scale_bit_next),
            dequantiser.finish.eq(self.finish_next),
            self.result.eq(dequantiser.result),
        ]
        return m
