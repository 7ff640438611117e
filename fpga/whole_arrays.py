"""Whole arrays between what words come in and results go out: decoded operands, plain int8, codes that are dequantised to it.

For measuring: no part of any design. All take a product in each element and cycle.
"""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from fpga.dequantised import Dequantiser, value_bits
from hw.array.corner_turn import CornerTurn, step_control
from hw.array.decoded.geometry import DecodedArray
from hw.array.decoded.output_array import DecodedOutputArray, WeightDecoder, column_control, scaling
from hw.array.decoded.rows import DecodedRows, row_control
from hw.array.decoded.slots import SlotDecoder, slot_control
from hw.array.decoded.weight_array import DecodedWeightArray
from hw.array.geometry import power_of_two_from
from hw.array.output_stationary import OutputStationaryArray
from hw.delay import delayed
from hw.formats.format import Format
from hw.formats.olive import PairFormat
from hw.share import share


class DecodedMatrix(wiring.Component):
    """Rows and columns of decoders, and the elements: members of :class:`DecodedRows` and :class:`DecodedOutputArray`.

    Parameters
    ----------
    array : DecodedArray
    """

    def __init__(self, *, array: DecodedArray) -> None:
        self._array = array
        super().__init__(
            {
                "word": In(8 * array.geometry.activation_bytes),
                "row": In(row_control(array)),
                "weights": In(data.ArrayLayout(8, array.columns)),
                "column": In(column_control(array)),
                "valid": Out(1),
                "results": Out(data.ArrayLayout(32, array.columns)),
                **({"scaling": In(scaling(array))} if array.block else {}),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.rows = rows = DecodedRows(array=self._array)
        m.submodules.array = array = DecodedOutputArray(array=self._array)
        m.d.comb += [
            rows.word.eq(self.word),
            rows.control.eq(self.row),
            array.activations.eq(rows.activations),
            array.last.eq(rows.last),
            array.weights.eq(self.weights),
            array.control.eq(self.column),
            self.valid.eq(array.valid),
            self.results.eq(array.results),
        ]
        if self._array.block:
            m.d.comb += array.scaling.eq(self.scaling)
        if self._array.scale_bits[0]:
            m.d.comb += array.scales.eq(rows.scales)
        return m


class StationaryMatrix(wiring.Component):
    """Decoders of all rows and columns, and elements in which weights stay: what a weight-stationary core has around them.

    Parameters
    ----------
    array : DecodedArray
        Weight-stationary, of int32 sums, activations not in pairs of 8 bits.

    Members
    -------
    bytes : In(ArrayLayout(8, rows)), row : In(StructLayout(slot_control))
        Bytes of all rows, and what is to be known of their slots.
    weights : In(ArrayLayout(8, columns)), column : In(column_control)
        The same of weights.
    capture, swap : In(1), results : Out
        Of :class:`hw.array.weight_stationary.WeightStationaryArray`.
    """

    def __init__(self, *, array: DecodedArray) -> None:
        self._array = array
        super().__init__(
            {
                "bytes": In(data.ArrayLayout(8, array.rows)),
                "row": In(data.StructLayout(slot_control(array.activations))),
                "weights": In(data.ArrayLayout(8, array.columns)),
                "column": In(column_control(array)),
                "capture": In(1),
                "swap": In(1),
                "results": Out(data.ArrayLayout(32, array.columns)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        decoded = self._array
        m.submodules.array = array = DecodedWeightArray(array=decoded)
        for row in range(decoded.rows):
            m.submodules[f"row_{row}"] = decoder = share(
                SlotDecoder, formats=decoded.activations, shape=decoded.shapes[0]
            )
            m.d.comb += [decoder.byte.eq(self.bytes[row]), array.activations[row].eq(decoder.pair)]
            m.d.comb += [getattr(decoder, name).eq(self.row[name]) for name in self.row.shape().members]
        for column in range(decoded.columns):
            m.submodules[f"column_{column}"] = top = share(WeightDecoder, array=decoded)
            m.d.comb += [
                top.byte.eq(self.weights[column]),
                top.control.eq(self.column),
                array.weights[column].eq(top.weight),
            ]
        m.d.comb += [
            array.capture.eq(self.capture),
            array.swap.eq(self.swap),
            self.results.eq(array.results),
        ]
        return m


class PlainMatrix(wiring.Component):
    """The corner turn and the elements of the systolic family; with ``format``, codes become int8 on the borders.

    Parameters
    ----------
    rows, columns : int
    data_bytes : int
        Least bytes of a word of activations.
    format : Format or None
        Of codes of 4 bits whose integers fit 8, two in a byte, zero's code 0; None: bytes are the operands.

    Members
    -------
    word : In, row : In(step_control), odd : In(1)
        Of :class:`CornerTurn`; ``odd``, which half of a byte row 0 takes, is there with ``format`` alone.
    weights : In(ArrayLayout(8, columns)), weights_odd : In(1)
        Bytes of all columns, and which half they take.
    valid, results
        Of :class:`OutputStationaryArray`.

    Raises
    ------
    ValueError
        ``format`` has not 4 bits, integers of more than 8 bits, or another code of zero.
    """

    def __init__(self, *, rows: int, columns: int, data_bytes: int, format: Format | None = None) -> None:
        if format and (format.bits != 4 or value_bits(format) > 8 or format.tables[0][0] != 0):
            raise ValueError(f"format must have 4 bits, 8 of integers and zero at 0, not be {format.name}")
        self._rows, self._columns, self._format = rows, columns, format
        self._word_bytes = max(data_bytes, power_of_two_from(rows))
        super().__init__(
            {
                "word": In(8 * self._word_bytes),
                "row": In(step_control(self._word_bytes)),
                "weights": In(data.ArrayLayout(8, columns)),
                "valid": Out(1),
                "results": Out(data.ArrayLayout(32, columns)),
                **({"odd": In(1), "weights_odd": In(1)} if format else {}),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.rows = rows = CornerTurn(rows=self._rows, word_bytes=self._word_bytes)
        m.submodules.array = array = OutputStationaryArray(rows=self._rows, columns=self._columns)
        m.d.comb += [
            rows.word.eq(self.word),
            rows.control.eq(self.row),
            self.valid.eq(array.valid),
            self.results.eq(array.results),
        ]
        if self._format is None:
            m.d.comb += [
                array.activations.eq(rows.activations), array.last.eq(rows.last), Value.cast(array.weights).eq(self.weights),
            ]  # fmt: skip
            return m
        odd: Value = self.odd
        for index in range(self._rows):
            # With the byte, which the corner turn takes three cycles to find, and a cycle later for each row.
            odd = delayed(m, odd, 1 if index else 3)
            found = self._dequantised(m, f"row_{index}", rows.activations[index].as_unsigned(), odd)
            m.d.comb += [
                array.activations[index].eq(found),
                array.last[index].eq(delayed(m, rows.last[index], 2)),
            ]
        for index in range(self._columns):
            found = self._dequantised(m, f"column_{index}", self.weights[index], self.weights_odd)
            m.d.comb += array.weights[index].eq(found)
        return m

    def _dequantised(self, m: Module, name: str, byte: Value, odd: Value) -> Value:
        """The integer of one half of a byte, two cycles later."""
        m.submodules[name] = decoder = share(Dequantiser, format=self._format)
        m.d.sync += decoder.code.eq(Mux(odd, byte[4:], byte[:4]))
        if isinstance(self._format, PairFormat):
            m.d.sync += decoder.neighbour.eq(Mux(odd, byte[:4], byte[4:]))
        return decoder.value
