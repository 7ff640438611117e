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
_WS = 'array.dataflow="weight-stationary"'
_SMALL = (
    "memory.activations_kib=1",
    "memory.weights_kib=1",
    "memory.accumulators=64",
    "memory.parameters=32",
)


@dataclass(frozen=True)
class Case:
    """One GEMM in one memory; ``seed`` is that of its operands, ``variant`` their formats'."""

    sizes: tuple[int, int, int]
    mode: OutputMode = OutputMode.RAW
    timing: MemoryTiming = field(default_factory=MemoryTiming)
    seed: int = 1
    alignment: tuple[tuple[str, int], ...] = ()
    base: int = 0
    stall: float = 0.0
    variant: int = 0


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


SYSTEMS: dict[str, tuple[str, tuple[str, ...], list[Case]]] = {
    "8x8 OS, 64-bit bus": (
        "systolic-8x8",
        (),
        grid([(1, 1, 1), (8, 8, 8), (9, 17, 25), (1, 64, 96), (33, 100, 41)]),
    ),
    "16x16 WS, 128-bit bus": (
        "systolic-ws-16x16",
        (),
        grid([(1, 1, 1), (16, 16, 16), (5, 33, 47), (1, 96, 64), (40, 70, 50)]),
    ),
    "4x4 OS, 32-bit bus": ("systolic-4x4", (), grid([(1, 1, 1), (4, 4, 4), (7, 65, 9), (1, 40, 33)])),
    "2x3 OS, 32-bit bus, small": (
        "systolic-4x4",
        (
            "array.rows=2",
            "array.columns=3",
            "bus.data_width=32",
            "bus.burst_beats=16",
            "bus.outstanding=1",
            *_SMALL,
        ),
        grid([(1, 1, 1), (3, 5, 7), (11, 600, 4), (1, 50, 19)]),
    ),
    "4x4 WS, 128-bit bus, small": (
        "systolic-4x4",
        (_WS, "bus.data_width=128", *_SMALL),
        grid([(1, 1, 1), (4, 4, 4), (13, 300, 9), (1, 33, 35)]),
    ),
    "5x8 OS, 512-bit bus, 64-bit addresses": (
        "systolic-8x8",
        ("array.rows=5", "bus.data_width=512", "bus.address_width=64"),
        grid([(1, 1, 1), (7, 65, 9), (1, 40, 33)], (1, 20), base=0x12_3456_7800),
    ),
    "8x4 WS, 32-bit bus": (
        "systolic-4x4",
        (_WS, "array.rows=8"),
        grid([(1, 1, 1), (7, 65, 9)], (1, 20)),
    ),
}
"""Preset, overrides and cases by name: both dataflows, odd sizes, buses of 32 to 512 bits."""

FULL_SIZE: dict[str, list[Case]] = {
    preset: [*grid([(64, 576, 576), (1, 576, 1536)]), Case((64, 576, 1536), RAW, memory(20))]
    for preset in ("systolic-8x8", "systolic-ws-16x16")
}
"""Layers of SmolLM2-135M's sizes, by preset."""


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
    load = workload.random(case.sizes, case.mode.name.lower(), case.seed, family.pairs[case.variant], family)
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
