"""What is said of a point: cycles as the cycle model has them, area and clock as programs report, where cells lie."""

from __future__ import annotations

import json

import pytest

from fpga.flow.report import Use
from fpga.flow.steps import DoesNotFit
from gen import cases, config
from gen.estimate import fitted, fpga, measured, work
from gen.models import shapes
from gen.models.work import parse, restored
from gen.sweep import evaluate, points, spec

TINY = shapes.Shape(source="none", layers=3, width=16, hidden=24, heads=2, key_heads=1, vocabulary=40)
SMALL = {
    "memory.activations_kib": [1], "memory.weights_kib": [1], "memory.accumulators": [64], "control.queue_depth": [1],
}  # fmt: skip


def point(**more):
    data = {"base": "systolic-4x4", "targets": ["ecp5-25k"], "workload": "gemm:9x20x11"} | more
    return next(points.grid(spec.check(data, "s.toml"))).as_dict()


def fake(monkeypatch, **found):
    use = {
        name: Use(used=number, available=99)
        for number, name in enumerate(("luts", "flip_flops", "block_rams"), 7)
    }
    asked = []

    def measure(rtlil, target, effort):
        asked.append((rtlil, target, effort))
        return fpga.Measured(use=use, **found)

    monkeypatch.setattr(fpga, "measure", measure)
    monkeypatch.setattr(measured, "accelerator", lambda loaded: loaded.name)
    monkeypatch.setattr(measured, "to_rtlil", lambda component, name: f"{name} {component}")
    return asked


def predicted(loaded, sizes, **more):
    case = cases.Case(sizes, timing=cases.memory(work.LATENCY), **more)
    return cases.prediction(loaded, cases.prepare(loaded, case)).cycles


def test_cycles_are_those_of_the_cycle_model():
    loaded = config.load("systolic-4x4")
    found = work.predict(loaded, parse("gemm:9x20x11"))
    assert found.cycles == predicted(loaded, (9, 20, 11))


def test_cycles_of_a_model_are_those_of_all_its_layers(monkeypatch):
    monkeypatch.setitem(shapes.SHAPES, "tiny", TINY)
    loaded = config.load("systolic-4x4")
    for text, tokens in (("tiny:decode", 1), ("tiny:prefill=5", 5)):
        named = parse(text)
        assert (named.tokens, named.products) == (tokens, tuple(TINY.linears(tokens)))
        wanted = sum(one.count * predicted(loaded, (one.M, one.K, one.N)) for one in named.products)
        assert work.predict(loaded, named).cycles == wanted


def test_cycles_that_depend_on_weights_are_of_random_ones():
    loaded = config.load("bitmod-int8-8x8", ["array.skip_zero_terms=true"])
    named = parse("gemm:8x64x16")
    wide, narrow = (work.predict(loaded, named, weights=weights).cycles for weights in ("int8", "fp4-mixed"))
    assert wide == predicted(loaded, (8, 64, 16), weights="int8")
    assert narrow < wide


def test_figures_of_a_point_that_is_synthesised_alone(monkeypatch):
    asked = fake(monkeypatch)
    found = evaluate.evaluate(point(clock_mhz=50.0))
    assert asked[0][:2] == ("top systolic-4x4", "ecp5-25k")
    assert (asked[0][2].seeds, asked[0][2].mhz) == ((), 50.0)
    assert {name: found[name] for name in ("lut", "ff", "bram", "dsp", "clock_mhz")} == {
        "lut": 7, "ff": 8, "bram": 9, "dsp": 0, "clock_mhz": 50.0,
    }  # fmt: skip
    assert found["seconds_per_run"] == found["cycles"] / 50e6
    assert found["array_utilisation"] == pytest.approx(9 * 20 * 11 / (16 * found["cycles"]), rel=1e-5)
    assert "tokens_per_second" not in found
    assert "fmax_mhz" not in found
    assert evaluate.evaluate(point())["clock_mhz"] == work.ASSUMED_MHZ


def test_figures_of_a_model_s_workload_that_is_placed(monkeypatch):
    monkeypatch.setitem(shapes.SHAPES, "tiny", TINY)
    asked = fake(monkeypatch, frequencies=(80.0,), floorplan={"rows": []})
    found = evaluate.evaluate(point(workload="tiny:decode", place_and_route=True, clock_mhz=79.0))
    assert (found["fmax_mhz"], found["clock_mhz"], found["floorplan"]) == (80.0, 80.0, {"rows": []})
    assert asked[0][2].seeds == (1,)
    assert found["tokens_per_second"] == pytest.approx(80e6 / found["cycles"])


def test_figures_of_the_fitted_model(monkeypatch):
    told = {"lut": 5, "ff": 6, "dsp": 7, "bram": 8, "fmax_mhz": None}
    monkeypatch.setattr(fitted, "answer", lambda loaded, target: told)
    found = evaluate.evaluate(point(method="fitted", targets=["ecp5-85k"]))
    assert {name: found[name] for name in ("lut", "ff", "dsp", "bram", "clock_mhz", "floorplan")} == {
        "lut": 5, "ff": 6, "dsp": 7, "bram": 8, "clock_mhz": work.ASSUMED_MHZ, "floorplan": None,
    }  # fmt: skip
    assert "fmax_mhz" not in found


def test_a_missed_clock_is_a_failure_with_figures(monkeypatch):
    fake(monkeypatch, frequencies=(80.0,))
    with pytest.raises(evaluate.TimingMissed, match=r"clock must be 81 MHz, and 80 MHz are reached") as error:
        evaluate.evaluate(point(place_and_route=True, clock_mhz=81.0))
    assert error.value.kind == "timing"
    assert error.value.figures["lut"] == 7


def test_layout():
    def cell(bel, kind="TRELLIS_COMB"):
        return {"type": kind, "attributes": {"NEXTPNR_BEL": bel}}

    cells = {
        "core.array.a": cell("X1/Y0/A"), "core.array.b": cell("X1/Y0/B"), "load.c": cell("X1/Y0/C"),
        "load.d": cell("X2/Y1/A"), "load.e": cell("X2/Y1/B"), "pll": cell("X0/Y0/PLL", "EHXPLLL"),
    }  # fmt: skip
    found = fpga.layout({"modules": {"top": {"cells": cells}}})
    assert found["rows"] == [".B.", "..A"]
    assert [found["modules"][letter]["name"] for letter in "AB"] == ["load", "core.array"]
    assert [found["modules"][letter]["cells"] for letter in "AB"] == [3, 2]


def test_the_products_of_a_file_are_a_part_of_the_point(tmp_path):
    """They count in its key, and whoever evaluates it need not have the file."""
    keys = []
    for columns in (11, 12):
        text = f'tokens = 3\n[[gemm]]\nname = "up"\nM = 9\nK = 20\nN = {columns}\ncount = 2\n'
        (tmp_path / "own.toml").write_text(text)
        data = {"base": "systolic-4x4", "targets": ["ecp5-85k"], "workload": "own.toml", "method": "fitted"}
        loaded = spec.check(data | {"objectives": ["-tokens_per_second"]}, "s.toml", folder=tmp_path)
        one = next(points.grid(loaded))
        keys.append(one.key("x"))
        (tmp_path / "own.toml").unlink()
        again = points.Point.from_dict(json.loads(json.dumps(one.as_dict())))
        assert again.key("x") == keys[-1]
        found = evaluate.evaluate(again.as_dict())
        assert found["cycles"] == 2 * predicted(config.load("systolic-4x4"), (9, 20, columns))
        assert found["tokens_per_second"] == pytest.approx(3 / found["seconds_per_run"])
        assert restored(one.as_dict()["workload"]).name == loaded.spec.workload
    assert len(set(keys)) == 2


@pytest.mark.long
def test_a_real_point_and_one_that_does_not_fit():
    found = evaluate.evaluate(point(vary=SMALL))
    assert 4_000 < found["lut"] < 20_000
    assert found["dsp"] >= 16
    with pytest.raises(DoesNotFit, match="does not fit a iCE40UP5K"):
        evaluate.evaluate(point(vary=SMALL, targets=["ice40-up5k"]))


@pytest.mark.long
def test_a_real_point_is_placed():
    found = evaluate.evaluate(point(vary=SMALL, place_and_route=True))
    assert found["fmax_mhz"] > 20
    names = {one["name"] for one in found["floorplan"]["modules"].values()}
    assert any("load" in name for name in names)
    assert sum(one["cells"] for one in found["floorplan"]["modules"].values()) > found["lut"] / 3
