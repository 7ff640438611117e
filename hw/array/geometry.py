"""Tile sizes and word widths of the systolic arrays. No Amaranth here."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Literal, get_args

from hw.design import Geometry, ceil_div
from hw.timing import ACCUMULATE, DIGIT_GROUP, DRAIN_ROWS

Dataflow = Literal["output-stationary", "weight-stationary"]
TURN = 4
"""Cycles by which an output-stationary tile knows its end before it has come."""

Multiplier = Literal["native", "carry_save", "dsp", "same_weight", "sparse_digit"]
Depth = Literal[1, 2, 4, 8, 16]
"""Steps of K that an element takes at once."""


@dataclass(frozen=True, kw_only=True)
class Elements:
    """What a choice of multiplier means to the words of weights and the order of columns, and where there are such elements."""

    weight_bits: int = 8
    """Of a weight in its word, two's complement; the first column's are the lowest."""
    together: int = 1
    """Neighbouring columns that share a multiplier, and so stand at the same place; they divide ``columns``."""
    group: int = 1
    """Steps of K of a word of weights, one after the other."""
    stays: bool = False
    """In weight-stationary arrays, too."""
    deep: bool = False
    """An element may take several steps of K at once."""


MULTIPLIERS: dict[Multiplier, Elements] = {
    "native": Elements(stays=True, deep=True),
    "carry_save": Elements(stays=True),
    "dsp": Elements(stays=True, weight_bits=4, together=2),
    "same_weight": Elements(deep=True),
    "sparse_digit": Elements(group=DIGIT_GROUP),
}
"""By the key `array.multiplier`."""

MOST_WORD = 128
"""Bytes of a word of either operand where an element takes several steps of K at once."""
LEAST_STEPS = 4
"""Steps of an activation word, at least: so many before its end an output-stationary tile may be cut short."""


def power_of_two_from(value: int) -> int:
    """Smallest power of two not below ``value``."""
    return 1 << (value - 1).bit_length()


def systolic_geometry(
    *,
    rows: int,
    columns: int,
    data_bytes: int,
    dataflow: Dataflow,
    multiplier: Multiplier = "native",
    depth: int = 1,
    single: bool = False,
) -> Geometry:
    """Geometry of ``rows`` × ``columns`` elements behind a bus of ``data_bytes``.

    Output-stationary: a tile is ``rows`` rows of M and any length of K, one weight word per ``depth`` steps of K, which
    elements take at once, or for a ``group`` of steps (``Elements``). Weight-stationary: a tile is one row of M and ``rows``
    steps of K, whose ``rows`` weight words stay in the array while row tiles pass. ``single``: as ``Geometry.single``, where
    that is output-stationary; the other's tiles rely on the latency of its accumulators.

    Raises
    ------
    TypeError, ValueError
        A size that is not an integer of 1 or more; a bus other than 4 to 64 bytes; an unknown dataflow; rows of a
        weight-stationary array that are not a power of two (a depth tile has to be a whole part of an activation word);
        a depth that makes words of more than ``MOST_WORD`` bytes; or as :func:`check_elements`.
    """
    rows, columns, data_bytes = operator.index(rows), operator.index(columns), operator.index(data_bytes)
    if rows < 1:
        raise ValueError(f"rows must be 1 or more, not {rows!r}")
    if columns < 1:
        raise ValueError(f"columns must be 1 or more, not {columns!r}")
    if data_bytes not in (4, 8, 16, 32, 64):
        raise ValueError(f"data_bytes must be 4, 8, 16, 32 or 64, not {data_bytes!r}")
    if dataflow not in get_args(Dataflow):
        raise ValueError(f"dataflow must be one of {', '.join(get_args(Dataflow))}, not {dataflow!r}")
    check_elements(multiplier, columns=columns, dataflow=dataflow, depth=depth)
    stationary_weights = dataflow == "weight-stationary"
    if stationary_weights and rows & (rows - 1):
        raise ValueError(f"rows must be a power of two when dataflow is {dataflow}, not {rows!r}")
    for name, size in (("rows", rows), ("columns", columns)):
        if depth > 1 and size * depth > MOST_WORD:
            raise ValueError(
                f"{name} times depth must be at most {MOST_WORD}, bytes of a word, not {size} times {depth}"
            )
    here = MULTIPLIERS[multiplier]
    return Geometry(
        tile_rows=1 if stationary_weights else rows,
        columns=columns,
        tile_depth=rows if stationary_weights else depth * here.group,
        activation_bytes=max(data_bytes, power_of_two_from(max(rows, LEAST_STEPS) * depth)),
        weight_bytes=here.group * power_of_two_from(ceil_div(columns * depth * here.weight_bits, 8)),
        weight_words=rows if stationary_weights else 1,
        activation_bits=8,
        single=single and not stationary_weights,
    )


def check_elements(multiplier: Multiplier, *, columns: int, dataflow: Dataflow, depth: int) -> None:
    """Raise ``ValueError`` when there are no arrays of such elements."""
    if multiplier not in MULTIPLIERS:
        raise ValueError(f"multiplier must be one of {', '.join(MULTIPLIERS)}, not {multiplier!r}")
    if depth not in get_args(Depth):
        raise ValueError(f"depth must be one of {', '.join(map(str, get_args(Depth)))}, not {depth!r}")
    here = MULTIPLIERS[multiplier]
    if dataflow == "weight-stationary" and not here.stays:
        there = " or ".join(name for name, elements in MULTIPLIERS.items() if elements.stays)
        raise ValueError(f"multiplier must be {there} when dataflow is {dataflow}, not {multiplier!r}")
    if depth > 1 and dataflow == "weight-stationary":
        raise ValueError(f"depth must be 1 when dataflow is {dataflow}, not {depth!r}")
    if depth > 1 and not here.deep:
        there = " or ".join(name for name, elements in MULTIPLIERS.items() if elements.deep)
        raise ValueError(f"multiplier must be {there} when depth is {depth}, not {multiplier!r}")
    if columns % here.together:
        raise ValueError(
            f"columns must be a multiple of {here.together} when multiplier is {multiplier}, not {columns!r}"
        )


def least_interval(rows: int) -> int:
    """Fewest cycles between the last steps of output-stationary tiles, and from tile to tile.

    Rows finish a cycle apart and are joined in groups on their way up: the results of a tile must be out before those of the
    next; and written, because a row of accumulators may be added to again by any result of the next tile.
    """
    return rows + (rows - 1) // DRAIN_ROWS + ACCUMULATE
