"""A whole accelerator whose sums are float32, in simulated Verilog: accumulators, fp16 results, cycles.

Its array is a systolic one whose int32 sums are taken for patterns of float32: with operands of 96 to 127 the sum of ``GRANULE``
products is such that it reads as a normal number, the smallest that there are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from gen import verilog
from gen.compiler import compile_gemm
from gen.families.systolic import Systolic, SystolicConfig
from gen.run import mismatch
from gen.workload import Workload
from hw.accelerator import Accelerator
from hw.array.core import systolic_core
from hw.control.isa import Opcode, OutputMode
from hw.formats import INT8, Operand
from sim import golden, interpreter, simulate
from sim.cycles.program import predict
from sim.families.systolic import SystolicModel
from tests.reference_array import design

GRANULE = 1024


@dataclass(frozen=True)
class Times:
    taken: int
    finished: int
    steps: int


class PatternModel(SystolicModel):
    """A result per EXECUTE."""

    def execute(self, fields, activations, weights, settings=()):
        assert fields["depth_tiles"] <= GRANULE
        return super().execute(fields, activations, weights).view(np.float32)[None]


class Patterns(Systolic):
    """Systolic, its sums read as float32; every EXECUTE is one granule of K deep."""

    def _geometry(self):
        return replace(super()._geometry(), sums="float32")

    def core(self, design):
        integers = replace(design, geometry=super()._geometry())
        return systolic_core(design=integers, dataflow="output-stationary")

    def model(self):
        return PatternModel(geometry=self.geometry, dataflow="output-stationary")

    def depth_granule(self, variant):
        return GRANULE

    def golden(self, x, w):
        total = None
        for first in range(0, x.depth, GRANULE):
            rows, columns = x.integers()[:, first : first + GRANULE], w.integers()[first : first + GRANULE]
            part = golden.gemm(rows, columns).view(np.float32)
            total = part if total is None else total + part
        return total


FAMILY = Patterns(SystolicConfig(rows=2, columns=4), data_bytes=8)
DESIGN = design(
    FAMILY, activations=2 * GRANULE, weights=4 * GRANULE, accumulators=16, lanes=2, address_width=32
)


def load(sizes: tuple[int, int, int], mode: OutputMode, seed: int) -> Workload:
    m, k, n = sizes
    random = np.random.default_rng(seed)
    x = Operand.activations(INT8, random.integers(96, 128, (m, k)))
    w = Operand.weights(INT8, random.integers(96, 128, (k, n)))
    multiplier = golden.short(random.choice([-1, 1], n) * np.ldexp(random.uniform(1, 2, n), 121))
    bias = np.zeros(n, np.float32)
    return Workload(
        title="patterns", layer=None, x=x, w=w, mode=mode, bias=bias, multiplier=multiplier,
        shift=np.zeros(n, np.uint8), family=FAMILY,
    )  # fmt: skip


@pytest.fixture(scope="module")
def results():
    """Workloads, programs and what the simulated hardware left in memory."""
    text = verilog.to_verilog(Accelerator(design=DESIGN, core=FAMILY.core(DESIGN)), name="gatemill_patterns")
    loads = [
        load((m, granules * GRANULE, n), mode, seed)
        for seed, (m, granules, n) in enumerate([(1, 1, 3), (5, 3, 7)])
        for mode in OutputMode
    ]
    programs = [compile_gemm(DESIGN, FAMILY, *one.sizes, mode=one.mode) for one in loads]
    images = [program.image(one.x, one.w, *one.scaling) for one, program in zip(loads, programs, strict=True)]
    jobs = [
        simulate.Job(image=image.tobytes(), base=program.base, registers=program.registers)
        for image, program in zip(images, programs, strict=True)
    ]
    done = simulate.simulate_all(text, jobs, top="gatemill_patterns", data_bytes=8, address_width=32)
    return list(zip(loads, programs, images, done, strict=True))


@pytest.mark.long
def test_results_equal_both_golden_models(results):
    for one, program, image, result in results:
        assert result.ok, (hex(result.status), hex(result.error), result.breaches)
        memory = np.frombuffer(result.memory, np.uint8)
        assert mismatch(program.read_output(memory), one.golden()) is None
        assert program.damaged(memory) is None
        assert interpreter.run(
            DESIGN, FAMILY.model(), image, program.address, program.length, program.window, base=program.base
        ).passed
        np.testing.assert_array_equal(image, memory)
    deepest = [one for one in results[-1][1].instructions if one.opcode is Opcode.EXECUTE]
    assert {one.accumulate for one in deepest} == {0, 1}
    assert len(np.unique(results[-1][0].golden())) > 20


def test_cycles_equal_the_prediction(results):
    for _, program, _, result in results:
        wanted = predict(DESIGN, FAMILY.model().law(), program.instructions)
        assert result.counters["cycles"] == wanted.cycles
