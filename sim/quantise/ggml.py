"""The blocks of GGUF files: taken as they are, put back byte for byte, and quantised as ggml does.

A block is its scale (half precision), for Q4_1 its minimum (the same), then the codes in the order of ``hw.formats.packing``.

Reference: ggml, ``ggml-quants.c``, the functions ``quantize_row_q*_ref``; the ``gguf`` package.
"""

from __future__ import annotations

import numpy as np

from hw.formats import Format
from hw.formats.ggml import BLOCK
from hw.formats.packing import pack, row_bytes, unpack
from sim.quantise.quantised import Quantised, by_blocks, largest

HALF = np.dtype("<f2")


def block_bytes(format: Format) -> int:
    """Bytes of a block in a file."""
    return _header(format) + row_bytes(format, BLOCK)


def from_blocks(
    format: Format, data: np.ndarray | bytes, shape: tuple[int, int], *, name: str = "the tensor"
) -> Quantised:
    """A tensor [rows, K] out of a file's bytes: its own codes, scales and minima, nothing rounded.

    Raises ``ValueError``, which names the tensor ``name``, for bytes that are too few or too many, a K that is no multiple of 32,
    or a scale or minimum that is not finite.
    """
    rows, depth = shape
    if depth % BLOCK:
        raise ValueError(f"{name} must have a K that is a multiple of {BLOCK} for {format.name}, not {depth}")
    flat = np.frombuffer(data, np.uint8) if isinstance(data, bytes) else data.reshape(-1).view(np.uint8)
    size, header = block_bytes(format), _header(format)
    if flat.size != rows * depth // BLOCK * size:
        raise ValueError(
            f"{name} must be {rows * depth // BLOCK * size} bytes of {format.name} for {rows} x {depth}, not {flat.size}"
        )
    blocks = flat.reshape(-1, size)
    numbers = np.ascontiguousarray(blocks[:, :header]).view(HALF).astype(np.float64)
    wrong = np.argwhere(~np.isfinite(numbers))
    if len(wrong):
        block, which = map(int, wrong[0])
        what = ("scale", "minimum")[which]
        raise ValueError(f"{name} must be finite, not {numbers[block, which]} as the {what} of block {block}")
    codes = unpack(format, blocks[:, header:], BLOCK).reshape(rows, depth)
    if not format.offset:
        return Quantised(format=format, codes=codes, scales=numbers.reshape(rows, -1))
    scales, offsets = (numbers[:, which].reshape(rows, -1) for which in range(2))
    return Quantised(format=format, codes=codes, scales=scales, offsets=offsets)


def to_blocks(quantised: Quantised) -> np.ndarray:
    """The bytes (uint8 [rows, bytes]) of a file's tensor: what ``from_blocks`` was given.

    Raises ``ValueError`` when K is no multiple of 32.
    """
    format, (rows, depth) = quantised.format, quantised.shape
    if depth % BLOCK:
        raise ValueError(f"K must be a multiple of {BLOCK} for {format.name}, not {depth}")
    numbers = [quantised.scales] if quantised.offsets is None else [quantised.scales, quantised.offsets]
    header = np.stack(numbers, axis=-1).reshape(-1, len(numbers)).astype(HALF).view(np.uint8)
    codes = pack(format, quantised.codes.reshape(-1, BLOCK))
    return np.concatenate([header, codes], axis=1).reshape(rows, -1)


def quantise(format: Format, matrix: np.ndarray) -> Quantised:
    """As ggml: in float32, codes by the scale before it is rounded to half precision.

    * Q4_0: the element of largest magnitude becomes -8 exactly, whatever its sign; the scale may be negative.
    * Q4_1: from the smallest (0) to the largest element (15). Quantised again, codes may move when the minimum is more than 2**12
      scales: float32 then rounds what they stand for.
    * Q8_0: the largest magnitude becomes 127.

    Ties go away from zero (Q8_0) and up (the others). A block of zeros, or one so small that the reciprocal of its scale is
    infinite, has codes for 0 (Q4_1: for the minimum). Numbers beyond half precision saturate where ggml stores infinities.
    """
    if format.block != BLOCK:
        raise ValueError(f"block of format {format.name} must be {BLOCK}, not {format.block}")

    def work(blocks: np.ndarray) -> tuple[np.ndarray, ...]:
        most = float(np.finfo(np.float32).max)
        return RULES[format.name.partition(":")[0]](np.clip(blocks, -most, most).astype(np.float32))

    codes, *numbers = by_blocks(format, matrix, work)
    return Quantised(
        format=format, codes=codes, scales=numbers[0], offsets=numbers[1] if format.offset else None
    )


def _q4_0(blocks: np.ndarray) -> tuple[np.ndarray, ...]:
    place = np.abs(blocks).argmax(axis=-1)[..., None]
    scales = np.take_along_axis(blocks, place, axis=-1)[..., 0] / np.float32(-8)
    codes = np.trunc(blocks * _reciprocal(scales) + np.float32(8.5))
    return np.clip(codes, 0, 15).astype(np.uint8), _half(scales)


def _q4_1(blocks: np.ndarray) -> tuple[np.ndarray, ...]:
    low = blocks.min(axis=-1)
    # A range beyond float32 saturates.
    with np.errstate(over="ignore"):
        rise = np.minimum(blocks - low[..., None], np.finfo(np.float32).max)
    scales = rise.max(axis=-1) / np.float32(15)
    codes = np.trunc(rise * _reciprocal(scales) + np.float32(0.5))
    return np.clip(codes, 0, 15).astype(np.uint8), _half(scales), _half(low)


def _q8_0(blocks: np.ndarray) -> tuple[np.ndarray, ...]:
    scales = largest(blocks) / np.float32(127)
    scaled = blocks * _reciprocal(scales)
    below = np.floor(np.abs(scaled))
    integers = np.sign(scaled) * (below + np.floor(2 * (np.abs(scaled) - below)))
    return integers.astype(np.int8).view(np.uint8), _half(scales)


RULES = {"q4_0": _q4_0, "q4_1": _q4_1, "q8_0": _q8_0}
"""Float32 blocks [rows, blocks, length] to codes, scales and, for Q4_1, minima."""


def _reciprocal(scales: np.ndarray) -> np.ndarray:
    """Of each scale, to multiply a block's elements with; 0 where there is none."""
    with np.errstate(divide="ignore", over="ignore"):
        inverse = np.float32(1) / scales
    return np.where(np.isfinite(inverse), inverse, np.float32(0))[..., None]


def _half(numbers: np.ndarray) -> np.ndarray:
    most = float(np.finfo(np.float16).max)
    return np.clip(numbers.astype(np.float64), -most, most).astype(np.float16).astype(np.float64)


def _header(format: Format) -> int:
    """Bytes of a block before its codes."""
    return HALF.itemsize * (2 if format.offset else 1)
