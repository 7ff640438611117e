"""A column of lookup units whose sums are multiplied by fp16 scales, one multiplier for all: results are float32."""

from __future__ import annotations

from functools import reduce
from operator import or_

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.array.lookup.column import UnitColumn
from hw.array.lookup.control import halves_layout
from hw.array.lookup.geometry import HALF_BITS, LookupArray
from hw.delay import delayed
from hw.pe.bit_serial_fp16 import FP16
from hw.pe.float_scale import FloatScale
from hw.share import share


class Halves(wiring.Component):
    """fp16 scales and minimums that come in words, some in each, in distributed RAM.

    Members
    -------
    word : In(part_bits), control : In(halves_layout)
        The word to keep, if ``control.write``, to be chosen from the next cycle on.
    half : Out(FP16)
        The chosen one, a cycle later.
    """

    def __init__(self, *, array: LookupArray) -> None:
        self._array = array
        super().__init__(
            {"word": In(array.part_bits), "control": In(halves_layout(array)), "half": Out(FP16)}
        )

    def elaborate(self, platform):
        m = Module()
        control = self.control
        m.submodules.kept = kept = Memory(shape=self._array.part_bits, depth=1 << len(control.word), init=[])
        write, read = kept.write_port(), kept.read_port(domain="comb")
        half = Signal(HALF_BITS, reset_less=True)
        m.d.comb += [
            write.en.eq(control.write),
            write.addr.eq(control.word),
            write.data.eq(self.word),
            read.addr.eq(control.chosen_word),
            self.half.eq(half),
        ]
        m.d.sync += half.eq(read.data.word_select(control.chosen, HALF_BITS))
        return m


class FloatColumn(UnitColumn):
    """Of units whose sums are read in turn, for a multiplier that they share."""

    def elaborate(self, platform):
        m = Module()
        array, control = self._array, self.control
        word, units = self._units(m)
        m.submodules.halves = halves = share(Halves, array=array)
        sums: Value = reduce(or_, (Value.cast(unit.result) for unit in units))
        bits = len(sums) - array.halved
        if array.minimums:
            # Twice that, as the others.
            minimum = Value.cast(control.minimum_sum).as_signed()
            sums = sums | Cat(Const(0, 1), minimum, minimum[-1].replicate(bits - len(minimum)))
        if array.mixed:
            sums = Mux(control.whole, sums[:bits], sums[1:])
        elif array.halved:
            sums = sums[1:]
        total = Signal(bits, reset_less=True)
        m.submodules.scale = scale = share(FloatScale, width=bits)
        m.d.sync += total.eq(sums)
        m.d.comb += [
            halves.word.eq(word),
            halves.control.eq(control.scales),
            scale.total.eq(total),
            Value.cast(scale.scale).eq(delayed(m, halves.half, array.scale_wait + 1)),
            self.result.eq(delayed(m, scale.result, array.result_delay - array.float_result_delay)),
        ]
        return m
