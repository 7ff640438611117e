"""What repeats in a tiling, and how much of it can be left out."""

from __future__ import annotations

from collections.abc import Container, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import gcd, lcm
from typing import TypeVar

from gen.compiler.compile import Plan
from gen.compiler.schedule import AHEAD
from gen.compiler.tiling import MTile, Rows
from hw.control.isa import PARAMETER_BYTES, OutputMode
from hw.design import PAGE_BYTES, Design, ceil_div
from sim.cycles import mover
from sim.cycles.load import bursts

LEAST_SAVED = 0.4
"""Share of the weight blocks that must be left out for it to be worth while."""
LONGEST_CYCLE = 64
"""Most parts of a period that is looked for."""
ROOMY = AHEAD + 4
"""Places in a scratchpad from which on it does not matter where something lies (``Shortened``)."""

Part = TypeVar("Part")


@dataclass(frozen=True)
class Gap:
    """Elements ``first`` to ``last`` of a list that are left out: a whole number of periods of ``period`` elements."""

    first: int
    last: int
    period: int

    @property
    def repeats(self) -> int:
        """Periods."""
        return (self.last - self.first) // self.period


def kept(one: Gap | None, elements: tuple[Part, ...]) -> tuple[Part, ...]:
    """Those that are not left out."""
    return elements[: one.first] + elements[one.last :] if one else elements


@dataclass(frozen=True)
class Stay:
    """What of a stretch of equal parts must stay: ``warm`` parts before a cut, ``tail`` behind it; a period has ``period``."""

    warm: int
    period: int
    tail: int

    @property
    def longer(self) -> Stay:
        """For another try."""
        return Stay(self.warm * 3 // 2 + 1, self.period, (self.tail * 3 + 1) // 2)


def gap(letters: Sequence[Hashable], stay: Stay) -> Gap | None:
    """What to leave out of the longest stretch of ``letters`` that has the period; None when that is nothing."""
    longest = run = start = 0
    period = stay.period
    for i in range(len(letters) - period):
        run = run + 1 if letters[i] == letters[i + period] else 0
        if run > longest:
            longest, start = run, i + 1 - run
    stretch = longest + period if longest else 0
    first = max(start + stay.warm, period + 1)
    repeats = (start + stretch - stay.tail - first) // period
    return Gap(first, first + repeats * period, period) if repeats > 0 else None


def cycle_of(letters: Sequence[Hashable], most: int = LONGEST_CYCLE) -> int:
    """Period of the middle of ``letters``, up to ``most``; 1 where it has none."""
    middle = list(letters)[len(letters) // 4 : len(letters) - len(letters) // 4]
    for period in range(1, min(most, len(middle) // 2) + 1):
        if middle[period:] == middle[:-period]:
            return period
    return 1


@dataclass(frozen=True)
class Gaps:
    """What is left out: of the M tiles, of the groups, and of the blocks of each group that stays, by its place in the plan."""

    m_tiles: Gap | None = None
    groups: Gap | None = None
    blocks: Mapping[int, Gap] = field(default_factory=dict)


class Letters:
    """What tells the parts of a plan apart, as far as their instructions' timing can depend on it."""

    def __init__(self, plan: Plan):
        self._plan = plan
        self._splits: dict[tuple[int, int], tuple[int, ...]] = {}

    def split(self, address: int, count: int) -> tuple[int, ...]:
        """The bursts of ``count`` bytes from ``address`` on, as far as time depends on them."""
        key, design = (address % PAGE_BYTES, count), self._plan.design
        if key not in self._splits:
            if design.in_order:
                # One after the other: all that matters is how many there are, and their beats.
                several = list(mover.bursts(design, *key))
                self._splits[key] = len(several), sum(several)
            else:
                found = bursts(*key, data_bytes=design.data_bytes, burst_beats=design.burst_beats)
                self._splits[key] = tuple(found)
        return self._splits[key]

    def _beat(self, row: int, feature: int) -> int:
        """Where in a beat the result ``feature`` of ``row`` is written, if everything waits for that."""
        d, gemm = self._plan.design, self._plan.gemm
        if not d.in_order:
            return 0
        return (row * gemm.N + feature) * d.geometry.result_bytes(gemm.mode) % d.data_bytes

    @cached_property
    def blocks(self) -> list[list[tuple[Hashable, ...]]]:
        """Of each column block of each group: its LOADs, chunk by chunk."""
        plan, place = self._plan, 0
        bus = [self.split(*block) for block in plan.blocks.values()]
        found = []
        for group in plan.tiling.groups:
            rows: list[list[Hashable]] = [[b - a] for a, b in group.blocks]
            for chunk in plan.tiling.chunks:
                for row in rows:
                    row.extend(bus[place : place + len(chunk)])
                    place += len(chunk)
            found.append([tuple(row) for row in rows])
        return found

    @cached_property
    def groups(self) -> list[Hashable]:
        """Of each group."""
        plan, found, numbers = self._plan, list[int](), dict[Hashable, int]()
        columns, N = plan.design.geometry.columns, plan.gemm.N
        for group, blocks in zip(plan.tiling.groups, self.blocks, strict=True):
            a, b = (min(tile * columns, N) for tile in group.tiles)
            parameters: tuple[int, ...] = ()
            if plan.gemm.mode is OutputMode.REQUANTISED:
                start = plan.memory.regions["parameters"][0] + a * PARAMETER_BYTES
                parameters = self.split(start, (b - a) * PARAMETER_BYTES)
            letter = (group.rows, b - a, tuple(blocks), parameters, self._beat(0, a))
            found.append(numbers.setdefault(letter, len(numbers)))
        return list(found)

    @cached_property
    def m_tiles(self) -> list[Hashable]:
        """Of each M tile."""
        plan = self._plan
        g, rows = plan.design.geometry, plan.gemm.M
        row = plan.family.model().activation_bytes(plan.gemm.variant, plan.gemm.K)

        def letter(tile: MTile) -> Hashable:
            first, last = tile.whole
            spans = [tuple((a - first, b - first) for a, b in part) for part in (tile.pieces, tile.tail)]
            return (
                *spans,
                min(last * g.tile_rows, rows) - first * g.tile_rows,
                first * g.tile_rows * row % PAGE_BYTES,
                self._beat(first * g.tile_rows, 0),
            )

        return [letter(tile) for tile in plan.tiling.m_tiles]


def _turns(places: int, each: int) -> int:
    """After how many times ``each`` one is at the same of ``places`` again."""
    return places // gcd(places, each)


def _rounds(design: Design, parts: Sequence[int]) -> int:
    """After how many weight blocks of ``parts`` bytes each the next one is at the same place of the scratchpad again."""
    width = max(design.data_bytes, design.geometry.weight_bytes)
    room = design.weight_words * design.geometry.weight_bytes
    place, seen = 0, dict[int, int]()
    while place not in seen:
        seen[place] = len(seen)
        for part in parts:
            length = ceil_div(part, width) * width
            place = (0 if place + length > room else place) + length
    return len(seen) - seen[place]


def first_stays(plan: Plan, letters: Letters) -> dict[str, Stay]:
    """What should do, from the numbers of the plan."""
    d, g, tiling = plan.design, plan.design.geometry, plan.tiling
    parts = sum(len(chunk) for chunk in tiling.chunks)
    visits = len(tiling.chunks[0])
    middle = len(tiling.groups) // 2
    blocks = len(tiling.groups[middle].blocks)
    sizes = {size for _, size in plan.blocks.values()}
    unit = max(d.data_bytes, g.weight_bytes)
    places = max(1, d.weight_words * g.weight_bytes // (ceil_div(max(sizes), unit) * unit))
    middle_parts = [plan.blocks[tiling.groups[middle].blocks[0], part][1] for part in tiling.chunks[-1]]
    turns = 1 if places >= ROOMY or len(sizes) == 1 else _rounds(d, middle_parts)
    block = lcm(turns, _turns(d.fetch_batch, 2 * visits), cycle_of(letters.blocks[middle]))
    group, warm = lcm(_turns(turns, blocks * len(tiling.chunks)), cycle_of(letters.groups)), 3
    if plan.gemm.mode is OutputMode.REQUANTISED and not tiling.parameters_stay:
        a, b = tiling.groups[middle].tiles
        room = max(1, d.parameter_entries // ((b - a) * g.columns))
        warm = min(room, AHEAD) + 2
        group = lcm(group, room if room < AHEAD + 4 else 1)
    per_group = 2 * parts * blocks + 1 + (len(tiling.chunks) if len(tiling.chunks) > 1 else 0) + (warm > 3)
    group = lcm(group, _turns(d.fetch_batch, per_group))
    few = ceil_div(AHEAD, visits)
    if d.in_order and parts * blocks > AHEAD + 2:
        # Little is under way when a group begins; its activations come chunk by chunk, if they do.
        several = len(tiling.chunks)
        warm = min(warm, ceil_div(AHEAD, several) if several > 1 else 1)
    return {
        "blocks": Stay(few + 2 * max(block, few), block, ceil_div(AHEAD + d.prefetch // 2, visits)),
        "groups": Stay(warm + 2 * group, group, 2),
        "m_tiles": Stay(4, 1, 1),
    }


def choose(
    plan: Plan, letters: Letters, stays: dict[str, Stay], complete: Container[int] = ()
) -> Gaps | None:
    """What to leave out, and no block of the groups ``complete``; None when that is too little."""
    tiling = plan.tiling
    groups, m_tiles = gap(letters.groups, stays["groups"]), gap(letters.m_tiles, stays["m_tiles"])
    blocks = {}
    for place in kept(groups, tuple(range(len(tiling.groups)))):
        one = gap(letters.blocks[place], stays["blocks"])
        if one and tiling.groups[place].rows is Rows.WHOLE and place not in complete:
            blocks[place] = one
    all_blocks = sum(len(group.blocks) for group in tiling.groups) * len(tiling.m_tiles)
    stay = sum(
        len(kept(blocks.get(place), tiling.groups[place].blocks))
        for place in kept(groups, tuple(range(len(tiling.groups))))
    ) * len(kept(m_tiles, tiling.m_tiles))
    return Gaps(m_tiles, groups, blocks) if stay <= (1 - LEAST_SAVED) * all_blocks else None
