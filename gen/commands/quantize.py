"""``gatemill quantize MODEL``."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gen.commands.common import (
    JsonOption,
    emit,
    integer,
    model_path,
    note,
    output_folder,
    progress_bar,
    write_files,
)
from gen.errors import RequestError

if TYPE_CHECKING:
    from gen.evaluation import LayerError, Model
    from hw.formats import Format

DEFAULT = "int8,int4:g128,fp4-mixed,mxfp4,nvfp4,ovp4-int4,int3:g128,fp3-mixed"
MOST_ROWS = 60
"""Rows of a table that are printed; a longer one is summed up."""


def quantize(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="A fetched model's name (smollm2), or a GGUF or safetensors file."
        ),
    ],
    formats: Annotated[str, typer.Option(metavar="A,B", help="Formats, see `gatemill formats`.")] = DEFAULT,
    layers: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Layers, with * and ?: blk.0.*,blk.1.attn_q. By default all but embedding and output matrices.",
        ),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="For every chosen format whose rule has it: rounding=nearest, arithmetic=fp16.",
        ),
    ] = None,
    perplexity: Annotated[
        bool | None,
        typer.Option(
            help="Run the model, only these layers quantised, on a text; by default when no layers are chosen and it can be run."
        ),
    ] = None,
    text: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="What it reads; a page that comes with the program by default."),
    ] = None,
    tokens: Annotated[int, typer.Option(metavar="T", help="At most so many tokens of the text.")] = 2048,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="DIR", help="Folder for quantize.json and quantize.svg."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show what formats make of a real model: error of each layer, and perplexity."""
    chosen = _formats(formats)
    options = _options(option or [], chosen)
    integer("--tokens", tokens, 2, 1 << 20)
    from gen import evaluation

    opened = evaluation.Model(model_path(model, "GGUF or safetensors"))
    names = opened.chosen([one for one in (layers or "").split(",") if one])
    wanted = opened.llama is not None and layers is None if perplexity is None else perplexity
    read = _tokens(opened, text, tokens) if wanted else []
    folder = output_folder(output) if output is not None else None
    perplexities: dict[str, float] = {}
    with progress_bar() as progress:
        rows = evaluation.errors(opened, names, chosen, options, progress)
        if wanted:
            for each in (None, *chosen):
                key = each.name if each else evaluation.ORIGINAL
                perplexities[key] = evaluation.perplexity(opened, names, read, each, options, progress)
    source = None if not wanted else str(text) if text else "gen/data/text.txt"
    document = evaluation.document(rows, perplexities, options=options, text=source, tokens=len(read))
    if folder is not None:
        from gen.plots import quality

        picture = quality(rows, chosen, perplexities, f"{model}, {len(names)} layers")
        content = {"quantize.json": (json.dumps(document, indent=2) + "\n").encode(), "quantize.svg": picture}
        note(f"wrote {', '.join(write_files(folder, content))}")
    emit(document, as_json=as_json, render=lambda: _report(rows, chosen, perplexities))


def _formats(names: str) -> list[Format]:
    from hw.formats import find

    found: dict[str, Format] = {}
    for name in names.split(","):
        if not name.strip():
            raise RequestError(f"--formats {names!r}: must be names with one comma between two")
        try:
            format = find(name.strip().lower())
        except ValueError as error:
            raise RequestError(f"--formats {name!r}: {error}") from None
        found.setdefault(format.name, format)
    return list(found.values())


def _options(settings: list[str], formats: list[Format]) -> dict[str, str]:
    from gen.evaluation import keywords

    known = sorted({key for format in formats for key in keywords(format)})
    options: dict[str, str] = {}
    for setting in settings:
        key, separator, value = setting.partition("=")
        if not separator or not value:
            raise RequestError(f"--option {setting!r}: must be KEY=VALUE")
        if key not in known:
            raise RequestError(
                f"--option {setting!r}: must be an option of a chosen format ({', '.join(known) or 'they have none'})"
            )
        if key in options:
            raise RequestError(f"--option {setting!r}: must be given once, {key} is {options[key]} already")
        options[key] = value
    return options


def _tokens(model: Model, text: Path | None, most: int) -> list[int]:
    from gen.models.file import ModelFileError

    if model.llama is None:
        raise RequestError(
            "--perplexity: must be left out for a model that is not a GGUF file of architecture llama"
        )
    try:
        content = files("gen.data").joinpath("text.txt") if text is None else text
        words = content.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"--text {str(text)!r}: must be a text file that can be read ({error})") from None
    try:
        read = model.llama.tokenizer.encode(words)[:most]
    except ModelFileError as error:
        raise model.refusal(error) from None
    if len(read) < 2:
        raise RequestError(f"--text {str(text)!r}: must have at least 2 tokens, not {len(read)}")
    return read


def _report(rows: list[LayerError], formats: list[Format], perplexities: dict[str, float]) -> object:
    from rich.console import Group

    from gen.evaluation import ORIGINAL
    from gen.report import table

    def number(value: float | None) -> str:
        return "exact" if value is None else f"{value:.2f}"

    parts = []
    if len(rows) <= MOST_ROWS:
        parts.append(
            table(
                ["layer", "format", "SQNR dB", "max error", "cosine"],
                [
                    [r.layer, r.format, number(r.sqnr_db), f"{r.max_error:.3g}", f"{r.cosine:.6f}"]
                    for r in rows
                ],
                numbers=3,
            )
        )
    summary: list[list[str]] = []
    for format in formats:
        own = [row for row in rows if row.format == format.name]
        noisy = [row.sqnr_db for row in own if row.sqnr_db is not None]
        summary.append(
            [
                format.name,
                f"{format.bits_per_weight:.4g}",
                f"{sum(noisy) / len(noisy):.2f}" if noisy else "exact",
                f"{min(noisy):.2f}" if noisy else "exact",
                f"{min(row.cosine for row in own):.6f}",
                _text(perplexities.get(format.name)),
            ]
        )
    heading = ["format", "bits", "mean dB", "worst dB", "least cosine", "perplexity"]
    if ORIGINAL in perplexities:
        summary.insert(0, [ORIGINAL, "-", "-", "-", "-", _text(perplexities[ORIGINAL])])
    parts.append(table(heading, summary, numbers=5))
    return Group(*parts)


def _text(value: Any) -> str:
    return "-" if value is None else f"{value:.2f}"
