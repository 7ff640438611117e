"""Cycle law of the systolic array that multiplies digit by digit; its sums are those of the others."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hw.array.geometry import least_interval
from hw.design import Geometry
from hw.timing import (
    DIGIT_ELEMENT,
    DIGIT_FEED,
    DIGIT_GROUP,
    DIGIT_LEAD,
    DIGIT_SETUP,
    DRAIN_ROWS,
)
from sim.digits import DIGITS, en_t, nonzero
from sim.families.contract import Times, Weights
from sim.families.systolic import SystolicModel

_TAKEN = nonzero(en_t)[np.arange(256, dtype=np.uint8).view(np.int8).astype(np.int64) + 128]
"""Digits that are not zero, by a weight's code as a byte."""


class SparseDigitLaw:
    """Times of successive EXECUTEs of a core that starts in cycle 0.

    A group of four weights along K takes as many cycles as the column with the most digits that are not zero has, but
    ``DIGIT_GROUP`` at least. The last one of a tile ends ``least_interval`` cycles after the tile before, and as many cycles as
    there are rows after its word of activations begins, or later. Groups and tiles follow each other without a gap.
    """

    def __init__(self, geometry: Geometry):
        self._geometry = geometry
        self._least = least_interval(geometry.tile_rows)
        self._start = self._end = 0
        self._tile_end = -self._least

    def digits(self, content: np.ndarray) -> np.ndarray:
        """Most digits of a column, of each group of ``content``, the bytes of whole words of weights: int64 [words]."""
        lanes = content.reshape(-1, DIGIT_GROUP, self._geometry.weight_bytes // DIGIT_GROUP)
        return _TAKEN[lanes[:, :, : self._geometry.columns]].sum(axis=1).max(axis=-1)

    def execute(self, visible: int, fields: Mapping[str, int], weights: Weights) -> Times:
        """``fields`` is valid at the core from cycle ``visible`` on; cycles depend on the weights."""
        g, rows, depth = self._geometry, self._geometry.tile_rows, fields["depth_tiles"]
        taken = max(visible, self._start)
        self._start = max(taken + DIGIT_SETUP, self._end)
        first, size = fields["weights_address"] * g.weight_bytes, depth * g.weight_bytes
        content = weights()[first : first + fields["column_tiles"] * size]
        digits = self.digits(content).reshape(fields["column_tiles"], depth)
        cycles = np.maximum(digits, DIGIT_GROUP)
        # Groups of the last word of activations, whose rows must have been read.
        ending = (depth - 1) % (g.activation_bytes // DIGIT_GROUP) + 1
        most = cycles[:, :-ending].sum(axis=-1) + np.maximum(cycles[:, -ending:].sum(axis=-1), rows)
        intervals = np.maximum(most, self._least)
        begin = self._start + DIGIT_LEAD
        end = max(begin + int(most[0]), self._tile_end + self._least)
        end += fields["row_tiles"] * int(intervals.sum()) - int(intervals[0])
        self._end = self._tile_end = end
        last_result = end - 1 + DIGIT_FEED + DIGIT_ELEMENT + 1 + rows - 1 + (rows - 1) // DRAIN_ROWS
        return Times(
            taken=taken,
            begin=taken + 1,
            end=end,
            finished=last_result + g.banks + g.accumulate,
            steps=fields["row_tiles"] * int(digits.sum()),
        )


class SparseDigitModel(SystolicModel):
    """An array of ``hw.array.sparse_digit.core``.

    Parameters
    ----------
    geometry : Geometry
    """

    def __init__(self, *, geometry: Geometry):
        super().__init__(geometry=geometry, dataflow="output-stationary", multiplier="sparse_digit")

    def multiplications(self, variant: int) -> float:
        """A product is four digits; more of them where digits are left out."""
        return self._geometry.tile_rows * self._geometry.columns / DIGITS

    def tile_cycles(self, variant: int, row_tiles: int, depth_tiles: int) -> int:
        """The most that it may be: all digits are there."""
        return row_tiles * depth_tiles * DIGIT_GROUP * DIGITS

    def law(self) -> SparseDigitLaw:
        """The cycle law of a core that has just been reset; ask it for one EXECUTE after the other."""
        return SparseDigitLaw(self._geometry)
