"""A row of the table of figures, and the table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.table import Table


@dataclass(frozen=True, kw_only=True)
class Row:
    """One figure.

    Parameters
    ----------
    key : str
        What ``--only`` calls it; several rows may have one key: they are measured together.
    measured, must, aim, peers : str
        For people. ``peers`` names its source.
    held : bool or None
        Whether ``must`` is kept; None when nothing must be.
    values : mapping
        The figures themselves, as plain data.
    picture : callable or None
        Draws them: an SVG.
    """

    key: str
    what: str
    measured: str
    must: str = ""
    aim: str = ""
    peers: str = ""
    held: bool | None = None
    values: Mapping[str, Any] = field(default_factory=dict)
    picture: Callable[[], bytes] | None = None

    @property
    def command(self) -> str:
        """What measures it again."""
        return f"python -m gen.bench --only {self.key}"

    def document(self) -> dict[str, Any]:
        """The row as plain data."""
        return {
            "key": self.key,
            "what": self.what,
            "measured": self.measured,
            "must": self.must,
            "aim": self.aim,
            "peers": self.peers,
            "held": self.held,
            "values": dict(self.values),
            "command": self.command,
        }


def table(rows: Sequence[Row]) -> Table:
    """All rows; those that miss what they must say so."""
    result = Table(title="Figures", title_justify="left", show_lines=True)
    for name, ratio in (
        ("what, and what measures it again", 4),
        ("measured", 5),
        ("must (aim)", 2),
        ("peers", 4),
    ):
        result.add_column(name, ratio=ratio, overflow="fold")
    for row in rows:
        limit = f"{row.must} ({row.aim})" if row.aim else row.must
        missed = "\n[bold red]MISSED[/]" if row.held is False else ""
        result.add_row(f"{row.what}\n[dim]{row.command}[/]", row.measured, limit + missed, row.peers)
    return result
