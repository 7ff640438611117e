"""The output-stationary array whose elements take several steps of K at once."""

from __future__ import annotations

from amaranth.hdl import Module, Value, signed
from amaranth.lib import data

from hw.array.geometry import Depth, Multiplier, check_elements
from hw.array.output_stationary import OutputStationaryArray, OutputStationaryColumn
from hw.pe.cube import CubeElement
from hw.pe.multipliers.digits import DigitEncoder
from hw.share import share


class CubeColumn(OutputStationaryColumn):
    """As its base, with ``depth`` operands in place of one; weights summed by bit weight have an encoder above the elements.

    Encoded once for the whole column, four digits of three bits go down in place of eight bits: four flip-flops more for each
    operand of an element, where an encoder of its own would take some fifteen look-up tables.
    """

    def __init__(self, *, rows: int, depth: Depth, multiplier: Multiplier) -> None:
        self._depth, self._multiplier = depth, multiplier
        operands = data.ArrayLayout(signed(8), depth)
        super().__init__(rows=rows, activation=operands, weight=operands)

    def _weight(self, m: Module) -> Value:
        if self._multiplier != "same_weight":
            return self.weight
        m.submodules.encoder = encoder = share(DigitEncoder, lanes=self._depth)
        m.d.comb += encoder.values.eq(self.weight)
        return encoder.digits

    def _element(self):
        return share(CubeElement, depth=self._depth, multiplier=self._multiplier)


class CubeArray(OutputStationaryArray):
    """As its base, with operands of ``depth`` int8 each.

    Parameters
    ----------
    rows, columns : int
        1 or more.
    depth : int
        Steps of K that an element takes at once: 1, 2, 4, 8 or 16.
    multiplier : str
        "native" or "same_weight".

    Timing
    ------
    ``output_element(multiplier, depth)`` instead of ``OUTPUT_ELEMENT`` cycles. Weights come ``DIGIT_ENCODER`` cycles before the
    activations of row 0 where they are summed by bit weight.

    Raises
    ------
    TypeError, ValueError
        As its base; there are no elements of such a multiplier and depth.
    """

    def __init__(self, *, rows: int, columns: int, depth: Depth, multiplier: Multiplier) -> None:
        check_elements(multiplier, columns=columns, dataflow="output-stationary", depth=depth)
        self._depth, self._multiplier = depth, multiplier
        operands = data.ArrayLayout(signed(8), depth)
        super().__init__(rows=rows, columns=columns, activation=operands, weight=operands)

    def _column(self):
        return share(CubeColumn, rows=self._rows, depth=self._depth, multiplier=self._multiplier)
