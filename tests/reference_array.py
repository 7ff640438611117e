"""An array family for tests of compiler and interpreter: any geometry, a plain matrix product for a model.

It is written from docs/architecture.md alone and shares nothing with the families of the house. Its second pair of formats has
packed activations and scales along K; its third has activations of two bytes, and selectors beside the scales; two weights of
its fourth are what the array's settings say.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gen.compiler import Program
from gen.families.contract import ArrayConfig, Family
from hw.control.isa import INSTRUCTION_BYTES, assemble
from hw.design import Design, Geometry
from hw.formats import INT8, Format, Operand


def geometry(*, rows: int, columns: int, data_bytes: int, stationary: bool, spread: int = 1) -> Geometry:
    """Of a systolic array: ``stationary`` weights, or outputs; ``spread`` features to a bank of accumulators."""
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
        spread=spread,
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
WORDS = Format(name="words", bits=16, tables=([7 * code - 99 for code in range(1 << 16)],))
SELECTED = Format(
    name="selected",
    bits=8,
    tables=(range(-200, 56), range(255, -1, -1), range(256)),
    shared="block",
    block=BLOCK,
    scale="int8",
)
SPECIAL = (-70_000, 1 << 20)
SPECIALS = Format(name="specials", bits=4, tables=([*range(-7, 7), *SPECIAL],))
PAIRS = ((INT8, INT8), (NIBBLES, BLOCKS), (WORDS, SELECTED), (INT8, SPECIALS))
BLOCK_WORDS = (0, 1, 2, 0)
"""Of each pair: words beside the codes of a block of weights."""


class Model:
    """Four pairs of formats: a byte per step of either operand; or activations of half a byte, and weights with a word of scales
    (a signed byte per feature) after every ``BLOCK`` steps and after the last; or activations of two bytes, and weights with a
    word of scales (unsigned) and one of selectors there; or a byte per step of either again, where weights of codes 14 and 15
    stand for the settings in two's complement.
    """

    def __init__(self, shape: Geometry):
        self._shape = shape

    def activation_bytes(self, variant: int, steps: int) -> int:
        return (steps, -(-steps // 2), 2 * steps, steps)[variant]

    def weight_words(self, variant: int, depth_tiles: int) -> int:
        steps = depth_tiles * self._shape.tile_depth
        return steps + BLOCK_WORDS[variant] * -(-steps // BLOCK)

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
            if variant == 2:
                x[m] = 7 * row.view("<u2").astype(np.int64) - 99
            elif variant == 1:
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
            if BLOCK_WORDS[variant]:
                tiles.append(self._blocks(x, tile, steps, selected=variant == 2))
            elif variant == 3:
                special = np.array(settings, np.uint32).view(np.int32)
                tiles.append(x @ np.array([*range(-7, 7), *special])[tile & 15])
            else:
                tiles.append(x @ tile.view(np.int8).astype(np.int64))
        return np.concatenate(tiles, axis=1).astype(np.int32)

    def _blocks(self, x: np.ndarray, tile: np.ndarray, steps: int, *, selected: bool) -> np.ndarray:
        total, word = np.zeros((x.shape[0], tile.shape[1]), np.int64), 0
        for first in range(0, steps, BLOCK):
            count = min(BLOCK, steps - first)
            codes, scale = tile[word : word + count].astype(np.int64), tile[word + count]
            if selected:
                w = np.choose(tile[word + count + 1], [codes - 200, 255 - codes, codes])
                scale = scale.astype(np.int64)
            else:
                w, scale = 128 - codes, scale.view(np.int8).astype(np.int64)
            total += (x[:, first : first + count] @ w) * scale
            word += count + 1 + selected
        return total


class Reference(Family):
    """All pairs of formats in one array."""

    name = "reference"
    summary = "a plain matrix product"
    Config = ArrayConfig
    pairs = PAIRS

    def __init__(
        self, *, rows: int, columns: int, data_bytes: int, stationary: bool, spread: int = 1
    ) -> None:
        self._shape = geometry(
            rows=rows, columns=columns, data_bytes=data_bytes, stationary=stationary, spread=spread
        )
        super().__init__(ArrayConfig(), data_bytes=data_bytes)

    def _geometry(self) -> Geometry:
        return self._shape

    def depth_granule(self, variant: int) -> int:
        g = self.geometry
        block = BLOCK if BLOCK_WORDS[variant] else 1
        return math.lcm(g.activation_bytes * (1 + (variant == 1)), g.tile_depth, block)

    def settings(self, variant: int) -> tuple[tuple[int, int], ...]:
        return tuple((i, value % (1 << 32)) for i, value in enumerate(SPECIAL)) if variant == 3 else ()

    def core(self, design: Design) -> Any:
        raise NotImplementedError

    def model(self) -> Model:
        return Model(self.geometry)

    def pack_activations(self, x: Operand, variant: int | None = None) -> np.ndarray:
        if x.format is not NIBBLES:
            return x.codes.astype(x.codes.dtype.newbyteorder("<")).view(np.uint8)
        codes = np.pad(x.codes, ((0, 0), (0, x.depth % 2)))
        return codes[:, ::2] | codes[:, 1::2] << 4

    def pack_weights(self, w: Operand, variant: int | None = None) -> np.ndarray:
        g = self.geometry
        words = []
        zeros = np.array([w.format.encode(np.array(0), table) for table in range(len(w.format.tables))])
        for first in range(0, w.shape[1], g.columns):
            depth = -(-w.depth // g.tile_depth) * g.tile_depth
            tile = np.full((depth, g.weight_bytes), zeros[0], np.uint8)
            part = w.codes[:, first : first + g.columns]
            if w.selectors is not None:
                # Zero as the last block has it; blocks beyond have scale 0.
                tile[:, : part.shape[1]] = zeros[w.selectors[-1, first : first + g.columns]]
            tile[: part.shape[0], : part.shape[1]] = part
            for k, word in enumerate(tile):
                words.append(word)
                if w.scales is not None and ((k + 1) % BLOCK == 0 or k == depth - 1):
                    for each in (w.scales, w.selectors)[: 2 if w.format is SELECTED else 1]:
                        numbers = np.zeros(g.weight_bytes, np.uint8)
                        if k // BLOCK < len(each):
                            numbers[: part.shape[1]] = each[k // BLOCK, first : first + g.columns] & 255
                        words.append(numbers)
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


def mutated(program: Program, index: int, **changes: int) -> bytes:
    """The program with other values in the fields of an instruction."""
    one = program.instructions[index]
    fields = {name: value for name, value in one.values.items() if name != "opcode"} | changes
    word = assemble(one.opcode, **fields)
    return (
        program.binary[: index * INSTRUCTION_BYTES] + word + program.binary[(index + 1) * INSTRUCTION_BYTES :]
    )
