"""Tile sizes and word widths of the systolic arrays. No Amaranth here."""

from __future__ import annotations

import operator
from typing import Literal, get_args

from hw.design import Geometry
from hw.timing import ACCUMULATE, DIGIT_GROUP, DRAIN_ROWS

Dataflow = Literal["output-stationary", "weight-stationary"]
TURN = 4
"""Cycles by which an output-stationary tile knows its end before it has come."""

Multiplier = Literal["native", "carry_save", "sparse_digit"]


def power_of_two_from(value: int) -> int:
    """Smallest power of two not below ``value``."""
    return 1 << (value - 1).bit_length()


def systolic_geometry(
    *, rows: int, columns: int, data_bytes: int, dataflow: Dataflow, multiplier: Multiplier = "native"
) -> Geometry:
    """Geometry of ``rows`` × ``columns`` int8 elements behind a bus of ``data_bytes``.

    Output-stationary: a tile is ``rows`` rows of M and any length of K, one weight word per step of K. Weight-stationary:
    a tile is one row of M and ``rows`` steps of K, whose ``rows`` weight words stay in the array while row tiles pass.
    With the multiplier "sparse_digit" an output-stationary tile is cut along K in groups of ``DIGIT_GROUP``, a weight word each.

    Raises
    ------
    TypeError, ValueError
        A size that is not an integer of 1 or more; a bus other than 4 to 64 bytes; an unknown dataflow; rows of a
        weight-stationary array that are not a power of two (a depth tile has to be a whole part of an activation word); digits
        with weights that stay.
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
    group = DIGIT_GROUP if multiplier == "sparse_digit" else 1
    if stationary_weights and group > 1:
        raise ValueError(
            f"dataflow must be output-stationary when multiplier is {multiplier}, not {dataflow!r}"
        )
    return Geometry(
        tile_rows=1 if stationary_weights else rows,
        columns=columns,
        tile_depth=rows if stationary_weights else group,
        activation_bytes=max(data_bytes, power_of_two_from(rows)),
        weight_bytes=group * power_of_two_from(columns),
        weight_words=rows if stationary_weights else 1,
    )


def least_interval(rows: int) -> int:
    """Fewest cycles between the last steps of output-stationary tiles, and from tile to tile.

    Rows finish a cycle apart and are joined in groups on their way up: the results of a tile must be out before those of the
    next; and written, because a row of accumulators may be added to again by any result of the next tile.
    """
    return rows + (rows - 1) // DRAIN_ROWS + ACCUMULATE
