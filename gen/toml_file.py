"""Users' TOML files: read with bounds, refused with every mistake at once."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gen.errors import RequestError

LARGEST_FILE = 1 << 20
"""Bytes of a file; more is a mistake in the file's name."""


def read(path: str | Path, what: str) -> dict[str, Any]:
    """The content of the file at ``path``; ``what`` it is stands in the message of a ``RequestError``: it cannot be read."""
    name = f"{what} {str(path)!r}"
    try:
        with Path(path).open("rb") as file:
            # What is no file has no length, and may have no end.
            content = file.read(LARGEST_FILE + 1)
        if len(content) > LARGEST_FILE:
            raise RequestError(f"{name}: must be at most {LARGEST_FILE} bytes long")
        return tomllib.loads(content.decode("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise RequestError(f"{name}: must be readable TOML ({error})") from None


def refusal(name: str, mistakes: Sequence[object]) -> RequestError:
    """The error that lists them, one a line."""
    count = f"{len(mistakes)} mistakes" if len(mistakes) > 1 else "1 mistake"
    return RequestError(f"{name} has {count}:", *map(str, mistakes))
