"""Measures the points of the fitted model: ``python -m gen.estimate.collect``.

What is measured already is answered by the store, and it can be ended and begun again at any time. In the end what is there is
written to ``points.json``, and the model is fitted to it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gen import config
from gen.estimate import fitted, fpga
from gen.estimate.points import TARGET, Chosen, chosen
from gen.generate import accelerator
from gen.rtlil import to_rtlil
from gen.sweep import executors
from gen.sweep.engine import Engine, Listed, Options
from gen.sweep.points import Point
from gen.sweep.store import Row, Store
from sim import tools

SEED = 1
CORE, WHOLE = "core", "whole"
"""What is measured, in the place of a point's workload."""
EVALUATOR = "gen.estimate.collect:evaluate"
_RESOURCES = {"luts": "lut", "flip_flops": "ff", "dsps": "dsp", "block_rams": "bram"}


def evaluate(point: dict[str, Any]) -> dict[str, Any]:
    """Figures of a point, those of each module as ``module.lut`` and so on."""
    loaded = config.check(point["configuration"], "of a point")
    component = loaded.instance.core(loaded.design()) if point["workload"] == CORE else accelerator(loaded)
    seeds = (point["seed"],) if point["place_and_route"] else ()
    found = fpga.measure(
        to_rtlil(component, name="top"), point["target"], fpga.Effort(seeds=seeds, timeout=7 * 86400)
    )
    modules = {
        f"{path or 'top'}.{_RESOURCES[kind]}": number
        for path, module in found.modules.items()
        for kind, number in module.items()
    }
    clock = {} if found.fmax_mhz is None else {"fmax_mhz": found.fmax_mhz}
    return {name: found.use[kind].used for kind, name in _RESOURCES.items()} | clock | modules


def point(one: Chosen) -> Point:
    """As the sweep's engine takes it."""
    options = {
        "place_and_route": one.placed, "workload": CORE if one.core else WHOLE, "weights": None, "activations": None,
        "clock_mhz": None, "seed": SEED, "method": "measured",
    }  # fmt: skip
    return Point(base=one.base, settings=dict(one.settings), data=one.data, target=TARGET, options=options)


def collect(path: Path, wanted: Sequence[Chosen]) -> list[dict[str, Any]]:
    """Measure what is not in the store at ``path``, one after the other; rows of ``points.json``."""
    by_key = {point(one).key(EVALUATOR): one for one in wanted}
    listed = [point(one) for one in by_key.values()]
    with Store(path) as store, executors.local(1) as place:
        engine = Engine(store, place.executor, Options(evaluator=EVALUATOR, seconds=7200, width=1, workers=1))
        engine.run(Listed(iter(listed), len(listed)))
    return [_row(by_key[row.key], row) for row in engine.ordered if row.done]


def _row(one: Chosen, row: Row) -> dict[str, Any]:
    return {
        "base": one.base, "settings": dict(one.settings), "held": one.held, "core": one.core, "figures": row.figures,
        "seconds": row.seconds, "peak_bytes": row.peak_bytes,
    }  # fmt: skip


def main() -> None:
    """Measure, write what came of it, and fit the model to it."""
    rows = collect(tools.cache_folder() / "fit.sqlite", chosen())
    fitted.POINTS.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")
    fitted.main()


if __name__ == "__main__":
    main()
