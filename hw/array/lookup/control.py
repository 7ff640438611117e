"""What the unit columns of a table-lookup array are told, made once at its left edge from the steering of its words."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from hw.array.lookup.geometry import MOST_ROWS, SCALE_STEP, SCALE_STEPS, LookupArray, Offset
from hw.delay import delayed
from hw.design import ceil_div
from hw.pe.element_times import SCALE_BITS

BLOCK_BITS = 4
"""Of the index of what is taken in a cycle, in a block of a stream."""
BLOCK = 1 << BLOCK_BITS
PLACES = BLOCK // SCALE_STEPS
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
    With ``array.direct`` the plane is the half of the chunk.
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
    """What goes from unit to unit, down a column: members of the array's kind of unit, each when that takes it."""
    members = {} if array.direct else {"bank": 1}
    members |= {"add": 1, "last": 1, "first": 1, "load": 1, "finish": 1}
    members |= {"place": range(array.outputs), "drain": range(array.outputs)}
    if array.shifts:
        members["shift"] = range(array.planes)
    return data.StructLayout(members)


def stream_layout(words: int, bits: int, step: int = 1) -> data.StructLayout:
    """For a :class:`hw.array.lookup.column.BitStream`."""
    return data.StructLayout({"load": words, "index": BLOCK_BITS, "hide": ceil_div(bits, step * BLOCK)})


def control_layout(array: LookupArray) -> data.StructLayout:
    """For a :class:`hw.array.lookup.column.LookupColumn`.

    ``top``: the offset of one is due in this plane. ``early``: the scale has nine bits, and so begins a cycle before others.
    """
    members = {
        "unit": unit_layout(array),
        "scales": stream_layout(array.scale_words, array.outputs * SCALE_BITS, SCALE_STEP),
    }
    if array.halved:
        members["top"] = 1
    if zero_words(array):
        members["zeros"] = stream_layout(zero_words(array), zero_bits(array))
    if array.mixed:
        members["early"] = 1
    return data.StructLayout(members)


def nothing(array: LookupArray) -> dict[str, dict[str, int]]:
    """Initial value of :func:`control_layout`: all streams are hidden."""
    layout = control_layout(array)
    streams = [name for name in ("scales", "zeros") if name in layout.members]
    return {name: {"hide": (1 << layout.members[name]["hide"].width) - 1} for name in streams}


class Scaling(wiring.Component):
    """Goes through a group's scales, place after place.

    Members
    -------
    begin : In(1), doubled : In(1)
        In a cycle; the first step is in the next. Whether its format's sums are doubled.
    active : Out(1), step : Out(range(MOST_ROWS)), place : Out(range(outputs)), slow : Out(1), finish : Out(1)
        The step of this cycle, a pause from ``SCALE_STEPS`` on; ``finish``: it is the last that counts. ``slow``: not doubled.
    """

    def __init__(self, *, array: LookupArray) -> None:
        self._array = array
        super().__init__(
            {
                "begin": In(1),
                "doubled": In(1),
                "active": Out(1),
                "step": Out(range(MOST_ROWS)),
                "place": Out(range(array.outputs)),
                "slow": Out(1),
                "finish": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        array, ends = self._array, Signal()
        slow, quick = array.paces
        m.d.comb += [
            ends.eq(self.step == Mux(self.slow, slow, quick) - 1),
            self.finish.eq(self.active & (self.step == SCALE_STEPS - 1 + (self.slow if array.mixed else 0))),
        ]
        m.d.sync += self.step.eq(self.step + 1)
        with m.If(ends):
            m.d.sync += [self.step.eq(0), self.place.eq(self.place + 1)]
            with m.If(self.place == array.outputs - 1):
                m.d.sync += self.active.eq(0)
        with m.If(self.begin):
            m.d.sync += [
                self.active.eq(1),
                self.step.eq(0),
                self.place.eq(0),
                self.slow.eq(~self.doubled),
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
        m.d.comb += Cat(unit.add, unit.last, unit.first, unit.place).eq(last)
        if not array.direct:
            m.d.comb += unit.bank.eq(delayed(m, steering.bank, 1))
        if array.shifts:
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
        m.submodules.scaling = scaling = Scaling(array=array)
        ends = steering.code & steering.last & (steering.place == 0)
        m.d.comb += Cat(scaling.begin, scaling.doubled).eq(
            delayed(m, Cat(ends, steering.offset != Offset.NONE), array.scale_select - 2)
        )
        bits, places = exact_log2(SCALE_STEPS), exact_log2(PLACES)
        m.d.sync += scales.index.eq(Cat(scaling.step[:bits], scaling.place[:places]))
        for block, hide in enumerate(scales.hide):
            m.d.sync += hide.eq(
                ~(scaling.active & (scaling.step < SCALE_STEPS) & (scaling.place >> places == block))
            )
        load = scaling.active & (scaling.step == 0)
        marks = Cat(load, scaling.finish)
        wait = array.scale_wait + 1
        if array.mixed:
            # The results of scales with nine bits and those with eight are to come in the same cycle.
            early = scaling.active & scaling.slow
            m.d.comb += control.early.eq(delayed(m, early, wait + 1))
            marks = delayed(m, marks & ~early.replicate(2), 1) | marks & early.replicate(2)
        marks = delayed(m, marks, wait)
        m.d.comb += [
            control.unit.load.eq(marks[0]),
            control.unit.finish.eq(delayed(m, marks[1], 1)),
            control.unit.drain.eq(delayed(m, scaling.place, wait)),
        ]
