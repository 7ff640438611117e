"""Decodes instruction words, refuses malformed ones, and hands each to its queue."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Shape, Signal, ValueLike
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.control.fetch import instruction_word
from hw.control.isa import FIELDS, Destination, Error, Opcode, OutputMode, Queue, Range, Token, offsets
from hw.design import Design
from hw.interfaces import INDEX_BITS, execute_command, load_command, store_command


def own_tokens(queue: Queue) -> list[Token]:
    """The tokens that instructions of ``queue`` may wait on."""
    return [token for token in Token if token.waiter is queue]


def opcodes(design: Design) -> list[Opcode]:
    """The operations that ``design`` knows."""
    return [opcode for opcode in Opcode if opcode is not Opcode.CONFIGURE or design.geometry.settings]


def command_layout(design: Design, queue: Queue) -> data.StructLayout:
    """What goes from a queue to its unit; always with ``post`` and ``index``."""
    if queue is Queue.LOAD:
        return load_command(design)
    if queue is Queue.STORE:
        return store_command(design)
    return data.StructLayout({"post": len(Token), "index": INDEX_BITS, "operands": execute_command(design)})


def entry_layout(design: Design, queue: Queue) -> data.StructLayout:
    """What a queue holds: the tokens to wait for, and the command."""
    return data.StructLayout({"wait": len(own_tokens(queue)), "command": command_layout(design, queue)})


ZEROS = 16
"""Bits that must be zero and are looked at together in one cycle."""


class Decoder(wiring.Component):
    """Checks instructions in a register between fetch and the queues.

    Members
    -------
    i : In(stream of ``instruction_word``)
    load, execute, store : Out(stream of ``entry_layout``)
    fault : Out(1), code : Out(4), index : Out(20)
        High while a malformed instruction stands at the queues; it goes to none.
    held : Out(1)
        An instruction stands at the queues.
    clear : In(1)
        Drop it.

    Timing
    ------
    A word is offered to its queue ``hw.timing.DECODE`` cycles after it was taken: one for each of its parts to be looked at, one
    to put that together, one to be written. The next is taken in the cycle after its queue took it, or later. Where fetch holds
    one word alone, that is not taken into a register here but stays at ``i`` until its queue takes it; the cycles are the same.
    """

    def __init__(self, *, design: Design) -> None:
        self._design = design
        super().__init__(
            {
                "i": In(stream.Signature(instruction_word())),
                **{q.name.lower(): Out(stream.Signature(entry_layout(design, q))) for q in Queue},
                "clear": In(1),
                "held": Out(1),
                "fault": Out(1),
                "code": Out(4),
                "index": Out(INDEX_BITS),
            }
        )

    def elaborate(self, platform):
        m = Module()
        stays_there = self._design.prefetch == 1
        held = self.i.payload if stays_there else Signal(instruction_word(), reset_less=True)
        valid, fresh, looked, checked = Signal(), Signal(), Signal(), Signal()
        offered, accepted = Signal(len(Queue)), Signal(len(Queue))
        known, good = (Signal(len(opcodes(self._design))) for _ in range(2))
        with m.If(~valid):  # empty: no queue's ready goes through to fetch in its own cycle
            m.d.sync += valid.eq(self.i.valid)
            if not stays_there:
                m.d.sync += held.eq(self.i.payload)
        with m.If(accepted.any() | self.clear):
            m.d.sync += valid.eq(0)
        m.d.sync += [
            fresh.eq(self.i.valid & ~valid & ~self.clear),
            looked.eq(fresh & ~self.clear),
            checked.eq(looked & ~self.clear),
            self.fault.eq((self.fault | (checked & ~offered.any())) & ~self.clear),
            self.code.eq(Mux(known.any(), Error.FIELD, Error.OPCODE)),
        ]
        goods = {queue: [] for queue in Queue}
        for place, opcode in enumerate(opcodes(self._design)):
            flaws = self._flaws(m, opcode, held.word, known[place])
            m.d.comb += good[place].eq(known[place] & ~flaws.any())
            goods[opcode.queue].append(good[place])
            self._extract(m, opcode, held, known[place], getattr(self, opcode.queue.name.lower()).payload)
        for queue in Queue:
            port = getattr(self, queue.name.lower())
            stays = offered[queue] & ~port.ready
            m.d.comb += [
                port.valid.eq(offered[queue]),
                accepted[queue].eq(offered[queue] & port.ready),
            ]
            m.d.sync += offered[queue].eq(((looked & Cat(goods[queue]).any()) | stays) & ~self.clear)
        m.d.comb += [
            self.held.eq(valid),
            self.i.ready.eq(accepted.any() | self.clear if stays_there else ~valid),
            self.index.eq(held.index),
        ]
        return m

    def _extract(
        self, m: Module, opcode: Opcode, held: data.View, known: ValueLike, entry: data.View
    ) -> None:
        """Cut the fields of ``opcode`` to what this design implements; what EXECUTE and CONFIGURE share lies at the same bits."""
        place = offsets(opcode)
        own = own_tokens(opcode.queue)
        command = entry.command
        m.d.comb += [
            entry.wait.eq(held.word[8 + own[0] : 8 + own[-1] + 1]),
            command.index.eq(held.index),
            command.post.eq(held.word[16:24]),
        ]
        target = command.operands if opcode.queue is Queue.EXECUTE else command
        for name in target.shape().members:
            if name in place and name != "post":
                m.d.comb += target[name].eq(held.word[place[name][0] :][: place[name][1]])
        if opcode is Opcode.CONFIGURE:
            m.d.comb += target.configure.eq(known)

    def _flaws(self, m: Module, opcode: Opcode, word: ValueLike, known: ValueLike) -> Signal:
        """What may be wrong with an ``opcode``, from the table: each field's unused bits, counts of zero, foreign tokens.

        All of it and ``known``, its opcode and variant, are registers.
        """
        geometry = self._design.geometry
        variants = {
            Opcode.LOAD: len(Destination),
            Opcode.EXECUTE: geometry.variants,
            Opcode.STORE: len(OutputMode),
            Opcode.CONFIGURE: 1,
        }
        layout = command_layout(self._design, opcode.queue)
        members = dict(layout.members)
        if opcode.queue is Queue.EXECUTE:
            members.update(members["operands"].members)
        zeros, flaws, end = [], [], 0
        for field in FIELDS[opcode]:
            first, end = end, end + field.bits
            value = word[first:end]
            if field.range is Range.COUNT:
                flaws.append(~value.any())
            if field.name == "wait":
                zeros += [value[t] for t in Token if t.waiter is not opcode.queue]
            elif field.range is Range.SETTING:
                flaws.append(value >= geometry.settings)
            elif field.range not in (Range.OPCODE, Range.TOKENS, Range.VARIANT):
                zeros += list(value[Shape.cast(members.get(field.name, 0)).width :])
        zeros += list(word[end:])
        flaws += [Cat(zeros[i : i + ZEROS]).any() for i in range(0, len(zeros), ZEROS)]
        found = Signal(len(flaws), name=f"flaws_{opcode.name.lower()}", reset_less=True)
        m.d.sync += [
            found.eq(Cat(flaws)),
            known.eq((word[:8] == opcode) & (word[24:32] < variants[opcode])),
        ]
        return found
