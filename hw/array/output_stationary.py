"""The output-stationary array: sums stay in the elements, both operands flow past them."""

from __future__ import annotations

import operator
from typing import ClassVar

from amaranth.hdl import Module, ShapeLike, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.delay import delayed, without_reset
from hw.pe.systolic import OutputStationaryElement
from hw.share import share
from hw.timing import DRAIN_ROWS

INT8 = signed(8)


class Drain(wiring.Component):
    """Takes the results of a column's elements to its top, joined by OR.

    ``DRAIN_ROWS`` neighbouring rows share a register: with what comes from below that is one four-input gate per bit.

    Parameters
    ----------
    rows : int
        1 or more.
    width : int
        Bits of a result.
    reset_less : bool
        What is on its way stays there in a reset, and goes on.

    Members
    -------
    results : In(ArrayLayout(width, rows))
        Zero but in the cycle of a result.
    top : Out(width)

    Timing
    ------
    A result of row r is at the top ``r // DRAIN_ROWS + 1`` cycles later. Results that would be there in the same cycle are
    joined: rows that finish one after another, a cycle apart, never are.
    """

    def __init__(self, *, rows: int, width: int, reset_less: bool = False) -> None:
        self._rows, self._reset_less = operator.index(rows), reset_less
        super().__init__({"results": In(data.ArrayLayout(width, rows)), "top": Out(width)})

    def elaborate(self, platform):
        m = Module()
        below = None
        top = without_reset(m, self.top) if self._reset_less else self.top
        first = range(0, self._rows, DRAIN_ROWS)
        for group in reversed(first):
            joined = self.results[group]
            for row in range(group + 1, min(group + DRAIN_ROWS, self._rows)):
                joined = joined | self.results[row]
            register = top if group == 0 else Signal.like(top, name=f"from_row_{group}")
            m.d.sync += register.eq(joined if below is None else joined | below)
            below = register
        return m


class OutputStationaryColumn(wiring.Component):
    """One column: ``rows`` elements and their drains. An array is columns side by side, elaborated once.

    Members
    -------
    activations : In(ArrayLayout(signed(8), rows)), last : In(rows)
        From the left, skewed; ``activations_next`` and ``last_next``, one cycle later, to the right.
    weight : In(signed(8))
        From above, with the activation of row 0.
    result : Out(32), valid : Out(1)

    Timing
    ------
    As column 0 of :class:`OutputStationaryArray`.
    """

    def __init__(
        self,
        *,
        rows: int,
        activation: ShapeLike = INT8,
        weight: ShapeLike = INT8,
        width: int = 32,
        columns: int = 1,
    ) -> None:
        # ``activation``, ``weight``, ``width``: of what the elements take and give. ``columns``: how many one stands for.
        self._rows, self._width = rows, width
        operands = data.ArrayLayout(activation, rows)
        super().__init__(
            {
                "activations": In(operands),
                "last": In(rows),
                "weight": In(weight),
                "activations_next": Out(operands),
                "last_next": Out(rows),
                "result": Out(32 * columns),
                "valid": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.drain = results = share(Drain, rows=self._rows, width=self._width, reset_less=True)
        m.submodules.drain_valid = valids = share(Drain, rows=self._rows, width=1)
        self._top(m, results.top, valids.top)
        above = self._weight(m)
        for row in range(self._rows):
            m.submodules[f"element_{row}"] = element = self._element()
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
        return m

    def _weight(self, m: Module) -> Value:
        """What the elements take of the weight."""
        return self.weight

    def _element(self):
        return share(OutputStationaryElement)

    def _top(self, m: Module, result: Value, valid: Value) -> None:
        """From the top of the drains to the column's result."""
        m.d.comb += [self.result.eq(result), self.valid.eq(valid)]


class OutputStationaryArray(wiring.Component):
    """``columns`` columns of ``rows`` elements, and the skew of the weights.

    Parameters
    ----------
    rows, columns : int
        1 or more.
    activation, weight : ShapeLike
        int8 if they are not given.

    Members
    -------
    activations : In(ArrayLayout(activation, rows))
        Already skewed: row r's operand r cycles after row 0's. Zero when there is none.
    last : In(rows)
        Per row, with its activation: the last of a sum.
    weights : In(ArrayLayout(weight, columns))
        Of all columns at the same time, with the activation of row 0.
    valid : Out(1)
        Column 0 of ``results`` is a result.
    results : Out(ArrayLayout(32, columns))
        Column c's comes c cycles after column 0's.

    Timing
    ------
    With the last operand of row 0 in cycle t, row r's result is at column c in cycle
    ``t + r + OUTPUT_ELEMENT + r // DRAIN_ROWS + 1 + c``. Operands follow each other without a gap; the last operands of two
    sums must be at least ``rows + (rows - 1) // DRAIN_ROWS`` cycles apart.

    Raises
    ------
    TypeError, ValueError
        ``rows`` or ``columns`` is not an integer of 1 or more, ``columns`` not a multiple of ``together``.
    """

    together: ClassVar[int] = 1
    """Neighbouring columns at the same place, which share multipliers."""

    def __init__(
        self, *, rows: int, columns: int, activation: ShapeLike = INT8, weight: ShapeLike = INT8
    ) -> None:
        self._rows, self._columns = operator.index(rows), operator.index(columns)
        for name, size in (("rows", self._rows), ("columns", self._columns)):
            if size < 1:
                raise ValueError(f"{name} must be 1 or more, not {size!r}")
        if self._columns % self.together:
            raise ValueError(f"columns must be a multiple of {self.together}, not {columns!r}")
        super().__init__(
            {
                "activations": In(data.ArrayLayout(activation, rows)),
                "last": In(rows),
                "weights": In(data.ArrayLayout(weight, columns)),
                "valid": Out(1),
                "results": Out(data.ArrayLayout(32, columns)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        activations, last = self.activations, self.last
        weights, results = Value.cast(self.weights), Value.cast(self.results)
        bits = len(weights) // self._columns * self.together
        for index in range(0, self._columns, self.together):
            m.submodules[f"column_{index}"] = column = self._column()
            m.d.comb += [
                column.activations.eq(activations),
                column.last.eq(last),
                column.weight.eq(weights[:bits]),
                results[32 * index : 32 * (index + self.together)].eq(column.result),
            ]
            if index == 0:
                m.d.comb += self.valid.eq(column.valid)
            # A column passes them on a cycle later; the weights of the columns that follow come a cycle later for each.
            further = self.together - 1
            activations = delayed(m, column.activations_next, further)
            last = delayed(m, column.last_next, further)
            weights = delayed(m, weights[bits:], self.together, reset_less=True)
        return m

    def _column(self):
        return share(OutputStationaryColumn, rows=self._rows)
