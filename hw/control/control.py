"""Everything that drives the units: fetch, decode, queues, tokens, registers, watchdog, counters."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.control.axi_lite import RegisterPort, axi_lite
from hw.control.counters import Counters
from hw.control.decode import Decoder, command_layout
from hw.control.execute import ExecuteUnit
from hw.control.fetch import Fetch
from hw.control.isa import FETCH_SOURCE, Error, Queue, Token
from hw.control.queue import InstructionQueue, InstructionRegister
from hw.control.run import FaultCollector, RunControl, Watchdog
from hw.control.tokens import TokenCounters
from hw.design import Design
from hw.dma.read_arbiter import read_beats
from hw.interfaces import INDEX_BITS, axi_address, execute_command


def mover_status() -> wiring.Signature:
    """What control sees of LOAD and STORE; as in ``hw.interfaces.mover_members``."""
    return wiring.Signature(
        {
            "busy": In(1),
            "finished": In(1),
            "post": In(len(Token)),
            "fault": In(1),
            "code": In(4),
            "index": In(INDEX_BITS),
            "beat": In(1),
        }
    )


class Control(wiring.Component):
    """Runs programs.

    Members
    -------
    bus : AXI4-Lite slave
    interrupt : Out(1)
    fetch_ar, fetch_beats : to and from the read arbiter
    load, store : Out(streams of commands), load_status, store_status : In
    core : Out(stream of ``execute_command``)
    core_busy, core_step, core_fault, ended, conflict : In(1)
        From the core and the accumulators.
    bus_quiet : In(1)
        No read is outstanding at the arbiter.
    bus_moves : In(1)
        A handshake on the AXI master; feeds the watchdog.
    window_first, window_last : Out
    halt, load_halt, store_halt : Out(1)
        The core is to halt, LOAD, STORE: all in the same cycle.
    """

    def __init__(self, *, design: Design) -> None:
        self._design = design
        width = design.address_width
        super().__init__(
            {
                "bus": Out(axi_lite()),
                "interrupt": Out(1),
                "fetch_ar": Out(stream.Signature(axi_address(width))),
                "fetch_beats": In(read_beats(8 * design.data_bytes)),
                "load": Out(stream.Signature(command_layout(design, Queue.LOAD))),
                "store": Out(stream.Signature(command_layout(design, Queue.STORE))),
                "core": Out(stream.Signature(execute_command(design))),
                "load_status": Out(mover_status()),
                "store_status": Out(mover_status()),
                "core_busy": In(1),
                "core_step": In(1),
                "core_fault": In(1),
                "ended": In(1),
                "conflict": In(1),
                "bus_quiet": In(1),
                "bus_moves": In(1),
                "window_first": Out(width),
                "window_last": Out(width),
                "halt": Out(1),
                "load_halt": Out(1),
                "store_halt": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        design = self._design
        m.submodules.registers = port = RegisterPort(configuration=design.configuration)
        m.submodules.run = run = RunControl()
        m.submodules.fetch = fetch = Fetch(
            address_width=design.address_width, data_bytes=design.data_bytes, prefetch=design.prefetch
        )
        m.submodules.decoder = decoder = Decoder(design=design)
        kind = InstructionQueue if design.queue_depth else InstructionRegister
        queues = {q: kind(design=design, queue=q) for q in Queue}
        for q, queue in queues.items():
            m.submodules[f"{q.name.lower()}_queue"] = queue
            wiring.connect(m, getattr(decoder, q.name.lower()), queue.i)
            m.d.comb += queue.clear.eq(run.halt)
        m.submodules.execute = execute = ExecuteUnit(design=design)
        wiring.connect(m, fetch.o, decoder.i)
        wiring.connect(m, queues[Queue.EXECUTE].o, execute.command)
        wiring.connect(m, queues[Queue.LOAD].o, wiring.flipped(self.load))
        wiring.connect(m, queues[Queue.STORE].o, wiring.flipped(self.store))
        wiring.connect(m, execute.core, wiring.flipped(self.core))
        wiring.connect(m, wiring.flipped(self.bus), port.bus)
        wiring.connect(m, fetch.ar, wiring.flipped(self.fetch_ar))
        wiring.connect(m, wiring.flipped(self.fetch_beats), fetch.beats)
        m.d.comb += [
            decoder.clear.eq(run.halt),
            execute.halt.eq(run.halt),
            execute.ended.eq(self.ended),
            execute.wrong.eq(self.core_fault),
        ]
        self._registers(m, port, run, fetch)
        overflows = self._tokens(m, run, execute, queues)
        self._state(m, run, fetch, decoder, execute, queues)
        watchdog = self._watchdog(m, port, run, fetch, queues)
        self._faults(m, run, fetch, decoder, execute, watchdog, overflows)
        self._counters(m, port, run, queues)
        return m

    def _registers(self, m: Module, port: RegisterPort, run: RunControl, fetch: Fetch) -> None:
        values, width = port.values, self._design.address_width
        m.d.comb += [
            run.start.eq(port.start),
            run.acknowledge.eq(port.acknowledge),
            fetch.start.eq(port.start),
            fetch.halt.eq(run.halt),
            fetch.clear.eq(run.rested),
            fetch.program_address.eq(Cat(values.program_address_low, values.program_address_high)),
            fetch.program_length.eq(values.program_length),
            self.window_first.eq(Cat(values.window_first_low, values.window_first_high)[:width]),
            self.window_last.eq(Cat(values.window_last_low, values.window_last_high)[:width]),
            fetch.window_first.eq(self.window_first),
            fetch.window_last.eq(self.window_last),
            port.busy.eq(run.busy),
            port.done.eq(run.done),
            port.error.eq(run.error),
            port.code.eq(run.code),
            port.queue.eq(run.queue),
            port.index.eq(run.index),
            self.interrupt.eq(run.done),
            Cat(self.halt, self.load_halt, self.store_halt).eq(run.units),
        ]

    def _tokens(self, m: Module, run: RunControl, execute: ExecuteUnit, queues: dict) -> list[tuple]:
        """Counters between the units and the queues; what they report when one overflows."""
        m.submodules.tokens = tokens = TokenCounters()
        m.d.comb += tokens.clear.eq(run.clear)
        ended = {q: Signal(INDEX_BITS, name=f"ended_{q.name.lower()}") for q in Queue}
        ends = {Queue.LOAD: self.load_status, Queue.EXECUTE: execute, Queue.STORE: self.store_status}
        m.d.comb += tokens.posts[Queue.EXECUTE].eq(execute.post)  # a register already
        for q in (Queue.LOAD, Queue.STORE):
            m.d.sync += tokens.posts[q].eq(Mux(ends[q].finished, ends[q].post, 0))
        for q, unit in ends.items():
            with m.If(unit.finished):
                m.d.sync += ended[q].eq(unit.index)
            mine = [token for token in Token if token.waiter is q]
            m.d.comb += [
                queues[q].present.eq(Cat(tokens.present[token] for token in mine)),
                tokens.takes[q].eq(queues[q].take << mine[0]),
            ]
        return [(tokens.overflow[q], Error.TOKEN_OVERFLOW, q, ended[q]) for q in Queue]

    def _state(self, m, run, fetch, decoder, execute, queues) -> None:
        """When has a run ended, and when has a halted machine come to rest."""
        units = Signal()
        waiting = Cat(~queue.empty for queue in queues.values())
        m.d.comb += [
            units.eq(self.load_status.busy | self.store_status.busy | self.core_busy | execute.pending),
            run.drained.eq(fetch.exhausted & ~decoder.held & ~waiting.any() & ~units),
        ]
        m.d.sync += run.quiet.eq(~units & fetch.idle & self.bus_quiet)

    def _watchdog(self, m, port, run, fetch, queues) -> Watchdog:
        m.submodules.watchdog = watchdog = Watchdog()
        streams = [port for queue in queues.values() for port in (queue.i, queue.o)]
        moves, progress = Signal(2 + len(streams)), Signal()
        m.d.sync += [
            moves.eq(Cat(self.bus_moves, self.core_busy, *(port.valid & port.ready for port in streams))),
            progress.eq(moves.any() | ~(run.running | (run.halt & ~run.quiet))),
        ]
        m.d.comb += [
            watchdog.limit.eq(port.values.watchdog),
            watchdog.progress.eq(progress),
            watchdog.heads.eq(Cat(queue.head for queue in queues.values())),
            watchdog.reached.eq(fetch.index),
            run.barks.eq(watchdog.barks),
        ]
        for q, queue in queues.items():
            m.d.comb += watchdog.indices[q].eq(queue.index)
        return watchdog

    def _faults(self, m, run, fetch, decoder, execute, watchdog, overflows) -> None:
        """All who can report a fault, the gravest first."""
        load, store, barked = self.load_status, self.store_status, Signal()
        m.d.sync += barked.eq(watchdog.barks & run.running)  # what it names does not move meanwhile
        reports = [
            (fetch.fault, fetch.code, FETCH_SOURCE, fetch.index),
            (decoder.fault, decoder.code, FETCH_SOURCE, decoder.index),
            (load.fault, load.code, Queue.LOAD, load.index),
            (execute.fault, execute.code, Queue.EXECUTE, execute.index),
            (store.fault, store.code, Queue.STORE, store.index),
            (self.conflict, Error.CONFLICT, Queue.STORE, store.index),
            *overflows,
            (barked, Error.WATCHDOG, watchdog.queue, watchdog.index),
        ]
        m.submodules.faults = faults = FaultCollector(sources=len(reports))
        for report, (valid, code, queue, index) in zip(faults.reports, reports, strict=True):
            m.d.comb += [
                report.valid.eq(valid),
                report.code.eq(code),
                report.queue.eq(queue),
                report.index.eq(index),
            ]
        m.d.comb += run.fault.eq(faults.first)  # which looks at it in a run alone

    def _counters(self, m, port, run, queues) -> None:
        """Each cycle of a run falls into exactly one of array_steps and the execute_* counters."""
        m.submodules.counters = counters = Counters(every=self._design.counters)
        execute = queues[Queue.EXECUTE]
        events = counters.events
        m.d.comb += [
            counters.clear.eq(run.begin),
            counters.running.eq(run.running),
            port.counters.eq(counters.values),
            events.load_busy.eq(self.load_status.busy),
            events.load_wait_token.eq(queues[Queue.LOAD].waiting),
            events.load_beats.eq(self.load_status.beat),
            events.fetch_beats.eq(self.fetch_beats.valid),
            events.store_busy.eq(self.store_status.busy),
            events.store_wait_token.eq(queues[Queue.STORE].waiting),
            events.store_beats.eq(self.store_status.beat),
        ]
        activations, weights, accumulators = execute.missing
        with m.If(self.core_step):
            m.d.comb += events.array_steps.eq(1)
        with m.Elif(self.core_busy | execute.o.valid):
            m.d.comb += events.execute_other.eq(1)
        with m.Elif(~execute.head):
            m.d.comb += events.execute_wait_instruction.eq(1)
        with m.Elif(activations):
            m.d.comb += events.execute_wait_activations.eq(1)
        with m.Elif(weights):
            m.d.comb += events.execute_wait_weights.eq(1)
        with m.Elif(accumulators):
            m.d.comb += events.execute_wait_accumulators.eq(1)
        with m.Else():
            m.d.comb += events.execute_other.eq(1)
