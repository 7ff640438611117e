"""``gatemill reproduce PAPER``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gen.commands.common import JsonOption, emit, note, output_file, progress_bar, write_files
from gen.errors import RequestError
from gen.reproduce import PAPERS, load


def reproduce(
    paper: Annotated[str, typer.Argument(metavar="PAPER", help=f"{', '.join(PAPERS)}.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", "--picture", metavar="FILE", help="Draw it: FILE.svg.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Work out anew what a paper publishes, and set it beside ours. Exit status 1: a claim does not hold."""
    try:
        module = load(paper)
    except ValueError as error:
        raise RequestError(str(error)) from None
    place = output_file(output, ".svg") if output is not None else None
    with progress_bar() as progress:
        document = module.document(progress)
    if place is not None:
        note(f"wrote {write_files(place.parent, {place.name: module.picture(document)})[0]}")
    emit(document, as_json=as_json, render=lambda: module.render(document))
    if any(row["holds"] is False for row in document["claims"]):
        raise typer.Exit(1)
