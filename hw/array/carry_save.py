"""Systolic arrays whose sums are two rows of bits, which are added outside of the elements: one adder for each column."""

from __future__ import annotations

from amaranth.hdl import Module, Value

from hw.array.output_stationary import OutputStationaryArray, OutputStationaryColumn
from hw.array.weight_stationary import WeightStationaryArray, WeightStationaryColumn
from hw.pe.multipliers.carry_save import LOWEST_CARRY, whole
from hw.pe.systolic import CarrySaveOutputElement, CarrySaveWeightElement
from hw.share import share


class CarrySaveOutputColumn(OutputStationaryColumn):
    """As its base, with an adder above the drain.

    Parameters
    ----------
    rows : int
        1 or more.
    """

    def __init__(self, *, rows: int) -> None:
        super().__init__(rows=rows, width=2 * 32 - LOWEST_CARRY)

    def _element(self):
        return share(CarrySaveOutputElement)

    def _top(self, m: Module, result: Value, valid: Value) -> None:
        m.d.sync += [self.result.eq(whole(result, 32)), self.valid.eq(valid)]


class CarrySaveOutputArray(OutputStationaryArray):
    """As its base, ``OUTPUT_CARRY_SAVE`` instead of ``OUTPUT_ELEMENT`` cycles.

    Parameters
    ----------
    rows, columns : int
        1 or more.
    """

    def _column(self):
        return share(CarrySaveOutputColumn, rows=self._rows)


class CarrySaveWeightColumn(WeightStationaryColumn):
    """As its base, with an adder below the last element.

    Parameters
    ----------
    rows : int
        1 to 64.
    """

    def _element(self):
        return share(CarrySaveWeightElement, sum_width=self._width)

    def _below(self, m: Module, total: Value) -> None:
        m.d.sync += self.result.eq(whole(total, self._width))


class CarrySaveWeightArray(WeightStationaryArray):
    """As its base, ``WEIGHT_CARRY_SAVE`` instead of ``WEIGHT_ELEMENT`` cycles.

    Parameters
    ----------
    rows, columns : int
        1 to 64 each.
    """

    def _column(self):
        return share(CarrySaveWeightColumn, rows=self._rows)
