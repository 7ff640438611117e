"""Cycles of a workload on a configuration, as sweeps and estimates count them.

Memory answers after ``LATENCY`` cycles, as in ``gatemill simulate``, and results leave as sums of 32 bits.
"""

from __future__ import annotations

from gen.config import Config
from gen.cost import Cost, cost
from gen.models.work import Work
from hw.control.isa import OutputMode
from sim.cycles.memory import MemoryTiming

ASSUMED_MHZ = 100.0
"""Clock that speeds are worked out with when no other is known."""
LATENCY = 20
SEED = 0
"""Of random weights, where cycles depend on them."""


def predict(
    config: Config,
    wanted: Work,
    *,
    activations: str | None = None,
    weights: str | None = None,
    clock_mhz: float | None = None,
) -> Cost:
    """What ``wanted`` costs with these formats, the first that the array was generated for if they are not given.

    Raises ``RequestError`` when a product cannot be made to fit, or the array was not generated for its formats.
    """
    timing = MemoryTiming(read_latency=LATENCY, write_latency=LATENCY)
    return cost(
        config,
        wanted,
        formats=(activations, weights),
        mode=OutputMode.RAW,
        timing=timing,
        clock_mhz=clock_mhz,
        seed=SEED,
    )
