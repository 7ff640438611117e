"""Figures of the boards in the documents: tables and a picture for each board, from what ``gen.bench`` has kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from fpga.board import boards
from gen import config
from gen.bench.boards import PROMPT, RESOURCES, kept, lacking, option, reach, with_memory
from gen.drawing import Drawing
from gen.markdown import table

NONE = "-"
"""Where there is nothing to tell."""
Record = Mapping[str, Any]


def _records() -> Sequence[Record]:
    return kept()


def outdated(one: Record) -> bool:
    """Whether the preset has changed since it was measured."""
    return config.load(one["preset"]).digest != one["digest"]


def _design(one: Record) -> str:
    weights = " × ".join(one["formats"])
    return f"{_name(one)}, {weights}" + (" (since changed)" if outdated(one) else "")


def _name(one: Record) -> str:
    """The preset, and the memory where it is not the board's usual one."""
    return f"`{one['preset']}`" + (f" with {one['memory']}" if option(with_memory(one)) else "")


def _number(value: float) -> str:
    """Three digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _share(value: float, limit: float) -> str:
    return f"{_number(limit)} ({100 * value / limit:.0f} %)" if limit else NONE


def _clock(one: Record) -> str:
    return f"{one['fmax_mhz']:g} ({one['clock_mhz']:g} {'held' if one['holds'] else 'missed'})"


def _use(one: Record, kind: str) -> str:
    use = one["utilisation"].get(kind)
    return f"{use['used']:,} ({use['percent']:.0f} %)" if use else NONE


def _model(one: Record) -> str:
    if one["tokens_per_second"]:
        return f"{one['weights_mib']:g} MiB: {one['tokens_per_second']:g} tokens/s ({one['tokens_method']})"
    return f"{one['weights_mib']:g} MiB"


def _taken() -> str:
    """What the designs take of their parts."""
    head = ("board", "design", "MHz", *RESOURCES.values())
    rows: list[Sequence[object]] = []
    for one in _records():
        start = (f"`{one['board']}`", _design(one))
        if "lacking" in one:
            rows.append((*start, f"does not fit: {lacking(one)}", *[""] * len(RESOURCES)))
        else:
            rows.append((*start, _clock(one), *(_use(one, kind) for kind in RESOURCES)))
    return table(head, rows)


def _reached() -> str:
    """What they compute, beside the limits of their parts."""
    head = (
        "board",
        "design",
        "peak, GOPS",
        f"{PROMPT} tokens, GOPS (of the peak)",
        "all DSPs, GOPS (peak)",
        "all tables, GOPS (peak)",
        "memory, MB/s (one token)",
        "weights of SmolLM2-135M",
    )
    rows = []
    for one in _records():
        if "lacking" in one:
            continue
        found = reach(one)
        rows.append(
            (
                f"`{one['board']}`",
                _name(one),
                _number(found.peak),
                f"{_number(found.sustained)} ({100 * found.sustained / found.peak:.0f} %)",
                _share(found.peak, found.dsps),
                _share(found.peak, found.tables),
                f"{_number(found.bandwidth)} ({found.read:.0f} %)",
                _model(one),
            )
        )
    return table(head, rows)


def _summary() -> str:
    """One line for each design, for the README."""
    head = ("board", "design", "MHz", "LUT", "DSP", "GOPS: peak, sustained", "of all DSPs, of all tables")
    rows = []
    for one in _records():
        start = (f"`{one['board']}`", _design(one))
        if "lacking" in one:
            rows.append((*start, f"does not fit: {lacking(one)}", *[""] * 4))
            continue
        found = reach(one)
        shares = [
            f"{100 * found.peak / limit:.0f} %" if limit else NONE for limit in (found.dsps, found.tables)
        ]
        rows.append(
            (
                *start,
                _clock(one),
                _use(one, "luts"),
                _use(one, "dsps"),
                f"{_number(found.peak)}, {_number(found.sustained)}",
                ", ".join(shares),
            )
        )
    return table(head, rows)


def _pictures() -> str:
    """One below the other."""
    return "\n".join(f"![{picture_title(name)}]({picture_file(name)})\n" for name in _measured())


PARTS: dict[str, Callable[[], str]] = {
    "board_use": _taken,
    "board_reach": _reached,
    "board_pictures": _pictures,
}
"""By name in the document of boards."""
SUMMARY: dict[str, Callable[[], str]] = {"board_summary": _summary}
"""By name in the README."""

LEFT, RIGHT, WIDE, HIGH = 170, 660, 190, 14
"""Where bars begin on both sides, their length at the limit, their height; pixels."""
STEP, HEAD, FOOT = 26, 92, 22
"""From a bar to the next, room above the first and below the last."""


def _bar(drawing: Drawing, x: int, y: int, share: float, kind: str, label: str, value: str) -> None:
    """A line of text, a bar of ``share`` (up to 1) of ``WIDE``, and its value behind."""
    drawing.text(x - 75, y + 11, label)
    drawing.bar(x, y, WIDE, HIGH, min(share, 1.0), kind)
    drawing.text(x + WIDE + 65, y + 11, value)


def _bars(one: Record) -> tuple[list[tuple], list[tuple]]:
    """Of both sides: share, kind, label and value."""
    left = [
        (use["percent"] / 100, "memory", RESOURCES[kind], f"{use['used']:,} ({use['percent']:.0f} %)")
        for kind, use in sorted(one["utilisation"].items(), key=lambda each: [*RESOURCES].index(each[0]))
    ]
    found = reach(one)
    most = max(found.dsps, found.tables, found.peak)
    right = [
        (value / most, kind, label, f"{_number(value)} GOPS")
        for value, kind, label in (
            (found.sustained, "array", f"{PROMPT} tokens"),
            (found.peak, "array", "peak of the array"),
            (found.dsps, "control", "all DSPs"),
            (found.tables, "control", "all tables"),
        )
        if value
    ]
    right.append(
        (
            found.read / 100,
            "mover",
            "memory, one token",
            f"{found.read:.0f} % of {_number(found.bandwidth)} MB/s",
        )
    )
    return left, right


def board_picture(name: str) -> str:
    """The designs of a board one above the other: what they take, what they compute, what the part could."""
    records = [one for one in _records() if one["board"] == name]
    heights = [
        HEAD if "lacking" in one else HEAD + STEP * max(map(len, _bars(one))) + FOOT for one in records
    ]
    drawing = Drawing(1000, sum(heights), picture_title(name))
    top = 0
    for one, height in zip(records, heights, strict=True):
        _draw(drawing, one, top)
        top += height
    return drawing.svg()


def _draw(drawing: Drawing, one: Record, top: int) -> None:
    what = f"{_name(one)} on {one['board']}, {one['part']}, {' × '.join(one['formats'])}".replace("`", "")
    drawing.text(500, top + 30, what, "bold")
    if "lacking" in one:
        drawing.text(500, top + 54, f"does not fit: {lacking(one)}")
        return
    drawing.text(LEFT + 95, top + 62, f"of the part; MHz: {_clock(one)}")
    drawing.text(RIGHT + 95, top + 62, f"at {reach(one).clock_mhz:g} MHz; limits at {one['fmax_mhz']:g}")
    for x, bars in zip((LEFT, RIGHT), _bars(one), strict=True):
        for place, (share, kind, label, value) in enumerate(bars):
            _bar(drawing, x, top + HEAD - 14 + STEP * place, share, kind, label, value)


def picture_file(name: str) -> str:
    """Of a board's picture, in the documents."""
    return f"board_{name.replace('-', '_')}.svg"


def picture_title(name: str) -> str:
    """What it shows."""
    return f"What designs take of {name} and what they reach"


def _measured() -> list[str]:
    """Boards that have figures."""
    known = {one["board"] for one in _records()}
    return [name for name in boards() if name in known]


PICTURES: dict[str, Callable[[], str]] = {
    picture_file(name): partial(board_picture, name) for name in _measured()
}
"""By file in the documents: of boards that have figures."""
