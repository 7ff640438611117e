"""The core that multiplies digit by digit: EXECUTE commands in, skewed results out."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring

from hw.array.rows import Rows
from hw.array.sparse_digit.array import DigitArray
from hw.array.sparse_digit.plan import DigitPlanner
from hw.array.sparse_digit.sequencer import DigitSequencer
from hw.array.walks import ActivationWalk, WeightWalk
from hw.delay import delayed
from hw.design import Design
from hw.interfaces import core_members
from hw.timing import DIGIT_ELEMENT, DIGIT_FEED, DIGIT_GROUP, DRAIN_ROWS, SCRATCHPAD

_WAY = DIGIT_FEED + DIGIT_ELEMENT
"""The cycle after a tile to row 0's result at ``results``."""


class DigitCore(wiring.Component):
    """Reads each operand at the cycle that puts it where it is needed: nothing waits, so nothing is buffered.

    Weights are read two groups ahead, since the digits of a group must be counted before it begins.

    Members
    -------
    See ``hw.interfaces.core_members``.

    Timing
    ------
    The first group of a command begins ``DIGIT_SETUP + DIGIT_LEAD`` cycles after the handshake, or ``DIGIT_LEAD`` after the
    command before is through; see ``DigitSequencer``. Row 0's result of a tile is at ``results`` ``DIGIT_FEED + DIGIT_ELEMENT``
    cycles after the tile, row r's ``r + r // DRAIN_ROWS`` later. ``fault`` comes in the cycle before the accumulators'
    ``finished`` of its command. ``step`` is high two cycles after a digit of any column.
    """

    def __init__(self, *, design: Design) -> None:
        self._design = design
        super().__init__(core_members(design))

    def elaborate(self, platform):
        m = Module()
        design, geometry = self._design, self._design.geometry
        rows, columns = geometry.tile_rows, geometry.columns
        m.submodules.planner = planner = DigitPlanner(design=design)
        m.submodules.sequencer = sequencer = DigitSequencer(design=design)
        m.submodules.rows = left = Rows(
            rows=rows, slices=geometry.activation_bytes // DIGIT_GROUP, lanes=DIGIT_GROUP, width=8, skew=(0,) * DIGIT_GROUP
        )  # fmt: skip
        m.submodules.array = array = DigitArray(rows=rows, columns=columns)
        wiring.connect(m, wiring.flipped(self.command), planner.command)
        wiring.connect(m, planner.plan, sequencer.plan)
        m.d.comb += [
            planner.halt.eq(self.halt),
            sequencer.halt.eq(self.halt),
            sequencer.busy.eq(array.busy),
            self.busy.eq(planner.busy | sequencer.running),
            left.word.eq(self.activations.data),
            array.activations.eq(left.activations),
            *(
                array.weights[lane].eq(
                    self.weights.data.word_select(lane, 8 * geometry.weight_bytes // DIGIT_GROUP)
                )
                for lane in range(DIGIT_GROUP)
            ),
            *(
                getattr(array, name).eq(getattr(sequencer, name))
                for name in ("start", "valid", "clear", "last")
            ),
            self.results.data.eq(array.results),
            self.results.valid.eq(array.results_valid),
        ]
        m.d.sync += self.step.eq(array.taken & ~self.halt)
        past = [
            self._activations(m, sequencer, left),
            self._weights(m, sequencer),
            self._addresses(m, sequencer),
        ]
        self._end(m, sequencer, past)
        return m

    def _activations(self, m: Module, sequencer: DigitSequencer, rows: Rows) -> Value:
        """Reads activations. Returned: past the end."""
        words, current, group = self._design.activation_words, sequencer.current, sequencer.starting
        m.submodules.activation_walk = walk = ActivationWalk(
            words=words,
            tile_stride_bits=len(current.tile_stride),
            stride_bits=len(current.command.activations_stride),
        )
        starts = sequencer.turn & group.valid
        m.d.comb += [
            walk.word.eq(starts & group.word),
            walk.tile.eq(group.tile),
            walk.fresh.eq(group.fresh),
            walk.again.eq(group.again),
            walk.base.eq(current.command.activations_address),
            walk.stride.eq(current.command.activations_stride),
            walk.tile_stride.eq(current.tile_stride),
            self.activations.address.eq(walk.address),
            rows.load.eq(delayed(m, walk.word, 1 + SCRATCHPAD)),
            rows.slice.eq(delayed(m, starts & ~group.word, 1 + SCRATCHPAD)),
        ]
        left, past = Signal(range(self._design.geometry.tile_rows + 1)), Signal()
        m.d.sync += [
            left.eq(Mux(walk.word, self._design.geometry.tile_rows, left - (left != 0))),
            past.eq((left != 0) & (walk.address >= words)),
        ]
        return past

    def _weights(self, m: Module, sequencer: DigitSequencer) -> Value:
        """Reads weights. Returned: past the end."""
        words, group = self._design.weight_words, sequencer.coming
        m.submodules.weight_walk = walk = WeightWalk(words=words)
        m.d.comb += [
            walk.tile.eq(sequencer.turn & group.valid & group.tile),
            walk.fresh.eq(group.fresh),
            walk.again.eq(group.again),
            walk.read.eq(sequencer.turn & sequencer.reading.valid),
            walk.base.eq(sequencer.current.command.weights_address),
            self.weights.address.eq(walk.address),
        ]
        past = Signal()
        m.d.sync += past.eq(walk.read & (walk.address >= words))
        return past

    def _addresses(self, m: Module, sequencer: DigitSequencer) -> Value:
        """Accumulator rows of a tile follow each other; so do tiles. Returned: past the end."""
        rows, half_rows = self._design.geometry.tile_rows, self._design.accumulator_rows // 2
        command = sequencer.current.command
        half, accumulate, first = Signal(), Signal(), Signal(range(2 * half_rows))
        with m.If(sequencer.last):
            m.d.sync += first.eq(first + rows)
        with m.If(
            sequencer.turn & sequencer.starting.valid & sequencer.starting.fresh & sequencer.starting.tile
        ):
            m.d.sync += [
                first.eq(command.accumulators_address[:-1]),
                half.eq(command.accumulators_address[-1]),
                accumulate.eq(command.accumulate),
            ]
        due = delayed(m, Cat(sequencer.last, first[:-1], half, accumulate), _WAY - 1)
        with m.If(due[0]):
            m.d.sync += Cat(self.results.address, self.results.accumulate).eq(due[1:])
        with m.Elif(self.results.valid):
            m.d.sync += self.results.address[:-1].eq(self.results.address[:-1] + 1)
        past = Signal()
        m.d.sync += past.eq(first > half_rows - rows)
        return past & delayed(m, sequencer.turn & sequencer.ending.valid, 1)

    def _end(self, m: Module, sequencer: DigitSequencer, past: list[Value]) -> None:
        """``last`` and ``fault``, from the end of the last row's tile on; a fault cuts the command short.

        All that went past the end is known when a command ends, and the next one begins later.
        """
        geometry, wrong = self._design.geometry, Signal()
        with m.If(sequencer.turn & sequencer.coming.valid & sequencer.coming.fresh & sequencer.coming.tile):
            m.d.sync += wrong.eq(0)
        with m.Elif(Cat(past).any()):
            m.d.sync += wrong.eq(1)
        last = _WAY + geometry.tile_rows - 1 + (geometry.tile_rows - 1) // DRAIN_ROWS
        m.d.comb += [
            sequencer.stop.eq(wrong),
            self.results.last.eq(delayed(m, sequencer.ends, last)),
            self.fault.eq(
                delayed(m, sequencer.ends & wrong, last + geometry.banks - 1 + geometry.accumulate)
            ),
        ]
