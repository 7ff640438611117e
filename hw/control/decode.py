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
    A word is offered to its queue ``hw.timing.DECODE`` cycles after it was taken. The next is taken in the cycle after its
    queue took it, or later.
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
        word, held, valid = self.i.payload.word, Signal(instruction_word()), Signal()
        opcode_bad, field_bad = Signal(), Signal()
        offered, accepted = Signal(len(Queue)), Signal(len(Queue))
        bad = opcode_bad | field_bad
        with m.If(self.i.ready):  # empty: no queue's ready goes through to fetch in its own cycle
            m.d.sync += [valid.eq(self.i.valid), held.eq(self.i.payload)]
            for opcode in Opcode:
                m.d.sync += offered[opcode.queue].eq(self.i.valid & (word[:8] == opcode))
            self._check(m, word, opcode_bad, field_bad)
        with m.If((accepted.any() & ~bad) | self.clear):
            m.d.sync += [valid.eq(0), offered.eq(0)]
        for opcode in Opcode:
            port = getattr(self, opcode.queue.name.lower())
            m.d.comb += [
                port.valid.eq(offered[opcode.queue] & ~bad),
                accepted[opcode.queue].eq(offered[opcode.queue] & port.ready),
            ]
            self._extract(m, opcode, held, port.payload)
        m.d.comb += [
            self.held.eq(valid),
            self.i.ready.eq(~valid),
            self.fault.eq(valid & (opcode_bad | field_bad)),
            self.code.eq(Mux(opcode_bad, Error.OPCODE, Error.FIELD)),
            self.index.eq(held.index),
        ]
        return m

    def _extract(self, m: Module, opcode: Opcode, held: data.View, entry: data.View) -> None:
        """Cut the fields of ``opcode`` to what this design implements."""
        place = offsets(opcode)
        own = own_tokens(opcode.queue)
        command = entry.command
        m.d.comb += [
            entry.wait.eq(held.word[8 + own[0] : 8 + own[-1] + 1]),
            command.index.eq(held.index),
            command.post.eq(held.word[16:24]),
        ]
        target = command.operands if opcode is Opcode.EXECUTE else command
        for name in target.shape().members:
            if name in place and name != "post":
                m.d.comb += target[name].eq(held.word[place[name][0] :][: place[name][1]])

    def _check(self, m: Module, word: ValueLike, opcode_bad: Signal, field_bad: Signal) -> None:
        """Faults of one word, from the table: each field's unused bits, counts of zero, foreign tokens, variants."""
        variants = {Opcode.LOAD: len(Destination), Opcode.STORE: len(OutputMode)}
        m.d.sync += [opcode_bad.eq(1), field_bad.eq(0)]
        with m.Switch(word[:8]):
            for opcode in Opcode:
                layout = command_layout(self._design, opcode.queue)
                members = dict(layout.members)
                if opcode is Opcode.EXECUTE:
                    members.update(members["operands"].members)
                faults, end = [], 0
                for field in FIELDS[opcode]:
                    first, end = end, end + field.bits
                    value = word[first:end]
                    if field.range is Range.COUNT:
                        faults.append(~value.any())
                    if field.name == "wait":
                        faults.append(Cat(value[t] for t in Token if t.waiter is not opcode.queue).any())
                    elif field.range not in (Range.OPCODE, Range.TOKENS, Range.VARIANT):
                        implemented = Shape.cast(members.get(field.name, 0)).width
                        if implemented < field.bits:
                            faults.append(value[implemented:].any())
                faults.append(word[end:].any())
                with m.Case(opcode):
                    limit = variants.get(opcode, self._design.geometry.variants)
                    m.d.sync += [opcode_bad.eq(word[24:32] >= limit), field_bad.eq(Cat(*faults).any())]
