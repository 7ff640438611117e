"""An array family for tests of compiler and interpreter: any geometry, a plain matrix product for a model.

It is written from docs/architecture.md alone, shares nothing with the families of the house, and can carry words of
scales along K as later families will.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gen.families.contract import ArrayConfig, Family
from hw.design import Design, Geometry


def geometry(*, rows: int, columns: int, data_bytes: int, stationary: bool) -> Geometry:
    """Of a systolic array: ``stationary`` weights, or outputs."""
    weight_bytes = 1
    while weight_bytes < min(columns, data_bytes):
        weight_bytes *= 2
    if columns >= data_bytes:
        weight_bytes = -(-columns // data_bytes) * data_bytes
    word = data_bytes
    while word < rows:
        word *= 2
    return Geometry(
        tile_rows=1 if stationary else rows,
        columns=columns,
        tile_depth=rows if stationary else 1,
        activation_bytes=word,
        weight_bytes=weight_bytes,
        weight_words=rows if stationary else 1,
    )


class Model:
    """Words of a column tile: one per step of K, and one of scales (ignored) after every ``block`` of them."""

    def __init__(self, shape: Geometry, block: int):
        self._shape, self._block = shape, block

    def weight_words(self, depth_tiles: int) -> int:
        steps = depth_tiles * self._shape.tile_depth
        return steps + (-(-steps // self._block) if self._block else 0)

    def execute(self, fields: Mapping[str, int], activations: np.ndarray, weights: np.ndarray) -> np.ndarray:
        g = self._shape
        rows, steps = fields["row_tiles"] * g.tile_rows, fields["depth_tiles"] * g.tile_depth
        x = np.empty((rows, steps), np.int64)
        for m in range(rows):
            start = (fields["activations_address"] + m * fields["activations_stride"]) * g.activation_bytes
            x[m] = activations[start : start + steps].view(np.int8)
        words = self.weight_words(fields["depth_tiles"])
        tiles = []
        for n in range(fields["column_tiles"]):
            first = (fields["weights_address"] + n * words) * g.weight_bytes
            tile = weights[first : first + words * g.weight_bytes].reshape(words, g.weight_bytes)
            if self._block:
                tile = tile[
                    [i for i in range(words) if i % (self._block + 1) != self._block and i != words - 1]
                ]
            tiles.append(x @ tile[:, : g.columns].view(np.int8).astype(np.int64))
        return np.concatenate(tiles, axis=1).astype(np.int32)


class Reference(Family):
    """``block`` steps of K share a word of scales; 0 for none."""

    name = "reference"
    summary = "a plain matrix product"
    Config = ArrayConfig

    def __init__(self, *, rows: int, columns: int, data_bytes: int, stationary: bool, block: int = 0) -> None:
        self._shape = geometry(rows=rows, columns=columns, data_bytes=data_bytes, stationary=stationary)
        self._block = block
        super().__init__(ArrayConfig(), data_bytes=data_bytes)

    def _geometry(self) -> Geometry:
        return self._shape

    @property
    def depth_granule(self) -> int:
        return self._block or 1

    def core(self, design: Design) -> Any:
        raise NotImplementedError

    def model(self) -> Model:
        return Model(self.geometry, self._block)

    def weight_words(self, depth_tiles: int) -> int:
        return self.model().weight_words(depth_tiles)

    def pack_weights(self, codes: np.ndarray) -> np.ndarray:
        g = self.geometry
        words = []
        for first in range(0, codes.shape[1], g.columns):
            depth = -(-codes.shape[0] // g.tile_depth) * g.tile_depth
            tile = np.zeros((depth, g.weight_bytes), np.uint8)
            part = codes[:, first : first + g.columns]
            tile[: part.shape[0], : part.shape[1]] = np.ascontiguousarray(part).view(np.uint8)
            for k, word in enumerate(tile):
                words.append(word)
                if self._block and ((k + 1) % self._block == 0 or k == depth - 1):
                    words.append(np.full(g.weight_bytes, 0xEE, np.uint8))
        return np.concatenate(words)


def design(
    family: Family,
    *,
    activations: int = 65536,
    weights: int = 32768,
    accumulators: int = 1024,
    parameters: int = 2048,
    lanes: int = 1,
    address_width: int = 40,
) -> Design:
    """A design around ``family``; scratchpads in bytes, accumulators in rows, parameters in entries."""
    g = family.geometry
    return Design(
        geometry=g,
        data_bytes=family.data_bytes,
        address_width=address_width,
        burst_beats=64,
        outstanding=8,
        activation_words=activations // g.activation_bytes,
        weight_words=weights // g.weight_bytes,
        accumulator_rows=accumulators,
        parameter_entries=parameters,
        output_lanes=lanes,
    )
