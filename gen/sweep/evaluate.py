"""The figures of a point: cycles from the cycle model, area and clock by synthesis, and if wanted place and route."""

from __future__ import annotations

from typing import Any

from gen import config
from gen.estimate import fitted, measured, work
from gen.estimate.fpga import Effort
from gen.estimate.targets import is_part
from gen.models.work import restored
from gen.sweep.store import TIMING


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
    wanted, mhz = restored(point["workload"]), point["clock_mhz"]
    cost = work.predict(loaded, wanted, activations=point["activations"], weights=point["weights"])
    seeds = (point["seed"],) if point["place_and_route"] and is_part(point["target"]) else ()
    floorplan = None
    if point["method"] == "fitted":
        area = fitted.figures(loaded, point["target"])
    else:
        found = measured.measure(loaded, point["target"], Effort(seeds=seeds, mhz=mhz, timeout=7 * 86400))
        area, floorplan = measured.figures(found), getattr(found, "floorplan", None)
    reached, total = area.get("fmax_mhz"), cost.cycles
    first, second = (mhz, reached) if point["method"] == "fitted" else (reached, mhz)
    clock = first or second or work.ASSUMED_MHZ
    seconds = total / (clock * 1e6)
    figures: dict[str, Any] = {
        **area,
        "clock_mhz": clock,
        "cycles": total,
        "array_utilisation": round(cost.array_utilisation, 6),
        "seconds_per_run": seconds,
        **({"tokens_per_second": round(wanted.tokens / seconds, 6)} if wanted.of_tokens else {}),
        "gmac_per_second": round(wanted.multiplications / seconds / 1e9, 6),
    }
    if point["place_and_route"] and mhz is not None and reached is not None and reached < mhz:
        raise TimingMissed(figures, mhz)
    return {**figures, "floorplan": floorplan}
