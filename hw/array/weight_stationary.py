"""The weight-stationary array: weights stay in the elements, activations flow past them, sums flow down."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import ClassVar

from amaranth.hdl import Cat, Module, ShapeLike, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from hw.delay import delayed
from hw.pe.systolic import WeightStationaryElement
from hw.share import share

INT8 = signed(8)


def sum_width(rows: int) -> int:
    """Bits of a sum of ``rows`` products of int8: (-128)**2 of each row, and a sign."""
    return 16 + ceil_log2(rows)


class WeightStationaryColumn(wiring.Component):
    """One column: ``rows`` elements, sums going down. An array is columns side by side, elaborated once.

    Members
    -------
    activations : In(ArrayLayout(signed(8), rows)), capture, swap : In(rows)
        From the left, a cycle later in each row (``capture``: two); ``activations_next``, ``capture_next`` and
        ``swap_next``, one cycle later, to the right.
    weight : In(signed(8))
        From above.
    result : Out(signed(width))
        The sum of all rows.

    Timing
    ------
    As column 0 of :class:`WeightStationaryArray`.
    """

    def __init__(
        self,
        *,
        rows: int,
        activation: ShapeLike = INT8,
        weight: ShapeLike = INT8,
        width: int | None = None,
        result: ShapeLike | None = None,
    ) -> None:
        # ``width``: of a sum. ``result``: of what leaves below, where that is not a sum.
        self._rows = rows
        self._width = sum_width(rows) if width is None else width
        operands = data.ArrayLayout(activation, rows)
        super().__init__(
            {
                "activations": In(operands),
                "capture": In(rows),
                "swap": In(rows),
                "weight": In(weight),
                "activations_next": Out(operands),
                "capture_next": Out(rows),
                "swap_next": Out(rows),
                "result": Out(signed(self._width) if result is None else result),
            }
        )

    def elaborate(self, platform):
        m = Module()
        weight, partial = self._weight(), 0
        for row in range(self._rows):
            m.submodules[f"element_{row}"] = element = self._element()
            m.d.comb += [
                element.activation.eq(self.activations[row]),
                element.capture.eq(self.capture[row]),
                element.swap.eq(self.swap[row]),
                element.weight.eq(weight),
                element.sum.eq(partial),
                self.activations_next[row].eq(element.activation_next),
                self.capture_next[row].eq(element.capture_next),
                self.swap_next[row].eq(element.swap_next),
            ]
            weight, partial = element.weight_next, element.sum_next
        self._below(m, partial)
        return m

    def _weight(self) -> Value:
        """What the elements take of the weight."""
        return self.weight

    def _below(self, m: Module, total: Value) -> None:
        """From what leaves the last element to the column's result."""
        m.d.comb += self.result.eq(total)

    def _element(self):
        return share(WeightStationaryElement, sum_width=self._width)


class WeightStationaryArray(wiring.Component):
    """``rows`` × ``columns`` elements and the skew of both operands.

    Parameters
    ----------
    rows, columns : int
        1 to 64 each.
    activation, weight : ShapeLike
        Of operands; int8 if they are not given.
    also : Mapping
        Further members: what a column has under the same name, and hands to the next as ``..._next``.

    Members
    -------
    weights : In(ArrayLayout(weight, columns))
        A row of weights; row r of a tile comes r cycles after ``capture``.
    capture : In(1)
        Row 0 of the next tile's weights is at ``weights``.
    swap : In(1)
        From the activations of the next cycle on, the captured weights are held. ``rows`` cycles after ``capture`` at the
        earliest; the next ``capture`` in the cycle of the ``swap`` at the earliest.
    activations : In(ArrayLayout(activation, rows))
        A value per row, all of the same row of X.
    results : Out(ArrayLayout(32, columns))
        Its sums, ``rows - 1 + WEIGHT_ELEMENT`` cycles later in column 0, and c cycles after that in column c.

    Raises
    ------
    TypeError, ValueError
        ``rows`` or ``columns`` is not an integer of 1 to 64, ``columns`` not a multiple of ``together``.
    """

    together: ClassVar[int] = 1
    """Neighbouring columns at the same place, which share multipliers."""

    def __init__(
        self,
        *,
        rows: int,
        columns: int,
        activation: ShapeLike = INT8,
        weight: ShapeLike = INT8,
        also: Mapping[str, ShapeLike] | None = None,
    ) -> None:
        self._also = dict(also or {})
        self._rows, self._columns = operator.index(rows), operator.index(columns)
        for name, size in (("rows", self._rows), ("columns", self._columns)):
            if not 1 <= size <= 64:
                raise ValueError(f"{name} must be 1 to 64, not {size!r}")
        if self._columns % self.together:
            raise ValueError(f"columns must be a multiple of {self.together}, not {columns!r}")
        super().__init__(
            {
                "weights": In(data.ArrayLayout(weight, columns)),
                "capture": In(1),
                "swap": In(1),
                "activations": In(data.ArrayLayout(activation, rows)),
                "results": Out(data.ArrayLayout(32, columns)),
                **{name: In(shape) for name, shape in self._also.items()},
            }
        )

    def elaborate(self, platform):
        m = Module()
        # A weight needs a cycle per row, and is a row's own one cycle later.
        left = (
            self._skewed_activations(m),
            _skewed(m, self.capture, self._rows, 2),
            _skewed(m, self.swap, self._rows, 1),
        )
        weights, results = Value.cast(self.weights), Value.cast(self.results)
        bits = len(weights) // self._columns * self.together
        also = [getattr(self, name) for name in self._also]
        for index in range(0, self._columns, self.together):
            m.submodules[f"column_{index}"] = column = self._column()
            m.d.comb += [
                column.activations.eq(left[0]),
                column.capture.eq(left[1]),
                column.swap.eq(left[2]),
                column.weight.eq(weights[:bits]),
                results[32 * index : 32 * (index + self.together)].eq(column.result),
                *(getattr(column, name).eq(value) for name, value in zip(self._also, also, strict=True)),
            ]
            # A column passes them on a cycle later; the weights of the columns that follow come a cycle later for each.
            passed = (column.activations_next, column.capture_next, column.swap_next)
            left = tuple(delayed(m, value, self.together - 1) for value in passed)
            also = [getattr(column, f"{name}_next") for name in self._also]
            weights = delayed(m, weights[bits:], self.together)
        return m

    def _column(self):
        return share(WeightStationaryColumn, rows=self._rows)

    def _skewed_activations(self, m: Module) -> Value:
        rest, skewed = Value.cast(self.activations), []
        bits = len(rest) // self._rows
        for _ in range(self._rows):
            skewed.append(rest[:bits])
            rest = delayed(m, rest[bits:], 1)
        return Cat(skewed)


def _skewed(m: Module, value: Signal, rows: int, cycles: int) -> Value:
    """``value`` for each row, ``cycles`` cycles later than for the row above."""
    skewed: list[Value] = [value]
    for _ in range(rows - 1):
        skewed.append(delayed(m, skewed[-1], cycles))
    return Cat(skewed)
