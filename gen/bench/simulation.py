"""Figures from simulations of generated Verilog."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np

from gen import cases, config
from gen.bench.figures import Row
from gen.cases import Case, Prepared, memory
from gen.config import Config
from gen.generate import Generated, generate
from sim import bare, simulate
from sim.simulate import RunResult, SimulationError

Notify = Callable[[str], None]

LATENCY = 20
PREFILL, DECODE = (64, 576, 576), (1, 576, 1536)
"""M, K and N of a layer of SmolLM2-135M for 64 tokens, and of one for one token."""


@cache
def system(preset: str, *overrides: str) -> tuple[Config, Generated]:
    loaded = config.load(preset, list(overrides))
    return loaded, generate(loaded)


def run(loaded: Config, made: Generated, prepared: Sequence[Prepared], notify: Notify) -> list[RunResult]:
    """Simulate; raises ``SimulationError`` when a result is wrong: its cycles would mean nothing."""
    results = simulate.simulate_all(
        made.verilog,
        [case.job() for case in prepared],
        top=made.top,
        data_bytes=loaded.design().data_bytes,
        address_width=loaded.bus.address_width,
        notify=notify,
    )
    for case, result in zip(prepared, results, strict=True):
        got = case.program.read_output(np.frombuffer(result.memory, np.uint8)) if result.ok else None
        if got is None or not np.array_equal(got, case.load.golden()):
            raise SimulationError(f"{loaded.name}: {case.load.title} came out wrong")
    return results


@cache
def _layer(sizes: tuple[int, int, int], notify: Notify) -> tuple[Prepared, RunResult]:
    """A layer on systolic-8x8, whose memory answers after ``LATENCY`` cycles."""
    loaded, made = system("systolic-8x8")
    prepared = cases.prepare(loaded, Case(sizes, timing=memory(LATENCY)))
    return prepared, run(loaded, made, [prepared], notify)[0]


def cycle_error(notify: Notify) -> Row:
    """Simulated against predicted cycles, on every case that the tests have."""
    todo = [*cases.SYSTEMS.items()]
    todo += [(f"{preset}, full size", (preset, (), full)) for preset, full in cases.FULL_SIZE.items()]
    errors: dict[str, list[int]] = {}
    simulated = 0
    for title, (preset, overrides, several) in todo:
        notify(f"{title}: {len(several)} cases")
        loaded, made = system(preset, *overrides)
        prepared = [cases.prepare(loaded, case) for case in several]
        results = run(loaded, made, prepared, notify)
        predicted = [cases.prediction(loaded, case).cycles for case in prepared]
        measured = [result.counters["cycles"] for result in results]
        errors[title] = [a - b for a, b in zip(measured, predicted, strict=True)]
        simulated += sum(measured)
    all_errors = [error for several in errors.values() for error in several]
    wrong = sum(error != 0 for error in all_errors)
    sizes = sorted({case.sizes for _, (_, _, several) in todo for case in several}, key=np.prod)
    smallest, largest = ("×".join(map(str, sizes[place])) for place in (0, -1))
    return Row(
        key="cycles",
        what="cycle model: predicted against simulated",
        measured=f"{wrong} of {len(all_errors)} cases differ, by {max(map(abs, all_errors))} cycles at most "
        f"({smallest} to {largest}, {simulated:,} cycles in all; every result equal to the golden model)",
        must="0 on 60 cases or more",
        held=wrong == 0 and len(all_errors) >= 60,
        values={"cases": len(all_errors), "simulated_cycles": simulated, "errors": errors},
    )


def utilisation(notify: Notify) -> Row:
    """Multiplications done of those possible from start to end."""
    m, k, n = PREFILL
    _, result = _layer(PREFILL, notify)
    cycles = result.counters["cycles"]
    share = m * k * n / (64 * cycles)
    return Row(
        key="utilisation",
        what="array at work, start to done: 64×576×576 (M×K×N), 8×8 output-stationary, 64-bit bus, latency 20",
        measured=f"{share:.2%} ({cycles:,} cycles in simulation)",
        must="95 %",
        aim="98 %",
        peers="OpenGeMM 81.9 to 99.3 % (abstract of arXiv 2411.09543)",
        held=share >= 0.95,
        values={"utilisation": share, "cycles": cycles},
    )


def bus(notify: Notify) -> Row:
    """Cycles in which a beat comes, when every weight is used once."""
    m, k, n = DECODE
    _, result = _layer(DECODE, notify)
    cycles, beats = result.counters["cycles"], result.counters["load_beats"]
    loads, weights = beats / cycles, k * n / 8 / cycles
    return Row(
        key="bus",
        what=f"bus beats used: {m}×{k}×{n}, same design",
        measured=f"{loads:.2%} loads, {weights:.2%} weights alone ({cycles:,} cycles in simulation)",
        must="95 %",
        aim="97 %",
        peers="bitnet-kv260 79.6 % of its weight stream (its docs/overview.md)",
        held=loads >= 0.95,
        values={"loads": loads, "weights": weights, "cycles": cycles},
    )


def speed(notify: Notify) -> Row:
    """Cycles per second with cocotb, and of the model alone. Three runs each: the median."""
    loaded, made = system("systolic-8x8")
    prepared, first = _layer(PREFILL, notify)
    with_cocotb = [first.cycles_per_second]
    with_cocotb += [run(loaded, made, [prepared], notify)[0].cycles_per_second for _ in range(2)]
    alone = [
        bare.run(
            made.verilog,
            prepared.job(),
            top=made.top,
            data_bytes=loaded.design().data_bytes,
            address_width=loaded.bus.address_width,
            notify=notify,
        ).cycles_per_second
        for _ in range(3)
    ]
    ours, model = statistics.median(with_cocotb), statistics.median(alone)
    return Row(
        key="speed",
        what="simulated cycles per second: systolic-8x8, 64×576×576",
        measured=f"{ours:,.0f} with cocotb, {model:,.0f} of the Verilator model alone, driven from C++: "
        f"{ours / model:.0%}",
        must="printed",
        values={"cocotb": with_cocotb, "alone": alone},
    )
