"""Integers: two's complement, unsigned with a zero point, ternary, and those made of +1 and -1."""

from __future__ import annotations

from dataclasses import replace

from hw.formats.format import Format, second_level


def signed(bits: int) -> tuple[int, ...]:
    """Two's complement by code."""
    half = 1 << bits - 1
    return (*range(half), *range(-half, 0))


def _symmetric(bits: int) -> Format:
    return Format(
        name=f"int{bits}", bits=bits, tables=(signed(bits),), rule="symmetric", scale="fp16", least=1 - (1 << bits - 1),
        summary=f"two's complement from -{(1 << bits - 1) - 1}, a scale for a row",
    )  # fmt: skip


def _two_levels(format: Format, summary: str) -> Format:
    return second_level(replace(format, shared="block", block=128, summary=summary))


def _asymmetric(bits: int) -> Format:
    return Format(
        name=f"int{bits}-asym", bits=bits, tables=(range(1 << bits),), rule="asymmetric", scale="fp16", offset="zero",
        shared="block", block=128, summary="unsigned, scale and integer zero point of a block",
    )  # fmt: skip


def _bipolar(bits: int) -> Format:
    most = (1 << bits) - 1
    return Format(
        name=f"bipolar{bits}", bits=bits, tables=(range(-most, most + 1, 2),), rule="bipolar", scale="fp16",
        summary="odd integers: every bit is +1 or -1 (arXiv 2409.17870)",
    )  # fmt: skip


def _kivi(bits: int) -> Format:
    return Format(
        name=f"kivi{bits}", bits=bits, tables=(range(1 << bits),), rule="kivi", scale="fp16", offset="minimum", shared="block",
        block=32, summary="KIVI's caches: unsigned, scale and minimum of a block",
    )  # fmt: skip


INT8 = _symmetric(8)
_TERNARY = Format(
    name="ternary", bits=2, tables=((0, 1, None, -1),), rule="ternary", shared="tensor", scale="fp32",
    summary="BitNet b1.58: -1, 0, 1 times the mean magnitude",
)  # fmt: skip
_BINARY = Format(
    name="binary", bits=1, tables=((-1, 1),), rule="binary", scale="fp32",
    summary="-1 and 1 times the row's mean magnitude",
)  # fmt: skip
INTEGERS = (
    *(_symmetric(bits) for bits in range(2, 8)), INT8,
    *(
        _two_levels(_symmetric(bits), f"two's complement from -{(1 << bits - 1) - 1}")
        for bits in (2, 3, 4, 5, 6, 8)
    ),
    *(_asymmetric(bits) for bits in range(2, 9)),
    *(_two_levels(_asymmetric(bits), "unsigned, integer zero point of a block") for bits in (2, 3, 4)),
    *(_bipolar(bits) for bits in range(1, 9)),
    *(_two_levels(_bipolar(bits), "odd integers") for bits in (1, 2, 3, 4)),
    *(_kivi(bits) for bits in (2, 4)),
    _TERNARY, _two_levels(_TERNARY, "-1, 0, 1 times the block's mean magnitude"),
    _BINARY, _two_levels(_BINARY, "-1 and 1 times the block's mean magnitude"),
)  # fmt: skip
