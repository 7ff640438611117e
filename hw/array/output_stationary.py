"""The output-stationary array: sums stay in the elements, both operands flow past them."""

from __future__ import annotations

import operator

from amaranth.hdl import Module, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.array.geometry import Multiplier
from hw.delay import delayed
from hw.pe.multipliers.carry_save import LOWEST_CARRY, whole
from hw.pe.systolic import CarrySaveOutputElement, OutputStationaryElement
from hw.share import share
from hw.timing import DRAIN_ROWS, OUTPUT_ELEMENTS


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


class OutputStationaryColumn(wiring.Component):
    """One column: ``rows`` elements and their drains. An array is columns side by side, elaborated once.

    Elements that keep sum and carry have one adder, above the drain.

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

    def __init__(self, *, rows: int, multiplier: Multiplier) -> None:
        self._rows, self._multiplier = rows, multiplier
        operands = data.ArrayLayout(signed(8), rows)
        super().__init__(
            {
                "activations": In(operands),
                "last": In(rows),
                "weight": In(signed(8)),
                "activations_next": Out(operands),
                "last_next": Out(rows),
                "result": Out(32),
                "valid": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        kept = self._multiplier == "carry_save"
        width = 2 * 32 - LOWEST_CARRY if kept else 32
        m.submodules.drain = results = share(Drain, rows=self._rows, width=width)
        m.submodules.drain_valid = valids = share(Drain, rows=self._rows, width=1)
        if kept:
            m.d.sync += [self.result.eq(whole(results.top, 32)), self.valid.eq(valids.top)]
        else:
            m.d.comb += [self.result.eq(results.top), self.valid.eq(valids.top)]
        kind = CarrySaveOutputElement if kept else OutputStationaryElement
        above = self.weight
        for row in range(self._rows):
            m.submodules[f"element_{row}"] = element = share(kind)
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


class OutputStationaryArray(wiring.Component):
    """``columns`` columns of ``rows`` elements, and the skew of the weights.

    Parameters
    ----------
    rows, columns : int
        1 or more.
    multiplier : str
        "native" or "carry_save".

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
    ``t + r + OUTPUT_ELEMENTS[multiplier] + r // DRAIN_ROWS + 1 + c``. Operands follow each other without a gap; the last
    operands of two
    sums must be at least ``rows + (rows - 1) // DRAIN_ROWS`` cycles apart.

    Raises
    ------
    TypeError, ValueError
        ``rows`` or ``columns`` is not an integer of 1 or more; ``multiplier`` is unknown.
    """

    def __init__(self, *, rows: int, columns: int, multiplier: Multiplier = "native") -> None:
        self._rows, self._columns = operator.index(rows), operator.index(columns)
        for name, size in (("rows", self._rows), ("columns", self._columns)):
            if size < 1:
                raise ValueError(f"{name} must be 1 or more, not {size!r}")
        if multiplier not in OUTPUT_ELEMENTS:
            raise ValueError(f"multiplier must be one of {', '.join(OUTPUT_ELEMENTS)}, not {multiplier!r}")
        self._multiplier = multiplier
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
        activations, last = self.activations, self.last
        weights = Value.cast(self.weights)
        for index in range(self._columns):
            m.submodules[f"column_{index}"] = column = share(
                OutputStationaryColumn, rows=self._rows, multiplier=self._multiplier
            )
            m.d.comb += [
                column.activations.eq(activations),
                column.last.eq(last),
                column.weight.eq(weights[:8]),
                self.results[index].eq(column.result),
            ]
            if index == 0:
                m.d.comb += self.valid.eq(column.valid)
            activations, last = column.activations_next, column.last_next
            # The weights of the columns that follow, a cycle later for each.
            weights = delayed(m, weights[8:], 1)
        return m
