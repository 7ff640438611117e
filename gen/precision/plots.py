"""Pictures of errors against cycles, and of perplexities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from gen.plots import COLOURS, svg
from gen.precision.search import Choice

UNITS = {"cycles": (1e6, "million cycles for a token"), "bytes": (float(1 << 20), "MiB of weights")}


def front(
    measure: str, points: Sequence[Choice], uniform: Mapping[str, Choice], chosen: Choice | None, title: str
) -> bytes:
    """Choices over budgets as a line, formats that all layers share as named points, the one chosen ringed."""
    unit, label = UNITS[measure]
    figure = Figure(figsize=(8.5, 5))
    axes = figure.add_subplot()

    def place(one: Choice) -> tuple[float, float]:
        return getattr(one, measure) / unit, one.error

    line = [place(one) for one in points]
    axes.plot(*zip(*line, strict=True), "o-", markersize=4, color=COLOURS[0], label="a format for each layer")
    for name, one in uniform.items():
        x, y = place(one)
        axes.plot([x], [y], "D", markersize=5, color=COLOURS[1])
        axes.annotate(name, (x, y), textcoords="offset points", xytext=(6, 4), fontsize=8)
    axes.plot([], [], "D", color=COLOURS[1], label="one format for all layers")
    if chosen is not None:
        x, y = place(chosen)
        axes.plot([x], [y], "o", markersize=13, fillstyle="none", color="#1f2933", label="chosen")
    axes.set_yscale("log")
    axes.set_xlabel(label)
    axes.set_ylabel("error, summed over layers")
    axes.set_title(title, loc="left", fontsize=10)
    axes.legend(frameon=False)
    _plain(axes)
    return svg(figure)


def layers(rows: Sequence[Mapping[str, Any]], title: str) -> bytes:
    """Layer by layer: cycles, signal to noise, and use of array and bus, one panel above the other."""
    figure = Figure(figsize=(12, 7))
    axes: Any = figure.subplots(3, 1, sharex=True)
    places = range(len(rows))
    axes[0].bar(places, [row["cycles"] / 1e3 for row in rows], width=1, color=COLOURS[2])
    axes[0].set_ylabel("thousand cycles")
    axes[0].set_yscale("log")
    heard = [(place, row["sqnr_db"]) for place, row in enumerate(rows) if row["sqnr_db"] is not None]
    kinds = sorted({row["layer"].rsplit(".", 1)[-1] for row in rows})
    for number, kind in enumerate(kinds):
        some = [(p, db) for p, db in heard if rows[p]["layer"].rsplit(".", 1)[-1] == kind]
        axes[1].plot(*zip(*some, strict=True), "o", markersize=4, color=f"C{number}", label=kind)
    axes[1].set_ylabel("dB of result to its error")
    axes[1].legend(frameon=False, ncols=len(kinds), fontsize=7)
    for key, name, colour in (("array", "array", COLOURS[0]), ("bus", "bus", COLOURS[1])):
        axes[2].plot(places, [100 * row["utilisation"][key] for row in rows], color=colour, label=name)
    axes[2].set_ylabel("% in use")
    axes[2].set_ylim(0, 105)
    axes[2].legend(frameon=False, ncols=2, fontsize=8)
    axes[2].set_xlabel("layers in the order of a forward pass")
    for one in axes:
        _plain(one)
    figure.suptitle(title, x=0.02, ha="left")
    figure.tight_layout()
    return svg(figure)


def perplexities(rows: Sequence[Mapping[str, Any]], title: str) -> bytes:
    """Perplexity against bits of a weight and, where they are known, against tokens per second."""
    panels = [("bits", "bits of a weight in memory")]
    if any(row["tokens_per_second"] for row in rows):
        panels.append(("tokens_per_second", "tokens per second, projected"))
    figure = Figure(figsize=(6 * len(panels), 5))
    axes: Any = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for one, (key, label) in zip(axes, panels, strict=True):
        for number, row in enumerate(row for row in rows if row[key]):
            broken = row["note"] == "throughput only"
            colour = COLOURS[5] if broken else COLOURS[number % 5]
            one.plot([row[key]], [row["perplexity"]], "x" if broken else "o", color=colour)
            one.annotate(
                row["name"], (row[key], row["perplexity"]), textcoords="offset points", xytext=(5, 3), fontsize=7
            )  # fmt: skip
        for row in rows:
            if row["bits"] is None:
                one.axhline(
                    row["perplexity"], color="#1f2933", linestyle="--", linewidth=1, label=row["name"]
                )
        one.set_yscale("log")
        one.set_xlabel(label)
        _plain(one)
    if axes[0].get_legend_handles_labels()[0]:
        axes[0].legend(frameon=False)
    axes[0].set_ylabel("perplexity; less is better (crosses: throughput only)")
    figure.suptitle(title, x=0.02, ha="left")
    figure.tight_layout()
    return svg(figure)


def _plain(axes: Any) -> None:
    axes.grid(alpha=0.3)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
