"""Rows of ``claims``: what a paper publishes, and ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gen import report

_WORDS = {True: "yes", False: "NO", None: "-"}


def claim(what: str, published: Any, ours: Any, why: str) -> dict[str, Any]:
    """A row of ``claims``: it holds when both are equal."""
    return {"claim": what, "published": published, "ours": ours, "holds": published == ours, "why": why}


def untested(what: str, published: Any, ours: Any, why: str) -> dict[str, Any]:
    """A row whose claim cannot be tested: ours, if there is any, is measured by another rule."""
    return claim(what, published, ours, why) | {"holds": None}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None else str(value)


def table(document: Mapping[str, Any]) -> Any:
    """The claims of a paper's document, for people."""
    several = [
        [
            _WORDS[row["holds"]],
            *(_text(row[key]) for key in ("published", "ours")),
            f"{row['claim']}\n  {row['why']}",
        ]
        for row in document["claims"]
    ]
    return report.table(["holds", "published", "ours", "claim"], several, title=document["paper"])
