"""The output-stationary core of decoded operands: EXECUTE commands in, skewed results out."""

from __future__ import annotations

from amaranth.hdl import Module, Signal, Value
from amaranth.lib import wiring

from hw.array.decoded.geometry import DecodedArray
from hw.array.decoded.output_array import DecodedOutputArray
from hw.array.decoded.rows import DecodedRows
from hw.array.decoded.setup import DecodedSetup, depth_bits, long_words, uneven_words
from hw.array.decoded.steps import Steps
from hw.array.output_core import OutputStationaryCore
from hw.array.output_sequencer import OutputSequencer
from hw.delay import delayed
from hw.design import Design
from hw.pe.exponent_integer_times import output_latency
from hw.timing import CORNER_TURN, DECODED_TURN, SCRATCHPAD


class DecodedOutputCore(OutputStationaryCore):
    """As its base, with decoders on the borders.

    Parameters
    ----------
    design : Design
    array : DecodedArray

    Members
    -------
    See ``hw.interfaces.core_members``.

    Timing
    ------
    Step 0 of a command's first tile is ``DECODED_SETUP`` cycles after the handshake, or as soon as the command before is
    through; see ``OutputSequencer``. Row 0's result of a tile is at ``results``
    ``SCRATCHPAD + DECODED_TURN + array.element_latency + 1`` cycles after its last step, row r's ``r + r // DRAIN_ROWS`` later.
    """

    turn = DECODED_TURN

    def __init__(self, *, design: Design, array: DecodedArray) -> None:
        super().__init__(design=design, element=array.element_latency, long_words=long_words(array))
        self._array = array

    def elaborate(self, platform):
        m = Module()
        design, decoded = self._design, self._array
        m.submodules.setup = setup = DecodedSetup(design=design, array=decoded)
        m.submodules.sequencer = sequencer = OutputSequencer(
            design=design,
            least=decoded.least_interval,
            settle=decoded.command_gap + 1 if decoded.block else None,
            depth_bits=depth_bits(decoded),
            long_words=self._long_words,
            uneven_words=uneven_words(decoded),
        )
        m.submodules.rows = rows = DecodedRows(array=decoded)
        m.submodules.array = array = DecodedOutputArray(array=decoded)
        wiring.connect(m, wiring.flipped(self.command), setup.command)
        wiring.connect(m, setup.plan, sequencer.plan)
        m.submodules.steps = steps = Steps(array=decoded, variants=sequencer.current.command.variant.shape())
        stop = Signal()
        late = CORNER_TURN - decoded.weights_ahead
        m.d.comb += [
            setup.halt.eq(self.halt),
            sequencer.soon.eq(setup.soon),
            sequencer.stop.eq(stop),
            sequencer.halt.eq(self.halt),
            self.step.eq(sequencer.step),
            self.busy.eq(setup.busy | sequencer.running),
            rows.word.eq(self.activations.data),
            steps.variant.eq(sequencer.current.command.variant),
            *(
                getattr(steps, name).eq(getattr(sequencer, name))
                for name in ("begin", "step", "last", "ends", "read", "index")
            ),
            Value.cast(rows.control).eq(delayed(m, steps.row, SCRATCHPAD)),
            array.activations.eq(rows.activations),
            array.last.eq(rows.last),
            array.weights.eq(self.weights.data[: 8 * decoded.columns]),
            Value.cast(array.control).eq(delayed(m, steps.column, SCRATCHPAD + late)),
            self.results.data.eq(array.results),
            self.results.valid.eq(array.valid),
        ]
        if decoded.block:
            known = SCRATCHPAD + self.turn + output_latency(*decoded.shapes)
            m.d.comb += Value.cast(array.scaling).eq(delayed(m, steps.scaling, known))
        if uneven_words(decoded):
            m.d.comb += sequencer.word_ends.eq(steps.word_ends)
        if decoded.scale_bits[0]:
            m.d.comb += array.scales.eq(rows.scales)
        past_activations = self._activations(m, sequencer)
        past_weights = self._weights(m, sequencer, steps.whole, late=late)
        past_rows = self._addresses(m, sequencer, steps.row.last, steps.further)
        self._end(m, rows.control_last, past_activations, past_weights, past_rows, stop)
        return m
