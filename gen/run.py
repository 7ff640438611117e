"""Workloads on an accelerator: compile, predict, simulate, compare. One document of plain data for each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gen import report
from gen.compiler import Program, compile_gemm
from gen.config import Config
from gen.generate import generate
from gen.options import Options
from gen.progress import Progress
from gen.workload import Workload
from hw.control.isa import FETCH_SOURCE, INSTRUCTION_BYTES, Error, Queue
from hw.design import ceil_div
from sim import simulate
from sim.cycles.program import predict


def run(
    config: Config,
    workloads: Sequence[Workload],
    options: Options,
    *,
    progress: Progress = lambda *_: None,
    notify: Callable[[str], None] = lambda _: None,
) -> list[dict[str, Any]]:
    """Run ``workloads`` on the Verilog of ``config``, all in one simulator process; a document for each.

    Raises ``RequestError`` when one cannot be made to fit, before anything is simulated.
    """
    design, family = config.design(), config.instance
    programs = [
        compile_gemm(design, family, *load.sizes, mode=load.mode, formats=load.formats) for load in workloads
    ]
    notify(f"generating {config.name}")
    made = generate(config, notify=notify)
    jobs, predictions = [], []
    for program, load in zip(programs, workloads, strict=True):
        image = program.image(load.x, load.w, *load.scaling)
        law = family.model().law()
        cycles = predict(
            design, law, program.instructions, options.timing, image=image, base=program.base
        ).cycles
        predictions.append(cycles)
        jobs.append(_job(program, image, options, limit=8 * cycles + 100_000))
    results = simulate.simulate_all(
        made.verilog,
        jobs,
        top=made.top,
        data_bytes=design.data_bytes,
        address_width=design.address_width,
        simulator=options.simulator,
        memory=options.memory,
        waves=options.waves,
        progress=lambda job, cycles: progress(workloads[job].title, cycles, predictions[job]),
        notify=notify,
    )
    exact = options.memory == "exact"
    return [
        document(
            config,
            load,
            options,
            result=result,
            program=program,
            predicted=cycles if exact else None,
        )
        for load, program, result, cycles in zip(workloads, programs, results, predictions, strict=True)
    ]


def _job(program: Program, image: np.ndarray, options: Options, *, limit: int) -> simulate.Job:
    """The run that a host would start: the image in memory, the program's place and its window in the registers."""
    return simulate.Job(
        image=image.tobytes(),
        base=program.base,
        registers=program.registers,
        timing=options.timing,
        stall=options.stall,
        seed=options.seed,
        limit=limit,
    )


def document(
    config: Config,
    load: Workload,
    options: Options,
    *,
    result: simulate.RunResult,
    program: Program,
    predicted: int | None,
) -> dict[str, Any]:
    """What came of a run, as the command line gives it."""
    m, k, n = load.sizes
    counters = result.counters
    if config.design().counters:
        loaded = counters["load_beats"]
    else:
        counters = {"cycles": counters["cycles"]}
        loaded = result.read_beats - ceil_div(program.length * INSTRUCTION_BYTES, config.design().data_bytes)
    peak = config.instance.model().multiplications(program.gemm.variant)
    memory = np.frombuffer(result.memory, np.uint8)
    wrong, stray = mismatch(program.read_output(memory), load.golden()), program.damaged(memory)
    measured = counters["cycles"]
    held = result.ok and wrong is None and stray is None and predicted in (None, measured)
    return {
        "pass": bool(held),
        "configuration": config.name,
        "digest": config.digest,
        "workload": load.describe(),
        "cycles": {"measured": measured, "predicted": predicted},
        "utilisation": {
            "array": m * k * n / (peak * measured) if measured else 0.0,
            "bus": loaded / measured if measured else 0.0,
        },
        "mismatch": wrong,
        "stray_write": stray,
        "error": _error(result),
        "breaches": list(result.breaches),
        "simulator": options.simulator,
        "memory": {"kind": options.memory, "latency": options.latency, "stall": options.stall},
        "seed": options.seed,
        "counters": dict(counters),
        # Counters of a run that has not ended are read while they count: they need not add up.
        "breakdown": report.breakdown(counters) if result.ok else [],
        "seconds": round(result.seconds, 3),
        "cycles_per_second": round(result.cycles_per_second),
    }


def mismatch(got: np.ndarray, wanted: np.ndarray) -> dict[str, Any] | None:
    """The first place at which two matrices differ and in how many they do; None when they are equal, bit for bit.

    Floats are told as such, with their patterns: zeros of both signs look alike.
    """
    if got.shape != wanted.shape or got.dtype != wanted.dtype:
        raise ValueError(f"output must be {wanted.dtype} {wanted.shape}, not {got.dtype} {got.shape}")
    patterns = [np.ascontiguousarray(array).view(f"u{array.itemsize}") for array in (got, wanted)]
    places = np.argwhere(patterns[0] != patterns[1])
    if not len(places):
        return None
    row, column = map(int, places[0])
    told = {
        "index": [row, column],
        "got": got[row, column].item(),
        "wanted": wanted[row, column].item(),
        "count": len(places),
    }
    if got.dtype.kind == "f":
        digits = 2 * got.itemsize
        told["patterns"] = [f"{int(pattern[row, column]):#0{digits + 2}x}" for pattern in patterns]
    return told


def _error(result: simulate.RunResult) -> dict[str, Any] | None:
    """Why the accelerator itself did not end well."""
    if result.ok:
        return None
    code, source = Error(result.error & 0xFF), result.error >> 8 & 0xFF
    return {
        "interrupt": result.interrupt,
        "idle": result.idle,
        "code": code.name.lower(),
        "queue": "fetch" if source == FETCH_SOURCE else Queue(source).name.lower(),
        "instruction": result.error_instruction,
    }
