"""The blocks of GGUF files that are taken as they are: 32 elements along K with half-precision numbers of their own."""

from __future__ import annotations

from hw.formats.format import Format
from hw.formats.integers import signed

BLOCK = 32
"""Elements of a block."""

GGML = (
    Format(
        name="q4_0", bits=4, tables=(range(-8, 8),), rule="ggml", shared="block", block=BLOCK, scale="fp16", packing="halves",
        sharings=(), summary="GGUF Q4_0: -8 to 7",
    ),
    Format(
        name="q4_1", bits=4, tables=(range(16),), rule="ggml", shared="block", block=BLOCK, scale="fp16", offset="minimum",
        packing="halves", sharings=(), summary="GGUF Q4_1: 0 to 15 and a minimum",
    ),
    Format(
        name="q8_0", bits=8, tables=(signed(8),), rule="ggml", shared="block", block=BLOCK, scale="fp16",
        sharings=(), least=-127, summary="GGUF Q8_0: two's complement",
    ),
)  # fmt: skip
