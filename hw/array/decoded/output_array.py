"""The output-stationary array of decoded operands: a decoder at the top of each column, sums stay in the elements."""

from __future__ import annotations

from amaranth.hdl import Module, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.array.decoded.geometry import DecodedArray
from hw.array.decoded.slots import SlotDecoder, beside, slot_control
from hw.array.output_stationary import Drain
from hw.delay import delayed
from hw.pe.block_scale import UNIT_BITS, BlockScale
from hw.pe.decoder import pair_layout
from hw.pe.exponent_integer import OutputStationaryElement
from hw.share import share


def column_control(array: DecodedArray) -> data.StructLayout:
    """What column 0 does with a byte of weights; every other column does the same a cycle later.

    What ``slot_control`` says of the slot, but ``valid``. ``last``: it is the last of a sum, and has no neighbour after it.
    """
    slot = slot_control(array.weights, scale_bits=array.scale_bits[1])
    return data.StructLayout({name: bits for name, bits in slot.items() if name != "valid"} | {"last": 1})


def scaling(array: DecodedArray) -> data.StructLayout:
    """What the sums of a block are scaled by, besides their scales; at column 0, and a cycle later at every other one.

    ``load``: they are those of the sums from the next cycle on. ``x_kind``, ``w_kind``: places of the types of both scales in
    ``array.scale_kinds``; ``unit``: the logarithm of what sums count in.
    """
    x, w = ((len(kinds) - 1).bit_length() for kinds in array.scale_kinds)
    return data.StructLayout({"load": 1, "x_kind": x, "w_kind": w, "unit": signed(UNIT_BITS)})


class WeightDecoder(wiring.Component):
    """The top of a column: decodes its weights.

    Parameters
    ----------
    array : DecodedArray

    Members
    -------
    byte : In(8)
    control : In(column_control)
        ``control_next``, one cycle later, for the next column.
    weight : Out(pair_layout)
    collected : Out
        Of ``SlotDecoder``; not there without scales.

    Timing
    ------
    ``weight`` comes ``array.weights_ahead + SLOT_DECODER`` cycles after ``byte``.
    """

    def __init__(self, *, array: DecodedArray) -> None:
        self._array = array
        control, scale_bits = column_control(array), array.scale_bits[1]
        super().__init__(
            {
                "byte": In(8),
                "control": In(control),
                "control_next": Out(control),
                "weight": Out(pair_layout(array.shapes[1])),
                **({"collected": Out(scale_bits)} if scale_bits else {}),
            }
        )

    def elaborate(self, platform):
        m = Module()
        array = self._array
        scale_bits = array.scale_bits[1]
        m.submodules.decoder = decoder = SlotDecoder(
            formats=array.weights, shape=array.shapes[1], scale_bits=scale_bits
        )
        if scale_bits:
            m.d.comb += self.collected.eq(decoder.collected)
        m.d.sync += self.control_next.eq(self.control)
        control, byte = self.control, self.byte
        if beside(array.weights):
            control, byte = self.control_next, delayed(m, self.byte, 1)
            before = delayed(m, byte, 1)
            with m.If(control.odd):
                m.d.comb += decoder.other.eq(before)
            with m.Elif(~control.last):
                m.d.comb += decoder.other.eq(self.byte)
        m.d.comb += [decoder.byte.eq(byte), decoder.valid.eq(1), self.weight.eq(decoder.pair)]
        for name in slot_control(array.weights, scale_bits=scale_bits):
            if name != "valid":
                m.d.comb += getattr(decoder, name).eq(control[name])
        return m


class DecodedOutputColumn(wiring.Component):
    """One column: a decoder, ``rows`` elements and their drains. An array is columns side by side, elaborated once.

    Members
    -------
    activations : In, last : In(rows)
        From the left, skewed; ``activations_next`` and ``last_next``, one cycle later, to the right.
    byte : In(8), control : In(column_control)
        Of the weight, before it is decoded; ``control_next``, one cycle later, to the right.
    scaling : In(scaling), scale : In
        With blocks: see ``scaling``, and the scale of the row whose sum is at the top, if there are any; ``scaling_next`` and
        ``scale_next``, one cycle later, to the right.
    result : Out, valid : Out(1)

    Timing
    ------
    As column 0 of :class:`DecodedOutputArray`.
    """

    def __init__(self, *, array: DecodedArray) -> None:
        self._array = array
        rows, control = array.rows, column_control(array)
        operands = data.ArrayLayout(pair_layout(array.shapes[0]), rows)
        super().__init__(
            {
                "activations": In(operands),
                "last": In(rows),
                "byte": In(8),
                "control": In(control),
                "activations_next": Out(operands),
                "last_next": Out(rows),
                "control_next": Out(control),
                "result": Out(32),
                "valid": Out(1),
                **_scale_members(array),
            }
        )

    def elaborate(self, platform):
        m = Module()
        array = self._array
        activation, weight = array.shapes
        m.submodules.decoder = decoder = share(WeightDecoder, array=array)
        m.submodules.drain = results = share(Drain, rows=array.rows, width=array.sum_bits)
        m.submodules.drain_valid = valids = share(Drain, rows=array.rows, width=1)
        m.d.comb += [
            decoder.byte.eq(self.byte),
            decoder.control.eq(self.control),
            self.control_next.eq(decoder.control_next),
            self.valid.eq(delayed(m, valids.top, array.scale_latency)),
        ]
        if array.block:
            self._scale(m, results.top, decoder)
        else:
            m.d.comb += self.result.eq(results.top)
        above = decoder.weight
        for row in range(array.rows):
            m.submodules[f"element_{row}"] = element = share(
                OutputStationaryElement,
                activation=activation,
                weight=weight,
                sum_width=array.sum_bits,
                dropped=array.dropped,
            )
            m.d.comb += [
                element.activation.eq(self.activations[row]),
                element.last.eq(self.last[row]),
                element.weight.eq(above),
                self.activations_next[row].eq(element.activation_next),
                self.last_next[row].eq(element.last_next),
                results.results[row].eq(element.result),
                valids.results[row].eq(element.valid),
            ]
            above = element.weight_next
        return m

    def _scale(self, m: Module, total: Value, decoder) -> None:
        """From the sum at the top to its result."""
        array, scaling = self._array, self.scaling
        (x_kinds, w_kinds), (x_bits, w_bits) = array.scale_kinds, array.scale_bits
        m.submodules.scale = scale = share(
            BlockScale, width=array.sum_bits, x_kinds=x_kinds, w_kinds=w_kinds, x_bits=x_bits, w_bits=w_bits
        )
        m.d.sync += self.scaling_next.eq(scaling)
        # The next block's scale comes behind its codes.
        with m.If(scaling.load):
            m.d.sync += [getattr(scale, name).eq(scaling[name]) for name in ("x_kind", "w_kind", "unit")]
            if w_bits:
                m.d.sync += scale.w_scale.eq(decoder.collected)
        m.d.comb += [scale.total.eq(total), self.result.eq(scale.result)]
        if x_bits:
            m.d.sync += self.scale_next.eq(self.scale)
            m.d.comb += scale.x_scale.eq(self.scale)


def _scale_members(array: DecodedArray) -> dict:
    """Of a column."""
    if not array.block:
        return {}
    members = {"scaling": scaling(array)} | ({"scale": array.scale_bits[0]} if array.scale_bits[0] else {})
    return {name: In(shape) for name, shape in members.items()} | {
        f"{name}_next": Out(shape) for name, shape in members.items()
    }


class DecodedOutputArray(wiring.Component):
    """Columns of elements with a decoder each, and the skew of the weights.

    Parameters
    ----------
    array : DecodedArray

    Members
    -------
    activations : In, last : In(rows)
        Decoded, and already skewed: row r's operand r cycles after row 0's. Zero when there is none.
    weights : In(ArrayLayout(8, columns))
        Bytes of all columns at the same time, ``array.weights_ahead + SLOT_DECODER`` cycles before the activation of row 0.
    control : In(column_control)
        Of column 0, with ``weights``.
    scaling : In(scaling), scales : In
        With blocks: of column 0, and the scales of rows, skewed, at their elements' sums.
    valid : Out(1)
        Column 0 of ``results`` is a result.
    results : Out
        Column c's comes c cycles after column 0's.

    Timing
    ------
    With the last operand of row 0 in cycle t, row r's result is at column c in cycle
    ``t + r + array.element_latency + r // DRAIN_ROWS + 1 + c``. Operands follow each other without a gap; the last operands of
    two sums must be at least ``array.drain`` cycles apart.
    """

    def __init__(self, *, array: DecodedArray) -> None:
        self._array = array
        scale_bits = array.scale_bits[0]
        super().__init__(
            {
                "activations": In(data.ArrayLayout(pair_layout(array.shapes[0]), array.rows)),
                "last": In(array.rows),
                "weights": In(data.ArrayLayout(8, array.columns)),
                "control": In(column_control(array)),
                "valid": Out(1),
                "results": Out(data.ArrayLayout(32, array.columns)),
                **({"scaling": In(scaling(array))} if array.block else {}),
                **({"scales": In(data.ArrayLayout(scale_bits, array.rows))} if scale_bits else {}),
            }
        )

    def elaborate(self, platform):
        m = Module()
        activations, last, control = self.activations, self.last, self.control
        weights = Value.cast(self.weights)
        scaling, scale = None, None
        if self._array.block:
            scaling = self.scaling
        if self._array.scale_bits[0]:
            m.submodules.drain = drain = share(Drain, rows=self._array.rows, width=self._array.scale_bits[0])
            m.d.comb += drain.results.eq(self.scales)
            scale = drain.top
        for index in range(self._array.columns):
            m.submodules[f"column_{index}"] = column = share(DecodedOutputColumn, array=self._array)
            m.d.comb += [
                column.activations.eq(activations),
                column.last.eq(last),
                column.byte.eq(weights[:8]),
                column.control.eq(control),
                self.results[index].eq(column.result),
            ]
            if index == 0:
                m.d.comb += self.valid.eq(column.valid)
            if scaling is not None:
                m.d.comb += column.scaling.eq(scaling)
                scaling = column.scaling_next
            if scale is not None:
                m.d.comb += column.scale.eq(scale)
                scale = column.scale_next
            activations, last, control = column.activations_next, column.last_next, column.control_next
            # The bytes of the columns that follow, a cycle later for each.
            weights = delayed(m, weights[8:], 1)
        return m
