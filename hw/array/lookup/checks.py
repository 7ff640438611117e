"""What formats a table-lookup array may have, by its other parameters. No Amaranth here."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from hw.array.lookup.formats import JUDGED, LookupFormat, Offset, Ternary
from hw.design import ceil_div
from hw.pe.lookup_times import FloatTimes

if TYPE_CHECKING:
    from hw.array.lookup.geometry import LookupArray

MOST_ARRAY_PLANES = 4


def check_variants(array: LookupArray) -> None:
    """ValueError if not all are among those that it can take."""
    if not array.variants:
        raise ValueError(f"variants must be at least one, not {array.variants!r}")
    for one in array.variants:
        if not 1 <= one.bits <= MOST_ARRAY_PLANES:
            raise ValueError(f"bits of a weight must be 1 to {MOST_ARRAY_PLANES}, not {one.bits!r}")
        if (one.minimum or one.offset is Offset.PLAIN) and not array.floats:
            raise ValueError(f"scales must be fp16 for {one}, not {array.scales}")
        if one.minimum and not one.doubled:
            raise ValueError(f"offset must be TWOS, ZERO or PLAIN with minimums, not {one.offset.name}")


def check_ternary(array: LookupArray) -> None:
    """ValueError if something does not go with how ternary weights are multiplied."""
    if array.ternary not in get_args(Ternary):
        raise ValueError(f"ternary must be one of {', '.join(get_args(Ternary))}, not {array.ternary!r}")
    if array.direct and array.floats:
        raise ValueError(f"scales must be int8 where ternary is direct, not {array.scales}")
    wrong = [one for one in array.variants if one != LookupFormat(bits=2, offset=Offset.TWOS)]
    if array.direct and wrong:
        raise ValueError(
            f"variants must be two's complement of 2 bits where ternary is direct, not {wrong[0]}"
        )


def check_halves(array: LookupArray) -> None:
    """ValueError if something does not go with tables of fp16."""
    for name, wanted in (("scales", "fp16"), ("k", 4), ("groups_per_lane", 1)):
        if getattr(array, name) != wanted:
            raise ValueError(f"{name} must be {wanted} with fp16 activations, not {getattr(array, name)}")
    least = FloatTimes().interval
    if array.outputs < least:
        raise ValueError(
            f"outputs must be at least {least} with fp16 activations (the cycles of a sum), not {array.outputs}"
        )
    wrong = [one for one in array.variants if one.minimum]
    if wrong:
        raise ValueError(f"variants must be without minimums with fp16 activations, not {wrong[0]}")


def check_times(array: LookupArray) -> None:
    """ValueError when scales come after the first results, or a chunk has fewer lookups than a table has entries."""
    if array.scales_to_result < max(map(array.tail_words, array.variants)) + JUDGED + 1:
        raise ValueError(
            f"outputs must be fewer where a unit has {array.part_bits} bits of a word (its scales come in {array.scale_words} "
            f"words, after the first results), not {array.outputs}"
        )
    if not array.direct and array.least_chunk < array.entries:
        raise ValueError(
            f"outputs must be at least {ceil_div(array.entries, array.least_planes)} (a table of {array.k} has {array.entries} "
            f"entries, and the narrowest weights {array.least_planes} planes), not {array.outputs}"
        )
