"""``gatemill trace MODEL``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from gen.commands import precision
from gen.commands.common import (
    ActivationsOption,
    JsonOption,
    SetOption,
    emit,
    note,
    output_folder,
    progress_bar,
    write_files,
)

STEPS = 10
"""Layers to widen that are printed."""


def trace(
    model: precision.ModelArgument,
    *,
    config: precision.ConfigOption,
    format: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="TEXT",
            help="Of the layers: a format, attn=A,ffn=B,head=C, or FILE.toml of `search`.",
        ),
    ] = None,
    formats: precision.FormatsOption = None,
    activations: ActivationsOption = None,
    sensitivity: precision.SensitivityOption = "none",
    text: precision.TextOption = None,
    tokens: precision.TokensOption = 64,
    features: precision.FeaturesOption = 192,
    clock: precision.ClockOption = precision.CLOCK,
    interval: precision.IntervalOption = 1,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="DIR", help="Folder for trace.json and trace.svg."),
    ] = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show each layer: cycles, use of array and bus, bytes, error against float, and which to widen first."""
    asked = precision.Asked(
        model=model, config=config, overrides=overrides or [], formats=formats, activations=activations,
        sensitivity=sensitivity, text=text, tokens=tokens, features=features, interval=interval,
        clock=clock,
    )  # fmt: skip
    asked.check()
    folder = output_folder(output) if output is not None else None
    import numpy as np

    from gen.precision import search as solver

    with progress_bar() as progress:
        prepared = asked.prepare(format, progress)
    study, costs, table = prepared.study, prepared.costs, prepared.study.table
    assigned = prepared.assigned or dict.fromkeys(table.layers, table.formats[0])
    current = table.sums(np.array([table.formats.index(assigned[layer]) for layer in table.layers]))
    steps = solver.next_to_widen(table, current, "cycles")
    rows = precision.rows(study, current)
    document: dict[str, Any] = {
        "model": model,
        "configuration": costs.config.name,
        "clock_mhz": clock,
        "activations": costs.pair(table.formats[0])[0].name,
        "sensitivity": study.probe,
        "rows": rows,
        "total": precision.summary(current, clock),
        "widen": [
            {
                "layer": layer,
                "from": current.formats[layer],
                "to": to,
                "error_saved": saved,
                "cycles_more": more,
            }
            for layer, to, saved, more in steps
        ],
    }
    if folder is not None:
        from gen.precision.plots import layers

        picture = layers(rows, f"{model} on {costs.config.name}")
        contents = {"trace.json": (json.dumps(document, indent=2) + "\n").encode(), "trace.svg": picture}
        note(f"wrote {', '.join(write_files(folder, contents))}")
    emit(document, as_json=as_json, render=lambda: _report(document))


def _report(document: Mapping[str, Any]) -> object:
    from rich.console import Group
    from rich.text import Text

    from gen.report import table

    lines = [
        [
            row["layer"],
            row["format"],
            f"{row['cycles']:,}",
            f"{row['utilisation']['array']:.1%}",
            f"{row['utilisation']['bus']:.1%}",
            f"{row['bytes']:,}",
            f"{row['largest_activation']:.4g}",
            "exact" if row["sqnr_db"] is None else f"{row['sqnr_db']:.2f}",
        ]
        for row in document["rows"]
    ]
    columns = ["layer", "format", "cycles", "array", "read bus", "weight bytes", "largest x", "SQNR dB"]
    total = document["total"]
    title = f"{document['model']} on {document['configuration']}, a token"
    steps = [
        [one["layer"], one["from"], one["to"], f"{one['error_saved']:.3g}", f"{one['cycles_more']:,}"]
        for one in document["widen"][:STEPS]
    ]
    return Group(
        table(columns, lines, title=title, numbers=6),
        Text(
            f"{total['cycles']:,} cycles, {total['tokens_per_second']:.2f} tokens/s at {document['clock_mhz']:g} MHz, "
            f"{total['mib']:.1f} MiB of weights"
        ),
        table(["layer", "from", "to", "error saved", "cycles more"], steps, title="Widen first", numbers=2),
    )
