"""``gatemill sweep SPEC.toml`` and ``gatemill compare A B``."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gen.commands.common import JsonOption, emit, integer, note, output_folder, write_files

if TYPE_CHECKING:
    from gen.sweep.engine import Progress
    from gen.sweep.sweep import Sweep

StoreOption = Annotated[
    Path | None,
    typer.Option("--store", metavar="FILE", help="Where points are kept; one file for all otherwise."),
]
INTERRUPTED = 130
PICTURE, PARQUET = SOMETIMES = "pareto.svg", "points.parquet"
"""Files that not every sweep writes."""
INTERVAL = 10.0
"""Seconds between two lines of progress, where there is no terminal."""


def sweep(
    specification: Annotated[str, typer.Argument(metavar="SPEC.toml", help="What to vary, where, for what.")],
    *,
    store: StoreOption = None,
    jobs: Annotated[
        int | None, typer.Option("--jobs", metavar="N", help="Points at a time on this machine.")
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(
            "--scheduler", metavar="URL", help="A Dask scheduler, tcp://HOST:PORT, whose workers do it."
        ),
    ] = None,
    explore: Annotated[
        int | None, typer.Option("--explore", metavar="N", help="Let Optuna choose N points of the grid.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a sweep that was ended; its store must be there.")
    ] = False,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="KEY=VALUE", help="Hold a parameter at one of its values."),
    ] = None,
    retry: Annotated[bool, typer.Option("--retry", help="Run again what has failed.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Run again what is in the store, too.")] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="DIR", help="Folder for page and tables; build/SPEC otherwise."
        ),
    ] = None,
    parquet: Annotated[bool, typer.Option("--parquet", help="A Parquet file, too.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Evaluate many configurations: a table, a page with the Pareto front. Exit status 1: a point failed."""
    if jobs is not None:
        integer("--jobs", jobs, 1, 1024)
    if explore is not None:
        integer("--explore", explore, 1, 1_000_000)
    from gen.sweep import results, spec
    from gen.sweep import sweep as engine
    from gen.sweep.engine import Options, SweepError

    if parquet:
        results.as_parquet([])
    loaded = spec.load(specification)
    folder = output_folder(output or Path("build") / Path(specification).stem)
    try:
        with _progress() as observe:
            made = engine.run(
                loaded, store=store, jobs=jobs, scheduler=scheduler, explore=explore, resume=resume,
                only=only or (), options=Options(retry=retry, again=again), observe=observe,
            )  # fmt: skip
    except SweepError as error:
        note(f"gatemill: {error}")
        raise typer.Exit(1) from None
    document = _write(made, folder, parquet)
    emit(document, as_json=as_json, render=lambda: _render(made, document))
    if made.interrupted:
        missing = f" of {made.progress.total}" if made.progress.total else ""
        note(f"gatemill: {len(made.rows)}{missing} points are done; the same command goes on")
        raise typer.Exit(INTERRUPTED)
    if made.failed:
        raise typer.Exit(1)


def compare(
    first: Annotated[str, typer.Argument(metavar="A", help="The beginning of a point's key.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Another's.")],
    *,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Two points of a store side by side: what differs, and their figures."""
    from gen.sweep import results
    from gen.sweep.store import Store
    from gen.sweep.sweep import default_store

    with Store(store or default_store(), read_only=True) as opened:
        document = results.compared(opened.find(first), opened.find(second))
    emit(document, as_json=as_json, render=lambda: results.comparison(document))


def _write(made: Sweep, folder: Path, parquet: bool) -> dict[str, Any]:
    """Put page and tables into ``folder``; the document of the command."""
    from gen.sweep import page, results

    rows = results.flat(made)
    document = made.as_dict() | {"report": str(folder / "sweep.html")}
    contents = {
        "points.csv": results.as_csv(rows),
        "points.json": json.dumps(document, indent=2).encode(),
        "sweep.html": page.page(made).encode(),
    }
    if drawn := results.picture(made):
        contents[PICTURE] = drawn
    if parquet:
        contents[PARQUET] = results.as_parquet(rows)
    stale = [name for name in SOMETIMES if name not in contents]
    return document | {"files": write_files(folder, contents, stale=stale)}


def _render(made: Sweep, document: dict[str, Any]) -> Any:
    from rich.console import Group

    from gen.sweep import results

    parts: list[Any] = [results.terminal(made)]
    if len(made.rows) == 1 and made.rows[0].log:
        parts.append(made.rows[0].log)
    return Group(*parts, *document["files"])


@contextmanager
def _progress() -> Iterator[Callable[[Progress], None]]:
    """A bar with the time left on standard error; a line now and then when that is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines()
        return
    columns = TextColumn("points"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}")
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda now: bar.update(task, total=now.total, completed=now.finished, description=_text(now))


def _lines() -> Callable[[Progress], None]:
    last = time.monotonic()

    def tell(now: Progress) -> None:
        nonlocal last
        if time.monotonic() - last >= INTERVAL:
            last = time.monotonic()
            note(f"{now.finished} of {now.total or '?'} points: {_text(now)}")

    return tell


def _text(now: Progress) -> str:
    left = now.seconds_left
    words = [f"{now.running} under way", *([f"{now.failed} failed"] if now.failed else [])]
    if left:
        minutes, seconds = divmod(round(left), 60)
        hours, minutes = divmod(minutes, 60)
        words.append(f"{hours}:{minutes:02}:{seconds:02} left")
    return ", ".join(words)
