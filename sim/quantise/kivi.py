"""KIVI: caches of keys and values, asymmetric with a minimum instead of a zero point.

Keys are quantised per channel, in groups along the tokens; values per token, in groups along the channels.

Reference: KIVI, Liu et al., ICML 2024, section 3; jy-yuan/KIVI, ``quant/new_pack.py``.
"""

from __future__ import annotations

import numpy as np

from hw.formats import Format
from hw.formats.packing import pack
from sim.quantise.quantised import Quantised, by_blocks, checked

WORD = 4
"""Bytes of a word of the published packing: 16 codes of 2 bits, 8 of 4, the first in the lowest bits."""


def quantise(format: Format, matrix: np.ndarray) -> Quantised:
    """``round((x - minimum) / scale)`` with ``scale = range / (2**bits - 1)``, ties to even.

    All of it, and so what is stored, in the precision of the type of scale, as published: that of the cache, fp16 or fp32. A
    group of equal elements has scale 0 and codes 0, where the published code divides by 0; what is beyond the precision
    saturates. Quantised again, a last bit may move: the minimum plus 3 scales rounds.
    """
    if format.scale not in ("fp16", "fp32"):
        raise ValueError(f"scale of format {format.name} must be fp16 or fp32, not {format.scale!r}")
    kind = np.float16 if format.scale == "fp16" else np.float32
    finite = np.finfo(kind).max
    most = kind(format.maximum)

    def work(blocks: np.ndarray) -> tuple[np.ndarray, ...]:
        blocks = np.clip(blocks, -float(finite), float(finite)).astype(kind)
        low = blocks.min(axis=-1)
        with np.errstate(over="ignore"):
            scales = np.minimum(blocks.max(axis=-1) - low, finite) / most
            # A divisor of 1 where the scale is 0: what it divides is 0, or too small to have a scale.
            rise = (blocks - low[..., None]) / np.where(scales > 0, scales, kind(1))[..., None]
        integers = np.rint(np.clip(rise, 0, most))
        return format.encode(integers), scales.astype(np.float64), low.astype(np.float64)

    codes, scales, offsets = by_blocks(format, matrix, work)
    return Quantised(format=format, codes=codes, scales=scales, offsets=offsets)


def quantise_keys(format: Format, keys: np.ndarray) -> Quantised:
    """Keys [..., tokens, channels]: rows are channels, K runs along the tokens."""
    return quantise_values(format, np.swapaxes(keys, -1, -2))


def quantise_values(format: Format, values: np.ndarray) -> Quantised:
    """Values [..., tokens, channels]: rows are tokens, K runs along the channels."""
    return quantise(format, checked("the cache", values.reshape(-1, values.shape[-1])))


def words(quantised: Quantised) -> np.ndarray:
    """The codes as the published words: int32 [rows, words], the last one filled up with zeros."""
    data = pack(quantised.format, quantised.codes)
    return np.pad(data, ((0, 0), (0, -data.shape[1] % WORD))).view("<i4")
