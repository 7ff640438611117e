"""Codes to bytes and back. Every row starts at a byte; what is left of its last byte is zero."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hw.formats.format import Format

HALVES = 32
"""Elements of a block whose first half lies in the lower nibbles, its second half in the upper ones."""


def row_bytes(format: Format, count: int) -> int:
    """Bytes of ``count`` codes in a row."""
    return PACKINGS[format.packing][2](format.bits, count)


def pack(format: Format, codes: np.ndarray) -> np.ndarray:
    """uint8 [rows, row_bytes] of codes [rows, K], in the order that ``format.packing`` names."""
    codes = np.asarray(codes)
    if codes.ndim != 2 or codes.dtype != format.code_type:
        raise ValueError(
            f"codes must be {format.code_type} [rows, K], not {codes.dtype} of {codes.ndim} dimensions"
        )
    if codes.size and int(codes.max()) >> format.bits:
        raise ValueError(f"codes of {format.name} must be below {1 << format.bits}, not {int(codes.max())}")
    return PACKINGS[format.packing][0](format.bits, codes)


def unpack(format: Format, data: np.ndarray, count: int) -> np.ndarray:
    """The codes [rows, ``count``] of what ``pack`` gave."""
    data = np.asarray(data)
    wanted = row_bytes(format, count)
    if data.ndim != 2 or data.dtype != np.uint8 or data.shape[1] != wanted:
        raise ValueError(
            f"data must be uint8 [rows, {wanted}] for {count} codes of {format.name}, not {data.dtype} {data.shape}"
        )
    return PACKINGS[format.packing][1](format.bits, data, count).astype(format.code_type)


def _dense(bits: int, codes: np.ndarray) -> np.ndarray:
    """Code after code from the lowest bit of the first byte on."""
    stream = codes[:, :, None] >> np.arange(bits, dtype=codes.dtype) & 1
    return np.packbits(stream.reshape(len(codes), -1).astype(np.uint8), axis=1, bitorder="little")


def _dense_back(bits: int, data: np.ndarray, count: int) -> np.ndarray:
    stream = np.unpackbits(data, axis=1, bitorder="little")[:, : bits * count].reshape(len(data), count, bits)
    return (stream.astype(np.uint16) << np.arange(bits, dtype=np.uint16)).sum(axis=2, dtype=np.uint16)


def _dense_bytes(bits: int, count: int) -> int:
    return -(-bits * count // 8)


def _split(bits: int, codes: np.ndarray) -> np.ndarray:
    """The upper two bits of all codes, then the others of all codes (FP6-LLM, section 5: two aligned streams)."""
    return np.concatenate(
        [_dense(2, codes >> bits - 2), _dense(bits - 2, codes & (1 << bits - 2) - 1)], axis=1
    )


def _split_back(bits: int, data: np.ndarray, count: int) -> np.ndarray:
    first = _dense_bytes(2, count)
    return _dense_back(2, data[:, :first], count) << bits - 2 | _dense_back(bits - 2, data[:, first:], count)


def _split_bytes(bits: int, count: int) -> int:
    return _dense_bytes(2, count) + _dense_bytes(bits - 2, count)


def _halves(bits: int, codes: np.ndarray) -> np.ndarray:
    """Blocks of 32 nibbles: byte i has element i below and element i + 16 above (ggml)."""
    del bits
    blocks = np.pad(codes, ((0, 0), (0, -codes.shape[1] % HALVES))).reshape(len(codes), -1, 2, HALVES // 2)
    return (blocks[:, :, 0] | blocks[:, :, 1] << 4).reshape(len(codes), -1)


def _halves_back(bits: int, data: np.ndarray, count: int) -> np.ndarray:
    del bits
    blocks = data.reshape(len(data), -1, HALVES // 2)
    return np.stack([blocks & 15, blocks >> 4], axis=2).reshape(len(data), -1)[:, :count]


def _halves_bytes(bits: int, count: int) -> int:
    return -(-count // HALVES) * HALVES * bits // 8


PACKINGS: dict[str, tuple[Callable, Callable, Callable[[int, int], int]]] = {
    "dense": (_dense, _dense_back, _dense_bytes),
    "split42": (_split, _split_back, _split_bytes),
    "halves": (_halves, _halves_back, _halves_bytes),
}
"""By name: to bytes, back, bytes of a row."""
