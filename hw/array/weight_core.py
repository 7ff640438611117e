"""The weight-stationary core: EXECUTE commands in, skewed results out."""

from __future__ import annotations

from collections.abc import Callable

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import data, wiring

from hw.array.setup import Setup
from hw.array.weight_sequencer import WeightSequencer
from hw.array.weight_stationary import WeightStationaryArray
from hw.delay import delayed
from hw.design import Design
from hw.interfaces import core_members
from hw.timing import SCRATCHPAD, SELECT, WEIGHT_ELEMENT


class WeightStationaryCore(wiring.Component):
    """Reads each operand at the cycle that puts it where it is needed: nothing waits, so nothing is buffered.

    Members
    -------
    See ``hw.interfaces.core_members``.

    Timing
    ------
    The first weight word of a command is read ``SYSTOLIC_SETUP`` cycles after the handshake, or when the activations of the last
    tile before begin; see ``WeightSequencer``. A result is at ``results``
    ``SCRATCHPAD + SELECT + rows - 1 + element`` cycles after its step. ``fault`` comes in the cycle before the
    accumulators' ``finished`` of its command.
    """

    def __init__(
        self,
        *,
        design: Design,
        array: Callable[..., WeightStationaryArray] = WeightStationaryArray,
        before: int = SCRATCHPAD + SELECT,
        element: int = WEIGHT_ELEMENT,
    ) -> None:
        # ``array`` makes one of so many rows and columns. Cycles from a step to its activations at row 0, and from those to the
        # partial sum below.
        self._design, self._make, self._before, self._element = design, array, before, element
        super().__init__(core_members(design))

    def elaborate(self, platform):
        m = Module()
        geometry = self._design.geometry
        m.submodules.setup = setup = self._setup()
        m.submodules.sequencer = sequencer = self._sequencer(setup)
        m.submodules.array = array = self._array()
        wiring.connect(m, wiring.flipped(self.command), setup.command)
        wiring.connect(m, setup.plan, sequencer.plan)
        self._operands(m, sequencer, array)
        stop, wrong = Signal(), self._faults(m, sequencer)
        late = self._before + geometry.tile_depth - 1 + self._element
        step = sequencer.step
        place = Cat(step.running, sequencer.ends, step.accumulate, step.row[:-1], step.half)
        m.d.comb += [
            setup.halt.eq(self.halt),
            sequencer.stop.eq(stop),
            sequencer.halt.eq(self.halt),
            self.busy.eq(setup.busy | sequencer.waiting | sequencer.step.running),
            self.step.eq(sequencer.step.running),
            self.weights.address.eq(sequencer.weight_address),
            array.swap.eq(delayed(m, sequencer.step.first, self._before - 1)),
            Cat(self.results.valid, self.results.last, self.results.accumulate, self.results.address).eq(
                delayed(m, place, late)
            ),
            self.results.data.eq(array.results),
        ]
        # From here on in step with what comes a cycle after its step.
        ended, before = delayed(m, sequencer.ends, 1), Signal()
        m.d.sync += before.eq((wrong | before) & ~ended & ~self.halt)
        fault = ended & (wrong | before)
        with m.If(fault | self.halt):
            m.d.sync += stop.eq(0)
        with m.Elif(wrong):
            m.d.sync += stop.eq(1)
        m.d.comb += self.fault.eq(delayed(m, fault, late - 1 + geometry.banks - 1 + geometry.accumulate))
        return m

    def _setup(self) -> Setup:
        return Setup(design=self._design)

    def _sequencer(self, setup: Setup) -> WeightSequencer:
        return WeightSequencer(design=self._design)

    def _array(self) -> WeightStationaryArray:
        geometry = self._design.geometry
        return self._make(rows=geometry.tile_depth, columns=geometry.columns)

    def _operands(self, m: Module, sequencer: WeightSequencer, array: WeightStationaryArray) -> None:
        """From both scratchpads to the array."""
        geometry = self._design.geometry
        rows = geometry.tile_depth
        parts = data.View(
            data.ArrayLayout(8 * rows, geometry.activation_bytes // rows), self.activations.data
        )
        chosen = Signal(data.ArrayLayout(8, rows), reset_less=True)
        part = delayed(m, sequencer.step.part, SCRATCHPAD)
        weights = Value.cast(array.weights)
        m.d.sync += chosen.eq(parts[part] if len(part) else parts[0])
        m.d.comb += [
            self.activations.address.eq(sequencer.step.activations),
            array.activations.eq(chosen),
            weights.eq(self.weights.data[: len(weights)]),
            array.capture.eq(delayed(m, sequencer.weight_first, SCRATCHPAD)),
        ]

    def _faults(self, m: Module, sequencer: WeightSequencer):
        """Something past its end, in step with the activations, a cycle after them.

        Weights past the end belong to the tile that they are for, or to the command under way when they are dropped: while they
        are read, the steps may be those of the command before.
        """
        design = self._design
        past_activations, past_rows, past_weights = Signal(), Signal(), Signal()
        of_next_tile, of_tile = Signal(), Signal()
        weights = past_weights | of_next_tile
        handed = sequencer.step.first | sequencer.cut
        m.d.sync += [
            past_activations.eq(
                sequencer.step.running & (sequencer.step.activations >= design.activation_words)
            ),
            past_rows.eq(sequencer.step.running & sequencer.step.row[-1]),
            past_weights.eq(
                sequencer.weight_reading & (sequencer.weight_address >= design.weight_words) & ~sequencer.cut
            ),
            of_next_tile.eq(weights & ~handed & ~self.halt),
            of_tile.eq(weights & handed),
        ]
        steps = past_activations | past_rows
        return steps | of_tile
