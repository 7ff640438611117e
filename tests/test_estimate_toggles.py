"""Toggles: what is counted in a trace, and the whole way from a configuration."""

from __future__ import annotations

import json

import pytest

from gen import cli, config, run
from gen.errors import RequestError
from gen.estimate import toggles
from sim.simulate import SimulationError

TRACE = """$timescale 1ns $end
 $scope module harness $end
  $var wire 1 ! clk $end
  $var wire 1 r running $end
  $var wire 4 h read_beats [3:0] $end
  $scope module accelerator $end
   $var wire 1 ! clk $end
   $var wire 4 a word [3:0] $end
   $scope module core $end
    $var wire 4 a word [3:0] $end
    $var wire 8 s sum [7:0] $end
    $scope module array $end
     $var wire 8 s result [7:0] $end
     $var wire 1 e enable $end
    $upscope $end
   $upscope $end
   $scope module store $end
    $var wire 1 o one $end
   $upscope $end
  $upscope $end
 $upscope $end
$enddefinitions $end
#0
0!
0r
b0000 h
b0000 a
b00000001 s
0e
1o
#5
1!
1r
b1111 a
#10
0!
#15
1!
b0111 h
b0101 a
b11111110 s
1e
#20
0!
#25
1!
b0100 a
0e
0r
0o
#35
1!
b1011 a
1o
"""
"""Runs from the edge at 5 to the one at 25."""


def test_counts():
    """By hand: 2 bits and 1 of ``word``, which two modules have; 8 of ``sum``; ``enable`` twice; ``one`` once."""
    assert toggles.count(TRACE.splitlines(keepends=True)) == {"": 3, "core": 8, "core.array": 2, "store": 1}
    with pytest.raises(SimulationError, match="the trace must have the accelerator's signals"):
        toggles.count(["$enddefinitions $end\n", "#0\n"])


def test_document():
    modules = {"": 3, "core": 8, "core.array": 2, "store": 1}
    made = toggles.Toggles(sizes=(2, 3, 1), formats=("int8", "int8"), cycles=2, modules=modules)
    shallow, deep = made.as_dict(1), made.as_dict(2)
    assert (shallow["total"], shallow["per_cycle"], shallow["multiplications"]) == (14, 7, 6)
    assert {row["module"]: row["toggles"] for row in shallow["modules"]} == {
        "core": 10,
        "store": 1,
        "top": 3,
    }
    assert {row["module"]: row["toggles"] for row in deep["modules"]}["core.array"] == 2
    assert sum(row["per_multiplication"] for row in deep["modules"]) == pytest.approx(
        made.as_dict(1)["per_multiplication"]
    )


def test_sizes():
    assert toggles.parse("8x64x8") == (8, 64, 8)
    for text, words in (
        ("8x64", "--toggles '8x64': must be MxKxN"),
        ("1024x1024x2", "--toggles '1024x1024x2': must have at most 1048576 multiplications, not 2097152"),
    ):
        with pytest.raises(RequestError, match=words):
            toggles.parse(text)


def test_a_run_that_fails_is_not_counted(monkeypatch):
    monkeypatch.setattr(run, "run", lambda *_, **__: [{"pass": False}])
    with pytest.raises(
        SimulationError, match="systolic-4x4 must compute random GEMM, 4 x 8 x 4 as its model"
    ):
        toggles.measure(config.load("systolic-4x4"), (4, 8, 4))


@pytest.mark.long
def test_command(capfd):
    """A simulation of its own, and the same numbers again."""
    command = ["estimate", "systolic-4x4", "--target", "ecp5-85k", "--fitted", "--toggles", "8x32x8"]
    assert cli.run([*command, "--json"]) == 0
    found = json.loads(capfd.readouterr().out)["toggles"]
    assert (found["sizes"], found["multiplications"]) == ([8, 32, 8], 2048)
    assert sum(row["toggles"] for row in found["modules"]) == found["total"]
    core = next(row for row in found["modules"] if row["module"] == "core")
    # Each product changes some of an element's bits: eight and eight of operands, sixteen of the product, as many of the sum.
    assert 20 < core["per_multiplication"] < 200
    assert cli.run(command) == 0
    assert f"{found['total']:,}" in capfd.readouterr().out
