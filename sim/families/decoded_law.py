"""Cycle laws of the arrays of decoded operands."""

from __future__ import annotations

from collections.abc import Mapping

from hw.array.decoded.geometry import DecodedArray
from hw.timing import DECODED_SETUP, DECODED_TURN, SCRATCHPAD
from sim.families.contract import CycleLaw, Times, Weights
from sim.families.systolic import WeightStationaryLaw


class DecodedOutputLaw:
    """Times of successive EXECUTEs of an output-stationary core that starts in cycle 0."""

    def __init__(self, array: DecodedArray):
        self._array = array
        self._start = self._end = 0
        self._last_step = -array.least_interval

    def interval(self, variant: int, depth_tiles: int) -> int:
        """Cycles from a tile to the next: its steps, the reading of its rows' words, or the leaving of its results."""
        array = self._array
        longest = array.steps(variant, depth_tiles) + array.waiting(variant, depth_tiles)
        return longest if array.block else max(longest, array.least_interval)

    def execute(self, visible: int, fields: Mapping[str, int], weights: Weights | None = None) -> Times:
        """``fields`` is valid at the core from cycle ``visible`` on."""
        array, depth_tiles = self._array, fields["depth_tiles"]
        steps = array.steps(fields["variant"], depth_tiles)
        tiles = fields["row_tiles"] * fields["column_tiles"]
        taken = max(visible, self._start - 1)
        self._start = max(taken + DECODED_SETUP, self._end)
        if array.block:
            self._start = max(self._start, self._last_step + 1 + array.command_gap)
        elif steps < array.least_interval:
            self._start = max(self._start, self._last_step + array.least_interval)
        interval = self.interval(fields["variant"], depth_tiles)
        self._end = self._start + tiles * interval
        self._last_step = self._end - interval + steps - 1
        # At the element, at the top of its column, and the rows below it.
        last_result = self._last_step + SCRATCHPAD + DECODED_TURN + array.element_latency + array.drain
        return Times(
            taken=taken,
            begin=taken + 1,
            end=self._end,
            finished=last_result + array.geometry.banks + array.geometry.accumulate,
            steps=tiles * steps,
        )


def law(array: DecodedArray) -> CycleLaw:
    """The cycle law of a core that has just been reset."""
    if not array.stationary_weights:
        return DecodedOutputLaw(array)
    return WeightStationaryLaw(
        array.geometry,
        setup=DECODED_SETUP,
        way=array.select_latency + array.element_latency,
        scales=[array.scale_words(variant) for variant in range(len(array.pairs))],
    )
