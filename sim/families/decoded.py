"""Golden execute and cycle law of the arrays of decoded operands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from hw.array.decoded.geometry import DecodedArray, scale_type, slot_bits
from hw.array.decoded.weight_blocks import StationaryBlocks
from hw.design import ceil_div
from hw.formats.format import SCALES, Format
from hw.formats.pairs import pairs
from sim.block_results import rounded_products, scaled
from sim.families import decoded_law
from sim.families.contract import CycleLaw
from sim.families.decoded_blocks import BlockStream, scale_numbers


class DecodedModel:
    """An array of decoded operands.

    Parameters
    ----------
    array : DecodedArray
    """

    def __init__(self, array: DecodedArray):
        self._array = array

    def activation_bytes(self, variant: int, steps: int) -> int:
        """Whole words of a row's stream, scales included."""
        array = self._array
        depth_tiles = ceil_div(steps, array.geometry.tile_depth)
        return array.activation_words(variant, depth_tiles) * array.geometry.activation_bytes

    def weight_words(self, variant: int, depth_tiles: int) -> int:
        """Weight words of one column tile that is ``depth_tiles`` deep, those of scales included."""
        return self._array.weight_words(variant, depth_tiles)

    def multiplications(self, variant: int) -> float:
        """One in each element; none while scales come."""
        return self._array.rows * self._array.columns

    def tile_cycles(self, variant: int, row_tiles: int, depth_tiles: int) -> int:
        """A step for each slot; in a weight-stationary array a step per row tile, but its weights must come in, too."""
        array = self._array
        if array.stationary_weights:
            return max(row_tiles, array.rows + array.scale_words(variant)) * depth_tiles
        return row_tiles * array.steps(variant, depth_tiles)

    def law(self) -> CycleLaw:
        """The cycle law of a core that has just been reset; ask it for one command after the other."""
        return decoded_law.law(self._array)

    def execute(
        self,
        fields: Mapping[str, int],
        activations: np.ndarray,
        weights: np.ndarray,
        settings: Sequence[int] = (),
    ) -> np.ndarray:
        """What an EXECUTE adds to its accumulators: int32 [row_tiles * tile_rows, column_tiles * columns], or float32 of each
        block.

        ``activations`` and ``weights`` are the bytes (uint8) of the scratchpads; the array has no settings.
        """
        array, variant = self._array, fields["variant"]
        formats = array.pairs[variant]
        streams = self._rows(fields, activations), self._columns(fields, weights)
        x: _Stream | BlockStream
        w: _Stream | BlockStream
        if isinstance(array, StationaryBlocks):
            x, w = (
                BlockStream(array, variant, side, stream, fields["depth_tiles"])
                for side, stream in enumerate(streams)
            )
        else:
            x, w = (
                _Stream(array, variant, format, stream, fields["depth_tiles"])
                for format, stream in zip(formats, streams, strict=True)
            )
        if not array.block:
            return _wrapped(x.values(), w.values())
        unit = formats[0].unit + formats[1].unit + array.dropped
        rows, columns = x.values(), w.values()
        results = []
        length = array.block_length(variant)
        for block in range(array.blocks(variant, fields["depth_tiles"])):
            part = slice(block * length, (block + 1) * length)
            sums = rounded_products(rows[:, part], columns[:, part].T, dropped=array.dropped)
            results.append(scaled(sums, x.scales(block), w.scales(block), unit))
        return np.stack(results)

    def _rows(self, fields: Mapping[str, int], activations: np.ndarray) -> np.ndarray:
        """Bytes [row, byte] of whole words."""
        g = self._array.geometry
        size = self.activation_bytes(fields["variant"], fields["depth_tiles"] * g.tile_depth)
        rows = np.arange(fields["row_tiles"] * g.tile_rows)
        starts = (fields["activations_address"] + rows * fields["activations_stride"]) * g.activation_bytes
        return activations[starts[:, None] + np.arange(size)]

    def _columns(self, fields: Mapping[str, int], weights: np.ndarray) -> np.ndarray:
        """Bytes [column, byte] of whole words, all tiles' columns."""
        g = self._array.geometry
        count, tiles = self.weight_words(fields["variant"], fields["depth_tiles"]), fields["column_tiles"]
        words = weights.reshape(-1, g.weight_bytes)[fields["weights_address"] :][: tiles * count, : g.columns]
        words = words.reshape(tiles, count, g.columns).transpose(0, 2, 1)
        return words.reshape(tiles * g.columns, count)


def _wrapped(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """int32 of the exact products of rows of integers (int64) of both; what is beyond 32 bits wraps."""
    if int(np.abs(x).max(initial=0)) * int(np.abs(w).max(initial=0)) * x.shape[1] < 1 << 53:
        return (x.astype(np.float64) @ w.T.astype(np.float64)).astype(np.int64).astype(np.int32)
    return (x.astype(np.uint64) @ w.T.astype(np.uint64)).astype(np.uint32).view(np.int32)


def _slots(data: np.ndarray, bits: int) -> np.ndarray:
    """uint8 [rows, slots] of bytes [rows, bytes]."""
    if bits == 8:
        return data
    return np.stack([data & 15, data >> 4], axis=-1).reshape(len(data), -1)


class _Stream:
    """A stream of each row or column: what it stands for, whatever lies in the padding."""

    def __init__(
        self, array: DecodedArray, variant: int, format: Format, stream: np.ndarray, depth_tiles: int
    ) -> None:
        self._format, bits, rows = format, slot_bits(format), len(stream)
        self._steps = steps = array.blocks(variant, depth_tiles) * array.block_length(variant)
        self._scales = stream[:, :0]
        if array.block:
            codes = array.block_length(variant) * bits // 8
            each = codes + array.scale_slots(variant)
            blocks = stream[:, : array.blocks(variant, depth_tiles) * each].reshape(rows, -1, each)
            stream, self._scales = blocks[..., :codes].reshape(rows, -1), blocks[..., codes:]
        slots = _slots(stream, bits)
        # The last code of an odd depth has a neighbour beside it, in the padding.
        self._codes = slots[:, : steps + steps % 2] & (1 << format.bits) - 1

    def values(self) -> np.ndarray:
        """int64 [rows, K]: integers times two to their exponents."""
        exponents, integers = pairs(self._format).decode(self._codes, axis=1)
        return (integers << exponents)[:, : self._steps]

    def scales(self, block: int) -> tuple[str, np.ndarray | None]:
        """Type and numbers (float64 [rows]) of a block's; patterns that stand for no number are taken for one."""
        kind = scale_type(self._format)
        if not kind:
            return kind, None
        parts = self._scales[:, block, : SCALES[kind] // 8].astype(np.int64)
        return kind, scale_numbers(kind, (parts << 8 * np.arange(parts.shape[-1])).sum(axis=-1))
