"""What the sweep engine costs: of a point itself, beside its evaluation, and answers from the store; and points an hour."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

from gen.bench import sweep_points
from gen.bench.figures import Row
from gen.sweep import executors, points, spec, sweep
from gen.sweep.engine import Engine, Listed, Options
from gen.sweep.store import MEBIBYTE, Store
from sim import tools

POINTS, PARALLEL = 1000, 16
MOST_MS, LEAST_SPEEDUP, LEAST_CACHED = 50, 1.8, 500


JOBS = 2
REAL: dict[str, Any] = {
    "base": "systolic-4x4",
    "targets": ["ecp5-85k"],
    "vary": {"array.rows": [2, 4], "array.columns": [2, 4]},
    "objectives": ["cycles", "lut"],
}
"""Points that are synthesised, and placed."""


class Here(Executor):
    """Does what it is given at once, in this process."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """A future that is done; the point itself is left out."""
        del fn, args, kwargs
        future: Future[Any] = Future()
        future.set_result({"status": "done", "figures": {"lut": 1, "cycles": 1}, "seconds": 0.0})
        return future


def _grid(count: int) -> Listed:
    """``count`` points that differ, of which each is a whole configuration."""
    vary = {"memory.activations_kib": {"from": 2, "to": 101}, "memory.weights_kib": {"from": 2, "to": 11}}
    data = {"base": "systolic-8x8", "targets": ["ecp5-85k"], "vary": vary, "objectives": ["cycles", "lut"]}
    found = [
        one for one, _ in zip(points.grid(spec.check(data, "of the figures")), range(count), strict=False)
    ]
    return Listed(iter(found))


def _timed(store: Store, executor: Executor, evaluator: str, count: int, width: int) -> tuple[float, float]:
    """Seconds, and seconds of this process' own work."""
    engine = Engine(
        store, executor, Options(evaluator=f"gen.bench.sweep_points:{evaluator}", width=width, seconds=60)
    )
    source, begun, worked = _grid(count), time.perf_counter(), time.process_time()
    engine.run(source)
    if len(engine.rows) != count or not all(row.done for row in engine.rows.values()):
        raise ArithmeticError(f"{count} points must be done, not {len(engine.rows)}")
    return time.perf_counter() - begun, time.process_time() - worked


def row(notify: Callable[[str], None]) -> Row:
    """Each figure on a store of its own, on the disk."""
    points.environment()
    with tools.working_folder("sweep") as folder:
        with Store(folder / "a.sqlite") as store:
            wall, own = _timed(store, Here(), "nothing", POINTS, 1)
            notify(f"engine and store: {1000 * wall / POINTS:.2f} ms a point")
            cached, cached_own = _timed(store, Here(), "nothing", POINTS, 1)
            notify(f"answered by the store: {POINTS / cached:,.0f} points/s")
        before = os.times()
        seconds = {jobs: _parallel(folder / f"{jobs}.sqlite", jobs) for jobs in (1, 2)}
        after = os.times()
        notify(
            f"{PARALLEL} points of {sweep_points.SECONDS:g} s: {seconds[1]:.2f} s, on two workers {seconds[2]:.2f} s"
        )
        peak = _peak(folder / "1.sqlite")
    each = {
        "engine_ms": 1000 * wall / POINTS, "engine_own_ms": 1000 * own / POINTS,
        "cached_per_second": POINTS / cached, "cached_per_own_second": POINTS / cached_own,
        "process_own_ms": 1000
        * (after.children_user + after.children_system - before.children_user - before.children_system)
        / (2 * PARALLEL),
        "speedup": seconds[1] / seconds[2], "peak_bytes": peak,
        "load": os.getloadavg()[0],
    }  # fmt: skip
    return Row(
        key="sweep",
        what=f"sweep engine: what it costs to have a point evaluated and kept, {POINTS} points",
        measured=f"{each['engine_ms']:.1f} ms a point (its own work {each['engine_own_ms']:.2f} ms, the rest is the disk's); "
        f"{each['process_own_ms']:.0f} ms of work of its process; {each['cached_per_second']:,.0f} points/s from the store; "
        f"on two workers {each['speedup']:.2f} times as fast; an empty process has {peak / MEBIBYTE:.0f} MiB",
        must=f"{MOST_MS} ms; {LEAST_CACHED} points/s; {LEAST_SPEEDUP} times",
        peers="Dask 22 ms a task with a process, Optuna with SQLite 49 to 95 ms a trial (own runs)",
        held=each["engine_ms"] + each["process_own_ms"] <= MOST_MS
        and each["cached_per_second"] >= LEAST_CACHED
        and each["speedup"] >= LEAST_SPEEDUP,
        values=each,
    )


def rates(notify: Callable[[str], None]) -> list[Row]:
    """Points of ``REAL`` an hour, synthesised and packed alone, and placed and routed, too."""
    return [_rate(placed, notify) for placed in (False, True)]


def _rate(placed: bool, notify: Callable[[str], None]) -> Row:
    asked = spec.check(REAL | {"place_and_route": placed, "timeout": 7200}, "of the figures")
    with tools.working_folder("sweep") as folder:
        done = sweep.run(asked, store=folder / "points.sqlite", jobs=JOBS)
    if done.failed:
        raise ArithmeticError(f"{len(done.rows)} points must be done, not fail: {done.failed[0].reason}")
    hour = 3600 * len(done.rows) / done.seconds
    peak = max(row.peak_bytes for row in done.rows)
    what = "synthesised, placed and routed" if placed else "synthesised"
    notify(f"{what}: {hour:.0f} points an hour")
    luts = [int(row.figures["lut"]) for row in done.rows]
    return Row(
        key="sweep-rates",
        what=f"points an hour of a sweep on {JOBS} workers: whole accelerators of {min(luts):,} to {max(luts):,} LUT, {what}",
        measured=f"{hour:.0f}; {peak / MEBIBYTE:.0f} MiB for a point at most",
        values={
            "points_per_hour": hour,
            "peak_bytes": peak,
            "seconds": [row.seconds for row in done.rows],
            "load": os.getloadavg()[0],
        },
    )


def _parallel(path: Path, jobs: int) -> float:
    with Store(path) as store, executors.local(jobs) as place:
        return _timed(store, place.executor, "waiting", PARALLEL, place.width)[0]


def _peak(path: Path) -> int:
    with Store(path, read_only=True) as store:
        return max(row.peak_bytes for row in store.rows())
