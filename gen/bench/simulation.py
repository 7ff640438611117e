"""Figures from simulations of generated Verilog."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache

import numpy as np

from gen import cases, config, systems
from gen.bench.figures import Row
from gen.cases import Case, Prepared, memory
from gen.compiler import compile_gemm
from gen.config import Config
from gen.families.decoded import DecodedFamily
from gen.generate import Generated, generate
from sim import bare, fast, simulate
from sim.cycles.program import predict
from sim.simulate import RunResult, SimulationError

Notify = Callable[[str], None]

LATENCY = 20
PREFILL, DECODE = (64, 576, 576), (1, 576, 1536)
"""M, K and N of a layer of SmolLM2-135M for 64 tokens, and of one for one token."""
LARGE = (64, 576, 1536)
"""A larger layer: that on which bit-serial arrays are measured, in each of ``WEIGHTS``."""
WEIGHTS = ("int8-s8", "int6-s8", "int5-s8", "int4-s8", "fp4-mixed-s8", "fp3-mixed-s8")
BIT_SERIAL, BIT_SERIAL_FLOAT = "bitmod-int8-8x8", "bitmod-fp16-4x4"
SIMULATED = ("fp4-mixed-s8", "fp3-mixed-s8")
"""What of bit-serial arrays is simulated; the other figures are the cycle model's, which is exact."""
LOOKUP = "lut-m2n64k4"
LOOKUPS = ("binary-s8", "int2-s8", "int3-s8", "int4-s8")
"""Weights of one to four planes; ternary ones travel as those of two."""
LOOKUP_SIMULATED = ("int2-s8", "int4-s8")
LOOKUP_LAYERS = (LARGE, (256, 576, 1536), (64, 1536, 576))
"""K of 576 is four groups of 128 and half a one; of 1536, twelve."""
OLIVE, MX = "olive-8x8", "mx-8x8"
DECODED = {
    OLIVE: (("ovp4-int4", "ovp4-int4"), ("int8", "ovp4-int4"), ("int8", "int8")),
    MX: (("mxfp4", "mxfp4"), ("mxfp8-e4m3", "mxfp4"), ("mxfp8-e4m3", "mxfp8-e4m3"), ("nvfp4", "nvfp4")),
}
"""Activations and weights of arrays of decoded operands."""
LEAST = 0.95
LIBRARY = 0.9
"""Of the speed of the model alone."""


@cache
def _loaded(preset: str, *overrides: str) -> Config:
    return config.load(preset, list(overrides))


@cache
def system(preset: str, *overrides: str) -> tuple[Config, Generated]:
    """A preset's configuration with ``overrides`` (KEY=VALUE each), and its Verilog; made once for each."""
    loaded = _loaded(preset, *overrides)
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


@dataclass(frozen=True, kw_only=True)
class Use:
    """Cycles of a layer on a bit-serial array, and shares of what was possible from start to end."""

    cycles: int
    terms: float
    beats: float


def predicted_use(preset: str, sizes: tuple[int, int, int], weights: str) -> Use:
    """By the cycle model."""
    loaded = _loaded(preset)
    design, family = loaded.design(), loaded.instance
    program = compile_gemm(design, family, *sizes, formats=(family.pairs[0][0].name, weights))
    found = predict(design, family.model().law(), program.instructions, memory(LATENCY))
    return _use(loaded, sizes, weights, found.cycles, found.load_beats)


def _use(loaded: Config, sizes: tuple[int, int, int], weights: str, cycles: int, beats: int) -> Use:
    family = loaded.instance
    rate = family.model().multiplications(family.variant(weights=weights))
    return Use(cycles=cycles, terms=math.prod(sizes) / (rate * cycles), beats=beats / cycles)


def _uses(
    preset: str, sizes: tuple[int, int, int], simulated: Sequence[str], notify: Notify
) -> dict[str, Use]:
    """In each of ``WEIGHTS``, or of ``LOOKUPS``; some are simulated."""
    formats = LOOKUPS if preset == LOOKUP else WEIGHTS
    uses = {weights: predicted_use(preset, sizes, weights) for weights in formats}
    if simulated:
        loaded, made = system(preset)
        todo = [
            cases.prepare(loaded, Case(sizes, timing=memory(LATENCY), weights=name)) for name in simulated
        ]
        for name, result in zip(simulated, run(loaded, made, todo, notify), strict=True):
            counters = result.counters
            uses[name] = _use(loaded, sizes, name, counters["cycles"], counters["load_beats"])
    return uses


def _told(shares: dict[str, float], simulated: Sequence[str]) -> str:
    each = ", ".join(f"{name} {share:.2%}" for name, share in shares.items())
    how = f"{' and '.join(simulated)} simulated, the others" if simulated else "all"
    return f"{each}; {how} by the cycle model, which is exact"


def cycle_error(notify: Notify) -> Row:
    """Simulated against predicted cycles, on every case that the tests have."""
    todo = [*systems.SYSTEMS.items(), *systems.MORE_SYSTEMS.items()]
    todo += [(f"{preset}, full size", (preset, (), full)) for preset, full in systems.FULL_SIZE.items()]
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
    smallest, largest = _sizes(sizes[0]), _sizes(sizes[-1])
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
        held=share >= LEAST,
        values={"utilisation": share, "cycles": cycles},
    )


def term_rate(
    preset: str, simulated: Sequence[str], notify: Notify, sizes: tuple[int, int, int] = LARGE
) -> Row:
    """Terms, or lookups, of those possible from start to end, in each format of weights."""
    uses = _uses(preset, sizes, simulated, notify)
    shares = {name: use.terms for name, use in uses.items()}
    what = "lookups" if preset == LOOKUP else "terms"
    return Row(
        key="utilisation",
        what=f"{what} a cycle of those that the array can: {_sizes(sizes)} (M×K×N), {preset}, latency {LATENCY}",
        measured=_told(shares, simulated),
        must=f"{LEAST:.0%} in each format",
        held=min(shares.values()) >= LEAST,
        values={name: asdict(use) for name, use in uses.items()},
    )


def product_rate(preset: str, sizes: tuple[int, int, int] = LARGE) -> Row:
    """Products of those possible from start to end, of decoded operands, and of those while no scales come."""
    loaded = _loaded(preset)
    design, family = loaded.design(), loaded.instance
    if not isinstance(family, DecodedFamily):
        raise TypeError(f"preset must be of the family {DecodedFamily.name}, not {preset!r}")
    array = family.array
    uses, most = {}, {}
    for formats in DECODED[preset]:
        variant, name = family.variant(*formats), " x ".join(formats)
        program = compile_gemm(design, family, *sizes, formats=formats)
        found = predict(design, family.model().law(), program.instructions, memory(LATENCY))
        share = math.prod(sizes) / (family.model().multiplications(variant) * found.cycles)
        most[name] = array.block_length(variant) / array.block_steps(variant)
        uses[name] = {"cycles": found.cycles, "products": share, "of_steps": share / most[name]}
    each = ", ".join(
        f"{name} {use['products']:.2%}" + f" ({use['of_steps']:.2%} of {most[name]:.1%})" * (most[name] < 1)
        for name, use in uses.items()
    )
    return Row(
        key="utilisation",
        what=f"products a cycle of one in each element: {_sizes(sizes)} (M×K×N), {preset}, latency {LATENCY}",
        measured=f"{each}; all by the cycle model, which is exact",
        must=f"{LEAST:.0%} of the steps without scales, in each format",
        held=min(use["of_steps"] for use in uses.values()) >= LEAST,
        values=uses,
    )


def _sizes(sizes: tuple[int, int, int]) -> str:
    return "×".join(map(str, sizes))


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
        held=loads >= LEAST,
        values={"loads": loads, "weights": weights, "cycles": cycles},
    )


def bus_rate(preset: str, simulated: Sequence[str], notify: Notify) -> Row:
    """Cycles in which a beat comes when every weight is used once, in each format of weights."""
    uses = _uses(preset, DECODE, simulated, notify)
    shares = {name: use.beats for name, use in uses.items()}
    return Row(
        key="bus",
        what=f"bus beats used: {_sizes(DECODE)}, {preset}",
        measured=_told(shares, simulated),
        must=f"{LEAST:.0%} in each format",
        held=min(shares.values()) >= LEAST,
        values={name: asdict(use) for name, use in uses.items()},
    )


def speed(notify: Notify) -> Row:
    """Cycles per second with cocotb, of the model alone, and as a library. Three runs each: the median."""
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
    library = _as_library(loaded, made, prepared, notify)
    ours, model, whole = (statistics.median(each) for each in (with_cocotb, alone, library))
    return Row(
        key="speed",
        what="simulated cycles per second: systolic-8x8, 64×576×576",
        measured=f"{ours:,.0f} with cocotb, {model:,.0f} of the Verilator model alone, driven from C++: "
        f"{ours / model:.0%}; {whole:,.0f} as a library: {whole / model:.0%}",
        must="the library 90 % of the model alone",
        held=whole >= LIBRARY * model,
        values={"cocotb": with_cocotb, "alone": alone, "library": library},
    )


def _as_library(loaded: Config, made: Generated, prepared: Prepared, notify: Notify) -> list[float]:
    """Cycles per second of three runs in a library."""
    design, program, rates = loaded.design(), prepared.program, []
    with fast.Simulator(
        made.verilog,
        top=made.top,
        data_bytes=design.data_bytes,
        address_width=design.address_width,
        notify=notify,
    ) as simulator:
        for _ in range(3):
            result = simulator.run(
                prepared.image.copy(), program.registers, base=program.base, timing=prepared.timing
            )
            rates.append(result.cycles_per_second)
    return rates
