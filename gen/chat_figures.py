"""Figures of a speaking model in the documents: texts, perplexities, and a picture, from what ``gen.bench`` has kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

from gen import config
from gen.bench import boards, chat, perplexity, records
from gen.drawing import Drawing
from gen.markdown import table

Record = Mapping[str, Any]
NONE = "-"
"""Where there is nothing to tell."""


def _texts() -> str:
    """What was said on each array, and what it took."""
    head = (
        "array", "formats", "prompt, and what came", "tokens", "sums", "cycles off", "cycles a token (programs)",
        "bus", "s a token", "cycles/s",
    )  # fmt: skip
    return table(head, (_text(one) for one in records.kept(chat.FILE)))


def _text(one: Record) -> Sequence[object]:
    changes = ", ".join(f"`{value}`" for value in _settings(one))
    array = f"`{one['preset']}`" + (f" with {changes}" if changes else "")
    if one.get("attention", {}).get("on") == "accelerator":
        array += ", attention, too"
    formats = ", ".join(sorted({pair for each in one["formats"].values() for pair in each.split(", ")}))
    return (
        array,
        formats,
        f"{one['prompt']} *{_flat(one['text'])}*",
        len(one["tokens"]),
        "equal" if one["equal"] else "DIFFERENT",
        one["cycle_error"],
        f"{one['cycles_per_token']:,} ({one['programs_per_token']})",
        f"{100 * one['bus']['all']:.1f} %",
        f"{one['wall_seconds_per_token']:.1f}",
        f"{one['cycles_per_second']:,}",
    )


def _settings(one: Record) -> list[str]:
    """What the command sets beside the preset."""
    words = one["command"].split()
    return [value for option, value in pairwise(words) if option == "--set"]


def _flat(text: str) -> str:
    """In one line, without marks that Markdown knows."""
    return " ".join(text.replace("*", "").replace("`", "").split())


def _commands() -> str:
    """Of the texts."""
    return "```sh\n" + "".join(f"{one['command']}\n" for one in records.kept(chat.FILE)) + "```\n"


@dataclass(frozen=True)
class Port:
    """The memory of a board: bytes a second, at the clock that its best design reaches."""

    board: str
    bandwidth: float


@cache
def _ports() -> tuple[Port, ...]:
    found: dict[str, float] = {}
    for one in boards.kept():
        if "lacking" not in one:
            bandwidth = boards.reach(one).bandwidth * 1e6
            found[one["board"]] = max(bandwidth, found.get(one["board"], 0.0))
    return tuple(
        Port(board, bandwidth) for board, bandwidth in sorted(found.items(), key=lambda each: each[1])
    )


def _rows() -> list[dict[str, Any]]:
    return perplexity.judged(records.kept(perplexity.FILE))


def _perplexities() -> str:
    """Of every format; tokens a second on its array, and at most on boards."""
    head = (
        "", "format", "array", "activations", "keys, values", "bits", "MiB", "cycles a token",
        f"tokens/s at {perplexity.CLOCK:g} MHz", "perplexity", "",
    )  # fmt: skip
    rows = []
    for number, one in enumerate(_rows(), 1):
        counted = one["bits"] is not None
        rows.append(
            (
                number,
                f"`{one['name']}`" + (" (since changed)" if _outdated(one) else ""),
                f"`{one['configuration']}`" if counted else NONE,
                ", ".join(f"`{name}`" for name in one["activations"]) if counted else "`fp32`",
                one["cache"],
                f"{one['bits']:.2f}" if counted else NONE,
                f"{one['mib']:.1f}" if counted else NONE,
                f"{one['cycles']:,}" if counted else NONE,
                f"{one['tokens_per_second']:.1f}" if counted else NONE,
                _short(one["perplexity"]),
                one["note"] and f"*{one['note']}*",
            )
        )
    return table(head, rows)


def _outdated(one: Record) -> bool:
    """Whether the preset has changed since it was measured."""
    return bool(one["configuration"]) and config.load(one["configuration"]).digest != one["digest"]


def _short(value: float) -> str:
    return f"{value:.2f}" if value < 1e3 else f"{value:.2g}"


def _on_boards() -> str:
    """Tokens a second that the memories' ports could bring the weights for."""
    head = ("format", "MiB", *(f"`{port.board}`, {port.bandwidth / 1e6:,.0f} MB/s" for port in _ports()))
    rows, seen = [], set()
    for one in _rows():
        if one["mib"] is not None and one["mib"] not in seen:
            seen.add(one["mib"])
            rates = (f"{_rate(port, one):.2f}" for port in _ports())
            rows.append((f"`{one['name']}`", f"{one['mib']:.1f}", *rates))
    return table(head, rows)


def _rate(port: Port, one: Record) -> float:
    return port.bandwidth / (one["mib"] * (1 << 20))


PARTS: dict[str, Callable[[], str]] = {"chat_texts": _texts, "chat_commands": _commands}
"""By name in the document of texts."""
PERPLEXITIES: dict[str, Callable[[], str]] = {"perplexities": _perplexities, "perplexity_boards": _on_boards}
"""By name in the document of formats for a model."""

TOP, BOTTOM, LEFT, WIDE, APART = 70, 440, 90, 380, 90
"""Of both panels: pixels."""
KINDS = ("array", "mover", "memory", "control")
"""How marks are filled: on the array itself, and on boards."""


@dataclass(frozen=True)
class Scale:
    """An axis from pixel to pixel, logarithmic or as it is."""

    first: float
    last: float
    begin: int
    end: int
    logarithmic: bool = True

    def place(self, value: float) -> int:
        """The pixel of ``value``."""
        first, last, own = (
            math.log10(each) if self.logarithmic else each for each in (self.first, self.last, value)
        )
        return round(self.begin + (own - first) / (last - first) * (self.end - self.begin))

    @property
    def ticks(self) -> list[float]:
        """1, 2 and 5 times powers of ten, or whole numbers."""
        if self.logarithmic:
            powers = range(math.floor(math.log10(self.first)), math.ceil(math.log10(self.last)) + 1)
            found = [step * 10.0**power for power in powers for step in (1, 2, 5)]
        else:
            found = [float(each) for each in range(math.ceil(self.first), math.floor(self.last) + 1)]
        return [each for each in found if self.first <= each <= self.last]


def perplexity_picture() -> str:
    """Perplexity against bits of a weight, and against tokens a second on its array and on boards.

    Formats that break the model lie in a stripe of their own, above all others.
    """
    drawing = Drawing(1040, 520, "Perplexity by format")
    rows = [(number, one) for number, one in enumerate(_rows(), 1) if one["bits"] is not None]
    sound = [one["perplexity"] for _, one in rows if not one["note"]] or [10.0]
    up = Scale(0.9 * min(sound), 1.1 * max(*sound, 50.0), BOTTOM, TOP + STRIPE)
    bits = Scale(1.0, 9.0, LEFT, LEFT + WIDE, logarithmic=False)
    ports = [port for port in _ports() if port.bandwidth >= FASTEST * max(p.bandwidth for p in _ports())]
    rates = [one["tokens_per_second"] for _, one in rows]
    rates += [_rate(port, one) for port in ports for _, one in rows]
    rates = rates or [1.0, 10.0]
    right = Scale(0.8 * min(rates), 1.2 * max(rates), LEFT + WIDE + APART, LEFT + 2 * WIDE + APART)
    drawing.text(520, 28, f"{perplexity.MODEL} by format: numbers are those of the table", "bold")
    for across, label in ((bits, "bits of a weight in memory"), (right, "tokens per second")):
        _axes(drawing, across, up, label)

    def height(one: Record) -> int:
        return TOP + STRIPE // 2 if one["note"] else up.place(one["perplexity"])

    for _, one in rows:
        for place, port in enumerate(ports, 1):
            drawing.dot(right.place(_rate(port, one)), height(one), KINDS[place])
        drawing.dot(right.place(one["tokens_per_second"]), height(one), "array")
    marks = [(bits.place(one["bits"]), height(one), str(number)) for number, one in rows]
    labels = Labels(drawing, [(x, y) for x, y, _ in marks])
    for mark in marks:
        labels.put(*mark)
    for x, y, _ in marks:
        drawing.dot(x, y, "array")
    _legend(drawing, ports)
    return drawing.svg()


FASTEST = 0.2
"""Of the fastest board's port, that one of the picture has."""
STRIPE = 50
"""Pixels for the formats that break the model."""


def _axes(drawing: Drawing, across: Scale, up: Scale, label: str) -> None:
    for tick in up.ticks:
        y = up.place(tick)
        drawing.rule((across.begin, y), (across.end, y))
        drawing.text(across.begin - 24, y + 4, f"{tick:g}")
    for tick in across.ticks:
        x = across.place(tick)
        drawing.rule((x, TOP), (x, BOTTOM))
        drawing.text(x, BOTTOM + 20, f"{tick:g}")
    for y in (TOP, TOP + STRIPE, BOTTOM):
        drawing.rule((across.begin, y), (across.end, y))
    drawing.text((across.begin + across.end) // 2, BOTTOM + 42, label)
    drawing.text(across.begin + 150, TOP - 10, "perplexity; in the stripe: throughput only")


NEAR = 22
"""Pixels up to which a number needs no line to its mark."""


class Labels:
    """Numbers beside ``marks``, none on another or on a mark."""

    def __init__(self, drawing: Drawing, marks: Sequence[tuple[int, int]]):
        self._drawing = drawing
        self._taken: list[tuple[float, float, float, float]] = [
            (x - 6, x + 6, y - 6, y + 6) for x, y in marks
        ]

    def put(self, x: int, y: int, text: str) -> None:
        """As near to ``x``, ``y`` as there is room."""
        half = 4.5 * len(text) + 1
        for dx, dy in self._around():
            box = (x + dx - half, x + dx + half, y + dy - 11, y + dy + 4)
            free = all(box[1] < a or b < box[0] or box[3] < c or d < box[2] for a, b, c, d in self._taken)
            if free and box[2] >= TOP and box[3] <= BOTTOM:
                self._taken.append(box)
                if max(abs(dx), abs(dy)) > NEAR:
                    self._drawing.rule((x, y), (x + dx, y + dy - 4))
                self._drawing.text(x + dx, y + dy, text)
                return

    @staticmethod
    def _around() -> Iterator[tuple[int, int]]:
        for far in range(15, 200, 6):
            for turn in range(16):
                angle = turn * math.pi / 8
                yield round(far * math.cos(angle)), 4 - round(far * math.sin(angle))


def _legend(drawing: Drawing, ports: Sequence[Port]) -> None:
    names = [f"its array at {perplexity.CLOCK:g} MHz", *(f"{port.board}, at most" for port in ports)]
    for place, (name, kind) in enumerate(zip(names, KINDS, strict=False)):
        x = 130 + 250 * place
        drawing.dot(x - 90, 504, kind)
        drawing.text(x + 10, 508, name)


PICTURES: dict[str, Callable[[], str]] = {"perplexity.svg": perplexity_picture}
"""By file in the documents."""
