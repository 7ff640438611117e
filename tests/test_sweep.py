"""The engine and the store of sweeps, with evaluators that are quick, slow, or broken in every way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest

from gen.errors import RequestError
from gen.sweep import executors, points, runner, spec
from gen.sweep import sweep as sweeps
from gen.sweep.engine import Engine, Listed, Options, SweepError
from gen.sweep.figures import Objective
from gen.sweep.pareto import front
from gen.sweep.store import Row, Store

ROOT = Path(__file__).resolve().parent.parent
SPEC = {
    "base": "systolic-8x8",
    "targets": ["ecp5-85k"],
    "objectives": ["cycles", "lut"],
    "vary": {"array.rows": [2, 4, 8], "array.columns": [4, 8]},
}


def loaded(**more):
    return spec.check(SPEC | more, "s.toml")


def options(name, **more):
    return Options(evaluator=f"sweep_evaluators:{name}", **more)


def alive(mark):
    """Processes whose command line has ``mark``."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if mark.encode() in words:
            found.append(int(folder.name))
    return found


@pytest.fixture
def log(tmp_path, monkeypatch):
    """Lines of the points that were really run."""
    file = tmp_path / "log.txt"
    monkeypatch.setenv("GATEMILL_TEST_LOG", str(file))
    return lambda: file.read_text().splitlines() if file.exists() else []


def test_every_point_runs_once_and_a_second_sweep_is_answered_by_the_store(tmp_path, log):
    first = sweeps.run(loaded(), store=tmp_path / "s", jobs=2, options=options("quick"))
    assert [row.point.settings["array.rows"] for row in first.rows] == [2, 2, 4, 4, 8, 8]
    assert (first.progress.ran, len(first.failed), len(log())) == (6, 0, 6)
    assert all(row.peak_bytes > 1 << 20 and row.worker for row in first.rows)
    second = sweeps.run(loaded(), store=tmp_path / "s", jobs=2, options=options("quick"))
    assert (second.progress.ran, len(log())) == (0, 6)
    assert second.rows == first.rows
    again = sweeps.run(
        loaded(), store=tmp_path / "s", jobs=2, only=["array.rows=2"], options=options("quick", again=True)
    )
    assert (len(again.rows), again.progress.ran, len(log())) == (2, 2, 8)


def test_what_makes_no_difference_does_not_run_again(tmp_path, log):
    sweeps.run(loaded(), store=tmp_path / "s", jobs=2, options=options("quick"))
    text = (ROOT / "gen" / "presets" / "systolic-8x8.toml").read_text()
    (tmp_path / "other.toml").write_text(text.replace('name = "systolic-8x8"', 'name = "other"'))
    other = spec.check(SPEC | {"base": str(tmp_path / "other.toml"), "timeout": 7}, "t.toml")
    assert sweeps.run(other, store=tmp_path / "s", jobs=2, options=options("quick")).progress.ran == 0
    assert len(log()) == 6


@pytest.mark.parametrize(
    "more", [{"clock_mhz": 50.0}, {"workload": "gemm:1x1x1"}, {"weights": "int8"}, {"targets": ["ecp5-25k"]}]
)
def test_keys_tell_points_apart(more):
    one, other = (next(points.grid(loaded(**given))).key("e") for given in ({}, more))
    assert one != other


def test_the_fitted_model_counts_where_it_answers_alone(monkeypatch):
    keys = {}
    for version in ("one", "other"):
        monkeypatch.setattr(points, "fitted_version", lambda version=version: version)
        for method in ("measured", "fitted"):
            loaded = spec.check(SPEC | {"method": method, "targets": ["ecp5-85k"]}, "s.toml")
            keys[version, method] = next(points.grid(loaded)).key("e")
    assert keys["one", "measured"] == keys["other", "measured"]
    assert len(set(keys.values())) == 3


def test_the_seed_counts_with_place_and_route_alone():
    def key(**more):
        return next(points.grid(loaded(**more))).key("e")

    assert key(seed=2) == key(seed=3)
    assert key(seed=2, place_and_route=True) != key(seed=3, place_and_route=True)
    assert key() != next(points.grid(loaded())).key("another evaluator")


def test_duplicates_under_way_run_once(tmp_path, log):
    twice = [point for point in points.grid(loaded()) for _ in range(3)]
    with Store(tmp_path / "s") as store, executors.local(2) as place:
        engine = Engine(store, place.executor, options("slow", width=9))
        engine.run(Listed(iter(twice)))
    assert (len(engine.ordered), engine.progress.ran, len(log())) == (6, 6, 6)


@pytest.mark.parametrize("kind", [ThreadPoolExecutor, ProcessPoolExecutor])
def test_any_executor_will_do(tmp_path, kind):
    with Store(tmp_path / "s") as store, kind(2) as executor:
        engine = Engine(store, executor, options("quick"))
        engine.run(Listed(points.grid(loaded())))
        assert [row.figures["lut"] for row in engine.ordered] == [800, 1600, 1600, 3200, 3200, 6400]
        assert len(store.rows()) == 6


def test_an_executor_of_one_s_own(tmp_path):
    with ThreadPoolExecutor(3) as executor:
        place = executors.Place(executor, 3, "mine")
        swept = sweeps.run(loaded(), store=tmp_path / "s", place=place, options=options("quick"))
    assert swept.progress.ran == 6


class Ending(Executor):
    """Ends each future as it is told."""

    def __init__(self, end):
        self._end = end

    def submit(self, fn, /, *args, **kwargs):
        future = Future()
        self._end(future)
        return future


def test_a_lost_worker_is_a_row_and_no_answer(tmp_path, log):
    place = executors.Place(Ending(lambda future: future.set_exception(OSError("gone"))), 2, "nowhere")
    swept = sweeps.run(loaded(), store=tmp_path / "s", place=place, options=options("quick"))
    assert {(row.kind, row.reason) for row in swept.rows} == {("lost", "its worker is gone (OSError: gone)")}
    again = sweeps.run(loaded(), store=tmp_path / "s", jobs=2, options=options("quick"))
    assert (again.progress.ran, again.failed, len(log())) == (6, [], 6)


def test_an_executor_that_gives_up_ends_the_sweep(tmp_path):
    # As Dask does when its scheduler is gone.
    place = executors.Place(
        Ending(lambda future: future.cancel() and future.set_running_or_notify_cancel()), 2, "nowhere"
    )
    with pytest.raises(SweepError, match="the executor has given up: what is done is kept"):
        sweeps.run(loaded(), store=tmp_path / "s", place=place, options=options("quick"))


def test_failures_are_rows_with_reasons_and_the_sweep_goes_on(tmp_path, monkeypatch):
    monkeypatch.setenv("GATEMILL_TEST_MARK", f"mark-{os.getpid()}-{tmp_path.name}")
    wide = loaded(vary={"array.rows": [2, 4, 8, 16, 32, 64, 99999]}, timeout=3)
    swept = sweeps.run(wide, store=tmp_path / "s", jobs=4, options=options("broken"))
    found = {row.point.settings["array.rows"]: (row.status, row.kind, row.reason) for row in swept.rows}
    assert found[2] == ("failed", "refused", "what is asked for: must be something else")
    assert found[4] == ("failed", "tool", "yosys failed (1):\nsome text")
    assert found[8] == ("failed", "crash", "its process ended with signal SIGKILL")
    assert found[16] == ("done", None, None)
    assert found[32] == ("failed", "time-out", "took longer than 3 s and was ended")
    assert found[64] == ("failed", "crash", "ZeroDivisionError: nothing to divide by")
    assert found[99999][:2] == ("failed", "refused")
    assert "array.rows = 99999: must be an integer from" in found[99999][2]
    assert "Traceback" in next(row.log for row in swept.rows if row.kind == "crash" and row.log)
    assert not alive(os.environ["GATEMILL_TEST_MARK"])
    # Failures are answers, too: only what had less time than there is now, or is asked for, runs again.
    again = sweeps.run(wide, store=tmp_path / "s", jobs=4, options=options("broken"))
    assert (again.progress.ran, len(again.failed)) == (0, 6)
    command = swept.again(next(row for row in swept.rows if row.kind == "tool"))
    assert command == "gatemill sweep s.toml --only array.rows=4 --only target=ecp5-85k --again"
    retried = sweeps.run(
        wide, store=tmp_path / "s", jobs=4, only=["array.rows=4"], options=options("broken", retry=True)
    )
    assert retried.progress.ran == 1


def test_a_worker_of_another_version_is_not_believed():
    found = runner.run_point("sweep_evaluators:quick", {}, 5, "another")
    assert (found["status"], found["kind"]) == ("failed", "lost")


# A process in the background of a shell has been told to ignore interrupts.
DRIVER = """
import signal, sys
from gen.sweep import spec, sweep
from gen.sweep.engine import Options
from test_sweep import SPEC
signal.signal(signal.SIGINT, signal.default_int_handler)
vary = {"array.rows": [1, 2, 4, 8], "array.columns": [4, 8]}
loaded, options = spec.check(SPEC | {"vary": vary}, "s"), Options(evaluator="sweep_evaluators:slow")
made = sweep.run(loaded, store=sys.argv[1], jobs=2, options=options)
print(len(made.rows), made.progress.ran, made.interrupted)
"""


def driver(store):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(store)], env=environment, stdout=subprocess.PIPE, text=True
    )


def stored(path):
    return len(Store(path, read_only=True).rows()) if path.exists() and path.stat().st_size else 0


def wait_for(condition, seconds=300):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "took too long"
        time.sleep(0.02)


def begun(path, count):
    def condition():
        try:
            return stored(path) >= count
        except RequestError:
            return False

    wait_for(condition)


def test_kill_9_of_the_driver_loses_nothing_finished_and_leaves_nobody(tmp_path, log):
    store = tmp_path / "s.sqlite"
    process = driver(store)
    begun(store, 2)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    kept = stored(store)
    # Whoever was at work on a point ends with its driver.
    wait_for(lambda: not alive(str(tmp_path)) and not children_of_points())
    before = len(log())
    out, _ = driver(store).communicate(timeout=300)
    assert out.split() == ["8", str(8 - kept), "False"]
    assert 2 <= kept < 8
    assert len(log()) - before == 8 - kept


def children_of_points():
    """Processes of this test's points: those that have its log in their environment."""
    mark = os.environ["GATEMILL_TEST_LOG"].encode()
    found = []
    for pid in alive("gen.sweep.worker"):
        try:
            if mark in Path(f"/proc/{pid}/environ").read_bytes():
                found.append(pid)
        except OSError:
            continue
    return found


def test_an_interrupt_keeps_and_returns_what_is_done(tmp_path, log):
    store = tmp_path / "s.sqlite"
    process = driver(store)
    begun(store, 2)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=300)
    rows, ran, interrupted = out.split()
    assert interrupted == "True"
    assert 2 <= int(rows) == int(ran) < 8
    assert stored(store) == int(rows)
    assert not children_of_points()


def test_stores_are_checked(tmp_path):
    (tmp_path / "text").write_text("no database at all, and long enough to be looked at as one" * 20)
    with pytest.raises(RequestError, match="must be a store of points"):
        Store(tmp_path / "text")
    with pytest.raises(RequestError, match="must be a file that is there"):
        Store(tmp_path / "none", read_only=True)
    with pytest.raises(RequestError, match=r"--resume: the store .* must be there"):
        sweeps.run(loaded(), store=tmp_path / "none", resume=True)
    with Store(tmp_path / "s") as store:
        for key in ("ab12", "ab34"):
            store.put(Row(key=key, point=next(points.grid(loaded())), status="done"))
        assert store.find("ab1").key == "ab12"
        with pytest.raises(RequestError, match="more than one begins so"):
            store.find("ab")
        with pytest.raises(RequestError, match="none begins so"):
            store.find("c")
        with pytest.raises(RequestError, match="hexadecimal digits"):
            store.find("%")


def test_a_damaged_row_is_told_by_its_key(tmp_path):
    point = next(points.grid(loaded()))
    with Store(tmp_path / "s") as store:
        store.put(Row(key="ab12", point=point, status="done"))
        for value in ("{", "{}", "[]"):
            store._connection.execute("UPDATE points SET point = ?", [value])
            with pytest.raises(RequestError, match="the point ab12 must be as it was written, and is not"):
                store.get("ab12")


def test_only_holds_parameters(tmp_path):
    with pytest.raises(
        RequestError, match=r"must be KEY=VALUE with a KEY of array.rows, array.columns, target"
    ):
        sweeps.narrowed(loaded(), ["zz=1"])
    with pytest.raises(RequestError, match="must be one of 2, 4, 8"):
        sweeps.narrowed(loaded(), ["array.rows=3"])
    assert sweeps.narrowed(loaded(), ["array.rows=2", "target=ecp5-85k"]).spec.size == 2


def test_pareto_front():
    point = next(points.grid(loaded()))
    rows = [
        Row(key=name, point=point, status=status, figures={"lut": lut, "gmac_per_second": speed})
        for name, status, lut, speed in (
            ("small", "done", 1, 1), ("fast", "done", 9, 9), ("worse", "done", 9, 8), ("same", "done", 9, 9),
            ("middle", "done", 5, 5), ("failed", "failed", 0, 99),
        )
    ]  # fmt: skip
    rows.append(Row(key="other figures", point=point, status="done"))
    goals = [Objective.of("lut"), Objective.of("-gmac_per_second")]
    assert [row.key for row in front(rows, goals)] == ["small", "middle", "fast", "same"]
    assert [row.key for row in front(rows, goals[:1])] == ["small"]
