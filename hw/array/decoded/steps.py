"""What each step of an output-stationary core of decoded operands does with its two slots."""

from __future__ import annotations

from amaranth.hdl import Const, Module, Mux, Shape, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from hw.array.decoded.geometry import DecodedArray, scale_type, slot_bits
from hw.array.decoded.output_array import column_control, scaling
from hw.array.decoded.rows import row_control
from hw.array.decoded.setup import long_words, of_variant, uneven_words
from hw.array.decoded.words import WordEnds, is_scale
from hw.pe.block_scale import UNIT_BITS


class Steps(wiring.Component):
    """Tells codes from scales, and which format they have.

    Parameters
    ----------
    array : DecodedArray
    variants : Shape
        Of ``variant``.

    Members
    -------
    variant : In
        Of the command, from the cycle of ``begin`` on.
    begin, step, last, ends, read, index : In
        Of ``OutputSequencer``.
    row : Out(row_control), column : Out(column_control)
        Of this step; ``last`` of each block, if there are blocks.
    further : Out(1)
        A block of the tile was before this one.
    scaling : Out(scaling)
        Of the block that ends with this step, if there are blocks.
    whole : Out(1)
        The step is the last with its word of weights.
    word_ends : Out(1)
        See ``OutputSequencer``; there if ``uneven_words``.
    """

    def __init__(self, *, array: DecodedArray, variants: Shape) -> None:
        self._array = array
        word_bits = exact_log2(array.geometry.activation_bytes)
        super().__init__(
            {
                "variant": In(variants),
                "begin": In(1),
                "step": In(1),
                "last": In(1),
                "ends": In(1),
                "read": In(1),
                "index": In(word_bits + long_words(array)),
                "row": Out(row_control(array)),
                "column": Out(column_control(array)),
                "further": Out(1),
                "whole": Out(1),
                **({"word_ends": Out(1)} if uneven_words(array) else {}),
                **({"scaling": Out(scaling(array))} if array.block else {}),
            }
        )

    def elaborate(self, platform):
        m = Module()
        array = self._array
        narrow: dict[int, Value] = {}
        sides = ((self.row, array.activations, 0), (self.column, array.weights, 1))
        for control, formats, side in sides:
            kept = [pair[side] for pair in array.pairs]
            narrow[side] = self._of_variant(m, [int(slot_bits(one) == 4) for one in kept])
            for name, value in (
                ("format", self._of_variant(m, [formats.index(one) for one in kept])),
                ("narrow", narrow[side]),
            ):
                if name in control.shape().members:
                    m.d.comb += control[name].eq(value)
        place, odd, last, scale = self.index, self.index[0], self.last, Const(0)
        if array.block:
            place, odd, last, scale = self._blocks(m, narrow[0])
        byte = Mux(narrow[0], place[1:], place[:-1]) if long_words(array) else place
        m.d.comb += [
            self.row.odd.eq(odd),
            self.column.odd.eq(odd),
            self.row.load.eq(self.read & (self.index == 0)),
            self.row.index.eq(byte),
            self.row.last.eq(last),
            self.row.ends.eq(self.ends),
            self.column.last.eq(last),
            self.whole.eq(self.step & (~narrow[1] | odd | scale | self.last)),
        ]
        if not array.block:
            m.d.comb += self.row.valid.eq(self.step)
        return m

    def _of_variant(self, m: Module, values: list[int]) -> Value:
        """What is so for the variant: a register, from a tile's first step on."""
        return of_variant(m, self.variant, values)

    def _blocks(self, m: Module, narrow: Value) -> tuple[Value, Value, Value, Value]:
        """Counts the slots of a block: place in the row's word, in halves of bytes if they are ``narrow``; whether a slot is odd,
        the last of a block or of a sum that is cut short, one of a scale.
        """
        array, variants = self._array, range(len(self._array.pairs))
        lengths = [array.block_length(variant) for variant in variants]
        slot, last = Signal(max(lengths).bit_length()), Signal()
        length = self._of_variant(m, lengths)
        end = self._of_variant(m, [array.block_steps(variant) - 1 for variant in variants])
        scale = is_scale(slot, length)
        m.d.comb += [
            last.eq((self.step & (slot == end)) | self.last),
            self.row.valid.eq(self.step & ~scale),
        ]
        place: Value = self.index
        if uneven_words(array):
            m.submodules.word_ends = words = WordEnds(
                word_bits=exact_log2(array.geometry.activation_bytes), slot_bits=len(slot)
            )
            place = Signal.like(self.index)
            m.d.sync += place.eq(Mux(self.begin, 0, place + 1 + (narrow & scale)))
            m.d.comb += [
                words.begin.eq(self.begin),
                words.narrow.eq(narrow),
                words.length.eq(length),
                words.end.eq(end),
                self.word_ends.eq(words.ends),
            ]
        with m.If(self.step):
            m.d.sync += slot.eq(slot + 1)
        with m.If(last):
            m.d.sync += [slot.eq(0), self.further.eq(1)]
        with m.If(self.begin):
            m.d.sync += [slot.eq(0), self.further.eq(0)]
        for control, side in ((self.row, 0), (self.column, 1)):
            if "scale" in control.shape().members:
                own = self._of_variant(m, [array.own_scale_slots(variant)[side] for variant in variants])
                m.d.comb += control.scale.eq(self.step & scale & (slot[:3] < own))
        x_kinds, w_kinds = array.scale_kinds
        units = [(x.unit + w.unit + array.dropped) % (1 << UNIT_BITS) for x, w in array.pairs]
        m.d.comb += [
            self.scaling.load.eq(last),
            self.scaling.x_kind.eq(
                self._of_variant(m, [x_kinds.index(scale_type(x)) for x, _ in array.pairs])
            ),
            self.scaling.w_kind.eq(
                self._of_variant(m, [w_kinds.index(scale_type(w)) for _, w in array.pairs])
            ),
            self.scaling.unit.eq(self._of_variant(m, units)),
        ]
        return place, slot[0] & ~scale, last, scale
