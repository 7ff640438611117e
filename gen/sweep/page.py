"""The page of a sweep: one HTML file with everything in it, which works offline and asks nobody for anything."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any

import jinja2
from markupsafe import Markup

from gen.sweep import results
from gen.sweep.store import Row
from gen.sweep.sweep import Sweep

MOST_FLOORPLANS = 8 << 20
"""Characters of floorplans in a page; those of the front come first."""


@cache
def _part(name: str) -> str:
    return files("gen.sweep").joinpath(name).read_text(encoding="utf-8")


def page(sweep: Sweep) -> str:
    """The page; texts of a specification are text in it, whatever they hold."""
    spec = sweep.loaded.spec
    template = jinja2.Environment(autoescape=True).from_string(_part("page.html"))
    return template.render(
        title=f"Sweep of {spec.base}",
        subtitle=f"{sweep.loaded.origin}: {spec.workload}; {results.how(spec)} for {', '.join(spec.targets)}",
        summary=results.summary(sweep).replace(" (*)", ""),
        style=Markup(_part("page.css")),
        script=Markup(_part("page.js")),
        data=Markup(embedded(document(sweep))),
    )


def embedded(content: Any) -> str:
    """JSON that ends no script, whatever texts are in it."""
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def document(sweep: Sweep) -> dict[str, Any]:
    """What the page's program draws from."""
    front = [row.key for row in sweep.pareto]
    drawn = _drawn(sweep.rows, set(front))
    return {
        "objectives": [{"figure": goal.figure, "largest": goal.largest} for goal in sweep.loaded.spec.goals],
        "parameters": [*results.settings_names(sweep.rows), "target"],
        "figures": results.figure_names(sweep.rows),
        "rows": [
            sweep.describe(row)
            | {
                "base": row.point.base, "title": row.point.title, "pareto": row.key in front, "log": row.log,
                "floorplan": row.floorplan if row.key in drawn else None,
            }
            for row in sweep.rows
        ],
    }  # fmt: skip


def _drawn(rows: list[Row], front: set[str]) -> set[str]:
    """Keys of those whose floorplan has room in the page."""
    room, drawn = MOST_FLOORPLANS, set()
    for row in sorted(rows, key=lambda row: row.key not in front):
        size = 0 if row.floorplan is None else sum(map(len, row.floorplan["rows"]))
        if 0 < size <= room:
            room -= size
            drawn.add(row.key)
    return drawn
