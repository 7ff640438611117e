"""``gatemill sweep`` and ``gatemill compare``: files, JSON keys, exit statuses, what is said to people."""

from __future__ import annotations

import csv
import functools
import io
import json
import re

import pytest
from pyarrow import parquet

from gen.sweep import engine

SPEC = """
base = "systolic-8x8"
targets = ["ecp5-85k"]
objectives = ["cycles", "lut"]
constraints = ["array.rows != 2 or array.columns == 4"]
timeout = 60
[vary]
"array.rows" = [2, 4]
"array.columns" = [4, 8]
"""


@pytest.fixture
def sweep(gatemill, tmp_path, monkeypatch):
    """``gatemill sweep`` with a quick evaluator."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "spec.toml").write_text(SPEC)

    def run(*arguments, evaluator="quick"):
        options = functools.partial(engine.Options, evaluator=f"sweep_evaluators:{evaluator}")
        monkeypatch.setattr(engine, "Options", options)
        return gatemill("sweep", "spec.toml", "--store", "s.sqlite", *arguments)

    monkeypatch.setattr(engine, "Options", engine.Options)
    return run


def test_a_sweep_its_files_and_the_second_one(sweep, tmp_path):
    status, out, err = sweep("--json", "--parquet", "-o", "out")
    document = json.loads(out)
    assert (status, err) == (0, "")
    assert (len(document["points"]), document["ran"], document["failed"]) == (3, 3, 0)
    assert document["report"] == "out/sweep.html"
    assert [len(document["pareto"]), document["interrupted"]] == [3, False]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "pareto.svg", "points.csv", "points.json", "points.parquet", "sweep.html",
    }  # fmt: skip
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out" / "points.csv").read_text())))
    assert [(row["array.rows"], row["array.columns"], row["lut"]) for row in rows] == [
        ("2", "4", "800"), ("4", "4", "1600"), ("4", "8", "3200"),
    ]  # fmt: skip
    assert parquet.read_table(tmp_path / "out" / "points.parquet").column("lut").to_pylist() == [
        800,
        1600,
        3200,
    ]
    kept = json.loads((tmp_path / "out" / "points.json").read_text())
    assert kept["points"] == document["points"]
    status, out, _ = sweep("--json", "--resume")
    again = json.loads(out)
    assert (status, again["ran"], again["points"]) == (0, 0, document["points"])
    assert again["report"] == "build/spec/sweep.html"


def test_files_of_an_earlier_sweep_do_not_stay_beside_those_of_another(sweep, tmp_path):
    sweep("--parquet", "-o", "out")
    (tmp_path / "spec.toml").write_text(SPEC.replace('"cycles", "lut"', '"cycles"'))
    sweep("-o", "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"points.csv", "points.json", "sweep.html"}


def test_answers_of_the_store_are_points_of_the_sweep_that_asks(sweep, tmp_path):
    narrow = SPEC.replace('"array.columns" = [4, 8]', "").replace(" or array.columns == 4", "")
    (tmp_path / "spec.toml").write_text(narrow)
    sweep("--json")
    (tmp_path / "spec.toml").write_text(SPEC)
    document = json.loads(sweep("--json")[1])
    row = document["points"][2]
    assert (document["ran"], row["settings"]) == (2, {"array.rows": 4, "array.columns": 8})
    assert "--only array.columns=8" in row["again"]


def test_the_table_for_people(sweep):
    status, out, _ = sweep()
    assert status == 0
    assert "3 points; 3 run now; 0 failed; 3 on the Pareto front (*) of cycles, lut" in " ".join(out.split())
    assert re.search(r"\* +│ [0-9a-f]{8} │ 2 +│ 4 +│ ecp5-85k", out)
    assert "gemm:64x576x576 on ecp5-85k; synthesised" in out


def test_a_failed_point_is_status_1_and_its_command_makes_it_anew(sweep):
    status, out, _ = sweep("--json", evaluator="broken")
    failed = [row for row in json.loads(out)["points"] if row["status"] == "failed"]
    assert (status, len(failed)) == (1, 3)
    assert {row["kind"] for row in failed} == {"refused", "tool"}
    command = next(row["again"] for row in failed if row["kind"] == "tool").split()
    assert command[:3] == ["gatemill", "sweep", "spec.toml"]
    status, out, _ = sweep(*command[3:], evaluator="broken")
    assert status == 1
    assert "1 points; 1 run now; 1 failed" in " ".join(out.split())
    assert "sim.tools.ToolError: yosys failed (1):" in out


def test_compare(sweep, gatemill):
    _, out, _ = sweep("--json")
    keys = [row["key"] for row in json.loads(out)["points"]]
    status, out, _ = gatemill("compare", keys[0][:8], keys[2][:8], "--store", "s.sqlite", "--json")
    document = json.loads(out)
    assert status == 0
    assert (document["a"], document["b"], document["failures"]) == (keys[0], keys[2], {})
    assert document["differences"] == [
        {"what": "configuration.array.rows", "a": 2, "b": 4},
        {"what": "configuration.array.columns", "a": 4, "b": 8},
    ]
    assert {"figure": "lut", "a": 800, "b": 3200, "ratio": 4.0} in document["figures"]
    status, out, _ = gatemill("compare", keys[0][:8], keys[2][:8], "--store", "s.sqlite")
    assert "configuration.array.rows" in out
    assert "4.000" in out


def test_exploring(sweep):
    status, out, _ = sweep("--json", "--explore", "2")
    assert (status, len(json.loads(out)["points"])) == (0, 2)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--jobs", "0"], "--jobs 0: must be an integer from 1 to 1024"),
        (["--explore", "0"], "--explore 0: must be an integer from 1 to 1000000"),
        (["--only", "zz"], "--only 'zz': must be KEY=VALUE with a KEY of array.rows, array.columns, target"),
        (["--resume"], "--resume: the store 's.sqlite' must be there"),
        (
            ["--only", "array.rows=2", "--only", "array.columns=8"],
            "constraints must leave at least one point",
        ),
        (["-o", "/dev/null/x"], "--output '/dev/null/x': must be a folder"),
    ],
)
def test_what_cannot_be_taken(sweep, arguments, line):
    status, out, err = sweep(*arguments)
    assert (status, out) == (2, "")
    assert line in err


def test_wrong_files(gatemill, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.toml").write_text("base = 1\ntargets = ['x']\n")
    for arguments, line in (
        (["sweep", "none.toml"], "specification 'none.toml': must be readable TOML"),
        (["sweep", "bad.toml"], "specification bad.toml has 2 mistakes:"),
        (["compare", "ab", "cd", "--store", "none"], "--store 'none': must be a file that is there"),
    ):
        status, _, err = gatemill(*arguments)
        assert status == 2
        assert line in err
