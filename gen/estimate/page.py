"""Estimates for people: tables in a terminal, and in a notebook."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Group

from gen import notebook, report

NAMES = {"lut": "LUT", "ff": "registers", "dsp": "DSP blocks", "bram": "block RAMs"}
_GATES = {
    "transistors": "transistors", "nand2": "NAND2-equivalents", "flip_flops": "registers", "levels": "levels of gates",
    "area_um2": "area, µm²", "delay_ns": "longest path, ns", "memories": "memories left as they are", "memory_bits": "their bits",
}  # fmt: skip
_COLUMNS = {"nand2": "NAND2", "area_um2": "µm²"} | NAMES
"""Of the table of modules."""


def number(value: Any) -> str:
    """A figure for people."""
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    if float(value).is_integer():
        return f"{int(value):,}"
    return f"{value:,.1f}" if abs(value) >= 100 else f"{value:.4g}"


def summary(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What there is, in words."""
    yield "method", str(document["method"])
    for name, one in (document["errors"] or {}).items():
        words = f"{one['median']:.1%} in the middle, {one['worst']:.1%} at worst, of {one['points']} held-out points"
        yield f"error of {NAMES.get(name, 'MHz')}", words
    if document["beyond"]:
        yield "beyond what it was fitted to", ", ".join(document["beyond"])
    for name, one in (document["use"] or {}).items():
        share = "" if one["percent"] is None else f", {one['percent']:g} %"
        yield NAMES[name], f"{number(one['used'])} of {number(one['available'])}{share}"
    for name, words in _GATES.items():
        if document["gates"] and document["gates"][name] is not None:
            yield words, number(document["gates"][name])
    if document["fmax_mhz"]:
        clock, several = document["clock"], ""
        if clock:
            several = f" ({clock['slowest']:.1f} to {clock['fastest']:.1f} of {len(clock['seeds'])} seeds)"
        yield "MHz", f"{document['fmax_mhz']:.1f}{several}"
    if document["workload"]:
        total = document["workload"]["total"]
        yield document["workload"]["workload"], f"{number(total['cycles'])} cycles"
        at = f"at {document['clock_mhz']:.4g} MHz, {document['clock_origin']}"
        yield "tokens a second", f"{document['workload']['tokens_per_second']:.4g} {at}"
    if toggled := document["toggles"]:
        rate = f"{toggled['per_multiplication']:.3g} for each multiplication, {number(toggled['per_cycle'])} a cycle"
        yield f"toggles, {'x'.join(map(str, toggled['sizes']))}", f"{number(toggled['total'])}: {rate}"
    yield "flow", str(document["flow"])


def _modules(document: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    rows = document["modules"]
    names = list(rows[0]) if rows else []
    return [_COLUMNS.get(name, name) for name in names], [
        [number(row[name]) for name in names] for row in rows
    ]


def _variants(document: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    kinds = list(NAMES)
    rows = [
        [
            row["variant"] + ", does not fit" * (row["reason"] is not None),
            *(number(row[kind]) for kind in kinds),
        ]
        for row in document["variants"]
    ]
    return ["synthesised with", *NAMES.values()], rows


def _toggles(document: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    told = document["toggles"]
    rows = [
        [row["module"], number(row["toggles"]), f"{row['per_multiplication']:.3g}", f"{row['toggles'] / told['total']:.1%}"]
        for row in told["modules"]
    ]  # fmt: skip
    return ["module", "toggles", "for each multiplication", "share"], rows


def _title(document: dict[str, Any]) -> str:
    return f"{document['configuration']} on {document['part'] or document['target']}"


def terminal(document: dict[str, Any]) -> Group:
    """Tables."""
    head, rows = _modules(document)
    parts: list[Any] = [
        report.table(["what", "value"], [list(row) for row in summary(document)], title=_title(document)),
        report.table(head, rows, numbers=len(head) - 1),
    ]
    if document["variants"]:
        head, rows = _variants(document)
        parts.append(report.table(head, rows, numbers=len(head) - 1))
    if document["toggles"]:
        head, rows = _toggles(document)
        parts.append(report.table(head, rows, numbers=len(head) - 1))
    if document["workload"]:
        parts.append(report.workload(document["workload"]))
    return Group(*parts)


def html(document: dict[str, Any]) -> str:
    """The same for a notebook."""
    parts = [
        notebook.table(["what", "value"], summary(document), _title(document)),
        notebook.table(*_modules(document)),
    ]
    if document["variants"]:
        parts.append(notebook.table(*_variants(document)))
    if document["toggles"]:
        parts.append(notebook.table(*_toggles(document)))
    return "".join(parts)
