"""Wrong programs, wrong memories, interference: each ends with its error, harms nothing, and the next program is none the worse.

All jobs of a test run one after the other on one accelerator; after each wrong one comes a right one without a reset.
"""

from dataclasses import replace

import pytest
from errors_bench import (
    BEHIND,
    DONE,
    FETCH,
    OPERANDS,
    OUT,
    PROGRAM,
    READY,
    RESULTS,
    RESULTS_READY,
    SMALL,
    STUCK,
    TOP,
    Abandoned,
    Right,
    Wrong,
    execute,
    load,
    malformed,
    mask,
    posting,
    run,
    run_each_before_a_right_one,
    spoil,
    store,
    waiting,
    wrong_execute,
    wrong_load,
    wrong_program,
    wrong_store,
)
from systems import system

from hw.control.isa import (
    INSTRUCTION_BYTES,
    TOKEN_MAXIMUM,
    Error,
    Opcode,
    Queue,
    Token,
    assemble,
)
from sim.cycles.memory import MemoryTiming

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


@pytest.mark.parametrize("far", [False, pytest.param(True, marks=pytest.mark.long)])
@pytest.mark.parametrize("table", TABLES)
def test_wrong_programs(table, far):
    cases = TABLES[table]
    if far:
        cases = {name + ", far": replace(case, timing=FAR) for name, case in cases.items()}
    run_each_before_a_right_one(cases)


@pytest.mark.long
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


def younger_of_two() -> dict[str, Wrong]:
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
    return cases


def test_the_younger_of_two_executes_in_the_core_is_named():
    run_each_before_a_right_one(younger_of_two())


LONG = execute(row_tiles=8, depth_tiles=32, activations_stride=8)
CONFLICT = Wrong(
    program=[*OPERANDS, LONG, store(rows=32), *BEHIND],
    error=Error.CONFLICT,
    queue=Queue.STORE,
    index=3,
    written=(range(OUT, OUT + 512),),
    interpreted=False,
)
PEACE = replace(
    CONFLICT,
    program=[*OPERANDS, LONG, store(rows=32, accumulators_address=32), *BEHIND],
    error=Error.NONE,
    queue=0,
    index=0,
    status=DONE,
)
CONFLICTS = {"conflict": CONFLICT, "other half": PEACE, "again": CONFLICT}


def test_execute_and_store_in_the_same_half():
    run_each_before_a_right_one(CONFLICTS)


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
