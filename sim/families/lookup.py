"""Golden execute and cycle law of the table-lookup arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from hw.array.lookup.geometry import HALF_BITS, LookupArray, LookupFormat, Offset
from hw.design import ceil_div
from hw.pe.element_times import SCALE_BITS
from hw.timing import LOOKUP_SETUP
from sim.families.contract import Successive, Times, Weights
from sim.half import half
from sim.lookup import (
    float_result,
    half_float_results,
    half_group_sums,
    quantised_group_sums,
    quantised_results,
)


class LookupLaw:
    """Times of successive commands; steps are lookups.

    A group takes a cycle for each of its words of weights, after a pause if that is less than the scaling of the results before
    it. Groups, tiles and commands follow each other without a gap.
    """

    def __init__(self, array: LookupArray):
        self._array, self._commands = array, Successive(LOOKUP_SETUP, overlap=not array.single)
        self._known: dict[tuple[int, int], tuple[int, int, int, int]] = {}

    def interval(self, format: LookupFormat, depth_tiles: int) -> tuple[int, int]:
        """Cycles from a tile to the next, and how many of them are lookups."""
        array = self._array
        full, last = array.groups(depth_tiles)
        pauses = full * array.pause(format, array.group_words) + array.pause(format, last)
        steps = depth_tiles * array.slices * array.lookups(format)
        return tile_words(array, format, depth_tiles) + pauses, steps

    def execute(self, visible: int, fields: Mapping[str, int], weights: Weights | None = None) -> Times:
        """``fields`` is valid at the core from cycle ``visible`` on."""
        key = fields["variant"], fields["depth_tiles"]
        if key not in self._known:
            self._known[key] = self._times(*key)
        more, interval, steps, tail = self._known[key]
        tiles = fields["row_tiles"] * fields["column_tiles"]
        return self._commands.next(visible, cycles=more + tiles * interval, steps=tiles * steps, tail=tail)

    def _times(self, variant: int, depth_tiles: int) -> tuple[int, int, int, int]:
        """Of a command: cycles once, cycles and lookups for each tile, and those behind the last."""
        array, g = self._array, self._array.geometry
        format = array.variants[variant]
        # The command before may have had another format.
        first = min(depth_tiles, array.group_words)
        more = array.pause(format, first, fresh=True) - array.pause(format, first)
        return (
            more,
            *self.interval(format, depth_tiles),
            array.result_latency(format) + g.banks + g.accumulate,
        )


def tile_words(array: LookupArray, format: LookupFormat, depth_tiles: int) -> int:
    """Weight words of a column tile, those of zero points and scales included."""
    full, last = array.groups(depth_tiles)
    return full * array.group_cycles(format, array.group_words) + array.group_cycles(format, last)


class LookupModel:
    """A table-lookup array.

    Parameters
    ----------
    array : LookupArray
    """

    def __init__(self, array: LookupArray):
        self._array = array

    def activation_bytes(self, variant: int, steps: int) -> int:
        """A byte per step, or two, in whole words: weights without a zero need activations of zero beside them."""
        return ceil_div(steps, self._array.word_steps) * self._array.geometry.activation_bytes

    def weight_words(self, variant: int, depth_tiles: int) -> int:
        """Weight words of one column tile that is ``depth_tiles`` deep, those of zero points and scales included."""
        return tile_words(self._array, self._array.variants[variant], depth_tiles)

    def multiplications(self, variant: int) -> float:
        """A plane of a weight takes a lookup."""
        array = self._array
        return array.rows * array.banks * array.chunk / array.variants[variant].bits

    def tile_cycles(self, variant: int, row_tiles: int, depth_tiles: int) -> int:
        """Scales, zero points and pauses included."""
        return row_tiles * self.law().interval(self._array.variants[variant], depth_tiles)[0]

    def law(self) -> LookupLaw:
        """The cycle law of a core that has just been reset; ask it for one command after the other."""
        return LookupLaw(self._array)

    def execute(
        self,
        fields: Mapping[str, int],
        activations: np.ndarray,
        weights: np.ndarray,
        settings: Sequence[int] = (),
    ) -> np.ndarray:
        """What an EXECUTE adds to its accumulators: int32 [row_tiles * tile_rows, column_tiles * columns], or float32 of each
        group, and after each of the group's minimums, where it has such.

        ``activations`` and ``weights`` are the bytes (uint8) of the scratchpads; the array has no settings.
        """
        g, depth_tiles = self._array.geometry, fields["depth_tiles"]
        rows, size = fields["row_tiles"] * g.tile_rows, depth_tiles * g.activation_bytes
        starts = (
            fields["activations_address"] + np.arange(rows) * fields["activations_stride"]
        ) * g.activation_bytes
        rows_there = activations[starts[:, None] + np.arange(size)]
        halves = self._array.halves
        x = rows_there.view(np.float16) if halves else rows_there.view(np.int8).astype(np.float64)
        if self._array.quantised:
            x = half(rows_there.view("<u2"))
        words = self.weight_words(fields["variant"], depth_tiles)
        first = fields["weights_address"]
        content = weights.reshape(-1, g.weight_bytes)[first : first + fields["column_tiles"] * words]
        unpacker = Unpacker(self._array, self._array.variants[fields["variant"]])
        tiles = [content[tile * words : (tile + 1) * words] for tile in range(fields["column_tiles"])]
        if self._array.floats:
            format = self._array.variants[fields["variant"]]
            added = partial(_halves, bits=format.bits) if halves else _floats
            if self._array.quantised:
                added = partial(_quantised, format=format)
            return np.concatenate([added(x, unpacker.groups(one, depth_tiles)) for one in tiles], axis=-1)
        # Exact: float64 holds every sum up to a depth of 2 ** 33. What is beyond 32 bits wraps.
        sums = [x @ unpacker.tile(one, depth_tiles) for one in tiles]
        return np.concatenate(sums, axis=-1).astype(np.int64).astype(np.int32)


class Group(NamedTuple):
    """A group of a column tile."""

    weights: np.ndarray
    """int64 [steps, columns]."""
    scales: np.ndarray
    """[columns]: int64, or float64 of fp16 patterns."""
    minimums: np.ndarray | None
    """[columns], the same."""
    zeros: np.ndarray | None = None
    """[columns]: with fp16 activations the codes of zero points; the weights are then still q'."""
    offsets: np.ndarray | int = 0
    """z' [columns], or of all: what has been taken off q' before that was halved."""


def _floats(x: np.ndarray, groups: Iterator[Group]) -> np.ndarray:
    """float32 [results, rows, columns] of rows of integers (float64); each is exact but for its one rounding."""
    results, place = [], 0
    for group in groups:
        rows = x[:, place : place + len(group.weights)]
        place += len(group.weights)
        results.append(float_result(rows @ group.weights, group.scales))
        if group.minimums is not None:
            results.append(float_result(rows.sum(axis=1, keepdims=True), group.minimums))
    return np.stack(results)


def _halves(x: np.ndarray, groups: Iterator[Group], *, bits: int) -> np.ndarray:
    """The same of float16 rows and weights q' of ``bits`` bits; sums are float16, too."""
    results, place = [], 0
    for group in groups:
        rows = x[:, place : place + len(group.weights)]
        place += len(group.weights)
        sums = half_group_sums(rows, group.weights + (1 << bits) - 1 >> 1, bits=bits, zeros=group.zeros)
        results.append(half_float_results(sums, group.scales, doubled=group.zeros is not None))
    return np.stack(results)


def _quantised(x: np.ndarray, groups: Iterator[Group], *, format: LookupFormat) -> np.ndarray:
    """The same of rows of fp16 numbers (float64) whose tables are int8; activations past the depth are zero."""
    results, place = [], 0
    for group in groups:
        rows = x[:, place : place + len(group.weights)]
        place += len(group.weights)
        odd = (group.weights << format.doubled) + group.offsets
        codes = odd + (1 << format.bits) - 1 >> 1
        sums, totals, table_scales = quantised_group_sums(
            rows, codes, bits=format.bits, offsets=group.offsets
        )
        results.append(quantised_results(sums, table_scales, group.scales, doubled=format.doubled))
        if group.minimums is not None:
            results.append(quantised_results(totals[:, None], table_scales, group.minimums, doubled=False))
    return np.stack(results)


class Unpacker:
    """From the words of a column tile to what they stand for; every array of bits has the lowest first."""

    def __init__(self, array: LookupArray, format: LookupFormat):
        self._array, self._format = array, format

    def tile(self, words: np.ndarray, depth_tiles: int) -> np.ndarray:
        """Weights times scales, int64 [steps, columns], from uint8 [words, weight_bytes]."""
        return np.concatenate([group.weights * group.scales for group in self.groups(words, depth_tiles)])

    def groups(self, words: np.ndarray, depth_tiles: int) -> Iterator[Group]:
        """The same one by one, scales and minimums apart."""
        array = self._array
        bits = np.unpackbits(words, axis=1, bitorder="little")
        bits = bits[:, : array.banks * array.part_bits].reshape(len(words), array.banks, array.part_bits)
        full, last = array.groups(depth_tiles)
        place = 0
        for size in [array.group_words] * full + [last]:
            count = array.group_cycles(self._format, size)
            yield self._group(bits[place : place + count])
            place += count

    def _group(self, bits: np.ndarray) -> Group:
        """Of bits [words, bank, part_bits]."""
        array, format = self._array, self._format
        zero_words, words = array.zero_words(format), array.scale_words
        end = len(bits) - array.tail_words(format)
        if array.direct:
            return Group(self._ternary(bits[:end]), self._scales(bits[end:]), None)
        if array.halves:
            total = end - array.total_words(format)
            zeros = self._totals(bits[total:end]) if total < end else None
            return Group(self._places(bits[:total]), self._halves(bits[end:]), None, zeros)
        places = self._places(bits[zero_words:end])
        offsets: np.ndarray | int = {Offset.TWOS: 1, Offset.PLAIN: 1 - (1 << format.bits)}.get(
            format.offset, 0
        )
        if format.offset is Offset.ZERO:
            offsets = self._zeros(bits[:zero_words])
        values = (places - offsets) >> format.doubled
        read = self._halves if array.floats else self._scales
        minimums = read(bits[end + words :]) if format.minimum else None
        return Group(values, read(bits[end : end + words]), minimums, offsets=offsets)

    def _ternary(self, bits: np.ndarray) -> np.ndarray:
        """Weights [steps, columns], each of the bits zero and negative; both together are zero."""
        array = self._array
        codes = bits.reshape(-1, 2, array.outputs, array.banks, array.lanes, 2).astype(np.int64)
        weights = (1 - codes[..., 0]) * (1 - 2 * codes[..., 1])
        # [chunk, half, place, bank, lane] to [step, feature]
        return weights.transpose(0, 1, 4, 2, 3).reshape(-1, array.columns)

    def _places(self, bits: np.ndarray) -> np.ndarray:
        """q' [steps, columns], each the sum of its planes' plus or minus one."""
        array, planes = self._array, self._format.bits
        codes = bits.reshape(-1, planes, array.outputs, array.banks, array.groups_per_lane, array.k)
        negative = codes[..., -1:]
        # Bit i of an entry is the sign of activation i against the last one, which is plus unless negated.
        plus = np.concatenate([codes[..., :-1] ^ negative, 1 - negative], axis=-1)
        signs = 2 * plus.astype(np.int64) - 1
        summed = np.tensordot(1 << np.arange(planes), signs, axes=(0, 1))
        # [chunk, place, bank, table, activation] to [step, feature]
        return summed.transpose(0, 3, 4, 1, 2).reshape(-1, array.columns)

    def _totals(self, bits: np.ndarray) -> np.ndarray:
        """Codes of zero points [columns]: a bit is set where the total is negated, which is all entries of its table."""
        negative = bits[..., -1].astype(np.int64).reshape(-1, self._array.outputs, self._array.banks)
        return np.tensordot(1 << np.arange(len(negative)), negative, axes=(0, 0)).reshape(-1)

    def _stream(self, bits: np.ndarray, count: int) -> np.ndarray:
        """Each unit's first ``count`` bits [bank, count] of several words."""
        return bits.transpose(1, 0, 2).reshape(self._array.banks, -1)[:, :count].astype(np.int64)

    def _zeros(self, bits: np.ndarray) -> np.ndarray:
        """z' [columns]."""
        array, planes = self._array, self._format.bits
        stream = self._stream(bits, planes * array.outputs).reshape(array.banks, planes, array.outputs)
        return np.tensordot(1 << np.arange(planes), 2 * stream - 1, axes=(0, 1)).T.reshape(-1)

    def _scales(self, bits: np.ndarray) -> np.ndarray:
        """[columns]."""
        array = self._array
        stream = self._stream(bits, array.outputs * SCALE_BITS).reshape(
            array.banks, array.outputs, SCALE_BITS
        )
        return (stream @ (1 << np.arange(SCALE_BITS)[::-1])).T.reshape(-1)

    def _halves(self, bits: np.ndarray) -> np.ndarray:
        """float64 [columns] of fp16."""
        array = self._array
        stream = self._stream(bits, array.outputs * HALF_BITS).reshape(array.banks, array.outputs, HALF_BITS)
        return half((stream @ (1 << np.arange(HALF_BITS))).T.reshape(-1))
