"""``gatemill generate CONFIG -o DIR``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gen.commands.common import ConfigArgument, JsonOption, SetOption, emit, note, output_folder, write_files


def generate(
    config: ConfigArgument,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Folder for the files.")],
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the accelerator as one Verilog-2005 file, and a JSON manifest of all that one must know."""
    from gen import config as configuration
    from gen.manifest import describe

    loaded = configuration.load(config, overrides or [])
    folder = output_folder(output)
    from gen.generate import generate as make

    made = make(loaded, notify=note)
    paths = write_files(folder, made.files)
    document = {
        "files": paths,
        "top": made.top,
        "parameters": describe(loaded)["parameters"],
        "digest": loaded.digest,
    }
    emit(document, as_json=as_json, render=lambda: "\n".join(paths))
