"""The table-lookup array: entries of tables go to the right, and so does what the columns are told; results up."""

from __future__ import annotations

from amaranth.hdl import Module, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.array.lookup.column import LookupColumn
from hw.array.lookup.control import Control, steering_layout
from hw.array.lookup.geometry import LookupArray
from hw.array.lookup.tables import BUILD, Steps, Tables, slice_layout, tables_layout
from hw.delay import delayed
from hw.share import share


class LookupMatrix(wiring.Component):
    """Tables of every row, ``banks`` columns of lookup units, and the skew of the words of weights.

    Parameters
    ----------
    array : LookupArray

    Members
    -------
    activations : In(ArrayLayout(ArrayLayout(8, chunk), rows))
        A slice of every row, skewed: row r's r cycles after row 0's. One stays for as many cycles as a table has entries.
    build : In(BUILD)
        With the first cycle of row 0's slice.
    words : In(part_bits * banks)
        Of all columns at the same time.
    steering : In(steering_layout)
        In the same cycle.
    valid : Out(1)
        Column 0 of ``results`` is a result.
    results : Out(ArrayLayout(32, banks))
        Unit column b's comes b cycles after column 0's.

    Timing
    ------
    A chunk's codes follow each other without a gap, the first ``array.build`` cycles after ``build.start`` or later; the next
    chunk's are as much later as its ``build.start`` is. The words of a group's scales follow its last code without a gap, and its
    first word waits for ``array.pause``. Place s, row r: the result comes ``array.result_delay`` + s * n + r cycles after the
    steering of the last code of place 0, with n = 8 steps of a scale, or 9 with ``Offset.NONE``.
    """

    def __init__(self, *, array: LookupArray) -> None:
        self._array = array
        super().__init__(
            {
                "activations": In(data.ArrayLayout(slice_layout(array), array.rows)),
                "build": In(BUILD),
                "words": In(array.part_bits * array.banks),
                "steering": In(steering_layout(array)),
                "valid": Out(1),
                "results": Out(data.ArrayLayout(32, array.banks)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        array = self._array
        m.submodules.control = edge = Control(array=array)
        m.submodules.steps = steps = Steps(array=array)
        m.d.comb += [
            edge.steering.eq(self.steering),
            steps.build.eq(self.build),
            steps.sums.eq(delayed(m, self.steering.bank, array.times.extra)),
        ]
        tables = Signal(data.ArrayLayout(tables_layout(array), array.rows))
        step = steps.step
        for row in range(array.rows):
            m.submodules[f"tables_{row}"] = one = share(Tables, array=array)
            m.d.comb += [
                one.activations.eq(self.activations[row]),
                one.step.eq(step),
                tables[row].eq(one.tables),
            ]
            step = one.step_next
        self._columns(m, tables, edge.control)
        return m

    def _columns(self, m: Module, tables: Value, control: Value) -> None:
        array = self._array
        words, part = Value.cast(self.words), array.part_bits
        for index in range(array.banks):
            m.submodules[f"column_{index}"] = column = share(LookupColumn, array=array)
            m.d.comb += [
                column.tables.eq(tables),
                column.control.eq(control),
                column.word.eq(words[:part]),
                self.results[index].eq(column.result),
            ]
            if index == 0:
                m.d.comb += self.valid.eq(column.valid)
            tables, control = column.tables_next, column.control_next
            # The words of the columns that follow, a cycle later for each.
            words = delayed(m, words[part:], 1)
