"""The weight-stationary core: EXECUTE commands in, skewed results out."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2, exact_log2

from hw.array.delay import delayed
from hw.array.output_core import DEPTH_BITS, Countdown, set_start
from hw.array.reader import OperandReader
from hw.array.setup import Setup, set_loops
from hw.array.weight_stationary import WeightStationaryArray
from hw.design import Design
from hw.interfaces import core_members
from hw.timing import ACCUMULATE, SELECT, WEIGHT_ELEMENT


class WeightLoader(wiring.Component):
    """Puts the next tile's weights in place while the array works with those it holds.

    Members
    -------
    word : In(1)
        A weight word is there.
    swap : In(1)
        The weights in place are taken in this cycle.
    pull : Out(1), capture : Out(1)
        A word goes to the array; it is its tile's first.
    loaded : Out(1)
        A whole tile is in place: from ``rows`` cycles after its ``capture`` to its ``swap``.
    clear : In(1)

    Timing
    ------
    ``capture`` in the first cycle with ``word`` in which nothing is in place or ``swap`` is; the words after it one per cycle.
    """

    def __init__(self, *, rows: int) -> None:
        self._rows = rows
        super().__init__(
            {
                "word": In(1),
                "swap": In(1),
                "pull": Out(1),
                "capture": Out(1),
                "loaded": Out(1),
                "clear": In(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        full = Signal()
        m.d.comb += self.capture.eq(self.word & (~full | self.swap))
        coming = [self.capture]
        for row in range(1, self._rows):
            register = Signal(name=f"row_{row}")
            m.d.sync += register.eq(coming[-1] & ~self.clear)
            coming.append(register)
        for register in coming:
            with m.If(register):
                m.d.comb += self.pull.eq(1)
        with m.If(self.swap):
            m.d.sync += [full.eq(0), self.loaded.eq(0)]
        with m.If(self.capture):
            m.d.sync += full.eq(1)
        with m.If(coming[-1]):
            m.d.sync += self.loaded.eq(1)
        with m.If(self.clear):
            m.d.sync += [full.eq(0), self.loaded.eq(0)]
        return m


def tile_plan(design: Design) -> data.StructLayout:
    """What the front end needs of a command; counts are less one."""
    return data.StructLayout(
        {
            "column_tiles": 16,
            "depth_tiles": DEPTH_BITS,
            "rows": 16,
            "address": ceil_log2(design.accumulator_rows),
            "accumulate": 1,
        }
    )


def result_place(design: Design) -> data.StructLayout:
    """Where a step's result goes."""
    return data.StructLayout(
        {"valid": 1, "address": ceil_log2(design.accumulator_rows), "accumulate": 1, "last": 1}
    )


class WeightFrontEnd(wiring.Component):
    """Steps through the rows of each tile, tile after tile, as soon as its weights are in place.

    Members
    -------
    plan : In(stream of ``tile_plan``)
        Taken while idle, or in the last step of the command before.
    operands : In(1)
        An activation word is there.
    loaded : In(1)
        The next tile's weights are in place.
    halt : In(1)
        Stop.
    running : Out(1)
        A command is under way.
    step : Out(1), swap : Out(1)
        An activation word is taken; it is its tile's first.
    place : Out(``result_place``)
        Of this step's result.
    fault : Out(1)
        One cycle: the command goes on past the end of its half of the accumulators.

    Timing
    ------
    A tile's first step is in the cycle after the last of the tile before, or ``ACCUMULATE + 1`` cycles after its first, or
    when its weights (for a command's first tile, also its activations) are there. Its other steps follow without a gap.
    """

    def __init__(self, *, design: Design) -> None:
        self._design = design
        super().__init__(
            {
                "plan": In(stream.Signature(tile_plan(design))),
                "operands": In(1),
                "loaded": In(1),
                "halt": In(1),
                "running": Out(1),
                "step": Out(1),
                "swap": Out(1),
                "place": Out(result_place(design)),
                "fault": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        plan, taken = Signal(tile_plan(self._design)), Signal()
        within, over, tile_over = Signal(), Signal(), Signal()
        count = {}
        for name in ("column_tiles", "depth_tiles", "rows"):
            m.submodules[name] = count[name] = Countdown(width=len(plan[name]))
            set_start(m, count[name], taken, self.plan.payload[name], plan[name])
        # Cycles since the tile's first step, as far as they matter.
        spaced = Signal(ACCUMULATE, init=-1)
        m.d.sync += spaced.eq(Mux(self.swap, 0, spaced << 1 | 1))
        m.d.comb += [
            self.swap.eq(self.running & ~within & self.loaded & self.operands & spaced[-1] & ~self.halt),
            self.step.eq((within & ~self.halt) | self.swap),
            tile_over.eq(self.step & count["rows"].zero),
            over.eq(count["column_tiles"].zero & count["depth_tiles"].zero),
            self.plan.ready.eq((~self.running | (tile_over & over)) & ~self.halt),
            taken.eq(self.plan.valid & self.plan.ready),
            count["rows"].load.eq(taken | tile_over),
            count["rows"].count.eq(self.step),
            count["depth_tiles"].load.eq(taken | (tile_over & count["depth_tiles"].zero)),
            count["depth_tiles"].count.eq(tile_over),
            count["column_tiles"].load.eq(taken),
            count["column_tiles"].count.eq(tile_over & count["depth_tiles"].zero),
        ]
        with m.If(self.step):
            m.d.sync += within.eq(~tile_over)
        with m.If(self.halt):
            m.d.sync += within.eq(0)
        with m.If((tile_over & over) | self.halt):
            m.d.sync += self.running.eq(0)
        with m.If(taken):
            m.d.sync += [self.running.eq(1), plan.eq(self.plan.payload)]
        self._places(m, plan, taken, tile_over, over, count["depth_tiles"].zero)
        return m

    def _places(self, m: Module, plan, taken, tile_over, over, depth_over) -> None:
        """Rows of accumulators: again for every tile of K, on to the next ones for every tile of columns."""
        base, row, deeper = Signal.like(plan.address), Signal.like(plan.address), Signal()
        m.d.comb += [
            self.place.valid.eq(self.step),
            self.place.address.eq(row),
            self.place.accumulate.eq(plan.accumulate | deeper),
            self.place.last.eq(tile_over & over),
        ]
        following = Signal.like(row)
        m.d.comb += following.eq(row + 1)
        with m.If(self.step):
            m.d.sync += row.eq(following)
        with m.If(tile_over):
            m.d.sync += deeper.eq(~depth_over)
            with m.If(depth_over):
                m.d.sync += base.eq(following)
            with m.Else():
                m.d.sync += row.eq(base)
        m.d.sync += self.fault.eq(self.step & (following[:-1] == 0) & ~(tile_over & (over | ~depth_over)))
        with m.If(taken):
            m.d.sync += [base.eq(self.plan.payload.address), row.eq(self.plan.payload.address), deeper.eq(0)]


class WeightStationaryCore(wiring.Component):
    """Operand readers, weight loader, front end, array.

    Members
    -------
    See ``hw.interfaces.core_members``.

    Timing
    ------
    See ``sim.families.systolic``, whose law follows from the parts' timing.
    """

    def __init__(self, *, design: Design) -> None:
        self._design = design
        super().__init__(core_members(design))

    def elaborate(self, platform):
        m = Module()
        g = self._design.geometry
        rows = g.tile_depth
        m.submodules.setup = setup = Setup(design=self._design)
        m.submodules.front_end = front = WeightFrontEnd(design=self._design)
        m.submodules.loader = loader = WeightLoader(rows=rows)
        activations, weights = self._readers(m, setup, front)
        m.submodules.array = array = WeightStationaryArray(rows=rows, columns=g.columns)
        wiring.connect(m, wiring.flipped(self.command), setup.command)
        stopped = self.halt & ~front.running
        parts = data.View(data.ArrayLayout(8 * rows, g.activation_bytes // rows), activations.o.payload.word)
        chosen = Signal(8 * rows)
        m.d.sync += chosen.eq(parts[activations.o.payload.part] if len(parts) > 1 else parts[0])
        lanes = data.View(data.ArrayLayout(8, g.columns), weights.o.payload.word[: 8 * g.columns])
        m.d.comb += [
            setup.clear.eq(self.halt),
            front.halt.eq(self.halt),
            front.operands.eq(activations.o.valid),
            front.loaded.eq(loader.loaded),
            loader.word.eq(weights.o.valid),
            loader.swap.eq(front.swap),
            loader.clear.eq(stopped),
            activations.o.ready.eq(front.step),
            weights.o.ready.eq(loader.pull),
            activations.clear.eq(stopped),
            weights.clear.eq(stopped),
            array.capture.eq(loader.capture),
            array.swap.eq(front.swap),
            array.activations.eq(chosen),
            self.step.eq(front.step),
            self.busy.eq(setup.busy | front.running),
            self.fault.eq(activations.fault | weights.fault | front.fault),
            self.results.data.eq(array.results),
        ]
        m.d.comb += [array.weights[column].eq(lanes[column]) for column in range(g.columns)]
        place = data.View(
            result_place(self._design), delayed(m, front.place, SELECT + rows - 1 + WEIGHT_ELEMENT)
        )
        m.d.comb += [
            self.results.valid.eq(place.valid),
            self.results.address.eq(place.address),
            self.results.accumulate.eq(place.accumulate),
            self.results.last.eq(place.last),
        ]
        return m

    def _readers(self, m: Module, setup: Setup, front: WeightFrontEnd) -> list[OperandReader]:
        """Works out a command's loops, and offers them to readers and front end."""
        design, g = self._design, self._design.geometry
        held, plan = setup.held, front.plan.payload
        part_bits = exact_log2(g.activation_bytes // g.tile_depth)
        m.d.sync += [
            plan.column_tiles.eq(held.column_tiles - 1),
            plan.depth_tiles.eq(held.depth_tiles - 1),
            plan.rows.eq(held.row_tiles - 1),
            plan.address.eq(held.accumulators_address),
            plan.accumulate.eq(held.accumulate),
        ]
        activations = OperandReader(
            words=design.activation_words,
            width=8 * g.activation_bytes,
            levels=3,
            count_bits=DEPTH_BITS,
            part_bits=part_bits,
        )
        weights = OperandReader(
            words=design.weight_words,
            width=8 * g.weight_bytes,
            levels=3,
            count_bits=DEPTH_BITS,
            onward=[1, 2],
        )
        m.submodules.activation_reader, m.submodules.weight_reader = activations, weights
        for reader, port in ((activations, self.activations), (weights, self.weights)):
            wiring.connect(m, reader.port, wiring.flipped(port))
        # Activations, in parts of words: the rows of a tile, tiles of K, and all that again for each tile of columns.
        address, stride = held.activations_address << part_bits, held.activations_stride << part_bits
        counts = (plan.rows, plan.depth_tiles, plan.column_tiles)
        set_loops(m, activations.nest.payload, address, counts, (stride, 1, 0))
        counts = (g.tile_depth - 1, plan.depth_tiles, plan.column_tiles)
        set_loops(m, weights.nest.payload, held.weights_address, counts, (1, 0, 0))
        setup.share_out(m, activations.nest, weights.nest, front.plan)
        return [activations, weights]
