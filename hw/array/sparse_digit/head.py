"""The head of a column: from four weights to their digits that are not zero, one a cycle."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.pe.digit import STEP
from hw.pe.multipliers.digits import HALF, en_t
from hw.timing import DIGIT_GROUP, DIGIT_TURN

PLACES = 4
"""Digits of a weight."""
DIGITS = DIGIT_GROUP * PLACES
_LEFT = DIGIT_TURN + 2
"""So many digits or more are left of a group that cannot end yet: one cycle more passes before what follows from ``busy``."""


class Head(wiring.Component):
    """Keeps the digits of a group until it begins, then gives those that are not zero: weight after weight, the lowest first.

    Members
    -------
    weights : In(ArrayLayout(signed(8), 4))
        Of the group after the next one, from three cycles after ``start`` at the latest.
    start : In(1)
        The next cycle is the first of the group that is kept, and the weights are to be kept; ``valid``: if there are any.
    clear : In(1)
        Drop all.
    busy : Out(1)
        More digits are left than ``DIGIT_TURN`` and this cycle's: from the first cycle of a group on.
    step : Out(STEP)
        A digit, one cycle after its own; ``last`` is 0.

    Timing
    ------
    ``start`` is 4 cycles after the one before it, or more.

    Reference
    ---------
    HPCA 2025, OPT3 (sparse encoder), but for the four digits of four weights at a time.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "weights": In(data.ArrayLayout(signed(8), DIGIT_GROUP)),
                "start": In(1),
                "valid": In(1),
                "clear": In(1),
                "busy": Out(1),
                "step": Out(STEP),
            }
        )

    def elaborate(self, platform):
        m = Module()
        coming, kept = self._encode(m), self._kept(m)
        pending, two, negative = (Signal(DIGITS, name=name) for name in ("pending", "two", "negative"))
        rest = self._step(m, pending, two, negative)
        m.d.sync += pending.eq(rest)
        with m.If(self.start):
            m.d.sync += [Cat(pending, two, negative).eq(Cat(*kept)), Cat(*kept).eq(Cat(*coming))]
        with m.If(self.clear | (self.start & ~self.valid)):
            m.d.sync += kept[0].eq(0)
        with m.If(self.clear):
            m.d.sync += pending.eq(0)
        self._count(m, kept[0])
        return m

    def _kept(self, m: Module) -> list[Signal]:
        """Registers of the next group: digits that are not zero, that are 2, that have a minus; a weight's after each other."""
        return [Signal(DIGITS, name=f"kept_{name}") for name in ("taken", "two", "negative")]

    def _encode(self, m: Module) -> list:
        """The same of the weights of the cycle before."""
        weights = Signal.like(self.weights, reset_less=True)
        m.d.sync += weights.eq(self.weights)
        digits = []
        for lane, value in enumerate(weights):
            # A carry through all digits is too long for a cycle: the one in the middle is made before the first register.
            middle, given = Signal(name=f"middle_{lane}", reset_less=True), self.weights[lane]
            m.d.sync += middle.eq(en_t(given[:HALF], given[-1])[1])
            digits += en_t(value[:HALF], value[-1])[0] + en_t(value[HALF:], value[-1], middle)[0]
        return [
            Cat(one["one"] | one["two"] for one in digits),
            Cat(one["two"] for one in digits),
            Cat(one["negative"] for one in digits),
        ]

    def _step(self, m: Module, pending, two, negative) -> Value:
        """The next digit: the lowest of the first weight that has any. Returned: those after it."""
        rest, found = [], []
        before = Const(0, 1)
        for lane in range(DIGIT_GROUP):
            taken, twos, signs = (bits.word_select(lane, PLACES) for bits in (pending, two, negative))
            below = Cat(taken[:place].any() for place in range(PLACES))
            first = taken & ~below
            found.append(
                Cat(
                    Const(lane, 2),
                    Cat(first[1] | first[3], first[2] | first[3]),
                    (first & twos).any(),
                    (first & signs).any(),
                )
            )
            rest.append(taken & (below | before.replicate(PLACES)))
            before = before | taken.any()
        step = found[-1]
        for lane in reversed(range(DIGIT_GROUP - 1)):
            step = Mux(pending.word_select(lane, PLACES).any(), found[lane], step)
        fields = self.step
        m.d.sync += [
            Cat(fields.position, fields.place, fields.two, fields.negative).eq(step),
            fields.taken.eq(before),
        ]
        return Cat(rest)

    def _count(self, m: Module, taken) -> None:
        """``busy``, from the number of digits, which is known three cycles after they are kept."""
        ones = [Signal(3, name=f"ones_{lane}") for lane in range(DIGIT_GROUP)]
        beyond, left = Signal(signed(5), init=-_LEFT), Signal(signed(5), init=-_LEFT)
        for lane, count in enumerate(ones):
            m.d.sync += count.eq(sum(taken[lane * PLACES + place] for place in range(PLACES)))
        m.d.sync += [
            beyond.eq((ones[0] + ones[1]) + (ones[2] + ones[3]) - _LEFT),
            left.eq(Mux(self.start, beyond, left - ~left[-1])),
        ]
        with m.If(self.clear):
            m.d.sync += left.eq(-1)
        m.d.comb += self.busy.eq(~left[-1])
