"""Boards: found by lying in their folder, equal to what their platforms say, listed, and refused in plain words."""

import json
from dataclasses import replace

import pytest

from fpga.board import BLOCK_RAM, LARGE_RAM, Board, boards, load
from fpga.parts import ECP5, FAMILIES, GOWIN, PARTS, Part, devices
from fpga.pll import settings
from gen import config
from gen.errors import RequestError

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
    settings(part.family, input_hz=board.clock_hz, output_hz=board.default_hz)
    assert set(board.presets) <= set(config.presets())


def test_parts():
    assert {part.family for part in PARTS.values()} == set(FAMILIES)
    assert devices(ECP5) == {"25k": "LFE5U-25F", "45k": "LFE5U-45F", "85k": "LFE5U-85F"}
    assert PARTS["LFE5U-85F"].block_ram_bytes == 208 * 2048
    assert PARTS["iCE40UP5K"].large_ram_bytes == 128 << 10
    with pytest.raises(ValueError, match="family must be one of ecp5, ice40, gowin, not 'xc7'"):
        Part(name="x", family="xc7", device="x", luts=1, flip_flops=1, block_rams=1, block_ram_bits=1, dsps=0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "My Board"}, "name must be small letters, digits and hyphens, not 'My Board'"),
        ({"part": "XC7A35T"}, "part must be one of LFE5U-25F, .*, not 'XC7A35T'"),
        ({"memory": "SDRAM"}, "memory must be one of block RAM, SPRAM, not 'SDRAM'"),
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


def test_boards_that_are_not_there(tmp_path):
    with pytest.raises(RequestError, match=r"--board 'ulx3s-86f': must be .* \(did you mean ulx3s-85f\?\)"):
        load("ulx3s-86f")
    file = tmp_path / "mine.py"
    file.write_text("BOARD = 1\n")
    with pytest.raises(RequestError, match=r"must have a BOARD that is an fpga\.board\.Board, not 1"):
        load(str(file))


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
    status, out, _ = gatemill("boards")
    assert status == 0
    assert "ulx3s-85f" in out


def test_what_a_bitstream_is_called():
    assert [load(name).bitstream_suffix for name in NAMES] == [".bin", ".bit", ".fs", ".bit", ".bit"]
    assert isinstance(load("icebreaker"), Board)
