"""``gatemill formats [NAME]``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gen.commands.common import JsonOption, emit, note, output_file, write_files
from gen.errors import RequestError

if TYPE_CHECKING:
    from hw.formats import Format

SHOWN_CODES = 64
"""A table of more codes is not printed, but is in the JSON document."""
LINE = 64
"""Characters of the line on which levels are drawn."""
NOBODY = "none yet"
"""Stands for the families of a format that none takes."""


def formats(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="A format, e.g. fp4-er or int4:g64.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Draw NAME's levels: FILE.svg.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the number formats with bits per weight, range and who takes them; or show one's codes and levels."""
    from hw.formats import FORMATS, find

    if name is None:
        if output is not None:
            raise RequestError(f"--output {str(output)!r}: must be given with the NAME of a format")
        rows = [describe(format) for format in FORMATS.values()]
        emit(rows, as_json=as_json, render=lambda: _list(rows))
        return
    try:
        format = find(name.lower())
    except ValueError as error:
        raise RequestError(str(error)) from None
    document = describe(format) | {"codes": _codes(format)}
    if output is not None:
        if not output.suffix:
            raise RequestError(f"--output {str(output)!r}: must end in .svg")
        place = output_file(output, ".svg")
        from gen.plots import levels

        note(f"wrote {write_files(place.parent, {place.name: levels(format)})[0]}")
    emit(document, as_json=as_json, render=lambda: _one(format, document))


def describe(format: Format) -> dict[str, Any]:
    """A format as plain data.

    Its families are those that take it exactly as it is: blocks and who shares scales included. ``taken_as`` has, for others that
    take it by this name, the format that they take instead.
    """
    from gen.families import FAMILIES, load_family

    several = {name: load_family(name) for name in FAMILIES}
    families = [name for name, one in several.items() if format in (*one.weights, *one.activations)]
    aliases = {name: one(one.Config(), data_bytes=8).aliases for name, one in several.items()}
    return {
        "name": format.name,
        "bits": format.bits,
        "bits_per_weight": round(format.bits_per_weight, 4),
        "bits_per_row": format.bits_per_row,
        "block": format.block or None,
        "shared": format.shared,
        "scale": format.scale or None,
        "outer": format.outer or None,
        "offset": format.offset or None,
        "range": list(format.range),
        "packing": format.packing,
        "families": families,
        "taken_as": {
            name: known[format.name]
            for name, known in aliases.items()
            if format.name in known and name not in families
        },
        "summary": format.summary,
    }


def _codes(format: Format) -> list[dict[str, Any]]:
    """What each code stands for under each selector; null for one that is no number."""
    from hw.formats import PairFormat

    rows = []
    for code in range(1 << format.bits):
        row: dict[str, Any] = {
            "code": code,
            "values": [
                None if v is None else format.element(v) for v in (table[code] for table in format.tables)
            ],
        }
        if isinstance(format, PairFormat):
            outlier = format.outliers[code]
            row["outlier"] = None if outlier is None else format.element(outlier)
            row["identifier"] = code == format.identifier
        rows.append(row)
    return rows


def _list(rows: list[dict[str, Any]]) -> object:
    from gen.report import table

    return table(
        ["name", "families", "bits", "range", "scale"],
        [
            [
                row["name"],
                "\n".join([*row["families"], *row["taken_as"]]) or NOBODY,
                f"{row['bits_per_weight']:.4g}",
                _range(row),
                _sharing(row),
            ]
            for row in rows
        ],
    )


def _range(row: dict[str, Any]) -> str:
    low, high = row["range"]
    return f"{low:.4g} to {high:.4g}"


def _sharing(row: dict[str, Any]) -> str:
    if row["scale"] is None:
        return "-"
    each = f"{row['scale']}/{row['block'] or row['shared']}"
    return f"{each}, {row['outer']}" if row["outer"] else each


def _one(format: Format, document: dict[str, Any]) -> object:
    from rich.console import Group

    from gen.report import table

    shown = document | {
        "range": _range(document),
        "families": ", ".join(
            [*document["families"], *(f"{name} (as {one})" for name, one in document["taken_as"].items())]
        )
        or NOBODY,
    }
    facts = [
        [key, str(value)]
        for key, value in shown.items()
        if key not in ("codes", "taken_as") and value is not None
    ]
    parts: list[Any] = [table(["what", "value"], facts)]
    if 1 << format.bits > SHOWN_CODES:
        parts.append(f"{1 << format.bits} codes: see --json")
    else:
        count = len(format.tables)
        selectors = [f"selector {number}" for number in range(count)] if count > 1 else ["value"]
        outliers = ["outlier"] if "outlier" in document["codes"][0] else []
        parts.append(
            table(
                ["code", *selectors, *outliers],
                [
                    [
                        f"{row['code']:0{format.bits}b}",
                        *(_value(format, v) for v in row["values"]),
                        *(["victim" if row["identifier"] else _text(row["outlier"])] if outliers else []),
                    ]
                    for row in document["codes"]
                ],
                numbers=1 + len(selectors),
            )
        )
    return Group(*parts, *_lines(format))


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"


def _value(format: Format, value: float | None) -> str:
    return f"{_text(value)}{'' if value is None or value >= format.range[0] else ' (never written)'}"


def _lines(format: Format) -> list[str]:
    """The levels that the rule writes, a line of characters for each table and for outliers, all on one axis below them."""
    from hw.formats import PairFormat

    low, high = format.range
    several = len(format.tables) > 1
    tables = {f"selector {n}" if several else "levels": one for n, one in enumerate(format.tables)}
    if isinstance(format, PairFormat):
        tables["outliers"] = format.outliers
    width = max(map(len, tables))
    lines = []
    for name, integers in tables.items():
        marks = [" "] * LINE
        for value in (format.element(v) for v in integers if v is not None):
            if value >= low:
                marks[round((value - low) / (high - low) * (LINE - 1))] = "|"
        lines.append(f"{name:{width}} {''.join(marks)}".rstrip())
    return [*lines, f"{'':{width}} {f'{low:g}':{LINE - len(f'{high:g}')}}{high:g}"]
