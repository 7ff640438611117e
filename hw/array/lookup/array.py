"""The table-lookup array: entries of tables go to the right, and so does what the columns are told; results up."""

from __future__ import annotations

from functools import reduce
from operator import or_

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.array.lookup.column import LookupColumn
from hw.array.lookup.control import Control, minimum_sum, steering_layout
from hw.array.lookup.float_column import FloatColumn
from hw.array.lookup.geometry import LookupArray
from hw.array.lookup.half_column import HalfColumn, HalfControl
from hw.array.lookup.half_tables import HalfTables, half_tables_layout
from hw.array.lookup.quantised_column import QuantisedColumn
from hw.array.lookup.quantised_tables import (
    READ,
    TAKE,
    KeptScales,
    QuantisedSteps,
    QuantisedTables,
    quantised_tables_layout,
)
from hw.array.lookup.tables import BUILD, Steps, Tables, slice_layout, tables_layout
from hw.array.lookup.ternary import Half, TernaryColumn, half_layout
from hw.delay import delayed
from hw.share import share


class LookupMatrix(wiring.Component):
    """Tables of every row, ``banks`` columns of lookup units, and the skew of the words of weights.

    Parameters
    ----------
    array : LookupArray

    Members
    -------
    activations : In(ArrayLayout(slice_layout, rows))
        A slice of every row, skewed: row r's r cycles after row 0's. One stays for ``array.hold`` cycles.
    build : In(BUILD)
        With the first cycle of row 0's slice; nothing with ``array.direct``.
    take : In(TAKE), build : In(READ)
        With ``array.quantised``, instead: with an activation of row 0, as ``activations`` are one a cycle then; when tables are
        read, from ``array.wait`` cycles after a whole group's first activation on.
    words : In(part_bits * banks)
        Of all columns at the same time.
    steering : In(steering_layout)
        In the same cycle.
    valid : Out(1)
        Column 0 of ``results`` is a result.
    results : Out(ArrayLayout(32, banks))
        Unit column b's comes b cycles after column 0's: int32, or of fp16 scales float32.

    Timing
    ------
    A chunk's codes follow each other without a gap, the first ``array.build`` cycles after ``build.start`` or later; the next
    chunk's are as much later as its ``build.start`` is. With ``array.direct`` they come with the slice. The words of a group's
    scales follow its last code without a gap, and its first word waits for ``array.pause``. Place s, row r: the result comes
    ``array.result_delay`` + s * n + r cycles after the steering of the last code of place 0, with n = ``array.spacing``. Minimums
    follow the scales; their results are those of ``array.outputs`` places more.
    """

    def __init__(self, *, array: LookupArray) -> None:
        self._array = array
        super().__init__(
            {
                "activations": In(data.ArrayLayout(slice_layout(array), array.rows)),
                "build": In(READ if array.quantised else BUILD),
                "words": In(array.part_bits * array.banks),
                "steering": In(steering_layout(array)),
                "valid": Out(1),
                "results": Out(data.ArrayLayout(32, array.banks)),
            }
            | ({"take": In(TAKE)} if array.quantised else {})
        )

    def elaborate(self, platform):
        m = Module()
        array = self._array
        m.submodules.control = edge = (HalfControl if array.halves else Control)(array=array)
        control = Signal(edge.control.shape())
        m.d.comb += [edge.steering.eq(self.steering), control.eq(edge.control)]
        if array.floats:
            m.d.comb += self.valid.eq(edge.valid)
        left = self._halves(m) if array.direct else self._tables(m, edge, control)
        self._columns(m, left, control)
        return m

    def _halves(self, m: Module) -> Value:
        """The half of every row's slice that the codes are for."""
        array = self._array
        halves, upper = Signal(data.ArrayLayout(half_layout(array), array.rows)), self.steering.plane
        for row in range(array.rows):
            m.submodules[f"half_{row}"] = one = share(Half, array=array)
            m.d.comb += [
                one.activations.eq(self.activations[row]),
                one.upper.eq(upper),
                halves[row].eq(one.half),
            ]
            upper = one.upper_next
        return halves

    def _tables(self, m: Module, edge: Control | HalfControl, control: data.View) -> Value:
        """Entries of every row's tables; in ``control`` the sum of a row's activations of a group."""
        array = self._array
        m.submodules.steps = steps = (QuantisedSteps if array.quantised else Steps)(array=array)
        m.d.comb += [
            steps.build.eq(self.build),
            steps.sums.eq(delayed(m, self.steering.bank, array.times.extra)),
        ]
        kind, layout = Tables, tables_layout
        if array.quantised:
            kind, layout = QuantisedTables, quantised_tables_layout
            m.d.comb += steps.take.eq(self.take)
        elif array.halves:
            kind, layout = HalfTables, half_tables_layout
        tables = Signal(data.ArrayLayout(layout(array), array.rows))
        step, groups = steps.step, []
        for row in range(array.rows):
            m.submodules[f"tables_{row}"] = one = share(kind, array=array)
            m.d.comb += [
                one.activations.eq(self.activations[row]),
                one.step.eq(step),
                tables[row].eq(one.tables),
            ]
            step = one.step_next
            groups.append(one)
        if array.minimums:
            # A register of its own: no two rows' sums are wanted in the same cycle.
            total = Signal(minimum_sum(array))
            m.d.sync += total.eq(reduce(or_, (Value.cast(one.group) for one in groups)))
            m.d.comb += [steps.group.eq(edge.sums), control.minimum_sum.eq(total)]
        if array.quantised:
            m.submodules.scales = scales = KeptScales(array=array)
            m.d.comb += [
                scales.take.eq(self.take),
                scales.turn.eq(edge.turn),
                control.table_scale.eq(scales.scale),
                *(scales.scales[row].eq(one.scale) for row, one in enumerate(groups)),
                scales.valid.eq(Cat(one.valid for one in groups)),
            ]
        return tables

    def _columns(self, m: Module, tables: Value, control: Value) -> None:
        array = self._array
        words, part = Value.cast(self.words), array.part_bits
        if array.floats:
            kind = HalfColumn if array.halves else QuantisedColumn if array.quantised else FloatColumn
        else:
            kind = TernaryColumn if array.direct else LookupColumn
        for index in range(array.banks):
            m.submodules[f"column_{index}"] = column = share(kind, array=array)
            m.d.comb += [
                column.tables.eq(tables),
                column.control.eq(control),
                column.word.eq(words[:part]),
                self.results[index].eq(column.result),
            ]
            if index == 0 and not array.floats:
                m.d.comb += self.valid.eq(column.valid)
            tables, control = column.tables_next, column.control_next
            # The words of the columns that follow, a cycle later for each.
            words = delayed(m, words[part:], 1)
