"""The bit-serial array: terms go down the columns, activations to the right, results up."""

from __future__ import annotations

from amaranth.hdl import Module, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.array.bit_serial.feed import CONTROL, Feeder, element
from hw.array.bit_serial.geometry import BitSerial
from hw.array.bit_serial.head import STEERING, Head
from hw.array.output_stationary import Drain
from hw.delay import delayed
from hw.pe.weight_format import NIBBLE
from hw.share import share


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
    steering : In(STEERING)
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
                "steering": In(STEERING),
                "steering_next": Out(STEERING),
                "result": Out(32),
                "valid": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        array = self._array
        m.submodules.head = head = Head(array=array)
        m.submodules.feeder = feed = Feeder(array=array)
        m.submodules.drain = results = share(Drain, rows=array.rows, width=32)
        m.submodules.drain_valid = valids = share(Drain, rows=array.rows, width=1)
        m.d.comb += [
            head.word.eq(self.word),
            head.steering.eq(self.steering),
            *(getattr(feed, name).eq(getattr(head, name)) for name in ("terms", "significance", *CONTROL)),
            self.result.eq(results.top),
            self.valid.eq(valids.top),
        ]
        m.d.sync += self.steering_next.eq(self.steering)
        above = {name: getattr(feed.drive, name) for name in feed.drive.signature.members}
        for row in range(array.rows):
            m.submodules[f"element_{row}"] = one = element(array)
            m.d.comb += [
                one.activations.eq(self.activations[row]),
                self.activations_next[row].eq(one.activations_next),
                results.results[row].eq(one.result),
                valids.results[row].eq(one.valid),
            ]
            for name, value in above.items():
                m.d.comb += getattr(one, name).eq(value)
                above[name] = getattr(one, f"{name}_next")
        return m


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
    steering : In(STEERING)
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
                "steering": In(STEERING),
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
