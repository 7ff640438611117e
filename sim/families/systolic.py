"""Golden execute and cycle law of the systolic arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from hw.array.geometry import least_interval
from hw.design import Geometry, ceil_div
from hw.timing import (
    ACCUMULATE,
    CORNER_TURN,
    DRAIN_ROWS,
    OUTPUT_ELEMENTS,
    SCRATCHPAD,
    SELECT,
    SYSTOLIC_SETUP,
    WEIGHT_ELEMENT,
)
from sim.families.contract import Times, Weights


class OutputStationaryLaw:
    """Times of successive EXECUTEs of an output-stationary core that starts in cycle 0.

    Parameters
    ----------
    geometry : Geometry
    element : int
        Cycles from an element's last operands to its result: ``hw.timing.OUTPUT_ELEMENTS``.
    """

    def __init__(self, geometry: Geometry, element: int = OUTPUT_ELEMENTS["native"]):
        self._geometry, self._element = geometry, element
        self._least = least_interval(geometry.tile_rows)
        self._start = self._end = 0
        self._last_step = -self._least

    def interval(self, depth: int) -> int:
        """Cycles from a tile to the next: its steps, the reading of its rows' words, or the leaving of its results."""
        rows, word = self._geometry.tile_rows, self._geometry.activation_bytes
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
            finished=last_result + self._geometry.banks + ACCUMULATE,
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
        Of an output-stationary array: sums are the same, and come as late as ``hw.timing.OUTPUT_ELEMENTS`` says.
    """

    def __init__(self, *, geometry: Geometry, dataflow: str, multiplier: str = "native"):
        if dataflow not in DATAFLOWS:
            raise ValueError(f"dataflow must be one of {', '.join(DATAFLOWS)}, not {dataflow!r}")
        self._geometry, self._dataflow = geometry, dataflow
        self._element = OUTPUT_ELEMENTS[multiplier]

    def activation_bytes(self, variant: int, steps: int) -> int:
        """A byte per step."""
        return steps

    def weight_words(self, variant: int, depth_tiles: int) -> int:
        """Weight words of one column tile that is ``depth_tiles`` deep."""
        return depth_tiles * self._geometry.weight_words

    def multiplications(self, variant: int) -> float:
        """One in each element."""
        g = self._geometry
        return g.tile_rows * g.columns * g.tile_depth

    def tile_cycles(self, variant: int, row_tiles: int, depth_tiles: int) -> int:
        """A depth tile takes a step per row tile, but its weights must come in, too."""
        return max(row_tiles, self._geometry.weight_words) * depth_tiles

    def law(self) -> OutputStationaryLaw | WeightStationaryLaw:
        """The cycle law of a core that has just been reset; ask it for one EXECUTE after the other."""
        if self._dataflow == "weight-stationary":
            return WeightStationaryLaw(self._geometry)
        return OutputStationaryLaw(self._geometry, self._element)

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
        words = fields["weights_address"] + np.arange(fields["column_tiles"] * depth)
        w = weights.reshape(-1, g.weight_bytes)[words, : g.columns].view(np.int8)
        w = w.reshape(fields["column_tiles"], depth, g.columns).transpose(1, 0, 2).reshape(depth, -1)
        # Exact: float64 holds every sum of products of int8 up to a depth of 2 ** 38.
        return (x.astype(np.float64) @ w.astype(np.float64)).astype(np.int64).astype(np.int32)
