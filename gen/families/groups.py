"""What families have in common whose weights come in groups with 8-bit scales: names, and what groups have."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from hw.formats import FORMATS, Format


def known(names: list[str], kinds: Iterable[str]) -> list[str]:
    """``names``, if they are different ones of ``kinds``."""
    kinds = list(kinds)
    wrong = [name for name in names if name not in kinds]
    if wrong or len(set(names)) < len(names):
        raise ValueError(
            f"weights must be different ones of {', '.join(kinds)}, not {', '.join(wrong or names)}"
        )
    return names


def grouped(name: str, group: int) -> Format:
    """The format of that name, its blocks, if it has any, of so many weights."""
    format = FORMATS[name]
    return format if format.block in (0, group) else format.grouped(group)


def plain_names(full: Sequence[str]) -> dict[str, str]:
    """Further names for formats of these ``full`` ones: without ``-s8``, without the length of a group."""
    found = {}
    for name in full:
        plain, _, group = name.replace("-s8", "").partition(":")
        for alias in (plain, f"{plain}:{group}", name.partition(":")[0]):
            if alias not in full:
                found[alias] = name
    return found


def widened(given: np.ndarray | None, groups: int, features: int, width: int, otherwise: int) -> np.ndarray:
    """What groups have [groups, features], for as many features as whole tiles have."""
    wide = np.zeros((groups, width), np.int64)
    wide[:, :features] = otherwise if given is None else given
    return wide
