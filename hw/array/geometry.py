"""Tile sizes and word widths of the systolic arrays. No Amaranth here."""

from __future__ import annotations

import operator
from typing import Literal, get_args

from hw.design import Geometry
from hw.timing import ACCUMULATE, DRAIN_ROWS

Dataflow = Literal["output-stationary", "weight-stationary"]
TURN = 4
"""Cycles by which an output-stationary tile knows its end before it has come."""

Multiplier = Literal["native", "carry_save", "same_weight"]
Depth = Literal[1, 2, 4, 8, 16]
"""Steps of K that an element takes at once."""

CUBES: tuple[Multiplier, ...] = ("native", "same_weight")
"""Multipliers of which an element may have several."""
PASSING: tuple[Multiplier, ...] = ("native",)
"""Multipliers of weight-stationary arrays."""
MOST_WORD = 128
"""Bytes of a word of either operand where an element takes several steps of K at once."""
LEAST_STEPS = 4
"""Steps of an activation word, at least: so many before its end an output-stationary tile may be cut short."""


def power_of_two_from(value: int) -> int:
    """Smallest power of two not below ``value``."""
    return 1 << (value - 1).bit_length()


def systolic_geometry(
    *, rows: int, columns: int, data_bytes: int, dataflow: Dataflow, depth: Depth = 1
) -> Geometry:
    """Geometry of ``rows`` × ``columns`` int8 elements behind a bus of ``data_bytes``.

    Output-stationary: a tile is ``rows`` rows of M and any length of K, one weight word per ``depth`` steps of K, which
    elements take at once. Weight-stationary:
    a tile is one row of M and ``rows`` steps of K, whose ``rows`` weight words stay in the array while row tiles pass.

    Raises
    ------
    TypeError, ValueError
        A size that is not an integer of 1 or more; a bus other than 4 to 64 bytes; an unknown dataflow; rows of a
        weight-stationary array that are not a power of two (a depth tile has to be a whole part of an activation word);
        a depth other than 1 of such an array; one that is unknown, or makes words of more than ``MOST_WORD`` bytes.
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
    stationary_weights = dataflow == "weight-stationary"
    if stationary_weights and rows & (rows - 1):
        raise ValueError(f"rows must be a power of two when dataflow is {dataflow}, not {rows!r}")
    _check_depth(depth, rows, columns, dataflow)
    return Geometry(
        tile_rows=1 if stationary_weights else rows,
        columns=columns,
        tile_depth=rows if stationary_weights else depth,
        activation_bytes=max(data_bytes, power_of_two_from(max(rows, LEAST_STEPS) * depth)),
        weight_bytes=power_of_two_from(columns * depth),
        weight_words=rows if stationary_weights else 1,
    )


def _check_depth(depth: int, rows: int, columns: int, dataflow: Dataflow) -> None:
    if depth not in get_args(Depth):
        raise ValueError(f"depth must be one of {', '.join(map(str, get_args(Depth)))}, not {depth!r}")
    if depth > 1 and dataflow == "weight-stationary":
        raise ValueError(f"depth must be 1 when dataflow is {dataflow}, not {depth!r}")
    for name, size in (("rows", rows), ("columns", columns)):
        if depth > 1 and size * depth > MOST_WORD:
            raise ValueError(
                f"{name} times depth must be at most {MOST_WORD}, bytes of a word, not {size} times {depth}"
            )


def check_multiplier(multiplier: Multiplier, *, dataflow: Dataflow, depth: Depth) -> None:
    """Raise ``ValueError`` when there are no arrays of such elements."""
    if multiplier not in get_args(Multiplier):
        raise ValueError(f"multiplier must be one of {', '.join(get_args(Multiplier))}, not {multiplier!r}")
    if dataflow == "weight-stationary" and multiplier not in PASSING:
        raise ValueError(
            f"multiplier must be {' or '.join(PASSING)} when dataflow is {dataflow}, not {multiplier!r}"
        )
    if depth > 1 and multiplier not in CUBES:
        raise ValueError(f"multiplier must be {' or '.join(CUBES)} when depth is {depth}, not {multiplier!r}")


def least_interval(rows: int) -> int:
    """Fewest cycles between the last steps of output-stationary tiles, and from tile to tile.

    Rows finish a cycle apart and are joined in groups on their way up: the results of a tile must be out before those of the
    next; and written, because a row of accumulators may be added to again by any result of the next tile.
    """
    return rows + (rows - 1) // DRAIN_ROWS + ACCUMULATE
