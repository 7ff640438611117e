"""``gatemill presets``."""

from __future__ import annotations

from gen.commands.common import JsonOption, emit


def presets(as_json: JsonOption = False) -> None:
    """List the configurations that come with the program."""
    from gen import config

    rows = []
    for name in config.presets():
        loaded = config.load(name)
        rows.append(
            {
                "name": name,
                "family": loaded.family,
                "array": loaded.array.model_dump(),
                "summary": loaded.summary,
            }
        )
    emit(rows, as_json=as_json, render=lambda: _table(rows))


def _table(rows: list[dict]) -> object:
    from gen.report import table

    return table(
        ["name", "family", "array", "summary"],
        [[r["name"], r["family"], _sizes(r["array"]), r["summary"]] for r in rows],
    )


def _sizes(array: dict) -> str:
    """What fits a table; lists of formats do not."""
    return ", ".join(str(value) for value in array.values() if not isinstance(value, list))
