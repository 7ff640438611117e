"""From words of successive slots of one row to a skewed pair of every row: the left edge of an array of decoded operands."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from hw.array.decoded.geometry import DecodedArray
from hw.array.decoded.slots import SlotDecoder, beside, slot_control
from hw.delay import delayed
from hw.pe.decoder import pair_layout
from hw.pe.exponent_integer_times import output_latency
from hw.share import share
from hw.timing import SLOT_DECODER


def row_control(array: DecodedArray) -> data.StructLayout:
    """What row 0 does in a step; every other row does the same a cycle after the row above it.

    ``load``: the word of this step is this row's, and its byte 0 has the slot. ``index``: byte of the row's word; what
    ``slot_control`` says of the slot. ``last``: it is the last of a sum; ``ends``: and of the command.
    """
    word_bits = exact_log2(array.geometry.activation_bytes)
    slot = slot_control(array.activations, scale_bits=array.scale_bits[0])
    return data.StructLayout({"load": 1, "index": word_bits, **slot, "last": 1, "ends": 1})


class DecodedRow(wiring.Component):
    """One row: keeps its word, and decodes a slot per cycle.

    Parameters
    ----------
    array : DecodedArray

    Members
    -------
    word : In
    control : In(row_control)
        ``control_next``, one cycle later, for the row below.
    activation : Out(pair_layout), last : Out(1)
        ``SLOT_DECODER + 2`` cycles after ``control``; zero when there is none.
    scale : Out
        The scale of the block that ended with ``last``, in the cycle of its result at the element of column 0; zero in all
        others. Not there without scales.
    """

    def __init__(self, *, array: DecodedArray) -> None:
        self._array = array
        control, scale_bits = row_control(array), array.scale_bits[0]
        super().__init__(
            {
                "word": In(8 * array.geometry.activation_bytes),
                "control": In(control),
                "control_next": Out(control),
                "activation": Out(pair_layout(array.shapes[0])),
                "last": Out(1),
                **({"scale": Out(scale_bits)} if scale_bits else {}),
            }
        )

    def elaborate(self, platform):
        m = Module()
        array = self._array
        formats, scale_bits = array.activations, array.scale_bits[0]
        kept = Signal(data.ArrayLayout(8, array.geometry.activation_bytes), reset_less=True)
        m.submodules.decoder = decoder = SlotDecoder(
            formats=formats, shape=array.shapes[0], scale_bits=scale_bits
        )
        control = self.control_next
        m.d.sync += [control.eq(self.control), decoder.byte.eq(kept[control.index])]
        with m.If(self.control.load):
            m.d.sync += kept.eq(self.word)
        if beside(formats):
            m.d.sync += decoder.other.eq(kept[control.index ^ 1])
        for name in slot_control(formats, scale_bits=scale_bits):
            m.d.sync += getattr(decoder, name).eq(control[name])
        m.d.comb += [
            self.activation.eq(decoder.pair),
            self.last.eq(delayed(m, control.last, 1 + SLOT_DECODER)),
        ]
        if scale_bits:
            result = delayed(m, self.last, output_latency(*array.shapes) - 1)
            m.d.sync += self.scale.eq(Mux(result, decoder.collected, 0))
        return m


class DecodedRows(wiring.Component):
    """Broadcasts words to the rows; each takes its own. Like ``hw.array.corner_turn.CornerTurn``.

    Parameters
    ----------
    array : DecodedArray

    Members
    -------
    word : In
        In a step with ``control.load``, and in those after it: the words of rows 0, 1, ... one after another.
    control : In(row_control)
        Of row 0.
    activations : Out, last : Out(rows), scales : Out
        Skewed: row r's are r cycles after row 0's. No ``scales`` without scales of blocks.
    control_last : Out(row_control)
        ``control`` as the last row has taken it.

    Timing
    ------
    ``hw.timing.DECODED_TURN`` cycles from ``word`` and ``control`` to ``activations[0]`` and ``last[0]``; ``rows + 1`` cycles
    from ``control`` to ``control_last``.
    """

    def __init__(self, *, array: DecodedArray) -> None:
        self._array = array
        control, scale_bits, rows = row_control(array), array.scale_bits[0], array.rows
        super().__init__(
            {
                "word": In(8 * array.geometry.activation_bytes),
                "control": In(control),
                "activations": Out(data.ArrayLayout(pair_layout(array.shapes[0]), rows)),
                "last": Out(rows),
                "control_last": Out(control),
                **({"scales": Out(data.ArrayLayout(scale_bits, rows))} if scale_bits else {}),
            }
        )

    def elaborate(self, platform):
        m = Module()
        word, control = Signal.like(self.word, reset_less=True), Signal.like(self.control)
        m.d.sync += [word.eq(self.word), control.eq(self.control)]
        for index in range(self._array.rows):
            m.submodules[f"row_{index}"] = row = share(DecodedRow, array=self._array)
            m.d.comb += [
                row.word.eq(word),
                row.control.eq(control),
                self.activations[index].eq(row.activation),
                self.last[index].eq(row.last),
            ]
            if self._array.scale_bits[0]:
                m.d.comb += self.scales[index].eq(row.scale)
            control = row.control_next
        m.d.comb += self.control_last.eq(control)
        return m
