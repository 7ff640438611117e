"""An in-order instruction queue whose head waits for its tokens."""

from __future__ import annotations

from amaranth.hdl import Module, ResetInserter, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.control.decode import command_layout, entry_layout, own_tokens
from hw.control.isa import INDEX_BITS, Queue
from hw.design import Design
from hw.stream.fifo import Fifo


class InstructionQueue(wiring.Component):
    """Holds ``design.queue_depth`` instructions; the oldest goes on when each token that it names is there.

    Members
    -------
    i : In(stream of ``entry_layout``)
    o : Out(stream of ``command_layout``)
        The next command, in a register. Its tokens have been taken.
    present : In(n)
        The queue's own tokens that are there.
    take : Out(n)
        Tokens taken in this cycle.
    missing : Out(n)
        Tokens that the head waits for.
    waiting : Out(1)
        The head lacks a token.
    head : Out(1), index : Out(20)
        There is a head, and where in the program it stands.
    empty : Out(1)
        Nothing in the queue, nothing at ``o``.
    clear : In(1)
        Drop everything.

    Timing
    ------
    An instruction taken at ``i`` in cycle t is the head in t + 1. ``hw.timing.QUEUE_CHECK`` cycles after the first cycle from
    then on in which its tokens are there, or later when ``o`` is empty, it goes to ``o``, where it is valid from the next
    cycle on. ``o`` is empty from the cycle after its command was taken on: no unit's ready reaches the tokens in its own
    cycle.
    """

    def __init__(self, *, design: Design, queue: Queue) -> None:
        self._design = design
        self._queue = queue
        own = len(own_tokens(queue))
        super().__init__(
            {
                "i": In(stream.Signature(entry_layout(design, queue))),
                "o": Out(stream.Signature(command_layout(design, queue))),
                "present": In(own),
                "take": Out(own),
                "missing": Out(own),
                "waiting": Out(1),
                "head": Out(1),
                "index": Out(INDEX_BITS),
                "empty": Out(1),
                "clear": In(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        fifo = Fifo(shape=entry_layout(self._design, self._queue), depth=self._design.queue_depth + 1)
        m.submodules.fifo = ResetInserter(self.clear)(fifo)
        wiring.connect(m, fifo.i, wiring.flipped(self.i))
        head, served, go = fifo.o, Signal(), Signal()
        m.d.comb += [
            self.head.eq(head.valid),
            self.index.eq(head.payload.command.index),
            self.missing.eq(head.payload.wait & ~self.present),
            self.waiting.eq(head.valid & self.missing.any()),
            go.eq(served & ~self.o.valid),
            head.ready.eq(go),
            self.empty.eq(~head.valid & ~self.o.valid),
        ]
        # Its tokens stay there once they are: only this queue takes them.
        m.d.sync += served.eq(head.valid & ~self.missing.any() & ~go & ~self.clear)
        with m.If(go):
            m.d.comb += self.take.eq(head.payload.wait)
            m.d.sync += self.o.payload.eq(head.payload.command)
        with m.If(go | self.o.ready | self.clear):
            m.d.sync += self.o.valid.eq(go)
        return m
