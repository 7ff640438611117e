"""Accelerators in simulation for the tests: Verilog once per configuration, many programs in one simulator process."""

from collections.abc import Sequence
from functools import cache

import numpy as np

from gen import config
from gen.cases import Case, prediction, prepare
from gen.generate import generate
from hw.design import Design
from sim import interpreter, simulate


def start_to_interrupt(design: Design) -> int:
    """Cycles of the bench before the first that the ``cycles`` counter counts: the write, and registers up to the start."""
    return 2 if design.in_order else 3


@cache
def system(preset: str, *overrides: str):
    """Configuration and generated Verilog."""
    loaded = config.load(preset, list(overrides))
    return loaded, generate(loaded)


def check(preset: str, overrides: Sequence[str], cases: Sequence[Case], **how) -> list[simulate.RunResult]:
    """Run ``cases``: results equal both golden models, guards stand, the bus is kept, cycles are those predicted."""
    loaded, made = system(preset, *overrides)
    design = loaded.design()
    prepared = [prepare(loaded, case) for case in cases]
    jobs = [ready.job(stall=case.stall, seed=case.seed) for case, ready in zip(cases, prepared, strict=True)]
    results = simulate.simulate_all(
        made.verilog,
        jobs,
        top=made.top,
        data_bytes=design.data_bytes,
        address_width=design.address_width,
        **how,
    )
    for case, ready, result in zip(cases, prepared, results, strict=True):
        program = ready.program
        print(preset, *overrides, case)  # the seed is in it
        assert result.ok, (hex(result.status), hex(result.error), result.error_instruction, result.breaches)
        memory = np.frombuffer(result.memory, np.uint8)
        np.testing.assert_array_equal(program.read_output(memory), ready.load.golden())
        assert program.damaged(memory) is None
        interpreted = ready.image.copy()
        model = loaded.instance.model()
        outcome = interpreter.run(
            design, model, interpreted, program.address, program.length, program.window, base=program.base
        )
        assert outcome.passed
        np.testing.assert_array_equal(interpreted, memory)
        if how.get("memory", "exact") == "exact":
            _check_cycles(design, prediction(loaded, ready), result)
    return results


def _check_cycles(design: Design, predicted, result: simulate.RunResult) -> None:
    counters = result.counters
    assert counters["cycles"] == predicted.cycles
    assert result.cycles - predicted.cycles == start_to_interrupt(design), (result.cycles, predicted.cycles)
    if not design.counters:
        assert not any(count for name, count in counters.items() if name != "cycles")
        assert result.read_beats == predicted.load_beats + predicted.fetch_beats
        assert result.write_beats == predicted.store_beats
        return
    for name in ("array_steps", "load_beats", "fetch_beats", "store_beats"):
        assert counters[name] == getattr(predicted, name), name
    assert result.read_beats == counters["load_beats"] + counters["fetch_beats"]
    assert result.write_beats == counters["store_beats"]
    parts = sum(v for name, v in counters.items() if name.startswith("execute_")) + counters["array_steps"]
    assert parts == counters["cycles"]
