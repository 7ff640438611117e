"""Wrong programs, wrong memories, interference: each ends with its error, harms nothing, and the next program is none the worse.

All jobs of a test run one after the other on one accelerator; after each wrong one comes a right one without a reset.
"""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from systems import START_TO_INTERRUPT, system

from gen.cases import Case, prediction, prepare
from hw.control.isa import (
    FETCH_SOURCE,
    INSTRUCTION_BYTES,
    TOKEN_MAXIMUM,
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
        assert (result.counters["cycles"], result.cycles) == (cycles, cycles + START_TO_INTERRUPT)


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


MALFORMED = (
    malformed(
        Error.OPCODE,
        zeros=bytes(INSTRUCTION_BYTES),
        opcode=spoil(load(), 0, 8, 5),
        configure=assemble(Opcode.CONFIGURE),
        all_ones=b"\xff" * INSTRUCTION_BYTES,
        load_variant=load(variant=3),
        execute_variant=execute(variant=1),
        store_variant=store(variant=2),
    )
    | malformed(
        Error.FIELD,
        load_reserved=spoil(load(), 224, 1, 1),
        execute_reserved=spoil(execute(), 255, 1, 1),
        store_reserved=spoil(store(), 240, 1, 1),
        execute_reserved_field=execute(reserved=1),
        load_far=load(memory_address=TOP),
        store_far=store(memory_address=TOP + OUT),
        accumulate=execute(accumulate=2),
        accumulator=execute(accumulators_address=64),
        deep=execute(depth_tiles=1 << 24),
        load_waits=load(wait=RESULTS_READY),
        execute_waits=execute(wait=mask(Token.WEIGHTS_FREE)),
        store_waits=store(wait=mask(Token.ACCUMULATORS_FREE)),
        row_bytes=load(row_bytes=0),
        load_rows=load(rows=0),
        row_tiles=execute(row_tiles=0),
        column_tiles=execute(column_tiles=0),
        depth_tiles=execute(depth_tiles=0),
        store_rows=store(rows=0),
        columns=store(columns=0),
    )
    | {"first": Wrong(program=[bytes(32)], error=Error.OPCODE, queue=FETCH, index=0)}
)
PROGRAMS = {
    "empty": wrong_program(program_length=0),
    "misaligned": wrong_program(program_address=PROGRAM + 64),
    "below the window": wrong_program(window_first=PROGRAM + 1),
    "past the window": wrong_program(window_last=PROGRAM + 3 * INSTRUCTION_BYTES - 2),
    "too long": wrong_program(program_length=1 << 20),
    "longest": wrong_program(program_length=(1 << 32) - 1),
    "past the address space": wrong_program(program_address=TOP + PROGRAM),
    "uncountable": replace(
        wrong_program(program_length=1 << 20, window_first=0, window_last=TOP - 1), interpreted=False
    ),
    "wraps": replace(
        wrong_program(program_address=TOP - 128, program_length=8, window_first=0, window_last=TOP - 1),
        interpreted=False,
    ),
}
LOADS = {
    "below the window": wrong_load(Error.WINDOW, memory_address=0x13FF),
    "into the window": wrong_load(Error.WINDOW, memory_address=0x13F8),
    "past the window": wrong_load(Error.WINDOW, memory_address=0x43F1),
    "third row": wrong_load(Error.WINDOW, memory_address=0x3800, memory_stride=0x800, rows=3, local_stride=4),
    "row wraps": wrong_load(Error.WINDOW, memory_address=TOP - 8),
    "row wraps in the widest window": replace(
        wrong_load(Error.WINDOW, memory_address=TOP - 8),
        registers={"window_last": TOP - 1},
        interpreted=False,
    ),
    "stride wraps": wrong_load(Error.WINDOW, memory_address=0x3000, memory_stride=TOP - 0x1000, rows=2),
    "activations": wrong_load(Error.LOCAL, local_address=253),
    "weights, third row": wrong_load(Error.LOCAL, variant=1, local_address=100, local_stride=77, rows=3),
    "parameters": wrong_load(Error.LOCAL, variant=2, local_address=127, row_bytes=5),
    "stride": wrong_load(Error.LOCAL, local_stride=65535, rows=2),
}
EXECUTES = {
    "activations": wrong_execute(activations_address=253),
    "activations, later word": wrong_execute(activations_address=240, depth_tiles=56),
    "activations, later tile": wrong_execute(activations_stride=16, row_tiles=5),
    "weights": wrong_execute(weights_address=253),
    "weights, later tile": wrong_execute(weights_address=240, column_tiles=5),
    "accumulators": wrong_execute(accumulators_address=61),
    "accumulators, later tile": wrong_execute(accumulators_address=32, column_tiles=5, row_tiles=2),
    "across the halves": wrong_execute(accumulators_address=29),
    "across the halves, later tile": wrong_execute(accumulators_address=16, column_tiles=5),
    "of nearly endless depth": wrong_execute(depth_tiles=(1 << 24) - 1),
}
STORES = {
    "below the window": wrong_store(Error.WINDOW, memory_address=0x13FF),
    "past the window": wrong_store(Error.WINDOW, memory_address=0x43F1),
    "second row": wrong_store(Error.WINDOW, written=16, memory_address=0x4200, memory_stride=0x200, rows=3),
    "row wraps": wrong_store(Error.WINDOW, memory_address=TOP - 4),
    "stride wraps": wrong_store(Error.WINDOW, written=16, memory_stride=TOP - 0x1000, rows=2),
    "accumulators": wrong_store(Error.LOCAL, written=80, accumulators_address=60, rows=5),
    "accumulators, second tile": wrong_store(Error.LOCAL, written=32, accumulators_stride=64, columns=8),
    "parameters": wrong_store(Error.LOCAL, written=4, variant=1, parameters_address=29),
}
TOKENS = {
    "load": waiting(2, Queue.LOAD, *OPERANDS, load(wait=mask(Token.WEIGHTS_FREE)), load()),
    "execute": waiting(2, Queue.EXECUTE, *OPERANDS, execute(wait=mask(Token.ACCUMULATORS_FREE)), *BEHIND),
    "store": waiting(0, Queue.STORE, store(wait=mask(Token.PARAMETERS_READY)), *BEHIND),
    "the oldest of three": waiting(
        1,
        Queue.STORE,
        load(),
        store(wait=RESULTS_READY),
        execute(wait=READY),
        load(wait=mask(Token.PARAMETERS_FREE)),
    ),
    "more than the queue holds": waiting(1, Queue.LOAD, load(), *[load(wait=mask(Token.WEIGHTS_FREE))] * 30),
    "overflow by the last LOAD": Wrong(
        program=[load(**posting(Token.RESULTS_READY))] * (TOKEN_MAXIMUM + 1),
        error=Error.TOKEN_OVERFLOW, queue=Queue.LOAD, index=TOKEN_MAXIMUM,
    ),
    "overflow by an EXECUTE": Wrong(
        program=[*[execute(**posting(Token.WEIGHTS_FREE))] * (TOKEN_MAXIMUM + 1), *BEHIND],
        error=Error.TOKEN_OVERFLOW, queue=Queue.EXECUTE, index=TOKEN_MAXIMUM,
    ),
    "overflow by the last STORE": Wrong(
        program=[store(**posting(Token.ACCUMULATORS_FREE))] * (TOKEN_MAXIMUM + 1),
        error=Error.TOKEN_OVERFLOW, queue=Queue.STORE, index=TOKEN_MAXIMUM, written=(range(OUT, OUT + 16),),
    ),
}  # fmt: skip
TABLES = {
    "malformed": MALFORMED, "program": PROGRAMS, "LOAD": LOADS, "EXECUTE": EXECUTES, "STORE": STORES, "tokens": TOKENS
}  # fmt: skip
FAR = MemoryTiming(read_latency=100, write_latency=80, interval=3, outstanding=2)


@pytest.mark.parametrize("table", TABLES)
def test_wrong_programs(table):
    near = TABLES[table]
    far = {name + ", far": replace(case, timing=FAR) for name, case in near.items()}
    run_each_before_a_right_one(near | far)


@pytest.mark.parametrize("table", TABLES)
def test_wrong_programs_with_the_smallest_control(table):
    run_each_before_a_right_one(TABLES[table], (*SMALL, "control.prefetch=1", "control.queue_depth=0"))


WIDE = {"window_last": 0x7FFF}
"""A window that goes on past the memory, which answers SLVERR there."""


def on_the_bus(error: Error, queue: int, index: int, program: list[bytes], **options) -> Wrong:
    return Wrong(
        program=program, error=error, queue=queue, index=index, registers=WIDE, interpreted=False, **options
    )


BUS_ERRORS = {
    "LOAD": on_the_bus(Error.READ, Queue.LOAD, 2, [*OPERANDS, load(0x5000), *BEHIND]),
    "LOAD, third row": on_the_bus(
        Error.READ, Queue.LOAD, 2, [*OPERANDS, load(0x4FE0, memory_stride=16, rows=3, local_stride=4)]
    ),
    "program": replace(
        on_the_bus(Error.READ, FETCH, 0, BEHIND), registers=WIDE | {"program_address": 0x6000}
    ),
    "STORE": on_the_bus(Error.WRITE, Queue.STORE, 3, [*RESULTS, store(0x5000, wait=RESULTS_READY), *BEHIND]),
    "STORE, second row": on_the_bus(
        Error.WRITE,
        Queue.STORE,
        3,
        [*RESULTS, store(0x4FF0, wait=RESULTS_READY, rows=3)],
        written=(range(0x4FF0, 0x5000),),
    ),
}


def test_errors_of_the_bus():
    run_each_before_a_right_one(
        BUS_ERRORS | {name + ", far": replace(case, timing=FAR) for name, case in BUS_ERRORS.items()}
    )


def test_the_younger_of_two_executes_in_the_core_is_named():
    """The older one's results are on their way when the younger runs past its scratchpad."""
    good = execute(wait=READY, depth_tiles=16)
    activations, weights = execute(activations_address=253), execute(weights_address=253)
    cases = {}
    for name, bad in {"activations": activations, "weights": weights}.items():
        for distance in (1, 2):
            program = [*OPERANDS, good, *[execute()] * (distance - 1), bad, execute(), *BEHIND]
            cases[f"{name}, {distance} behind"] = Wrong(
                program=program, error=Error.LOCAL, queue=Queue.EXECUTE, index=2 + distance
            )
    run_each_before_a_right_one(cases)


def test_execute_and_store_in_the_same_half():
    long = execute(row_tiles=8, depth_tiles=32, activations_stride=8)
    program = [*OPERANDS, long, store(rows=32), *BEHIND]
    other = [*OPERANDS, long, store(rows=32, accumulators_address=32), *BEHIND]
    conflict = Wrong(
        program=program,
        error=Error.CONFLICT,
        queue=Queue.STORE,
        index=3,
        written=(range(OUT, OUT + 512),),
        interpreted=False,
    )
    peace = replace(conflict, program=other, error=Error.NONE, queue=0, index=0, status=DONE)
    run_each_before_a_right_one({"conflict": conflict, "other half": peace, "again": conflict})


DEAD = {
    "no address is taken": (MemoryTiming(outstanding=0), BEHIND),
    "nothing is read": (MemoryTiming(read_latency=5000), BEHIND),
    "no write is answered": (MemoryTiming(write_latency=5000), [*RESULTS, store(wait=RESULTS_READY)]),
}


def test_dead_bus():
    """Done and error come while the accelerator is busy; once the bus answers, it is not, and can start again."""
    run_each_before_a_right_one(
        {
            name: Wrong(
                program=program,
                error=Error.WATCHDOG,
                queue=FETCH,
                index=4 if "write" in name else 0,  # all is handed out
                written=(range(OUT, OUT + 16),),
                registers={"watchdog": 400},
                timing=timing,
                interpreted=False,
                status=STUCK,
            )
            for name, (timing, program) in DEAD.items()
        }
    )


def test_writes_while_busy_are_refused_and_change_nothing():
    loaded, _ = system("systolic-4x4", *SMALL)
    refused = {"control": 1, "program_length": 0, "window_last": 0, "watchdog": 1}
    run([Right(loaded, 0, refused=refused), Right(loaded, 1)])


def test_reset_in_the_middle_of_a_run():
    loaded, _ = system("systolic-4x4", *SMALL)
    limits = (10, 40, 90, 150, 220, 300)
    run(
        [
            part(loaded, n, **how)
            for n, limit in enumerate(limits)
            for part, how in ((Abandoned, {"reset": True, "limit": limit}), (Right, {"reset": True}))
        ]
    )
