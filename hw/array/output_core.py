"""The output-stationary core: EXECUTE commands in, skewed results out."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from hw.array.corner_turn import CornerTurn, step_control
from hw.array.delay import delayed
from hw.array.geometry import shortest_interval
from hw.array.output_stationary import OutputStationaryArray
from hw.array.reader import OperandReader
from hw.array.setup import ResultAddresses, Setup, set_loops
from hw.design import Design
from hw.interfaces import core_members
from hw.timing import CORNER_TURN, DRAIN_ROWS, OUTPUT_ELEMENT

DEPTH_BITS = 24


def tile_plan() -> data.StructLayout:
    """What the front end needs of a command, counts less one.

    ``words``: activation words of a row. ``short``: tiles of fewer steps than their results need to get out of the way.
    """
    return data.StructLayout(
        {
            "column_tiles": 16,
            "row_tiles": 16,
            "steps": DEPTH_BITS,
            "interval": DEPTH_BITS,
            "words": DEPTH_BITS,
            "short": 1,
        }
    )


class Countdown(wiring.Component):
    """Counts down to zero and says so from a register.

    ``load`` starts it at ``start``; each ``count`` after that takes one away. ``zero``: nothing is left to take away.
    ``start_zero`` says that ``start`` is zero, so that nothing has to be compared after a ``load`` that comes late.
    """

    def __init__(self, *, width: int) -> None:
        self._width = width
        super().__init__(
            {"load": In(1), "start": In(width), "start_zero": In(1), "count": In(1), "zero": Out(1)}
        )

    def elaborate(self, platform):
        m = Module()
        left = Signal(self._width)
        with m.If(self.load):
            m.d.sync += [left.eq(self.start), self.zero.eq(self.start_zero)]
        with m.Elif(self.count):
            m.d.sync += [left.eq(left - 1), self.zero.eq(left == 1)]
        return m


def set_start(m: Module, counter: Countdown, taken, offered, kept) -> None:
    """Start ``counter`` at what is ``offered`` when that is ``taken``, at what was ``kept`` of it otherwise."""
    kept_zero = Signal()
    with m.If(taken):
        m.d.sync += kept_zero.eq(offered == 0)
    m.d.comb += [
        counter.start.eq(Mux(taken, offered, kept)),
        counter.start_zero.eq(Mux(taken, offered == 0, kept_zero)),
    ]


class OutputFrontEnd(wiring.Component):
    """Steps through the tiles of a command and pulls the operands' words, each in its turn.

    Members
    -------
    plan : In(stream of ``tile_plan``)
        Taken while idle, or in the last step of the command before.
    operands : In(1)
        The first words of both operands are there.
    halt : In(1)
        Stop; what the elements hold is let out.
    running : Out(1)
        A command is under way.
    begin : Out(1)
        Its first step is in the next cycle.
    step, activations : Out(1)
        A weight word, an activation word is taken in this cycle.
    control : Out(step_control)
        For the corner turn, in the same cycle.

    Timing
    ------
    The first step is ``OUTPUT_BEGIN`` cycles after the plan was taken, or the cycle after the first with ``operands``, and
    before a short command ``shortest_interval`` cycles after the last operand of the one before at the earliest. Tile
    follows tile after ``interval`` + 1 cycles.
    """

    def __init__(self, *, rows: int, word_bytes: int) -> None:
        self._rows, self._word_bytes = rows, word_bytes
        super().__init__(
            {
                "plan": In(stream.Signature(tile_plan())),
                "operands": In(1),
                "halt": In(1),
                "running": Out(1),
                "begin": Out(1),
                "step": Out(1),
                "activations": Out(1),
                "control": Out(step_control(word_bytes)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        plan, taken = Signal(tile_plan()), Signal()
        begun, moving, tile_over, over = Signal(), Signal(), Signal(), Signal()
        count = {}
        for name, width in tile_plan().members.items():
            if name == "short":
                continue
            m.submodules[name] = count[name] = Countdown(width=width)
            set_start(m, count[name], taken, self.plan.payload[name], plan[name])
        # Before a short command, the results of the one before must be out of the way.
        settling = Signal(range(shortest_interval(self._rows)))
        with m.If(self.control.last):
            m.d.sync += settling.eq(shortest_interval(self._rows) - 2)
        with m.Elif(settling.any()):
            m.d.sync += settling.eq(settling - 1)
        # The decision to begin is a register: what moves hangs on nothing that comes late in its cycle.
        m.d.comb += [
            self.begin.eq(
                self.running & ~begun & self.operands & ~(plan.short & settling.any()) & ~self.halt
            ),
            moving.eq(begun & ~self.halt),
            tile_over.eq(moving & count["interval"].zero),
            over.eq(count["row_tiles"].zero & count["column_tiles"].zero),
            self.plan.ready.eq((~self.running | (tile_over & over)) & ~self.halt),
            taken.eq(self.plan.valid & self.plan.ready),
            count["column_tiles"].load.eq(taken),
            count["column_tiles"].count.eq(tile_over & count["row_tiles"].zero),
            count["row_tiles"].load.eq(taken | (tile_over & count["row_tiles"].zero)),
            count["row_tiles"].count.eq(tile_over),
        ]
        with m.If(self.begin):
            m.d.sync += begun.eq(1)
        with m.If((tile_over & over) | self.halt):
            m.d.sync += [self.running.eq(0), begun.eq(0)]
        with m.If(taken):
            m.d.sync += [self.running.eq(1), begun.eq(0), plan.eq(self.plan.payload)]
        self._tile(m, count, moving, taken | tile_over)
        # A halt cuts the tile short: a last pair of zeros empties the elements' sums.
        m.d.comb += [
            self.control.last.eq((self.step & count["steps"].zero) | (self.halt & self.running & begun)),
            self.control.ends.eq(self.control.last & (over | self.halt)),
        ]
        return m

    def _tile(self, m: Module, count: dict[str, Countdown], moving: Signal, load) -> None:
        """The steps of a tile: ``operands_left`` until K is through, ``words_left`` until the rows' words are."""
        operands_left, words_left, slot_words = Signal(), Signal(), Signal()
        slot = self.control.index
        last_slot = Signal()
        following = Signal.like(slot)
        m.d.comb += following.eq(Mux(load, 0, slot + 1))
        for name in ("steps", "interval", "words"):
            m.d.comb += count[name].load.eq(load)
        m.d.comb += [
            count["steps"].count.eq(moving),
            count["interval"].count.eq(moving),
            count["words"].count.eq(moving & last_slot),
            self.step.eq(moving & operands_left),
            self.activations.eq(moving & words_left & slot_words),
            self.control.load.eq(moving & words_left & (slot == 0)),
            self.control.valid.eq(self.step),
        ]
        with m.If(moving & count["steps"].zero):
            m.d.sync += operands_left.eq(0)
        with m.If(moving & last_slot & count["words"].zero):
            m.d.sync += words_left.eq(0)
        with m.If(moving | load):
            m.d.sync += [
                slot.eq(following),
                slot_words.eq(following < self._rows),
                last_slot.eq(following == self._word_bytes - 1),
            ]
        with m.If(load):
            m.d.sync += [operands_left.eq(1), words_left.eq(1)]


class OutputStationaryCore(wiring.Component):
    """Operand readers, front end, corner turn, array, result addresses.

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
        m.submodules.setup = setup = Setup(design=self._design)
        m.submodules.front_end = front = OutputFrontEnd(rows=g.tile_rows, word_bytes=g.activation_bytes)
        readers = self._readers(m, setup, front)
        m.submodules.corner_turn = corner = CornerTurn(rows=g.tile_rows, word_bytes=g.activation_bytes)
        m.submodules.array = array = OutputStationaryArray(rows=g.tile_rows, columns=g.columns)
        wiring.connect(m, wiring.flipped(self.command), setup.command)
        stopped = self.halt & ~front.running
        m.d.comb += [
            setup.clear.eq(self.halt),
            front.halt.eq(self.halt),
            front.operands.eq(readers[0].o.valid & readers[1].o.valid),
            readers[0].o.ready.eq(front.activations),
            readers[1].o.ready.eq(front.step),
            readers[0].clear.eq(stopped),
            readers[1].clear.eq(stopped),
            self.step.eq(front.step),
            self.busy.eq(setup.busy | front.running),
            corner.word.eq(readers[0].o.payload.word),
            corner.control.eq(front.control),
            array.activations.eq(corner.activations),
            array.last.eq(corner.last),
        ]
        weights = data.View(
            data.ArrayLayout(8, g.columns),
            delayed(m, readers[1].o.payload.word, CORNER_TURN)[: 8 * g.columns],
        )
        m.d.comb += [array.weights[column].eq(weights[column]) for column in range(g.columns)]
        self._results(m, setup, front, corner, array, readers)
        return m

    def _readers(self, m: Module, setup: Setup, front: OutputFrontEnd) -> list[OperandReader]:
        """Works out a command's loops and intervals, and offers them to readers and front end."""
        design, g = self._design, self._design.geometry
        rows, word = g.tile_rows, g.activation_bytes
        lanes = exact_log2(word)
        held = setup.held
        plan = front.plan.payload
        tile_stride, beyond = Signal(24), Signal(lanes)
        m.d.comb += beyond.eq(Mux(plan.steps[:lanes] > rows - 1, plan.steps[:lanes], rows - 1))
        shortest = shortest_interval(rows) - 1
        interval = Cat(beyond, plan.steps[lanes:])
        m.d.sync += [
            plan.steps.eq(held.depth_tiles - 1),
            plan.row_tiles.eq(held.row_tiles - 1),
            plan.column_tiles.eq(held.column_tiles - 1),
            tile_stride.eq(held.activations_stride * rows),
            plan.interval.eq(Mux(interval < shortest, shortest, interval)),
            plan.short.eq(plan.steps < shortest),
        ]
        m.d.comb += plan.words.eq(plan.steps >> lanes)
        activations = OperandReader(
            words=design.activation_words, width=8 * word, levels=4, count_bits=DEPTH_BITS
        )
        weights = OperandReader(
            words=design.weight_words, width=8 * g.weight_bytes, levels=3, count_bits=DEPTH_BITS, onward=[2]
        )
        m.submodules.activation_reader, m.submodules.weight_reader = activations, weights
        for reader, port in ((activations, self.activations), (weights, self.weights)):
            wiring.connect(m, reader.port, wiring.flipped(port))
        # Rows of a word's worth of k, words of a row, tiles of rows, and all that again for each tile of columns.
        counts = (rows - 1, plan.words, plan.row_tiles, plan.column_tiles)
        strides = (held.activations_stride, 1, tile_stride, 0)
        set_loops(m, activations.nest.payload, held.activations_address, counts, strides)
        counts = (plan.steps, plan.row_tiles, plan.column_tiles)
        set_loops(m, weights.nest.payload, held.weights_address, counts, (1, 0, 0))
        setup.share_out(m, activations.nest, weights.nest, front.plan)
        return [activations, weights]

    def _results(self, m, setup, front, corner, array, readers) -> None:
        rows = self._design.geometry.tile_rows
        m.submodules.addresses = addresses = ResultAddresses(design=self._design)
        # Of the command that the front end has: setup may hold the next one already.
        address, accumulate = Signal.like(addresses.address), Signal()
        with m.If(front.plan.valid & front.plan.ready):
            m.d.sync += [address.eq(setup.held.accumulators_address), accumulate.eq(setup.held.accumulate)]
        ends = corner.control_last.last & corner.control_last.ends
        last = delayed(m, ends, CORNER_TURN + OUTPUT_ELEMENT + (rows - 1) // DRAIN_ROWS - 1)
        m.d.comb += [
            addresses.begin.eq(front.begin),
            addresses.address.eq(address),
            addresses.accumulate.eq(accumulate),
            addresses.valid.eq(array.valid),
            addresses.last.eq(last),
            self.results.valid.eq(array.valid),
            self.results.address.eq(addresses.row),
            self.results.accumulate.eq(addresses.add),
            self.results.last.eq(last),
            self.results.data.eq(array.results),
            self.fault.eq(readers[0].fault | readers[1].fault | addresses.fault),
        ]
