"""Figures that take long, kept in a file one by one: what was measured is not measured again until what it is of changes."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Record = Mapping[str, Any]


def identity(*parts: object) -> str:
    """A digest of all that a figure depends on, as text."""
    return hashlib.sha256(json.dumps([str(part) for part in parts]).encode()).hexdigest()[:16]


def kept(file: Path) -> list[dict[str, Any]]:
    """The records of ``file``; none if there is no such file."""
    return json.loads(file.read_text()) if file.exists() else []


def find(file: Path, name: str, digest: str) -> dict[str, Any] | None:
    """The record of ``name`` if it is of ``digest``."""
    return next((one for one in kept(file) if (one["case"], one["identity"]) == (name, digest)), None)


def put(file: Path, record: Record, order: Sequence[str]) -> None:
    """Keep ``record`` in the place of the one of its ``case``; whatever is not in ``order`` goes.

    The file is read anew and replaced as a whole: two that measure different cases do not undo each other's.
    """
    others = [one for one in kept(file) if one["case"] != record["case"] and one["case"] in order]
    whole = sorted([*others, record], key=lambda one: order.index(one["case"]))
    with tempfile.NamedTemporaryFile("w", dir=file.parent, prefix=file.name, delete=False) as part:
        part.write(json.dumps(whole, indent=1) + "\n")
    os.chmod(part.name, 0o644)
    os.replace(part.name, file)
