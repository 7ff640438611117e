"""Wrong programs and how they are run: what each must end with, and what it may have changed."""

from dataclasses import dataclass, field, replace

import numpy as np
from systems import start_to_interrupt, system

from gen.cases import Case, prediction, prepare
from hw.control.isa import (
    FETCH_SOURCE,
    INSTRUCTION_BYTES,
    Error,
    Opcode,
    OutputMode,
    Queue,
    Token,
    assemble,
)
from hw.control.registers import STATUS_BUSY, STATUS_DONE, STATUS_ERROR
from sim import interpreter, simulate
from sim.cycles.memory import MemoryTiming

SMALL = ("memory.activations_kib=1", "memory.weights_kib=1", "memory.accumulators=64", "memory.parameters=32")
LOAD, EXECUTE, STORE = Opcode.LOAD, Opcode.EXECUTE, Opcode.STORE
BASE, SIZE = 0x1000, 0x4000
WINDOW = 0x1400, 0x43FF
"""Lies within the memory: what a program reaches outside of it would be seen to change."""
PROGRAM, DATA, OUT = 0x1400, 0x2000, 0x3000
TOP = 1 << 32
DONE, FAILED = 1 << STATUS_DONE, 1 << STATUS_DONE | 1 << STATUS_ERROR
STUCK = FAILED | 1 << STATUS_BUSY
PATIENCE = 1 << 20
"""Of the watchdog, after reset."""
FETCH = FETCH_SOURCE


def mask(*tokens: Token) -> int:
    return sum(1 << token for token in tokens)


def load(memory_address=DATA, **fields) -> bytes:
    return assemble(LOAD, **{"memory_address": memory_address, "row_bytes": 16, "rows": 1} | fields)


def execute(**fields) -> bytes:
    return assemble(
        EXECUTE, **{"row_tiles": 1, "column_tiles": 1, "depth_tiles": 4, "activations_stride": 1} | fields
    )


def store(memory_address=OUT, **fields) -> bytes:
    return assemble(
        STORE, **{"memory_address": memory_address, "memory_stride": 16, "rows": 1, "columns": 4} | fields
    )


def spoil(instruction: bytes, first: int, bits: int, value: int) -> bytes:
    """``instruction`` with another value in some bits."""
    word = int.from_bytes(instruction, "little")
    return (word & ~((1 << bits) - 1 << first) | value << first).to_bytes(INSTRUCTION_BYTES, "little")


@dataclass(frozen=True, kw_only=True)
class Wrong:
    """A program that must fail at ``index`` with ``error`` in ``queue``."""

    program: list[bytes]
    error: Error
    queue: int
    index: int
    written: tuple[range, ...] = ()
    """Addresses that it may have written before."""
    registers: dict[str, int] = field(default_factory=dict)
    timing: MemoryTiming = field(default_factory=MemoryTiming)
    interpreted: bool = True
    """The interpreter defines the same error."""
    status: int = FAILED

    def job(self) -> simulate.Job:
        image = np.random.default_rng(1).integers(0, 256, SIZE, np.uint8)
        code = np.frombuffer(b"".join(self.program), np.uint8)
        image[PROGRAM - BASE :][: code.size] = code
        registers = {
            "program_address": PROGRAM,
            "program_length": len(self.program),
            "window_first": WINDOW[0],
            "window_last": WINDOW[1],
            "watchdog": PATIENCE,
        }
        return simulate.Job(
            image=image.tobytes(),
            base=BASE,
            registers=registers | self.registers,
            timing=self.timing,
            reset=False,
            limit=100_000,
        )

    def check(self, loaded, task: simulate.Job, result: simulate.RunResult) -> None:
        before, after = (np.frombuffer(data, np.uint8) for data in (task.image, result.memory))
        if self.interpreted:
            names = ("program_address", "program_length")
            outcome = interpreter.run(
                loaded.design(),
                loaded.instance.model(),
                before.copy(),
                *(task.registers[name] for name in names),
                (task.registers["window_first"], task.registers["window_last"]),
                base=BASE,
            )
            assert (outcome.error.name, outcome.instruction) == (self.error.name, self.index)
        failed = (result.status, Error(result.error & 0xFF).name, result.error >> 8, result.error_instruction)
        assert failed == (self.status, self.error.name, self.queue, self.index)
        assert result.interrupt
        assert not result.breaches
        assert result.idle == (self.status != STUCK)
        allowed = {address for part in self.written for address in part}
        assert {int(place) + BASE for place in np.flatnonzero(before != after)} <= allowed


class Right:
    """A GEMM that must come out right, and in the predicted cycles, whatever was before it."""

    def __init__(self, loaded, number: int, **options):
        sizes, mode = ((5, 21, 6), (9, 8, 13))[number // 2 % 2], tuple(OutputMode)[number % 2]
        timing = (MemoryTiming(), MemoryTiming(read_latency=1, write_latency=3))[number // 4 % 2]
        self.ready = prepare(loaded, Case(sizes, mode, timing, seed=number, base=0x8000))
        self.options = {"reset": False, "limit": 100_000} | options

    def job(self) -> simulate.Job:
        task = self.ready.job(**self.options)
        return replace(task, registers=task.registers | {"watchdog": PATIENCE})

    def check(self, loaded, task: simulate.Job, result: simulate.RunResult) -> None:
        assert result.ok, (result.status, result.error, result.error_instruction, result.breaches)
        memory = np.frombuffer(result.memory, np.uint8)
        np.testing.assert_array_equal(self.ready.program.read_output(memory), self.ready.load.golden())
        assert self.ready.program.damaged(memory) is None
        cycles = prediction(loaded, self.ready).cycles
        assert (result.counters["cycles"], result.cycles) == (
            cycles,
            cycles + start_to_interrupt(loaded.design()),
        )


class Abandoned(Right):
    """The same, given up in the middle; what comes next must reset."""

    def check(self, loaded, task: simulate.Job, result: simulate.RunResult) -> None:
        assert (result.interrupt, result.status & DONE, result.breaches) == (False, 0, ())


def run(parts, overrides=SMALL, **how) -> list[simulate.RunResult]:
    """Each part's job and check, in one process."""
    loaded, made = system("systolic-4x4", *overrides)
    design = loaded.design()
    tasks = [part.job() for part in parts]
    results = simulate.simulate_all(
        made.verilog,
        tasks,
        top=made.top,
        data_bytes=design.data_bytes,
        address_width=design.address_width,
        **how,
    )
    for number, (part, task, result) in enumerate(zip(parts, tasks, results, strict=True)):
        print(number, part)
        part.check(loaded, task, result)
    return results


def run_each_before_a_right_one(cases: dict[str, Wrong], overrides=SMALL) -> None:
    loaded, _ = system("systolic-4x4", *overrides)
    parts = [part for number, case in enumerate(cases.values()) for part in (case, Right(loaded, number))]
    run(parts, overrides)


READY = mask(Token.ACTIVATIONS_READY, Token.WEIGHTS_READY)
OPERANDS = [load(post=mask(Token.ACTIVATIONS_READY)), load(variant=1, post=mask(Token.WEIGHTS_READY))]
"""In front of the instruction at fault, which is number 2."""
RESULTS = [*OPERANDS, execute(wait=READY, post=mask(Token.RESULTS_READY))]
RESULTS_READY = mask(Token.RESULTS_READY)
BEHIND = [load(), load(rows=3), load()]


def malformed(error: Error, **instructions: bytes) -> dict[str, Wrong]:
    return {
        name: Wrong(program=[*OPERANDS, code, *BEHIND], error=error, queue=FETCH, index=2)
        for name, code in instructions.items()
    }


def wrong_load(error: Error, **fields) -> Wrong:
    return Wrong(program=[*OPERANDS, load(**fields), *BEHIND], error=error, queue=Queue.LOAD, index=2)


def wrong_execute(**fields) -> Wrong:
    program = [*OPERANDS, execute(wait=READY, **fields), *BEHIND]
    return Wrong(program=program, error=Error.LOCAL, queue=Queue.EXECUTE, index=2)


def wrong_store(error: Error, written: int = 0, **fields) -> Wrong:
    program = [*RESULTS, store(wait=RESULTS_READY, **fields), *BEHIND]
    start = fields.get("memory_address", OUT)
    return Wrong(
        program=program, error=error, queue=Queue.STORE, index=3, written=(range(start, start + written),)
    )


def wrong_program(**registers) -> Wrong:
    return Wrong(program=BEHIND, error=Error.PROGRAM, queue=FETCH, index=0, registers=registers)


def waiting(index: int, queue: Queue, *program: bytes) -> Wrong:
    return Wrong(
        program=list(program), error=Error.WATCHDOG, queue=queue, index=index, registers={"watchdog": 600}
    )


def posting(*tokens: Token) -> dict[str, int]:
    return {"post": mask(*tokens)}
