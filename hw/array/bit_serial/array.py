"""The bit-serial array: terms go down the columns, activations to the right, results up."""

from __future__ import annotations

from functools import reduce
from operator import or_

from amaranth.hdl import Module, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.array.bit_serial.feed import CONTROL, Feeder, element
from hw.array.bit_serial.geometry import BitSerial
from hw.array.bit_serial.head import Head, steering_layout
from hw.array.output_stationary import Drain
from hw.delay import delayed
from hw.pe.weight_format import NIBBLE
from hw.share import share
from hw.timing import DRAIN_ROWS


def activations_layout(array: BitSerial) -> data.ArrayLayout:
    """A slice of every row."""
    return data.ArrayLayout(data.ArrayLayout(8 * array.activation_bytes, array.lanes), array.rows)


class Column(wiring.Component):
    """One column: its head, ``rows`` elements, their drains. An array is columns side by side, elaborated once.

    Members
    -------
    activations : In(activations_layout)
        From the left, skewed; ``activations_next``, one cycle later, to the right.
    word : In(NIBBLE * lanes)
        This column's part of the word of weights.
    steering : In(steering_layout)
        ``steering_next``, one cycle later, to the right.
    result : Out(32), valid : Out(1)

    Timing
    ------
    As column 0 of :class:`BitSerialArray`.
    """

    def __init__(self, *, array: BitSerial) -> None:
        self._array = array
        super().__init__(
            {
                "activations": In(activations_layout(array)),
                "activations_next": Out(activations_layout(array)),
                "word": In(NIBBLE * array.lanes),
                "steering": In(steering_layout(array)),
                "steering_next": Out(steering_layout(array)),
                "result": Out(32),
                "valid": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        array = self._array
        m.submodules.head = head = Head(array=array)
        m.submodules.feeder = feed = Feeder(array=array)
        m.d.comb += [
            head.word.eq(self.word),
            head.steering.eq(self.steering),
            *(getattr(feed, name).eq(getattr(head, name)) for name in ("terms", "significance", *CONTROL)),
        ]
        m.d.sync += self.steering_next.eq(self.steering)
        above = {name: getattr(feed.drive, name) for name in feed.drive.signature.members}
        elements = []
        if array.small:
            m.d.sync += self.activations_next.eq(self.activations)
        for row in range(array.rows):
            m.submodules[f"element_{row}"] = one = element(array)
            elements.append(one)
            m.d.comb += one.activations.eq(self.activations[row])
            if not array.small:
                m.d.comb += self.activations_next[row].eq(one.activations_next)
            for name, value in above.items():
                m.d.comb += getattr(one, name).eq(value)
                above[name] = delayed(m, value, 1) if array.small else getattr(one, f"{name}_next")
        m.d.comb += [
            self.result.eq(self._drained(m, "drain", [one.result for one in elements])),
            self.valid.eq(self._drained(m, "drain_valid", [one.valid for one in elements])),
        ]
        return m

    def _drained(self, m: Module, name: str, results: list[Signal]) -> Value:
        """The rows' results at the top; of a single command's array, those of the first rows as they come."""
        here: list[Value] = []
        if self._array.single:
            here, results = list(results[:DRAIN_ROWS]), results[DRAIN_ROWS:]
        if results:
            m.submodules[name] = drain = share(Drain, rows=len(results), width=len(results[0]))
            for row, one in enumerate(results):
                m.d.comb += drain.results[row].eq(one)
            here.append(drain.top)
        return reduce(or_, here)


class BitSerialArray(wiring.Component):
    """``columns`` columns, and the skew of the words of weights.

    Parameters
    ----------
    array : BitSerial

    Members
    -------
    activations : In(activations_layout)
        Skewed: row r's slice r cycles after row 0's, lane by lane as the element takes it.
    words : In(NIBBLE * lanes * columns)
        Of all columns at the same time.
    steering : In(steering_layout)
        Of column 0.
    valid : Out(1)
        Column 0 of ``results`` is the scaled sum of a group.
    results : Out(ArrayLayout(32, columns))
        Column c's comes c cycles after column 0's.

    Timing
    ------
    Activations are due ``TERM_ENCODER + array.times.feed`` cycles after ``start``, for as long as their weights have terms. Row
    r's result is at column c ``array.result_delay + r + r // DRAIN_ROWS + c`` cycles after ``last`` of ``steering``.
    """

    def __init__(self, *, array: BitSerial) -> None:
        self._array = array
        super().__init__(
            {
                "activations": In(activations_layout(array)),
                "words": In(NIBBLE * array.lanes * array.columns),
                "steering": In(steering_layout(array)),
                "valid": Out(1),
                "results": Out(data.ArrayLayout(32, array.columns)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        array = self._array
        activations, steering = self.activations, self.steering
        words, part = Value.cast(self.words), NIBBLE * array.lanes
        for index in range(array.columns):
            m.submodules[f"column_{index}"] = column = share(Column, array=array)
            m.d.comb += [
                column.activations.eq(activations),
                column.steering.eq(steering),
                column.word.eq(words[:part]),
                self.results[index].eq(column.result),
            ]
            if index == 0:
                m.d.comb += self.valid.eq(column.valid)
            activations, steering = column.activations_next, column.steering_next
            # The words of the columns that follow, a cycle later for each.
            words = delayed(m, words[part:], 1)
        return m
