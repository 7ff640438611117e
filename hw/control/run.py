"""Starts, ends and, when something is wrong, stops a run; keeps the first error."""

from __future__ import annotations

from functools import reduce
from operator import or_

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.control.isa import FETCH_SOURCE, Error, Queue
from hw.delay import OWN
from hw.interfaces import INDEX_BITS
from hw.timing import RUN_END


def fault_report() -> data.StructLayout:
    """Somebody is at fault: who, what, and which instruction."""
    return data.StructLayout({"valid": 1, "code": 4, "queue": 2, "index": INDEX_BITS})


SETTLING = 512
"""Cycles of quiet (a power of two) after which a halted machine is at rest: results under way in the largest array have
landed."""


COLLECT = 3
"""Reports among which the first stage of the fault collector chooses; the second has one from each such group."""


class FaultCollector(wiring.Component):
    """Picks one report a cycle, the first listed. It comes to ``first`` after two cycles."""

    def __init__(self, *, sources: int) -> None:
        self._sources = sources
        super().__init__(
            {"reports": In(data.ArrayLayout(fault_report(), sources)), "first": Out(fault_report())}
        )

    def elaborate(self, platform):
        m = Module()
        groups = range(0, self._sources, COLLECT)
        picked = []
        for number, start in enumerate(groups):
            members = [self.reports[i] for i in range(start, min(start + COLLECT, self._sources))]
            picked.append(self._pick(m, members, f"picked_{number}"))
        m.d.comb += self.first.eq(self._pick(m, picked, "picked"))
        return m

    @staticmethod
    def _pick(m: Module, reports: list, name: str) -> data.View:
        """The first valid one, in a register. What is not chosen is masked, and all is joined: less deep than a chain."""
        result, before, masked = Signal(fault_report(), name=name), Const(0), []
        picked = Signal(fault_report(), name=f"{name}_report", reset_less=True)
        valid = Signal(name=f"{name}_valid")
        for report in reports:
            bits = Value.cast(report)
            masked.append(bits & (report.valid & ~before).replicate(len(bits)))
            before |= report.valid
        m.d.sync += [Value.cast(picked).eq(reduce(or_, masked)), valid.eq(before)]
        m.d.comb += [result.eq(picked), result.valid.eq(valid)]
        return result


class Watchdog(wiring.Component):
    """Counts cycles without progress; names the oldest instruction that waits.

    Members
    -------
    limit : In(32)
        Cycles; 0: never barks.
    progress : In(1)
        Something moved, or there is nothing to watch.
    heads, indices : In
        Which queues have a head, and where in the program those stand.
    reached : In(20)
        The instruction to name when no queue has a head.
    barks : Out(1), queue : Out(2), index : Out(20)
        ``barks`` for one cycle, and again after as many cycles without progress.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "limit": In(32),
                "progress": In(1),
                "heads": In(len(Queue)),
                "indices": In(data.ArrayLayout(INDEX_BITS, len(Queue))),
                "reached": In(INDEX_BITS),
                "barks": Out(1),
                "queue": Out(2),
                "index": Out(INDEX_BITS),
            }
        )

    def elaborate(self, platform):
        m = Module()
        never, restart = Signal(), Signal()
        # What is left, in two parts; one bit more, which is 1 when nothing is. The upper part goes on when the lower is 0.
        low, high, low_zero, limit_zero = Signal(16), Signal(17), Signal(), Signal()
        m.d.sync += [never.eq(self.limit == 0), limit_zero.eq(self.limit[:16] == 0)]
        m.d.comb += [restart.eq(self.progress | self.barks), self.barks.eq(high[-1])]
        with m.If(restart):
            m.d.sync += [low.eq(self.limit[:16]), high.eq(self.limit[16:]), low_zero.eq(limit_zero)]
        with m.Elif(~never):
            m.d.sync += [low.eq(low - 1), high.eq(high - low_zero), low_zero.eq(low == 1)]
        # The oldest head, found over six cycles: heads do not move while nothing moves.
        best = data.StructLayout({"valid": 1, "queue": 2, "index": INDEX_BITS})
        found = None
        for queue in Queue:
            here = Signal(best, name=f"oldest_to_{queue.name.lower()}", reset_less=True)
            mine = Signal(best, name=f"head_{queue.name.lower()}")
            m.d.comb += [
                mine.valid.eq(self.heads[queue]),
                mine.queue.eq(queue),
                mine.index.eq(self.indices[queue]),
            ]
            if found is None:
                m.d.sync += here.eq(mine)
            else:
                older = Signal(name=f"older_{queue.name.lower()}", reset_less=True)
                m.d.sync += older.eq(mine.index < found.index)
                m.d.sync += here.eq(Mux(mine.valid & (older | ~found.valid), mine, found))
            found = here
        m.d.sync += [
            self.queue.eq(Mux(found.valid, found.queue, FETCH_SOURCE)),
            self.index.eq(Mux(found.valid, found.index, self.reached)),
        ]
        return m


class RunControl(wiring.Component):
    """The run's state.

    Members
    -------
    start, acknowledge : In(1)
    drained : In(1)
        The whole program has been handed out and every unit has ended.
    quiet : In(1)
        No unit does anything and no answer of the bus is outstanding; a halt lasts until that has been so for a while.
    fault : In(``fault_report``)
    barks : In(1)
        The watchdog, which also ends the wait for ``quiet`` after a fault.
    running : Out(1)
        From the cycle after ``start`` to the end of a run that goes well, or to its first fault.
    halt : Out(1)
        From the cycle after the first fault until all is quiet.
    units : Out(3)
        The same thrice, from registers of their own: units lie far apart.
    clear : Out(1)
        One cycle, the first of a run, and the first after a halt: forget tokens and buffers.
    begin, rested : Out(1)
        The first of a run alone; the first after a halt alone.
    busy, done, error, code, queue, index : Out
        For the registers. After a fault on a bus that no longer answers, ``done`` and ``error`` come while ``busy`` stays.

    Timing
    ------
    ``running`` falls ``hw.timing.RUN_END`` + 1 cycles after the first cycle of ``drained``, unless a fault comes in between;
    ``done`` rises as it falls.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "start": In(1),
                "acknowledge": In(1),
                "drained": In(1),
                "quiet": In(1),
                "fault": In(fault_report()),
                "barks": In(1),
                "running": Out(1),
                "halt": Out(1),
                "units": Out(3),
                "clear": Out(1),
                "begin": Out(1),
                "rested": Out(1),
                "busy": Out(1),
                "done": Out(1),
                "error": Out(1),
                "code": Out(4),
                "queue": Out(2),
                "index": Out(INDEX_BITS),
            }
        )

    def elaborate(self, platform):
        m = Module()
        draining, silent = Signal(RUN_END), Signal()
        units = [Signal(name=f"halt_{unit}", attrs=OWN) for unit in range(len(self.units))]
        m.d.comb += self.units.eq(Cat(units))
        calm = Signal(range(SETTLING + 1))
        m.d.sync += draining.eq(Mux(self.running, Cat(self.drained, draining), 0))
        m.d.comb += silent.eq(calm[-1])
        with m.If(~self.quiet | ~self.halt):
            m.d.sync += calm.eq(0)
        with m.Elif(~silent):
            m.d.sync += calm.eq(calm + 1)
        m.d.sync += [
            self.begin.eq(self.start),
            self.rested.eq(self.halt & silent),
            self.clear.eq(self.start | (self.halt & silent)),
        ]
        with m.If(self.acknowledge):
            m.d.sync += [self.done.eq(0), self.error.eq(0)]
        with m.FSM():
            with m.State("IDLE"):
                with m.If(self.start):
                    m.d.sync += [self.running.eq(1), self.busy.eq(1), self.done.eq(0), self.error.eq(0)]
                    m.next = "RUN"
            with m.State("RUN"):
                with m.If(self.fault.valid):
                    m.d.sync += [one.eq(1) for one in units]
                    m.d.sync += [
                        self.running.eq(0),
                        self.halt.eq(1),
                        self.code.eq(self.fault.code),
                        self.queue.eq(self.fault.queue),
                        self.index.eq(self.fault.index),
                    ]
                    m.next = "HALT"
                with m.Elif(draining[-1]):
                    m.d.sync += [self.running.eq(0), self.busy.eq(0), self.done.eq(1)]
                    m.d.sync += [self.code.eq(Error.NONE), self.queue.eq(0), self.index.eq(0)]
                    m.next = "IDLE"
            with m.State("HALT"):
                with m.If(silent):
                    m.d.sync += [one.eq(0) for one in units]
                    m.d.sync += [self.halt.eq(0), self.busy.eq(0), self.done.eq(1), self.error.eq(1)]
                    m.next = "IDLE"
                with m.Elif(self.barks):
                    m.d.sync += [self.done.eq(1), self.error.eq(1)]
                    m.next = "STUCK"
            with m.State("STUCK"):
                with m.If(silent):
                    m.d.sync += [one.eq(0) for one in units]
                    m.d.sync += [self.halt.eq(0), self.busy.eq(0)]
                    m.next = "IDLE"
        return m
