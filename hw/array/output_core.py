"""The output-stationary core: EXECUTE commands in, skewed results out."""

from __future__ import annotations

from collections.abc import Callable

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import wiring

from hw.array.corner_turn import CornerTurn
from hw.array.geometry import least_interval
from hw.array.output_sequencer import ActivationWalk, OutputSequencer, WeightWalk
from hw.array.output_stationary import OutputStationaryArray
from hw.array.setup import Setup
from hw.delay import delayed, without_reset
from hw.design import Design
from hw.interfaces import core_members
from hw.timing import CORNER_TURN, DRAIN_ROWS, OUTPUT_ELEMENT, SCRATCHPAD


class OutputStationaryCore(wiring.Component):
    """Reads each operand at the cycle that puts it where it is needed: nothing waits, so nothing is buffered.

    Members
    -------
    See ``hw.interfaces.core_members``.

    Timing
    ------
    Step 0 of a command's first tile is ``SYSTOLIC_SETUP`` cycles after the handshake, or as soon as the command before is
    through; see ``OutputSequencer``. Row 0's result of a tile is at ``results`` ``SCRATCHPAD + CORNER_TURN +
    element + 1`` cycles after its last step, row r's ``r + r // DRAIN_ROWS`` later. ``fault`` comes in the cycle before the
    accumulators' ``finished`` of its command.
    """

    turn = CORNER_TURN

    def __init__(
        self,
        *,
        design: Design,
        array: Callable[..., wiring.Component] = OutputStationaryArray,
        element: int = OUTPUT_ELEMENT,
        long_words: bool = False,
        step_bytes: int = 1,
        weights_late: int = CORNER_TURN,
    ) -> None:
        # ``array`` makes one of so many rows and columns. ``element``: cycles from operands at row 0 to the result that may go
        # up; words as in ``OutputSequencer``. ``weights_late``: cycles from activations' addresses to those of weights.
        self._design, self._make, self._element, self._long_words = design, array, element, long_words
        self._step_bytes, self._weights_late = step_bytes, weights_late
        super().__init__(core_members(design))

    def elaborate(self, platform):
        m = Module()
        design, geometry = self._design, self._design.geometry
        rows = geometry.tile_rows
        step_bytes = self._step_bytes
        m.submodules.setup = setup = Setup(
            design=design, least_interval=least_interval(rows), step_bytes=step_bytes
        )
        m.submodules.sequencer = sequencer = OutputSequencer(design=design, step_bytes=step_bytes)
        m.submodules.corner_turn = corner = CornerTurn(
            rows=rows, word_bytes=geometry.activation_bytes, step_bytes=step_bytes
        )
        m.submodules.array = array = self._make(rows=rows, columns=geometry.columns)
        weights = Value.cast(array.weights)
        wiring.connect(m, wiring.flipped(self.command), setup.command)
        wiring.connect(m, setup.plan, sequencer.plan)
        control = corner.control
        stop = Signal()
        m.d.comb += [
            setup.halt.eq(self.halt),
            sequencer.soon.eq(setup.soon),
            sequencer.stop.eq(stop),
            sequencer.halt.eq(self.halt),
            self.step.eq(sequencer.step),
            self.busy.eq(setup.busy | sequencer.running),
            corner.word.eq(self.activations.data),
            Cat(control.load, control.index, control.valid, control.last, control.ends).eq(
                delayed(
                    m,
                    Cat(
                        sequencer.read & (sequencer.index == 0),
                        sequencer.index,
                        sequencer.step,
                        sequencer.last,
                        sequencer.ends,
                    ),
                    SCRATCHPAD,
                )
            ),
            array.activations.eq(corner.activations),
            array.last.eq(corner.last),
            weights.eq(self.weights.data[: len(weights)]),
            self.results.data.eq(array.results),
            self.results.valid.eq(array.valid),
        ]
        past_activations = self._activations(m, sequencer)
        past_weights = self._weights(m, sequencer, sequencer.step, late=self._weights_late)
        past_rows = self._addresses(m, sequencer, sequencer.last)
        self._end(m, corner.control_last, past_activations, past_weights, past_rows, stop)
        return m

    def _activations(self, m: Module, sequencer: OutputSequencer):
        """Reads activations; past the end: at once, and in step with the last row."""
        words, geometry = self._design.activation_words, self._design.geometry
        m.submodules.activation_walk = walk = ActivationWalk(words=words)
        current = sequencer.current.command
        m.d.comb += [
            walk.begin.eq(sequencer.begin),
            walk.again.eq(sequencer.again),
            walk.read.eq(sequencer.read),
            walk.turns.eq(sequencer.turns),
            walk.base.eq(current.activations_address),
            walk.stride.eq(current.activations_stride),
            self.activations.address.eq(walk.address),
        ]
        past, any_past, so_far = Signal(), Signal(), Signal()
        index = delayed(m, sequencer.index, 1)
        m.d.comb += so_far.eq(past | (any_past & (index != 0)))
        m.d.sync += [past.eq(sequencer.read & (walk.address >= words)), any_past.eq(so_far)]
        reads_last_row = delayed(m, sequencer.read, 1) & (index == geometry.tile_rows - 1)
        return past, delayed(m, so_far & reads_last_row, SCRATCHPAD + 1)

    def _weights(self, m: Module, sequencer: OutputSequencer, step: Value, *, late: int):
        """Reads weights, the next word after each ``step``, as much later as the activations' way to the array is longer.

        Past the end: at once, and in step with the last row, because a command may follow another without a gap.
        """
        words, rows = self._design.weight_words, self._design.geometry.tile_rows
        m.submodules.weight_walk = walk = WeightWalk(words=words)
        tile = Cat(sequencer.begin, sequencer.fresh, sequencer.again)
        m.d.comb += [
            Cat(walk.begin, walk.fresh, walk.again).eq(delayed(m, tile, late - 1)),
            walk.step.eq(delayed(m, step, late)),
            walk.base.eq(sequencer.current.command.weights_address),
            self.weights.address.eq(walk.address),
        ]
        past = Signal()
        m.d.sync += past.eq(walk.step & (walk.address >= words))
        return past, delayed(m, past, SCRATCHPAD + 1 - late + rows - 1)

    def _addresses(self, m: Module, sequencer: OutputSequencer, last: Value, further: Value | None = None):
        """Accumulator rows of a tile follow each other; so do tiles. ``further``: the sum that ends with ``last`` is added."""
        rows, half_rows = self._design.geometry.tile_rows, self._design.accumulator_rows // 2
        command = sequencer.current.command
        half, accumulate, first = Signal(), Signal(), Signal(range(2 * half_rows), reset_less=True)
        with m.If(sequencer.begin):
            m.d.sync += first.eq(first + rows)
            with m.If(sequencer.fresh):
                m.d.sync += [
                    first.eq(command.accumulators_address[:-1]),
                    half.eq(command.accumulators_address[-1]),
                    accumulate.eq(command.accumulate),
                ]
        late = SCRATCHPAD + self.turn + self._element
        adds = accumulate if further is None else accumulate | further
        fetched = delayed(m, Cat(first[:-1], half, adds), late, reset_less=True)
        address, accumulates = (
            without_reset(m, output) for output in (self.results.address, self.results.accumulate)
        )
        with m.If(delayed(m, last, late)):
            m.d.sync += Cat(address, accumulates).eq(fetched)
        with m.Elif(self.results.valid):
            m.d.sync += address[:-1].eq(address[:-1] + 1)
        past = Signal()
        m.d.sync += past.eq(first > half_rows - rows)
        past_now = past & delayed(m, sequencer.step, 1)
        return past_now, delayed(m, past_now, SCRATCHPAD + 1 + rows - 1)

    def _end(self, m: Module, control, activations, weights, rows, stop: Signal) -> None:
        """``last`` and ``fault``, from the end of the last row's tile on; a fault cuts the command short."""
        geometry = self._design.geometry
        wrong, so_far, ends = Signal(), Signal(), Signal()
        m.d.comb += [
            so_far.eq(wrong | activations[1] | weights[1] | rows[1]),
            ends.eq(control.last & control.ends),
        ]
        m.d.sync += wrong.eq(so_far & ~ends)
        with m.If(self.halt):
            m.d.sync += [stop.eq(0), wrong.eq(0)]
        with m.Elif(ends & so_far):
            m.d.sync += stop.eq(0)
        with m.Elif(activations[0] | weights[0] | rows[0]):
            m.d.sync += stop.eq(1)
        drain = self.turn - 2 + self._element + (geometry.tile_rows - 1) // DRAIN_ROWS + 1
        m.d.comb += [
            self.results.last.eq(delayed(m, ends, drain)),
            self.fault.eq(delayed(m, ends & so_far, drain + geometry.banks - 1 + geometry.accumulate)),
        ]
