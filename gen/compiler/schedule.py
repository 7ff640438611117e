"""From a tiling to the three queues' instructions, with what each must wait for.

EXECUTEs and STOREs follow from the tiling. LOADs follow from what EXECUTEs and STOREs need, in the order in which they need it;
places in the scratchpads are then given in LOAD order, round about, and a LOAD must wait for the last user of what
lies in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

from gen.compiler.layout import MemoryMap
from gen.compiler.tiling import FIELD_24, Gemm, Group, MTile, Rows, Span, Tiling, row_words
from gen.families.contract import Family
from hw.control.isa import PARAMETER_BYTES, Destination, Opcode, OutputMode
from hw.design import Design, ceil_div

AHEAD = 10
"""LOADs of a kind that may have ended before the first user of the oldest has started: keeps tokens far from overflow."""

Key = Hashable


@dataclass(slots=True)
class Step:
    """An instruction to be: its fields but for the tokens, and the steps of other queues that must have ended."""

    opcode: Opcode
    fields: dict[str, int]
    after: list[Step] = field(default_factory=list)
    index: int = -1
    """Place among those of its opcode."""


@dataclass
class Place:
    """Room in a scratchpad that one or several LOADs fill; ``beat`` is where it starts, once known."""

    beats: int
    beat: int = -1
    patches: list[Callable[[int], None]] = field(default_factory=list)
    """Called with ``beat``, to complete the addresses of its users."""


@dataclass
class Fill:
    """A LOAD while it is being planned."""

    destination: Destination
    place: Place
    offset: int
    """Beat at which it starts, within its ``place``."""
    beats: int
    """Room that it takes."""
    fields: dict[str, int]
    position: int
    """EXECUTE before which it is wanted."""
    users: list[Step] = field(default_factory=list)


@dataclass(frozen=True)
class Queues:
    """The steps of the three queues, each in order.

    ``settings`` go before all ``executes``; ``wanted[i]`` is the EXECUTE before which LOAD i should be there.
    """

    settings: list[Step]
    loads: list[Step]
    executes: list[Step]
    stores: list[Step]
    wanted: list[int]


class Scratchpad:
    """Gives room round about, and tells who has to be through with what lay there."""

    def __init__(self, beats: int, unit: int):
        self._beats, self._unit, self._next = beats, unit, 0
        self._living: list[tuple[int, int, Step]] = []

    def room(self, beats: int) -> int:
        """First beat of the next ``beats`` that do not cross the end, on a word's edge."""
        start = ceil_div(self._next, self._unit) * self._unit
        if start + beats > self._beats:
            start = 0
        if beats > self._beats:
            raise AssertionError(f"a block of {beats} beats in a scratchpad of {self._beats}")
        self._next = start + beats
        return start

    def claim(self, start: int, end: int, last: Step) -> Step | None:
        """Take beats ``start`` to ``end`` until step ``last`` has ended; the step that must have ended before."""
        old = [user for a, b, user in self._living if a < end and start < b]
        keep = []
        for a, b, user in self._living:
            keep += [(x, y, user) for x, y in ((a, min(b, start)), (max(a, end), b)) if x < y]
        self._living = [*keep, (start, end, last)]
        return max(old, key=lambda step: step.index, default=None)


def output_part(design: Design, gemm: Gemm, memory: MemoryMap, group: Group, rows: Span) -> dict[str, int]:
    """What a STORE writes: the features of ``group`` of the row tiles ``rows``, as the instruction's fields."""
    g, size = design.geometry, design.geometry.result_bytes(gemm.mode)
    first, last = group.tiles[0] * g.columns, min(group.tiles[1] * g.columns, gemm.N)
    m, last_m = rows[0] * g.tile_rows, min(rows[1] * g.tile_rows, gemm.M)
    return {
        "memory_address": memory.regions["output"][0] + (m * gemm.N + first) * size,
        "memory_stride": gemm.N * size,
        "rows": last_m - m,
        "columns": last - first,
    }


class Scheduler:
    """Builds the queues of one GEMM; ``block_address`` says where in memory a weight block lies."""

    def __init__(
        self,
        design: Design,
        family: Family,
        gemm: Gemm,
        tiling: Tiling,
        memory: MemoryMap,
        block_address: dict[tuple[Span, Span], tuple[int, int]],
    ):
        self._design, self._gemm, self._tiling = design, gemm, tiling
        self._model = family.model()
        self._settings = [
            Step(Opcode.CONFIGURE, {"setting": setting, "value": value})
            for setting, value in family.settings(gemm.variant)
        ]
        self._memory, self._blocks = memory, block_address
        self._beat = design.data_bytes
        self._executes: list[Step] = []
        self._stores: list[Step] = []
        self._places: dict[Key, Place] = {}
        self._fills: dict[Key, Fill] = {}

    def build(self) -> Queues:
        """All steps."""
        for tile in self._tiling.m_tiles:
            for group in self._tiling.groups:
                for rows in tile.parts(group.rows):
                    self._result(tile, group, rows)
        order = sorted(self._fills.values(), key=lambda fill: fill.position)
        return Queues(
            settings=self._settings,
            loads=self._place_loads(order),
            executes=self._executes,
            stores=self._stores,
            wanted=[fill.position for fill in order],
        )

    # EXECUTE and STORE ------------------------------------------------------------------------------------------

    def _result(self, tile: MTile, group: Group, rows: Span) -> None:
        """The EXECUTEs and the STORE of the features of ``group`` for ``rows`` of an M tile."""
        g, gemm, d = self._design.geometry, self._gemm, self._design
        half = (len(self._stores) % 2) * (d.accumulator_rows // 2)
        height = (rows[1] - rows[0]) * g.tile_rows
        store = Step(Opcode.STORE, {})
        # The half was last used by the STORE before the last one.
        free = self._stores[-2:-1]
        for chunk in self._tiling.chunks:
            for columns in group.blocks:
                for part in chunk:
                    fields = {
                        "variant": gemm.variant,
                        "accumulators_address": half + (columns[0] - group.tiles[0]) * g.spread * height,
                        "row_tiles": rows[1] - rows[0],
                        "column_tiles": columns[1] - columns[0],
                        "depth_tiles": ceil_div(part[1] - part[0], g.tile_depth),
                        "accumulate": int(part[0] > 0),
                    }
                    step = Step(Opcode.EXECUTE, fields, list(free), len(self._executes))
                    self._executes.append(step)
                    self._use_activations(step, tile, group, rows, (chunk[0][0], chunk[-1][1]), part[0])
                    self._use_weights(step, tile, group, columns, part)
        store.index = len(self._stores)
        store.after = [self._executes[-1]]
        output = output_part(self._design, gemm, self._memory, group, rows)
        store.fields = {
            **output,
            "variant": int(gemm.mode),
            "accumulators_address": half,
            "accumulators_stride": height,
            "parameters_address": 0,
        }
        self._stores.append(store)
        if gemm.mode is OutputMode.REQUANTISED:
            self._use_parameters(store, tile, group, group.tiles[0] * g.columns, output["columns"])

    # What they need ---------------------------------------------------------------------------------------------

    def _use(self, user: Step, key: Key, make: Callable[[], Fill], patch: Callable[[int], None]) -> None:
        """``user`` needs what is loaded as ``key``; the LOAD is planned when it is wanted for the first time."""
        if key not in self._fills:
            self._fills[key] = make()
        fill = self._fills[key]
        fill.users.append(user)
        fill.place.patches.append(patch)

    def _use_activations(self, step: Step, tile: MTile, group: Group, rows: Span, span: Span, k: int) -> None:
        """``step`` takes ``rows`` of an M tile, from step ``k`` on, of which ``span`` of K is loaded."""
        g = self._design.geometry
        width = g.activation_bytes
        words = row_words(g, self._model, self._gemm.variant, span[1] - span[0])
        stride = words * width // self._beat
        inside = (rows[0] - tile.whole[0]) * g.tile_rows * words + self._row_bytes((span[0], k)) // width
        step.fields["activations_stride"] = 0 if self._gemm.M == 1 else words

        def lines(rows: Span) -> int:
            # The one row of M = 1 is read with stride 0: its tile's padding takes no room.
            return 1 if self._gemm.M == 1 else (rows[1] - rows[0]) * g.tile_rows

        def patch(beat: int) -> None:
            step.fields["activations_address"] = beat * self._beat // width + inside

        visit: tuple[Key, ...] = (tile,) if len(self._tiling.chunks) == 1 else (tile, group.tiles, span)
        place = self._places.setdefault(visit, Place(lines(tile.whole) * stride))
        for piece in tile.pieces:
            if piece[0] < rows[1] and rows[0] < piece[1]:
                offset = (piece[0] - tile.whole[0]) * g.tile_rows * stride

                def make(piece: Span = piece, offset: int = offset) -> Fill:
                    fields = self._activation_fields(piece, span, stride)
                    return Fill(
                        Destination.ACTIVATIONS, place, offset, lines(piece) * stride, fields, step.index
                    )

                self._use(step, (Destination.ACTIVATIONS, *visit, piece), make, patch)

    def _row_bytes(self, span: Span) -> int:
        """Bytes of a row of X that are ``span`` of K, which begins at a multiple of the granule."""
        first, last = (self._model.activation_bytes(self._gemm.variant, k) for k in span)
        return last - first

    def _activation_fields(self, piece: Span, span: Span, stride: int) -> dict[str, int]:
        """A LOAD of the rows of ``piece``, steps ``span`` of K."""
        gemm, g = self._gemm, self._design.geometry
        first, last = piece[0] * g.tile_rows, min(piece[1] * g.tile_rows, gemm.M)
        row, before = self._row_bytes((0, gemm.K)), self._row_bytes((0, span[0]))
        fields = {
            "variant": int(Destination.ACTIVATIONS),
            "memory_address": self._memory.regions["activations"][0] + first * row + before,
            "memory_stride": row,
            "row_bytes": self._row_bytes(span),
            "rows": last - first,
            "local_stride": stride,
        }
        total = (last - first) * row
        if stride * self._beat == row and total <= FIELD_24:
            # Rows without padding between them are one row: longer bursts.
            fields |= {"row_bytes": total, "rows": 1, "memory_stride": 0, "local_stride": 0}
        return fields

    def _use_weights(self, step: Step, tile: MTile, group: Group, columns: Span, part: Span) -> None:
        """``step`` takes a weight block; one that stays, or stays for a group's pieces, is loaded once."""
        width = self._design.geometry.weight_bytes
        address, size = self._blocks[columns, part]
        if self._tiling.weights_stay:
            visit: Key = None
        else:
            visit = ("tile", tile) if group.rows is not Rows.WHOLE else ("step", step.index)

        def make() -> Fill:
            fields = {
                "variant": int(Destination.WEIGHTS),
                "memory_address": address,
                "row_bytes": size,
                "rows": 1,
            }
            unit = max(self._beat, width)
            place = Place(ceil_div(size, unit) * unit // self._beat)
            return Fill(Destination.WEIGHTS, place, 0, place.beats, fields, step.index)

        def patch(beat: int) -> None:
            step.fields["weights_address"] = beat * self._beat // width

        self._use(step, (Destination.WEIGHTS, visit, columns, part), make, patch)

    def _use_parameters(self, store: Step, tile: MTile, group: Group, first: int, count: int) -> None:
        """``store`` takes the parameters of ``count`` features; they are loaded behind the operands of the last EXECUTE."""
        visit = None if self._tiling.parameters_stay else tile
        size = count * PARAMETER_BYTES

        def make() -> Fill:
            address = self._memory.regions["parameters"][0] + first * PARAMETER_BYTES
            fields = {
                "variant": int(Destination.PARAMETERS),
                "memory_address": address,
                "row_bytes": size,
                "rows": 1,
            }
            place = Place(ceil_div(size, self._beat))
            return Fill(Destination.PARAMETERS, place, 0, place.beats, fields, len(self._executes) - 1)

        def patch(beat: int) -> None:
            store.fields["parameters_address"] = beat * self._beat // PARAMETER_BYTES

        self._use(store, (Destination.PARAMETERS, visit, group.tiles), make, patch)

    # LOAD -------------------------------------------------------------------------------------------------------

    def _place_loads(self, order: list[Fill]) -> list[Step]:
        """Gives every LOAD its place, and everybody what to wait for."""
        d, g, beat = self._design, self._design.geometry, self._beat
        pads = {
            Destination.ACTIVATIONS: Scratchpad(d.activation_beats, g.activation_bytes // beat),
            Destination.WEIGHTS: Scratchpad(d.weight_beats, max(1, g.weight_bytes // beat)),
            Destination.PARAMETERS: Scratchpad(
                d.parameter_beats, max(1, d.output_lanes * PARAMETER_BYTES // beat)
            ),
        }
        before: dict[Destination, list[Fill]] = {kind: [] for kind in Destination}
        loads = []
        for number, fill in enumerate(order):
            pad, place, earlier = pads[fill.destination], fill.place, before[fill.destination]
            if place.beat < 0:
                place.beat = pad.room(place.beats)
                for patch in place.patches:
                    patch(place.beat)
            start = place.beat + fill.offset
            blocker = pad.claim(start, start + fill.beats, max(fill.users, key=lambda step: step.index))
            after = [] if blocker is None else [blocker]
            if len(earlier) >= AHEAD:
                after.append(earlier[-AHEAD].users[0])
            if any(step.index >= fill.users[0].index for step in after):
                raise AssertionError(f"LOAD {number} would wait for its own user")
            load = Step(Opcode.LOAD, {**fill.fields, "local_address": start}, after, number)
            earlier.append(fill)
            loads.append(load)
            for user in fill.users:
                user.after.append(load)
        return loads
