"""Sizes and streams of weight-stationary arrays of decoded operands with scales of blocks. No Amaranth here."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from hw.array.decoded.geometry import DecodedArray, scale_type, slot_bits
from hw.array.geometry import power_of_two_from
from hw.design import Geometry, ceil_div
from hw.formats.format import SCALES, Format
from hw.formats.pairs import sum_bits
from hw.pe.exponent_integer_times import weight_latency


def scale_bytes(format: Format) -> int:
    """Of the scale of a block; 0 if blocks have none."""
    return SCALES[scale_type(format)] // 8


@dataclass(frozen=True, kw_only=True)
class StationaryBlocks(DecodedArray):
    """A weight-stationary array with as many rows as a block has steps: each depth tile is a block, each sum of it a float32.

    Of a row of activations a depth tile has ``activation_tile`` bytes: ``rows`` codes in slots of 4 or 8 bits, the lowest first,
    then the scale of the block, the lowest byte first, then zeros. A word has ``word_tiles`` of them. The weights of a tile are
    the words of their codes, then ``scale_words`` with a byte for each column, the lowest first.

    Parameters
    ----------
    rows, columns, dataflow, pairs, data_bytes, block, accumulator
        As of :class:`DecodedArray`; ``block`` of 16, 32 or 64, and as many rows.

    Raises
    ------
    TypeError, ValueError
        As of :class:`DecodedArray`; rows other than the block's steps.
    """

    def _check_blocks(self) -> None:
        """That a depth tile is a block."""
        if self.block > 64:
            raise ValueError(f"block must be up to 64 when dataflow is {self.dataflow}, not {self.block}")
        if self.rows != self.block:
            raise ValueError(
                f"rows must be as many as steps of a block, {self.block}, when dataflow is {self.dataflow}, not {self.rows}"
            )
        self._check_aligned()

    @property
    def sum_bits(self) -> int:
        """Of the sum of a column."""
        return max(sum_bits(x, w, self.rows, dropped=self.dropped) for x, w in self.pairs)

    @property
    def sum_latency(self) -> int:
        """Cycles from an activation at an element to the partial sum below."""
        return weight_latency(*self.shapes)

    @cached_property
    def element_latency(self) -> int:
        """An activation of the last row to the result of column 0."""
        return self.sum_latency + self.scale_latency

    def block_length(self, variant: int) -> int:
        """Steps of K of a result: the same for all pairs."""
        return self.rows

    def code_bytes(self, format: Format) -> int:
        """Of the codes of a depth tile, of a row or of a column."""
        return self.rows * slot_bits(format) // 8

    def activation_tile(self, variant: int) -> int:
        """Bytes that a depth tile takes in a word of activations: a power of two."""
        return self._tile_bytes(self.pairs[variant][0])

    def _tile_bytes(self, format: Format) -> int:
        return power_of_two_from(self.code_bytes(format) + scale_bytes(format))

    def word_tiles(self, variant: int) -> int:
        """Depth tiles of a word of activations."""
        return self.geometry.activation_bytes // self.activation_tile(variant)

    def scale_words(self, variant: int) -> int:
        """Words of weights behind a tile's that have its columns' scales: one for each byte."""
        return scale_bytes(self.pairs[variant][1])

    def activation_words(self, variant: int, depth_tiles: int) -> int:
        """Words of a row."""
        return ceil_div(depth_tiles, self.word_tiles(variant))

    def weight_words(self, variant: int, depth_tiles: int) -> int:
        """Words of weights of a column tile that is so deep."""
        return depth_tiles * (self.code_bytes(self.pairs[variant][1]) + self.scale_words(variant))

    def depth_granule(self, variant: int) -> int:
        """Steps of K after which word of activations and the formats' own blocks all end."""
        own = (format.block for format in self.pairs[variant] if scale_type(format))
        return math.lcm(self.word_tiles(variant) * self.rows, *own)

    @cached_property
    def geometry(self) -> Geometry:
        """What the rest of the house knows of it."""
        widest = max(map(self._tile_bytes, self.activations))
        return Geometry(
            tile_rows=1,
            columns=self.columns,
            tile_depth=self.rows,
            activation_bytes=max(self.data_bytes, self.rows, widest),
            weight_bytes=power_of_two_from(self.columns),
            # By this the compiler cuts the first rows: as if all slots were the widest.
            weight_words=self.rows + max(map(scale_bytes, self.weights)),
            variants=len(self.pairs),
            sums="float32",
        )


def decoded_array(**sizes: Any) -> DecodedArray:
    """The array of such sizes; see :class:`DecodedArray` and :class:`StationaryBlocks`."""
    blocks = sizes.get("dataflow") == "weight-stationary" and sizes.get("block")
    return StationaryBlocks(**sizes) if blocks else DecodedArray(**sizes)
