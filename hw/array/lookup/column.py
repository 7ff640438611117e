"""A column of lookup units: its words of weights, zero points and scales, and what they are told."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from operator import or_
from types import MappingProxyType
from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.array.lookup.control import (
    BLOCK,
    BLOCK_BITS,
    control_layout,
    nothing,
    stream_layout,
    zero_bits,
    zero_words,
)
from hw.array.lookup.geometry import SCALE_STEP, LookupArray
from hw.array.lookup.tables import tables_layout
from hw.delay import delayed
from hw.pe.element_times import SCALE_BITS
from hw.pe.lookup import LookupUnit, TableSelect
from hw.pe.scaled_sum import RESULT_BITS
from hw.share import share


def unit_arguments(array: LookupArray) -> dict[str, Any]:
    """Of the array's :class:`hw.pe.lookup.LookupUnit`."""
    quantised = {"width": 8, "serial": True} if array.quantised else {}
    return {
        "k": array.k, "groups_per_lane": array.groups_per_lane, "planes": array.planes, "group": array.group,
        "zero_points": array.halved, "stored": True, "outputs": array.outputs, "halved": array.halved,
        "scaled": not array.floats, "scale_step": 1 if array.floats else SCALE_STEP, "blocks": array.small, **quantised,
    }  # fmt: skip


class BitStream(wiring.Component):
    """Bits that come in words, and are taken one, or a few, a cycle.

    They stay in their register: to choose one of it takes half as many look-up tables as to shift it, or to make it rotate.

    Parameters
    ----------
    words, width, bits, step : int
        Words, their bits, how many of all those count, and how many are taken in a cycle.

    Members
    -------
    word : In(width), load : In(words)
        One bit set: that word of the stream.
    index : In(BLOCK_BITS), hide : In
        The bits of that index in the block that is not hidden.
    bit : Out(step)
        A cycle later, the first one lowest; zero where all were hidden.
    """

    def __init__(self, *, words: int, width: int, bits: int, step: int = 1) -> None:
        self._width, self._bits, self._step = width, bits, step
        super().__init__(
            {"word": In(width), "bit": Out(step)}
            | {name: In(shape) for name, shape in stream_layout(words, bits, step).members.items()}
        )

    def elaborate(self, platform):
        m = Module()
        kept = Signal(self._bits, reset_less=True)
        for place, load in enumerate(self.load):
            part = kept[place * self._width : (place + 1) * self._width]
            with m.If(load):
                m.d.sync += part.eq(self.word)
        for place in range(self._step):
            m.d.comb += self.bit[place].eq(self._chosen(m, kept[place :: self._step], f"select_{place}"))
        return m

    def _chosen(self, m: Module, kept: Value, name: str) -> Value:
        """One of these bits, by index and block."""
        chosen = []
        for block, hide in enumerate(self.hide):
            bits = kept[block * BLOCK : (block + 1) * BLOCK]
            index_bits = min(BLOCK_BITS, max(1, (len(bits) - 1).bit_length()))
            m.submodules[f"{name}_{block}"] = select = share(TableSelect, width=1, index_bits=index_bits)
            # A register that is hidden is reset, which takes no gate.
            one = Signal(name=f"{name}_{block}_chosen", reset_less=True)
            m.d.comb += [select.entries.eq(bits), select.index.eq(self.index)]
            m.d.sync += one.eq(select.entry)
            with m.If(hide):
                m.d.sync += one.eq(0)
            chosen.append(one)
        return reduce(or_, chosen)


class UnitColumn(wiring.Component):
    """``rows`` lookup units, each a cycle after the one above it. An array is columns side by side, elaborated once.

    Members
    -------
    tables : In(ArrayLayout(tables_layout, rows))
        From the left, skewed; ``tables_next``, one cycle later, to the right.
    word : In(part_bits)
        This column's part of the word of weights.
    control : In(control_layout)
        From the left, for row 0, from the cycle after the word's on; ``control_next``, one cycle later, to the right.
    result : Out(32)
        Of all rows, whose results never come in the same cycle.
    """

    def __init__(
        self, *, array: LookupArray, members: Mapping[str, wiring.Member] = MappingProxyType({})
    ) -> None:
        self._array = array
        tables, control = data.ArrayLayout(self._left(), array.rows), control_layout(array)
        super().__init__(
            {
                "tables": In(tables),
                "tables_next": Out(tables),
                "word": In(array.part_bits),
                "control": In(control),
                "control_next": Out(control, init=nothing(array)),
                "result": Out(RESULT_BITS),
            }
            | members
        )

    def _left(self) -> data.StructLayout:
        """What units take from the left."""
        return tables_layout(self._array)

    def _unit(self) -> Any:
        """Of a row."""
        return share(LookupUnit, **unit_arguments(self._array))

    def _codes(self, word: Signal) -> dict[str, Value]:
        """A word of weights as the unit takes it."""
        return {"codes": word}

    def _units(self, m: Module) -> tuple[Signal, list[Any]]:
        """The word in its register, for what else takes it, and the units, for their results."""
        array = self._array
        word = Signal.like(self.word, name="word_register", reset_less=True)
        m.d.sync += [
            word.eq(self.word),
            self.control_next.eq(self.control),
            self.tables_next.eq(self.tables),
        ]
        control = self.control.unit
        values: dict[str, Value] = {name: Value.cast(control[name]) for name in control.shape().members}
        values |= self._codes(word) | self._scale_bits(m, word)
        if array.halved:
            values["total_negative"] = self._total_negative(m, word)
        units = []
        for row in range(array.rows):
            m.submodules[f"unit_{row}"] = unit = self._unit()
            for name in self.tables[row].shape().members:
                m.d.comb += getattr(unit, name).eq(self.tables[row][name])
            for name, value in values.items():
                m.d.comb += Value.cast(getattr(unit, name)).eq(value)
            if row < array.rows - 1:
                values = {name: delayed(m, value, 1) for name, value in values.items()}
            units.append(unit)
        return word, units

    def _scale_bits(self, m: Module, word: Signal) -> dict[str, Value]:
        """What row 0's unit takes of the group's scales."""
        del m, word
        return {}

    def _stream(self, m: Module, name: str, word: Signal, words: int, bits: int, step: int = 1) -> Value:
        """A :class:`BitStream` and its bits."""
        stream = share(BitStream, words=words, width=self._array.part_bits, bits=bits, step=step)
        m.submodules[name] = stream
        control = self.control[name]
        m.d.comb += [
            stream.word.eq(word),
            *(getattr(stream, one).eq(control[one]) for one in ("load", "index", "hide")),
        ]
        return stream.bit

    def _total_negative(self, m: Module, word: Signal) -> Value:
        """Of row 0: the zero point's bit of this plane, or that of one, which is the highest plane's."""
        array = self._array
        negative = self.control.top
        if zero_words(array):
            negative = negative | self._stream(m, "zeros", word, zero_words(array), zero_bits(array))
        return delayed(m, negative, array.times.extra - 2)


class LookupColumn(UnitColumn):
    """Of units that scale their sums themselves, by whole scales.

    Members
    -------
    result, and what goes in
        As of :class:`UnitColumn`.
    valid : Out(1)
        With ``result``.
    """

    def __init__(self, *, array: LookupArray) -> None:
        super().__init__(array=array, members={"valid": Out(1)})

    def elaborate(self, platform):
        m = Module()
        _, units = self._units(m)
        m.d.sync += [
            self.result.eq(reduce(or_, (unit.result for unit in units))),
            self.valid.eq(Cat(unit.valid for unit in units).any()),
        ]
        return m

    def _scale_bits(self, m: Module, word: Signal) -> dict[str, Value]:
        """The higher bit above the lower one.

        Nine bits end with a zero, and begin with the lower one of a step whose higher one is a zero.
        """
        array = self._array
        bits = self._stream(m, "scales", word, array.scale_words, array.outputs * SCALE_BITS, SCALE_STEP)
        high, low = delayed(m, bits, array.scale_wait)
        if array.mixed:
            early, (high_before, low_before) = self.control.early, delayed(m, Cat(high, low), 1)
            high, low = Mux(early, low_before, high_before), Mux(early, high, low_before)
        return {"scale_bit": Cat(low, high)}
