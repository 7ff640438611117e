"""What the bytes of weight-stationary arrays with blocks stand for; what patterns of scales do."""

from __future__ import annotations

import numpy as np

from hw.array.decoded.geometry import scale_type, slot_bits
from hw.array.decoded.weight_blocks import StationaryBlocks, scale_bytes
from hw.formats.pairs import pairs
from hw.formats.scales import E8M0_BIAS
from sim.half import half


class BlockStream:
    """Rows of activations or columns of weights.

    Parameters
    ----------
    array : StationaryBlocks
    variant : int
    side : int
        0: activations, 1: weights.
    content : ndarray
        Bytes [row, byte] of whole words, or [column, word].
    depth_tiles : int
        Blocks.
    """

    def __init__(
        self, array: StationaryBlocks, variant: int, side: int, content: np.ndarray, depth_tiles: int
    ) -> None:
        self._format = format = array.pairs[variant][side]
        codes, scales = array.code_bytes(format), scale_bytes(format)
        size = codes + scales if side else array.activation_tile(variant)
        blocks = content[:, : depth_tiles * size].reshape(len(content), depth_tiles, size)
        slots = blocks[..., :codes]
        if slot_bits(format) == 4:
            slots = np.stack([slots & 15, slots >> 4], axis=-1)
        self._codes = slots.reshape(len(content), depth_tiles * array.rows) & (1 << format.bits) - 1
        self._scales = blocks[..., codes : codes + scales].astype(np.int64)

    def values(self) -> np.ndarray:
        """int64 [rows, K]: integers times two to their exponents."""
        exponents, integers = pairs(self._format).decode(self._codes, axis=1)
        return integers << exponents

    def scales(self, block: int) -> tuple[str, np.ndarray | None]:
        """Type and numbers (float64 [rows]) of a block's; patterns that stand for no number are taken for one."""
        kind = scale_type(self._format)
        if not kind:
            return kind, None
        parts = self._scales[:, block]
        return kind, scale_numbers(kind, (parts << 8 * np.arange(parts.shape[1])).sum(axis=1))


def scale_numbers(kind: str, codes: np.ndarray) -> np.ndarray:
    """float64 of patterns (int64) of a type of scale; of those that stand for no number, too."""
    if kind == "fp16":
        return half(codes)
    if kind == "e8m0":
        return np.exp2(codes.astype(np.float64) - E8M0_BIAS)
    return codes.astype(np.float64) if kind == "int8" else _e4m3(codes)


def _e4m3(codes: np.ndarray) -> np.ndarray:
    """Magnitudes of E4M3: four bits of exponent, three of mantissa."""
    exponent, mantissa = codes >> 3 & 15, codes & 7
    return np.where(exponent == 0, mantissa, mantissa + 8) * np.exp2(np.maximum(exponent, 1) - 10.0)
