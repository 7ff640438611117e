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
LINE = 72
"""Characters of the line on which levels are drawn."""


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
        place = output_file(output, ".svg")
        from gen.plots import levels

        note(f"wrote {write_files(place.parent, {place.name: levels(format)})[0]}")
    emit(document, as_json=as_json, render=lambda: _one(format, document))


def describe(format: Format) -> dict[str, Any]:
    """A format as plain data."""
    from gen.families import FAMILIES, load_family
    from hw.formats import PairFormat

    unit = 2.0**format.unit
    values = [format.minimum * unit, format.maximum * unit]
    if isinstance(format, PairFormat):
        values += [v * unit for v in format.outliers if v is not None]
    families = [
        name
        for name in FAMILIES
        if format.name.partition(":")[0]
        in {one.name for one in (*load_family(name).weights, *load_family(name).activations)}
    ]
    return {
        "name": format.name,
        "bits": format.bits,
        "bits_per_weight": round(format.bits_per_weight, 4),
        "block": format.block or None,
        "shared": format.shared,
        "scale": format.scale or None,
        "outer": format.outer or None,
        "offset": format.offset or None,
        "range": [min(values), max(values)],
        "packing": format.packing,
        "families": families,
        "summary": format.summary,
    }


def _codes(format: Format) -> list[dict[str, Any]]:
    """What each code stands for under each selector; null for one that is no number."""
    from hw.formats import PairFormat

    unit = 2.0**format.unit
    rows = []
    for code in range(1 << format.bits):
        row: dict[str, Any] = {
            "code": code,
            "values": [None if v is None else v * unit for v in (table[code] for table in format.tables)],
        }
        if isinstance(format, PairFormat):
            outlier = format.outliers[code]
            row["outlier"] = None if outlier is None else outlier * unit
            row["identifier"] = code == format.identifier
        rows.append(row)
    return rows


def _list(rows: list[dict[str, Any]]) -> object:
    from gen.report import table

    return table(
        ["name", "bits per weight", "range", "scale", "families"],
        [
            [
                row["name"],
                f"{row['bits_per_weight']:.4g}",
                f"{row['range'][0]:.6g} to {row['range'][1]:.6g}",
                _sharing(row),
                ", ".join(row["families"]) or "-",
            ]
            for row in rows
        ],
    )


def _sharing(row: dict[str, Any]) -> str:
    if row["scale"] is None:
        return "-"
    each = f"{row['scale']} / {row['block'] or row['shared']}"
    return f"{each}, {row['outer']}" if row["outer"] else each


def _one(format: Format, document: dict[str, Any]) -> object:
    from rich.console import Group

    from gen.report import table

    facts = [
        [key, str(value)] for key, value in document.items() if key != "codes" and value not in (None, [])
    ]
    parts: list[Any] = [table(["what", "value"], facts)]
    if 1 << format.bits <= SHOWN_CODES:
        count = len(format.tables)
        selectors = [f"selector {number}" for number in range(count)] if count > 1 else ["value"]
        outliers = ["outlier"] if "outlier" in document["codes"][0] else []
        parts.append(
            table(
                ["code", *selectors, *outliers],
                [
                    [
                        f"{row['code']:0{format.bits}b}",
                        *("-" if v is None else f"{v:g}" for v in row["values"]),
                        *(["victim" if row["identifier"] else _text(row["outlier"])] if outliers else []),
                    ]
                    for row in document["codes"]
                ],
                numbers=1 + len(selectors),
            )
        )
    return Group(*parts, *(_line(format, number) for number in range(len(format.tables))))


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"


def _line(format: Format, selector: int) -> str:
    """The levels on a line of characters, from the smallest to the largest."""
    unit = 2.0**format.unit
    values = [v * unit for v in format.tables[selector] if v is not None]
    low, high = min(values), max(values)
    marks = [" "] * LINE
    for value in values:
        marks[round((value - low) / (high - low) * (LINE - 1))] = "|"
    return f"{low:g} {''.join(marks)} {high:g}"
