"""Pictures with axes, by Matplotlib: SVG files that are the same bytes for the same numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from gen.evaluation import ORIGINAL, LayerError
from hw.formats import Format, PairFormat

COLOURS = ("#1b7f5c", "#d9822b", "#2f6fb0", "#a45fb0", "#c0392b", "#7f8c8d")


def svg(figure: Figure) -> bytes:
    """The picture, without a date and with the same names for its parts each time."""
    content = BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "gatemill", "svg.fonttype": "path"}):
        figure.savefig(content, format="svg", metadata={"Date": None}, bbox_inches="tight")
    return content.getvalue()


def levels(format: Format) -> bytes:
    """Where a format's levels lie on the line of numbers; a line for each table, and one for outliers."""
    unit = 2.0**format.unit
    lines = [
        (
            f"selector {number}" if len(format.tables) > 1 else "levels",
            [v * unit for v in table if v is not None],
        )
        for number, table in enumerate(format.tables)
    ]
    if isinstance(format, PairFormat):
        lines.append(("outliers", [v * unit for v in format.outliers if v is not None]))
    figure = Figure(figsize=(9, 1.3 + 0.5 * len(lines)))
    axes = figure.add_subplot()
    for place, (_, values) in enumerate(lines):
        axes.plot(values, [place] * len(values), "|", markersize=18, color=COLOURS[place % len(COLOURS)])
    axes.set_yticks(range(len(lines)), [name for name, _ in lines])
    axes.set_ylim(len(lines) - 0.5, -0.5)
    span = max(abs(v) for _, values in lines for v in values)
    smallest = min(abs(v) for _, values in lines for v in values if v)
    if span / smallest > 1000:
        axes.set_xscale("symlog", linthresh=smallest)
    axes.set_xlabel("what a code stands for, before its scale")
    axes.set_title(f"{format.name}: {format.bits_per_weight:.4g} bits per weight", loc="left")
    axes.grid(axis="x", alpha=0.3)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    return svg(figure)


def quality(
    rows: Sequence[LayerError], formats: Sequence[Format], perplexities: Mapping[str, float], title: str
) -> bytes:
    """A line for each format, named with its bits per weight: noise of every layer and, if it is known, perplexity beside it.

    A format without any noise has the word "exact" in the place of its layers.
    """
    figure = Figure(figsize=(11 if perplexities else 7, 0.9 + 0.42 * max(4, len(formats))))
    axes: Any = figure.subplots(1, 2 if perplexities else 1, squeeze=False)[0]
    names = [f"{format.name} ({format.bits_per_weight:.4g} b)" for format in formats]
    per_format = [
        [row.sqnr_db for row in rows if row.format == format.name and row.sqnr_db is not None]
        for format in formats
    ]
    for place, values in enumerate(per_format):
        colour = COLOURS[place % len(COLOURS)]
        axes[0].plot(values, [place] * len(values), "o", markersize=4, alpha=0.35, color=colour)
        if not values:
            axes[0].text(0.02, place, "exact", va="center", transform=axes[0].get_yaxis_transform())
        else:
            axes[0].plot(
                [np.median(values)], [place], "|", markersize=20, markeredgewidth=2.5, color="#1f2933"
            )
    axes[0].set_yticks(range(len(names)), names)
    axes[0].set_xlabel("signal to quantisation noise of each layer, dB (bar: median); more is better")
    axes[0].set_ylim(len(names) - 0.5, -0.5)
    if perplexities:
        kept = [(place, perplexities[f.name]) for place, f in enumerate(formats) if f.name in perplexities]
        axes[1].barh([p for p, _ in kept], [v for _, v in kept], color="#8cc9a1")
        for place, value in kept:
            axes[1].text(value, place, f" {value:.4g}", va="center")
        if ORIGINAL in perplexities:
            axes[1].axvline(perplexities[ORIGINAL], color="#1f2933", linestyle="--", linewidth=1)
            axes[1].set_title(f"as in the file: {perplexities[ORIGINAL]:.4g}", fontsize=9, loc="left")
        if max(v for _, v in kept) > 20 * min(v for _, v in kept):
            axes[1].set_xscale("log")
        axes[1].set_yticks(range(len(names)), [""] * len(names))
        axes[1].set_ylim(len(names) - 0.5, -0.5)
        axes[1].set_xlabel("perplexity; less is better")
    for one in axes:
        one.grid(axis="x", alpha=0.3)
        for side in ("top", "right"):
            one.spines[side].set_visible(False)
    figure.suptitle(title, x=0.02, ha="left")
    figure.tight_layout()
    return svg(figure)


def grouped(
    places: Sequence[str],
    panels: Mapping[str, Mapping[str, Sequence[float]]],
    unit: str,
    title: str,
    *,
    digits: int = 2,
) -> bytes:
    """A panel above the other, by its name; in each, a group of bars for every place, a bar for every name."""
    figure = Figure(figsize=(11, 0.6 + 2.8 * len(panels)))
    axes: Any = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
    for one, (panel, several) in zip(axes, panels.items(), strict=True):
        width = 0.84 / len(several)
        for number, (name, values) in enumerate(several.items()):
            left = [place - 0.42 + (number + 0.5) * width for place in range(len(places))]
            bars = one.bar(left, values, width, label=name, color=COLOURS[number % len(COLOURS)])
            one.bar_label(bars, fmt=f"%.{digits}f", fontsize=6)
        one.set_xticks(range(len(places)), places)
        one.set_ylabel(unit)
        one.set_title(panel, loc="left", fontsize=10)
        one.grid(axis="y", alpha=0.3)
        one.set_axisbelow(True)
        for side in ("top", "right"):
            one.spines[side].set_visible(False)
    figure.suptitle(title, x=0.02, ha="left")
    figure.tight_layout()
    labels = axes[0].get_legend_handles_labels()
    figure.legend(*labels, loc="upper right", ncols=len(labels[0]), fontsize=8, frameon=False)
    return svg(figure)


def pareto(
    groups: Mapping[str, Sequence[tuple[float, float]]],
    front: Sequence[tuple[float, float]],
    axes_names: tuple[str, str],
    title: str,
) -> bytes:
    """Points of each group by its name, and the line through those of the Pareto front, which are ringed."""
    figure = Figure(figsize=(9, 5.4))
    axes: Any = figure.add_subplot()
    for number, (name, values) in enumerate(groups.items()):
        colour, marker = COLOURS[number % len(COLOURS)], "osD^v"[number // len(COLOURS) % 5]
        axes.plot(*zip(*values, strict=True), marker, markersize=5, alpha=0.7, label=name, color=colour)
    if front:
        best = sorted(front)
        axes.plot(*zip(*best, strict=True), "-", linewidth=1, color="#1f2933", zorder=0)
        axes.plot(*zip(*best, strict=True), "o", markersize=10, fillstyle="none", color="#1f2933")
    for axis, values in zip(
        "xy", zip(*(one for some in groups.values() for one in some), strict=True), strict=True
    ):
        if min(values) > 0 and max(values) > 8 * min(values):
            getattr(axes, f"set_{axis}scale")("log")
    axes.set_xlabel(axes_names[0])
    axes.set_ylabel(axes_names[1])
    axes.set_title(title, loc="left", fontsize=10)
    axes.grid(alpha=0.3)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    return svg(figure)


def lines(
    panels: Mapping[str, Mapping[str, Sequence[float]]],
    places: Sequence[str],
    axes_names: tuple[str, str],
    title: str,
) -> bytes:
    """A panel beside the other, by its name, all with the same axis; in each a line for every name, the least point ringed."""
    figure = Figure(figsize=(5.5 * len(panels), 4.2))
    axes: Any = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for one, (panel, several) in zip(axes, panels.items(), strict=True):
        for number, (name, values) in enumerate(several.items()):
            one.plot(range(len(places)), values, "o-", label=name, color=COLOURS[number % len(COLOURS)])
        low, place = min((value, place) for values in several.values() for place, value in enumerate(values))
        one.plot([place], [low], "o", markersize=13, fillstyle="none", color="#1f2933")
        one.annotate(f"{low:.1f}", (place, low), textcoords="offset points", xytext=(0, -16), ha="center")
        one.set_xticks(range(len(places)), places)
        one.set_xlabel(axes_names[0])
        one.set_title(panel, loc="left", fontsize=10)
        one.grid(alpha=0.3)
        for side in ("top", "right"):
            one.spines[side].set_visible(False)
    axes[0].set_ylabel(axes_names[1])
    axes[0].set_ylim(bottom=0)
    axes[-1].legend(frameon=False)
    figure.suptitle(title, x=0.02, ha="left")
    figure.tight_layout()
    return svg(figure)
