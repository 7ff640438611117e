"""The systolic arrays in NumPy: what an EXECUTE computes from the scratchpads, and when. No Amaranth here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hw.array.geometry import shortest_interval
from hw.design import Geometry, ceil_div
from hw.timing import (
    ACCUMULATE,
    CORNER_TURN,
    DRAIN_ROWS,
    OUTPUT_BEGIN,
    OUTPUT_ELEMENT,
    READER,
    READER_DEPTH,
    SELECT,
    SYSTOLIC_SETUP,
    WEIGHT_ELEMENT,
)


@dataclass(frozen=True, kw_only=True)
class Times:
    """Cycles of an EXECUTE.

    ``taken``: command handshake. ``begin``: first step. ``end``: first cycle in which the front end is free of it.
    ``finished``: the accumulators say that the last result is there. ``steps``: cycles with ``step``.
    """

    taken: int
    begin: int
    end: int
    finished: int
    steps: int


class SystolicModel:
    """Golden execute and cycle law of ``hw.array.core.SystolicCore``.

    Parameters
    ----------
    geometry : Geometry
    dataflow : "output-stationary" or "weight-stationary"
    """

    def __init__(self, *, geometry: Geometry, dataflow: str) -> None:
        if dataflow not in ("output-stationary", "weight-stationary"):
            raise ValueError(f"dataflow must be output-stationary or weight-stationary, not {dataflow!r}")
        self.geometry, self.dataflow = geometry, dataflow

    def weight_words(self, depth_tiles: int) -> int:
        """Weight words of one column tile: one per step of K."""
        return depth_tiles * self.geometry.weight_words

    def execute(self, fields: Mapping[str, int], activations: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """int32 [row_tiles * tile_rows, column_tiles * columns], from the bytes (uint8) of both scratchpads.

        Byte k of row m is byte ``k % L`` of word ``address + m * stride + k // L``; weight word i of column tile n is word
        ``address + n * depth + i``, a byte per column. Sums wrap like int32.
        """
        g = self.geometry
        rows, depth = fields["row_tiles"] * g.tile_rows, fields["depth_tiles"] * g.tile_depth
        k = np.arange(depth)
        words = (
            fields["activations_address"]
            + np.arange(rows)[:, None] * fields["activations_stride"]
            + k[None, :] // g.activation_bytes
        )
        pad = activations.reshape(-1, g.activation_bytes)
        x = pad[words % len(pad), k[None, :] % g.activation_bytes].view(np.int8).astype(np.int64)
        pad = weights.reshape(-1, g.weight_bytes)
        first = fields["weights_address"] + np.arange(fields["column_tiles"]) * depth
        w = pad[(first[:, None] + k) % len(pad)][:, :, : g.columns].view(np.int8).astype(np.int64)
        y = (
            np.einsum("mk,nkc->mnc", x, w)
            if rows * depth < 64
            else np.stack([x @ tile for tile in w], axis=1)
        )
        return y.reshape(rows, -1).astype(np.uint64).astype(np.uint32).view(np.int32)

    def law(self) -> OutputStationaryLaw | WeightStationaryLaw:
        """A fresh cycle law: commands are given to it in order."""
        kind = OutputStationaryLaw if self.dataflow == "output-stationary" else WeightStationaryLaw
        return kind(self.geometry)


class _Reader:
    """``hw.array.reader.OperandReader``: reads ``READER_DEPTH`` words ahead, and takes the next loops as it asks for the last."""

    def __init__(self) -> None:
        self._free = 0

    def take(self, offered: int) -> int:
        """The cycle in which it takes loops that are offered from cycle ``offered`` on."""
        return max(offered, self._free)

    def run(self, taken: int, words: int, left: int) -> None:
        """It took ``words`` words' loops in ``taken``; the word ``READER_DEPTH`` from the end leaves in cycle ``left``."""
        self._free = max(taken + words, left + 1 if words > READER_DEPTH else 0)


class OutputStationaryLaw:
    """When an output-stationary core does what.

    A tile takes a step per k, and the next one begins after ``interval`` cycles: K, or what the words of the last row take,
    or what the results of the tile before need to get out of the way. Tiles follow each other without a gap, and
    commands after one cycle when the next one is there in time for its first words to be read.
    """

    def __init__(self, geometry: Geometry) -> None:
        self._geometry = geometry
        self._setup_free = self._front_free = 0
        self._last_operand = -(1 << 60)
        self._activations, self._weights = _Reader(), _Reader()

    def execute(self, visible: int, fields: Mapping[str, int]) -> Times:
        """The next command is valid at the core from cycle ``visible`` on."""
        g = self._geometry
        depth, tiles = fields["depth_tiles"], fields["row_tiles"] * fields["column_tiles"]
        words = ceil_div(depth, g.activation_bytes)
        interval = max(depth, g.activation_bytes * (words - 1) + g.tile_rows, shortest_interval(g.tile_rows))

        taken = max(visible, self._setup_free)
        offered = taken + SYSTOLIC_SETUP
        activations, weights = self._activations.take(offered), self._weights.take(offered)
        front = max(offered, self._front_free)
        self._setup_free = max(activations, weights, front) + 1
        operands = max(activations, weights) + READER
        begin = max(front + OUTPUT_BEGIN, operands + 1)
        shortest = shortest_interval(g.tile_rows)
        if depth < shortest:
            begin = max(begin, self._last_operand + shortest)
        last_tile = begin + (tiles - 1) * interval
        self._last_operand = last_tile + depth - 1
        self._front_free = last_tile + interval - 1  # its last step, in which it takes the next plan

        def activation(word: int) -> int:
            tile, within = divmod(word, words * g.tile_rows)
            chunk, row = divmod(within, g.tile_rows)
            return begin + tile * interval + chunk * g.activation_bytes + row

        def weight(word: int) -> int:
            return begin + word // depth * interval + word % depth

        for reader, start, count, place in (
            (self._activations, activations, tiles * words * g.tile_rows, activation),
            (self._weights, weights, tiles * depth, weight),
        ):
            reader.run(start, count, place(count - 1 - READER_DEPTH) if count > READER_DEPTH else 0)
        rows = g.tile_rows - 1
        result = last_tile + depth - 1 + CORNER_TURN + rows + OUTPUT_ELEMENT + rows // DRAIN_ROWS + 1
        return Times(
            taken=taken,
            begin=begin,
            end=self._front_free + 1,
            finished=result + g.columns - 1 + ACCUMULATE + 1,
            steps=tiles * depth,
        )


class WeightStationaryLaw:
    """When a weight-stationary core does what.

    A tile's weights take a cycle per row of the array to be put in place, while the array works on the tile before. A tile takes
    a step per row of M, and the next one begins when that is done, its weights are in place, and its sums may be added to.
    """

    def __init__(self, geometry: Geometry) -> None:
        self._geometry = geometry
        self._setup_free = self._front_free = 0
        self._swapped = -(1 << 60)  # first step of the latest tile
        self._activations, self._weights = _Reader(), _Reader()

    def execute(self, visible: int, fields: Mapping[str, int]) -> Times:
        """The next command is valid at the core from cycle ``visible`` on."""
        g = self._geometry
        rows, count = g.tile_depth, fields["row_tiles"]
        tiles = fields["column_tiles"] * fields["depth_tiles"]
        interval = max(rows, count, ACCUMULATE + 1)

        taken = max(visible, self._setup_free)
        offered = taken + SYSTOLIC_SETUP
        activations, weights = self._activations.take(offered), self._weights.take(offered)
        front = max(offered, self._front_free)
        self._setup_free = max(activations, weights, front) + 1
        captured = max(weights + READER, self._swapped)
        begin = max(captured + rows, self._swapped + ACCUMULATE + 1, front + 1, activations + READER)
        last_tile = begin + (tiles - 1) * interval
        self._swapped, self._front_free = last_tile, last_tile + count - 1

        def weight(word: int) -> int:
            tile, row = divmod(word, rows)
            return (captured if tile == 0 else begin + (tile - 1) * interval) + row

        def activation(word: int) -> int:
            return begin + word // count * interval + word % count

        for reader, start, words, place in (
            (self._activations, activations, tiles * count, activation),
            (self._weights, weights, tiles * rows, weight),
        ):
            reader.run(start, words, place(words - 1 - READER_DEPTH) if words > READER_DEPTH else 0)
        result = self._front_free + SELECT + rows - 1 + WEIGHT_ELEMENT
        return Times(
            taken=taken,
            begin=begin,
            end=self._front_free + 1,
            finished=result + g.columns - 1 + ACCUMULATE + 1,
            steps=tiles * count,
        )
