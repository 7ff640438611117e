"""Time that quantising takes: one core, a layer of SmolLM2's largest size."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from gen.bench.figures import Row
from hw.formats import FORMATS
from sim.quantise import quantise

ROWS, DEPTH = 576, 1536
MOST_SECONDS = 2.0
SEED = 1


def row(notify: Callable[[str], None]) -> Row:
    """Every format on the same matrix; processor time, so that a busy machine does not count."""
    matrix = np.random.default_rng(SEED).standard_t(5, (ROWS, DEPTH))
    seconds = {}
    for name in FORMATS:
        begun = time.process_time()
        quantise(matrix, name)
        seconds[name] = time.process_time() - begun
        notify(f"{name}: {seconds[name]:.2f} s")
    slowest = sorted(seconds, key=lambda name: -seconds[name])
    return Row(
        key="quantise",
        what=f"processor time to quantise {ROWS} x {DEPTH} in each of {len(seconds)} formats",
        measured=f"{seconds[slowest[0]]:.2f} s at most; "
        + ", ".join(f"{n} {seconds[n]:.2f}" for n in slowest[:8]),
        must=f"{MOST_SECONDS:g} s for every format",
        held=seconds[slowest[0]] < MOST_SECONDS,
        values=seconds,
    )
