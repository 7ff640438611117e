"""Runs programs one instruction at a time: fetch, check, tokens, issue; only an EXECUTE goes on beside what follows it."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, ValueLike
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from hw.control.axi_lite import axi_lite
from hw.control.isa import FETCH_SOURCE, INSTRUCTION_BYTES, Error, Queue
from hw.design import Design
from hw.dma.read_arbiter import read_beats
from hw.in_order.instruction import InstructionRegister
from hw.in_order.registers import RegisterFile
from hw.in_order.run import RunState
from hw.in_order.tokens import TokenRing
from hw.in_order.watchdog import Watchdog
from hw.interfaces import axi_address, execute_command, load_command, store_command


class Control(wiring.Component):
    """Runs programs.

    Members
    -------
    bus : AXI4-Lite slave
    interrupt : Out(1)
    fetch_ar : Out(stream)
        Asks for an instruction; only while the mover is idle.
    fetch_beats : In(``read_beats``)
        Its beats; no others.
    load, store : Out
        The fields of a LOAD, a STORE: constant from the cycle in which it starts until it has ended.
    start_load, start_store : Out(1)
        One cycle, in which the mover is idle.
    mover_ended : In(1), mover_code : In(4), mover_busy : In(1)
        What came of it: one cycle, and an ``Error`` or 0.
    core : Out(stream of ``execute_command``)
    core_busy, core_fault, ended, conflict : In(1)
        From the core and the accumulators.
    bus_moves : In(1)
        A handshake on the AXI master; feeds the watchdog.
    window_first, window_last : Out
    halt : Out(1)

    Timing
    ------
    An instruction is asked for in the cycle after the one before it has ended, or was taken by the core. It starts in the
    cycle after its last beat came, or ``hw.timing.TOKEN_PASS`` + 1 cycles after its first one if that is later, or after the
    tokens or the core that it waits for. ``sim.cycles.in_order`` has all of it.
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
                "load": Out(load_command(design)),
                "store": Out(store_command(design)),
                "start_load": Out(1),
                "start_store": Out(1),
                "mover_ended": In(1),
                "mover_code": In(4),
                "mover_busy": In(1),
                "core": Out(stream.Signature(execute_command(design))),
                "core_busy": In(1),
                "core_fault": In(1),
                "ended": In(1),
                "conflict": In(1),
                "bus_moves": In(1),
                "window_first": Out(width),
                "window_last": Out(width),
                "halt": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        design = self._design
        m.submodules.registers = self._registers = RegisterFile(
            configuration=design.configuration,
            address_width=design.address_width,
            index_bits=design.index_bits,
        )
        m.submodules.instruction = self._instruction = InstructionRegister(design=design)
        m.submodules.tokens = self._tokens = TokenRing()
        m.submodules.watchdog = self._watchdog = Watchdog()
        m.submodules.run = self._run = RunState()
        self._behind = Signal(design.index_bits)  # the index in the program, every bit inverted
        self._executing = Signal(design.index_bits, reset_less=True)  # the same of the EXECUTE under way
        self._under_way, self._landed = (
            Signal(),
            Signal(),
        )  # it has ended, too, and its tokens are still to be given
        self._failed = Signal()  # a beat of the instruction was not read
        self._connect(m)
        self._execute(m)
        self._states(m)
        return m

    def _connect(self, m: Module) -> None:
        registers, instruction, tokens, run = self._registers, self._instruction, self._tokens, self._run
        beats = self.fetch_beats
        wiring.connect(m, wiring.flipped(self.bus), registers.bus)
        for name in ("busy", "done", "error", "code", "queue", "cycles"):
            m.d.comb += getattr(registers, name).eq(getattr(run, name))
        m.d.comb += [
            registers.index.eq(Mux(run.error, ~Mux(run.executing, self._executing, self._behind), 0)),
            run.start.eq(registers.start),
            run.acknowledge.eq(registers.acknowledge),
            self.interrupt.eq(run.done),
            self.halt.eq(run.halt),
            self.window_first.eq(registers.window_first),
            self.window_last.eq(registers.window_last),
            instruction.valid.eq(beats.valid),
            instruction.data.eq(beats.data),
            tokens.clear.eq(registers.start),
            tokens.load.eq(instruction.first),
            tokens.wait.eq(instruction.wait),
            tokens.post.eq(instruction.post),
            self.load.eq(instruction.load),
            self.store.eq(instruction.store),
            self.core.payload.eq(instruction.execute),
        ]
        with m.If(beats.valid):
            m.d.sync += self._failed.eq(beats.error | (self._failed & ~instruction.first))

    def _execute(self, m: Module) -> None:
        """The EXECUTE, or CONFIGURE, that the core has: at most one."""
        tokens = self._tokens
        with m.If(tokens.begin & tokens.kept):
            m.d.sync += [self._under_way.eq(0), self._landed.eq(0)]
        with m.If(self._under_way & self.ended):
            m.d.sync += self._landed.eq(1)
        with m.If(tokens.keep):
            m.d.sync += [self._under_way.eq(1), self._executing.eq(self._behind)]
        with m.If(self._registers.start):
            m.d.sync += [self._under_way.eq(0), self._landed.eq(0)]
        m.d.comb += tokens.kept.eq(self._landed & ~tokens.own)

    def _program(self, m: Module, checking: Signal) -> tuple[Value, Value]:
        """The address at ``fetch_ar``; whether the program is wrong, while ``checking``; whether this is its last instruction."""
        registers = self._registers
        unit, width = exact_log2(INSTRUCTION_BYTES), self._design.address_width
        skipped = width - len(registers.before)
        # The number of an instruction's place in memory, inverted, as is all that goes into it: no carry chain wants inverters
        # before it, and each has its 1 to be added as one more bit below.
        before, chosen, place = (Signal(width - unit + 1) for _ in range(3))
        m.d.comb += [
            before.eq(Cat(Const(-1, skipped - unit), registers.before, 1)),
            chosen.eq(Cat(Mux(checking, ~registers.last, self._behind), Const(-1, len(place)))),
            place.eq((Cat(1, before) + Cat(1, chosen)) >> 1),
            self.fetch_ar.payload.address.eq(~place << unit),
            self.fetch_ar.payload.length.eq(INSTRUCTION_BYTES // self._design.data_bytes - 1),
        ]
        end, first = registers.window_last, registers.window_first
        inside = Cat(end[:unit].all(), end[unit:]) + Cat(1, place)
        below = Cat(first[:skipped].any(), first[skipped:]) + Cat(1, registers.before)
        return registers.bad | ~inside[len(place) + 1] | below[-1], self._behind == ~registers.last

    def _fault(
        self, m: Module, wrong: ValueLike, code: ValueLike, queue: ValueLike, executing: ValueLike = 0
    ) -> None:
        """Of several in a cycle the one that was written down last counts."""
        run = self._run
        with m.If(wrong):
            m.d.comb += [
                run.fault.eq(1),
                run.fault_code.eq(code),
                run.fault_queue.eq(queue),
                run.fault_executing.eq(executing),
            ]

    def _fail(self, m: Module, code: ValueLike, queue: ValueLike, executing: int = 0) -> None:
        """In a state: the run ends here."""
        self._fault(m, 1, code, queue, executing)
        m.next = "REST"

    def _go_on(self, m: Module, final: Value) -> None:
        """In a state: to the next instruction."""
        with m.If(final):
            m.next = "DRAIN"
        with m.Else():
            m.d.sync += self._behind.eq(self._behind - 1)
            m.next = "ASK"

    def _states(self, m: Module) -> None:
        run, watchdog = self._run, self._watchdog
        checking, fetching, draining, quiet = (Signal() for _ in range(4))
        # Who is busy is known late in a cycle.
        core_busy, is_quiet, was_quiet = (Signal() for _ in range(3))
        wrong, final = self._program(m, checking)
        blamed = Mux(fetching, FETCH_SOURCE, Mux(draining, Queue.EXECUTE, self._instruction.queue))
        self._fault(m, watchdog.barks, Error.WATCHDOG, blamed, draining)
        self._fault(m, self.conflict, Error.CONFLICT, Queue.STORE)
        self._fault(m, self._under_way & self.core_fault, Error.LOCAL, Queue.EXECUTE, executing=1)
        outside = Signal()  # two carry chains, and what a fault reaches, would be too much for a cycle
        m.d.sync += outside.eq(wrong)
        with m.FSM() as fsm:
            self._fetching(m, outside)
            self._deciding(m)
            self._carrying_out(m, final)
            with m.State("DRAIN"):
                self._draining(m)
            with m.State("REST"):
                m.d.comb += quiet.eq(~self.mover_busy & ~self.core_busy)
                with m.If(is_quiet & was_quiet & watchdog.settled):
                    m.d.comb += run.rested.eq(1)
                    m.next = "IDLE"
        m.d.sync += [core_busy.eq(self.core_busy), is_quiet.eq(quiet), was_quiet.eq(is_quiet)]
        m.d.comb += [
            checking.eq(fsm.ongoing("CHECK")),
            fetching.eq(fsm.ongoing("ASK") | fsm.ongoing("BEATS")),
            draining.eq(fsm.ongoing("DRAIN")),
            run.stuck.eq(watchdog.barks & run.halt),
            watchdog.limit.eq(self._registers.limit),
            watchdog.shown.eq(self._registers.shown),
            watchdog.quiet.eq(is_quiet),
            watchdog.restart.eq(
                self.bus_moves | core_busy | ~run.busy | watchdog.barks | (is_quiet & ~was_quiet)
            ),
        ]

    def _fetching(self, m: Module, outside: Signal) -> None:
        """From the start to an instruction."""
        with m.State("IDLE"):
            with m.If(self._registers.start):
                m.d.sync += self._behind.eq(~0)
                m.next = "LOOK"
        with m.State("LOOK"):
            with m.If(self._registers.loaded):
                m.next = "CHECK"
        with m.State("CHECK"):
            m.next = "CHECKED"
        with m.State("CHECKED"):
            m.next = "ASK"
            with m.If(outside):
                self._fail(m, Error.PROGRAM, FETCH_SOURCE)
        with m.State("ASK"):
            m.d.comb += self.fetch_ar.valid.eq(1)
            with m.If(self.fetch_ar.ready):
                m.next = "BEATS"
        with m.State("BEATS"):
            with m.If(self._instruction.first):
                m.d.comb += self._tokens.begin.eq(1)
            with m.If(self._instruction.last):
                m.next = "DECIDE"

    def _deciding(self, m: Module) -> None:
        """An instruction is there; its tokens may not be."""
        instruction, tokens = self._instruction, self._tokens
        for_core = instruction.queue == Queue.EXECUTE
        with m.State("DECIDE"):
            with m.If(self._run.halt):
                m.next = "REST"
            with m.Elif(tokens.passing):
                pass
            with m.Elif(self._failed):
                self._fail(m, Error.READ, FETCH_SOURCE)
            with m.Elif(instruction.unknown):
                self._fail(m, Error.OPCODE, FETCH_SOURCE)
            with m.Elif(instruction.malformed):
                self._fail(m, Error.FIELD, FETCH_SOURCE)
            with m.Elif(tokens.overflow):
                self._fail(m, Error.TOKEN_OVERFLOW, Queue.EXECUTE, executing=1)
            with m.Elif(tokens.missing | (for_core & self._under_way)):
                with m.If(self._landed):
                    m.d.comb += tokens.begin.eq(1)
                with m.Elif(~self._under_way):  # nobody can ever give what it waits for
                    self._fail(m, Error.WATCHDOG, instruction.queue)
            with m.Elif(for_core):
                m.next = "EXECUTE"
            with m.Else():
                m.d.comb += [
                    self.start_load.eq(instruction.queue == Queue.LOAD),
                    self.start_store.eq(instruction.queue == Queue.STORE),
                    tokens.begin.eq(1),
                    tokens.own.eq(1),
                ]
                m.next = "MOVE"

    def _carrying_out(self, m: Module, final: Value) -> None:
        """The core takes an instruction, or the mover carries it out."""
        instruction, tokens, run = self._instruction, self._tokens, self._run
        moved, over = Signal(), Signal()
        m.d.comb += over.eq(moved | self.mover_ended)
        with m.State("EXECUTE"):
            m.d.comb += self.core.valid.eq(~run.halt)
            with m.If(run.halt):
                m.next = "REST"
            with m.Elif(self.core.ready):
                m.d.comb += tokens.keep.eq(1)
                self._go_on(m, final)
        with m.State("MOVE"):
            m.d.sync += moved.eq(over & tokens.passing)
            with m.If(self.mover_ended & self.mover_code.any()):
                m.d.sync += moved.eq(0)
                self._fail(m, self.mover_code, instruction.queue)
            with m.Elif(over & ~tokens.passing):
                with m.If(run.halt):
                    m.next = "REST"
                with m.Elif(tokens.overflow):
                    self._fail(m, Error.TOKEN_OVERFLOW, instruction.queue)
                with m.Else():
                    self._go_on(m, final)

    def _draining(self, m: Module) -> None:
        """The program has been handed out; an EXECUTE may still be under way."""
        tokens, run = self._tokens, self._run
        with m.If(run.halt):
            m.next = "REST"
        with m.Elif(~tokens.passing):
            with m.If(tokens.overflow):
                self._fail(m, Error.TOKEN_OVERFLOW, Queue.EXECUTE, executing=1)
            with m.Elif(self._landed):
                m.d.comb += tokens.begin.eq(1)
            with m.Elif(~self._under_way):
                m.d.comb += run.finish.eq(1)
                m.next = "IDLE"
