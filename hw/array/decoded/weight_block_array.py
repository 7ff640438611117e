"""The weight-stationary array of decoded operands with scales of blocks: decoders at the top, scalers below its columns."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.array.decoded.output_array import scaling
from hw.array.decoded.slots import SlotDecoder, beside, slot_control
from hw.array.decoded.weight_array import DecodedWeightColumn
from hw.array.decoded.weight_blocks import StationaryBlocks
from hw.array.weight_stationary import WeightStationaryArray
from hw.delay import delayed
from hw.pe.block_scale import BlockScale
from hw.pe.decoder import pair_layout
from hw.share import share
from hw.timing import SCRATCHPAD


def weight_control(array: StationaryBlocks) -> data.StructLayout:
    """What column 0 does with a byte of weights; every other column does the same a cycle later.

    What ``slot_control`` says of the slot, but ``valid``. ``scale``: the byte is one of the scale; not there without scales.
    """
    slot = {name: bits for name, bits in slot_control(array.weights).items() if name != "valid"}
    return data.StructLayout(slot | ({"scale": 1} if array.scale_bits[1] else {}))


def _passed(array: StationaryBlocks) -> dict:
    """What goes from column to column besides operands."""
    x_bits = array.scale_bits[0]
    return {"control": weight_control(array), "scaling": scaling(array)} | (
        {"scale": x_bits} if x_bits else {}
    )


class BlockWeightDecoder(wiring.Component):
    """The top of a column: decodes its weights, and keeps the bytes of their scale.

    Parameters
    ----------
    array : StationaryBlocks

    Members
    -------
    byte : In(8)
    control : In(weight_control)
        ``control_next``, one cycle later, for the next column.
    weight : Out(pair_layout)
        ``array.weights_ahead + SLOT_DECODER`` cycles after ``byte``.
    scale : Out
        The last bytes with ``control.scale``, the latest at the top, from the next cycle on. Not there without scales.
    """

    def __init__(self, *, array: StationaryBlocks) -> None:
        self._array = array
        control, bits = weight_control(array), array.scale_bits[1]
        super().__init__(
            {
                "byte": In(8),
                "control": In(control),
                "control_next": Out(control),
                "weight": Out(pair_layout(array.shapes[1])),
                **({"scale": Out(bits)} if bits else {}),
            }
        )

    def elaborate(self, platform):
        m = Module()
        formats = self._array.weights
        m.submodules.decoder = decoder = SlotDecoder(formats=formats, shape=self._array.shapes[1])
        m.d.sync += self.control_next.eq(self.control)
        control, byte = self.control, self.byte
        if beside(formats):
            # Pairs are never cut: rows are even.
            control, byte = self.control_next, delayed(m, self.byte, 1)
            m.d.comb += decoder.other.eq(Mux(control.odd, delayed(m, byte, 1), self.byte))
        m.d.comb += [decoder.byte.eq(byte), decoder.valid.eq(1), self.weight.eq(decoder.pair)]
        for name in slot_control(formats):
            if name != "valid":
                m.d.comb += getattr(decoder, name).eq(control[name])
        if self._array.scale_bits[1]:
            with m.If(self.control.scale):
                m.d.sync += self.scale.eq(Cat(self.scale, self.byte)[-len(self.scale) :])
        return m


class BlockColumn(wiring.Component):
    """One column: a decoder, the elements, and what scales their sums.

    Members
    -------
    activations, capture, swap : In
        As of ``WeightStationaryColumn``.
    weight : In(8)
        The byte of the weight, before it is decoded.
    control : In(weight_control), scaling : In(scaling)
        With ``weight``; and a cycle before the first sum that they are for.
    scale : In
        Of the activations, with their sum. Not there without scales.
    result : Out(32)
        float32. All others but ``weight`` and ``result`` go to the right as ``..._next``, one cycle later.

    Timing
    ------
    As column 0 of :class:`BlockArray`.
    """

    def __init__(self, *, array: StationaryBlocks) -> None:
        self._array, rows = array, array.rows
        operands = data.ArrayLayout(pair_layout(array.shapes[0]), rows)
        passed = {"activations": operands, "capture": rows, "swap": rows} | _passed(array)
        super().__init__(
            {name: In(shape) for name, shape in passed.items()}
            | {f"{name}_next": Out(shape) for name, shape in passed.items()}
            | {"weight": In(8), "result": Out(32)}
        )

    def elaborate(self, platform):
        m = Module()
        array = self._array
        m.submodules.decoder = decoder = share(BlockWeightDecoder, array=array)
        m.submodules.elements = elements = share(DecodedWeightColumn, array=array)
        m.d.comb += [
            decoder.byte.eq(self.weight),
            decoder.control.eq(self.control),
            self.control_next.eq(decoder.control_next),
            elements.weight.eq(decoder.weight),
        ]
        for name in ("activations", "capture", "swap"):
            m.d.comb += [
                getattr(elements, name).eq(getattr(self, name)),
                getattr(self, f"{name}_next").eq(getattr(elements, f"{name}_next")),
            ]
        (x_kinds, w_kinds), (x_bits, w_bits) = array.scale_kinds, array.scale_bits
        m.submodules.scale = scale = share(
            BlockScale, width=array.sum_bits, x_kinds=x_kinds, w_kinds=w_kinds, x_bits=x_bits, w_bits=w_bits
        )
        m.d.comb += [scale.total.eq(elements.result), self.result.eq(scale.result)]
        m.d.sync += self.scaling_next.eq(self.scaling)
        with m.If(self.scaling.load):
            m.d.sync += [getattr(scale, name).eq(self.scaling[name]) for name in ("x_kind", "w_kind", "unit")]
        if w_bits:
            # The next tile's bytes come when its weights are in, at the earliest when this tile's have been swapped in down to
            # this row; by then sums of the tile before may still have to be scaled.
            waiting = Signal(w_bits)
            with m.If(self.swap[array.rows + SCRATCHPAD + 1 - array.select_latency]):
                m.d.sync += waiting.eq(decoder.scale)
            with m.If(self.scaling.load):
                m.d.sync += scale.w_scale.eq(waiting)
        if x_bits:
            m.d.sync += self.scale_next.eq(self.scale)
            m.d.comb += scale.x_scale.eq(self.scale)
        return m


class BlockArray(WeightStationaryArray):
    """As its base, of bytes of weights before they are decoded, and of results that are scaled.

    Parameters
    ----------
    array : StationaryBlocks

    Members
    -------
    weights : In(ArrayLayout(8, columns)), control : In(weight_control)
        ``array.weights_ahead + SLOT_DECODER`` cycles before ``capture`` would have to come with the pairs.
    scaling : In(scaling)
        ``rows - 2 + array.sum_latency`` cycles after the activations of the first sum that it is for.
    scale : In
        Of the activations, ``rows - 1 + array.sum_latency`` cycles after them. Not there without scales.

    Timing
    ------
    Results come ``rows - 1 + array.element_latency`` cycles after their activations in column 0.
    """

    def __init__(self, *, array: StationaryBlocks) -> None:
        self._array = array
        super().__init__(
            rows=array.rows,
            columns=array.columns,
            activation=pair_layout(array.shapes[0]),
            weight=8,
            also=_passed(array),
        )

    def _column(self):
        return share(BlockColumn, array=self._array)
