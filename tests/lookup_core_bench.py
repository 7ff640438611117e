"""Small designs around table-lookup arrays."""

from __future__ import annotations

from functools import partial

from bit_serial_bench import command
from small_design import small_design

from hw.array.lookup.core import LookupCore
from hw.array.lookup.geometry import LookupArray, LookupFormat, Offset
from hw.design import Design

W1, W2, W3, W4 = (
    LookupFormat(bits=bits, offset=Offset.TWOS if bits > 1 else Offset.NONE) for bits in range(1, 5)
)
ASYM2, ASYM3, ASYM4 = (LookupFormat(bits=bits, offset=Offset.ZERO) for bits in (2, 3, 4))
BIPOLAR2, BIPOLAR4 = (LookupFormat(bits=bits, offset=Offset.NONE) for bits in (2, 4))
ALL = (W1, W2, W3, W4, ASYM2, ASYM3, ASYM4, BIPOLAR2, BIPOLAR4)

__all__ = ["command"]


def array_for(
    *,
    rows=2,
    columns=16,
    k=4,
    groups_per_lane=2,
    outputs=8,
    group=32,
    variants=ALL,
    data_bytes=4,
    ternary="planes",
    scales="int8",
    single=False,
):
    """A small array of all formats."""
    return LookupArray(
        rows=rows, columns=columns, k=k, groups_per_lane=groups_per_lane, outputs=outputs, group=group,
        variants=variants, data_bytes=data_bytes, ternary=ternary, scales=scales, single=single,
    )  # fmt: skip


def design_for(
    array: LookupArray, *, activation_words=128, weight_words=1024, accumulator_rows=256
) -> Design:
    """A design around it."""
    return small_design(
        array.geometry,
        array.data_bytes,
        activation_words=activation_words,
        weight_words=weight_words,
        accumulator_rows=accumulator_rows,
    )


def core_of(array: LookupArray):
    """What makes its core."""
    return partial(LookupCore, array=array)
