"""The errors of ``test_errors`` where instructions are issued in order: all end in the same way, but for what is said here."""

from dataclasses import replace

import pytest
from errors_bench import FETCH, OUT, SMALL, STUCK, Abandoned, Right, Wrong, run, run_each_before_a_right_one
from systems import system
from test_errors import BUS_ERRORS, CONFLICTS, DEAD, FAR, TABLES, younger_of_two

from hw.control.isa import Error, Queue

IN_ORDER = (*SMALL, 'control.issue="in-order"')
NARROW = {
    "LOAD": ["stride"],
    "EXECUTE": ["of nearly endless depth"],
    "STORE": ["accumulators, second tile"],
}
"""Strides and depths past what memories hold: such fields have no bits for them."""


def table(name: str) -> dict[str, Wrong]:
    narrow = NARROW.get(name, [])
    return {
        case: replace(wrong, error=Error.FIELD, queue=FETCH) if case in narrow else wrong
        for case, wrong in TABLES[name].items()
    }


@pytest.mark.parametrize("far", [False, pytest.param(True, marks=pytest.mark.long)])
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.long) if name != "tokens" else name for name in TABLES]
)
def test_wrong_programs(name, far):
    cases = table(name)
    if far:
        cases = {case + ", far": replace(wrong, timing=FAR) for case, wrong in cases.items()}
    run_each_before_a_right_one(cases, IN_ORDER)


@pytest.mark.long
def test_errors_of_the_bus():
    far = {name + ", far": replace(case, timing=FAR) for name, case in BUS_ERRORS.items()}
    run_each_before_a_right_one(BUS_ERRORS | far, IN_ORDER)


@pytest.mark.long
def test_each_of_several_executes_is_named():
    """One is in the core at a time."""
    run_each_before_a_right_one(younger_of_two(), IN_ORDER)


@pytest.mark.long
def test_execute_and_store_in_the_same_half():
    run_each_before_a_right_one(CONFLICTS, IN_ORDER)


@pytest.mark.long
def test_dead_bus():
    """The instruction under way is blamed, where the queues have handed everything out."""
    cases = {
        name: Wrong(
            program=program,
            error=Error.WATCHDOG,
            queue=Queue.STORE if "write" in name else FETCH,
            index=3 if "write" in name else 0,
            written=(range(OUT, OUT + 16),),
            registers={"watchdog": 400},
            timing=timing,
            interpreted=False,
            status=STUCK,
        )
        for name, (timing, program) in DEAD.items()
    }
    run_each_before_a_right_one(cases, IN_ORDER)


@pytest.mark.long
def test_writes_while_busy_are_refused_and_change_nothing():
    loaded, _ = system("systolic-4x4", *IN_ORDER)
    refused = {"control": 1, "program_length": 0, "window_last": 0, "watchdog": 1}
    run([Right(loaded, 0, refused=refused), Right(loaded, 1)], IN_ORDER)


@pytest.mark.long
def test_reset_in_the_middle_of_a_run():
    loaded, _ = system("systolic-4x4", *IN_ORDER)
    limits = (10, 25, 40, 90, 150, 220, 300)
    run(
        [
            part(loaded, n, **how)
            for n, limit in enumerate(limits)
            for part, how in ((Abandoned, {"reset": True, "limit": limit}), (Right, {"reset": True}))
        ],
        IN_ORDER,
    )
