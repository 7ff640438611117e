"""Sizes and times of table-lookup arrays whose tables are int8, of fp16 activations. No Amaranth here.

A row has one quantiser: an activation goes in, and an entry of a table comes out, each cycle. The activations of a group are read
one after the other from the group's first word on, as its tables share a scale; all else of the group comes ``wait`` cycles
later than it would for a chunk alone. The quantiser keeps two groups.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from hw.array.lookup.formats import Entries
from hw.design import ceil_div
from hw.pe.lookup_times import MOST_TABLES, SINGLE_SCALE, K, QuantiserTimes

if TYPE_CHECKING:
    from hw.array.lookup.geometry import LookupArray

ENTRIES = 1 << K - 1
"""Of a half table."""
TAG_BITS = 2
GROUPS_KEPT = 1 << TAG_BITS
"""Groups whose tables' scales are kept: those read, quantised, looked up and scaled at the same time."""


def check(array: LookupArray) -> None:
    """That all else allows tables of int8; ValueError if not."""
    if array.tables not in get_args(Entries):
        raise ValueError(f"tables must be one of {', '.join(get_args(Entries))}, not {array.tables!r}")
    if not array.quantised:
        return
    for name, wanted in (("activations", "fp16"), ("scales", "fp16"), ("k", K), ("ternary", "planes")):
        if getattr(array, name) != wanted:
            raise ValueError(f"{name} must be {wanted} with tables of int8, not {getattr(array, name)}")
    if array.group > K * MOST_TABLES:
        raise ValueError(
            f"group must be at most {K * MOST_TABLES} with tables of int8 (those of a scale), not {array.group}"
        )
    if array.least_chunk < writes(array):
        raise ValueError(
            f"outputs must be at least {ceil_div(writes(array), array.least_planes)} with tables of int8 (the {writes(array)} "
            f"entries of {array.groups_per_lane} tables are made one a cycle, and the narrowest weights have "
            f"{array.least_planes} planes), not {array.outputs}"
        )


def group_tables(array: LookupArray) -> int:
    """Of a row: those that share a scale."""
    return array.group // K


def writes(array: LookupArray) -> int:
    """Cycles in which the tables of a chunk are written, an entry in each."""
    return ENTRIES * array.groups_per_lane


def build(array: LookupArray) -> int:
    """Fewest cycles from the first read of a chunk's tables to its first code."""
    return QuantiserTimes().entry + writes(array) - 1


def wait(array: LookupArray) -> int:
    """From a group's first activation to the first read of its tables: as long as a whole group takes."""
    return array.group - 1 + QuantiserTimes().inverse


def turn(array: LookupArray) -> int:
    """Fewest cycles of a group, its pause included.

    The group after the next one takes the place of this one's activations, which are read until its last lookups begin, and
    fetched somewhat later. And a scale is chosen ``SINGLE_SCALE`` cycles later than where it is the only one.
    """
    kept = array.group + QuantiserTimes().inverse + QuantiserTimes().late - array.scale_words
    tails = [array.tail_words(one) for one in array.variants]
    return max(kept, max(map(array.scale_cycles, array.variants)) + SINGLE_SCALE + max(tails))


def apart(array: LookupArray, words: int) -> int:
    """Fewest cycles of pause before a group of so many words of activations: its last one is to be ``QuantiserTimes.interval``
    cycles behind the last one of the group before, whichever that is. The shortest one is over soonest after its own last one.
    """
    shortest = min(array.group_cycles(one, 1) for one in array.variants) - array.word_steps
    return max(0, QuantiserTimes().interval - shortest - words * array.word_steps)
