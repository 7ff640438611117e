"""A column of lookup units whose sums are multiplied by the scales of their tables, and then by those of the weights."""

from __future__ import annotations

from functools import reduce
from operator import or_

from amaranth.hdl import Cat, Const, Module, Signal, Value
from amaranth.lib import data

from hw.array.lookup.column import UnitColumn
from hw.array.lookup.float_column import Halves
from hw.array.lookup.geometry import Offset
from hw.array.lookup.quantised_tables import quantised_tables_layout
from hw.delay import delayed
from hw.pe.float_scale import TableScale
from hw.share import share


class QuantisedColumn(UnitColumn):
    """Of units whose sums are read in turn, for multipliers that they share.

    A sum that is to be halved may be odd: entries are rounded each by itself. So it is the product's exponent that is one less.
    """

    def _left(self) -> data.StructLayout:
        return quantised_tables_layout(self._array)

    def elaborate(self, platform):
        m = Module()
        array, control = self._array, self.control
        word, units = self._units(m)
        m.submodules.halves = halves = share(Halves, array=array)
        sums: Value = reduce(or_, (Value.cast(unit.result) for unit in units))
        bits = len(sums)
        if array.minimums:
            # Twice that, as the others.
            minimum = Value.cast(control.minimum_sum).as_signed()
            sums = sums | Cat(Const(0, 1), minimum, minimum[-1].replicate(bits - 1 - len(minimum)))
        total = Signal(bits, reset_less=True)
        m.submodules.scale = scale = share(
            TableScale, width=bits, whole=Offset.NONE in array.offsets, halved=array.halved
        )
        m.d.sync += total.eq(sums)
        m.d.comb += [
            halves.word.eq(word),
            halves.control.eq(control.scales),
            scale.total.eq(total),
            scale.table_scale.eq(control.table_scale),
            scale.scale.eq(halves.half),
            self.result.eq(delayed(m, scale.result, array.result_delay - array.float_result_delay)),
        ]
        if array.mixed:
            m.d.comb += scale.whole.eq(delayed(m, control.whole, 1))
        return m
