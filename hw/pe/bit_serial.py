"""The bit-serial processing element for int8 activations, and what turns the paper's terms into its own.

A lane needs nine look-up tables for plus or minus the activation or its double, and an adder that takes them as they are or
shifted by two. Everything else is shared by the lanes or by a column.

Reference: BitMoD, Chen et al., HPCA 2025, section IV and figure 5.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.pe.accumulate import GatedAdder, ShiftedAdder, SignedAdder
from hw.pe.element_times import CHAIN, SCALE_BITS, int8_times, shift_stages
from hw.pe.terms import TERM, format_set
from hw.pe.weight_format import WeightFormat
from hw.share import share

RESULT_BITS = 32
GROUPS = (32, 64, 128, 256)
"""Weights that may share a scale."""

ELEMENT_TERM = data.StructLayout({"zero": 1, "negative": 1, "fine": 1, "far": 1})
"""A term as the element takes it; ``negative`` only when it is not ``zero``; twice with ``fine``, four times with ``far``."""
SHIFT = data.StructLayout({"one": 1, "four": 1})
"""How far the sum of the lanes' terms is shifted: not at all, by one or by four."""


_LEAST, _MOST = -128, 127
_ADDEND = signed(9)
"""Plus or minus an activation or its double, less one when negative."""
_FARTHEST = 8
"""Most that an activation is multiplied by in a lane."""


def signed_bits(least: int, most: int) -> int:
    """Width of two's complement that holds both."""
    return max((~least).bit_length(), most.bit_length()) + 1


def _sum_bits(lanes: int, negatives: int) -> int:
    """Bits of a sum of ``lanes`` addends, each as far as it may be and one too little when negative, and of ``negatives``."""
    return signed_bits(lanes * _FARTHEST * _LEAST, lanes * (_FARTHEST * -_LEAST - 1) + negatives)


def element_lanes(lanes: int) -> int:
    """``lanes``, if an element may have as many: 1 to 8, or a multiple of 8 up to 64; errors as of the element."""
    lanes = operator.index(lanes)
    if not (1 <= lanes <= CHAIN or (lanes % CHAIN == 0 and CHAIN <= lanes <= 8 * CHAIN)):
        raise ValueError(
            f"lanes must be 1 to {CHAIN}, or a multiple of {CHAIN} up to {8 * CHAIN}, not {lanes!r}"
        )
    return lanes


def products(formats: Iterable[WeightFormat]) -> tuple[int, int]:
    """Least and greatest product of an activation and a weight."""
    every = [a * w for one in formats for w in one.values for a in (_LEAST, _MOST)]
    return min(every), max(every)


def deepest(formats: Iterable[WeightFormat]) -> int:
    """Most weights along K whose scaled sum fits an accumulator whatever they are."""
    return ((1 << RESULT_BITS - 1) - 1) // (max(map(abs, products(formats))) * ((1 << SCALE_BITS) - 1))


class TermFolder(wiring.Component):
    """At a column's head: terms as the elements take them, and how many of them are negative.

    Of an integer's significance the lanes take two as four times in place of once: integers have no exponent of two or more.

    Parameters
    ----------
    lanes : int
        1 to 8, or a multiple of 8 up to 64.

    Members
    -------
    terms : In(ArrayLayout(TERM, lanes)), significance : In(3)
        As of :class:`hw.pe.terms.TermEncoder`.
    elements : Out(ArrayLayout(ELEMENT_TERM, lanes))
        For the elements' ``terms``, of all lanes in the same cycle: lane i is still to be delayed by its skew.
    shift : Out(SHIFT)
        For the elements' ``shift``, in the same cycle; still to be delayed by the elements' ``times.significance``.
    negatives : Out(range(lanes + 1))
        For the elements' ``negatives``, one cycle later, as they are due.

    Timing
    ------
    ``elements`` and ``shift`` come ``hw.timing.TERM_FOLDER`` cycles after ``terms``.

    Raises
    ------
    TypeError, ValueError
        ``lanes`` is not such an integer.
    """

    def __init__(self, *, lanes: int) -> None:
        self._lanes = lanes = element_lanes(lanes)
        super().__init__(
            {
                "terms": In(data.ArrayLayout(TERM, lanes)),
                "significance": In(3),
                "elements": Out(data.ArrayLayout(ELEMENT_TERM, lanes)),
                "shift": Out(SHIFT),
                "negatives": Out(range(lanes + 1)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        negative = Signal(self._lanes)
        for lane in range(self._lanes):
            term, element = self.terms[lane], self.elements[lane]
            m.d.comb += negative[lane].eq(term.sign & term.man)
            m.d.sync += [
                element.zero.eq(~term.man),
                element.negative.eq(negative[lane]),
                element.fine.eq(term.exponent[0]),
                element.far.eq(term.exponent[1] | self.significance[1]),
            ]
        counts = []
        for first in range(0, self._lanes, CHAIN):
            count = Signal(range(CHAIN + 1), name=f"negatives_from_{first}")
            m.d.sync += count.eq(sum(negative[first : first + CHAIN]))
            counts.append(count)
        m.d.sync += [
            self.shift.one.eq(self.significance[0]),
            self.shift.four.eq(self.significance[2]),
            self.negatives.eq(sum(counts)),
        ]
        return m


class BitSerialLane(wiring.Component):
    """One lane: the operands' registers, and what the term makes of the activation.

    Members
    -------
    activation : In(signed(8)), term : In(ELEMENT_TERM)
        ``activation_next`` and ``term_next``, one cycle later, for the neighbours.
    addend : Out(signed(9))
        Two cycles later: plus or minus the activation or its double, less one when it is negative.
    far : Out(1), fill : Out(2)
        With it: it is to be shifted by two; what comes in below it then.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "activation": In(signed(8)),
                "term": In(ELEMENT_TERM),
                "activation_next": Out(signed(8)),
                "term_next": Out(ELEMENT_TERM),
                "addend": Out(_ADDEND),
                "far": Out(1),
                "fill": Out(2),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.d.sync += [self.activation_next.eq(self.activation), self.term_next.eq(self.term)]
        activation, term = self.activation_next, self.term_next
        # One table for each bit. The zero is the registers' reset: the design's own reset would need a gate before it.
        addend = Signal(_ADDEND, reset_less=True)
        far, fill = Signal(reset_less=True), Signal(reset_less=True)
        magnitude = Signal(_ADDEND)
        m.d.comb += [
            magnitude.eq(Mux(term.fine, activation << 1, activation)),
            self.addend.eq(addend),
            self.far.eq(far),
            self.fill.eq(fill.replicate(2)),
        ]
        m.d.sync += [
            addend.eq(magnitude ^ term.negative.replicate(len(addend))),
            far.eq(term.far),
            fill.eq(term.negative),
        ]
        with m.If(term.zero):
            m.d.sync += addend.eq(0)
        return m


class BitSerialChain(wiring.Component):
    """Up to eight lanes, each of which adds to the sum of those before it.

    Parameters
    ----------
    lanes : int
        1 to 8.
    negatives : int
        Most that ``negatives`` may be; with 0 the sum begins with the first lane.

    Members
    -------
    activations, terms, activations_next, terms_next
        As of :class:`BitSerialElement`.
    negatives : In(range(negatives + 1))
        What the sum begins with, two cycles after lane 0's term; not there with 0.
    sum : Out(signed)
        ``lanes`` + 2 cycles after lane 0's term.
    """

    def __init__(self, *, lanes: int, negatives: int) -> None:
        self._lanes, self._negatives = lanes, negatives
        activations, terms = data.ArrayLayout(signed(8), lanes), data.ArrayLayout(ELEMENT_TERM, lanes)
        super().__init__(
            {
                "activations": In(activations),
                "terms": In(terms),
                "activations_next": Out(activations),
                "terms_next": Out(terms),
                "sum": Out(signed(_sum_bits(lanes, negatives))),
            }
            | ({"negatives": In(range(negatives + 1))} if negatives else {})
        )

    def elaborate(self, platform):
        m = Module()
        total = self.negatives if self._negatives else None
        for lane in range(self._lanes):
            m.submodules[f"lane_{lane}"] = unit = share(BitSerialLane)
            m.d.comb += [
                unit.activation.eq(self.activations[lane]),
                unit.term.eq(self.terms[lane]),
                self.activations_next[lane].eq(unit.activation_next),
                self.terms_next[lane].eq(unit.term_next),
            ]
            width = _sum_bits(lane + 1, self._negatives)
            register = self.sum if lane + 1 == self._lanes else Signal(signed(width), name=f"sum_{lane}")
            if total is None:
                shifted = Cat(unit.fill, unit.addend).as_signed()
                m.d.sync += register.eq(Mux(unit.far, shifted, unit.addend))
            else:
                m.submodules[f"adder_{lane}"] = adder = share(
                    ShiftedAdder,
                    width=width,
                    total_width=len(total) + (lane == 0),
                    addend_width=_ADDEND.width,
                    shift=2,
                )
                m.d.comb += [
                    adder.total.eq(total),
                    adder.addend.eq(unit.addend),
                    adder.far.eq(unit.far),
                    adder.fill.eq(unit.fill),
                ]
                m.d.sync += register.eq(adder.sum)
            total = register
        return m


class ScaledSum(wiring.Component):
    """Sums up a group, then multiplies the sum by the group's scale, a bit a cycle, while the next group is summed up.

    Parameters
    ----------
    addend_width : int
        Bits of what is added in a cycle.
    least, most : int
        What a group's sum may be; on the way there it may be anything.
    shift : int
        How far an addend is shifted with ``far``; never with 0.
    gated : bool
        An addend may lack one, and need not count.

    Attributes
    ----------
    total_bits, scaled_bits : int
        Of a group's sum; of its product with the scale.

    Members
    -------
    addend : In(signed(addend_width)), far : In(1)
        Of this cycle.
    carry : In(1)
        What the addend lacks, before it is shifted; only with ``gated``.
    add : In(1)
        The addend counts; only with ``gated``, and high with ``last``.
    last : In(1)
        It is the last of the group. Also high during a reset.
    scale_bit : In(1)
        Of the scale of the group that has ended in an earlier cycle, the highest first.
    finish : In(1)
        With the last of them.
    clear : In(1)
        As ``finish``, and during a reset.
    result : Out(32), valid : Out(1)
        One cycle after ``finish``, as of :class:`BitSerialElement`.
    """

    def __init__(self, *, addend_width: int, least: int, most: int, shift: int, gated: bool = False) -> None:
        self._shift, self._gated, self.total_bits = shift, gated, signed_bits(least, most)
        self.scaled_bits = signed_bits(*(((1 << SCALE_BITS) - 1) * one for one in (least, most)))
        super().__init__(
            {
                "addend": In(signed(addend_width)),
                "far": In(1),
                "last": In(1),
                "scale_bit": In(1),
                "finish": In(1),
                "clear": In(1),
                "result": Out(RESULT_BITS),
                "valid": Out(1),
            }
            | ({"carry": In(1), "add": In(1)} if gated else {})
        )

    def elaborate(self, platform):
        m = Module()
        # What ends a sum clears it, in a reset too: a reset of its own would need a gate before it.
        total, held = (
            Signal(signed(self.total_bits), name=name, reset_less=True) for name in ("total", "held")
        )
        added = Signal.like(total)
        m.d.comb += added.eq(accumulate(m, self, total, shift=self._shift, gated=self._gated))
        with m.If(self.add if self._gated else 1):
            m.d.sync += total.eq(added)
        with m.If(self.last):
            m.d.sync += [held.eq(added), total.eq(0)]
        scale_sum(m, self, held, bits=self.scaled_bits)
        return m


def accumulate(m: Module, unit: wiring.Component, total: Signal, *, shift: int, gated: bool) -> Value:
    """``total`` and the addend of ``unit``, which has the members of a :class:`ScaledSum`."""
    if not shift and not gated:
        return total + unit.addend
    width, addend_width = len(total), len(unit.addend)
    if not shift:
        m.submodules.accumulate = adder = share(
            SignedAdder, width=width, a_width=width, b_width=addend_width, signs=False
        )
        m.d.comb += [adder.a.eq(total), adder.b.eq(unit.addend), adder.carry.eq(unit.carry)]
        return adder.sum
    m.submodules.accumulate = adder = share(
        ShiftedAdder, width=width, total_width=width, addend_width=addend_width, shift=shift, carry=gated
    )
    m.d.comb += [adder.total.eq(total), adder.addend.eq(unit.addend), adder.far.eq(unit.far)]
    if gated:
        m.d.comb += [adder.fill.eq(unit.carry.replicate(shift)), adder.carry.eq(unit.carry)]
    return adder.sum


def scale_sum(m: Module, unit: wiring.Component, held: Signal, *, bits: int) -> None:
    """Multiply ``held`` by the scale of ``unit``, which has the members of a :class:`ScaledSum`; products have ``bits`` bits."""
    width = bits + bits % 2
    m.submodules.scale = scale = share(GatedAdder, width=width, addend_width=width)
    scaled = Signal(signed(width), reset_less=True)
    m.d.comb += [scale.total.eq(held), scale.keep.eq(unit.scale_bit), scale.addend.eq(scaled << 1)]
    m.d.sync += [scaled.eq(scale.sum), unit.valid.eq(unit.finish), unit.result.eq(0)]
    with m.If(unit.clear):
        m.d.sync += scaled.eq(0)
    with m.If(unit.finish):
        m.d.sync += unit.result.eq(scale.sum.as_signed())


class BitSerialElement(wiring.Component):
    """The sum of ``lanes`` products a cycle, term by term, over a group of weights; then its product with the group's scale.

    Every sum is exact, for all activations from -128 to 127 and all codes: the widths follow from the parameters. What a
    lane adds is at most 8 × 128; a group's sum at most ``group`` × 128 times the greatest weight of any of ``formats``
    (see ``WeightFormat.values``), and its bits above that may be anything on the way there; the scale makes that 255 times
    as much, and with 256 weights of INT8 still less than 2**30. Accumulators of 32 bits hold the sum of as many groups as have
    at most :func:`deepest` weights, whatever these are.

    Parameters
    ----------
    lanes : int
        1 to 8, or a multiple of 8 up to 64.
    formats : frozenset of WeightFormat
        What the weights may be; the shifts that no format needs are left out.
    group : int
        Most weights that share a scale: 32, 64, 128 or 256.

    Members
    -------
    activations : In(ArrayLayout(signed(8), lanes)), terms : In(ArrayLayout(ELEMENT_TERM, lanes))
        Lane i's ``times.skew[i]`` cycles after lane 0's. A lane whose activation or term is zero adds nothing.
    negatives : In(range(lanes + 1))
        Terms that are negative, one cycle after lane 0's.
    shift : In(SHIFT)
        Of the sum of the lanes, ``times.significance`` cycles after lane 0's term.
    last : In(1)
        The same time after the last term of a group.
    scale_bit : In(1)
        Of the scale, from ``times.scale`` cycles after ``last`` on, the highest first.
    finish : In(1)
        With the last bit of the scale.
    activations_next, terms_next, negatives_next, shift_next, last_next, scale_bit_next, finish_next : Out
        The same, one cycle later, for the neighbours.
    result : Out(32)
        Two's complement, in one cycle; zero in all others, so that results may be joined by OR.
    valid : Out(1)
        ``result`` is a result.

    Timing
    ------
    ``times`` (``hw.pe.element_times``) says when what is due; ``result`` comes ``times.latency`` cycles after the last term of
    lane 0. Groups follow each other without a gap; two ``last`` must be 8 cycles or more apart. The design's reset must last two
    cycles or more.

    Raises
    ------
    TypeError, ValueError
        Parameters that are not as above.
    """

    def __init__(self, *, lanes: int, formats: Iterable[WeightFormat], group: int) -> None:
        self._lanes, self._formats = element_lanes(lanes), format_set(formats)
        self._group = operator.index(group)
        if self._group not in GROUPS:
            raise ValueError(f"group must be one of {', '.join(map(str, GROUPS))}, not {group!r}")
        if self._lanes > self._group:
            raise ValueError(f"lanes must be at most group = {self._group}, not {self._lanes}")
        self.times = int8_times(self._lanes, self._formats)
        four = any(one.terms > 2 for one in self._formats)
        self._shift = 4 if four else int(any(one.floating for one in self._formats))
        operands = {
            "activations": data.ArrayLayout(signed(8), self._lanes),
            "terms": data.ArrayLayout(ELEMENT_TERM, self._lanes),
            "negatives": range(self._lanes + 1),
            "shift": SHIFT,
            "last": 1,
            "scale_bit": 1,
            "finish": 1,
        }
        self._operands = tuple(operands)
        super().__init__(
            {name: In(shape) for name, shape in operands.items()}
            | {f"{name}_next": Out(shape) for name, shape in operands.items()}
            | {"result": Out(RESULT_BITS), "valid": Out(1)}
        )

    def elaborate(self, platform):
        m = Module()
        for name in self._operands:
            if name not in ("activations", "terms"):
                m.d.sync += getattr(self, f"{name}_next").eq(getattr(self, name))
        addend, far, last = self._aligned(m, self._sum(m))
        least, most = (self._group * product for product in products(self._formats))
        m.submodules.scaled = scaled = share(
            ScaledSum, addend_width=len(addend), least=least, most=most, shift=self._shift
        )
        clear = Signal(init=1)
        m.d.sync += clear.eq(self.finish)
        m.d.comb += [
            scaled.addend.eq(addend),
            scaled.far.eq(far),
            scaled.last.eq(last),
            scaled.scale_bit.eq(self.scale_bit_next),
            scaled.finish.eq(self.finish_next),
            scaled.clear.eq(clear),
            self.result.eq(scaled.result),
            self.valid.eq(scaled.valid),
        ]
        return m

    def _sum(self, m: Module) -> Signal:
        """The sum of all lanes, out of a register."""
        sums = []
        for first in range(0, self._lanes, CHAIN):
            lanes = range(first, min(first + CHAIN, self._lanes))
            m.submodules[f"chain_{first}"] = chain = share(
                BitSerialChain, lanes=len(lanes), negatives=0 if first else self._lanes
            )
            if not first:
                m.d.comb += chain.negatives.eq(self.negatives_next)
            for place, lane in enumerate(lanes):
                m.d.comb += [
                    chain.activations[place].eq(self.activations[lane]),
                    chain.terms[place].eq(self.terms[lane]),
                    self.activations_next[lane].eq(chain.activations_next[place]),
                    self.terms_next[lane].eq(chain.terms_next[place]),
                ]
            sums.append((chain.sum, len(lanes)))
        while len(sums) > 1:
            joined = []
            for place in range(0, len(sums), 2):
                pair = sums[place : place + 2]
                together = sum(count for _, count in pair)
                register = Signal(
                    signed(_sum_bits(together, 0 if place else self._lanes)),
                    name=f"joined_{together}_{place}",
                )
                m.d.sync += register.eq(sum(value for value, _ in pair))
                joined.append((register, together))
            sums = joined
        return sums[0][0]

    def _aligned(self, m: Module, total: Signal) -> tuple[Signal, Signal, Signal]:
        """What is added to the accumulator, whether it is shifted there, and whether it is the group's last."""
        shift, ends = self.shift_next, Signal(init=1)
        if not shift_stages(self._formats):
            m.d.sync += ends.eq(self.last)
            return total, shift.four if self._shift == 4 else shift.one, ends
        staged, far = Signal(signed(len(total) + 1)), Signal()
        m.d.sync += [
            staged.eq(Mux(shift.one, total << 1, total)),
            far.eq(shift.four),
            ends.eq(self.last_next),
        ]
        return staged, far, ends
