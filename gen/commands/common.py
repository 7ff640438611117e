"""What the commands share: their common options, where they print, and how they write files."""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gen.errors import RequestError
from gen.progress import Progress as Notice

if TYPE_CHECKING:
    from rich.console import Console

ConfigArgument = Annotated[str, typer.Argument(metavar="CONFIG", help="A preset's name or a TOML file.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a value, e.g. array.rows=4.")
]
ActivationsOption = Annotated[
    str | None, typer.Option("--activations", metavar="FORMAT", help="Format of the activations.")
]
WeightsOption = Annotated[
    str | None, typer.Option("--weights", metavar="FORMAT", help="Format of the weights.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
MOST_MEGAHERTZ = 10_000
FILE_WIDTH = 150
"""Of tables that go into a file or a pipe."""


def emit(document: Any, *, as_json: bool, render: Callable[[], Any]) -> None:
    """Print ``document`` as JSON, or what ``render`` gives, on standard output; text as it is, in one line however long."""
    if as_json:
        print(json.dumps(document, indent=2))
        return
    rendered = render()
    if isinstance(rendered, str):
        print(rendered)
        return
    paper().print(rendered)


def paper() -> Console:
    """What tables are printed on: texts stay as they are, and a file gets lines so long that no figure is cut."""
    from rich.console import Console

    made = Console(highlight=False, markup=False, emoji=False)
    if not made.is_terminal and "COLUMNS" not in os.environ:
        made.width = FILE_WIDTH
    return made


def note(text: str) -> None:
    """Tell the user something on standard error."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def progress_bar() -> Iterator[Notice]:
    """A bar on standard error, updated by (what, done, in all); nothing when that is no terminal."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=None)
        yield lambda what, done, total: progress.update(task, description=what, completed=done, total=total)


@contextmanager
def transfer_bar() -> Iterator[Notice]:
    """The same for bytes that go over a link, with bytes a second and the time left."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        tasks: dict[str, Any] = {}

        def notice(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(what, total=total)
            progress.update(tasks[what], completed=done, total=total)

        yield notice


def output_folder(folder: Path, option: str = "--output") -> Path:
    """``folder``, made if need be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise RequestError(
            f"{option} {str(folder)!r}: must be a folder that can be written ({error.strerror})"
        ) from None
    return folder


def output_file(path: Path, *suffixes: str) -> Path:
    """``path`` if it may be written: its suffix is one of ``suffixes``, its folder is there."""
    choice("--output", path.suffix, suffixes)
    if not path.parent.is_dir():
        raise RequestError(f"--output {str(path)!r}: must lie in a folder that is there")
    return path


def write_files(folder: Path, contents: Mapping[str, bytes], *, stale: Sequence[str] = ()) -> list[str]:
    """Write files into ``folder``, beside their names first: none is ever seen half done. Their paths.

    Files called ``stale``, which an earlier run may have left, are removed before the others get their names.
    """
    parts = {folder / name: folder / f".{name}.{os.getpid()}" for name in contents}
    try:
        for path, part in parts.items():
            part.write_bytes(contents[path.name])
        for name in stale:
            path = folder / name
            path.unlink(missing_ok=True)
        for path, part in parts.items():
            part.replace(path)
    except OSError as error:
        raise RequestError(
            f"--output {str(folder)!r}: {path.name} must be writable ({error.strerror})"
        ) from None
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)
    return [str(path) for path in parts]


def integer(option: str, value: int, low: int, high: int) -> int:
    """``value`` if it lies in its bounds."""
    if not low <= value <= high:
        raise RequestError(f"{option} {value}: must be an integer from {low} to {high}")
    return value


def megahertz(value: float) -> float:
    """``value`` of ``--clock`` if there may be such a clock."""
    if not 0 < value <= MOST_MEGAHERTZ:
        raise RequestError(f"--clock {value}: must be a number above 0, up to {MOST_MEGAHERTZ}")
    return value


def choice(option: str, value: str, allowed: tuple[str, ...]) -> str:
    """``value`` if it is one of ``allowed``."""
    if value not in allowed:
        raise RequestError(f"{option} {value!r}: must be one of {', '.join(allowed)}")
    return value


def model_path(model: str, kinds: str) -> Path:
    """The file of ``model``: a file of one of ``kinds``, or one that has been fetched under this name."""
    from gen.models.fetch import SOURCES, find

    if Path(model).is_file():
        return Path(model)
    if model in SOURCES:
        if path := find(model):
            return path
        raise RequestError(f"MODEL {model!r}: must have been fetched (gatemill models get {model})")
    raise RequestError(f"MODEL {model!r}: must be a {kinds} file or one of {', '.join(sorted(SOURCES))}")
