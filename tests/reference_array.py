"""An array family for tests of compiler and interpreter: any geometry, a plain matrix product for a model.

It is written from docs/architecture.md alone and shares nothing with the families of the house. Its second pair of formats has
packed activations and scales along K; two weights of its third are what the array's settings say.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gen.families.contract import ArrayConfig, Family
from hw.design import Design, Geometry
from hw.formats import INT8, Format, Operand


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
        variants=len(PAIRS),
        settings=len(SPECIAL),
    )


BLOCK = 16
NIBBLES = Format(name="nibbles", bits=4, tables=([3 * code - 20 for code in range(16)],))
BLOCKS = Format(name="blocks", bits=8, tables=(range(128, -128, -1),), shared="block", block=BLOCK)
SPECIAL = (-70_000, 1 << 20)
SPECIALS = Format(name="specials", bits=4, tables=([*range(-7, 7), *SPECIAL],))
PAIRS = ((INT8, INT8), (NIBBLES, BLOCKS), (INT8, SPECIALS))


class Model:
    """Three pairs of formats: a byte per step of either operand; or activations of half a byte, and weights with a word of scales
    (a signed byte per feature) after every ``BLOCK`` steps and after the last; or weights of a byte each, whose codes 14 and 15
    stand for the settings in two's complement.
    """

    def __init__(self, shape: Geometry):
        self._shape = shape

    def activation_bytes(self, variant: int, steps: int) -> int:
        return -(-steps // 2) if variant == 1 else steps

    def weight_words(self, variant: int, depth_tiles: int) -> int:
        steps = depth_tiles * self._shape.tile_depth
        return steps + (-(-steps // BLOCK) if variant == 1 else 0)

    def multiplications(self, variant: int) -> float:
        return self._shape.tile_rows * self._shape.columns * self._shape.tile_depth

    def tile_cycles(self, variant: int, row_tiles: int, depth_tiles: int) -> int:
        return max(row_tiles, self._shape.weight_words) * depth_tiles

    def execute(
        self,
        fields: Mapping[str, int],
        activations: np.ndarray,
        weights: np.ndarray,
        settings: Sequence[int] = (),
    ) -> np.ndarray:
        g, variant = self._shape, fields["variant"]
        rows, steps = fields["row_tiles"] * g.tile_rows, fields["depth_tiles"] * g.tile_depth
        size = self.activation_bytes(variant, steps)
        x = np.empty((rows, steps), np.int64)
        for m in range(rows):
            start = (fields["activations_address"] + m * fields["activations_stride"]) * g.activation_bytes
            row = activations[start : start + size]
            if variant == 1:
                codes = np.stack([row & 15, row >> 4], axis=1).reshape(-1)[:steps]
                x[m] = 3 * codes.astype(np.int64) - 20
            else:
                x[m] = row.view(np.int8)
        words = self.weight_words(variant, fields["depth_tiles"])
        tiles = []
        for n in range(fields["column_tiles"]):
            first = (fields["weights_address"] + n * words) * g.weight_bytes
            tile = weights[first : first + words * g.weight_bytes].reshape(words, g.weight_bytes)
            tile = tile[:, : g.columns]
            if variant == 1:
                tiles.append(self._blocks(x, tile, steps))
            elif variant == 2:
                special = np.array(settings, np.uint32).view(np.int32)
                tiles.append(x @ np.array([*range(-7, 7), *special])[tile & 15])
            else:
                tiles.append(x @ tile.view(np.int8).astype(np.int64))
        return np.concatenate(tiles, axis=1).astype(np.int32)

    def _blocks(self, x: np.ndarray, tile: np.ndarray, steps: int) -> np.ndarray:
        total, word = np.zeros((x.shape[0], tile.shape[1]), np.int64), 0
        for first in range(0, steps, BLOCK):
            count = min(BLOCK, steps - first)
            w = 128 - tile[word : word + count].astype(np.int64)
            scale = tile[word + count].view(np.int8).astype(np.int64)
            total += (x[:, first : first + count] @ w) * scale
            word += count + 1
        return total


class Reference(Family):
    """All pairs of formats in one array."""

    name = "reference"
    summary = "a plain matrix product"
    Config = ArrayConfig
    pairs = PAIRS

    def __init__(self, *, rows: int, columns: int, data_bytes: int, stationary: bool) -> None:
        self._shape = geometry(rows=rows, columns=columns, data_bytes=data_bytes, stationary=stationary)
        super().__init__(ArrayConfig(), data_bytes=data_bytes)

    def _geometry(self) -> Geometry:
        return self._shape

    def depth_granule(self, variant: int) -> int:
        g = self.geometry
        packed = variant == 1
        return math.lcm(g.activation_bytes * (1 + packed), g.tile_depth, BLOCK if packed else 1)

    def settings(self, variant: int) -> tuple[tuple[int, int], ...]:
        return tuple((i, value % (1 << 32)) for i, value in enumerate(SPECIAL)) if variant == 2 else ()

    def core(self, design: Design) -> Any:
        raise NotImplementedError

    def model(self) -> Model:
        return Model(self.geometry)

    def pack_activations(self, x: Operand) -> np.ndarray:
        if x.format is INT8:
            return x.codes
        codes = np.pad(x.codes, ((0, 0), (0, x.depth % 2)))
        return codes[:, ::2] | codes[:, 1::2] << 4

    def pack_weights(self, w: Operand) -> np.ndarray:
        g = self.geometry
        words = []
        zero = int(w.format.encode(np.array(0)))
        for first in range(0, w.shape[1], g.columns):
            depth = -(-w.depth // g.tile_depth) * g.tile_depth
            tile = np.full((depth, g.weight_bytes), zero, np.uint8)
            part = w.codes[:, first : first + g.columns]
            tile[: part.shape[0], : part.shape[1]] = part
            for k, word in enumerate(tile):
                words.append(word)
                if w.scales is not None and ((k + 1) % BLOCK == 0 or k == depth - 1):
                    scales = np.zeros(g.weight_bytes, np.int8)
                    if k // BLOCK < len(w.scales):
                        scales[: part.shape[1]] = w.scales[k // BLOCK, first : first + g.columns]
                    words.append(scales.view(np.uint8))
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
