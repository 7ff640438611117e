"""Points chosen by Optuna: different ones, good ones, and the same again when an exploration is resumed."""

from __future__ import annotations

import pytest
from test_sweep import SPEC, options

from gen.sweep import spec
from gen.sweep import sweep as sweeps
from gen.sweep.explore import Explorer
from gen.sweep.store import Row, Store

GRID = {"array.rows": list(range(1, 13)), "array.columns": list(range(1, 13)), "array.flag": [1, True]}


def loaded(sampler="nsga2", **more):
    return spec.check(SPEC | {"vary": GRID, "explore": {"sampler": sampler}} | more, "s.toml")


def explore(store, source, limit=1000):
    """Every point's settings; objectives that are best with 7 rows and 5 columns."""
    found = []
    while len(found) < limit and (asked := source.ask()):
        point, settings = asked
        found.append(settings)
        loss = abs(settings["array.rows"] - 7) + abs(settings["array.columns"] - 5)
        figures = {"cycles": loss, "lut": loss + 1}
        source.tell(settings, Row(key="k", point=point, status="done", figures=figures))
    return found


@pytest.mark.parametrize("sampler", ["nsga2", pytest.param("tpe", marks=pytest.mark.long)])
def test_points_differ_and_come_nearer_to_what_is_wanted(tmp_path, sampler):
    with Store(tmp_path / "s") as store:
        found = explore(store, Explorer(loaded(sampler), store, 60))
    assert len(found) == len({repr(one) for one in found}) == 60
    losses = [abs(one["array.rows"] - 7) + abs(one["array.columns"] - 5) for one in found]
    assert sum(losses[30:]) < sum(losses[:30])


def test_a_small_grid_is_exhausted_constraints_hold_and_failures_do_no_harm(tmp_path):
    small = loaded(constraints=["array.rows <= 3", "array.columns <= array.rows", "array.flag == true"])
    with Store(tmp_path / "s") as store:
        source = Explorer(small, store, 50)
        assert source.total == 6
        found = []
        while asked := source.ask():
            point, settings = asked
            found.append((settings["array.rows"], settings["array.columns"]))
            assert settings["array.flag"] is True
            source.tell(settings, Row(key="k", point=point, status="failed", kind="crash"))
    assert sorted(found) == [(1, 1), (2, 1), (2, 2), (3, 1), (3, 2), (3, 3)]


def test_what_is_under_way_is_not_asked_for_again(tmp_path):
    with Store(tmp_path / "s") as store:
        source = Explorer(loaded(), store, 40)
        asked = [source.ask() for _ in range(40)]
        assert source.ask() is None
        assert len({repr(settings) for _, settings in asked}) == 40


def test_an_exploration_is_resumed_with_its_own_choices(tmp_path):
    with Store(tmp_path / "s") as store:
        first = explore(store, Explorer(loaded(), store, 30), limit=12)
        more = explore(store, Explorer(loaded(), store, 30, resume=True))
        assert more[:12] == first
        assert len({repr(one) for one in more}) == 30
        other = explore(store, Explorer(loaded(seed=5), store, 30, resume=True), limit=12)
        assert other == first, "another specification begins by itself, with the same seed"


def test_a_whole_exploration(tmp_path):
    plain = spec.check(SPEC | {"vary": {"array.rows": [2, 4, 8], "array.columns": [2, 4, 8, 16]}}, "s.toml")
    swept = sweeps.run(plain, store=tmp_path / "s", jobs=2, explore=8, options=options("quick"))
    assert (len(swept.rows), swept.progress.ran, swept.progress.total) == (8, 8, 8)
    again = sweeps.run(plain, store=tmp_path / "s", jobs=2, explore=10, resume=True, options=options("quick"))
    assert [row.key for row in again.rows[:8]] == [row.key for row in swept.rows]
    assert (len(again.rows), again.progress.ran) == (10, 2)
