"""What the unit columns of a table-lookup array are told, made once at its left edge from the steering of its words."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Shape, ShapeLike, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from hw.array.lookup.geometry import HALF_BITS, MOST_ROWS, SCALE_STEP, SCALE_STEPS, LookupArray, Offset
from hw.array.lookup.quantised import TAG_BITS, group_tables
from hw.delay import delayed
from hw.design import ceil_div
from hw.memory.float_add import FLOAT32
from hw.pe.element_times import SCALE_BITS
from hw.pe.lookup_times import SINGLE_SCALE
from hw.pe.scaled_sum import signed_bits

SUMS = data.StructLayout({"chunk": 1, "first": 1, "keep": 1, "show": 1})
"""What a row's sum of a group's activations is told: ``chunk``: the sum of a chunk's is to be added, ``first``: as the group's
first; ``keep``: the group's is complete; ``show``: it is wanted."""
TURN = data.StructLayout({"first": 1, "tag": TAG_BITS})
"""The turn of a place's sums at the multipliers, row 0's the ``first``; of which of the groups under way."""
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
    """What a word of weights is: codes, zero points, scales or minimums, at most one of these; with codes all but ``index``.

    ``index`` says which of a group's words of zero points, of scales or of minimums. Of codes: ``bank`` of the tables, ``plane``,
    and ``place`` (which output of a unit); ``first`` and ``last`` of a group for that place; ``top``: the format's highest plane;
    ``offset``. With ``array.direct`` the plane is the half of the chunk. With ``array.quantised`` ``tag``: which of the groups
    under way.
    """
    members: dict[str, ShapeLike] = {"tag": TAG_BITS} if array.quantised else {}
    return data.StructLayout(
        {
            "code": 1,
            "zero": 1,
            "scale": 1,
            "minimum": 1,
            "index": range(max(array.scale_words, zero_words(array), 1)),
            "bank": 1,
            "plane": range(array.planes),
            "place": range(array.outputs),
            "first": 1,
            "last": 1,
            "top": 1,
            "offset": Offset,
        }
        | members
    )


def unit_layout(array: LookupArray) -> data.StructLayout:
    """What goes from unit to unit, down a column: members of the array's kind of unit, each when that takes it."""
    members = {} if array.direct else {"bank": 1}
    members |= {"add": 1, "last": 1, "first": 1, "load": 1}
    if not array.floats:
        members["finish"] = 1
    members |= {"place": range(array.outputs), "drain": range(array.outputs)}
    if array.shifts:
        members["shift"] = range(array.planes)
    return data.StructLayout(members)


def stream_layout(words: int, bits: int, step: int = 1) -> data.StructLayout:
    """For a :class:`hw.array.lookup.column.BitStream`."""
    return data.StructLayout({"load": words, "index": BLOCK_BITS, "hide": ceil_div(bits, step * BLOCK)})


def halves_layout(array: LookupArray) -> data.StructLayout:
    """For a :class:`hw.array.lookup.float_column.Halves`: a word to keep, and which is chosen."""
    scales = array.part_bits // HALF_BITS
    words = max(2, 1 << (array.scale_words - 1).bit_length()) << array.minimums
    return data.StructLayout(
        {"write": 1, "word": range(words), "chosen_word": range(words), "chosen": range(scales)}
    )


def minimum_sum(array: LookupArray) -> Shape:
    """The sum of a group's activations, or of its tables' last entries."""
    most = 128 * (group_tables(array) if array.quantised else array.group)
    return signed(signed_bits(-most, most - 1))


def control_layout(array: LookupArray) -> data.StructLayout:
    """For a :class:`hw.array.lookup.column.LookupColumn`.

    ``top``: the offset of one is due in this plane. ``early``: the scale has nine bits, and so begins a cycle before others.

    Of float32 results, ``whole``: sums are not halved; ``minimum_sum``: the sum of a row's activations, when its result is to be
    that times the minimum, zero in all other cycles; ``table_scale``: that of the row whose sum was read two cycles before.
    """
    stream = stream_layout(array.scale_words, array.outputs * SCALE_BITS, SCALE_STEP)
    members: dict[str, ShapeLike] = {
        "unit": unit_layout(array),
        "scales": halves_layout(array) if array.floats else stream,
    }
    if array.halved:
        members["top"] = 1
    if zero_words(array):
        members["zeros"] = stream_layout(zero_words(array), zero_bits(array))
    if array.mixed:
        members["whole" if array.floats else "early"] = 1
    if array.minimums:
        members["minimum_sum"] = minimum_sum(array)
    if array.quantised:
        members["table_scale"] = FLOAT32
    return data.StructLayout(members)


def nothing(array: LookupArray) -> dict[str, dict[str, int]]:
    """Initial value of :func:`control_layout`: all streams are hidden."""
    layout = control_layout(array)
    streams = [
        name for name in ("scales", "zeros") if "hide" in getattr(layout.members.get(name), "members", {})
    ]
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


class Draining(wiring.Component):
    """Goes through a group's sums, place after place, and through the places once more if the group has minimums.

    Members
    -------
    begin : In(1), whole : In(1)
        In a cycle; the first place's turn begins in the next. ``whole`` is kept.
    minimum : In(1)
        The group has minimums: in any cycle from then on, the last place's last at the latest.
    active : Out(1), first : Out(1), place : Out(range(outputs)), minimums : Out(1), wholes : Out(1)
        The place whose turn it is; ``first`` of its cycles.
    valid : Out(1)
        A row's turn at this place.
    """

    def __init__(self, *, array: LookupArray) -> None:
        self._array = array
        flags = {"begin": In(1), "whole": In(1), "minimum": In(1)}
        super().__init__(
            flags
            | {name: Out(1) for name in ("active", "first", "minimums", "wholes", "valid")}
            | {"place": Out(range(array.outputs))}
        )

    def elaborate(self, platform):
        m = Module()
        array = self._array
        spacing = array.spacing(array.variants[0])
        cycle, has_minimums = Signal(range(spacing)), Signal()
        m.d.comb += [
            self.first.eq(self.active & (cycle == 0)),
            self.valid.eq(self.active & (cycle < array.rows)),
        ]
        m.d.sync += [cycle.eq(cycle + 1), has_minimums.eq(has_minimums | self.minimum)]
        with m.If(cycle == spacing - 1):
            m.d.sync += [cycle.eq(0), self.place.eq(self.place + 1)]
            with m.If(self.place == array.outputs - 1):
                again = ~self.minimums & (has_minimums | self.minimum)
                m.d.sync += [self.place.eq(0), self.minimums.eq(again), self.active.eq(self.active & again)]
        with m.If(self.begin):
            m.d.sync += [
                self.active.eq(1),
                cycle.eq(0),
                self.place.eq(0),
                self.minimums.eq(0),
                has_minimums.eq(0),
                self.wholes.eq(self.whole),
            ]
        return m


class Control(wiring.Component):
    """Delays what a steering says until column 0 and its unit of row 0 take it.

    Members
    -------
    steering : In(steering_layout)
    control : Out(control_layout)
    sums : Out(SUMS), valid : Out(1)
        Of float32 results only; with ``sums`` for row 0's sum of activations, and ``valid`` with the results of column 0.
    turn : Out(TURN)
        Two cycles before row 0's sum is at its multiplier. Only with tables of int8.

    Timing
    ------
    By ``array.times`` for codes that the unit takes a cycle after their steering; a group's first scale, or scale's
    first bit, is chosen ``array.scale_select`` cycles after the last code of place 0.
    """

    def __init__(self, *, array: LookupArray) -> None:
        self._array = array
        super().__init__(
            {"steering": In(steering_layout(array)), "control": Out(control_layout(array))}
            | ({"sums": Out(SUMS), "valid": Out(1)} if array.floats else {})
            | ({"turn": Out(TURN)} if array.quantised else {})
        )

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
        if array.floats:
            self._halves(m)
        else:
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

    def _halves(self, m: Module) -> None:
        array, steering, control = self._array, self.steering, self.control
        m.submodules.draining = draining = Draining(array=array)
        ends = steering.code & steering.last & (steering.place == 0)
        m.d.comb += [
            Cat(draining.begin, draining.whole).eq(
                delayed(m, Cat(ends, steering.offset == Offset.NONE), array.scale_select - 2)
            ),
            draining.minimum.eq(steering.minimum),
        ]
        scales = Signal(control.scales.shape(), name="scales")
        m.d.comb += control.scales.eq(scales)
        # A word has so many scales, whose places follow each other.
        each = len(scales.chosen)
        # Sums are multiplied by the scales of their tables first.
        place, minimums = draining.place, draining.minimums
        if array.quantised:
            late = delayed(m, Cat(minimums, place), array.scale_wait + 1 + SINGLE_SCALE)
            place, minimums = late[1:], late[0]
        bits = (array.scale_words - 1).bit_length()
        m.d.sync += [
            scales.write.eq(steering.scale | steering.minimum),
            scales.word.eq(_of_minimums(array, steering.index[:bits], steering.minimum)),
            scales.chosen_word.eq(_of_minimums(array, place[each:], minimums)),
            scales.chosen.eq(place),
        ]
        # The turn of row 0's sum, a cycle before it is read.
        turn = delayed(m, Cat(draining.first, draining.minimums, draining.wholes), array.scale_wait)
        first, minimums, wholes = turn
        m.d.comb += [
            control.unit.load.eq(first & ~minimums),
            control.unit.drain.eq(delayed(m, draining.place, array.scale_wait)),
            self.valid.eq(delayed(m, draining.valid, array.result_delay - array.scale_select + 1)),
        ]
        if array.quantised:
            tag, coming = Signal(TAG_BITS), delayed(m, steering.tag, array.scale_select - 2)
            with m.If(draining.begin):
                m.d.sync += tag.eq(coming)
            m.d.comb += [
                self.turn.first.eq(delayed(m, first, 3)),
                self.turn.tag.eq(delayed(m, tag, array.scale_wait + 3)),
            ]
        if array.mixed:
            m.d.comb += control.whole.eq(delayed(m, wholes, 2))
        if array.minimums:
            begins = steering.code & (steering.plane == 0) & (steering.place == 0)
            m.d.comb += [
                Cat(self.sums.chunk, self.sums.first).eq(
                    delayed(m, Cat(begins, steering.first), array.times.extra + 1)
                ),
                self.sums.keep.eq(first & ~minimums & (delayed(m, draining.place, array.scale_wait) == 0)),
                self.sums.show.eq(first & minimums),
            ]


def _of_minimums(array: LookupArray, word: Value, minimum: Value) -> Value:
    """Where a word is kept: those of minimums behind those of scales."""
    bits = max(1, (array.scale_words - 1).bit_length())
    return Cat(word, Const(0, bits - len(word)), minimum) if array.minimums else word
