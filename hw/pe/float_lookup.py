"""Products of low-bit weights and fp16 activations that are looked up: the table builder and the lookup unit.

``sim.lookup`` (``half_float_table``, ``half_float_sums``) defines what they compute, bit for bit.

Reference: LUT Tensor Core, Mo et al., ISCA 2025, section 3 and figure 9. Unlike the RTL that was published (microsoft/T-MAC,
branch LUTTensorCore_ISCA25) a table entry of zero stays zero in every plane, and what is too great becomes infinity.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.delay import delayed
from hw.pe.accumulate import SignedAdder
from hw.pe.bit_serial_fp16 import FP16
from hw.pe.half import FRACTION, HALF, INFINITE, HalfAdder, moved_up, rounded_up
from hw.pe.lookup import lookup_code
from hw.pe.lookup_times import FLOAT_BUILDER, MOST_OUTPUTS, MOST_PLANES, FloatTimes, K, checked
from hw.pe.plane_sum import SignedTree
from hw.share import share

_FIXED = 41
"""Bits of an activation in units of 2**-24, infinity taken for a number."""
_SUM = _FIXED + 2
"""Bits of four, without a sign."""


class FloatTableBuilder(wiring.Component):
    """Sums of four fp16 activations with plus or minus before each, exact and rounded once to nearest even.

    The activations become whole multiples of 2**-24, which are added and normalised.

    Members
    -------
    activations : In(ArrayLayout(FP16, 4)), index : In(3)
        To be held while ``index`` runs through all entries.
    entry : Out(HALF)
        Minus the first activation, plus activation i + 1 where bit i of ``index`` is set, minus it where not. A zero is +0.

    Timing
    ------
    ``entry`` comes ``hw.pe.lookup_times.FLOAT_BUILDER`` cycles after both. One per cycle, never stalled.
    """

    def __init__(self) -> None:
        super().__init__(
            {"activations": In(data.ArrayLayout(FP16, K)), "index": In(K - 1), "entry": Out(HALF)}
        )

    def elaborate(self, platform):
        m = Module()
        # A number in a name is the stage behind which the value stands.
        m.submodules.tree = tree = share(SignedTree, operands=K, most=1 << _FIXED, extra=False)
        minus = Cat(activation.sign for activation in self.activations) ^ Cat(1, ~self.index)
        for place, activation in enumerate(self.activations):
            fixed_1 = Signal(_FIXED, name=f"fixed_{place}")
            m.d.sync += fixed_1.eq(self._fixed(m, activation, place))
            m.d.comb += tree.values[place].eq(fixed_1)
        m.d.comb += tree.negative.eq(delayed(m, minus, 1))

        # The tree's sum lacks its carry; minus it is the inverted sum and what it does not lack.
        m.submodules.magnitude = magnitude = share(
            SignedAdder, width=_SUM + 1, a_width=_SUM + 1, b_width=1, signs=True
        )
        sign_3 = tree.sum[-1]
        m.d.comb += [
            magnitude.a.eq(tree.sum),
            magnitude.a_negative.eq(sign_3),
            magnitude.carry.eq(tree.carry ^ sign_3),
        ]
        digits = Signal(_SUM, name="total_4")
        m.d.sync += digits.eq(magnitude.sum)
        places: Value = Const(0, 0)
        for stage, steps in enumerate(((32,), (16, 8), (4, 2, 1)), 5):
            moved, moves = moved_up(m, digits, steps)
            digits = Signal(_SUM, name=f"digits_{stage}")
            m.d.sync += digits.eq(moved)
            places = delayed(m, Cat(reversed(moves), places), 1)
        self._round(m, digits, places, delayed(m, sign_3, 4), self._special(m, minus))
        return m

    @staticmethod
    def _fixed(m: Module, activation: data.View, place: int) -> Value:
        """The magnitude in units of 2**-24. In halves of these it is the significand, moved up by the exponent."""
        normal = activation.exponent.any()
        value = Mux(normal, Cat(activation.fraction, 1), Cat(Const(0, 1), activation.fraction))
        for bit in range(5):
            moved = Signal(len(value) + (1 << bit), name=f"fixed_{place}_by_{1 << bit}")
            m.d.comb += moved.eq(Mux(activation.exponent[bit], value << (1 << bit), value))
            value = moved
        return value[1:]

    def _special(self, m: Module, minus: Value) -> tuple[Value, Value, Value]:
        """Stage 7: whether an activation is infinite or NaN, whether the sum is NaN, the sign of an infinite one."""
        infinite, plus_1, minus_1, wrong_1 = Signal(K), Signal(), Signal(), Signal()
        m.d.comb += infinite.eq(Cat(activation.exponent.all() for activation in self.activations))
        m.d.sync += [
            plus_1.eq((infinite & ~minus).any()),
            minus_1.eq((infinite & minus).any()),
            wrong_1.eq(Cat(a.exponent.all() & a.fraction.any() for a in self.activations).any()),
        ]
        special, wrong = plus_1 | minus_1, wrong_1 | (plus_1 & minus_1)
        late = FLOAT_BUILDER - 2
        return delayed(m, special, late), delayed(m, wrong, late), delayed(m, minus_1, late)

    def _round(
        self, m: Module, digits: Signal, places: Value, sign: Value, special: tuple[Value, Value, Value]
    ) -> None:
        """Stage 8. Without any shift the exponent is that of the highest bit, which alone is 1 in an exponent of 0."""
        infinite, wrong, minus = special
        number = (
            Cat(Const(1, 1), digits[-1 - FRACTION : -1], ~places)
            + Cat(rounded_up(digits, _SUM - 1 - FRACTION), Const(0, FRACTION), Const(_SUM - 63, 6))
        )[1:17]
        m.d.sync += [Cat(self.entry.fraction, self.entry.exponent).eq(number), self.entry.sign.eq(sign)]
        with m.If(~digits[-1]):
            m.d.sync += [self.entry.exponent.eq(0), self.entry.sign.eq(0)]
        with m.If(infinite):
            m.d.sync += [
                self.entry.exponent.eq(Cat(Const(INFINITE, 6)[:3], wrong, Const(0b11, 2))),
                self.entry.sign.eq(minus),
            ]


class FloatLookupUnit(wiring.Component):
    """A lookup a cycle for ``outputs`` outputs in turn: the entry, times 2**plane, is added to the output's sum in fp16.

    Parameters
    ----------
    outputs : int
        2 to 16.
    planes : int
        Most bits of a weight, 1 to 8.

    Members
    -------
    code : In(lookup_code(4)), bank : In(1)
        Which of the two tables, in the same cycle.
    write : In(1), address : In(4), entry : In(HALF)
        An entry, to be read from the next cycle on; the highest bit of ``address`` is the bank.
    plane : In(range(planes))
        ``times.plane`` cycles after ``code``; not there with one.
    place, first, start : In(range(outputs)), In(1), In(HALF)
        The output, whether its sum begins, and with what; ``times.first`` cycles after ``code``.
    add, sum_place : In(1), In(range(outputs))
        The lookup counts, and for this output; ``times.add`` cycles after ``code``.
    result : Out(HALF)
        The output's sum, ``times.result`` cycles after ``code``.

    Timing
    ------
    ``times`` (:class:`hw.pe.lookup_times.FloatTimes`). Lookups of one output are ``times.interval`` cycles apart or more.

    Raises
    ------
    TypeError, ValueError
        Parameters that are not as above.
    """

    def __init__(self, *, outputs: int, planes: int) -> None:
        self._outputs = checked("outputs", outputs, 2, MOST_OUTPUTS)
        self._planes = checked("planes", planes, 1, MOST_PLANES)
        self.times = FloatTimes()
        super().__init__(
            {
                "code": In(lookup_code(K)),
                "bank": In(1),
                "write": In(1),
                "address": In(K),
                "entry": In(HALF),
                "place": In(range(self._outputs)),
                "first": In(1),
                "start": In(HALF),
                "add": In(1),
                "sum_place": In(range(self._outputs)),
                "result": Out(HALF),
            }
            | ({"plane": In(range(self._planes))} if self._planes > 1 else {})
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.tables = tables = Memory(shape=HALF, depth=1 << K, init=[])
        m.submodules.sums = sums = Memory(shape=HALF, depth=self._outputs, init=[])
        m.submodules.adder = adder = share(HalfAdder)
        write, read = tables.write_port(), tables.read_port(domain="comb")
        found, negative, term, total = Signal(HALF), Signal(), Signal(HALF), Signal(HALF)
        m.d.comb += [
            write.en.eq(self.write),
            write.addr.eq(self.address),
            write.data.eq(self.entry),
            read.addr.eq(Cat(self.code.entry, self.bank)),
        ]
        m.d.sync += [
            found.eq(read.data),
            negative.eq(self.code.negative),
            term.eq(found),
            term.sign.eq(found.sign ^ negative),
        ]
        if self._planes > 1:
            m.d.sync += term.exponent.eq(found.exponent + Mux(found.exponent.any(), self.plane, 0))

        write, read = sums.write_port(), sums.read_port(domain="comb")
        m.d.comb += [read.addr.eq(self.place), adder.a.eq(total), adder.b.eq(term)]
        m.d.comb += [write.en.eq(self.add), write.addr.eq(self.sum_place), write.data.eq(adder.sum)]
        m.d.sync += [
            total.eq(Mux(self.first, self.start.as_value(), read.data.as_value())),
            self.result.eq(adder.sum),
        ]
        return m
