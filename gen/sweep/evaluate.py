"""The figures of a point: cycles from the cycle model, area and clock by synthesis, and if wanted place and route."""

from __future__ import annotations

from typing import Any

from gen import config
from gen.cost import Cost
from gen.estimate import fitted, measured, work
from gen.estimate.fpga import Effort
from gen.estimate.targets import is_part
from gen.sweep.store import TIMING
from gen.sweep.workload import Named, parse

DEFAULT_MHZ = 100.0
"""Clock that speeds are worked out with when nothing says another."""


class TimingMissed(RuntimeError):
    """The clock that is wanted is not reached; ``figures`` say what is."""

    kind = TIMING

    def __init__(self, figures: dict[str, float], mhz: float) -> None:
        self.figures = figures
        super().__init__(f"clock must be {mhz:g} MHz, and {figures['fmax_mhz']:g} MHz are reached")


def evaluate(point: dict[str, Any]) -> dict[str, Any]:
    """Figures of a point, as ``gen.sweep.points.Point.as_dict`` has it, by the names of ``gen.sweep.figures.FIGURES``.

    Under ``floorplan`` there is where its cells lie, if they were placed.

    Raises
    ------
    RequestError
        There is no such configuration, it does not take these formats, or the workload cannot be compiled for it.
    fpga.flow.steps.DoesNotFit
        The part has too little.
    TimingMissed
        The clock is not reached.
    fpga.synthesis.FigureError
        A figure is missing.
    sim.tools.ToolError
        A program is missing or failed.
    """
    loaded = config.check(point["configuration"], "of a point")
    named, mhz = parse(point["workload"]), point["clock_mhz"]
    cost = predict(loaded, named, point["activations"], point["weights"])
    seeds = (point["seed"],) if point["place_and_route"] and is_part(point["target"]) else ()
    floorplan = None
    if point["method"] == "fitted":
        area = fitted.figures(loaded, point["target"])
    else:
        found = measured.measure(loaded, point["target"], Effort(seeds=seeds, mhz=mhz, timeout=7 * 86400))
        area, floorplan = measured.figures(found), getattr(found, "floorplan", None)
    reached, total = area.get("fmax_mhz"), cost.cycles
    wanted = (mhz, reached) if point["method"] == "fitted" else (reached, mhz)
    clock = wanted[0] or wanted[1] or DEFAULT_MHZ
    seconds = total / (clock * 1e6)
    figures: dict[str, Any] = {
        **area,
        "clock_mhz": clock,
        "cycles": total,
        "array_utilisation": round(cost.array_utilisation, 6),
        "seconds_per_run": seconds,
        **({} if named.tokens is None else {"tokens_per_second": round(named.tokens / seconds, 6)}),
        "gmac_per_second": round(named.multiplications / seconds / 1e9, 6),
    }
    if point["place_and_route"] and mhz is not None and reached is not None and reached < mhz:
        raise TimingMissed(figures, mhz)
    return {**figures, "floorplan": floorplan}


def predict(loaded: config.Config, named: Named, activations: str | None, weights: str | None) -> Cost:
    """Cycles of a workload, each of its products by itself."""
    return work.predict(loaded, work.of_named(named), activations=activations, weights=weights)
