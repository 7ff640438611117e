"""The weight-stationary core of decoded operands with scales of blocks: EXECUTE commands in, skewed results out."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data

from hw.array.decoded.geometry import scale_type, slot_bits
from hw.array.decoded.setup import of_variant
from hw.array.decoded.weight_block_array import BlockArray
from hw.array.decoded.weight_blocks import StationaryBlocks, scale_bytes
from hw.array.decoded.weight_core import DecodedWeightCore, window
from hw.array.weight_sequencer import WeightSequencer
from hw.array.weight_stationary import WeightStationaryArray
from hw.delay import RingDelay, delayed
from hw.design import Design
from hw.pe.block_scale import UNIT_BITS
from hw.timing import SCRATCHPAD, SLOT_DECODER


class DecodedBlockCore(DecodedWeightCore):
    """As its base; behind the weights of a tile come its scales, that of a row's activations with these.

    Parameters
    ----------
    design : Design
    array : StationaryBlocks

    Members
    -------
    See ``hw.interfaces.core_members``.

    Timing
    ------
    As its base: the weights of a tile take ``rows + array.scale_words`` cycles.
    """

    _decoded: StationaryBlocks

    def __init__(self, *, design: Design, array: StationaryBlocks) -> None:
        super().__init__(design=design, array=array)

    def _array(self) -> WeightStationaryArray:
        return BlockArray(array=self._decoded)

    def _decode_weights(self, m: Module, sequencer: WeightSequencer, array: WeightStationaryArray) -> None:
        """What the columns' decoders are told."""
        known = self._of_variant(m, sequencer.weight_variant, 1, SCRATCHPAD)
        for name in ("odd", "scale"):
            if f"weight_{name}" in sequencer.signature.members:
                known[name] = delayed(m, getattr(sequencer, f"weight_{name}"), SCRATCHPAD)
        m.d.comb += [
            Value.cast(array.weights).eq(self.weights.data[: 8 * self._decoded.columns]),
            array.capture.eq(delayed(m, sequencer.weight_first, self._before - 1)),
            *(
                array.control[name].eq(value)
                for name, value in known.items()
                if name in array.control.shape().members
            ),
        ]

    def _decode_activations(
        self, m: Module, sequencer: WeightSequencer, array: WeightStationaryArray
    ) -> tuple[data.View, Value, Value]:
        """As its base; and their scale, with what is to be known of the sums, to the foot of column 0."""
        word = super()._decode_activations(m, sequencer, array)
        decoded, step = self._decoded, sequencer.step
        since = decoded.weights_ahead + SCRATCHPAD
        (x_kinds, w_kinds), bits = decoded.scale_kinds, decoded.scale_bits[0]
        values = {
            "x_kind": [x_kinds.index(scale_type(x)) for x, _ in decoded.pairs],
            "w_kind": [w_kinds.index(scale_type(w)) for _, w in decoded.pairs],
            "unit": [(x.unit + w.unit + decoded.dropped) % (1 << UNIT_BITS) for x, w in decoded.pairs],
        }
        scaling, scale = Signal.like(array.scaling), Signal(bits)
        m.d.comb += scaling.load.eq(delayed(m, step.first, since))
        for name, each in values.items():
            m.d.comb += scaling[name].eq(delayed(m, of_variant(m, step.variant, each), since - 1))
        cycles = SLOT_DECODER + decoded.rows - 1 + decoded.sum_latency
        m.submodules.scale_delay = ring = RingDelay(width=len(Value.cast(scaling)) + bits, cycles=cycles)
        m.d.comb += [
            ring.i[bits:].eq(Value.cast(scaling)),
            Value.cast(array.scaling).eq(ring.o[bits:]),
        ]
        if bits:
            long = self._long(m, step, since) if bits == 16 else 0
            m.d.sync += scale.eq(self._found(*word, long)[-bits:])
            m.d.comb += [ring.i[:bits].eq(scale), array.scale.eq(ring.o[:bits])]
        return word

    def _long(self, m: Module, step: data.View, since: int) -> Value:
        """Whether scales have two bytes."""
        sizes = [int(scale_bytes(x) == 2) for x, _ in self._decoded.pairs]
        return delayed(m, of_variant(m, step.variant, sizes), since - 1)

    def _found(self, windows: data.View, place: Value, narrow: Value, long: Value | int) -> Value:
        """16 bits: the scale behind the codes of the tile at ``place``; one byte alone is the upper one."""
        rows = self._decoded.rows
        behind = [Value.cast(window(windows, place[1:]))[4 * rows :][:16]]
        if any(slot_bits(one) == 8 and scale_bytes(one) for one in self._decoded.activations):
            behind.append(Value.cast(windows[place[1:] | 1])[:16])
        found = Mux(narrow, behind[0], behind[-1])
        return Mux(long, found, found << 8)[:16]
