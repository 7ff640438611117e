"""From slices of every row's fp16 activations to entries of tables: the left edge of the table-lookup array for these."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.array.lookup.geometry import LookupArray
from hw.array.lookup.tables import slice_layout, step_layout
from hw.delay import delayed
from hw.pe.float_lookup import FloatTableBuilder
from hw.pe.half import HALF, HalfAdder
from hw.pe.lookup_times import FLOAT_BUILDER, HALF_ADD
from hw.share import share


def half_tables_layout(array: LookupArray) -> data.StructLayout:
    """What a unit takes from the left: an entry, and where it is written."""
    return data.StructLayout({"write": 1, "address": array.k, "entry": HALF})


class HalfTables(wiring.Component):
    """One row: makes an entry in a cycle.

    The builder's entries have minus the first activation, those that static weights are recoded for (``sim.lookup.recoded``) plus
    the last. So the last comes first here, and what is minus the one is the other, at the inverted address.

    Members
    -------
    activations : In(slice_layout)
    step : In(step_layout)
        ``step_next``, one cycle later, for the row below.
    tables : Out(half_tables_layout)

    Timing
    ------
    Entries come ``hw.pe.lookup_times.FLOAT_BUILDER`` cycles after ``step``. A slice's first is the sum of its activations: it is
    added to the total before the first of the next slice, ``HALF_ADD`` + 2 cycles later or more.
    """

    def __init__(self, *, array: LookupArray) -> None:
        self._array = array
        super().__init__(
            {
                "activations": In(slice_layout(array)),
                "step": In(step_layout(array)),
                "step_next": Out(step_layout(array)),
                "tables": Out(half_tables_layout(array)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.builder = builder = share(FloatTableBuilder)
        x, step, tables = self.activations, self.step, self.tables
        m.d.sync += self.step_next.eq(step)
        for place, activation in enumerate((x[-1], *(x[one] for one in range(len(x) - 1)))):
            m.d.comb += builder.activations[place].as_value().eq(activation)
        m.d.comb += [
            builder.index.eq(step.index),
            tables.write.eq(delayed(m, step.write, FLOAT_BUILDER)),
            tables.address.eq(delayed(m, Cat(~step.index, step.bank), FLOAT_BUILDER)),
        ]
        entry = Signal(HALF)
        m.d.comb += [
            entry.eq(builder.entry),
            entry.sign.eq(~builder.entry.sign),
            tables.entry.eq(self._totalled(m, entry) if self._array.halved else entry),
        ]
        return m

    def _totalled(self, m: Module, entry: Signal) -> Value:
        """In place of a total's entries the total: from zero, what each slice's first entry was added to."""
        step, total = self.step, Signal(HALF, reset_less=True)
        m.submodules.adder = adder = share(HalfAdder)
        m.d.comb += [adder.a.eq(total), adder.b.eq(entry)]
        with m.If(delayed(m, step.write & ~step.index.any() & ~step.total, FLOAT_BUILDER + HALF_ADD)):
            m.d.sync += total.eq(adder.sum)
        with m.If(delayed(m, step.first, FLOAT_BUILDER - 1)):
            m.d.sync += total.eq(0)
        return Mux(delayed(m, step.total, FLOAT_BUILDER), total.as_value(), entry.as_value())
