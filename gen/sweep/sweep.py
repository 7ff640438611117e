"""A whole sweep: from a specification to rows, their Pareto front, and plain data."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gen.errors import RequestError
from gen.sweep import executors, points
from gen.sweep.engine import Engine, Listed, Options, Progress, Source
from gen.sweep.pareto import front
from gen.sweep.spec import Loaded, load
from gen.sweep.store import Row, Store
from sim import tools


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """What came of a specification.

    Parameters
    ----------
    loaded : Loaded
    rows : list of Row
        In the order of the grid, or of choice.
    progress : Progress
        ``ran`` counts the points of this run, others were answered by the store.
    seconds : float
    store : Path
    interrupted : bool
        Some points are missing.
    """

    loaded: Loaded
    rows: list[Row] = field(repr=False)
    progress: Progress
    seconds: float
    store: Path
    interrupted: bool = False

    @property
    def failed(self) -> list[Row]:
        """Rows without figures, or with figures that are not what was wanted."""
        return [row for row in self.rows if not row.done]

    @property
    def pareto(self) -> list[Row]:
        """The best trades between the objectives."""
        return front(self.rows, self.loaded.spec.goals)

    def again(self, row: Row) -> str:
        """The command that evaluates a point anew."""
        only = [f"{path}={_plain(value)}" for path, value in row.point.settings.items()]
        words = ["gatemill", "sweep", self.loaded.origin]
        for text in [*only, f"target={row.point.target}"]:
            words += ["--only", text]
        return shlex.join([*words, "--again"])

    def rebuild(self, row: Row) -> str:
        """The command that generates a point's Verilog."""
        words = ["gatemill", "generate", row.point.base]
        for text in row.point.overrides():
            words += ["--set", text]
        return shlex.join([*words, "-o", f"build/{row.key[:12]}"])

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {
            "specification": self.loaded.origin,
            "base": self.loaded.spec.base,
            "method": self.loaded.spec.method,
            "workload": self.loaded.spec.workload,
            "objectives": self.loaded.spec.objectives,
            "points": [self.describe(row) for row in self.rows],
            "ran": self.progress.ran,
            "failed": len(self.failed),
            "pareto": [row.key for row in self.pareto],
            "seconds": round(self.seconds, 3),
            "interrupted": self.interrupted,
            "store": str(self.store),
        }

    def describe(self, row: Row) -> dict[str, Any]:
        """A row as plain data."""
        return {
            "key": row.key, "settings": row.point.settings, "target": row.point.target, "status": row.status,
            "kind": row.kind, "reason": row.reason, "figures": row.figures, "seconds": row.seconds,
            "peak_bytes": row.peak_bytes, "again": self.again(row), "rebuild": self.rebuild(row),
        }  # fmt: skip

    def _repr_html_(self) -> str:
        from gen import notebook

        return notebook.sweep(self)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def default_store() -> Path:
    """Where points of all sweeps are kept."""
    return tools.cache_folder() / "points.sqlite"


def narrowed(loaded: Loaded, only: Sequence[str]) -> Loaded:
    """``loaded`` with parameters held at one of their values, each as ``KEY=VALUE``.

    Raises ``RequestError`` for what is not varied, or a value that is not among its own.
    """
    vary, targets = dict(loaded.spec.vary), list(loaded.spec.targets)
    for text in only:
        path, _, value = text.partition("=")
        values = loaded.spec.parameters.get(path)
        if values is None:
            raise RequestError(
                f"--only {text!r}: must be KEY=VALUE with a KEY of {', '.join(loaded.spec.parameters)}"
            )
        chosen = [one for one in values if _plain(one) == value]
        if not chosen:
            raise RequestError(f"--only {text!r}: must be one of {', '.join(map(_plain, values))}")
        if path == "target":
            targets = [one for one in targets if one in chosen]
        else:
            vary[path] = chosen
    spec = loaded.spec.model_copy(update={"vary": vary, "targets": targets})
    return replace(loaded, spec=spec)


def run(
    specification: str | Path | Loaded,
    *,
    store: str | Path | None = None,
    jobs: int | None = None,
    scheduler: str | None = None,
    place: executors.Place | None = None,
    explore: int | None = None,
    resume: bool = False,
    only: Sequence[str] = (),
    options: Options | None = None,
    observe: Callable[[Progress], None] = lambda _: None,
) -> Sweep:
    """Evaluate what a specification asks for; an interrupt ends it early, with the rows that are there.

    Parameters
    ----------
    specification
        A TOML file, or one that is loaded.
    store
        File of points; one for all sweeps by default.
    jobs
        Points at a time on this machine; as many as it has processors by default.
    scheduler
        Address of a Dask scheduler whose workers do it instead.
    place
        Any other executor, which stays open.
    explore
        How many points Optuna is to choose; otherwise all of the grid are taken.
    resume
        The store must be there, and an explorer goes on with what it had chosen.
    only
        Parameters held at one of their values, ``KEY=VALUE`` each.
    options
        How points are run; seconds are the specification's, and the width is the executor's.
    observe
        Told the progress as it goes.

    Raises
    ------
    RequestError
        What is asked for cannot be taken.
    gen.sweep.engine.SweepError
        The executor is gone.
    """
    loaded = specification if isinstance(specification, Loaded) else load(specification)
    loaded = narrowed(loaded, only)
    file = Path(store) if store is not None else default_store()
    if resume and not file.is_file():
        raise RequestError(f"--resume: the store {str(file)!r} must be there")
    start = time.monotonic()
    with Store(file) as opened:
        source = _source(loaded, opened, explore, resume)
        if loaded.spec.size == 0 or source.total == 0:
            raise RequestError(f"specification {loaded.origin}: constraints must leave at least one point")
        with nullcontext(place) if place else _place(jobs, scheduler) as chosen:
            settled = replace(
                options or Options(), seconds=loaded.spec.timeout, width=chosen.width, workers=chosen.workers
            )
            engine, interrupted = Engine(opened, chosen.executor, settled, observe), False
            try:
                engine.run(source)
            except KeyboardInterrupt:
                interrupted = True
                chosen.stop()
    return Sweep(
        loaded=loaded, rows=engine.ordered, progress=engine.progress, seconds=time.monotonic() - start, store=file,
        interrupted=interrupted,
    )  # fmt: skip


def _source(loaded: Loaded, store: Store, explore: int | None, resume: bool) -> Source:
    if explore is None:
        settings = list(loaded.grid())
        return Listed((points.Point.of(loaded, one) for one in settings), len(settings))
    from gen.sweep.explore import Explorer

    return Explorer(loaded, store, explore, resume=resume)


def _place(jobs: int | None, scheduler: str | None) -> AbstractContextManager[executors.Place]:
    if scheduler is not None:
        return executors.dask(scheduler)
    return executors.local(jobs or executors.processors())
