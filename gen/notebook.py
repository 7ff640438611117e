"""What notebooks show of configurations, points and sweeps: HTML that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gen.sweep.store import Row
    from gen.sweep.sweep import Sweep

MOST_ROWS = 30
"""Of a table of points."""


class Shown:
    """A configuration that notebooks show as a table."""

    def _repr_html_(self) -> str:
        return configuration(self)


def table(head: Sequence[str], rows: Iterable[Sequence[object]], title: str = "") -> str:
    """A table; all texts stay texts."""
    caption = f"<caption style='text-align:left'><b>{escape(title)}</b></caption>" if title else ""
    heads = "".join(f"<th style='text-align:left'>{escape(one)}</th>" for one in head)
    lines = [
        "<tr>" + "".join(f"<td style='text-align:left'>{escape(str(one))}</td>" for one in row) + "</tr>"
        for row in rows
    ]
    return f"<table>{caption}<thead><tr>{heads}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def configuration(config: Any) -> str:
    """All values of a ``gen.config.Config``, and the digest of its hardware."""
    rows = [
        (f"{section}.{key}" if key else section, item)
        for section, value in config.model_dump().items()
        for key, item in (value.items() if isinstance(value, dict) else [("", value)])
    ]
    return table(["key", "value"], rows, f"Configuration {config.name}, {config.digest[:16]}")


def point(row: Row) -> str:
    """A point: settings, and figures or the reason why there are none."""
    from gen.sweep.results import number

    rows = [*row.point.settings.items(), ("target", row.point.target)]
    rows += [(name, number(value)) for name, value in row.figures.items()]
    if not row.done:
        rows.append((str(row.kind), row.reason or ""))
    return table(["what", "value"], rows, f"Point {row.key[:8]} of {row.point.base}")


def sweep(made: Sweep) -> str:
    """The Pareto front as a table, and the whole page in a frame of its own."""
    from gen.sweep.page import page
    from gen.sweep.results import number, settings_names, summary

    names, goals = settings_names(made.rows), [goal.figure for goal in made.loaded.spec.goals]
    front = made.pareto
    rows = [
        [
            row.key[:8], *(number(row.point.settings.get(name)) for name in names), row.point.target,
            *(number(row.figures.get(name)) for name in goals),
        ]
        for row in front[:MOST_ROWS]
    ]  # fmt: skip
    # The frame is a stranger to the notebook: its program reaches nothing outside of it.
    frame = f'<iframe sandbox="allow-scripts" width="100%" height="900" style="border:0" srcdoc="{escape(page(made))}"></iframe>'
    shown = table(["point", *names, "target", *goals], rows, "Pareto front")
    return f"<p>{escape(summary(made))}</p>{shown}{frame}"
