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
        self._known: dict[tuple[int, int], tuple[int, int, int]] = {}

    def interval(self, variant: int, depth_tiles: int) -> int:
        """Cycles from a tile to the next: its steps, the reading of its rows' words, or the leaving of its results."""
        array = self._array
        longest = array.steps(variant, depth_tiles) + array.waiting(variant, depth_tiles)
        return longest if array.block else max(longest, array.least_interval)

    def execute(self, visible: int, fields: Mapping[str, int], weights: Weights | None = None) -> Times:
        """``fields`` is valid at the core from cycle ``visible`` on."""
        array, key = self._array, (fields["variant"], fields["depth_tiles"])
        if key not in self._known:
            self._known[key] = self._times(*key)
        steps, interval, tail = self._known[key]
        tiles = fields["row_tiles"] * fields["column_tiles"]
        taken = max(visible, self._start - 1)
        self._start = max(taken + DECODED_SETUP, self._end)
        if array.block:
            self._start = max(self._start, self._last_step + 1 + array.command_gap)
        elif steps < array.least_interval:
            self._start = max(self._start, self._last_step + array.least_interval)
        self._end = self._start + tiles * interval
        self._last_step = self._end - interval + steps - 1
        return Times(
            taken=taken,
            begin=taken + 1,
            end=self._end,
            finished=self._last_step + tail,
            steps=tiles * steps,
        )

    def _times(self, variant: int, depth_tiles: int) -> tuple[int, int, int]:
        """Of a tile: its steps, cycles to the next one, and from the last step of all to the command's end."""
        array = self._array
        # At the element, at the top of its column, and the rows below it.
        tail = SCRATCHPAD + DECODED_TURN + array.element_latency + array.drain
        steps, interval = array.steps(variant, depth_tiles), self.interval(variant, depth_tiles)
        return steps, interval, tail + array.geometry.banks + array.geometry.accumulate


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
