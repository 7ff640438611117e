"""The steps of a weight-stationary core: weights of one tile are read while activations of the tile before pass."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2, exact_log2

from hw.array.setup import plan
from hw.design import Design
from hw.interfaces import execute_command


class WeightPhase(wiring.Component):
    """Reads the weights of a tile, and holds them ready until its activations begin.

    Members
    -------
    take : In(1), base : In
        The next cycle reads the first word of a command.
    more : In(1)
        The next cycle reads on: the next tile of the same command.
    go : In(1)
        Activations begin with the weights that are there.
    cut : In(1)
        Drop the weights.
    paired : In(1)
        Each word is read twice, for two rows. ``odd``: for the second. Not there without ``paired_weights``.
    scales : In
        Words of scales behind the weights, up to 2. ``scale``: one of them is being read. Not there without ``scales``.
    soon : Out(1)
        All are read in the next cycle at the latest.
    first : Out(1)
        Word 0 is being read.
    reading : Out(1), address : Out
        Of the weight word; a register, one bit wider than an address.
    """

    def __init__(self, *, rows: int, words: int, paired_weights: bool = False, scales: int = 0) -> None:
        self._rows, self._paired_weights, self._scales = rows, paired_weights, scales
        width = ceil_log2(words)
        super().__init__(
            {
                "take": In(1),
                "base": In(width),
                "more": In(1),
                "go": In(1),
                "cut": In(1),
                "soon": Out(1),
                "first": Out(1),
                "reading": Out(1),
                "address": Out(width + 1),
                **({"paired": In(1), "odd": Out(1)} if paired_weights else {}),
                **({"scales": In(range(scales + 1)), "scale": Out(1)} if scales else {}),
            }
        )

    def elaborate(self, platform):
        m = Module()
        held = Signal()
        # Below zero from the last word but one on.
        left = Signal(range(-3, max(1, self._rows)), init=-1)
        begin, whole, more = self.take | self.more, self.reading, 0
        if self._paired_weights:
            m.d.sync += self.odd.eq(self.reading & ~self.odd & ~begin)
            whole = self.reading & (self.odd | ~self.paired)
        if self._scales:
            # With the first word it is known how many there are.
            more = Mux(self.first, self.scales, 0)
            last = (self.scales == 2) | (self.scales.any() & ~left[0])
            m.d.comb += self.scale.eq(self.reading & left[-1] & last)
            whole = whole | self.scale
        m.d.comb += self.soon.eq(held & left[-1])
        m.d.sync += [
            self.first.eq(begin),
            held.eq((begin | (held & ~self.go)) & ~self.cut),
            self.reading.eq((begin | (self.reading & (left != -2))) & ~self.cut),
        ]
        with m.If(begin):
            m.d.sync += left.eq(self._rows - 3)
        with m.Elif(self.reading):
            m.d.sync += left.eq(left - 1 + more)
        with m.If(self.take):
            m.d.sync += self.address.eq(self.base)
        with m.Elif(whole):
            m.d.sync += self.address.eq(self.address + 1)
        return m


def tile(design: Design, planned: data.StructLayout) -> data.StructLayout:
    """A tile of a command: where it reads and adds up, and its place among the tiles.

    ``activations`` is wide enough to pass the end of the scratchpad once; ``part`` is the part of its words, as many as
    ``planned`` says. ``row`` is the accumulator row within its half, one bit wider. ``adds``: it is the first of a command that
    accumulates.
    """
    geometry = design.geometry
    parts = exact_log2(geometry.activation_bytes // geometry.tile_depth)
    return data.StructLayout(
        {
            "activations": max(16, ceil_log2(design.activation_words)) + 1,
            "part": planned["parts_last"].width if "parts_last" in planned.members else parts,
            "row": ceil_log2(design.accumulator_rows),
            "adds": 1,
            "depth_first": 1,
            "depth_last": 1,
            "column_last": 1,
        }
    )


class Tiles(wiring.Component):
    """The tile whose weights are read: depth tiles within column tiles.

    Members
    -------
    plan : In(plan)
        Of the command that ``take`` begins.
    take, more : In(1)
        The next cycle's tile is the first of the command, the next one.
    current : Out(plan)
        The command.
    tile : Out(tile)
    """

    def __init__(self, *, design: Design, planned: data.StructLayout) -> None:
        self._design = design
        super().__init__(
            {
                "plan": In(planned),
                "take": In(1),
                "more": In(1),
                "current": Out(planned),
                "tile": Out(tile(design, planned)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        current, here, planned = self.current, self.tile, self.plan
        depth_left, columns_left = Signal.like(planned.depth_left), Signal.like(planned.columns_left)
        parts = self._design.geometry.activation_bytes // self._design.geometry.tile_depth
        named = "parts_last" in planned.shape().members
        last_part = here.part == (current.parts_last if named else parts - 1)
        m.d.comb += [here.depth_last.eq(depth_left[-1]), here.column_last.eq(columns_left[-1])]
        with m.If(self.more):
            m.d.sync += [
                here.adds.eq(0),
                here.depth_first.eq(0),
                here.part.eq(here.part + 1),
                depth_left.eq(depth_left - 1),
            ]
            with m.If(last_part):
                m.d.sync += [here.activations.eq(here.activations + 1), here.part.eq(0)]
            with m.If(here.depth_last):
                m.d.sync += [
                    here.row.eq(here.row + current.command.row_tiles),
                    columns_left.eq(columns_left - 1),
                ]
        with m.If(self.take):
            m.d.sync += [
                current.eq(planned),
                columns_left.eq(planned.columns_left),
                here.adds.eq(planned.command.accumulate),
                here.row.eq(planned.command.accumulators_address[:-1]),
            ]
        for begins, source in ((self.more & here.depth_last, current), (self.take, planned)):
            with m.If(begins):
                m.d.sync += [
                    here.activations.eq(source.command.activations_address),
                    here.part.eq(0),
                    here.depth_first.eq(1),
                    depth_left.eq(source.depth_left),
                ]
        return m


def step(design: Design, planned: data.StructLayout, *, variants: bool = False) -> data.StructLayout:
    """A step of the activations, if ``running``: what it reads (see ``tile``) and where its results go.

    ``first`` and ``last`` are those of a tile, ``command_last`` that of a command which is not cut short. ``variant``: of the
    command; not there without ``variants``.
    """
    of_tile = tile(design, planned)
    return data.StructLayout(
        {
            "running": 1,
            "first": 1,
            "last": 1,
            "command_last": 1,
            **{name: of_tile[name].shape for name in ("activations", "part", "row")},
            "half": 1,
            "accumulate": 1,
            **({"variant": execute_command(design)["variant"].shape} if variants else {}),
        }
    )


class ActivationPhase(wiring.Component):
    """Passes the row tiles of a tile, one per cycle.

    Members
    -------
    go : In(1)
        The next cycle is row tile 0 of ``tile`` of the command ``current``.
    stop : In(1)
        The next step is the tile's last.
    halt : In(1)
        Stop at once.
    step : Out(step)
        A register.
    free : Out(1)
        There is no step after the next cycle's, unless ``go``.
    """

    def __init__(self, *, design: Design, planned: data.StructLayout, variants: bool) -> None:
        self._variants = variants
        super().__init__(
            {
                "go": In(1),
                "stop": In(1),
                "halt": In(1),
                "current": In(planned),
                "tile": In(tile(design, planned)),
                "step": Out(step(design, planned, variants=variants)),
                "free": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        command, step = self.current.command, self.step
        stride = Signal.like(command.activations_stride)
        left = Signal.like(self.current.passes_left, init=-1)
        m.d.comb += self.free.eq(left[-1])
        m.d.sync += [
            step.first.eq(self.go),
            step.running.eq((self.go | (step.running & ~step.last)) & ~self.halt),
        ]
        with m.If(self.go):
            m.d.sync += [
                stride.eq(command.activations_stride),
                left.eq(self.current.passes_left),
                step.last.eq(self.current.rows_left[-1]),
                step.command_last.eq(self.tile.depth_last & self.tile.column_last),
                step.activations.eq(self.tile.activations),
                step.part.eq(self.tile.part),
                step.row.eq(self.tile.row),
                step.half.eq(command.accumulators_address[-1]),
                step.accumulate.eq(command.accumulate | ~self.tile.depth_first),
            ]
            if self._variants:
                m.d.sync += step.variant.eq(command.variant)
        with m.Else():
            m.d.sync += [
                left.eq(left - ~left[-1]),
                step.last.eq(step.running & (left[-1] | self.stop)),
                step.activations.eq(step.activations + stride),
                step.row.eq(step.row + 1),
            ]
        with m.If(self.halt | self.stop):
            m.d.sync += left.eq(-1)
        return m


class WeightSequencer(wiring.Component):
    """Both phases: weights of tile i from the first activations of tile i - 1 on, activations when all its weights are there.

    Parameters
    ----------
    design : Design
    planned : StructLayout
        Of ``Setup``'s ``plan``; ``plan(design)`` if it is not given.
    variants : bool
        Whether steps have their command's ``variant``.

    Members
    -------
    plan : In(stream of ``plan``)
    stop : In(1)
        End the command with the next step.
    halt : In(1)
        Stop at once.
    weight_reading, weight_first, weight_address : Out
        A weight word is read; it is a tile's first; which. Of ``WeightPhase``, as are ``weight_odd`` and ``weight_scale``, which
        are there if the plan has ``paired`` and ``scales``.
    weight_variant : Out
        Of the command whose weights are read; not there without ``variants``.
    waiting : Out(1)
        A tile's weights are there or on their way, and its activations have not begun.
    step : Out(step(design))
        Of ``ActivationPhase``.
    ends : Out(1)
        The step is the last of its command. ``cut``: and of its command's next tile the weights are dropped.

    Timing
    ------
    With S the cycle of a tile's first weight word, and T of its first activations: T is S + rows (or 2) at least, or as many more
    as there are words of scales. T is at least the number of row tiles, and ``Geometry.accumulate + 1``, from the T before it; in
    the first tile of an accumulating command ``Geometry.accumulate`` cycles more than the row tiles. S is as early as the T of
    the tile before.
    """

    def __init__(
        self, *, design: Design, planned: data.StructLayout | None = None, variants: bool = False
    ) -> None:
        self._design, self._variants = design, variants
        self._planned = planned = plan(design) if planned is None else planned
        self._paired_weights = "paired" in planned.members
        self._scales = 2 if "scales" in planned.members else 0
        words = design.weight_words
        variant = execute_command(design)["variant"].shape
        super().__init__(
            {
                "plan": In(stream.Signature(planned)),
                "stop": In(1),
                "halt": In(1),
                "ends": Out(1),
                "cut": Out(1),
                "waiting": Out(1),
                "weight_reading": Out(1),
                "weight_first": Out(1),
                "weight_address": Out(ceil_log2(words) + 1),
                "step": Out(step(design, planned, variants=variants)),
                **({"weight_odd": Out(1)} if self._paired_weights else {}),
                **({"weight_scale": Out(1)} if self._scales else {}),
                **({"weight_variant": Out(variant)} if variants else {}),
            }
        )

    def elaborate(self, platform):
        m = Module()
        design = self._design
        m.submodules.weight_phase = weights = WeightPhase(
            rows=design.geometry.tile_depth,
            words=design.weight_words,
            paired_weights=self._paired_weights,
            scales=self._scales,
        )
        m.submodules.tiles = tiles = Tiles(design=design, planned=self._planned)
        m.submodules.activation_phase = phase = ActivationPhase(
            design=design, planned=self._planned, variants=self._variants
        )
        if self._paired_weights:
            m.d.comb += [
                weights.paired.eq(tiles.current.paired),
                self.weight_odd.eq(weights.odd),
            ]
        if self._scales:
            m.d.comb += [weights.scales.eq(tiles.current.scales), self.weight_scale.eq(weights.scale)]
        if self._variants:
            m.d.comb += self.weight_variant.eq(tiles.current.command.variant)
        steps = phase.step
        go, more, take, tile_last, step_last = (Signal() for _ in range(5))
        goes, takes, vacates, vacant = Signal(), Signal(), Signal(), Signal(init=1)
        # A row must be in the accumulators before it is added to: tiles keep apart, and so do commands if rows may overlap.
        accumulate = design.geometry.accumulate
        spacing, settling = (Signal(range(-1, accumulate), init=-1) for _ in range(2))
        m.d.sync += [spacing.eq(spacing - ~spacing[-1]), settling.eq(settling - ~settling[-1])]
        with m.If(goes):
            m.d.sync += spacing.eq(accumulate - 1)
        with m.If(steps.running):
            m.d.sync += settling.eq(accumulate - 3)
        # What happens is decided in the cycle before: these are registers.
        m.d.sync += [
            vacant.eq((vacates & ~takes) | self.cut | self.halt),
            go.eq(goes & ~self.halt),
            more.eq(goes & ~tile_last & ~self.halt),
            take.eq(takes & ~self.halt),
        ]
        m.d.comb += [
            goes.eq(weights.soon & phase.free & spacing[-1] & (settling[-1] | ~tiles.tile.adds) & ~self.cut),
            vacates.eq(vacant | (goes & tile_last)),
            takes.eq(self.plan.valid & vacates),
            step_last.eq(steps.running & steps.last),
            tile_last.eq(tiles.tile.depth_last & tiles.tile.column_last),
            self.ends.eq(step_last & (steps.command_last | (self.stop & ~go))),
            self.cut.eq(step_last & ~steps.command_last & self.stop & ~go),
            self.plan.ready.eq(take),
            weights.take.eq(take),
            weights.base.eq(self.plan.payload.command.weights_address),
            weights.more.eq(more),
            weights.go.eq(go),
            weights.cut.eq(self.cut | self.halt),
            tiles.plan.eq(self.plan.payload),
            tiles.take.eq(weights.take),
            tiles.more.eq(more),
            phase.go.eq(go),
            phase.stop.eq(self.stop),
            phase.halt.eq(self.halt),
            phase.current.eq(tiles.current),
            phase.tile.eq(tiles.tile),
            self.step.eq(steps),
            self.waiting.eq(~vacant | go),
            self.weight_reading.eq(weights.reading),
            self.weight_first.eq(weights.first),
            self.weight_address.eq(weights.address),
        ]
        return m
