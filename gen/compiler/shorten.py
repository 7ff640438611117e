"""A GEMM's program with most of its middle left out, and what has been left out.

A tiling has long stretches of equal parts: M tiles, groups of features in each, weight blocks in each group.
``Shortened`` is the program of a tiling that lacks a whole number of *periods* of such parts; all others keep their
addresses. Where that was done it has a ``Cut``: the ``period`` instructions before it stand for ``repeats`` more of them.

What the compiler does with a part depends on those before it by bounded means only: places in the scratchpads are given round
about; a LOAD waits for the last user of its place and for the LOAD of its kind that is older by ``AHEAD``; and it stands so
many LOADs before its user as a queue holds. So when two successive periods have become the same instructions, at the same
places and with the same tokens, with enough LOADs before them, then so do all further ones of the same parts, and those
behind them find the same. ``Shortened.same`` compares them: everything of an instruction on which its timing can depend, and
its places on the chip.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable
from dataclasses import dataclass, replace
from functools import cached_property

from gen.compiler.compile import Plan
from gen.compiler.repeats import ROOMY, Gaps, Letters, kept
from gen.compiler.schedule import AHEAD, Step, output_part
from gen.compiler.tiling import Group, Rows
from hw.control.isa import Destination, Opcode, OutputMode
from hw.design import PAGE_BYTES, Design, ceil_div
from sim.cycles import mover, store
from sim.cycles.memory import MemoryTiming, WriteMemory


@dataclass(frozen=True)
class Cut:
    """Left out before instruction ``at``: ``repeats`` times the ``period`` instructions before it."""

    level: str
    """``blocks``, ``groups`` or ``m_tiles``."""
    at: int
    period: int
    repeats: int
    group: int | None = None
    """Its place in the plan, if the cut is within a group."""


class Stores:
    """How long a STORE takes from the cycle in which it is taken (in order: starts), and its beats: nothing else delays it."""

    def __init__(self, design: Design, timing: MemoryTiming, mode: OutputMode):
        self._design, self._timing, self._mode = design, timing, mode
        self._known: dict[Hashable, store.Stored] = {}
        # Where a design issues in order there are no bursts that a page could end.
        self._edge = design.data_bytes if design.in_order else PAGE_BYTES

    def __call__(self, fields: dict[str, int]) -> store.Stored:
        """Of ``output_part``; ``finished`` counts from the start."""
        rows, stride = fields["rows"], fields["memory_stride"] % self._edge
        key = (fields["memory_address"] % self._edge, rows, stride if rows > 1 else 0, fields["columns"])
        if key not in self._known:
            values = {**fields, "variant": int(self._mode)}
            memory = WriteMemory(self._timing)
            if self._design.in_order:
                moved = mover.store(0, self._design, memory, values)
                self._known[key] = store.Stored(moved.ended, moved.beats)
            else:
                self._known[key] = store.timing(0, self._design, memory, values)
        return self._known[key]


@dataclass(frozen=True)
class Result:
    """A STORE of the shortened program: place in ``steps``, M tile and group as places in the shortened tiling."""

    place: int
    m_tile: int
    group: int
    slow: bool
    """It stands for STOREs that do not all take equally long, and is the slowest of them."""
    takes: int
    """Cycles."""


class Shortened:
    """A plan's program with ``gaps`` in the lists of M tiles, groups and blocks of its tiling.

    Parameters
    ----------
    plan : Plan
    letters : Letters
    stores : Stores
    gaps : Gaps
    numbers : dict
        What ``identities`` has numbers for: with the same dictionary they can be compared between programs.
    """

    def __init__(
        self, plan: Plan, letters: Letters, stores: Stores, gaps: Gaps, numbers: dict[Hashable, int]
    ):
        self.plan, self._letters, self._stores, self._numbers = plan, letters, stores, numbers
        self._gaps = gaps
        tiling = plan.tiling
        self._group_places = kept(gaps.groups, tuple(range(len(tiling.groups))))
        groups = tuple(
            replace(tiling.groups[place], blocks=kept(gaps.blocks.get(place), tiling.groups[place].blocks))
            for place in self._group_places
        )
        self.tiling = replace(tiling, groups=groups, m_tiles=kept(gaps.m_tiles, tiling.m_tiles))
        self.steps = plan.steps(self.tiling)
        self.results = self._replace_stores()

    def _replace_stores(self) -> list[Result]:
        """STOREs before whom some are left out become the slowest that they stand for."""
        places = iter([i for i, step in enumerate(self.steps) if step.opcode is Opcode.STORE])
        results = []
        for m, tile in enumerate(self.tiling.m_tiles):
            for g, group in enumerate(self.tiling.groups):
                for part, rows in enumerate(tile.parts(group.rows)):
                    place = next(places)
                    alike = self._alike(m, g, part) or [self._output(group, rows)]
                    times = [self._stores(fields).finished for fields in alike]
                    slowest = alike[times.index(max(times))]
                    self.steps[place].fields.update(slowest)
                    results.append(Result(place, m, g, min(times) < max(times), max(times)))
        return results

    def _alike(self, m: int, g: int, part: int) -> list[dict[str, int]]:
        """What the STOREs write that part ``part`` of group ``g`` of M tile ``m`` stands for."""
        tiling = self.plan.tiling
        letters = self._letters
        tiles, groups = [self.tiling.m_tiles[m]], [self._group_places[g]]
        if self._gaps.m_tiles and m < self._gaps.m_tiles.first:
            same = letters.m_tiles[m]
            tiles = [
                tile for tile, letter in zip(tiling.m_tiles, letters.m_tiles, strict=True) if letter == same
            ]
        if self._gaps.groups and g < self._gaps.groups.first and self.tiling.groups[g].rows is Rows.WHOLE:
            same = letters.groups[g]
            groups = [place for place, letter in enumerate(letters.groups) if letter == same]
        return [
            self._output(tiling.groups[place], tile.parts(tiling.groups[place].rows)[part])
            for tile in tiles
            for place in groups
        ]

    @property
    def store_beats(self) -> int:
        """Of all STOREs, those that are left out included."""
        tiling = self.plan.tiling
        return sum(
            self._stores(self._output(group, rows)).beats
            for tile in tiling.m_tiles
            for group in tiling.groups
            for rows in tile.parts(group.rows)
        )

    def _output(self, group: Group, rows: tuple[int, int]) -> dict[str, int]:
        return output_part(self.plan.design, self.plan.gemm, self.plan.memory, group, rows)

    @cached_property
    def cuts(self) -> list[Cut]:
        """Those within a group first, those between M tiles last."""
        gaps, count = self._gaps, len(self.tiling.groups)
        found = self._block_cuts()
        ends = {(result.m_tile, result.group): result.place + 1 for result in self.results}
        if gaps.groups:
            for m in range(len(self.tiling.m_tiles)):
                at, before = (ends[m, gaps.groups.first - 1 - back] for back in (0, gaps.groups.period))
                found.append(Cut("groups", at, at - before, gaps.groups.repeats))
        if gaps.m_tiles:
            at, before = (ends[gaps.m_tiles.first - 1 - back, count - 1] for back in (0, gaps.m_tiles.period))
            found.append(Cut("m_tiles", at, at - before, gaps.m_tiles.repeats))
        return found

    def _block_cuts(self) -> list[Cut]:
        executes = [i + 1 for i, step in enumerate(self.steps) if step.opcode is Opcode.EXECUTE]
        found, place = list[Cut](), 0
        for tile in self.tiling.m_tiles:
            for number, group in zip(self._group_places, self.tiling.groups, strict=True):
                one = self._gaps.blocks.get(number)
                for _ in tile.parts(group.rows):
                    for chunk in self.tiling.chunks:
                        if one:
                            last = place + one.first * len(chunk) - 1
                            at, before = executes[last], executes[last - one.period * len(chunk)]
                            found.append(Cut("blocks", at, at - before, one.repeats, number))
                        place += len(group.blocks) * len(chunk)
        return found

    @cached_property
    def identities(self) -> list[int]:
        """A number for each instruction; equal ones take equally long at equal times, and use equal places on the chip."""
        numbers = self._numbers
        return [numbers.setdefault(self._identity(step), len(numbers)) for step in self.steps]

    def _identity(self, step: Step) -> Hashable:
        fields = dict(step.fields)
        address, stride = fields.pop("memory_address", 0), fields.pop("memory_stride", 0)
        fields.pop("accumulators_address", None)
        roomy = self._roomy
        bus: Hashable = None
        if step.opcode is Opcode.LOAD:
            bytes_, rows = fields["row_bytes"], fields["rows"]
            bus = tuple([self._letters.split(address + row * stride, bytes_) for row in range(rows)])
            if fields["variant"] in roomy:
                fields.pop("local_address")
        elif step.opcode is Opcode.STORE:
            bus = self._stores({**step.fields}).finished
            if Destination.PARAMETERS in roomy:
                fields.pop("parameters_address")
        elif step.opcode is Opcode.EXECUTE:
            if Destination.WEIGHTS in roomy:
                fields.pop("weights_address")
            if Destination.ACTIVATIONS in roomy:
                fields.pop("activations_address")
        return step.opcode, tuple(fields.items()), bus

    @cached_property
    def _rooms(self) -> dict[Destination, set[int]]:
        """Beats that LOADs of each kind take."""
        found: dict[Destination, set[int]] = {kind: set() for kind in Destination}
        for step in self.steps:
            if step.opcode is Opcode.LOAD:
                fields = step.fields
                beats = ceil_div(fields["row_bytes"], self.plan.design.data_bytes)
                room = (fields["rows"] - 1) * fields.get("local_stride", 0) + beats
                found[Destination(fields["variant"])].add(room)
        return found

    @cached_property
    def _places(self) -> dict[Destination, int]:
        """How many of the longest LOADs of a kind find room at once."""
        d = self.plan.design
        beats = {
            Destination.ACTIVATIONS: d.activation_beats,
            Destination.WEIGHTS: d.weight_beats,
            Destination.PARAMETERS: d.parameter_beats,
        }
        return {kind: beats[kind] // max(self._rooms[kind], default=1) for kind in Destination}

    @cached_property
    def _roomy(self) -> set[Destination]:
        """Scratchpads in which it does not matter where something lies.

        Either all LOADs take the same room: then what lies in the place of a new one is always as many LOADs old as there
        are places. Or there is so much room that it is older than the LOAD that is waited for anyway, ``AHEAD`` before.
        """
        return {
            kind for kind, places in self._places.items() if places >= ROOMY or len(self._rooms[kind]) <= 1
        }

    @cached_property
    def _loads(self) -> dict[Destination, list[int]]:
        """Places of the LOADs of each kind."""
        found: dict[Destination, list[int]] = {kind: [] for kind in Destination}
        for place, step in enumerate(self.steps):
            if step.opcode is Opcode.LOAD:
                found[Destination(step.fields["variant"])].append(place)
        return found

    def same(self, cut: Cut, window: int) -> bool:
        """The ``window`` instructions before ``cut`` are those a period before them, and LOADs wait as they will for ever.

        That is so for LOADs behind as many of their kind as find room, or ``AHEAD`` if that is less.
        """
        ids, at = self.identities, cut.at
        start = at - window - cut.period
        if start < 0 or ids[start : at - cut.period] != ids[at - window : at]:
            return False
        return all(
            bisect_left(places, start) >= min(self._places[kind], AHEAD) + 2
            for kind, places in self._loads.items()
            if bisect_left(places, at - cut.period) < bisect_left(places, at)
        )
