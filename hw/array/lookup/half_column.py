"""A column of lookup units of fp16 sums: its words of weights and scales, and what it is told."""

from __future__ import annotations

from functools import reduce
from operator import or_

from amaranth.hdl import Cat, Const, Module, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.array.lookup.control import Draining, steering_layout
from hw.array.lookup.geometry import DRAIN, HALF_BITS, LookupArray, Offset
from hw.array.lookup.half_tables import half_tables_layout
from hw.delay import delayed
from hw.pe.float_lookup import FloatLookupUnit
from hw.pe.float_scale import HalfScale
from hw.pe.half import FRACTION, HALF, NOT_A_NUMBER, TOO_GREAT
from hw.pe.lookup_times import FloatTimes
from hw.pe.scaled_sum import RESULT_BITS
from hw.share import share

_FIELD = 23
"""Bits of a float32's fraction."""


def half_control_layout(array: LookupArray) -> data.StructLayout:
    """For a :class:`HalfColumn`.

    ``unit``: members of a :class:`hw.pe.float_lookup.FloatLookupUnit`, each when that takes it; ``complete``: the sum of the
    cycle before was the group's; ``drain``, ``show``: which complete sum is read, and whether it counts. ``scale``: the word
    in the column's register is the last of a scale, of the place ``scaled``. ``whole``: the sum that is read is not halved, as
    others are.
    """
    places = range(array.outputs)
    unit: dict[str, int | range] = {"bank": 1, "place": places, "first": 1, "add": 1, "sum_place": places}
    unit |= {"complete": 1, "drain": places, "show": 1}
    if array.planes > 1:
        unit["plane"] = range(array.planes)
    whole: dict[str, int] = {"whole": 1} if array.mixed else {}
    return data.StructLayout({"unit": data.StructLayout(unit), "scale": 1, "scaled": places} | whole)


class HalfControl(wiring.Component):
    """Delays what a steering says until column 0 and its unit of row 0 take it.

    Members
    -------
    steering : In(steering_layout)
    control : Out(half_control_layout)
    valid : Out(1)
        With the results of column 0.

    Timing
    ------
    By :class:`hw.pe.lookup_times.FloatTimes` for codes that the unit takes a cycle after their steering. A group's first sum is
    read ``array.drain`` cycles after its last code of place 0, those of other places ``array.spacing`` cycles one after another.
    """

    def __init__(self, *, array: LookupArray) -> None:
        self._array = array
        super().__init__(
            {
                "steering": In(steering_layout(array)),
                "control": Out(half_control_layout(array)),
                "valid": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        array, steering, unit = self._array, self.steering, self.control.unit
        times = FloatTimes()
        words = (HALF_BITS // array.part_bits).bit_length() - 1
        m.d.comb += [
            unit.bank.eq(delayed(m, steering.bank, 1)),
            Cat(unit.first, unit.place).eq(delayed(m, Cat(steering.first, steering.place), 1 + times.first)),
            Cat(unit.add, unit.sum_place).eq(delayed(m, Cat(steering.code, steering.place), 1 + times.add)),
            unit.complete.eq(delayed(m, steering.code & steering.last, 1 + times.result)),
            self.control.scale.eq(delayed(m, steering.scale & steering.index[:words].all(), 1)),
            self.control.scaled.eq(delayed(m, steering.index[words:], 1)),
        ]
        if array.planes > 1:
            m.d.comb += unit.plane.eq(delayed(m, steering.plane, 1 + times.plane))
        self._drain(m)
        return m

    def _drain(self, m: Module) -> None:
        array, steering, unit = self._array, self.steering, self.control.unit
        m.submodules.draining = draining = Draining(array=array)
        ends = steering.code & steering.last & (steering.place == 0)
        if array.mixed:
            m.d.comb += self.control.whole.eq(draining.wholes)
        m.d.comb += [
            Cat(draining.begin, draining.whole).eq(
                delayed(m, Cat(ends, steering.offset == Offset.NONE), array.drain - 1)
            ),
            unit.drain.eq(draining.place),
            unit.show.eq(draining.first),
            self.valid.eq(delayed(m, draining.valid, DRAIN)),
        ]


class HalfColumn(wiring.Component):
    """``rows`` lookup units, each a cycle after the one above it. An array is columns side by side, elaborated once.

    A sum that is complete waits in a second memory for its turn at the column's one multiplier. Infinity counts as the 2**16 of
    its pattern there, and NaN as 1.5 × 2**16.

    Members
    -------
    tables : In(ArrayLayout(half_tables_layout, rows))
        From the left, skewed; ``tables_next``, one cycle later, to the right.
    word : In(part_bits)
        This column's part of the word of weights.
    control : In(half_control_layout)
        From the left, for row 0, from the cycle after the word's on; ``control_next``, one cycle later, to the right.
    result : Out(32)
        Of all rows, whose results never come in the same cycle: ``DRAIN`` cycles after their sums are read. Zero is +0.
    """

    def __init__(self, *, array: LookupArray) -> None:
        self._array = array
        tables, control = (
            data.ArrayLayout(half_tables_layout(array), array.rows),
            half_control_layout(array),
        )
        super().__init__(
            {
                "tables": In(tables),
                "tables_next": Out(tables),
                "word": In(array.part_bits),
                "control": In(control),
                "control_next": Out(control),
                "result": Out(RESULT_BITS),
            }
        )

    def elaborate(self, platform):
        m = Module()
        array = self._array
        word = Signal.like(self.word, name="word_register", reset_less=True)
        m.d.sync += [
            word.eq(self.word),
            self.control_next.eq(self.control),
            self.tables_next.eq(self.tables),
        ]
        control = self.control.unit
        values: dict[str, Value] = {name: Value.cast(control[name]) for name in control.shape().members}
        values["code"] = word
        shown = []
        for row in range(array.rows):
            shown.append(self._row(m, row, values))
            values = {name: delayed(m, value, row < array.rows - 1) for name, value in values.items()}
        self._scale(m, reduce(or_, shown), self._scales(m, word))
        return m

    def _row(self, m: Module, row: int, values: dict[str, Value]) -> Value:
        """A unit and its complete sums. Returned: a sum, a cycle after it is read, or nothing."""
        array = self._array
        unit = share(FloatLookupUnit, outputs=array.outputs, planes=array.planes)
        m.submodules[f"unit_{row}"] = unit
        for name in half_tables_layout(array).members:
            m.d.comb += Value.cast(getattr(unit, name)).eq(Value.cast(self.tables[row][name]))
        for name in set(values) - {"complete", "drain", "show"}:
            m.d.comb += Value.cast(getattr(unit, name)).eq(values[name])
        m.d.comb += unit.start.eq(0)
        m.submodules[f"complete_{row}"] = complete = Memory(shape=HALF, depth=array.outputs, init=[])
        write, read = complete.write_port(), complete.read_port(domain="comb")
        m.d.comb += [
            write.en.eq(values["complete"]),
            write.addr.eq(delayed(m, values["sum_place"], 1)),
            write.data.eq(unit.result),
            read.addr.eq(values["drain"]),
        ]
        # A register of nothing is reset, which takes no gate.
        shown = Signal(HALF, name=f"shown_{row}", reset_less=True)
        m.d.sync += shown.eq(read.data)
        with m.If(~values["show"]):
            m.d.sync += shown.eq(0)
        return shown.as_value()

    def _scales(self, m: Module, word: Signal) -> Value:
        """Keeps the scales. Returned: that of the place which is drained, two cycles later."""
        array = self._array
        m.submodules.scales = scales = Memory(shape=HALF_BITS, depth=array.outputs, init=[])
        write, read = scales.write_port(), scales.read_port(domain="comb")
        before, parts = word, [word]
        for _ in range(HALF_BITS // array.part_bits - 1):
            before = delayed(m, before, 1)
            parts.append(before)
        scale = Signal(HALF_BITS, reset_less=True)
        m.d.comb += [
            write.en.eq(self.control.scale),
            write.addr.eq(self.control.scaled),
            write.data.eq(Cat(reversed(parts))),
            read.addr.eq(delayed(m, self.control.unit.drain, 1)),
        ]
        m.d.sync += scale.eq(read.data)
        return scale

    def _scale(self, m: Module, found: Value, scale: Value) -> None:
        m.submodules.scale = product = share(HalfScale)
        # The exponent of 2**16 is the first that is too great.
        total, sum_ = Signal(HALF), data.View(HALF, found)
        wrong = sum_.exponent >= NOT_A_NUMBER
        m.d.sync += total.eq(sum_)
        with m.If(sum_.exponent >= TOO_GREAT):
            m.d.sync += [
                total.exponent.eq(TOO_GREAT),
                total.fraction.eq(Cat(Const(0, FRACTION - 1), wrong)),
                total.sign.eq(sum_.sign & ~wrong),
            ]
        result, array = product.result, self._array
        half = ~delayed(m, self.control.whole, 2) if array.mixed else Const(array.halved)
        m.d.comb += [
            product.total.eq(total), Value.cast(product.scale).eq(scale), product.half.eq(half)
        ]  # fmt: skip
        m.d.sync += [
            self.result.eq(result),
            self.result[-1].eq(result[-1] & result[_FIELD:-1].any()),
        ]
