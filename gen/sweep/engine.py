"""Has points evaluated: on any ``concurrent.futures`` executor, each once, each kept the moment that it is done."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future, wait
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from gen.sweep.points import Point, environment
from gen.sweep.runner import run_point
from gen.sweep.store import LOST, REFUSED, TIMEOUT, Row, Store

EVALUATOR = "gen.sweep.evaluate:evaluate"
"""``evaluate(point) -> figures``: called with ``Point.as_dict()`` in a process of its own; numbers by name come back, and under
``floorplan`` a picture if there is one. An exception is a failed point, of the kind that its ``kind`` says."""


class SweepError(RuntimeError):
    """The sweep cannot go on; what is done is kept."""


class Source(Protocol):
    """Where points come from."""

    total: int | None
    """How many there will be, if that is known."""

    def ask(self) -> tuple[Point, dict[str, Any]] | None:
        """The next point with its settings; None when there is none, or none before another is told."""

    def tell(self, settings: dict[str, Any], row: Row) -> None:
        """What came of a point that was asked for."""


class Listed:
    """Points that are known beforehand."""

    def __init__(self, points: Iterator[Point], total: int | None = None) -> None:
        self._points = points
        self.total = total

    def ask(self) -> tuple[Point, dict[str, Any]] | None:
        """The next one."""
        point = next(self._points, None)
        return None if point is None else (point, point.settings)

    def tell(self, settings: dict[str, Any], row: Row) -> None:
        """Nothing depends on it."""


@dataclass
class Progress:
    """How far a sweep is."""

    total: int | None = None
    finished: int = 0
    failed: int = 0
    ran: int = 0
    running: int = 0
    started: float = field(default_factory=time.monotonic)
    last: float = field(default_factory=time.monotonic)

    def end_one(self) -> None:
        """A point has been run."""
        self.ran += 1
        self.last = time.monotonic()

    @property
    def seconds_left(self) -> float | None:
        """As the points that have run so far let expect; None as long as none has."""
        if self.total is None or not self.ran:
            return None
        expected = (self.last - self.started) / self.ran * (self.total - self.finished)
        return max(0.0, expected - (time.monotonic() - self.last))


@dataclass(frozen=True, kw_only=True)
class Options:
    """How points are run.

    Parameters
    ----------
    evaluator : str
        ``module:function``; never out of a specification.
    seconds : float
        For each point.
    width, workers : int
        Points given to the executor at a time, enough that no worker waits; how many it works on.
    retry : bool
        Run again what failed in an earlier sweep.
    again : bool
        Run everything again.
    """

    evaluator: str = EVALUATOR
    seconds: float = 1800
    width: int = 4
    workers: int = 2
    retry: bool = False
    again: bool = False


class Engine:
    """One sweep.

    Members
    -------
    rows : dict
        By key, in the order in which they were finished.
    ordered : list of Row
        In the order in which they were asked for.
    progress : Progress
    """

    def __init__(
        self,
        store: Store,
        executor: Executor,
        options: Options,
        observe: Callable[[Progress], None] = lambda _: None,
    ) -> None:
        self._store, self._executor, self._options, self._observe = store, executor, options, observe
        self.rows: dict[str, Row] = {}
        self.progress = Progress()
        self._asked: dict[str, None] = {}
        self._running: dict[Future[dict[str, Any]], tuple[str, Point]] = {}
        self._waiting: dict[str, list[dict[str, Any]]] = {}

    @property
    def ordered(self) -> list[Row]:
        """Rows as their points were asked for."""
        return [self.rows[key] for key in self._asked if key in self.rows]

    def run(self, source: Source) -> None:
        """Evaluate all that ``source`` has.

        Raises
        ------
        SweepError
            The executor is gone.
        RequestError
            The store cannot be written.
        """
        self.progress.total = source.total
        try:
            while True:
                self._fill(source)
                self.progress.running = min(len(self._running), self._options.workers)
                self._observe(self.progress)
                if not self._running:
                    return
                done, _ = wait(self._running, timeout=1, return_when=FIRST_COMPLETED)
                for future in done:
                    self._finish(source, future)
        finally:
            for future in self._running:
                future.cancel()

    def _fill(self, source: Source) -> None:
        """Give the executor as much as it may have."""
        while len(self._running) < self._options.width and (asked := source.ask()):
            point, settings = asked
            key = point.key(self._options.evaluator)
            self._asked[key] = None
            if key in self._waiting:
                self._waiting[key].append(settings)
            elif row := self._known(key, point):
                source.tell(settings, self._keep(row))
            elif point.refusal:
                row = Row(key=key, point=point, status="failed", kind=REFUSED, reason=point.refusal)
                source.tell(settings, self._keep(row, new=True))
            else:
                self._waiting[key] = [settings]
                future = self._executor.submit(
                    run_point, self._options.evaluator, point.as_dict(), self._options.seconds, environment()
                )
                self._running[future] = key, point
            if self.progress.finished % 100 == 0:
                self._observe(self.progress)

    def _known(self, key: str, point: Point) -> Row | None:
        """What the store, or this very sweep, has to say already of ``point``."""
        if key in self.rows:
            return self.rows[key]
        row = None if self._options.again else self._store.get(key)
        if row is None:
            return None
        if not row.done:
            short = row.kind == TIMEOUT and row.seconds_allowed < self._options.seconds
            if self._options.retry or short or row.kind == LOST:
                return None
        # Another sweep may have come to it from another base, by other settings.
        return replace(row, point=point)

    def _finish(self, source: Source, future: Future[dict[str, Any]]) -> None:
        key, point = self._running.pop(future)
        try:
            outcome = future.result()
        except CancelledError:
            raise SweepError(
                "the executor has given up: what is done is kept, the same command goes on"
            ) from None
        except Exception as error:
            outcome = {
                "status": "failed", "kind": LOST, "reason": f"its worker is gone ({type(error).__name__}: {error})",
            }  # fmt: skip
        row = self._keep(Row(key=key, point=point, **outcome), new=True)
        self.progress.end_one()
        for settings in self._waiting.pop(key):
            source.tell(settings, row)

    def _keep(self, row: Row, *, new: bool = False) -> Row:
        if new:
            self._store.put(row)
        if row.key not in self.rows:
            self.progress.finished += 1
            self.progress.failed += not row.done
        self.rows[row.key] = row
        return row
