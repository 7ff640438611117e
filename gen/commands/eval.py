"""``gatemill eval MODEL``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from gen.commands import precision
from gen.commands.common import (
    JsonOption,
    SetOption,
    emit,
    integer,
    megahertz,
    model_path,
    note,
    output_folder,
    progress_bar,
    write_files,
)
from gen.errors import RequestError

FORMATS = "fp32,q4_1"


def evaluate(
    model: precision.ModelArgument,
    *,
    config: Annotated[
        list[str],
        typer.Option(
            "--config",
            metavar="CONFIG",
            help="A preset or a TOML file; a format goes to the first that has it.",
        ),
    ],
    formats: Annotated[
        str,
        typer.Option(
            metavar="A,B",
            help="Formats of weights; each also as WEIGHTS/ACTIVATIONS and with +int8, +kivi4, +kivi2 or +array.",
        ),
    ] = FORMATS,
    format: Annotated[
        list[str] | None,
        typer.Option(
            "--format", metavar="TEXT", help="One more: attn=A,ffn=B,head=C, or FILE.toml of `search`."
        ),
    ] = None,
    text: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="What the model reads; Python's pydoc_data.topics by default."),
    ] = None,
    tokens: Annotated[int, typer.Option(metavar="T", help="Of the text, at most.")] = 256,
    window: Annotated[int, typer.Option(metavar="W", help="Tokens after which the model begins anew.")] = 256,
    simulate: Annotated[
        int,
        typer.Option(
            metavar="N", help="Tokens that the generated Verilog reads, too: the logits must be equal."
        ),
    ] = 0,
    clock: precision.ClockOption = precision.CLOCK,
    interval: precision.IntervalOption = 1,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="DIR", help="Folder for eval.json and eval.svg.")
    ] = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what formats make of a model: perplexity of the golden model, bits, and tokens per second of the accelerator."""
    integer("--tokens", tokens, 2, 1 << 20)
    integer("--window", window, 2, 1 << 13)
    integer("--simulate", simulate, 0, min(tokens, window) - 1)
    integer("--interval", interval, 1, 1 << 10)
    megahertz(clock)
    from gen import config as configuration
    from gen.chat.network import check_context
    from gen.models.file import ModelFileError
    from gen.precision import figures, linears, perplexity
    from gen.precision.study import read_text, read_tokens

    configs = [configuration.load(one, overrides or []) for one in config]
    opened = linears.load(model_path(model, "GGUF"))
    words = figures.topics() if text is None else read_text(text)
    folder = output_folder(output) if output is not None else None
    try:
        read = read_tokens(opened, words, tokens)
        check_context(opened, "--window", min(window, len(read)))
        windows = [read[i : i + window] for i in range(0, len(read) - 1, window)]
        asked = [one.strip() for one in formats.split(",")] + (format or [])
        setups = [
            None if one == perplexity.FLOAT else perplexity.setup(one, configs, opened.names, interval)
            for one in asked
        ]
        rows: list[dict[str, Any]] = []
        last: tuple[Hashable, dict[str, Any]] | None = None
        with progress_bar() as progress:
            for one in setups:
                if one is not None and (last is None or last[0] != one.layers):
                    last = one.layers, perplexity.linears(opened, one, progress)
                layers = last[1] if last is not None else {}
                rows.append(
                    figures.row(
                        opened,
                        one,
                        layers,
                        windows,
                        clock=clock,
                        simulate=simulate,
                        progress=progress,
                        notify=note,
                    )
                )
                note(f"{rows[-1]['name']}: {rows[-1]['perplexity']:.4g}")
    except ModelFileError as error:
        raise RequestError(f"MODEL {model!r}: must be a Llama that can be read ({error})") from None
    figures.judge(rows)
    document = {
        "model": model,
        "text": "pydoc_data.topics" if text is None else str(text),
        "sha256": hashlib.sha256(words.encode()).hexdigest(),
        "tokens": len(read),
        "window": window,
        "clock_mhz": clock,
        "rows": rows,
    }
    if folder is not None:
        from gen.precision.plots import perplexities

        picture = perplexities(rows, f"{model}, {len(read)} tokens of {document['text']}")
        contents = {"eval.json": (json.dumps(document, indent=2) + "\n").encode(), "eval.svg": picture}
        note(f"wrote {', '.join(write_files(folder, contents))}")
    emit(document, as_json=as_json, render=lambda: _report(document))
    simulated = [row["simulated"] for row in rows if row["simulated"]]
    if any(not one["equal"] or one["cycle_error"] for one in simulated):
        raise typer.Exit(1)


def _report(document: Mapping[str, Any]) -> object:
    from gen.report import table

    def number(value: float | None, digits: int) -> str:
        return "-" if value is None else f"{value:,.{digits}f}"

    lines = []
    for row in document["rows"]:
        ran = row["simulated"]
        lines.append(
            [
                row["name"],
                row["configuration"] or "-",
                ", ".join(row["activations"] or ["fp32"]),
                row["cache"],
                row["note"]
                + (f" {ran['tokens']} tokens {'equal' if ran['equal'] else 'DIFFER'}" if ran else ""),
                number(row["bits"], 2),
                number(row["mib"], 1),
                f"{row['perplexity']:.4g}",
                number(row["cycles"], 0),
                number(row["tokens_per_second"], 2),
            ]
        )
    columns = [
        "format",
        "array",
        "activations",
        "cache",
        "",
        "bits",
        "MiB",
        "perplexity",
        "cycles",
        "tokens/s",
    ]
    title = f"{document['model']}: {document['tokens']} tokens of {document['text']}, {document['clock_mhz']:g} MHz"
    return table(columns, lines, title=title, numbers=5, wrapped=("activations", ""))
