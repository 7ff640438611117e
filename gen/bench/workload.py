"""How long it takes to predict the work of a whole model."""

from __future__ import annotations

import time
from collections.abc import Callable

from gen import config
from gen.bench.figures import Row
from gen.compiler import compile_gemm
from gen.cost import cost
from gen.estimate.work import predict as predict_cost
from gen.models.work import parse
from hw.control.isa import OutputMode
from sim.cycles.program import predict

PRESET, WORK = "systolic-8x8", "llama-2-7b:decode"
OTHERS = (
    "systolic-ws-16x16",
    "bitmod-int8-8x8",
    "bitmod-fp16-4x4",
    "lut-m2n64k4",
    "lut-gguf-m2n64k4",
    "olive-8x8",
    "mx-8x8",
)
"""Of each kind of core."""
MOST = 1.0
"""Seconds of processor time."""


def rows(notify: Callable[[str], None]) -> list[Row]:
    """Of one configuration beside whole programs, and of each kind of core."""
    return [row(notify), _others(notify)]


def _others(notify: Callable[[str], None]) -> Row:
    """The same as ``gatemill estimate --workload`` predicts it: results leave as sums."""
    work, seconds = parse(WORK), dict[str, float]()
    for preset in (PRESET, *OTHERS):
        notify(f"predicting {WORK} on {preset}")
        loaded, began = config.load(preset), time.process_time()
        predict_cost(loaded, work)
        seconds[preset] = time.process_time() - began
    return Row(
        key="workload",
        what=f"prediction of {WORK} with results as sums, processor time by preset",
        measured=", ".join(f"{preset} {each:.2f} s" for preset, each in seconds.items()),
        must=f"below {MOST:g} s",
        held=max(seconds.values()) < MOST,
        values=seconds,
    )


def row(notify: Callable[[str], None]) -> Row:
    """A decode step of a 7B model: from parts of its programs, and from all of them."""
    loaded, work = config.load(PRESET), parse(WORK)
    design, family = loaded.design(), loaded.instance
    began = time.process_time()
    found = cost(loaded, work, mode=OutputMode.REQUANTISED)
    part = time.process_time() - began
    whole = {(line.product.M, line.product.K, line.product.N): line.whole for line in found.lines}
    began, wanted = time.process_time(), {}
    for sizes in whole:
        notify(f"predicting all of {'x'.join(map(str, sizes))}")
        program = compile_gemm(design, family, *sizes, mode=OutputMode.REQUANTISED)
        wanted[sizes] = predict(design, family.model().law(), program.instructions).cycles
    every = time.process_time() - began
    wrong = sum(one.cycles != wanted[sizes] for sizes, one in whole.items())
    instructions = sum(one.instructions for one in whole.values())
    predicted = sum(one.predicted for one in whole.values())
    return Row(
        key="workload",
        what=f"prediction of {WORK} on {PRESET}: {len(work.products)} kinds of products, {len(whole)} shapes, "
        f"{found.cycles:,} cycles",
        measured=f"{part:.2f} s from {predicted:,} of {instructions:,} instructions, {every:.1f} s from all "
        f"(processor time); {wrong} of {len(whole)} shapes differ",
        must=f"below {MOST:g} s, cycles equal",
        held=part < MOST and not wrong,
        values={
            "seconds": part,
            "seconds_of_all": every,
            "instructions": instructions,
            "predicted": predicted,
            "cycles": found.cycles,
            "different": wrong,
        },
    )
