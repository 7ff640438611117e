"""The generated parts of the documents: ``python -m gen.documentation`` writes them anew.

Each lies between ``<!-- generated: name -->`` and ``<!-- end -->``, and comes from the table that the hardware is built from.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

from hw import timing
from hw.control import isa, registers
from hw.formats import FORMATS

DOCS = Path(__file__).resolve().parent.parent / "docs"
"""In a checkout; an installed package comes without it."""

_PART = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def documented(source: ModuleType | type) -> list[tuple[str, Any, str]]:
    """Name, value and docstring of every constant of a module or class that has one, in the order of its text."""
    tree: Any = ast.parse(inspect.getsource(source))
    body = tree.body[0].body if isinstance(source, type) else tree.body
    return [
        (one.targets[0].id, getattr(source, one.targets[0].id), inspect.cleandoc(str(text.value.value)))
        for one, text in pairwise(body)
        if isinstance(one, ast.Assign)
        and isinstance(one.targets[0], ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
    ]


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(_cell(cell) for cell in line) + " |\n" for line in lines)


def _cell(value: object) -> str:
    return " ".join(str(value).replace("``", "`").replace("|", "\\|").split())


def _instructions() -> str:
    parts = []
    for opcode, fields in isa.FIELDS.items():
        place = isa.offsets(opcode)
        rows = (
            (f"{first + bits - 1}:{first}", f"`{field.name}`", field.range.value, field.doc)
            for field in fields
            for first, bits in [place[field.name]]
        )
        parts.append(
            f"**{opcode.name}**, opcode {opcode.value}\n\n"
            + _table(("bits", "field", "unit", "meaning"), rows)
        )
    return "\n".join(parts)


def _tokens() -> str:
    rows = ((token.value, f"`{token.name.lower()}`", token.waiter.name) for token in isa.Token)
    return _table(("bit", "token", "who may wait for it"), rows)


def _errors() -> str:
    return _table(
        ("code", "error", "meaning"), ((int(v), f"`{n}`", doc) for n, v, doc in documented(isa.Error))
    )


def _registers() -> str:
    rows = (
        (f"`{r.offset:#04x}`", f"`{r.name}`", r.access.value, f"{r.reset:#x}" if r.reset else 0, r.doc)
        for r in registers.REGISTERS
    )
    return _table(("offset", "register", "access", "reset", "meaning"), rows)


def _timing() -> str:
    return _table(("constant", "value", "meaning"), ((f"`{n}`", v, doc) for n, v, doc in documented(timing)))


def _formats() -> str:
    rows = []
    for format in FORMATS.values():
        least, most = format.range
        scale = f"{format.scale} per {format.block or format.shared}" if format.scale else ""
        rows.append(
            (
                f"`{format.name}`",
                f"{format.bits_per_weight:.4g}",
                f"{least:.6g} to {most:.6g}",
                f"{scale}, {format.outer} per {format.outer_shared}" if format.outer else scale,
                f"`{format.rule}`",
                format.summary,
            )
        )
    return _table(("format", "bits per weight", "range", "scale", "rule", "what"), rows)


PARTS: dict[str, Callable[[], str]] = {
    "instructions": _instructions,
    "tokens": _tokens,
    "errors": _errors,
    "registers": _registers,
    "timing": _timing,
    "formats": _formats,
}
"""What can be generated, by name."""
DOCUMENTS = {
    "architecture.md": ("instructions", "tokens", "errors", "registers", "timing"),
    "formats.md": ("formats",),
}
"""The parts of each document."""


def filled(text: str, parts: Sequence[str]) -> str:
    """``text`` with its generated parts as they are to be.

    Raises ``ValueError`` unless each of ``parts`` is in it once.
    """
    found = [match[2] for match in _PART.finditer(text)]
    if sorted(found) != sorted(parts):
        raise ValueError(
            f"generated parts must be {', '.join(sorted(parts))}, not {', '.join(sorted(found))}"
        )
    return _PART.sub(lambda match: f"{match[1]}{PARTS[match[2]]()}{match[3]}", text)


def main() -> None:
    """Write the generated parts of all documents."""
    for name, parts in DOCUMENTS.items():
        (DOCS / name).write_text(filled((DOCS / name).read_text(), parts))


if __name__ == "__main__":
    main()
