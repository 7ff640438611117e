"""Tables for people, the account of a run's cycles, and its picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

SHARES = (
    ("array_steps", "array at work", "#1b7f5c"),
    ("execute_other", "fill, drain, tile edges", "#8cc9a1"),
    ("execute_wait_activations", "waits for activations", "#d9822b"),
    ("execute_wait_weights", "waits for weights", "#f2c14e"),
    ("execute_wait_accumulators", "waits for accumulators", "#a45fb0"),
    ("execute_wait_instruction", "no instruction: start and end", "#9aa5b1"),
)
"""The counters that add up to a run's cycles, with words and a colour."""

BUS_COLOUR = "#2f6fb0"


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a table or a picture says of one simulated GEMM."""

    title: str
    counters: Mapping[str, int]
    array_utilisation: float
    bus_utilisation: float

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Run:
        """From a document of ``gen.run``."""
        use = document["utilisation"]
        return cls(
            title=document["workload"]["title"],
            counters=document["counters"],
            array_utilisation=use["array"],
            bus_utilisation=use["bus"],
        )


def breakdown(counters: Mapping[str, int]) -> list[dict[str, Any]]:
    """Where every cycle went: rows of counter, words, cycles and share; the cycles add up.

    Where nothing but cycles is counted there is none.

    Raises ``ValueError`` when they do not: such counters cannot be trusted.
    """
    if list(counters) == ["cycles"]:
        return []
    total = counters["cycles"]
    rows: list[dict[str, Any]] = [
        {
            "counter": name,
            "what": words,
            "cycles": counters[name],
            "share": counters[name] / total if total else 0.0,
        }
        for name, words, _ in SHARES
    ]
    if sum(row["cycles"] for row in rows) != total:
        raise ValueError(
            f"array_steps and execute_* must add up to {total} cycles, not {sum(r['cycles'] for r in rows)}"
        )
    return rows


def table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    title: str | None = None,
    numbers: int = 0,
    wrapped: Sequence[str] = (),
) -> Table:
    """A table whose last ``numbers`` columns are numbers. Only the last column and ``wrapped`` may be broken into lines."""
    result = Table(title=title, title_justify="left")
    for place, column in enumerate(columns):
        right = place >= len(columns) - numbers
        whole = right or (place < len(columns) - 1 and column not in wrapped)
        result.add_column(
            column,
            justify="right" if right else "left",
            no_wrap=whole,
            # A figure that is cut must not look like another.
            overflow="ellipsis" if whole else "fold",
        )
    for row in rows:
        result.add_row(*row)
    return result


def configuration(document: Mapping[str, Any]) -> Group:
    """``gatemill show`` for people."""
    values = [
        [f"{section}.{key}" if isinstance(value, dict) else section, str(item)]
        for section, value in document["configuration"].items()
        for key, item in (value.items() if isinstance(value, dict) else [("", value)])
    ]
    sizes = [
        [f"{name}.{key}" if isinstance(value, dict) else name, str(item)]
        for name, value in document["parameters"].items()
        for key, item in (value.items() if isinstance(value, dict) else [("", value)])
    ]
    registers = [[f"{r['offset']:#04x}", r["name"], r["access"], r["doc"]] for r in document["register_map"]]
    fields = [
        [
            instruction["name"],
            field["name"],
            f"{field['first_bit'] + field['bits'] - 1}:{field['first_bit']}",
            field["doc"],
        ]
        for instruction in document["instruction_set"]
        for field in instruction["fields"]
    ]
    return Group(
        table(["key", "value"], values, title=f"Configuration {document['digest'][:16]}"),
        table(["derived", "value"], sizes, title="Design"),
        table(["offset", "register", "access", "meaning"], registers, title="Register map"),
        table(["instruction", "field", "bits", "meaning"], fields, title="Instruction set"),
    )


def simulation(document: Mapping[str, Any]) -> Group:
    """``gatemill simulate`` for people."""
    cycles, use = document["cycles"], document["utilisation"]
    predicted = "-" if cycles["predicted"] is None else f"{cycles['predicted']:,}"
    rows = [
        ["workload", document["workload"]["title"]],
        ["result", _result(document)],
        ["cycles measured", f"{cycles['measured']:,}"],
        ["cycles predicted", predicted],
        ["array utilisation", f"{use['array']:.1%}"],
        ["bus utilisation", f"{use['bus']:.1%}"],
        ["simulator", document["simulator"]],
        ["seed", str(document["seed"])],
    ]
    shares = [[row["what"], f"{row['cycles']:,}", f"{row['share']:.1%}"] for row in document["breakdown"]]
    verdict = Text("pass", style="bold green") if document["pass"] else Text("FAIL", style="bold red")
    tables = [table(["what", "value"], rows, title=document["configuration"])]
    if shares:
        tables.append(table(["where every cycle went", "cycles", "share"], shares, numbers=2))
    return Group(*tables, verdict)


def _result(document: Mapping[str, Any]) -> str:
    """What came out, in words."""
    if document["breaches"]:
        return "the bus protocol was broken: " + "; ".join(document["breaches"])
    if error := document["error"]:
        return "ended with " + ", ".join(f"{key} {value}" for key, value in error.items())
    if document["stray_write"] is not None:
        return f"a byte outside of the output was written, at {document['stray_write']:#x}"
    if wrong := document["mismatch"]:
        return difference(wrong)
    return "equal to the golden model, bit for bit"


def difference(wrong: Mapping[str, Any]) -> str:
    """What ``gen.run.mismatch`` found, in words."""
    at = ", ".join(map(str, wrong["index"]))
    got, wanted = str(wrong["got"]), str(wrong["wanted"])
    if "patterns" in wrong:
        got, wanted = (
            f"{text} ({pattern})" for text, pattern in zip((got, wanted), wrong["patterns"], strict=True)
        )
    return f"differs at ({at}): got {got}, wanted {wanted}; {wrong['count']} results in all"


def demonstration(rows: Sequence[Mapping[str, Any]]) -> Table:
    """The table in which the demo ends."""
    return table(
        ["layer", "M x K x N", "equal", "cycles", "predicted", "array", "bus"],
        [
            [
                row["workload"]["layer"],
                "{M} x {K} x {N}".format(**row["workload"]),
                "yes" if row["mismatch"] is None else "NO",
                f"{row['cycles']['measured']:,}",
                f"{row['cycles']['predicted']:,}",
                f"{row['utilisation']['array']:.1%}",
                f"{row['utilisation']['bus']:.1%}",
            ]
            for row in rows
        ],
        numbers=4,
    )


_WIDTH, _LEFT, _RIGHT = 960, 230, 40
_TOP, _ROW, _BAR, _THIN = 92, 84, 30, 10
_FONT = "font-family='DejaVu Sans, Verdana, sans-serif'"


def picture(title: str, runs: Sequence[Run]) -> str:
    """An SVG with two bars for every run: where its cycles went, and how many brought a beat over the bus."""
    height = _TOP + _ROW * len(runs) + 96
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{_WIDTH}' height='{height}' "
        f"viewBox='0 0 {_WIDTH} {height}' {_FONT}>",
        f"<rect width='{_WIDTH}' height='{height}' fill='#ffffff'/>",
        _label(24, 38, title, size=20, weight="bold"),
        _label(
            24,
            64,
            "Share of the cycles from start to done; the thin bar is the bus reading operands.",
            fill="#52606d",
        ),
    ]
    for place, run in enumerate(runs):
        parts += _bars(run, _TOP + _ROW * place)
    parts += _legend(_TOP + _ROW * len(runs) + 14)
    return "\n".join([*parts, "</svg>", ""])


def _bars(run: Run, top: int) -> list[str]:
    room = _WIDTH - _LEFT - _RIGHT
    name, _, size = run.title.partition(", ")
    parts = [
        _label(24, top + 16, name, size=15, weight="bold"),
        _label(24, top + 36, size, fill="#52606d"),
        _label(24, top + 54, f"{run.counters['cycles']:,} cycles", fill="#52606d"),
    ]
    done = 0.0
    colours = {name: colour for name, _, colour in SHARES}
    for row in breakdown(run.counters):
        words, colour = row["what"], colours[row["counter"]]
        width = row["share"] * room
        left = _LEFT + done * room
        hint = f"<title>{escape(words)}: {row['cycles']:,} cycles ({row['share']:.1%})</title>"
        place = f"x='{left:.2f}' y='{top}' width='{width:.2f}' height='{_BAR}'"
        parts.append(f"<rect {place} fill='{colour}'>{hint}</rect>")
        if width > 52:
            dark = words in ("waits for weights", "fill, drain, tile edges")
            parts.append(
                _label(
                    left + width / 2,
                    top + 20,
                    f"{row['share']:.1%}",
                    fill="#1f2933" if dark else "#ffffff",
                    anchor="middle",
                )
            )
        done += row["share"]
    bus = min(1.0, run.bus_utilisation)
    below = top + _BAR + 5
    parts += [
        f"<rect x='{_LEFT}' y='{below}' width='{room}' height='{_THIN}' fill='#e4e7eb'/>",
        f"<rect x='{_LEFT}' y='{below}' width='{bus * room:.2f}' height='{_THIN}' fill='{BUS_COLOUR}'/>",
        _label(
            _LEFT,
            below + _THIN + 16,
            f"bus {run.bus_utilisation:.1%}, array {run.array_utilisation:.1%}",
            fill="#52606d",
        ),
    ]
    return parts


def _legend(top: int) -> list[str]:
    items = [*((words, colour) for _, words, colour in SHARES), ("bus reads a beat", BUS_COLOUR)]
    parts = []
    for place, (words, colour) in enumerate(items):
        left, line = 24 + 234 * (place % 4), top + 26 * (place // 4)
        parts += [
            f"<rect x='{left}' y='{line}' width='14' height='14' fill='{colour}'/>",
            _label(left + 22, line + 12, words),
        ]
    return parts


def _label(
    x: float,
    y: float,
    text: str,
    *,
    size: int = 13,
    fill: str = "#1f2933",
    weight: str = "normal",
    anchor: str = "start",
) -> str:
    return (
        f"<text x='{x:.1f}' y='{y:.1f}' font-size='{size}' font-weight='{weight}' fill='{fill}' "
        f"text-anchor='{anchor}'>{escape(text)}</text>"
    )


def workload(document: Mapping[str, Any]) -> Group:
    """The cost of a work (``gen.cost``) for people."""
    rows = []
    for row in [*document["products"], {"kind": "all", **document["total"]}]:
        shape = f"{row['M']} x {row['K']} x {row['N']}" if "M" in row else ""
        use, bits = row["utilisation"], row["bits_moved"]
        rows.append(
            [
                row["kind"],
                shape,
                f"{row['count']:,}",
                f"{row['cycles']:,}",
                f"{use['array']:.1%}",
                f"{use['bus']:.1%}",
                f"{row['bytes'] / 1e6:,.1f}",
                f"{bits['all'] / 1e9:,.2f}",
            ]
        )
    columns = ["product", "M x K x N", "count", "cycles", "array", "read bus", "MB on the bus", "Gbit moved"]
    title = f"{document['workload']} on {document['configuration']}"
    lines = [table(columns, rows, title=title, numbers=6)]
    total = document["total"]
    if total["seconds"]:
        text = (
            f"{total['seconds']:.3g} s at {document['clock_mhz']:g} MHz, "
            f"{document['tokens_per_second']:.3g} tokens/s"
        )
        return Group(*lines, Text(text))
    return Group(*lines)
