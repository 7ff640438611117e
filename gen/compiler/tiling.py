"""How a GEMM is cut to fit: M tiles, groups of features, chunks of K, and the weight blocks that the bus brings.

Three levels. An **M tile** is the rows whose activations lie in the scratchpad together; it is worked through for all
features before the next one. A **group** is the column tiles whose results leave in one STORE. A **weight block** is
what one LOAD brings and one EXECUTE takes. When not even one row tile fits with the whole of K, the activations come in
**chunks** of K as well, which add up in the accumulators.
"""

from __future__ import annotations

import enum
import math
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise

from gen.errors import RequestError
from gen.families.contract import Family
from hw.control.isa import INSTRUCTION_BYTES, PARAMETER_BYTES, OutputMode
from hw.design import Design, Geometry, ceil_div
from sim.families.contract import ArrayModel

RING_BLOCKS = 3
"""Weight blocks that the scratchpad should hold: one in use, one ready, one on its way."""
MOST_PIECES = 8
"""Parts of an M tile that are loaded, and in the first and last group also computed, one after the other."""
MOST_SHARED = 4
"""Weight blocks that may be kept for several EXECUTEs."""

BLOCK_INSTRUCTIONS = 2
"""A weight block takes a LOAD and an EXECUTE."""
MANY_ROWS = 64
"""Row tiles that are enough for the array not to wait for weights; an estimate."""
STORE_ROW = 4
"""Cycles that STORE takes for a row at least; an estimate."""

FIELD_16 = (1 << 16) - 1
FIELD_24 = (1 << 24) - 1

Span = tuple[int, int]
"""First and one past the last."""


class DoesNotFit(RequestError, ValueError):
    """A GEMM cannot be made to fit: the text names the size that is too small and the least that would do."""


@dataclass(frozen=True)
class Gemm:
    """Y[M, N] = X[M, K] · W[K, N], the formats of X and W, and what is written of each result."""

    M: int
    K: int
    N: int
    mode: OutputMode
    variant: int = 0
    """The pair of formats: EXECUTE's."""


class Rows(enum.Enum):
    """In what parts a group is computed and stored, M tile by M tile."""

    WHOLE = "all rows at once"
    PIECES = "piece by piece, as the activations come"
    TAIL = "in parts that become smaller, so that little is left to store at the end"


@dataclass(frozen=True)
class Group:
    """Column tiles whose results share a half of the accumulators until a STORE fetches them."""

    tiles: Span
    blocks: tuple[Span, ...]
    """Its column tiles, weight block by weight block."""
    rows: Rows
    """With parts of the rows, its weight blocks stay until the last part is done."""


@dataclass(frozen=True)
class MTile:
    """An M tile's row tiles."""

    pieces: tuple[Span, ...]
    """The parts that are loaded one by one."""
    tail: tuple[Span, ...]
    """The parts in which the last group is computed and stored."""

    @property
    def whole(self) -> Span:
        """All of it."""
        return self.pieces[0][0], self.pieces[-1][1]

    def parts(self, rows: Rows) -> tuple[Span, ...]:
        """The parts in which a group is computed and stored."""
        return {Rows.WHOLE: (self.whole,), Rows.PIECES: self.pieces, Rows.TAIL: self.tail}[rows]


@dataclass(frozen=True)
class Tiling:
    """Everything that was chosen; spans are in row tiles, column tiles and steps of K."""

    m_tiles: tuple[MTile, ...]
    chunks: tuple[tuple[Span, ...], ...]
    """Chunks of K, each with the parts in which its weights come. One chunk: activations are loaded once per M tile."""
    groups: tuple[Group, ...]
    weights_stay: bool
    """All weights fit at once and are loaded once."""
    parameters_stay: bool
    """So for the parameters."""


def split(total: int, parts: int, unit: int = 1, first: int = 0) -> tuple[Span, ...]:
    """``total`` in at most ``parts`` spans of nearly the same length, all but the last a multiple of ``unit``."""
    units = ceil_div(total, unit)
    parts = min(parts, units)
    edges = [first + min(total, (units * i // parts) * unit) for i in range(parts + 1)]
    return tuple(pairwise(edges))


def row_words(geometry: Geometry, model: ArrayModel, variant: int, steps: int) -> int:
    """Activation words of ``steps`` of K of a row: to the end of the last tile, since EXECUTE reads whole tiles."""
    depth = ceil_div(steps, geometry.tile_depth) * geometry.tile_depth
    return ceil_div(model.activation_bytes(variant, depth), geometry.activation_bytes)


class Tiler:
    """Finds the tiling of ``gemm`` that a simple estimate of the time says is best.

    Raises
    ------
    DoesNotFit
        When there is none.
    """

    def __init__(self, design: Design, family: Family, gemm: Gemm):
        self.design, self.family, self.gemm = design, family, gemm
        g = self.geometry = design.geometry
        self.row_tiles = ceil_div(gemm.M, g.tile_rows)
        self.column_tiles = ceil_div(gemm.N, g.columns)
        self.model = family.model()
        self.granule = family.depth_granule(gemm.variant)
        self.half = design.accumulator_rows // 2
        self._words: dict[int, int] = {}
        self._check_least()

    def words(self, steps: int) -> int:
        """Weight words of a column tile over ``steps`` of K."""
        depth = ceil_div(steps, self.geometry.tile_depth)
        if depth not in self._words:
            self._words[depth] = self.model.weight_words(self.gemm.variant, depth)
        return self._words[depth]

    def row_bytes(self, steps: int) -> int:
        """Bytes of ``steps`` of K of a row of X."""
        return self.model.activation_bytes(self.gemm.variant, steps)

    def activation_words(self, row_tiles: int, steps: int) -> int:
        """Activation words of a part of X. A single row is read by every element row of its tile: its padding takes no space."""
        rows = 1 if self.gemm.M == 1 else row_tiles * self.geometry.tile_rows
        return rows * row_words(self.geometry, self.model, self.gemm.variant, steps)

    def _check_least(self) -> None:
        d, g, least = self.design, self.geometry, min(self.granule, self.gemm.K)
        lines = []
        if self.half < g.accumulator_tile:
            lines.append(
                f"memory.accumulators must be at least {2 * g.accumulator_tile} rows for this array, not {d.accumulator_rows}"
            )
        words = self.activation_words(1, least)
        if d.activation_words < words:
            need, have = words * g.activation_bytes, d.activation_words * g.activation_bytes
            lines.append(f"memory.activations must be at least {need} bytes for this array, not {have}")
        words = self.words(least)
        if d.weight_words < words:
            need, have = words * g.weight_bytes, d.weight_words * g.weight_bytes
            lines.append(f"memory.weights must be at least {need} bytes for this array, not {have}")
        features = min(self.gemm.N, g.columns)
        if self.gemm.mode is OutputMode.REQUANTISED and d.parameter_entries < features:
            lines.append(
                f"memory.parameters must be at least {features} features for this array, not {d.parameter_entries}"
            )
        if lines:
            raise DoesNotFit(*lines)

    # Choice of rows and chunk -----------------------------------------------------------------------------------

    def choose(self) -> Tiling:
        """The best tiling."""
        rows, chunk = min(self._candidates(), key=self._cost)
        spans = split(self.row_tiles, ceil_div(self.row_tiles, rows))
        rows = max(b - a for a, b in spans)
        bus_bound = self._bus_beats(rows, chunk) * 4 > self._array_steps(rows) * 3
        limit = self._block_words(rows, chunk, bus_bound)
        chunks = self._chunks(chunk, limit)
        pieces = min(MOST_PIECES, max(1, rows // self.geometry.weight_words)) if len(chunks) == 1 else 1
        m_tiles = tuple(MTile(split(b - a, pieces, 1, a), self._tail(a, b, len(spans) > 1)) for a, b in spans)
        groups = self._groups(rows, m_tiles[0], chunks, limit, bus_bound)
        return Tiling(
            m_tiles=m_tiles,
            chunks=chunks,
            groups=groups,
            weights_stay=self._all_words(groups, chunks) <= self.design.weight_words,
            parameters_stay=sum(self._entries(b - a) for a, b in (x.tiles for x in groups))
            <= self.design.parameter_entries,
        )

    def _chunks(self, chunk: int, limit: int) -> tuple[tuple[Span, ...], ...]:
        """Chunks of K of about ``chunk`` steps, each cut to weight blocks of at most ``limit`` words."""
        chunks = split(self.gemm.K, ceil_div(self.gemm.K, chunk), self.granule)
        granules = range(1, ceil_div(self.gemm.K, self.granule) + 1)
        longest = max(1, bisect_right(granules, limit, key=self._granule_words)) * self.granule
        return tuple(split(b - a, ceil_div(b - a, longest), self.granule, a) for a, b in chunks)

    def _candidates(self) -> list[tuple[int, int]]:
        """Row tiles of an M tile and steps of a chunk, most rows first."""
        d, g, K = self.design, self.geometry, self.gemm.K
        most = min(self.row_tiles, self.half // g.accumulator_tile, FIELD_16 // g.tile_rows)
        found = []
        whole = min(most, d.activation_words // self.activation_words(1, K))
        if whole and self._chunk_allowed(K):
            found.append((whole, K))
        for rows in sorted({most, *(1 << i for i in range(most.bit_length()))}, reverse=True):
            # Two chunks should fit, so that one is loaded while the other is used; one must.
            room = max(d.activation_words // 2, self.activation_words(1, self.granule))
            granules = room // self.activation_words(rows, self.granule) if rows <= most else 0
            chunk = granules * self.granule
            while chunk and not self._chunk_allowed(chunk):
                chunk = max(self.granule, chunk // 2 // self.granule * self.granule)
            if 0 < chunk < K:
                found.append((rows, chunk))
        return found

    def _chunk_allowed(self, steps: int) -> bool:
        """The fields of LOAD and EXECUTE can express a chunk of that length."""
        d, g = self.design, self.geometry
        beats = row_words(g, self.model, self.gemm.variant, steps) * g.activation_bytes // d.data_bytes
        return beats <= FIELD_16 and ceil_div(steps, g.tile_depth) <= FIELD_24

    def _cost(self, candidate: tuple[int, int]) -> tuple[int, int]:
        """Estimated cycles, then bus beats. The slowest of array, bus and STORE counts; the others hide behind it."""
        rows, chunk = candidate
        array, bus = self._array_steps(rows), self._bus_beats(rows, chunk)
        store = self.gemm.M * self.gemm.N // self.design.output_lanes
        return max(array, bus, store), bus

    def _array_steps(self, rows: int) -> int:
        """Cycles of the array for the whole GEMM."""
        return self._tile_cycles(rows) * ceil_div(self.row_tiles, rows) * self.column_tiles

    def _tile_cycles(self, rows: int) -> int:
        """Cycles of a column tile over the whole of K."""
        depth = ceil_div(self.gemm.K, self.geometry.tile_depth)
        return self.model.tile_cycles(self.gemm.variant, rows, depth)

    def _bus_beats(self, rows: int, chunk: int) -> int:
        beat, gemm = self.design.data_bytes, self.gemm
        loads = 1 if chunk >= gemm.K else ceil_div(self.column_tiles, self._most_tiles(rows))
        weights = (
            self.column_tiles
            * self.words(gemm.K)
            * self.geometry.weight_bytes
            * ceil_div(self.row_tiles, rows)
        )
        return (weights + loads * gemm.M * self.row_bytes(gemm.K)) // beat

    # Choice of groups and blocks --------------------------------------------------------------------------------

    def _granule_words(self, granules: int) -> int:
        return self._slot(self.words(granules * self.granule))

    def _slot(self, words: int) -> int:
        """``words`` up to whole bus beats: the room of a block in the scratchpad."""
        unit = max(1, self.design.data_bytes // self.geometry.weight_bytes)
        return ceil_div(words, unit) * unit

    def _block_words(self, rows: int, chunk: int, bus_bound: bool) -> int:
        """Words that a weight block may have.

        A third of the scratchpad. When the bus is the limit, a column tile is cut along K rather than be larger than
        what balances two losses: instructions, and at the end the array, which lags behind the bus by as long as it takes
        for a block: no longer than the bus.
        """
        d, g = self.design, self.geometry
        tile, least = (self._slot(self.words(min(steps, self.gemm.K))) for steps in (chunk, self.granule))
        limit = min(max(d.weight_words // RING_BLOCKS, least), FIELD_24 // g.weight_bytes - 1)
        if bus_bound:
            beats, cycles = self._bus_beats(rows, chunk), self._array_steps(rows)
            instructions = BLOCK_INSTRUCTIONS * INSTRUCTION_BYTES
            beats = math.isqrt(beats * beats * instructions // (d.data_bytes * min(beats, cycles)))
            if beats * d.data_bytes // g.weight_bytes < tile:
                limit = min(limit, max(least, beats * d.data_bytes // g.weight_bytes))
        return limit

    def _most_tiles(self, rows: int) -> int:
        """Column tiles that a group may have."""
        g, d = self.geometry, self.design
        most = min(self.half // (rows * g.accumulator_tile), FIELD_16 // g.columns)
        if (
            self.gemm.mode is OutputMode.REQUANTISED
            and self._entries(self.column_tiles) > d.parameter_entries
        ):
            # Two groups' parameters, so that one is loaded while the other is used.
            while most > 1 and self._entries(most) > d.parameter_entries // 2:
                most -= 1
        return most

    def _entries(self, tiles: int) -> int:
        """Parameter entries of the features of that many column tiles, up to whole bus beats and what STORE takes together."""
        unit = max(self.design.output_lanes, self.design.data_bytes // PARAMETER_BYTES)
        return ceil_div(min(tiles * self.geometry.columns, self.gemm.N), unit) * unit

    def _row_cycles(self) -> tuple[int, int]:
        """Cycles that a row tile of a column tile takes in the array and in STORE."""
        g = self.geometry
        stored = min(self.gemm.M, g.tile_rows) * max(ceil_div(g.columns, self.design.output_lanes), STORE_ROW)
        return max(1, self._tile_cycles(MANY_ROWS) // MANY_ROWS), stored

    def _tail(self, first: int, last: int, several: bool) -> tuple[Span, ...]:
        """The last group's parts of row tiles ``first`` to ``last``: each one's STORE hides behind the next one's EXECUTE.

        With several M tiles no part is longer than a quarter, so that the next one's activations can come early.
        """
        array, store = self._row_cycles()
        most = ceil_div(last - first, 4) if several else last - first
        edges, length = [last], float(self.geometry.weight_words)
        while edges[-1] > first and len(edges) < MOST_PIECES and array > store:
            edges.append(max(first, edges[-1] - min(most, int(length))))
            length *= array / store
        if edges[-1] > first:
            edges.append(first)
        return tuple((b, a) for a, b in pairwise(edges))[::-1]

    def _groups(
        self, rows: int, m_tile: MTile, chunks: tuple[tuple[Span, ...], ...], limit: int, bus_bound: bool
    ) -> tuple[Group, ...]:
        """The first and the last group are small and, if they can be, worked through by parts of the M tile.

        So the array starts when the first piece is there, and what is left to store at the end is short.
        """
        C, most = self.column_tiles, self._most_tiles(rows)
        tile_words = sum(self._slot(self.words(b - a)) for a, b in chunks[0])
        room = self.design.weight_words * (RING_BLOCKS - 1) // RING_BLOCKS
        shared = min(room // tile_words, MOST_SHARED // len(chunks[0])) if len(chunks) == 1 else 0
        first = min(2, shared, most, max(1, C - 1)) if len(m_tile.pieces) > 1 else 0
        last = int(C > 1 and len(chunks) == 1)
        between = C - first - last
        middle = self._middle_tiles(rows, m_tile, most) if last else most
        spans = [(0, first)] if first else []
        spans += split(between, ceil_div(between, middle), 1, first) if between else []
        spans += [(C - last, C)] if last else []
        groups = []
        for a, b in spans:
            order = Rows.WHOLE
            if b == first:
                order = Rows.PIECES
            elif b == C and last and shared:
                order = Rows.TAIL
            blocks = (
                split(b - a, b - a, 1, a)
                if order is Rows.PIECES
                else self._column_blocks(a, b, chunks, limit, bus_bound)
            )
            groups.append(Group((a, b), blocks, order))
        return tuple(groups)

    def _column_blocks(
        self, first: int, last: int, chunks: tuple[tuple[Span, ...], ...], limit: int, bus_bound: bool
    ) -> tuple[Span, ...]:
        """Column tiles ``first`` to ``last``, weight block by weight block.

        Long blocks take fewer instructions, but the array lags behind the bus by the length of a block. When the bus is
        the limit, the array catches up by the beats that instructions take; so blocks become shorter towards the end as
        it does.
        """
        if any(len(chunk) > 1 for chunk in chunks):
            return split(last - first, last - first, 1, first)
        d, steps = self.design, chunks[0][0][1]
        most = max(1, limit // self._slot(self.words(steps)))
        tile = max(1, self.words(steps) * self.geometry.weight_bytes // d.data_bytes)
        saved = 2 * BLOCK_INSTRUCTIONS * INSTRUCTION_BYTES // d.data_bytes
        edges = [last]
        while edges[-1] > first:
            left = (self.column_tiles - edges[-1]) * tile
            best = math.isqrt(tile * tile + saved * left) // tile if bus_bound else most
            edges.append(max(first, edges[-1] - min(most, best)))
        return tuple((b, a) for a, b in pairwise(edges))[::-1]

    def _middle_tiles(self, rows: int, m_tile: MTile, most: int) -> int:
        """Tiles of a group: its STORE should be done when the second part of the last group needs its half."""
        array, store = self._row_cycles()
        part = m_tile.tail[0]
        if store >= array:
            return most
        return max(1, min(most, (part[1] - part[0]) * array // (rows * store)))

    def _all_words(self, groups: tuple[Group, ...], parted: tuple[tuple[Span, ...], ...]) -> int:
        """Words of all weight blocks together."""
        parts = Counter(b - a for chunk in parted for a, b in chunk)
        widths = Counter(d - c for group in groups for c, d in group.blocks)
        return sum(
            many * count * self._slot(width * self.words(steps))
            for width, many in widths.items()
            for steps, count in parts.items()
        )
