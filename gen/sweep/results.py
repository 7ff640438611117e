"""Results of a sweep for people and for other programs: table, CSV, Parquet."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group
from rich.table import Table

from gen.errors import RequestError
from gen.report import table
from gen.sweep.figures import FIGURES
from gen.sweep.pareto import front
from gen.sweep.spec import Spec
from gen.sweep.store import MEBIBYTE, Row
from gen.sweep.sweep import Sweep

MOST_ROWS = 48
"""Of a table in the terminal; of more points the front and the failures are shown."""


def number(value: Any) -> str:
    """A figure for people."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "" if value is None else str(value)
    if isinstance(value, int) or (value.is_integer() and abs(value) < 1e15):
        return f"{int(value):,}"
    return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"


def figure_names(rows: Sequence[Row]) -> list[str]:
    """Of all figures in ``rows``: known ones in their order, others after them."""
    found = dict.fromkeys(name for row in rows for name in row.figures)
    return [name for name in FIGURES if name in found] + [name for name in found if name not in FIGURES]


def settings_names(rows: Sequence[Row]) -> list[str]:
    """Of all parameters that are set in ``rows``."""
    return list(dict.fromkeys(name for row in rows for name in row.point.settings))


def flat(sweep: Sweep) -> list[dict[str, Any]]:
    """A flat row for each point, all with the same columns; what is missing is None."""
    best = {row.key for row in sweep.pareto}
    settings, figures = settings_names(sweep.rows), figure_names(sweep.rows)
    return [
        {
            "key": row.key,
            **{name: row.point.settings.get(name) for name in settings},
            "target": row.point.target,
            "method": row.point.options["method"],
            "status": row.status,
            "kind": row.kind,
            "reason": row.reason,
            "pareto": row.key in best,
            **{name: row.figures.get(name) for name in figures},
            "seconds": row.seconds,
            "peak_bytes": row.peak_bytes,
            "again": sweep.again(row),
        }
        for row in sweep.rows
    ]


def as_csv(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Of ``flat`` rows."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def as_parquet(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Of ``flat`` rows; raises ``RequestError`` when pyarrow is not installed."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise RequestError(
            "--parquet: must be left out, or pyarrow installed: pip install 'gatemill[parquet]'"
        ) from None
    columns = {name: _column([row[name] for row in rows]) for name in (rows[0] if rows else {})}
    content = io.BytesIO()
    parquet.write_table(pyarrow.table(columns), content)
    return content.getvalue()


def _column(values: list[Any]) -> list[Any]:
    """Of one type: a parameter may have numbers and texts."""
    kinds = {type(value) for value in values} - {type(None)}
    if kinds <= {int, float}:
        return [None if value is None else float(value) for value in values] if float in kinds else values
    return values if len(kinds) < 2 else [None if value is None else str(value) for value in values]


def terminal(sweep: Sweep) -> Group:
    """The table of a sweep, its front marked, and a line that counts."""
    best = {row.key for row in sweep.pareto}
    shown = sweep.rows
    if len(shown) > MOST_ROWS:
        kept = best | {row.key for row in sweep.failed[: MOST_ROWS // 2]}
        shown = [row for row in sweep.rows if row.key in kept]
    parts: list[Any] = [_table(sweep, shown, best)]
    if sweep.failed:
        parts.append(_failures(sweep.failed[:MOST_ROWS]))
    return Group(*parts, title(sweep.loaded.spec), summary(sweep, len(shown)))


def title(spec: Spec) -> str:
    """Of what the figures are, and where they come from."""
    return f"{spec.workload} on {', '.join(spec.targets)}; {how(spec)}"


def how(spec: Spec) -> str:
    """In words, where areas come from."""
    if spec.method == "fitted":
        clock = "its clocks" if spec.clock_mhz is None else f"{spec.clock_mhz:g} MHz"
        return f"areas by the fitted model, at {clock}"
    return "placed and routed" if spec.place_and_route else "synthesised"


def summary(sweep: Sweep, shown: int | None = None) -> str:
    """What there is, in a line."""
    progress = sweep.progress
    parts = [f"{len(sweep.rows)} points", f"{progress.ran} run now", f"{len(sweep.failed)} failed"]
    parts.append(f"{len(sweep.pareto)} on the Pareto front (*) of {', '.join(sweep.loaded.spec.objectives)}")
    peak = max((row.peak_bytes for row in sweep.rows), default=0)
    parts.append(f"most memory of a process {peak / MEBIBYTE:.0f} MiB")
    if shown is not None and shown < len(sweep.rows):
        parts.append(f"{shown} shown")
    return "; ".join(parts)


def _table(sweep: Sweep, rows: Sequence[Row], best: set[str]) -> Table:
    settings, goals = settings_names(sweep.rows), [goal.figure for goal in sweep.loaded.spec.goals]
    head = ["", "key", *(name.rpartition(".")[2] for name in settings), "target", *goals, "s"]
    return table(
        head,
        [
            [
                "*" if row.key in best else "",
                row.key[:8],
                *(number(row.point.settings.get(name)) for name in settings),
                row.point.target,
                *(number(row.figures.get(name)) if row.done else row.kind or "" for name in goals),
                f"{row.seconds:.1f}",
            ]
            for row in rows
        ],
        numbers=len(goals) + 1,
    )


def _failures(rows: Sequence[Row]) -> Table:
    return table(
        ["failed", "why", "reason"],
        [[row.key[:8], row.kind or "", (row.reason or "").splitlines()[0]] for row in rows],
    )


def compared(one: Row, other: Row) -> dict[str, Any]:
    """Two points side by side: keys of their configurations that differ, figures with the ratio of the second to the first."""
    left, right = (_leaves(row.point.as_dict()) for row in (one, other))
    differing = [name for name in dict.fromkeys([*left, *right]) if left.get(name) != right.get(name)]
    return {
        "a": one.key,
        "b": other.key,
        "differences": [
            {"what": name, "a": left.get(name), "b": right.get(name)}
            for name in differing
            if not name.startswith("settings")
        ],
        "figures": [
            {"figure": name, "a": one.figures.get(name), "b": other.figures.get(name),
             "ratio": _ratio(one.figures.get(name), other.figures.get(name))}
            for name in figure_names([one, other])
        ],
        "failures": {side: row.reason for side, row in (("a", one), ("b", other)) if not row.done},
    }  # fmt: skip


def picture(sweep: Sweep) -> bytes | None:
    """The first two objectives against each other, a colour for each base: an SVG; None when there is nothing to draw."""
    from gen import plots

    spec, goals = sweep.loaded.spec, sweep.loaded.spec.goals[:2]
    names = [goal.figure for goal in reversed(goals)]
    if len(names) < 2:
        return None
    groups: dict[str, list[tuple[float, float]]] = {}
    for row in sweep.rows:
        if row.done and all(name in row.figures for name in names):
            groups.setdefault(row.point.base, []).append((row.figures[names[0]], row.figures[names[1]]))
    best = [(row.figures[names[0]], row.figures[names[1]]) for row in front(sweep.rows, goals)]
    return plots.pareto(groups, best, (names[0], names[1]), title(spec)) if groups else None


def _leaves(document: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in document.items():
        path = f"{prefix}{name}"
        found |= _leaves(value, f"{path}.") if isinstance(value, Mapping) else {path: value}
    return found


def _ratio(a: Any, b: Any) -> float | None:
    numbers = all(isinstance(one, int | float) for one in (a, b))
    return round(b / a, 6) if numbers and a else None


def comparison(document: Mapping[str, Any]) -> Group:
    """``gatemill compare`` for people."""
    a, b = document["a"][:8], document["b"][:8]
    parts: list[Any] = [
        table(
            ["what", f"A {a}", f"B {b}"],
            [[row["what"], number(row["a"]), number(row["b"])] for row in document["differences"]],
        ),
        table(
            ["figure", f"A {a}", f"B {b}", "B / A"],
            [
                [
                    row["figure"],
                    number(row["a"]),
                    number(row["b"]),
                    "" if row["ratio"] is None else f"{row['ratio']:.3f}",
                ]
                for row in document["figures"]
            ],
            numbers=3,
        ),
    ]
    parts += [f"{side.upper()} failed: {reason}" for side, reason in document["failures"].items()]
    return Group(*parts)
