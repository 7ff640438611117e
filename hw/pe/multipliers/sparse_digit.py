"""Multiplication digit by digit, zeros left out: one digit that is not zero a cycle, of four operands in turn.

Bit weight is the outer loop: of all K the lowest digits, then the next ones. So an element needs no shifter: what it has
when a weight
is through is added to what it had before it, outside, two places further up.
"""

from __future__ import annotations

import operator

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.pe.multipliers.digits import DIGIT, multiple
from hw.pe.multipliers.heap import Heap
from hw.share import share

GROUP = 4
"""Operands whose digits are looked through together."""
WEIGHTS = 4
WIDTH = 26
"""Bits of a sum of digits times int8, each at most 256."""
MOST_DEPTH = 1 << 16
"""K whose sums fit, with what the weights below leave of theirs: 256 (1 + 1/4 + 1/16 + 1/64) K."""

DIGITS = data.StructLayout({"digits": data.ArrayLayout(DIGIT, GROUP), "last": 1})


class SparseEncoder(wiring.Component):
    """Digits of one weight, four operands at a time, to one digit a cycle; zeros are passed over.

    Members
    -------
    groups : In(stream of DIGITS)
        ``last``: of its weight. A group takes as many cycles as it has digits other than 0, but one at least.
    position : Out(2)
        Which of the group's four operands the next digit is of.
    digit : Out(DIGIT)
        A cycle after its ``position``.
    last : Out(1)
        It is the last of its weight.

    Timing
    ------
    The first ``position`` comes in the cycle after its group was taken. The next group is taken in the cycle of the last.

    Reference
    ---------
    HPCA 2025, OPT3. There, too, a group of zeros takes a cycle: to pass over any number of these at once groups would have to be
    looked through ahead, each by an encoder.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "groups": In(stream.Signature(DIGITS)),
                "position": Out(range(GROUP)),
                "digit": Out(DIGIT),
                "last": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        pending, two, negative = (Signal(GROUP, name=name) for name in ("pending", "two", "negative"))
        group_last = Signal()
        below: list = [Const(0, 1)]
        for place in range(GROUP):
            below.append(below[-1] | pending[place])
        first = Cat(pending[place] & ~below[place] for place in range(GROUP))
        rest = Cat(pending[place] & below[place] for place in range(GROUP))
        m.d.comb += [
            self.position.eq(Cat(first[1] | first[3], first[2] | first[3])),
            self.groups.ready.eq(~rest.any()),
        ]
        m.d.sync += [
            self.digit.one.eq((first & ~two).any()),
            self.digit.two.eq((first & two).any()),
            self.digit.negative.eq((first & negative).any()),
            self.last.eq(group_last & self.groups.ready),
            pending.eq(rest),
        ]
        with m.If(self.groups.ready):
            digits = self.groups.payload.digits
            taken = self.groups.valid
            m.d.sync += [
                pending.eq(Cat((digits[i].one | digits[i].two) & taken for i in range(GROUP))),
                two.eq(Cat(digits[i].two for i in range(GROUP))),
                negative.eq(Cat(digits[i].negative for i in range(GROUP))),
                group_last.eq(self.groups.payload.last & taken),
            ]
        return m


class DigitElement(wiring.Component):
    """Adds a digit times a value to a sum that is kept as two rows.

    Members
    -------
    value : In(signed(8))
        A cycle before its digit.
    digit : In(DIGIT)
    keep : In(1)
        With the digit: it is added to the sum; without, it is the first of its sum.
    total, carry : Out(26)
        One cycle after a digit: rows whose sum, modulo ``2**26``, is the sum up to it.

    Reference
    ---------
    HPCA 2025, OPT4C: the encoders are outside.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "value": In(signed(8)),
                "digit": In(DIGIT),
                "keep": In(1),
                "total": Out(WIDTH),
                "carry": Out(WIDTH),
            }
        )

    def elaborate(self, platform):
        m = Module()
        value = Signal.like(self.value, reset_less=True)
        total, upper = Signal(WIDTH), Signal(WIDTH - 1)
        kept = self.keep.replicate(WIDTH)
        heap = Heap(WIDTH, eager=1)
        heap.add(total & kept)
        heap.add(upper & kept, shift=1)
        row, lacks = multiple(self.digit, value)
        heap.add_signed(row, time=0)
        heap.add_bit(lacks, 0)
        sums, carries = heap.rows(m)
        m.d.sync += [value.eq(self.value), total.eq(Cat(*sums)), upper.eq(Cat(*carries[1:]))]
        m.d.comb += [self.total.eq(total), self.carry[1:].eq(upper)]
        return m


class SparseDigitColumn(wiring.Component):
    """Elements that multiply by the same digits, and the encoder that they share.

    Parameters
    ----------
    elements : int
        1 or more.

    Members
    -------
    groups : In(stream), position : Out(2)
        As of :class:`SparseEncoder`.
    values : In(ArrayLayout(signed(8), elements))
        In the cycle of ``position``: each element's of that operand.
    total, carry : Out(ArrayLayout(26, elements)), valid : Out(1)
        With ``valid``: of the weight whose last digit's ``position`` was three cycles before.

    Raises
    ------
    TypeError, ValueError
        ``elements`` is not an integer of 1 or more.

    Reference
    ---------
    HPCA 2025, OPT3 (one element), OPT4C.
    """

    def __init__(self, *, elements: int) -> None:
        self._elements = operator.index(elements)
        if self._elements < 1:
            raise ValueError(f"elements must be 1 or more, not {elements!r}")
        rows = data.ArrayLayout(WIDTH, elements)
        super().__init__(
            {
                "groups": In(stream.Signature(DIGITS)),
                "position": Out(range(GROUP)),
                "values": In(data.ArrayLayout(signed(8), elements)),
                "total": Out(rows),
                "carry": Out(rows),
                "valid": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.encoder = encoder = share(SparseEncoder)
        wiring.connect(m, wiring.flipped(self.groups), encoder.groups)
        keep = Signal(init=1)
        m.d.sync += keep.eq(~encoder.last)
        m.d.comb += [self.position.eq(encoder.position), self.valid.eq(~keep)]
        for place in range(self._elements):
            m.submodules[f"element_{place}"] = element = share(DigitElement)
            m.d.comb += [
                element.value.eq(self.values[place]),
                element.digit.eq(encoder.digit),
                element.keep.eq(keep),
                self.total[place].eq(element.total),
                self.carry[place].eq(element.carry),
            ]
        return m


class WeightMerge(wiring.Component):
    """Puts the sums of four weights, lowest first, together.

    Members
    -------
    total, carry : In(26), valid : In(1)
        Of an element.
    result : Out(signed(32)), result_valid : Out(1)
        Two cycles after the fourth ``valid``; exact for K up to ``MOST_DEPTH``.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "total": In(WIDTH),
                "carry": In(WIDTH),
                "valid": In(1),
                "result": Out(signed(32)),
                "result_valid": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        weight = Signal(2)
        added, added_valid, added_first, added_last = Signal(signed(WIDTH)), Signal(), Signal(), Signal()
        low, high = Signal(2 * (WEIGHTS - 1)), Signal(signed(WIDTH))
        m.d.sync += [
            added.eq(self.total + self.carry),
            added_valid.eq(self.valid),
            added_first.eq(weight == 0),
            added_last.eq(weight == WEIGHTS - 1),
            self.result_valid.eq(added_valid & added_last),
        ]
        with m.If(self.valid):
            m.d.sync += weight.eq(weight + 1)
        # What was there moves down instead of the sum up: its lowest two bits are settled.
        with m.If(added_valid):
            m.d.sync += [
                low.eq(Cat(low[2:], high[:2])),
                high.eq(Mux(added_first, 0, high >> 2) + added),
            ]
        m.d.comb += self.result.eq(Cat(low, high))
        return m
