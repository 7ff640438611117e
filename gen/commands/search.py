"""``gatemill search MODEL``."""

from __future__ import annotations

import json
import shlex
from collections import Counter
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
    integer,
    note,
    output_file,
    progress_bar,
    write_files,
)
from gen.errors import RequestError


def search(
    model: precision.ModelArgument,
    *,
    config: precision.ConfigOption,
    latency: Annotated[float | None, typer.Option(metavar="MS", help="Of a token, at most.")] = None,
    cycles: Annotated[int | None, typer.Option(metavar="N", help="Of a token, at most.")] = None,
    size: Annotated[float | None, typer.Option(metavar="MIB", help="Of all weights, at most.")] = None,
    output: Annotated[
        Path,
        typer.Option("-o", "--output", metavar="FILE.toml", help="The assignment; beside it .json and .svg."),
    ],
    formats: precision.FormatsOption = None,
    activations: ActivationsOption = None,
    sensitivity: precision.SensitivityOption = "logits",
    text: precision.TextOption = None,
    tokens: precision.TokensOption = 64,
    features: precision.FeaturesOption = 192,
    points: Annotated[int, typer.Option(metavar="N", help="Budgets of the picture's front.")] = 13,
    clock: precision.ClockOption = precision.CLOCK,
    interval: precision.IntervalOption = 1,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Choose a format for every layer: least error within a budget of cycles or bytes, by integer linear programming."""
    asked = precision.Asked(
        model=model, config=config, overrides=overrides or [], formats=formats, activations=activations,
        sensitivity=sensitivity, text=text, tokens=tokens, features=features, interval=interval,
        clock=clock,
    )  # fmt: skip
    asked.check()
    budgets = _budgets(latency, cycles, size, clock)
    integer("--points", points, 2, 200)
    output_file(output, ".toml")
    from gen.models import assignment
    from gen.precision import search as solver

    with progress_bar() as progress:
        prepared = asked.prepare(None, progress)
    study, costs = prepared.study, prepared.costs
    table, measure = study.table, next(iter(budgets))
    found = solver.solve(table, budgets)
    line = solver.front(table, measure, points)
    uniform = dict(zip(table.formats, table.uniform(), strict=True))
    document: dict[str, Any] = {
        "model": model,
        "configuration": costs.config.name,
        "budgets": budgets,
        "clock_mhz": clock,
        "activations": costs.pair(table.formats[0])[0].name,
        "formats": list(table.formats),
        "sensitivity": study.probe,
        "chosen": precision.summary(found, clock) | {"gap": found.gap},
        "uniform": [{"format": name} | precision.summary(one, clock) for name, one in uniform.items()],
        "front": [precision.summary(one, clock) for one in line],
        "layers": precision.rows(study, found),
    }
    notes = [
        f"{model} on {costs.config.name}: {found.cycles:,} cycles a token, {found.bytes / (1 << 20):.1f} MiB of weights",
        _command(model, config, overrides or [], activations, output),
    ]
    from gen.precision.plots import front

    title = f"{model} on {costs.config.name}"
    contents = {
        output.name: assignment.toml(found.formats, notes).encode(),
        f"{output.stem}.json": (json.dumps(document, indent=2) + "\n").encode(),
        f"{output.stem}.svg": front(measure, line, uniform, found, title),
    }
    note(f"wrote {', '.join(write_files(output.parent, contents))}")
    emit(document, as_json=as_json, render=lambda: _report(document))


def _command(model: str, config: str, overrides: list[str], activations: str | None, output: Path) -> str:
    """What has the model speak so."""
    words = ["gatemill", "chat", model, "--config", config]
    words += [word for value in overrides for word in ("--set", value)]
    words += ["--activations", activations] if activations else []
    return shlex.join([*words, "--format", output.name])


def _budgets(latency: float | None, cycles: int | None, size: float | None, clock: float) -> dict[str, int]:
    """By measure; the first is what the picture is drawn over."""
    if latency is not None and cycles is not None:
        raise RequestError("--latency, --cycles: at most one of them must be given")
    for option, value in (("--latency", latency), ("--cycles", cycles), ("--size", size)):
        if value is not None and not 0 < value < 1e12:
            raise RequestError(f"{option} {value!r}: must be a number above 0 and below 1e12")
    found: dict[str, int] = {}
    if latency is not None:
        cycles = int(latency * clock * 1000)
    if cycles is not None:
        found["cycles"] = cycles
    if size is not None:
        found["bytes"] = int(size * precision.MIB)
    if not found:
        raise RequestError("--latency, --cycles, --size: at least one of them must be given")
    return found


def _report(document: Mapping[str, Any]) -> object:
    from rich.console import Group
    from rich.text import Text

    from gen.report import table

    def row(name: str, one: Mapping[str, Any]) -> list[str]:
        return [
            name,
            f"{one['cycles']:,}",
            f"{one['ms']:.2f}",
            f"{one['tokens_per_second']:.2f}",
            f"{one['mib']:.1f}",
            f"{one['error']:.4g}",
        ]

    lines = [row("chosen", document["chosen"])]
    lines += [row(one["format"], one) for one in document["uniform"]]
    columns = ["formats", "cycles", "ms", "tokens/s", "MiB", "error"]
    title = f"{document['model']} on {document['configuration']} at {document['clock_mhz']:g} MHz"
    used: dict[str, Counter[str]] = {}
    for one in document["layers"]:
        used.setdefault(one["layer"].rsplit(".", 1)[-1], Counter())[one["format"]] += 1
    kinds = [
        [kind, ", ".join(f"{count} x {name}" for name, count in sorted(counts.items()))]
        for kind, counts in used.items()
    ]
    return Group(
        table(columns, lines, title=title, numbers=5),
        table(["layers", "chosen"], kinds),
        Text(_error(document)),
    )


def _error(document: Mapping[str, Any]) -> str:
    if document["sensitivity"] is None:
        return "error: of each layer's results, relative, summed over layers"
    return f"error: divergence of the next token in nats, from each layer alone in {document['sensitivity']}"
