"""What the unit columns of a table-lookup array are told, made once at its left edge from the steering of its words."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.array.lookup.geometry import LookupArray, Offset
from hw.delay import delayed
from hw.design import ceil_div
from hw.pe.element_times import SCALE_BITS

BLOCK_BITS = 4
"""Of the index of a bit in a block of a stream."""
BLOCK = 1 << BLOCK_BITS
PLACES = BLOCK // SCALE_BITS
"""Scales in a block."""


def zero_words(array: LookupArray) -> int:
    """Most that a group has."""
    return max(array.zero_words(one) for one in array.variants)


def zero_bits(array: LookupArray) -> int:
    """Most bits of a unit column's zero points."""
    return max(one.bits * array.outputs * (one.offset is Offset.ZERO) for one in array.variants)


def steering_layout(array: LookupArray) -> data.StructLayout:
    """What a word of weights is: codes, zero points or scales, at most one of these; with codes all but ``index``.

    ``index`` says which of a group's words of zero points or scales. Of codes: ``bank`` of the tables, ``plane``, and ``place``
    (which output of a unit); ``first`` and ``last`` of a group for that place; ``top``: the format's highest plane; ``offset``.
    """
    return data.StructLayout(
        {
            "code": 1,
            "zero": 1,
            "scale": 1,
            "index": range(max(array.scale_words, zero_words(array), 1)),
            "bank": 1,
            "plane": range(array.planes),
            "place": range(array.outputs),
            "first": 1,
            "last": 1,
            "top": 1,
            "offset": Offset,
        }
    )


def unit_layout(array: LookupArray) -> data.StructLayout:
    """What goes from unit to unit, down a column: members of a :class:`hw.pe.lookup.LookupUnit`, each when that takes it."""
    members = {"bank": 1, "add": 1, "last": 1, "first": 1, "load": 1, "finish": 1}
    members |= {"place": range(array.outputs), "drain": range(array.outputs)}
    if array.planes > 1:
        members["shift"] = range(array.planes)
    return data.StructLayout(members)


def stream_layout(words: int, bits: int) -> data.StructLayout:
    """For a :class:`hw.array.lookup.column.BitStream`."""
    return data.StructLayout({"load": words, "index": BLOCK_BITS, "hide": ceil_div(bits, BLOCK)})


def control_layout(array: LookupArray) -> data.StructLayout:
    """For a :class:`hw.array.lookup.column.LookupColumn`.

    ``top``: the offset of one is due in this plane. ``early``: the scale's bit has no register to wait in.
    """
    members = {
        "unit": unit_layout(array),
        "scales": stream_layout(array.scale_words, array.outputs * SCALE_BITS),
    }
    if array.halved:
        members["top"] = 1
    if zero_words(array):
        members["zeros"] = stream_layout(zero_words(array), zero_bits(array))
    if mixed(array):
        members["early"] = 1
    return data.StructLayout(members)


def mixed(array: LookupArray) -> bool:
    """Whether some formats' scales take nine steps and others' eight."""
    return array.halved and Offset.NONE in array.offsets


def nothing(array: LookupArray) -> dict[str, dict[str, int]]:
    """Initial value of :func:`control_layout`: all streams are hidden."""
    layout = control_layout(array)
    streams = [name for name in ("scales", "zeros") if name in layout.members]
    return {name: {"hide": (1 << layout.members[name]["hide"].width) - 1} for name in streams}


class Scaling(wiring.Component):
    """Goes through a group's scales, eight bits for each place, or eight and a pause.

    Members
    -------
    begin : In(1), pause : In(1)
        In a cycle; the first bit's turn is in the next.
    active : Out(1), step : Out(range(9)), place : Out(range(outputs)), pauses : Out(1), ends : Out(1)
        The bit of this cycle; ``ends``: it is the last of its place.
    """

    def __init__(self, *, outputs: int) -> None:
        self._outputs = outputs
        super().__init__(
            {
                "begin": In(1),
                "pause": In(1),
                "active": Out(1),
                "step": Out(range(SCALE_BITS + 1)),
                "place": Out(range(outputs)),
                "pauses": Out(1),
                "ends": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.ends.eq(self.step == Mux(self.pauses, SCALE_BITS, SCALE_BITS - 1))
        m.d.sync += self.step.eq(self.step + 1)
        with m.If(self.ends):
            m.d.sync += [self.step.eq(0), self.place.eq(self.place + 1)]
            with m.If(self.place == self._outputs - 1):
                m.d.sync += self.active.eq(0)
        with m.If(self.begin):
            m.d.sync += [
                self.active.eq(1),
                self.step.eq(0),
                self.place.eq(0),
                self.pauses.eq(self.pause),
            ]
        return m


class Control(wiring.Component):
    """Delays what a steering says until column 0 and its unit of row 0 take it.

    Members
    -------
    steering : In(steering_layout)
    control : Out(control_layout)

    Timing
    ------
    By ``array.times`` for codes that the unit takes a cycle after their steering; a group's first scale bit is chosen
    ``array.scale_select`` cycles after the last code of place 0.
    """

    def __init__(self, *, array: LookupArray) -> None:
        self._array = array
        super().__init__({"steering": In(steering_layout(array)), "control": Out(control_layout(array))})

    def elaborate(self, platform):
        m = Module()
        array, steering, unit = self._array, self.steering, self.control.unit
        times = array.times
        last = delayed(
            m,
            Cat(steering.code, steering.code & steering.last, steering.first, steering.place),
            1 + times.last,
        )
        m.d.comb += [
            unit.bank.eq(delayed(m, steering.bank, 1)),
            Cat(unit.add, unit.last, unit.first, unit.place).eq(last),
        ]
        if array.planes > 1:
            m.d.comb += unit.shift.eq(delayed(m, steering.plane, 1 + times.shift))
        if array.halved:
            twos = steering.top & (steering.offset == Offset.TWOS)
            m.d.comb += self.control.top.eq(delayed(m, twos, 3))
        if zero_words(array):
            self._zeros(m)
        self._scales(m)
        return m

    def _stream(self, m: Module, name: str, kind: Value) -> data.View:
        """Registers of that stream; ``load`` when the columns have the word in their registers, if it is of this ``kind``."""
        control = self.control[name]
        stream = Signal(control.shape(), name=name, init=nothing(self._array)[name])
        m.d.comb += control.eq(stream)
        words = range(len(stream.load))
        m.d.sync += stream.load.eq(Cat(kind & (self.steering.index == word) for word in words))
        return stream

    def _zeros(self, m: Module) -> None:
        """Codes come in the order of the bits; a bit is chosen two cycles after its code's steering."""
        steering = self.steering
        zeros = self._stream(m, "zeros", steering.zero)
        count = Signal(range(zero_bits(self._array)))
        shown = Signal()
        m.d.sync += [
            count.eq(count + 1),
            shown.eq(steering.code & (steering.offset == Offset.ZERO)),
            zeros.index.eq(count),
        ]
        with m.If((steering.plane == 0) & (steering.place == 0)):
            m.d.sync += count.eq(0)
        for block, hide in enumerate(zeros.hide):
            m.d.sync += hide.eq(~(shown & (count >> BLOCK_BITS == block)))

    def _scales(self, m: Module) -> None:
        array, steering, control = self._array, self.steering, self.control
        scales = self._stream(m, "scales", steering.scale)
        m.submodules.scaling = scaling = Scaling(outputs=array.outputs)
        ends = steering.code & steering.last & (steering.place == 0)
        m.d.comb += Cat(scaling.begin, scaling.pause).eq(
            delayed(m, Cat(ends, steering.offset == Offset.NONE), array.scale_select - 2)
        )
        m.d.sync += scales.index.eq(Cat(scaling.step[:3], scaling.place[0]))
        for block, hide in enumerate(scales.hide):
            m.d.sync += hide.eq(
                ~(scaling.active & ~scaling.step[3] & (scaling.place >> (PLACES - 1) == block))
            )
        load = scaling.active & (scaling.step == 0)
        # Only where results are halved a pause is a zero bit.
        done = scaling.ends if array.halved else scaling.step == SCALE_BITS - 1
        marks = Cat(load, scaling.active & done)
        wait = array.scale_wait + 1
        if mixed(array):
            # The results of scales with nine steps and those with eight are to come in the same cycle.
            early = scaling.active & scaling.pauses
            m.d.comb += control.early.eq(delayed(m, early, wait + 1))
            marks = delayed(m, marks & ~early.replicate(2), 1) | marks & early.replicate(2)
        marks = delayed(m, marks, wait)
        m.d.comb += [
            control.unit.load.eq(marks[0]),
            control.unit.finish.eq(delayed(m, marks[1], 1)),
            control.unit.drain.eq(delayed(m, scaling.place, wait)),
        ]
