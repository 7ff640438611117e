"""An in-order instruction queue whose head waits for its tokens."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.control.decode import command_layout, entry_layout, own_tokens
from hw.control.isa import INDEX_BITS, Queue
from hw.control.ring import Ring
from hw.delay import without_reset
from hw.design import Design


def queue_members(design: Design, queue: Queue) -> dict:
    """Members of an ``InstructionQueue``."""
    own = len(own_tokens(queue))
    return {
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
        Tokens taken, in the cycle in which the command is first valid at ``o``.
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
    An instruction taken at ``i`` in cycle t is the head in t + ``hw.timing.QUEUE_HEAD``; so is the one behind another that went
    on in cycle t. ``hw.timing.QUEUE_CHECK`` cycles after the first cycle from then on in which its tokens are there, or later
    when ``o`` is not empty, it goes to ``o``, where it is valid from the next cycle on. ``o`` is empty from the cycle after its
    command was taken on: no unit's ready reaches the tokens in its own cycle.
    """

    def __init__(self, *, design: Design, queue: Queue) -> None:
        self._design = design
        self._queue = queue
        super().__init__(queue_members(design, queue))

    def elaborate(self, platform):
        m = Module()
        m.submodules.ring = ring = Ring(
            shape=entry_layout(self._design, self._queue), depth=self._design.queue_depth + 1
        )
        wiring.connect(m, ring.i, wiring.flipped(self.i))
        # The head is seen in a register alone: the RAM's output comes late, and goes far.
        entry = Signal.like(ring.o.payload, reset_less=True)
        wait, served, go = entry.wait, Signal(), Signal()
        m.d.sync += entry.eq(ring.o.payload)
        m.d.comb += [
            ring.clear.eq(self.clear),
            self.missing.eq(wait & ~self.present),
            self.waiting.eq(self.head & self.missing.any()),
            go.eq(served & ~self.o.valid),
            ring.o.ready.eq(go),
            self.empty.eq(~ring.o.valid & ~self.o.valid),
        ]
        m.d.comb += self.index.eq(entry.command.index)
        m.d.sync += [
            self.head.eq(ring.o.valid & ~go & ~self.clear),
            self.take.eq(Mux(go, wait, 0)),
        ]
        # Its tokens stay there once they are: only this queue takes them.
        m.d.sync += served.eq(self.head & ~self.missing.any() & ~go & ~self.clear)
        # The payload follows the head for as long as it is not valid: a late enable would have to reach all of it.
        payload = without_reset(m, self.o.payload)
        with m.If(~self.o.valid):
            m.d.sync += payload.eq(entry.command)
        with m.If(go | self.o.ready | self.clear):
            m.d.sync += self.o.valid.eq(go & ~self.clear)
        return m


class InstructionRegister(wiring.Component):
    """An ``InstructionQueue`` of one register: in it an instruction waits for its tokens, and is then the command at ``o``.

    Members as there.

    Timing
    ------
    As there, of one instruction; the next can be taken at ``i`` in the cycle after the command was taken at ``o``.
    """

    def __init__(self, *, design: Design, queue: Queue) -> None:
        self._layout = entry_layout(design, queue)
        super().__init__(queue_members(design, queue))

    def elaborate(self, platform):
        m = Module()
        entry = Signal(self._layout, reset_less=True)
        full, go = Signal(), Signal()
        m.d.comb += [
            self.i.ready.eq(~full),
            self.missing.eq(entry.wait & ~self.present),
            self.waiting.eq(self.head & self.missing.any()),
            self.o.payload.eq(entry.command),
            self.index.eq(entry.command.index),
            self.empty.eq(~full),
        ]
        m.d.sync += [
            full.eq((full | self.i.valid) & ~(self.o.valid & self.o.ready) & ~self.clear),
            self.head.eq(full & ~self.o.valid & ~go & ~self.clear),
            go.eq(self.head & ~self.missing.any() & ~go & ~self.clear),
            self.take.eq(Mux(go, entry.wait, 0)),
        ]
        with m.If(~full):
            m.d.sync += entry.eq(self.i.payload)
        with m.If(go | self.o.ready | self.clear):
            m.d.sync += self.o.valid.eq(go & ~self.clear)
        return m
