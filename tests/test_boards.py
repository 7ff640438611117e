"""Boards: found by lying in their folder, equal to what their platforms say, listed, and refused in plain words."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from flow_bench import example

from fpga.board import BLOCK_RAM, LARGE_RAM, SDRAM, Board, boards, load
from fpga.flow import design
from fpga.host.parts import parts
from fpga.parts import ECP5, FAMILIES, GOWIN, PARTS, Part, devices
from fpga.pll import settings
from gen import config, workload
from gen.errors import RequestError
from gen.rtlil import to_rtlil

NAMES = ("icebreaker", "orangecrab-85f", "tang-nano-9k", "ulx3s-25f", "ulx3s-85f")


def test_what_lies_in_the_folder_is_found():
    assert tuple(boards()) == NAMES
    assert all(load(name).name == name for name in NAMES)


@pytest.mark.parametrize("board", boards().values(), ids=lambda board: board.name)
def test_a_board_is_what_its_platform_describes(board):
    platform = board.platform()
    assert platform.lookup(board.clock).clock.frequency == board.clock_hz
    assert {"rx", "tx"} <= {line.name for line in platform.lookup(board.uart).ios}
    part = board.resources
    if part.family == ECP5:
        assert (platform.device, int(platform.speed)) == (part.name, board.speed)
        assert platform._nextpnr_package_options[platform.package].upper() == board.package
    elif part.family == GOWIN:
        assert (platform.part, platform._chipdb_device) == (board.package, part.device)
    else:
        assert (platform.device, platform.package.lower()) == (part.name, board.package)
    for name in ("another", *board.presets):
        for one in board.memories.values():
            settings(part.family, input_hz=board.clock_hz, output_hz=one.usual_hz(name))
    assert set(board.presets) <= set(config.presets())


def test_parts():
    assert {part.family for part in PARTS.values()} == set(FAMILIES)
    assert devices(ECP5) == {"25k": "LFE5U-25F", "45k": "LFE5U-45F", "85k": "LFE5U-85F"}
    assert PARTS["LFE5U-85F"].block_ram_bytes == 208 * 2048
    assert PARTS["iCE40UP5K"].large_ram_bytes == 128 << 10
    with pytest.raises(ValueError, match="family must be one of ecp5, ice40, gowin, not 'xc7'"):
        Part(
            name="x",
            family="xc7",
            device="x",
            luts=1,
            flip_flops=1,
            block_rams=1,
            block_ram_bits=1,
            dsps=0,
            columns=1,
            rows=1,
        )


def test_a_programmer_is_one():
    with pytest.raises(TypeError, match="programmer must be a Programmer, not 'iceprog'"):
        replace(load("ulx3s-85f"), programmer="iceprog")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "My Board"}, "name must be small letters, digits and hyphens, not 'My Board'"),
        ({"part": "XC7A35T"}, "part must be one of LFE5U-25F, .*, not 'XC7A35T'"),
        ({"memory": "DDR3"}, "memory must be one of block RAM, SPRAM, SDRAM, not 'DDR3'"),
        ({"memory": SDRAM}, "memory_bytes must be the 33554432 of the SDRAM of ulx3s-85f, not 65536"),
        ({"memory": SDRAM, "sdram": None}, "sdram must be the part of ulx3s-85f, not None"),
        ({"memory_bytes": 3000}, "memory_bytes must be a power of two from 1024, not 3000"),
        (
            {"memory_bytes": 1 << 20},
            "memory_bytes must be at most the 425984 of the block RAM of a LFE5U-85F",
        ),
        ({"memory": LARGE_RAM}, "memory_bytes must be at most the 0 of the SPRAM of a LFE5U-85F"),
    ],
)
def test_values_that_no_board_has(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(load("ulx3s-85f"), **changes)


def test_the_memories_of_a_board():
    assert list(load("ulx3s-85f").memories) == [BLOCK_RAM, SDRAM]
    large = load("ulx3s-85f").memories[SDRAM]
    assert (large.memory, large.memory_bytes) == (SDRAM, 32 << 20)
    assert large.memories == {SDRAM: large}
    assert list(load("icebreaker").memories) == [LARGE_RAM]
    assert [line.name for line in large.platform().lookup("sdram").ios if line.name == "clk_en"]


def test_boards_that_are_not_there(tmp_path):
    with pytest.raises(RequestError, match=r"--board 'ulx3s-86f': must be .* \(did you mean ulx3s-85f\?\)"):
        load("ulx3s-86f")
    file = tmp_path / "mine.py"
    file.write_text("BOARD = 1\n")
    with pytest.raises(RequestError, match=r"must have a BOARD that is an fpga\.board\.Board, not 1"):
        load(str(file))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("import nothing_of_the_kind\n", "ModuleNotFoundError: No module named 'nothing_of_the_kind'"),
        ("BOARD = (\n", "SyntaxError: "),
        (
            "from dataclasses import replace\nfrom fpga.board import load\n"
            "BOARD = replace(load('ulx3s-25f'), memory_bytes=1 << 20)\n",
            "ValueError: memory_bytes must be at most the 114688 of the block RAM of a LFE5U-25F, not 1048576",
        ),
        ("import sys\nsys.exit(0)\n", "SystemExit: 0"),
    ],
)
def test_a_file_that_does_not_run(gatemill, tmp_path, text, why):
    file = tmp_path / "mine.py"
    file.write_text(text)
    status, out, err = gatemill("build", "systolic-4x4", "--board", file, "-o", tmp_path / "out")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert f"mine.py': must be a Python file that runs ({why}" in err


@pytest.mark.parametrize(
    ("right", "wrong", "why"),
    [
        ('clock="clk12"', 'clock="clk99"', "ResourceError: Resource clk99#0 does not exist"),
        ('clock="clk12"', 'clock="led"', "ValueError: clock must be a resource with a frequency, not 'led'"),
        ("clock_hz=12_000_000", "clock_hz=13_000_000", "ValueError: clock_hz of hx8k-evn must be 12000000, not 13000000"),
        ("programmer=", 'uart="led", programmer=', "ValueError: uart must be a resource with rx and tx, not 'led'"),
        ("default_hz=24_", "default_hz=23_", "ValueError: clock must be 22.875 or 23.25 MHz, the nearest"),
        ("platform=platform", "platform=3", "TypeError: 'int' object is not callable"),
        ("import ICE40HX8KBEVNPlatform", "import Nothing", "ImportError: cannot import name 'Nothing'"),
        (
            "programmer=",
            "sdram=__import__('fpga.soc.sdram_part').soc.sdram_part.AS4C16M16SA_7, programmer=",
            "ResourceError: Resource sdram#0 does not exist",
        ),
    ],
)  # fmt: skip
def test_a_board_that_its_platform_does_not_know(gatemill, tmp_path, right, wrong, why):
    file = tmp_path / "mine.py"
    file.write_text(example().replace(right, wrong, 1))
    status, out, err = gatemill("flash", "systolic-4x4", "--board", file, "--dry-run")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert f"mine.py': must be a board that its platform describes ({why}" in err


def test_a_clock_behind_an_sdram_that_the_part_does_not_make(gatemill, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "from dataclasses import replace\nfrom fpga.board import Usual, load\n"
        "slow = {'systolic-4x4': Usual(clock_hz=23_000_001)}\n"
        "BOARD = replace(load('ulx3s-25f'), usual_with_sdram=slow)\n"
    )
    status, out, err = gatemill("build", "systolic-4x4", "--board", file, "-o", tmp_path / "out")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "must be a board that its platform describes (ValueError: clock must be" in err


def test_a_board_in_a_file(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "from dataclasses import replace\nfrom fpga.board import load\nBOARD = replace(load('ulx3s-25f'), name='mine')\n"
    )
    assert load(str(file)).name == "mine"


def test_command(gatemill):
    status, out, _ = gatemill("boards", "--json")
    rows = json.loads(out)
    assert status == 0
    assert [row["name"] for row in rows] == list(NAMES)
    assert rows[-1]["resources"]["luts"] == 83640
    assert rows[-1]["memory"] == BLOCK_RAM
    assert {row["name"]: row["link"] for row in rows}["orangecrab-85f"] == "UART on pins"
    assert (rows[-1]["link"], rows[-1]["programmer"]) == ("USB serial", "openFPGALoader")
    assert rows[-1]["memories"] == {BLOCK_RAM: 64 << 10, SDRAM: 32 << 20}
    status, out, _ = gatemill("boards")
    assert status == 0
    assert "ulx3s-85f" in out
    assert "32 MiB SDRAM" in out


def test_the_table_holds_all_in_eighty_columns(gatemill, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    status, out, _ = gatemill("boards")
    assert status == 0
    assert max(map(len, out.splitlines())) <= 80
    words = out.replace("│", " ").split()
    for board in boards().values():
        told = (board.name, board.part, board.link, f"{board.baud:,}", board.programmer.tool, *board.presets)
        assert {word for text in told for word in text.split()} <= set(words)


def test_what_a_bitstream_is_called():
    assert [load(name).bitstream_suffix for name in NAMES] == [".bin", ".bit", ".fs", ".bit", ".bit"]
    assert isinstance(load("icebreaker"), Board)


def test_the_design_of_the_page_is_one_of_its_board(tmp_path):
    """And the memory holds a GEMM."""
    file = tmp_path / "hx8k.py"
    file.write_text(example())
    text = (Path(__file__).resolve().parent.parent / "docs" / "boards.md").read_text()
    words = re.search(r"gatemill build (.*) --board hx8k\.py (.*) -o", text)
    overrides = [one.strip() for one in words[2].split("--set") if one.strip()]
    loaded, board = config.load(words[1], overrides), load(str(file))
    made = design.memory(loaded, board, clock_hz=board.usual_hz(loaded.name))
    assert "memory width 32 size 1024 " in to_rtlil(made, name="top")
    family = loaded.instance
    work = workload.random((2, 64, 4), "raw", 1, family.pairs[0], family)
    assert list(parts(loaded, work, board.memory_bytes))
