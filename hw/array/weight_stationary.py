"""The weight-stationary array: weights stay in the elements, activations flow past them, sums flow down."""

from __future__ import annotations

import operator

from amaranth.hdl import Module, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from hw.array.delay import delayed
from hw.pe.systolic import WeightStationaryElement
from hw.share import share


class WeightStationaryArray(wiring.Component):
    """``rows`` × ``columns`` elements and the skew of both operands.

    Parameters
    ----------
    rows, columns : int
        1 to 64 each.

    Members
    -------
    weights : In(ArrayLayout(signed(8), columns))
        A row of weights; row r of a tile comes r cycles after ``capture``.
    capture : In(1)
        Row 0 of the next tile's weights is at ``weights``.
    swap : In(1)
        From the activations of the next cycle on, the captured weights are held. ``rows`` cycles after ``capture`` at the
        earliest; the next ``capture`` in the cycle of the ``swap`` at the earliest.
    activations : In(ArrayLayout(signed(8), rows))
        A value per row, all of the same row of X.
    results : Out(ArrayLayout(32, columns))
        Its sums, ``rows - 1 + WEIGHT_ELEMENT`` cycles later in column 0, and c cycles after that in column c.

    Raises
    ------
    TypeError, ValueError
        ``rows`` or ``columns`` is not an integer of 1 to 64.
    """

    def __init__(self, *, rows: int, columns: int) -> None:
        self._rows, self._columns = operator.index(rows), operator.index(columns)
        for name, size in (("rows", self._rows), ("columns", self._columns)):
            if not 1 <= size <= 64:
                raise ValueError(f"{name} must be 1 to 64, not {size!r}")
        super().__init__(
            {
                "weights": In(data.ArrayLayout(signed(8), columns)),
                "capture": In(1),
                "swap": In(1),
                "activations": In(data.ArrayLayout(signed(8), rows)),
                "results": Out(data.ArrayLayout(32, columns)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        # No sum of products of int8 needs more: (-128)**2 of each row.
        width = 16 + ceil_log2(self._rows)
        above = [(delayed(m, self.weights[column], column), 0) for column in range(self._columns)]
        for row in range(self._rows):
            left = (
                delayed(m, self.activations[row], row),
                delayed(m, self.capture, 2 * row),  # a weight needs a cycle per row, and is a row's own one cycle later
                delayed(m, self.swap, row),
            )
            for column in range(self._columns):
                element = share(WeightStationaryElement, sum_width=width)
                m.submodules[f"element_{row}_{column}"] = element
                weight, partial = above[column]
                m.d.comb += [
                    element.activation.eq(left[0]),
                    element.capture.eq(left[1]),
                    element.swap.eq(left[2]),
                    element.weight.eq(weight),
                    element.sum.eq(partial),
                ]
                left = (element.activation_next, element.capture_next, element.swap_next)
                above[column] = (element.weight_next, element.sum_next)
        m.d.comb += [self.results[column].eq(above[column][1]) for column in range(self._columns)]
        return m
