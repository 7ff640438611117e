"""One instruction, checked as its beats come, and kept in as many bits as this design looks at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from amaranth.hdl import Cat, Module, Mux, Shape, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.control.decode import opcodes, own_tokens
from hw.control.isa import (
    FIELDS,
    INSTRUCTION_BITS,
    Destination,
    Opcode,
    OutputMode,
    Queue,
    Range,
    Token,
    offsets,
)
from hw.design import Design
from hw.interfaces import execute_command, load_command, store_command

HEADER = 32
"""Bits that all instructions share; each beat has at least as many."""
PART = 16
"""Every field after them lies at multiples of this many bits, or has too few to be counted by."""


class InstructionRegister(wiring.Component):
    """Takes the beats of an instruction.

    Members
    -------
    valid : In(1), data : In
        A beat.
    first, last : Out(1)
        It is the first, the last of its instruction.
    wait, post : Out(8)
        Its masks, with ``first`` alone.
    unknown, malformed : Out(1)
        From the cycle after ``last`` to the next ``first``: opcode or variant do not exist; something else is wrong.
    queue : Out(``Queue``)
    load, store, execute : Out
        The fields, for whichever it is; from the cycle after ``last`` on.
    """

    def __init__(self, *, design: Design) -> None:
        self._design = design
        self._width = 8 * design.data_bytes
        super().__init__(
            {
                "valid": In(1),
                "data": In(self._width),
                "first": Out(1),
                "last": Out(1),
                "wait": Out(len(Token)),
                "post": Out(len(Token)),
                "unknown": Out(1),
                "malformed": Out(1),
                "queue": Out(2),
                "load": Out(load_command(design)),
                "store": Out(store_command(design)),
                "execute": Out(execute_command(design)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        # Of the last beat, and of those before it.
        self._wrong, self._malformed = Signal(name="wrong"), Signal(name="found")
        beats = INSTRUCTION_BITS // self._width
        beat = Signal(range(beats))
        word = Signal(INSTRUCTION_BITS, reset_less=True)
        m.d.comb += [
            self.first.eq(self.valid & (beat == 0)),
            self.last.eq(self.valid & (beat == beats - 1)),
            self.wait.eq(self.data[8:16]),
            self.post.eq(self.data[16:24]),
        ]
        with m.If(self.valid):
            m.d.sync += beat.eq(beat + 1)
            with m.Switch(beat):
                for number in range(beats):
                    with m.Case(number):
                        m.d.sync += word.word_select(number, self._width).eq(self.data)
        self._header(m)
        opcode = slice(max(opcodes(self._design)).bit_length())
        early = self._width > HEADER  # fields come with the opcode
        self._fields(m, beat, Mux(beat == 0, self.data[opcode], word[opcode]) if early else word[opcode])
        self._extract(m, word)
        return m

    def _header(self, m: Module) -> None:
        """Opcode, variant, and tokens that others wait for."""
        geometry = self._design.geometry
        variants = {
            Opcode.LOAD: len(Destination),
            Opcode.EXECUTE: geometry.variants,
            Opcode.STORE: len(OutputMode),
            Opcode.CONFIGURE: 1,
        }
        known, foreign = Signal(), Signal()
        with m.Switch(self.data[:8]):
            for opcode in opcodes(self._design):
                with m.Case(opcode):
                    others = [self.wait[token] for token in Token if token not in own_tokens(opcode.queue)]
                    m.d.comb += [
                        known.eq(_below(self.data[24:32], variants[opcode])),
                        foreign.eq(Cat(others).any()),
                    ]
        with m.If(self.first):
            m.d.sync += [self.unknown.eq(~known), self._malformed.eq(foreign)]

    def _fields(self, m: Module, beat: Signal, opcode: Value) -> None:
        """What must be zero in a beat, and what must not be."""
        zeros = Signal(self._width)
        # Parts of a beat that are a count; and that are one together with the part above them.
        counts, wide = Signal(self._width // PART), Signal(self._width // PART)
        with m.Switch(beat):
            for number in range(INSTRUCTION_BITS // self._width):
                with m.Case(number), m.Switch(opcode):
                    for code in opcodes(self._design):
                        with m.Case(code):
                            found = (
                                self._empty(code),
                                self._counts(code, PART),
                                self._counts(code, 2 * PART),
                            )
                            for target, places in zip((zeros, counts, wide), found, strict=True):
                                m.d.comb += target.eq(self._mask(places, number, self._width // len(target)))
        some = Cat(self.data.word_select(part, PART).any() for part in range(len(counts)))
        none = (counts & ~some).any() | (wide & ~(some | some >> 1)).any()
        m.d.sync += self._wrong.eq(self.valid & ((self.data & zeros).any() | none))
        with m.If(self._wrong & ~self.first):
            m.d.sync += self._malformed.eq(1)

    def _mask(self, places: Iterable[int], number: int, unit: int) -> int:
        """Bits of the instruction as parts of ``unit`` bits of its beat ``number``."""
        return sum(1 << (place % self._width) // unit for place in places if place // self._width == number)

    def _members(self, opcode: Opcode) -> dict[str, int]:
        """Bits of the fields that the unit behind ``opcode`` looks at."""
        layouts = {Queue.LOAD: load_command, Queue.EXECUTE: execute_command, Queue.STORE: store_command}
        layout = layouts[opcode.queue](self._design)
        return {name: Shape.cast(shape).width for name, shape in layout.members.items()}

    def _empty(self, opcode: Opcode) -> Iterator[int]:
        """Bits of the instruction that must be zero."""
        members, end = self._members(opcode), 0
        for field in FIELDS[opcode]:
            first, end = end, end + field.bits
            if end > HEADER:
                used = members.get(field.name, 0)
                if field.range is Range.SETTING:
                    used = min(used, (self._design.geometry.settings - 1).bit_length())
                yield from range(first + used, end)
        yield from range(end, INSTRUCTION_BITS)

    @staticmethod
    def _counts(opcode: Opcode, bits: int) -> Iterator[int]:
        """First bit of each field of so many bits that must not be zero."""
        for field in FIELDS[opcode]:
            if field.range is Range.COUNT and field.bits == bits:
                yield offsets(opcode)[field.name][0]

    def _extract(self, m: Module, word: Signal) -> None:
        ports = {Opcode.LOAD: self.load, Opcode.EXECUTE: self.execute, Opcode.STORE: self.store}
        for opcode, port in ports.items():
            self._cut(m, word, opcode, port)
        m.d.comb += self.queue.eq(word[:2] - 1)
        m.d.comb += self.malformed.eq(self._malformed | self._wrong)
        settings = self._design.geometry.settings
        if settings:
            with m.If(word[2] & (self.execute.setting >= settings)):
                m.d.comb += self.malformed.eq(1)
            self._cut(m, word, Opcode.CONFIGURE, self.execute)
            m.d.comb += self.execute.configure.eq(word[2])
            with m.If(word[2]):
                m.d.comb += self.queue.eq(Queue.EXECUTE)

    def _cut(self, m: Module, word: Signal, opcode: Opcode, port: data.View) -> None:
        place = offsets(opcode)
        for name in self._members(opcode):
            if name in place and name != "post":
                first, bits = place[name]
                m.d.comb += port[name].eq(word[first : first + bits])


def _below(value: Value, limit: int) -> Value:
    """Whether ``value`` is less: a comparison of the lowest bits alone, since a carry chain through all takes long to enter."""
    low = (limit - 1).bit_length()
    return ~value[low:].any() & (value[:low] < limit)
