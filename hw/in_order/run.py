"""What a run says of itself: busy, done, its first error, its cycles."""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out


class RunState(wiring.Component):
    """The run's state.

    Members
    -------
    start, acknowledge : In(1)
    finish : In(1)
        The program has ended well.
    fault : In(1), fault_code : In(4), fault_queue : In(2), fault_executing : In(1)
        Something is wrong, of which the first counts: with the instruction in control, or (``fault_executing``) with the EXECUTE
        under way.
    rested : In(1)
        After a fault, nothing moves any more.
    stuck : In(1)
        After a fault, the bus does not answer.
    busy, done, error, code, queue : Out
        For the registers. ``done`` and ``error`` rise with ``rested``, or with ``stuck`` while ``busy`` stays.
    executing : Out(1)
        As it was with the first fault.
    halt : Out(1)
        From the cycle after the first fault until ``rested``.
    cycles : Out(32)
        From the cycle after ``start`` to ``finish`` or the first fault, both included.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "start": In(1),
                "acknowledge": In(1),
                "finish": In(1),
                "fault": In(1),
                "fault_code": In(4),
                "fault_queue": In(2),
                "fault_executing": In(1),
                "rested": In(1),
                "stuck": In(1),
                "busy": Out(1),
                "done": Out(1),
                "error": Out(1),
                "code": Out(4),
                "queue": Out(2),
                "executing": Out(1),
                "halt": Out(1),
                "cycles": Out(32),
            }
        )

    def elaborate(self, platform):
        m = Module()
        told = Signal()  # that it is stuck
        with m.If(self.acknowledge):
            m.d.sync += [self.done.eq(0), self.error.eq(0)]
        with m.If(self.busy & ~self.halt):
            m.d.sync += self.cycles.eq(self.cycles + 1)
            with m.If(self.fault):
                m.d.sync += [
                    self.halt.eq(1),
                    self.code.eq(self.fault_code),
                    self.queue.eq(self.fault_queue),
                    self.executing.eq(self.fault_executing),
                ]
        with m.If(self.finish):
            m.d.sync += [self.busy.eq(0), self.done.eq(1)]
        with m.If(self.rested):
            m.d.sync += [self.busy.eq(0), self.halt.eq(0)]
        with m.If(self.stuck | (self.rested & ~told)):
            m.d.sync += [self.done.eq(1), self.error.eq(1), told.eq(1)]
        with m.If(self.start):
            m.d.sync += [
                self.busy.eq(1),
                self.done.eq(0),
                self.error.eq(0),
                self.code.eq(0),
                self.queue.eq(0),
                self.cycles.eq(0),
                told.eq(0),
            ]
        return m
