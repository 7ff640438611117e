# amaranth: UnusedElaboratable=no
"""Estimates: what tools say of small designs, module by module, and the document made of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from documents import check_options, shown
from test_ice40 import Wide

from fpga import gowin
from fpga.flow.report import Use
from fpga.flow.steps import DoesNotFit
from fpga.modules import by_module
from fpga.parts import ECP5, GOWIN
from fpga.synthesis import FigureError
from gen import cli, config, documentation
from gen.estimate import asic, fpga, measured, page, request, targets, work
from gen.estimate.fpga import Effort
from gen.models.work import parse
from gen.rtlil import to_rtlil
from gen.sweep.figures import FIGURES, of_target
from hw.memory.registered import RegisteredMemory

CELLS = Path(__file__).with_name("cells.lib")


@pytest.fixture(scope="module")
def wide():
    return to_rtlil(Wide(), name="top")


def cell(kind, **connections):
    return {"type": kind, "connections": {pin: [bit] for pin, bit in connections.items()}}


def test_cells_count_with_their_modules_and_those_without_a_name_with_their_neighbours():
    cells = {
        "core.array.a": cell("TRELLIS_COMB", F=2),
        "core.array.b": cell("TRELLIS_FF", DI=2, CLK=1),
        "load.c": cell("TRELLIS_COMB", A=3),
        "$nextpnr_CCU2C_1$CCU2_COMB0": cell("TRELLIS_COMB", FCO=2, CLK=1),
        "$PACKER_GND": cell("TRELLIS_COMB"),
        "words": cell("DP16KD"),
        "pin": cell("TRELLIS_IO"),
    }
    netlist = {"modules": {"top": {"cells": cells}}}
    found = by_module(netlist, ECP5)
    assert {path: (one["luts"], one["flip_flops"], one["block_rams"]) for path, one in found.items()} == {
        "": (1, 0, 1), "core": (2, 1, 0), "load": (1, 0, 0),
    }  # fmt: skip
    assert list(by_module(netlist, ECP5, depth=2)) == ["", "core.array", "load"]
    assert by_module({"modules": {"top": {"cells": {"m.a": cell("LUT2"), "m.b": cell("DFFRE")}}}}, GOWIN)["m"] == {
        "luts": 1, "flip_flops": 1, "block_rams": 0, "dsps": 0,
    }  # fmt: skip
    with pytest.raises(FigureError, match="must have one module, not 0"):
        by_module({}, ECP5)


def test_modules_must_be_the_whole():
    with pytest.raises(FigureError, match="modules must have 3 luts together, not 2"):
        fpga._check({"luts": Use(used=3, available=9)}, {"a": {"luts": 1}, "b": {"luts": 1}})


@pytest.mark.parametrize("target", ["gowin-9k", pytest.param("ice40-up5k", marks=pytest.mark.long)])
def test_small_parts(wide, target):
    found = fpga.measure(wide, target, Effort(seeds=(1,)))
    area = measured.figures(found)
    assert (area["dsp"], area["bram"]) == (1, 1)
    assert 64 + 16 + 8 <= area["ff"] <= 110
    assert 15 < area["lut"] < 200
    assert area["fmax_mhz"] == found.frequencies[0] > 12
    rows = measured.modules(found)
    assert sum(row["bram"] for row in rows) == 1
    assert {row["module"] for row in rows} == {"top", "words"}
    assert found.floorplan["modules"]


def test_gates(wide):
    found = asic.measure(wide)
    assert (found.flip_flops, found.macros, found.memory_bits) == (64 + 8 + 16 + 16, 1, 256 * 16)
    assert found.transistors.total == 4 * found.nand2
    assert sum(row["nand2"] for row in measured.modules(found)) == found.nand2
    assert 10 < found.levels < 60
    assert found.area_um2 is None


def test_cells_of_a_library(wide):
    found = asic.measure(wide, CELLS)
    assert (found.flip_flops, found.macros, found.memory_bits) == (64 + 8 + 16 + 16, 1, 256 * 16)
    rows = measured.modules(found)
    assert sum(row["area_um2"] for row in rows) == found.area_um2
    assert found.area_um2 > 9.0 * found.flip_flops
    assert sum(row["ff"] for row in rows) == found.flip_flops
    assert 0.3 < found.delay_ns < 4
    assert (found.transistors, found.nand2) == (None, None)


def test_small_memories_are_registers():
    words = RegisteredMemory(depth=64, lanes=1, lane_width=4)
    found = asic.measure(to_rtlil(words, name="top"))
    assert (found.macros, found.memory_bits) == (0, 0)
    assert found.flip_flops >= 64 * 4


def test_what_abc_does_not_say_is_an_error(tmp_path):
    with pytest.raises(FigureError, match="ABC has written no delay"):
        asic._delay(tmp_path / "stats.txt")
    (tmp_path / "stats.txt").write_text("netlist 1 2 3 4")
    with pytest.raises(FigureError, match="ABC has written no delay"):
        asic._delay(tmp_path / "stats.txt")


def test_targets():
    assert [targets.check(name) for name in targets.PART_OF] == list(targets.PART_OF)
    assert targets.liberty_file("liberty:a/b.lib") == Path("a/b.lib")
    assert targets.liberty_file("cmos") is None
    with pytest.raises(
        ValueError, match=r"target must be one of ecp5-25k, .*, cmos, liberty:FILE, not 'liberty:'"
    ):
        targets.check("liberty:")
    for target, some in (
        ("ecp5-85k", {"lut", "fmax_mhz"}),
        ("cmos", {"nand2", "levels"}),
        ("liberty:a", {"area_um2"}),
    ):
        assert some | {"cycles"} <= of_target(target) < set(FIGURES)
    assert "lut" not in of_target("cmos")


USE = {
    "luts": Use(used=50, available=200),
    "flip_flops": Use(used=7, available=200),
    "block_rams": Use(used=1, available=4),
}


@pytest.fixture
def faked(monkeypatch):
    """The tools' answers; what they were asked."""
    asked = []

    def measure(rtlil, target, effort):
        asked.append((target, effort))
        modules = {"": {"luts": 20, "flip_flops": 7}, "core": {"luts": 30, "dsps": 0.5, "block_rams": 1}}
        clocks = tuple(80.0 + seed for seed in effort.seeds)
        return fpga.Measured(use=USE, modules=modules, flow="synth", seeds=effort.seeds, frequencies=clocks)

    monkeypatch.setattr(fpga, "measure", measure)
    monkeypatch.setattr(measured, "accelerator", lambda loaded: loaded)
    monkeypatch.setattr(measured, "to_rtlil", lambda component, name: "")
    return asked


def test_the_document_of_a_part(faked):
    loaded = config.load("systolic-4x4")
    wanted = parse("gemm:4x64x64")
    asked = request.Request(
        config=loaded, target="ecp5-25k", effort=Effort(seeds=(1, 2, 3)), work=wanted, every_way=True
    )
    made = request.estimate(asked)
    found = json.loads(json.dumps(made.document))
    assert [found[name] for name in ("lut", "ff", "dsp", "bram", "fmax_mhz", "method")] == [
        50,
        7,
        0,
        1,
        82.0,
        "measured",
    ]
    assert found["clock"] == {"slowest": 81.0, "median": 82.0, "fastest": 83.0, "seeds": [1, 2, 3]}
    assert found["use"]["lut"] == {"used": 50, "available": 200, "percent": 25.0}
    assert found["use"]["dsp"]["percent"] is None
    assert found["modules"][1] == {"module": "core", "lut": 30, "ff": 0, "dsp": 0.5, "bram": 1}
    assert (found["clock_mhz"], found["clock_origin"]) == (82.0, "measured")
    cycles = work.predict(loaded, wanted).cycles
    assert found["workload"]["total"]["cycles"] == cycles
    assert found["workload"]["total"]["seconds"] == pytest.approx(cycles / 82e6)
    assert [row["variant"] for row in found["variants"]] == list(measured.VARIANTS)
    assert [(effort.dsp, effort.wide_luts) for _, effort in faked[1:]] == [
        (True, True),
        (False, False),
        (False, True),
    ]
    assert not any(effort.seeds for _, effort in faked[1:])
    assert "LFE5U-25F" in made._repr_html_()
    assert dict(page.summary(found))["LUT"] == "50 of 200, 25 %"


def test_a_way_that_does_not_fit_is_told_beside_the_others(faked, monkeypatch):
    one = fpga.measure

    def measure(rtlil, target, effort):
        if not effort.dsp:
            raise DoesNotFit("LFE5U-25F", {"LUTs": (300, 200)})
        return one(rtlil, target, effort)

    monkeypatch.setattr(fpga, "measure", measure)
    asked = request.Request(config=config.load("systolic-4x4"), target="ecp5-25k", every_way=True)
    made = request.estimate(asked)
    rows = json.loads(json.dumps(made.document))["variants"]
    assert [(row["lut"], row["reason"] is None) for row in rows] == [
        (50, True),
        (50, True),
        (None, False),
        (None, False),
    ]
    assert rows[2]["reason"] == "the design does not fit a LFE5U-25F: it takes 300 of 200 LUTs"
    assert "no DSP blocks, does not fit" in made._repr_html_()


def test_the_clock_of_a_workload(faked):
    asked = request.Request(config=config.load("systolic-4x4"), target="ecp5-25k")
    assert request.estimate(asked).document["clock_origin"] == "assumed"
    asked = request.Request(config=config.load("systolic-4x4"), target="ecp5-25k", clock_mhz=25.0)
    found = request.estimate(asked).document
    assert (found["clock_mhz"], found["clock_origin"], found["fmax_mhz"], found["workload"]) == (
        25.0,
        "given",
        None,
        None,
    )


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--target", "zz"], "target must be one of ecp5-25k,"),
        (["--target", "cmos", "--seeds", "2"], "seeds must be left out unless the target is one of ecp5-25k"),
        (["--target", "cmos", "--variants"], "variants must be left out unless"),
        (["--target", "cmos", "--quick"], "quick must be left out unless"),
        (["--target", "ecp5-25k", "--seeds", "-1"], "--seeds -1: must be an integer from 0 to 100"),
        (["--target", "ecp5-25k", "--clock", "0"], "--clock 0.0: must be a number above 0"),
        (["--target", "ecp5-25k", "--workload", "gemm:1"], "workload 'gemm:1': must be gemm:MxKxN"),
        (["--target", "ecp5-25k", "--weights", "int3"], "weights 'int3': must be one of int8"),
        (
            ["--target", "liberty:nothing.lib"],
            "target 'liberty:nothing.lib': must name a file that can be read",
        ),
    ],
)
def test_what_cannot_be_taken(arguments, line, capsys):
    assert cli.run(["estimate", "systolic-4x4", *arguments]) == 2
    assert line in capsys.readouterr().err


def test_what_does_not_fit_is_status_1(faked, monkeypatch, capsys):
    def measure(*_):
        raise DoesNotFit("LFE5U-25F", {"luts": (25000, 24288)})

    monkeypatch.setattr(fpga, "measure", measure)
    assert cli.run(["estimate", "systolic-4x4", "--target", "ecp5-25k"]) == 1
    assert "does not fit a LFE5U-25F: it takes 25,000 of 24,288 luts" in capsys.readouterr().err


def test_the_command(faked, capsys):
    assert (
        cli.run(["estimate", "systolic-4x4", "--target", "ecp5-25k", "--workload", "gemm:1x64x64", "--json"])
        == 0
    )
    found = json.loads(capsys.readouterr().out)
    assert {"lut", "ff", "dsp", "bram", "fmax_mhz", "modules", "method", "workload"} <= set(found)
    assert cli.run(["estimate", "systolic-4x4", "--target", "ecp5-25k", "--variants"]) == 0
    assert "no DSP blocks" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"device": "GW2A"}, "device must be one of GW1N-9C, not 'GW2A'"),
        ({"frequency": 0}, "frequency must be more than 0"),
    ],
)
def test_wrong_flows(options, text):
    with pytest.raises(ValueError, match=text):
        gowin.Flow(**options)


@pytest.mark.long
def test_a_whole_accelerator():
    small = [
        "memory.activations_kib=1",
        "memory.weights_kib=1",
        "array.rows=1",
        "array.columns=2",
        "control.queue_depth=1",
    ]
    loaded = config.load("systolic-4x4", small)
    flat, quick = (measured.measure(loaded, "ecp5-25k", Effort(flatten=flatten)) for flatten in (True, False))
    assert 0.95 < quick.use["luts"].used / flat.use["luts"].used < 1.15
    assert {"control", "core", "load", "store"} <= set(flat.modules) & set(quick.modules)
    gates = measured.measure(loaded, "cmos", Effort())
    assert gates.macros >= 3
    assert gates.memory_bits >= 8 * 2048


PAGE = (documentation.DOCS / "estimate.md").read_text()


@pytest.mark.parametrize("words", shown(PAGE, "gatemill"), ids=" ".join)
def test_commands_of_the_page_exist(words, capsys):
    check_options(words, capsys)
    assert words[1] in config.presets()


def test_all_targets_and_keys_are_on_the_page():
    assert [name for name in targets.PART_OF if f"`{name}`" not in PAGE] == []
    keys = ("lut", "modules", "method", "clock_origin", "variants", "gates", "use", "errors", "beyond")
    assert [name for name in keys if f"`{name}`" not in PAGE] == []
