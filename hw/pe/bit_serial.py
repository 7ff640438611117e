"""The bit-serial processing element for int8 activations.

A lane needs nine look-up tables for plus or minus the activation or its double, and an adder that takes them as they are or
shifted by two. Everything else is shared by the lanes or by a column.

Reference: BitMoD, Chen et al., HPCA 2025, section IV and figure 5.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.pe.accumulate import ShiftedAdder
from hw.pe.element_times import CHAIN, SCALE_BITS, int8_times, shift_stages
from hw.pe.scaled_sum import GROUPS, RESULT_BITS, ScaledSum, signed_bits
from hw.pe.term_folder import ELEMENT_TERM, SHIFT, element_lanes
from hw.pe.terms import format_set
from hw.pe.weight_format import WeightFormat
from hw.share import share

_LEAST, _MOST = -128, 127
_ADDEND = signed(9)
"""Plus or minus an activation or its double, less one when negative."""
_FARTHEST = 8
"""Most that an activation is multiplied by in a lane."""


def _sum_bits(lanes: int, negatives: int) -> int:
    """Bits of a sum of ``lanes`` addends, each as far as it may be and one too little when negative, and of ``negatives``."""
    return signed_bits(lanes * _FARTHEST * _LEAST, lanes * (_FARTHEST * -_LEAST - 1) + negatives)


def products(formats: Iterable[WeightFormat]) -> tuple[int, int]:
    """Least and greatest product of an activation and a weight."""
    every = [a * w for one in formats for w in one.values for a in (_LEAST, _MOST)]
    return min(every), max(every)


def deepest(formats: Iterable[WeightFormat]) -> int:
    """Most weights along K whose scaled sum fits an accumulator whatever they are."""
    return ((1 << RESULT_BITS - 1) - 1) // (max(map(abs, products(formats))) * ((1 << SCALE_BITS) - 1))


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
