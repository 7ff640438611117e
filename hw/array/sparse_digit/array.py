"""The array that multiplies digit by digit: digits of weights go down the columns, activations to the right, results up."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.array.output_stationary import Drain
from hw.array.sparse_digit.head import Head
from hw.delay import delayed
from hw.pe.digit import ACTIVATIONS, STEP, DigitElement
from hw.share import share
from hw.timing import DIGIT_FEED, DIGIT_GROUP


class DigitColumn(wiring.Component):
    """One column: ``rows`` elements and their drains. An array is columns side by side, elaborated once.

    Members
    -------
    activations : In(ArrayLayout(ACTIVATIONS, rows))
        From the left, skewed; ``activations_next``, one cycle later, to the right.
    step : In(STEP)
        From above, with the activations of row 0.
    result : Out(32), valid : Out(1)
        Row r's ``DIGIT_ELEMENT + r + r // DRAIN_ROWS + 1`` cycles after ``last``.
    """

    def __init__(self, *, rows: int) -> None:
        self._rows = rows
        activations = data.ArrayLayout(ACTIVATIONS, rows)
        super().__init__(
            {
                "activations": In(activations),
                "activations_next": Out(activations),
                "step": In(STEP),
                "result": Out(32),
                "valid": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.drain = results = share(Drain, rows=self._rows, width=32)
        m.submodules.drain_valid = valids = share(Drain, rows=self._rows, width=1)
        m.d.comb += [self.result.eq(results.top), self.valid.eq(valids.top)]
        above = self.step
        for row in range(self._rows):
            m.submodules[f"element_{row}"] = element = share(DigitElement)
            m.d.comb += [
                element.activations.eq(self.activations[row]),
                element.step.eq(above),
                self.activations_next[row].eq(element.activations_next),
                results.results[row].eq(element.result),
                valids.results[row].eq(element.valid),
            ]
            above = element.step_next
        return m


class DigitArray(wiring.Component):
    """``columns`` columns with their heads, which work at the same time, and the skew of what these give.

    Parameters
    ----------
    rows, columns : int
        1 or more.

    Members
    -------
    weights : In(ArrayLayout(ArrayLayout(signed(8), columns), 4))
        Of a group; ``start``, ``valid``, ``clear``, as of ``Head``.
    last : In(1)
        In the cycle after the last of a tile.
    busy, taken : Out(1)
        A column is so (``Head``); took a digit in the cycle before.
    activations : In(ArrayLayout(ACTIVATIONS, rows))
        Skewed: row r's r cycles after row 0's, which come ``DIGIT_FEED`` cycles after the first of their group.
    results_valid : Out(1)
        Column 0 of ``results`` is a result.
    results : Out(ArrayLayout(32, columns))
        Column c's comes c cycles after column 0's.

    Timing
    ------
    Row r's result is at column c ``DIGIT_FEED + DIGIT_ELEMENT + r + r // DRAIN_ROWS + c`` cycles after ``last``. Two ``last`` are
    ``rows + (rows - 1) // DRAIN_ROWS`` cycles apart, or more.
    """

    def __init__(self, *, rows: int, columns: int) -> None:
        self._rows, self._columns = rows, columns
        super().__init__(
            {
                "weights": In(data.ArrayLayout(data.ArrayLayout(signed(8), columns), DIGIT_GROUP)),
                "start": In(1),
                "valid": In(1),
                "clear": In(1),
                "last": In(1),
                "busy": Out(1),
                "taken": Out(1),
                "activations": In(data.ArrayLayout(ACTIVATIONS, rows)),
                "results_valid": Out(1),
                "results": Out(data.ArrayLayout(32, columns)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        steps = self._heads(m)
        activations = self.activations
        for index in range(self._columns):
            m.submodules[f"column_{index}"] = column = share(DigitColumn, rows=self._rows)
            m.d.comb += [
                column.activations.eq(activations),
                column.step.eq(steps[: STEP.size]),
                self.results[index].eq(column.result),
            ]
            if index == 0:
                m.d.comb += self.results_valid.eq(column.valid)
            activations = column.activations_next
            # The steps of the columns that follow, a cycle later for each.
            steps = delayed(m, steps[STEP.size :], 1)
        return m

    def _heads(self, m: Module) -> Value:
        """Returned: steps of all columns, when row 0 of column 0 is to have its own."""
        heads = []
        for index in range(self._columns):
            m.submodules[f"head_{index}"] = head = share(Head)
            heads.append(head)
            m.d.comb += [
                *(head.weights[lane].eq(self.weights[lane][index]) for lane in range(DIGIT_GROUP)),
                head.start.eq(self.start),
                head.valid.eq(self.valid),
                head.clear.eq(self.clear),
            ]
        m.d.comb += [
            self.busy.eq(Cat(head.busy for head in heads).any()),
            self.taken.eq(Cat(head.step.taken for head in heads).any()),
        ]
        steps = []
        for index, head in enumerate(heads):
            step = Signal(STEP, name=f"step_{index}")
            m.d.comb += [step.eq(head.step), step.last.eq(self.last)]
            steps.append(step)
        return delayed(m, Cat(steps), DIGIT_FEED - 1)
