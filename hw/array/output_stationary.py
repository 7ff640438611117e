"""The output-stationary array: sums stay in the elements, both operands flow past them."""

from __future__ import annotations

import operator

from amaranth.hdl import Module, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.array.delay import delayed
from hw.pe.systolic import OutputStationaryElement
from hw.share import share
from hw.timing import DRAIN_ROWS


class Drain(wiring.Component):
    """Takes the results of a column's elements to its top, joined by OR.

    ``DRAIN_ROWS`` neighbouring rows share a register: with what comes from below that is one four-input gate per bit.

    Parameters
    ----------
    rows : int
        1 or more.
    width : int
        Bits of a result.

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

    def __init__(self, *, rows: int, width: int) -> None:
        self._rows = operator.index(rows)
        super().__init__({"results": In(data.ArrayLayout(width, rows)), "top": Out(width)})

    def elaborate(self, platform):
        m = Module()
        below = None
        first = range(0, self._rows, DRAIN_ROWS)
        for group in reversed(first):
            joined = self.results[group]
            for row in range(group + 1, min(group + DRAIN_ROWS, self._rows)):
                joined = joined | self.results[row]
            register = self.top if group == 0 else Signal.like(self.top, name=f"from_row_{group}")
            m.d.sync += register.eq(joined if below is None else joined | below)
            below = register
        return m


class OutputStationaryArray(wiring.Component):
    """``rows`` × ``columns`` elements, the skew of the weights, and the drain.

    Parameters
    ----------
    rows, columns : int
        1 or more.

    Members
    -------
    activations : In(ArrayLayout(signed(8), rows))
        Already skewed: row r's operand r cycles after row 0's. Zero when there is none.
    last : In(rows)
        Per row, with its activation: the last of a sum.
    weights : In(ArrayLayout(signed(8), columns))
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
        ``rows`` or ``columns`` is not an integer of 1 or more.
    """

    def __init__(self, *, rows: int, columns: int) -> None:
        self._rows, self._columns = operator.index(rows), operator.index(columns)
        for name, size in (("rows", self._rows), ("columns", self._columns)):
            if size < 1:
                raise ValueError(f"{name} must be 1 or more, not {size!r}")
        super().__init__(
            {
                "activations": In(data.ArrayLayout(signed(8), rows)),
                "last": In(rows),
                "weights": In(data.ArrayLayout(signed(8), columns)),
                "valid": Out(1),
                "results": Out(data.ArrayLayout(32, columns)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.drain_valid = valids = share(Drain, rows=self._rows, width=1)
        m.d.comb += self.valid.eq(valids.top)
        left = [(self.activations[row], self.last[row]) for row in range(self._rows)]
        for column in range(self._columns):
            above = delayed(m, self.weights[column], column)
            drain = share(Drain, rows=self._rows, width=32)
            m.submodules[f"drain_{column}"] = drain
            m.d.comb += self.results[column].eq(drain.top)
            for row in range(self._rows):
                element = share(OutputStationaryElement)
                m.submodules[f"element_{row}_{column}"] = element
                m.d.comb += [
                    element.activation.eq(left[row][0]),
                    element.last.eq(left[row][1]),
                    element.weight.eq(above),
                    drain.results[row].eq(element.result),
                ]
                left[row] = (element.activation_next, element.last_next)
                above = element.weight_next
                if column == 0:
                    m.d.comb += valids.results[row].eq(element.valid)
        return m
