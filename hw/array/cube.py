"""The output-stationary array whose elements take several steps of K at once."""

from __future__ import annotations

import operator

from amaranth.hdl import Module, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.array.geometry import Depth, Multiplier, check_elements
from hw.array.output_stationary import Drain
from hw.delay import delayed
from hw.pe.cube import CubeElement
from hw.pe.multipliers.digits import DigitEncoder
from hw.share import share


class CubeColumn(wiring.Component):
    """One column: ``rows`` elements and their drains; where weights are summed by bit weight, an encoder above them.

    Encoded once for the whole column, four digits of three bits go down in place of eight bits: four flip-flops more for each
    operand of an element, where an encoder of its own would take some fifteen look-up tables.

    Members
    -------
    activations : In(ArrayLayout(ArrayLayout(signed(8), depth), rows)), last : In(rows)
        From the left, skewed; ``activations_next`` and ``last_next``, one cycle later, to the right.
    weights : In(ArrayLayout(signed(8), depth))
        From above, with the activations of row 0, or ``DIGIT_ENCODER`` cycles before.
    result : Out(32), valid : Out(1)

    Timing
    ------
    As column 0 of :class:`CubeArray`.
    """

    def __init__(self, *, rows: int, depth: Depth, multiplier: Multiplier) -> None:
        self._rows, self._depth, self._multiplier = rows, depth, multiplier
        operands = data.ArrayLayout(signed(8), depth)
        rows_of_operands = data.ArrayLayout(operands, rows)
        super().__init__(
            {
                "activations": In(rows_of_operands),
                "last": In(rows),
                "weights": In(operands),
                "activations_next": Out(rows_of_operands),
                "last_next": Out(rows),
                "result": Out(32),
                "valid": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.drain = results = share(Drain, rows=self._rows, width=32)
        m.submodules.drain_valid = valids = share(Drain, rows=self._rows, width=1)
        above = self.weights
        if self._multiplier == "same_weight":
            m.submodules.encoder = encoder = share(DigitEncoder, lanes=self._depth)
            m.d.comb += encoder.values.eq(self.weights)
            above = encoder.digits
        for row in range(self._rows):
            m.submodules[f"element_{row}"] = element = share(
                CubeElement, depth=self._depth, multiplier=self._multiplier
            )
            m.d.comb += [
                element.activation.eq(self.activations[row]),
                element.last.eq(self.last[row]),
                element.weight.eq(above),
                self.activations_next[row].eq(element.activation_next),
                self.last_next[row].eq(element.last_next),
                results.results[row].eq(element.result),
                valids.results[row].eq(element.valid),
            ]
            above = element.weight_next
        m.d.comb += [self.result.eq(results.top), self.valid.eq(valids.top)]
        return m


class CubeArray(wiring.Component):
    """``columns`` columns of ``rows`` elements, and the skew of the weights: :class:`OutputStationaryArray` of several steps.

    Parameters
    ----------
    rows, columns : int
        1 or more.
    depth : int
        Steps of K that an element takes at once: 1, 2, 4, 8 or 16.
    multiplier : str
        "native" or "same_weight".

    Members
    -------
    activations : In(ArrayLayout(ArrayLayout(signed(8), depth), rows))
        Already skewed: row r's operands r cycles after row 0's. Zero when there are none.
    last : In(rows)
        Per row, with its activations: the last of a sum.
    weights : In(ArrayLayout(ArrayLayout(signed(8), depth), columns))
        Of all columns at the same time, with the activations of row 0; ``DIGIT_ENCODER`` cycles before them where they are
        summed by bit weight.
    valid : Out(1)
        Column 0 of ``results`` is a result.
    results : Out(ArrayLayout(32, columns))
        Column c's comes c cycles after column 0's.

    Timing
    ------
    With the last operands of row 0 in cycle t, row r's result is at column c in cycle
    ``t + r + output_element(multiplier, depth) + r // DRAIN_ROWS + 1 + c``. Operands follow each other without a gap; the last
    ones of two sums must be at least ``rows + (rows - 1) // DRAIN_ROWS`` cycles apart.

    Raises
    ------
    TypeError, ValueError
        ``rows`` or ``columns`` is not an integer of 1 or more; there are no elements of such a multiplier and depth.
    """

    def __init__(self, *, rows: int, columns: int, depth: Depth, multiplier: Multiplier) -> None:
        self._rows, self._columns = operator.index(rows), operator.index(columns)
        for name, size in (("rows", self._rows), ("columns", self._columns)):
            if size < 1:
                raise ValueError(f"{name} must be 1 or more, not {size!r}")
        check_elements(multiplier, columns=columns, dataflow="output-stationary", depth=depth)
        self._depth, self._multiplier = depth, multiplier
        operands = data.ArrayLayout(signed(8), depth)
        super().__init__(
            {
                "activations": In(data.ArrayLayout(operands, rows)),
                "last": In(rows),
                "weights": In(data.ArrayLayout(operands, columns)),
                "valid": Out(1),
                "results": Out(data.ArrayLayout(32, columns)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        activations, last = self.activations, self.last
        weights, bits = Value.cast(self.weights), 8 * self._depth
        for index in range(self._columns):
            m.submodules[f"column_{index}"] = column = share(
                CubeColumn, rows=self._rows, depth=self._depth, multiplier=self._multiplier
            )
            m.d.comb += [
                column.activations.eq(activations),
                column.last.eq(last),
                column.weights.eq(weights[:bits]),
                self.results[index].eq(column.result),
            ]
            if index == 0:
                m.d.comb += self.valid.eq(column.valid)
            activations, last = column.activations_next, column.last_next
            # The weights of the columns that follow, a cycle later for each.
            weights = delayed(m, weights[bits:], 1)
        return m
