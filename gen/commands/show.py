"""``gatemill show CONFIG``."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from gen.commands.common import JsonOption, SetOption, emit
from gen.errors import RequestError


def show(
    config: Annotated[
        str | None, typer.Argument(metavar="[CONFIG]", help="A preset's name or a TOML file.")
    ] = None,
    overrides: SetOption = None,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON schema of configuration files.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show a configuration with all its values, and what follows from it."""
    from gen import config as configuration

    if schema:
        print(json.dumps(configuration.schema(), indent=2))
        return
    if config is None:
        raise RequestError("CONFIG is missing: must be a preset's name or a TOML file (see gatemill presets)")
    from gen import manifest, report

    document = manifest.describe(configuration.load(config, overrides or []))
    emit(document, as_json=as_json, render=lambda: report.configuration(document))
