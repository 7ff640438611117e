"""Between the execute queue and the core: keeps what each command posts until its last result is in the accumulators."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.control.decode import command_layout
from hw.control.isa import INDEX_BITS, Error, Queue, Token
from hw.control.ring import Ring
from hw.delay import without_reset
from hw.design import Design
from hw.interfaces import execute_command

IN_FLIGHT = 32
"""Commands that may be between the core's front end and their last result; no core has more, whatever its size up to 64 × 64."""


class ExecuteUnit(wiring.Component):
    """Hands commands, EXECUTE and CONFIGURE alike, to the core and says when each has ended.

    Members
    -------
    command : In(stream), from the queue
    core : Out(stream of ``execute_command``), to the core, in the same cycle
    halt : In(1)
        Hand over nothing more, and forget what was handed over: a stopped core does not end it.
    ended : In(1)
        The oldest command has ended: the accumulators hold its last result, if it has any.
    wrong : In(1)
        The command that ends in the next cycle met an address past the end of a scratchpad.
    pending : Out(1)
        A command has been handed over and not ended.
    finished, post, fault, code, index : Out
        As of the movers, in the cycle after ``ended``: either ``finished`` or ``fault``. Without ``finished``, ``post`` is 0.
    """

    def __init__(self, *, design: Design) -> None:
        self._design = design
        super().__init__(
            {
                "command": In(stream.Signature(command_layout(design, Queue.EXECUTE))),
                "core": Out(stream.Signature(execute_command(design))),
                "halt": In(1),
                "ended": In(1),
                "wrong": In(1),
                "pending": Out(1),
                "finished": Out(1),
                "post": Out(len(Token)),
                "fault": Out(1),
                "code": Out(4),
                "index": Out(INDEX_BITS),
            }
        )

    def elaborate(self, platform):
        m = Module()
        owed = data.StructLayout({"post": len(Token), "index": INDEX_BITS})
        m.submodules.in_flight = in_flight = Ring(shape=owed, depth=IN_FLIGHT)
        wrong, ending, owing = Signal(), Signal(), in_flight.o.payload
        m.d.sync += [
            wrong.eq(self.wrong),
            self.fault.eq(wrong),
            self.finished.eq(ending & ~wrong),
            self.post.eq(Mux(ending & ~wrong, owing.post, 0)),
            without_reset(m, self.index).eq(owing.index),
        ]
        m.d.comb += [
            ending.eq(self.ended & in_flight.o.valid),
            in_flight.clear.eq(self.halt),
            self.core.valid.eq(self.command.valid & in_flight.i.ready & ~self.halt),
            self.core.payload.eq(self.command.payload.operands),
            self.command.ready.eq(self.core.ready & in_flight.i.ready & ~self.halt),
            in_flight.i.valid.eq(self.command.valid & self.core.ready & ~self.halt),
            in_flight.i.payload.post.eq(self.command.payload.post),
            in_flight.i.payload.index.eq(self.command.payload.index),
            in_flight.o.ready.eq(self.ended),
            self.pending.eq(in_flight.o.valid),
            self.code.eq(Error.LOCAL),
        ]
        return m
