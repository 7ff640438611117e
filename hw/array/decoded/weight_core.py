"""The weight-stationary core of decoded operands: EXECUTE commands in, skewed results out."""

from __future__ import annotations

from amaranth.hdl import Const, Module, Mux, Signal, Value
from amaranth.lib import data
from amaranth.utils import exact_log2

from hw.array.decoded.geometry import DecodedArray, slot_bits
from hw.array.decoded.output_array import WeightDecoder
from hw.array.decoded.setup import DecodedSetup, long_words, of_variant
from hw.array.decoded.slots import SlotDecoder, beside
from hw.array.decoded.weight_array import DecodedWeightArray
from hw.array.setup import Setup
from hw.array.weight_core import WeightStationaryCore
from hw.array.weight_sequencer import WeightSequencer
from hw.array.weight_stationary import WeightStationaryArray
from hw.delay import delayed
from hw.design import Design
from hw.share import share
from hw.timing import SCRATCHPAD


class DecodedWeightCore(WeightStationaryCore):
    """As its base, with decoders on the borders: rows of weights take a cycle each, whatever their slots.

    Parameters
    ----------
    design : Design
    array : DecodedArray

    Members
    -------
    See ``hw.interfaces.core_members``.

    Timing
    ------
    The first weight word of a command is read ``DECODED_SETUP`` cycles after the handshake, or when the activations of the last
    tile before begin; see ``WeightSequencer``. A result is at ``results``
    ``array.select_latency + rows - 1 + array.element_latency`` cycles after its step.
    """

    def __init__(self, *, design: Design, array: DecodedArray) -> None:
        super().__init__(design=design, before=array.select_latency, element=array.element_latency)
        self._decoded = array

    def _setup(self) -> Setup:
        return DecodedSetup(design=self._design, array=self._decoded)

    def _sequencer(self, setup: Setup) -> WeightSequencer:
        return WeightSequencer(design=self._design, planned=setup.plan.payload.shape(), variants=True)

    def _array(self) -> WeightStationaryArray:
        return DecodedWeightArray(array=self._decoded)

    def _operands(self, m: Module, sequencer: WeightSequencer, array: WeightStationaryArray) -> None:
        self._decode_activations(m, sequencer, array)
        self._decode_weights(m, sequencer, array)

    def _of_variant(self, m: Module, variant: Value, side: int, since: int) -> dict[str, Value]:
        """``format`` and ``narrow`` of the operands of ``variant``, ``since`` cycles later."""
        pairs = self._decoded.pairs
        formats = self._decoded.weights if side else self._decoded.activations
        kept = [pair[side] for pair in pairs]
        values = {
            "format": [formats.index(one) for one in kept],
            "narrow": [int(slot_bits(one) == 4) for one in kept],
        }
        return {name: delayed(m, of_variant(m, variant, each), since - 1) for name, each in values.items()}

    def _decode_activations(
        self, m: Module, sequencer: WeightSequencer, array: WeightStationaryArray
    ) -> tuple[data.View, Value, Value]:
        """A decoder for each row, all at the same time: slots of rows in turn are beside each other.

        Returns the word, where in it the step's tile begins (see ``_place``), and whether slots have 4 bits.
        """
        decoded, step = self._decoded, sequencer.step
        rows, ahead = decoded.rows, decoded.weights_ahead
        m.d.comb += self.activations.address.eq(delayed(m, step.activations, ahead))
        known = self._of_variant(m, step.variant, 0, ahead + SCRATCHPAD)
        windows = data.View(
            data.ArrayLayout(data.ArrayLayout(8, rows), decoded.geometry.activation_bytes // rows),
            self.activations.data,
        )
        place, narrow = self._place(m, step, ahead + SCRATCHPAD), Const(0)
        if long_words(decoded):
            mixed = len({slot_bits(one) for one in decoded.activations}) > 1
            narrow = known["narrow"] if mixed else Const(1)
        tile, half = window(windows, place[1:]), place[0]
        chosen = Signal(data.ArrayLayout(8, rows), reset_less=True)
        for row in range(rows):
            halves = Mux(half, tile[(rows + row) // 2], tile[row // 2])
            m.d.sync += chosen[row].eq(Mux(narrow, halves, tile[row]))
        control = {name: delayed(m, value, 1) for name, value in known.items()}
        for row in range(rows):
            m.submodules[f"row_{row}"] = decoder = share(
                SlotDecoder, formats=decoded.activations, shape=decoded.shapes[0]
            )
            m.d.comb += [
                decoder.byte.eq(chosen[row]),
                decoder.odd.eq(row % 2),
                decoder.valid.eq(1),
                array.activations[row].eq(decoder.pair),
                *_told(decoder, control),
            ]
            if beside(decoded.activations):
                m.d.comb += decoder.other.eq(chosen[row ^ 1])
        return windows, place, narrow

    def _place(self, m: Module, step: data.View, since: int) -> Value:
        """Where in its word a step's tile begins, in halves of ``rows`` bytes; ``since`` cycles after the step."""
        decoded = self._decoded
        halves = decoded.geometry.activation_bytes * 2 // decoded.rows
        sizes = [exact_log2(halves // decoded.word_tiles(variant)) for variant in range(len(decoded.pairs))]
        place = delayed(m, step.part, 1) << of_variant(m, step.variant, sizes)
        return delayed(m, place[: exact_log2(halves)], since - 1)

    def _decode_weights(self, m: Module, sequencer: WeightSequencer, array: WeightStationaryArray) -> None:
        """A decoder for each column, all at the same time."""
        decoded = self._decoded
        known = self._of_variant(m, sequencer.weight_variant, 1, SCRATCHPAD)
        if "weight_odd" in sequencer.signature.members:
            known["odd"] = delayed(m, sequencer.weight_odd, SCRATCHPAD)
        for column in range(decoded.columns):
            m.submodules[f"column_{column}"] = decoder = share(WeightDecoder, array=decoded)
            m.d.comb += [
                decoder.byte.eq(self.weights.data.word_select(column, 8)),
                array.weights[column].eq(decoder.weight),
                # Pairs are never cut: rows are even.
                *(
                    decoder.control[name].eq(value)
                    for name, value in known.items()
                    if name in decoder.control.shape().members
                ),
            ]
        m.d.comb += array.capture.eq(delayed(m, sequencer.weight_first, self._before - 1))


def window(windows: data.View, place: Value) -> data.View:
    """``windows[place]``, of which there may be one alone."""
    return windows[place] if len(place) else windows[0]


def _told(decoder: SlotDecoder, known: dict[str, Value]) -> list:
    """What a decoder is told of a slot, as far as it has to know it."""
    return [
        getattr(decoder, name).eq(value) for name, value in known.items() if name in decoder.signature.members
    ]
