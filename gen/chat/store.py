"""Layers as they were quantised and packed, kept in the user's cache by what they were made of.

A file is a layer. Its name is a digest of the tensor's bytes, the configuration, the formats, and this program's own code:
whatever changes, another file is made, and those used longest ago go.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path

import numpy as np

from sim import tools

MOST_BYTES = 2 << 30
"""Of all files together."""
PACKAGES = ("gen", "hw", "sim")
"""Whose code decides what is in a file."""
Arrays = Mapping[str, np.ndarray]


@cache
def code() -> str:
    """A digest of this program's code."""
    root, digest = Path(__file__).resolve().parents[2], hashlib.sha256()
    for package in PACKAGES:
        for file in sorted((root / package).rglob("*.py")):
            digest.update(f"{file.relative_to(root)}:".encode() + file.read_bytes())
    return digest.hexdigest()


def key(*parts: str | bytes) -> str:
    """A name for what is made of ``parts`` by this code."""
    digest = hashlib.sha256(code().encode())
    for part in parts:
        digest.update(hashlib.sha256(part.encode() if isinstance(part, str) else part).digest())
    return digest.hexdigest()[:32]


def folder() -> Path:
    """Where the files lie."""
    return tools.cache_folder() / "packed"


def get(name: str) -> dict[str, np.ndarray] | None:
    """The arrays that were put under ``name``; None when there are none, or the file is damaged."""
    path = folder() / f"{name}.npz"
    try:
        # Opened here: np.load leaves a damaged file open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            found = dict(arrays)
        with suppress(FileNotFoundError):  # another process may have removed it
            os.utime(path)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return None
    return found


def put(name: str, arrays: Arrays) -> None:
    """Keep ``arrays``; nothing is kept where there is no room or no right to write, and nothing is ever there in half."""
    with suppress(OSError):
        folder().mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder(), prefix="part.") as temporary:
            file = Path(temporary) / "layer.npz"
            np.savez(file, **arrays)  # type: ignore[arg-type]
            file.replace(folder() / f"{name}.npz")


def prune(most: int = MOST_BYTES) -> None:
    """Remove the files used longest ago that may be, until the rest is ``most`` bytes or less; another process may do so, too."""
    found = []
    for path in folder().glob("*.npz"):
        with suppress(FileNotFoundError):
            status = path.stat()
            found.append((status.st_mtime_ns, status.st_size, path))
    total = sum(size for _, size, _ in found)
    for _, size, path in sorted(found):
        if total <= most:
            return
        with suppress(OSError):  # no right to remove it: others go
            path.unlink(missing_ok=True)
            total -= size
