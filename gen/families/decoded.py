"""Systolic arrays whose borders decode: operands of any format of up to 8 bits, with or without scales of blocks."""

from __future__ import annotations

from functools import cached_property, reduce
from itertools import product
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, ValidationInfo, field_validator, model_validator

from gen.families.contract import ArrayConfig, Family
from hw.array.decoded.geometry import (
    MOST_SIZE,
    SCALE_TYPES,
    Accumulator,
    DecodedArray,
    scale_type,
    slot_bits,
)
from hw.array.decoded.weight_blocks import StationaryBlocks, decoded_array, scale_bytes
from hw.array.geometry import Dataflow
from hw.design import Design, Geometry, ceil_div
from hw.formats import FORMATS, Format, Operand, find
from hw.formats import scales as scale_codes
from sim.block_results import rounded_products, scaled
from sim.families.contract import ArrayModel

Block = Literal[0, 16, 32, 64, 128]


def taken(format: Format) -> bool:
    """Whether an array can be generated for it, with blocks of a suitable length."""
    scales = format.shared != "block" or format.scale in SCALE_TYPES
    return format.bits <= 8 and len(format.tables) == 1 and not format.offset and scales


def has_zero(format: Format) -> bool:
    """Whether some code stands for 0."""
    return 0 in format.tables[0]


_INTEGERS = ("int8", "int7", "int6", "int5", "int4", "int3", "int2")
_MX = ("mxfp8-e4m3", "mxfp6-e3m2", "mxfp6-e2m3", "mxfp4", "mxint8")
_NV = ("nvfp4", "nvint4")
_BFP = ("bfp8", "bfp6", "bfp4")
_TWO_LEVELS = ("int8-s8", "int4-s8")
DEFAULTS: dict[int, tuple[tuple[str, ...], tuple[str, ...]]] = {
    0: (
        (*_INTEGERS, "flint4", "ovp4-int4", "ovp4-flint4"),
        (*_INTEGERS, "ternary", "flint4", "ovp4-int4", "ovp4-flint4"),
    ),
    16: (("int8", *_MX, *_NV, *_BFP), ("int8", *_MX, *_NV, *_BFP)),
    32: (("int8", *_MX), ("int8", *_MX)),
    64: (("int8", *_TWO_LEVELS), ("int8", *_TWO_LEVELS)),
    128: (("int8", *_TWO_LEVELS), ("int8", *_TWO_LEVELS)),
}
"""Activations and weights of a configuration that names none, by ``block``. E5M2 is not among them, since its sums take 71 bits,
nor are those of GGUF: fp16 scales together with E4M3 below E8M0 could leave the range of float32 sums."""


class DecodedConfig(ArrayConfig):
    """``[array]`` of the family ``decoded``."""

    rows: Annotated[int, Field(ge=1, le=MOST_SIZE, description="rows of elements")] = 8
    columns: Annotated[int, Field(ge=1, le=MOST_SIZE, description="columns of elements")] = 8
    dataflow: Annotated[
        Dataflow,
        Field(description="which operand stays in the elements; weights: rows = block, or block = 0"),
    ] = "output-stationary"
    block: Annotated[
        Block,
        Field(
            description="steps of K of a result, or of the shortest; 0: no scales of blocks, and sums are int32, else float32"
        ),
    ] = 0
    activations: Annotated[
        list[str], Field(min_length=1, description="formats of activations that it is generated for")
    ] = list(DEFAULTS[0][0])
    weights: Annotated[
        list[str], Field(min_length=1, description="formats of weights, each with each of the activations")
    ] = list(DEFAULTS[0][1])
    accumulator: Annotated[
        Accumulator, Field(description="of a block: exact, or the lowest bits of each product left out")
    ] = "exact"

    @model_validator(mode="before")
    @classmethod
    def _by_block(cls, given: Any) -> Any:
        """Formats that are not given are by default those that go with the block."""
        if not isinstance(given, dict) or not isinstance(given.get("block"), int):
            return given
        activations, weights = DEFAULTS.get(given["block"], DEFAULTS[0])
        return {"activations": list(activations), "weights": list(weights)} | given

    @field_validator("activations", "weights")
    @classmethod
    def _known(cls, names: list[str], info: ValidationInfo) -> list[str]:
        activations = info.field_name == "activations"
        for name in names:
            try:
                format = find(name)
            except ValueError as error:
                raise ValueError(str(error)) from None
            if not taken(format) or (activations and not has_zero(format)):
                raise ValueError(
                    f"{info.field_name} must be formats of up to 8 bits, of one table{', with a zero' * activations} and no "
                    f"offset, with scales of {', '.join(SCALE_TYPES)} if of blocks, not {name}"
                )
        if len(set(names)) < len(names):
            raise ValueError(f"{info.field_name} must be different formats, not {', '.join(names)}")
        return names


class DecodedFamily(Family):
    """See ``hw/array/decoded`` for the array itself.

    Activations of a row, and weights of a column of a tile, are streams of codes in rising order of K, each in a slot of 4 or 8
    bits, the lowest first. With ``block`` each block of codes is followed by ``DecodedArray.scale_slots`` bytes of its scale, the
    lowest first, zeros above. What K lacks to whole blocks has codes of zero, what a stream lacks to whole words zeros.
    A word of weights has a byte of each column's stream, zero bytes up to ``weight_bytes``. Where weights stay, blocks are as
    ``StationaryBlocks`` says.
    """

    name = "decoded"
    summary = "operands of any format, decoded at the borders to exponents and integers (OliVe); scales of blocks (MX, NVFP4)"
    Config = DecodedConfig
    activations = tuple(one for one in FORMATS.values() if taken(one) and has_zero(one))
    weights = tuple(one for one in FORMATS.values() if taken(one))
    config: DecodedConfig

    @cached_property
    def array(self) -> DecodedArray:
        """Its sizes."""
        c = self.config
        return decoded_array(
            rows=c.rows, columns=c.columns, dataflow=c.dataflow, pairs=self.pairs, data_bytes=self.data_bytes, block=c.block,
            accumulator=c.accumulator,
        )  # fmt: skip

    @property
    def pairs(self) -> tuple[tuple[Format, Format], ...]:
        """Each format of activations with each of weights."""
        return tuple(product(map(find, self.config.activations), map(find, self.config.weights)))

    def _geometry(self) -> Geometry:
        return self.array.geometry

    def core(self, design: Design) -> Any:
        """The array with what feeds it."""
        from hw.array.decoded.core import decoded_core

        return decoded_core(design=design, array=self.array)

    def model(self) -> ArrayModel:
        """Golden execute and cycle law."""
        from sim.families.decoded import DecodedModel

        return DecodedModel(self.array)

    def depth_granule(self, variant: int) -> int:
        """Whole blocks, words of activations, and words of weights."""
        return self.array.depth_granule(variant)

    def sum_unit(self, format: Format) -> int:
        """Sums of float32 are values, but for scales of rows and tensors."""
        return 0 if self.config.block else super().sum_unit(format)

    def golden(self, x: Operand, w: Operand) -> np.ndarray:
        """int32: exact. float32: of each block, in rising order, what ``sim.block_results`` makes of the exact sum, or of that
        of products without their lowest bits.
        """
        array = self.array
        if not array.block:
            return super().golden(x, w)
        unit = x.format.unit + w.format.unit + array.dropped
        rows, features = x.levels(), w.levels()
        results = []
        length = array.pair_block(x.format, w.format)
        for first in range(0, x.depth, length):
            part = slice(first, first + length)
            sums = rounded_products(rows[:, part], features[part], dropped=array.dropped)
            results.append(scaled(sums, _block_scales(x, first), _block_scales(w, first), unit))
        return reduce(np.add, results)

    def pack_activations(self, x: Operand, variant: int | None = None) -> np.ndarray:
        """The stream of each row, in whole words."""
        variant = self.variant(activations=x.format.name) if variant is None else variant
        if isinstance(self.array, StationaryBlocks):
            return self._blocks(self.array, variant, x, 0)
        stream = self._stream(variant, x, x.codes)
        size = self.model().activation_bytes(variant, x.depth)
        return np.pad(stream, ((0, 0), (0, size - stream.shape[1])))

    def pack_weights(self, w: Operand, variant: int | None = None) -> np.ndarray:
        """The streams of a tile's columns, side by side; features that are missing have zeros."""
        variant = self.variant(weights=w.format.name) if variant is None else variant
        g = self.geometry
        tiles = ceil_div(w.shape[1], g.columns)
        if isinstance(self.array, StationaryBlocks):
            columns = self._blocks(self.array, variant, w, 1)
        else:
            columns = self._stream(variant, w, w.codes.T)
        padded = np.pad(columns, ((0, tiles * g.columns - len(columns)), (0, 0)))
        words = padded.reshape(tiles, g.columns, -1).transpose(0, 2, 1)
        return np.pad(words, ((0, 0), (0, 0), (0, g.weight_bytes - g.columns))).reshape(-1)

    def _stream(self, variant: int, operand: Operand, codes: np.ndarray) -> np.ndarray:
        """Bytes [row, byte] of codes [row, K], uint8."""
        array, format = self.array, operand.format
        length = array.block_length(variant)
        codes = _whole(operand, codes, length)
        if not array.block:
            return _bytes(codes, slot_bits(format))
        blocks = _bytes(codes.reshape(len(codes), -1, length), slot_bits(format))
        patterns = _patterns(operand, blocks.shape[:2], length)
        scales = patterns[..., None] >> 8 * np.arange(array.scale_slots(variant)) & 255
        return np.concatenate([blocks, scales.astype(np.uint8)], axis=-1).reshape(len(codes), -1)

    def _blocks(self, array: StationaryBlocks, variant: int, operand: Operand, side: int) -> np.ndarray:
        """Bytes [row, byte] of activations (0), or [column, word] of weights (1): of each block its codes, its scale, zeros."""
        length = array.block_length(variant)
        codes = _whole(operand, operand.codes.T if side else operand.codes, length)
        blocks = codes.reshape(len(codes), -1, length)
        patterns = _patterns(operand, blocks.shape[:2], length)
        codes_end, scales = array.code_bytes(operand.format), scale_bytes(operand.format)
        size = codes_end + scales if side else array.activation_tile(variant)
        packed = np.zeros((*blocks.shape[:2], size), np.uint8)
        packed[..., :codes_end] = _bytes(blocks, slot_bits(operand.format))
        packed[..., codes_end : codes_end + scales] = patterns[..., None] >> 8 * np.arange(scales) & 255
        rows = packed.reshape(len(codes), -1)
        most = rows.shape[1] if side else self.model().activation_bytes(variant, operand.depth)
        return np.pad(rows, ((0, 0), (0, most - rows.shape[1])))


def _whole(operand: Operand, codes: np.ndarray, tile: int) -> np.ndarray:
    """Codes [row, K] to whole depth tiles, of zero."""
    format = operand.format
    zero = int(format.encode(np.zeros(1, np.int64))[0]) if has_zero(format) else 0
    return np.pad(codes, ((0, 0), (0, -operand.depth % tile)), constant_values=zero)


def _patterns(operand: Operand, shape: tuple[int, ...], block: int) -> np.ndarray:
    """int64 [row, block] of the scales of blocks of ``block`` steps; zero where blocks have none."""
    if (each := _scales(operand)) is None:
        return np.zeros(shape, np.int64)
    each = each.repeat(operand.format.block // block, axis=1)[:, : shape[1]]
    return scale_codes.encode(scale_type(operand.format), each).astype(np.int64)


def _scales(operand: Operand) -> np.ndarray | None:
    """float64 [row of X or feature of W, block]: the scales, if blocks have some."""
    found = operand.scales if operand.float_scales is None else operand.float_scales
    if found is None:
        return None
    return (found if operand.depth_axis == 1 else found.T).astype(np.float64)


def _block_scales(operand: Operand, first: int) -> tuple[str, np.ndarray | None]:
    """Type and numbers of the scales of the block that has step ``first`` of K."""
    each = _scales(operand)
    return scale_type(operand.format), None if each is None else each[:, first // operand.format.block]


def _bytes(slots: np.ndarray, bits: int) -> np.ndarray:
    """uint8 [..., bytes] of slots [..., slots], the lowest first; zeros to the end of the last byte."""
    if bits == 8:
        return slots
    slots = np.pad(slots, [(0, 0)] * (slots.ndim - 1) + [(0, slots.shape[-1] % 2)])
    return slots[..., 0::2] | slots[..., 1::2] << 4
