"""Accelerators in simulation for the tests: Verilog once per configuration, many programs in one simulator process."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np

from gen import config, workload
from gen.compiler import compile_gemm
from gen.generate import generate
from hw.control.isa import OutputMode
from sim import interpreter, simulate
from sim.cycles.memory import MemoryTiming
from sim.cycles.program import predict

START_TO_INTERRUPT = 3
"""Cycles of the bench before the first that the ``cycles`` counter counts: the write, and two registers up to the start."""


@cache
def system(preset: str, *overrides: str):
    """Configuration and generated Verilog."""
    loaded = config.load(preset, list(overrides))
    return loaded, generate(loaded)


@dataclass(frozen=True)
class Case:
    """One GEMM in one memory."""

    sizes: tuple[int, int, int]
    mode: OutputMode = OutputMode.RAW
    timing: MemoryTiming = field(default_factory=MemoryTiming)
    seed: int = 1
    alignment: tuple[tuple[str, int], ...] = ()
    base: int = 0
    stall: float = 0.0


def _prepare(loaded, case: Case):
    design, family = loaded.design(), loaded.instance
    program = compile_gemm(
        design, family, *case.sizes, mode=case.mode, base=case.base, alignment=dict(case.alignment)
    )
    load = workload.random(case.sizes, case.mode.name.lower(), case.seed)
    scaling = (load.bias, load.multiplier, load.shift) if case.mode is OutputMode.REQUANTISED else ()
    return program, load, program.image(load.x, load.w, *scaling)


def job(program, image: np.ndarray, **options) -> simulate.Job:
    """The run that a host would start."""
    first, last = program.window
    registers = {
        "program_address": program.address,
        "program_length": program.length,
        "window_first": first,
        "window_last": last,
    }
    return simulate.Job(image=image.tobytes(), base=program.base, registers=registers, **options)


def check(preset: str, overrides: Sequence[str], cases: Sequence[Case], **how) -> list[simulate.RunResult]:
    """Run ``cases``: results equal both golden models, guards stand, the bus is kept, cycles are those predicted."""
    loaded, made = system(preset, *overrides)
    design = loaded.design()
    prepared = [_prepare(loaded, case) for case in cases]
    jobs = [
        job(program, image, timing=case.timing, stall=case.stall, seed=case.seed)
        for case, (program, _, image) in zip(cases, prepared, strict=True)
    ]
    results = simulate.simulate_all(
        made.verilog,
        jobs,
        top=made.top,
        data_bytes=design.data_bytes,
        address_width=design.address_width,
        **how,
    )
    for case, (program, load, image), result in zip(cases, prepared, results, strict=True):
        print(preset, *overrides, case)  # the seed is in it
        assert result.ok, (hex(result.status), hex(result.error), result.error_instruction, result.breaches)
        memory = np.frombuffer(result.memory, np.uint8)
        np.testing.assert_array_equal(program.read_output(memory), load.golden())
        assert program.damaged(memory) is None
        interpreted = image.copy()
        model = loaded.instance.model()
        outcome = interpreter.run(
            design, model, interpreted, program.address, program.length, program.window, base=program.base
        )
        assert outcome.passed
        np.testing.assert_array_equal(interpreted, memory)
        if how.get("memory", "exact") == "exact":
            _check_cycles(design, model, program, case, result)
    return results


def _check_cycles(design, model, program, case: Case, result: simulate.RunResult) -> None:
    predicted = predict(design, model.law(), program.instructions, case.timing)
    counters = result.counters
    assert counters["cycles"] == predicted.cycles
    assert result.cycles - predicted.cycles == START_TO_INTERRUPT, (result.cycles, predicted.cycles)
    for name in ("array_steps", "load_beats", "fetch_beats", "store_beats"):
        assert counters[name] == getattr(predicted, name), name
    assert result.read_beats == counters["load_beats"] + counters["fetch_beats"]
    assert result.write_beats == counters["store_beats"]
    parts = sum(v for name, v in counters.items() if name.startswith("execute_")) + counters["array_steps"]
    assert parts == counters["cycles"]
