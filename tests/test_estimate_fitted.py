"""The fitted model: least squares without negative coefficients, its terms, what it says and what it refuses."""

from __future__ import annotations

import json

import numpy as np
import pytest

from gen import config
from gen.errors import RequestError
from gen.estimate import collect, features, fitted, points, request
from gen.estimate.points import Chosen
from sim.tools import ToolError


def test_least_squares_without_negative_coefficients():
    generator = np.random.default_rng(1)
    for _ in range(20):
        matrix = generator.normal(size=(12, 5))
        values = matrix @ generator.normal(size=5)
        found = fitted.non_negative(matrix, values)
        slope = matrix.T @ (matrix @ found - values)
        # The conditions of Karush, Kuhn and Tucker, which only the solution meets.
        assert (found >= 0).all()
        assert (slope >= -1e-8).all()
        assert np.abs(slope[found > 0]).max(initial=0) < 1e-8
    exact = np.array([3.0, 0.0, 2.0])
    matrix = generator.uniform(size=(9, 3))
    assert fitted.non_negative(matrix, matrix @ exact) == pytest.approx(exact, abs=1e-9)


def test_every_chosen_configuration_has_a_kind_and_no_two_are_the_same():
    every = points.chosen()
    assert {features.kind(one.config) for one in every} == set(features.KINDS)
    assert len({(one.config.digest, one.core) for one in every}) == len(every)
    for kind in features.KINDS:
        own = [one for one in every if features.kind(one.config) == kind]
        assert sum(one.held for one in own) >= 1
        assert sum(not one.held for one in own) >= fitted.LEAST


def made(*, held=()):
    """Points whose sizes are sums of terms, as the model has them: each coefficient is 1."""
    rows = []
    for number, one in enumerate(one for one in points.chosen() if not one.held or one in held):
        terms = features.terms(one.config)
        modules = {module: sum(several.values()) for module, several in terms.items()}
        chosen = {features.CORE: modules[features.CORE]} if one.core else modules
        figures = {f"{module}.{name}": value for module, value in chosen.items() for name in fitted.FITTED}
        figures |= dict.fromkeys(fitted.FITTED, sum(chosen.values())) | {"dsp": 4, "bram": 9}
        if not one.core:
            figures["fmax_mhz"] = 100.0 + number % 3
        rows.append(fitted.Measured(config=one.config, held=one.held, core=one.core, figures=figures))
    return rows


def test_what_is_made_of_its_terms_is_found_again():
    held = [one for one in points.chosen() if one.held]
    every = made(held=held)
    model = json.loads(json.dumps(fitted.fit(every)))
    assert set(model["cores"]) == set(features.KINDS)
    for one in (one for one in every if one.held):
        told = fitted.predict(model, one.config)
        judged = told["modules"]["core"] if one.core else told
        assert judged["lut"] == pytest.approx(one.figures["lut"], rel=0.03)
        assert told["lut"] == sum(module["lut"] for module in told["modules"].values())
    assert model["errors"]["lookup"]["lut"]["worst"] < 0.03
    assert model["errors"]["lookup"]["fmax_mhz"]["points"] == 2


def test_clocks():
    """Those of a placed accelerator itself; of others its own kind's, the more alike the more they count; of cores alone by the
    share that others have, and no more than the fastest."""

    def placed(base, core, mhz, *overrides):
        loaded = config.load(base, overrides)
        return fitted.Measured(config=loaded, held=False, core=core, figures={"fmax_mhz": mhz})

    four = ('array.activations=["mxfp4"]', 'array.weights=["mxfp4"]', "array.block=32")
    every = [
        placed("systolic-8x8", False, 160.0),
        placed("systolic-8x8", True, 220.0),
        placed("systolic-8x8", False, 150.0, "array.rows=2"),
        placed("lut-m2n64k4", False, 120.0),
        placed("lut-m2n64k4", True, 150.0),
        placed("olive-8x8", True, 180.0),
        placed("olive-8x8", True, 240.0, "array.rows=2"),
        placed("mx-8x8", False, 100.0, *four),
        placed("mx-8x8", True, 200.0),
    ]
    model = {"clocks": fitted._clocks(every)}
    for base, overrides, mhz in (
        ("systolic-8x8", (), 160.0),
        ("systolic-8x8", ("array.rows=2",), 150.0),
        ("lut-m2n64k4", (), 120.0),
        ("olive-8x8", (), 0.8 * 180),
        ("olive-8x8", ("array.rows=2",), 160.0),
        ("mx-8x8", four, 100.0),
        ("mx-8x8", (), 100.0),
        ("bitmod-int8-8x8", (), None),
    ):
        assert fitted.clock(model, config.load(base, overrides)) == mhz, (base, overrides)
    between = [fitted.clock(model, config.load("systolic-8x8", [f"array.rows={rows}"])) for rows in (7, 5, 3)]
    assert 160 > between[0] > between[1] > between[2] > 150
    assert fitted.clock(model, config.load("olive-8x8"), "core") == 180.0
    assert fitted.clock({"clocks": fitted._clocks(every[-1:])}, config.load("mx-8x8")) == 200.0


def test_figures_that_are_missing_are_not_fitted():
    some = [one for one in made() if features.kind(one.config) == "lookup"]
    before = fitted.fit(some)["cores"]["lookup"]
    strange = fitted.Measured(config=some[0].config, held=False, core=True, figures={"lut": 10**6})
    after = fitted.fit([*some, strange])["cores"]["lookup"]
    assert (after["ff"], after["lut"] == before["lut"]) == (before["ff"], False)


def test_kinds_without_points_are_refused(monkeypatch):
    some = [one for one in made() if features.kind(one.config) == "lookup"]
    monkeypatch.setattr(fitted, "model", lambda: fitted.fit(some))
    found = fitted.answer(config.load("lut-m2n64k4"), "ecp5-85k")
    assert (found["kind"], found["errors"]) == ("lookup", {})
    assert "core.sums" in found["beyond"]
    inside = next(one for one in some if not one.core)
    assert fitted.answer(inside.config, "ecp5-85k")["beyond"] == []
    for name, target, text in (
        ("systolic-8x8", "ecp5-85k", "must have a core of lookup, with queues"),
        ("lut-up5k", "ecp5-85k", "must have a core of lookup, with queues"),
        ("lut-m2n64k4", "ecp5-25k", "target 'ecp5-25k': must be ecp5-85k for the fitted model"),
    ):
        with pytest.raises(RequestError, match=text):
            fitted.answer(config.load(name), target)


def test_the_document_says_that_it_is_fitted(monkeypatch):
    monkeypatch.setattr(fitted, "model", lambda: fitted.fit(made()))
    loaded = config.load("systolic-8x8")
    found = request.estimate(request.Request(config=loaded, target="ecp5-85k", method="fitted")).document
    assert (found["method"], found["clock_origin"]) == ("fitted", "fitted")
    assert found["fmax_mhz"] == found["clock_mhz"] > 99
    assert (found["dsp"], found["bram"]) == (64 + 4, 67)
    assert {row["module"] for row in found["modules"]} == set(features.MODULES)
    with pytest.raises(RequestError, match="seeds and variants must be left out with the fitted model"):
        request.Request(config=loaded, target="ecp5-85k", method="fitted", every_way=True)


def test_the_model_that_comes_along_is_that_of_the_points():
    assert json.loads(json.dumps(fitted.fit(fitted.points()))) == fitted.model()


def test_points_are_collected_once(tmp_path, monkeypatch):
    """And kept one by one; what a program fails with is left out, and tried again; rows of before keys are taken."""
    ones = [Chosen(base="systolic-4x4", settings={"array.rows": rows}) for rows in (2, 3, 4)]
    file, asked, told = tmp_path / "points.json", [], []

    def measure(one, rtlil):
        asked.append(one.config.array.rows)
        if asked == [2, 3]:
            assert [row["settings"] for row in json.loads(file.read_text())] == [{"array.rows": 2}]
            raise ToolError("yosys failed")
        return {"lut": len(rtlil)}

    monkeypatch.setattr(collect, "design", lambda one: "r" * one.config.array.rows)
    monkeypatch.setattr(collect, "measure", measure)
    first = collect.collect(file, ones, told.append)
    assert (
        [row["figures"]["lut"] for row in first]
        == [2, 4]
        == [row["figures"]["lut"] for row in json.loads(file.read_text())]
    )
    assert "left out: yosys failed" in told
    second = collect.collect(file, ones, told.append)
    assert (asked, [row["figures"]["lut"] for row in second]) == ([2, 3, 4, 3], [2, 3, 4])
    assert [one.config.array.rows for one in fitted.read(second)] == [2, 3, 4]
    # Another design has another key; a row without one is taken as it is.
    del second[0]["key"]
    collect.write(file, second)
    monkeypatch.setattr(collect, "design", lambda one: "s" * one.config.array.rows)
    collect.collect(file, ones, told.append)
    assert asked == [2, 3, 4, 3, 3, 4]
    # Of others than those asked for the rows stay.
    monkeypatch.setattr(collect, "design", lambda one: "t" * one.config.array.rows)
    some = collect.collect(file, ones, told.append, lambda one: one.config.array.rows == 3)
    assert (asked, [len(row["settings"]) for row in some]) == ([2, 3, 4, 3, 3, 4, 3], [1, 1, 1])
    assert len(json.loads(file.read_text())) == 3


def test_keys():
    whole, core = (Chosen(base="systolic-4x4", core=core) for core in (False, True))
    assert collect.key(whole, "a") == collect.key(whole, "a") != collect.key(whole, "b")
    # One of them is placed with more seeds.
    assert collect.key(whole, "a") != collect.key(core, "a")
    assert collect.design(core) != collect.design(whole)


def test_the_figures_of_the_fit(monkeypatch):
    from gen.bench import fit

    monkeypatch.setattr(fitted, "points", lambda: made(held=[one for one in points.chosen() if one.held]))
    rows = fit.rows(lambda _: None)
    assert len(rows) == len(features.KINDS)
    assert all(row.held for row in rows)
    assert "LUT" in rows[0].measured
