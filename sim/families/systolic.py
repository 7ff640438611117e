"""Golden execute and cycle law of the systolic arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from hw.array.geometry import MULTIPLIERS, Multiplier, least_interval
from hw.design import Geometry, ceil_div
from hw.pe.cube_times import output_element
from hw.timing import (
    CORNER_TURN,
    DRAIN_ROWS,
    OUTPUT_ELEMENT,
    SCRATCHPAD,
    SELECT,
    SYSTOLIC_SETUP,
    WEIGHT_ELEMENT,
    WEIGHT_ELEMENTS,
)
from sim.families.contract import CycleLaw, Times, Weights


class OutputStationaryLaw:
    """Times of successive EXECUTEs of an output-stationary core that starts in cycle 0.

    Parameters
    ----------
    geometry : Geometry
    element : int
        Cycles from an element's last operands to its result: ``hw.pe.cube_times.output_element``.
    """

    def __init__(self, geometry: Geometry, element: int = OUTPUT_ELEMENT):
        self._geometry, self._element = geometry, element
        self._least = least_interval(geometry.tile_rows)
        self._start = self._end = 0
        self._last_step = -self._least

    def interval(self, depth: int) -> int:
        """Cycles from a tile to the next: its steps, the reading of its rows' words, or the leaving of its results."""
        rows, word = self._geometry.tile_rows, self._geometry.activation_bytes // self._geometry.tile_depth
        return max(depth, word * (ceil_div(depth, word) - 1) + rows, self._least)

    def execute(self, visible: int, fields: Mapping[str, int], weights: Weights | None = None) -> Times:
        """``fields`` is valid at the core from cycle ``visible`` on."""
        rows, tiles = self._geometry.tile_rows, fields["row_tiles"] * fields["column_tiles"]
        taken = max(visible, self._start - 1)
        self._start = max(taken + SYSTOLIC_SETUP, self._end)
        if fields["depth_tiles"] < self._least:
            self._start = max(self._start, self._last_step + self._least)
        interval = self.interval(fields["depth_tiles"])
        self._end = self._start + tiles * interval
        self._last_step = self._end - interval + fields["depth_tiles"] - 1
        last_result = (
            self._last_step
            + SCRATCHPAD
            + CORNER_TURN
            + self._element
            + 1
            + rows
            - 1
            + (rows - 1) // DRAIN_ROWS
        )
        return Times(
            taken=taken,
            begin=taken + 1,
            end=self._end,
            finished=last_result + self._geometry.banks + self._geometry.accumulate,
            steps=tiles * fields["depth_tiles"],
        )


class WeightStationaryLaw:
    """Times of successive EXECUTEs of a weight-stationary core that starts in cycle 0.

    ``setup``: handshake to the first weights; ``way``: a step to its activations at row 0, and to the result below the last;
    ``scales``: words of scales behind the weights of a tile, by ``variant``; none if they are not given.
    """

    def __init__(
        self,
        geometry: Geometry,
        *,
        setup: int = SYSTOLIC_SETUP,
        way: int = SCRATCHPAD + SELECT + WEIGHT_ELEMENT,
        scales: Sequence[int] = (),
    ):
        self._geometry, self._setup, self._way, self._scales = geometry, setup, way, scales
        self._start = 0
        self._last_tile, self._row_tiles = -(1 << 62), 0

    def execute(self, visible: int, fields: Mapping[str, int], weights: Weights | None = None) -> Times:
        """``fields`` is valid at the core from cycle ``visible`` on."""
        g, row_tiles = self._geometry, fields["row_tiles"]
        rows, accumulate = g.tile_depth, g.accumulate
        words = rows + (self._scales[fields["variant"]] if self._scales else 0)
        tiles = fields["column_tiles"] * fields["depth_tiles"]
        taken = max(visible, self._start)
        self._start = max(taken + self._setup, self._last_tile)
        apart = self._row_tiles + accumulate if fields["accumulate"] else max(self._row_tiles, accumulate + 1)
        first_tile = max(self._start + max(words, 2), self._last_tile + apart)
        self._last_tile = first_tile + (tiles - 1) * max(words, row_tiles, accumulate + 1)
        self._row_tiles = row_tiles
        end = self._last_tile + row_tiles
        last_result = end - 1 + self._way + rows - 1
        return Times(
            taken=taken,
            begin=taken + 1,
            end=end,
            finished=last_result + g.banks + accumulate,
            steps=tiles * row_tiles,
        )


DATAFLOWS = ("output-stationary", "weight-stationary")


class SystolicModel:
    """An array of ``hw.array.core.systolic_core``.

    Parameters
    ----------
    geometry : Geometry
    dataflow : str
    multiplier : str
        Sums are exact with each. Weights have as many bits as ``hw.array.geometry.MULTIPLIERS`` says, results come as late as
        ``hw.pe.cube_times.output_element`` and ``hw.timing.WEIGHT_ELEMENTS`` do.
    """

    def __init__(self, *, geometry: Geometry, dataflow: str, multiplier: Multiplier = "native"):
        if dataflow not in DATAFLOWS:
            raise ValueError(f"dataflow must be one of {', '.join(DATAFLOWS)}, not {dataflow!r}")
        if multiplier not in MULTIPLIERS:
            raise ValueError(f"multiplier must be one of {', '.join(MULTIPLIERS)}, not {multiplier!r}")
        self._geometry, self._dataflow, self._multiplier = geometry, dataflow, multiplier
        # Steps of K that an element takes at once.
        self._lanes = geometry.tile_depth // geometry.weight_words // MULTIPLIERS[multiplier].group

    def activation_bytes(self, variant: int, steps: int) -> int:
        """A byte per step."""
        return steps

    def weight_words(self, variant: int, depth_tiles: int) -> int:
        """Weight words of one column tile that is ``depth_tiles`` deep."""
        return depth_tiles * self._geometry.weight_words

    def multiplications(self, variant: int) -> float:
        """One in each element, or as many as it takes steps of K at once."""
        g = self._geometry
        return g.tile_rows * g.columns * g.tile_depth

    def tile_cycles(self, variant: int, row_tiles: int, depth_tiles: int) -> int:
        """A depth tile takes a step per row tile, but its weights must come in, too."""
        return max(row_tiles, self._geometry.weight_words) * depth_tiles

    def law(self) -> CycleLaw:
        """The cycle law of a core that has just been reset; ask it for one EXECUTE after the other."""
        if self._dataflow == "weight-stationary":
            way = SCRATCHPAD + SELECT + WEIGHT_ELEMENTS[self._multiplier]
            return WeightStationaryLaw(self._geometry, way=way)
        return OutputStationaryLaw(self._geometry, output_element(self._multiplier, self._lanes))

    def execute(
        self,
        fields: Mapping[str, int],
        activations: np.ndarray,
        weights: np.ndarray,
        settings: Sequence[int] = (),
    ) -> np.ndarray:
        """What an EXECUTE adds to its accumulators: int32 [row_tiles * tile_rows, column_tiles * columns].

        ``activations`` and ``weights`` are the bytes (uint8) of the scratchpads; the array has no settings.
        """
        g = self._geometry
        rows, depth = fields["row_tiles"] * g.tile_rows, fields["depth_tiles"] * g.tile_depth
        starts = (
            fields["activations_address"] + np.arange(rows) * fields["activations_stride"]
        ) * g.activation_bytes
        x = activations[starts[:, None] + np.arange(depth)].view(np.int8)
        per_word = MULTIPLIERS[self._multiplier].group
        first = fields["weights_address"] * per_word
        words = first + np.arange(fields["column_tiles"] * depth // self._lanes)
        w = self._weights(weights.reshape(-1, g.weight_bytes // per_word)[words])
        w = w.reshape(fields["column_tiles"], -1, g.columns, self._lanes).transpose(1, 3, 0, 2)
        w = w.reshape(depth, -1)
        # Exact: float64 holds every sum of products of int8 up to a depth of 2 ** 38.
        return (x.astype(np.float64) @ w.astype(np.float64)).astype(np.int64).astype(np.int32)

    def _weights(self, words: np.ndarray) -> np.ndarray:
        """int8 [word, column and step] of words (uint8), the bits of each above those of the one before."""
        bits = MULTIPLIERS[self._multiplier].weight_bits
        codes = words[..., None] >> np.arange(0, 8, bits, dtype=np.uint8) << 8 - bits
        used = self._geometry.columns * self._lanes
        return (codes.view(np.int8) >> 8 - bits).reshape(len(words), -1)[:, :used]
