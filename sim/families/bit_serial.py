"""Golden execute and cycle law of the bit-serial arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from hw.array.bit_serial.geometry import BitSerial
from hw.design import ceil_div
from hw.pe.weight_format import NIBBLE, WeightFormat
from hw.timing import BIT_SERIAL_SETUP, MASK_LEAD
from sim.bit_serial import FLOATS
from sim.bit_serial_gemm import group_results, terms_of
from sim.families.contract import Successive, Times, Weights


class _Law:
    """Times of successive commands; steps are terms."""

    def __init__(self, array: BitSerial):
        self._array, self._commands = array, Successive(BIT_SERIAL_SETUP, overlap=not array.single)

    def configure(self, visible: int, fields: Mapping[str, int]) -> Times:
        """The same of a CONFIGURE."""
        return self._times(visible, 1, 0, 0 if self._array.single else None)

    def _times(self, visible: int, cycles: int, steps: int, latency: int | None = None) -> Times:
        g = self._array.geometry
        tail = (self._array.result_latency if latency is None else latency) + g.banks + g.accumulate
        return self._commands.next(visible, cycles=cycles, steps=steps, tail=tail)


class BitSerialLaw(_Law):
    """Of a core that takes every term.

    A group of n words of activations takes n * slices * terms cycles, after a pause if that is less than ``least``; groups, tiles
    and commands follow each other without a gap.
    """

    def interval(self, format: WeightFormat, depth_tiles: int) -> tuple[int, int]:
        """Cycles from a tile to the next, and how many of them are steps."""
        array = self._array
        full, last = array.groups(depth_tiles)
        steps = depth_tiles * array.word_cycles(format)
        return steps + full * array.pause(format, array.group_words) + array.pause(format, last), steps

    def execute(self, visible: int, fields: Mapping[str, int], weights: Weights | None = None) -> Times:
        """``fields`` is valid at the core from cycle ``visible`` on."""
        format = self._array.variants[fields["variant"]]
        tiles = fields["row_tiles"] * fields["column_tiles"]
        interval, steps = self.interval(format, fields["depth_tiles"])
        return self._times(visible, tiles * interval, tiles * steps)


class SkippingLaw(_Law):
    """Of a core that skips terms which are zero in all lanes of all columns.

    A slice takes as many cycles as its mask has ones, or ``WeightFormat.least_cycles`` if that is more; a block as many as its
    slices together, or ``BitSerial.block_least`` if that is more. A command takes ``MASK_LEAD`` cycles before its first block.
    Blocks, tiles and commands follow each other without a gap. Steps are the ones of all masks.
    """

    def execute(self, visible: int, fields: Mapping[str, int], weights: Weights) -> Times:
        """Cycles depend on the masks."""
        array, depth_tiles = self._array, fields["depth_tiles"]
        format = array.variants[fields["variant"]]
        size = array.geometry.weight_bytes
        words = tile_words(array, format, depth_tiles)
        first = fields["weights_address"] * size
        content = weights()[first : first + fields["column_tiles"] * words * size]
        tiles = content.reshape(fields["column_tiles"], words, size)[
            :, mask_places(array, format, depth_tiles)
        ]
        taken = np.unpackbits(tiles[..., None], axis=-1, bitorder="little").reshape(
            *tiles.shape[:2], -1, NIBBLE
        )
        # [column tile, block, slice]
        block = array.block_words * array.slices
        terms = taken[:, :, :block].sum(-1, dtype=np.int64)
        full, last = array.blocks(depth_tiles)
        terms[:, -1, last * array.slices :] = 0
        least = np.array([format.least_cycles(block)] * full + [
            format.least_cycles(last * array.slices) + [0] * (block - last * array.slices)
        ])  # fmt: skip
        cycles = np.maximum(np.maximum(terms, least).sum(-1), array.block_least)
        times = fields["row_tiles"]
        return self._times(visible, MASK_LEAD + times * int(cycles.sum()), times * int(terms.sum()))


def tile_words(array: BitSerial, format: WeightFormat, depth_tiles: int) -> int:
    """Weight words of a column tile: those of groups, and of masks."""
    full, last = array.groups(depth_tiles)
    groups = full * array.group_weight_words(format, array.group_words) + array.group_weight_words(
        format, last
    )
    if array.skip_zero_terms:
        groups += array.blocks(depth_tiles)[0] + 1
    return groups


def mask_places(array: BitSerial, format: WeightFormat, depth_tiles: int) -> np.ndarray:
    """Words of a column tile that are masks: of its first block, and then of each next after its predecessor's first slice."""
    full, _ = array.blocks(depth_tiles)
    block = np.arange(full)
    groups = block * array.block_words // array.group_words + 1
    words = array.block_words * array.slices * format.bits // NIBBLE
    first_slice = 1 + (format.way.high > 0)
    return np.concatenate([[0], 1 + block * (words + 1) + groups + first_slice])


class BitSerialModel:
    """A bit-serial array.

    Parameters
    ----------
    array : BitSerial
    """

    def __init__(self, array: BitSerial):
        self._array = array

    def activation_bytes(self, variant: int, steps: int) -> int:
        """A byte per step; or two, in whole words: what an fp16 activation beside zero weights is counts for the rounding."""
        if self._array.activations == "int8":
            return steps
        return ceil_div(steps, self._array.word_steps) * self._array.geometry.activation_bytes

    def weight_words(self, variant: int, depth_tiles: int) -> int:
        """Weight words of one column tile that is ``depth_tiles`` deep, those of scales and masks included."""
        return tile_words(self._array, self._array.variants[variant], depth_tiles)

    def multiplications(self, variant: int) -> float:
        """A slice takes as many cycles as its weights have terms."""
        array = self._array
        return array.rows * array.columns * array.lanes / array.variants[variant].terms

    def tile_cycles(self, variant: int, row_tiles: int, depth_tiles: int) -> int:
        """The pauses left out; the most that it may be where zero terms are skipped."""
        return row_tiles * depth_tiles * self._array.word_cycles(self._array.variants[variant])

    def law(self) -> BitSerialLaw | SkippingLaw:
        """The cycle law of a core that has just been reset; ask it for one command after the other."""
        return SkippingLaw(self._array) if self._array.skip_zero_terms else BitSerialLaw(self._array)

    def execute(
        self,
        fields: Mapping[str, int],
        activations: np.ndarray,
        weights: np.ndarray,
        settings: Sequence[int] = (),
    ) -> np.ndarray:
        """What an EXECUTE adds to its accumulators: int32 [row_tiles * tile_rows, column_tiles * columns], or float32 of each
        group.

        ``activations`` and ``weights`` are the bytes (uint8) of the scratchpads, ``settings`` the special values in force.
        """
        array, g = self._array, self._array.geometry
        rows, size = fields["row_tiles"] * g.tile_rows, fields["depth_tiles"] * g.activation_bytes
        starts = (
            fields["activations_address"] + np.arange(rows) * fields["activations_stride"]
        ) * g.activation_bytes
        x = activations[starts[:, None] + np.arange(size)]
        words = self.weight_words(fields["variant"], fields["depth_tiles"])
        unpacker = Unpacker(array, array.variants[fields["variant"]], settings)
        result = []
        for tile in range(fields["column_tiles"]):
            first = fields["weights_address"] + tile * words
            content = weights.reshape(-1, g.weight_bytes)[first : first + words]
            groups = unpacker.tile(content, fields["depth_tiles"])
            result.append(
                self._floats(x, groups, unpacker) if g.sums == "float32" else self._integers(x, groups)
            )
        return np.concatenate(result, axis=-1)

    def _integers(self, x: np.ndarray, groups: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
        w = np.concatenate([values * scale for values, scale in groups])
        return (x.view(np.int8).astype(np.int64) @ w).astype(np.int32)

    def _floats(
        self, x: np.ndarray, groups: list[tuple[np.ndarray, np.ndarray]], unpacker: Unpacker
    ) -> np.ndarray:
        array, format, place, results = self._array, unpacker.format, 0, []
        codes = x.view("<u2")
        for values, scale in groups:
            steps = codes[:, place : place + len(values)]
            place += len(values)
            terms = terms_of(values, format.bits, floating=format.floating)
            results.append(group_results(steps, terms, scale, lanes=array.lanes, rounding=array.rounding))
        return np.stack(results)


class Unpacker:
    """From the words of a column tile to the integers that they stand for, and their scales. Masks change nothing in a sum."""

    def __init__(self, array: BitSerial, format: WeightFormat, settings: Sequence[int]):
        self._array, self.format, self._settings = array, format, settings

    def tile(self, words: np.ndarray, depth_tiles: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """For each group int64 [steps, columns] and [columns], from uint8 [words, weight_bytes]."""
        array, way = self._array, self.format.way
        if array.skip_zero_terms:
            masks = mask_places(array, self.format, depth_tiles)
            words = words[np.isin(np.arange(len(words)), masks, invert=True)]
        full, last = array.groups(depth_tiles)
        # Every byte is two nibbles, the lower one first: nibble [word, column, lane].
        split = np.stack([words & 15, words >> 4], axis=-1).reshape(len(words), -1).astype(np.int64)
        nibbles = split[:, : array.columns * array.lanes].reshape(-1, array.columns, array.lanes)
        parts, place = [], 0
        for size in [array.group_words] * full + [last]:
            slices = size * array.slices
            head = nibbles[place]
            scale, selector = head[:, 0] + 16 * head[:, 1], head[:, 2] & 3
            place += 1
            codes = np.zeros((slices, array.columns, array.lanes), np.int64)
            for index in range(slices):
                if way.high:
                    each = NIBBLE // way.high
                    if index % each == 0:
                        high, place = nibbles[place], place + 1
                    codes[index] |= (high >> way.high * (index % each) & (1 << way.high) - 1) << way.low
                each = NIBBLE // way.low
                if index % each == 0:
                    low, place = nibbles[place], place + 1
                codes[index] |= low >> way.low * (index % each) & (1 << way.low) - 1
            values = self._values(codes.transpose(0, 2, 1).reshape(-1, array.columns), selector)
            parts.append((values, scale))
        return parts

    def _values(self, codes: np.ndarray, selector: np.ndarray) -> np.ndarray:
        bits = self.format.bits
        if not self.format.floating:
            return codes - ((codes >> bits - 1) << bits)
        magnitudes = np.array(FLOATS[self.format.name.lower()])
        negative, magnitude = codes >> bits - 1, codes & (1 << bits - 1) - 1
        plain = np.where(negative, -1, 1) * magnitudes[magnitude]
        special = np.array([(v & 31) * (-1 if v & 32 else 1) for v in self._settings])[selector]
        return np.where((negative == 1) & (magnitude == 0), special, plain)
