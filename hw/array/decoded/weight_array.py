"""The weight-stationary array of decoded operands: pairs of weights stay in the elements, pairs of activations flow past them."""

from __future__ import annotations

from hw.array.decoded.geometry import DecodedArray
from hw.array.weight_stationary import WeightStationaryArray, WeightStationaryColumn
from hw.pe.decoder import pair_layout
from hw.pe.exponent_integer import WeightStationaryElement
from hw.share import share


class DecodedWeightColumn(WeightStationaryColumn):
    """As its base, of elements for pairs.

    Parameters
    ----------
    array : DecodedArray
    """

    def __init__(self, *, array: DecodedArray) -> None:
        self._shapes = activation, weight = array.shapes
        self._dropped = array.dropped
        super().__init__(
            rows=array.rows,
            activation=pair_layout(activation),
            weight=pair_layout(weight),
            width=array.sum_bits,
        )

    def _element(self):
        activation, weight = self._shapes
        return share(
            WeightStationaryElement,
            activation=activation,
            weight=weight,
            sum_width=self._width,
            dropped=self._dropped,
        )


class DecodedWeightArray(WeightStationaryArray):
    """As its base, of pairs: results come ``rows - 1 + array.element_latency`` cycles after their activations in column 0.

    Parameters
    ----------
    array : DecodedArray
    """

    def __init__(self, *, array: DecodedArray) -> None:
        self._array = array
        activation, weight = array.shapes
        super().__init__(
            rows=array.rows,
            columns=array.columns,
            activation=pair_layout(activation),
            weight=pair_layout(weight),
        )

    def _column(self):
        return share(DecodedWeightColumn, array=self._array)
