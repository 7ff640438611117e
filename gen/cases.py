"""GEMMs on which prediction and simulation must agree to the cycle: for the tests and for the table of figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gen import workload
from gen.compiler import Program, compile_gemm
from gen.config import Config
from gen.workload import Workload
from hw.control.isa import OutputMode
from sim import simulate
from sim.cycles.memory import MemoryTiming
from sim.cycles.program import Prediction, predict

RAW, REQUANTISED = OutputMode.RAW, OutputMode.REQUANTISED


@dataclass(frozen=True)
class Case:
    """One GEMM in one memory; ``seed`` is that of its operands.

    ``weights`` and ``activations`` are the formats of W and X, of those that the array has the first without a name.
    """

    sizes: tuple[int, int, int]
    mode: OutputMode = OutputMode.RAW
    timing: MemoryTiming = field(default_factory=MemoryTiming)
    seed: int = 1
    alignment: tuple[tuple[str, int], ...] = ()
    base: int = 0
    stall: float = 0.0
    weights: str | None = None
    activations: str | None = None


def memory(latency: int, interval: int = 1, outstanding: int = 8) -> MemoryTiming:
    """A memory that is as slow to write as to read."""
    return MemoryTiming(
        read_latency=latency, write_latency=latency, interval=interval, outstanding=outstanding
    )


def grid(
    shapes: Sequence[tuple[int, int, int]], latencies: Sequence[int] = (1, 20, 100), *, base: int = 0
) -> list[Case]:
    """Each shape at each latency, raw and requantised by turns, its memory from ``base`` on."""
    modes = (RAW, REQUANTISED)
    return [
        Case(shape, modes[(i + j) % 2], memory(latency), seed=100 * i + j, base=base)
        for i, shape in enumerate(shapes)
        for j, latency in enumerate(latencies)
    ]


def each_format(
    weights: Sequence[str],
    shapes: Sequence[tuple[int, int, int]],
    latencies: Sequence[int] = (1, 20, 100),
    *,
    base: int = 0,
) -> list[Case]:
    """As ``each_pair``, in each format of ``weights`` with the array's first one of activations."""
    return each_pair([(None, name) for name in weights], shapes, latencies, base=base)


def each_pair(
    pairs: Sequence[tuple[str | None, str]],
    shapes: Sequence[tuple[int, int, int]],
    latencies: Sequence[int] = (1, 20, 100),
    *,
    base: int = 0,
) -> list[Case]:
    """Each shape in each pair of formats, activations first; latencies, and raw and requantised, by turns."""
    modes = (RAW, REQUANTISED)
    return [
        Case(
            shape,
            modes[(i + j) % 2],
            memory(latencies[(i + j) % len(latencies)]),
            seed=100 * i + j,
            base=base,
            weights=weights,
            activations=activations,
        )
        for i, (activations, weights) in enumerate(pairs)
        for j, shape in enumerate(shapes)
    ]


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A case, compiled: what a host would start."""

    program: Program
    load: Workload
    image: np.ndarray
    timing: MemoryTiming

    def job(self, **options: Any) -> simulate.Job:
        """The run; ``options`` are further fields of the job."""
        return simulate.Job(
            image=self.image.tobytes(),
            base=self.program.base,
            registers=self.program.registers,
            **{"timing": self.timing, **options},
        )


def prepare(config: Config, case: Case) -> Prepared:
    """Compile ``case`` for ``config`` and make its memory image."""
    family = config.instance
    formats = family.pairs[family.variant(case.activations, case.weights)]
    load = workload.random(case.sizes, case.mode.name.lower(), case.seed, formats, family)
    program = compile_gemm(
        config.design(),
        family,
        *case.sizes,
        mode=case.mode,
        formats=load.formats,
        base=case.base,
        alignment=dict(case.alignment),
    )
    return Prepared(
        program=program, load=load, image=program.image(load.x, load.w, *load.scaling), timing=case.timing
    )


def prediction(config: Config, prepared: Prepared) -> Prediction:
    """What the cycle model says of it."""
    law = config.instance.model().law()
    program = prepared.program
    return predict(
        config.design(), law, program.instructions, prepared.timing, image=prepared.image, base=program.base
    )
