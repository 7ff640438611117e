"""What a run's document says of what came out, without simulating anything."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gen import config, workload
from gen.compiler import compile_gemm
from gen.options import Options
from gen.run import document, mismatch
from hw.control.isa import FETCH_SOURCE, Error, OutputMode, Queue
from hw.control.registers import COUNTERS, STATUS_DONE, STATUS_ERROR
from sim.simulate import RunResult

CYCLES = 100


@pytest.fixture(params=workload.MODES)
def ran(request):
    """A configuration, a workload, its program and the result of a run in which all went well."""
    loaded = config.load("systolic-4x4")
    load = workload.random((5, 9, 7), request.param, seed=1)
    program = compile_gemm(
        loaded.design(), loaded.instance, *load.sizes, mode=load.mode, formats=load.formats
    )
    memory = program.image(load.x, load.w, *load.scaling)
    start, size = program.regions["output"]
    memory[start - program.base :][:size] = load.golden().reshape(-1).view(np.uint8)
    counters = dict.fromkeys((name for name, _ in COUNTERS), 0)
    result = RunResult(
        memory=memory.tobytes(), cycles=CYCLES, interrupt=True, status=1 << STATUS_DONE, error=0, error_instruction=0,
        counters=counters | {"cycles": CYCLES, "array_steps": 60, "execute_other": 40, "load_beats": 50},
        read_beats=50, write_beats=10, idle=True, breaches=(), seconds=0.5,
    )  # fmt: skip
    return loaded, load, program, result


def told(ran, predicted=CYCLES, **changes):
    loaded, load, program, result = ran
    return document(
        loaded, load, Options(), result=replace(result, **changes), program=program, predicted=predicted
    )


def test_a_run_in_which_all_went_well(ran):
    row = told(ran)
    assert row["pass"] is True
    assert row["mismatch"] is row["error"] is row["stray_write"] is None
    assert row["cycles"] == {"measured": CYCLES, "predicted": CYCLES}
    assert row["utilisation"] == {"array": 5 * 9 * 7 / (16 * CYCLES), "bus": 0.5}
    assert row["cycles_per_second"] == 200
    assert sum(part["cycles"] for part in row["breakdown"]) == CYCLES


def test_a_wrong_prediction_fails_and_none_does_not(ran):
    assert told(ran, predicted=CYCLES + 1)["pass"] is False
    assert told(ran, predicted=None)["pass"] is True


def test_a_wrong_result_fails_and_is_named(ran):
    _, load, program, result = ran
    memory = bytearray(result.memory)
    start = program.regions["output"][0] - program.base
    width = 1 if load.mode is OutputMode.REQUANTISED else 4
    memory[start + (2 * 7 + 3) * width] ^= 1
    row = told(ran, memory=bytes(memory))
    assert row["pass"] is False
    assert row["mismatch"]["index"] == [2, 3]
    assert row["mismatch"]["got"] ^ row["mismatch"]["wanted"] == 1
    assert row["mismatch"]["count"] == 1


def test_a_write_outside_of_the_output_fails_and_is_named(ran):
    _, _, program, result = ran
    first = program.guards()[-1][0]
    memory = bytearray(result.memory)
    memory[first - program.base] ^= 0xFF
    row = told(ran, memory=bytes(memory))
    assert (row["pass"], row["mismatch"], row["stray_write"]) == (False, None, first)


@pytest.mark.parametrize(
    "changes",
    [
        {"status": 1 << STATUS_ERROR, "error": Queue.STORE << 8 | Error.WINDOW, "error_instruction": 3},
        {"status": 1 << STATUS_ERROR, "error": FETCH_SOURCE << 8 | Error.OPCODE, "error_instruction": 5},
        {"interrupt": False},
        {"idle": False},
        {"breaches": ("a burst crossed 4 KiB",)},
    ],
)
def test_a_run_that_did_not_end_well_fails(ran, changes):
    counters = ran[3].counters | {"array_steps": 61}
    row = told(ran, **changes, counters=counters)
    assert row["pass"] is False
    assert row["breakdown"] == []
    assert row["error"]["interrupt"] == changes.get("interrupt", True)
    if "error" in changes:
        said = (row["error"]["code"], row["error"]["queue"], row["error"]["instruction"])
        assert said == {3: ("window", "store", 3), 5: ("opcode", "fetch", 5)}[changes["error_instruction"]]


def test_mismatch_finds_the_first_difference():
    wanted = np.arange(12, dtype=np.int32).reshape(3, 4)
    got = wanted.copy()
    assert mismatch(got, wanted) is None
    got[1, 3], got[2, 0] = -1, -2
    assert mismatch(got, wanted) == {"index": [1, 3], "got": -1, "wanted": 7, "count": 2}
    with pytest.raises(ValueError, match="output must be int32"):
        mismatch(got[:2], wanted)
