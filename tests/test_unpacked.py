"""Layouts of an iCE40 as Verilog: what is asked of the machine and of the board."""

from __future__ import annotations

import re

import pytest

from fpga import board as boards
from fpga.flow import simulated, unpacked
from sim.tools import ToolError


def test_a_missing_program_is_named(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ToolError, match="icebox_vlog is missing; get it with: apt-get install fpga-icestorm"):
        unpacked.program()


def test_other_parts_are_refused():
    board = boards.load("ulx3s-25f")
    message = f"part must be an iCE40, whose bits are known well enough, not {board.part!r}"
    with pytest.raises(ValueError, match=re.escape(message)):
        simulated.of_layout(board, b"", "")


def test_nets_are_read_from_comments():
    text = "wire n1;\n// (1, 2, 'lutff_0/out')\n// (1, 2, 'local_g0_0')\n\nreg n2 = 0;\n// (3, 4, 'clk')\nassign n1 = n2;\n"
    assert unpacked._nets(text) == {
        (1, 2, "lutff_0/out"): "n1",
        (1, 2, "local_g0_0"): "n1",
        (3, 4, "clk"): "n2",
    }


@pytest.mark.parametrize(
    ("family", "name"),
    [("ecp5", "DP16KD"), ("ice40", "SB_PLL40_PAD"), ("ice40", "SB_MAC16"), ("gowin", "DPX9B")],
)
def test_every_cell_has_one_model(family, name):
    texts = simulated._models(family).values()
    assert sum(len(re.findall(rf"^module {name}\b", text, re.MULTILINE)) for text in texts) == 1
