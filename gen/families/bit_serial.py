"""Bit-serial arrays after BitMoD: weights of 3 to 8 bits, each travelling as two to four terms."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from itertools import product, repeat
from typing import Annotated, Any

import numpy as np
from pydantic import Field, field_validator

from gen.errors import RequestError
from gen.families.contract import ArrayConfig, Family
from gen.families.groups import grouped, known, plain_names, widened
from hw.array.bit_serial.geometry import Activations, BitSerial, GroupLength, Lanes, Rounding
from hw.design import Design, Geometry, ceil_div
from hw.formats import FORMATS, Format, Operand
from hw.pe.weight_format import MAGNITUDE_BITS, NIBBLE, WeightFormat, special_value
from sim.families.contract import ArrayModel

KINDS = {
    **{f"int{bits}{scaled}": WeightFormat[f"INT{bits}"] for scaled in ("-s8", "") for bits in (8, 6, 5, 4)},
    **{f"fp{bits}-{kind}-s8": WeightFormat[f"FP{bits}"] for bits in (4, 3) for kind in ("mixed", "er", "ea")},
}
"""Formats of weights by name, without the length of a group; those without ``-s8`` have one scale for a row, and no groups."""


class BitSerialConfig(ArrayConfig):
    """``[array]`` of the family ``bit-serial``."""

    rows: Annotated[int, Field(ge=1, le=64, description="rows of processing elements")] = 8
    columns: Annotated[int, Field(ge=1, le=64, description="columns of processing elements")] = 8
    lanes: Annotated[Lanes, Field(description="products of an element per cycle, a term each")] = 4
    group: Annotated[GroupLength, Field(description="weights along K that share a scale")] = 128
    activations: Annotated[Activations, Field(description="format of the activations")] = "int8"
    rounding: Annotated[Rounding, Field(description="of sums of fp16; truncate as the published draft")] = (
        "nearest"
    )
    skip_zero_terms: Annotated[
        bool, Field(description="terms that are zero in all lanes and columns take no cycle; masks say which")
    ] = False
    weights: Annotated[
        list[str], Field(min_length=1, description="formats of the weights that it is generated for")
    ] = list(KINDS)

    @field_validator("weights")
    @classmethod
    def _known(cls, names: list[str]) -> list[str]:
        return known(names, KINDS)


class BitSerialFamily(Family):
    """See ``hw/array/bit_serial`` for the array itself.

    A weight word has ``NIBBLE`` bits for every lane of every column, column after column. The words of a group: first its scales
    (bits 7:0 of a column's part) and selectors (bits 9:8), then its weights, slice by slice; see ``hw.pe.weight_format.Way``.

    Where zero terms are skipped, a tile begins with a word of masks, ``NIBBLE`` bits for each slice of its first block
    (``BitSerial.block_words``); after the words of the first slice of each block come the masks of the next.
    """

    name = "bit-serial"
    summary = "weights of 3 to 8 bits as two to four terms, one cycle each, and scales for groups (BitMoD)"
    Config = BitSerialConfig
    activations = (FORMATS["int8"], FORMATS["fp16"])
    weights = tuple(FORMATS[name] for name in KINDS)
    config: BitSerialConfig

    @cached_property
    def array(self) -> BitSerial:
        """Its sizes."""
        c = self.config
        return BitSerial(
            rows=c.rows, columns=c.columns, lanes=c.lanes, group=c.group, data_bytes=self.data_bytes,
            variants=[KINDS[name] for name in c.weights], activations=c.activations,
            rounding=c.rounding, skip_zero_terms=c.skip_zero_terms, single=self.single,
        )  # fmt: skip

    @property
    def pairs(self) -> tuple[tuple[Format, Format], ...]:
        """Activations and weights, by ``variant``."""
        c = self.config
        return tuple(product([FORMATS[c.activations]], [grouped(name, c.group) for name in c.weights]))

    @property
    def aliases(self) -> dict[str, str]:
        """BitMoD's formats by their plain names: what an array takes of them has scales of 8 bits, in groups of its length."""
        return plain_names([w.name for _, w in self.pairs])

    def _geometry(self) -> Geometry:
        return self.array.geometry

    def core(self, design: Design) -> Any:
        """The array with what feeds it."""
        from hw.array.bit_serial.core import BitSerialCore

        return BitSerialCore(design=design, array=self.array)

    def model(self) -> ArrayModel:
        """Golden execute and cycle law."""
        from sim.families.bit_serial import BitSerialModel

        return BitSerialModel(self.array)

    def settings(self, variant: int) -> tuple[tuple[int, int], ...]:
        """The special values of a float format: sign and magnitude, by selector.

        Raises ``RequestError`` for one that two terms cannot make.
        """
        format, taken = self.pairs[variant][1], self.array.variants[variant]
        if not taken.floating:
            return ()
        try:
            values = [special_value(table[1 << format.bits - 1] or 0) for table in format.tables]
        except ValueError as error:
            raise RequestError(f"format {format.name}: {error}") from None
        return tuple(
            (index, magnitude | sign << MAGNITUDE_BITS) for index, (sign, magnitude) in enumerate(values)
        )

    def depth_granule(self, variant: int) -> int:
        """Whole groups, which are whole words of activations."""
        return self.config.group

    def golden(self, x: Operand, w: Operand) -> np.ndarray:
        """int32: exact. float32: groups as BitMoD's element adds them up, in rising order (``sim.bit_serial_gemm``)."""
        if self.geometry.sums == "int32":
            return super().golden(x, w)
        from sim.bit_serial_gemm import gemm

        c, taken = self.config, self.array.variants[self.variant(weights=w.format.name)]
        return gemm(x, w, lanes=c.lanes, group=c.group, floating=taken.floating, rounding=c.rounding)

    def pack_activations(self, x: Operand, variant: int | None = None) -> np.ndarray:
        """A byte per step of K; or two, with zeros to whole words, since no fp16 activation is without effect on the rounding."""
        codes = x.codes
        if self.config.activations == "fp16":
            codes = np.pad(codes, ((0, 0), (0, -x.depth % self.array.word_steps))).astype("<u2")
        return np.ascontiguousarray(codes).view(np.uint8)

    def pack_weights(self, w: Operand, variant: int | None = None) -> np.ndarray:
        """Group by group: scales, then weights in their order, masks among them; zeros to whole tiles."""
        array, g = self.array, self.geometry
        taken = array.variants[self.variant(weights=w.format.name)]
        way = taken.way
        depth, features = w.shape
        tiles, steps = ceil_div(features, g.columns), ceil_div(depth, g.tile_depth) * g.tile_depth
        codes = np.zeros((steps, tiles * g.columns), np.uint8)
        codes[:depth, :features] = w.codes
        # [tile, slice, column, lane]
        slices = codes.reshape(-1, array.lanes, tiles, g.columns).transpose(2, 0, 3, 1)
        block = array.block_words * array.slices
        scales = widened(w.scales, ceil_div(steps, array.group), features, tiles * g.columns, 1)
        selectors = widened(w.selectors, len(scales), features, tiles * g.columns, 0)
        masks = self._masks(w, taken, slices.shape)
        parts = [next(masks)]
        for number, first in enumerate(range(0, slices.shape[1], array.group // array.lanes)):
            group = slices[:, first : first + array.group // array.lanes]
            head = np.zeros((tiles, 1, g.columns, array.lanes), np.uint8)
            shared = scales[number] | selectors[number] << 8
            for nibble in range(3):
                head[:, 0, :, nibble] = (shared >> NIBBLE * nibble & 15).reshape(tiles, g.columns)
            parts.append(head)
            for begin in range(0, group.shape[1], block):
                words = _interleaved(group[:, begin : begin + block], way.high, way.low)
                # The masks come after the words of the first slice.
                parts += [words[:, : 1 + (way.high > 0)], next(masks), words[:, 1 + (way.high > 0) :]]
        nibbles = np.concatenate(parts, axis=1).reshape(-1, g.columns * array.lanes)
        words = np.zeros((len(nibbles), g.weight_bytes), np.uint8)
        words[:, : nibbles.shape[1] // 2] = nibbles[:, ::2] | nibbles[:, 1::2] << NIBBLE
        return words.reshape(-1)

    def _masks(self, w: Operand, format: WeightFormat, shape: tuple[int, ...]) -> Iterator[np.ndarray]:
        """Words of masks, as nibbles [tile, word, column, lane], of each block of slices of that ``shape``; then none."""
        tiles, count, columns, lanes = shape
        none = np.zeros((tiles, 0, columns, lanes), np.uint8)
        if self.config.skip_zero_terms:
            taken = np.zeros((count * lanes, tiles * columns), np.uint8)
            taken[: w.shape[0], : w.shape[1]] = format.term_masks(w.values())
            each = np.bitwise_or.reduce(taken.reshape(count, lanes, tiles, columns), axis=(1, 3))
            block = self.array.block_words * self.array.slices
            for first in range(0, count, block):
                nibbles = np.zeros((tiles, columns * lanes), np.uint8)
                part = each[first : first + block].T
                nibbles[:, : part.shape[1]] = part
                yield nibbles.reshape(tiles, 1, columns, lanes)
        yield from repeat(none)


def _interleaved(slices: np.ndarray, high: int, low: int) -> np.ndarray:
    """Words of a group from the codes of its slices [tile, slice, column, lane]: nibbles [tile, word, column, lane].

    A word of upper parts comes before those of the lower parts of the same weights.
    """
    lows = _joined(slices & (1 << low) - 1, low)
    if not high:
        return lows
    highs = _joined(slices >> low, high)
    each = low // high  # words of lower parts that one of upper parts serves
    words = []
    for number in range(highs.shape[1]):
        words += [highs[:, number : number + 1], lows[:, number * each : (number + 1) * each]]
    return np.concatenate(words, axis=1)


def _joined(pieces: np.ndarray, bits: int) -> np.ndarray:
    """``NIBBLE // bits`` successive pieces of so many bits in a nibble, the first lowest."""
    each = NIBBLE // bits
    tiles, slices, *rest = pieces.shape
    padded = np.zeros((tiles, ceil_div(slices, each) * each, *rest), np.uint8)
    padded[:, :slices] = pieces
    grouped = padded.reshape(tiles, -1, each, *rest)
    return np.bitwise_or.reduce([grouped[:, :, i] << bits * i for i in range(each)])
