# amaranth: UnusedElaboratable=no
"""Adders that synthesis replaces by carry cells: proved equal to the components by Yosys, against its own model of the cell."""

import pytest

from fpga.synthesis import gated_adders, shifted_adders
from gen.rtlil import to_rtlil
from hw.pe.accumulate import GatedAdder, ShiftedAdder
from sim import tools

REPLACED = {GatedAdder: gated_adders, ShiftedAdder: shifted_adders}


def proved(component, *, change=("", "")):
    """What Yosys says of the component beside what it is replaced by; with the old text of ``change`` made the new one."""
    name = {GatedAdder: "gated_adder", ShiftedAdder: "shifted_adder"}[type(component)]
    rtlil = to_rtlil(component, name=f"top_{name}")
    blocks = REPLACED[type(component)](rtlil)
    assert f"module top_{name}(" in blocks
    assert change[0] in blocks
    script = (
        "read_verilog blocks.v\nread_verilog -overwrite +/ecp5/cells_sim.v\n"
        f"hierarchy -top top_{name}\nprep -flatten -top top_{name}\nrename top_{name} gate\n"
        f"read_rtlil design.il\nrename top_{name} gold\nproc gold\n"
        "miter -equiv -make_outputs -flatten gold gate miter\nsat -verify -prove trigger 0 -set-def-inputs miter\n"
    )
    with tools.working_folder("carry") as folder:
        (folder / "design.il").write_text(rtlil)
        (folder / "blocks.v").write_text(blocks.replace(*change))
        (folder / "script.ys").write_text(script)
        return tools.run(
            [*tools.yowasp("yosys"), "-s", "script.ys"], folder=folder, name="yosys", timeout=120
        )


SHIFTED = [(12, 5, 9, 2), (13, 12, 9, 2), (15, 14, 9, 2), (24, 24, 15, 4), (9, 9, 3, 1), (3, 1, 3, 2)]


@pytest.mark.parametrize(("width", "total", "addend", "shift"), SHIFTED)
def test_shifted_adder(width, total, addend, shift):
    """Even and odd widths; a total and an addend that are extended; for all values."""
    said = proved(ShiftedAdder(width=width, total_width=total, addend_width=addend, shift=shift))
    assert "SAT proof finished - no model found: SUCCESS!" in said


@pytest.mark.parametrize(("width", "addend"), [(32, 16), (30, 30), (2, 1)])
def test_gated_adder(width, addend):
    assert "no model found: SUCCESS!" in proved(GatedAdder(width=width, addend_width=addend))


@pytest.mark.parametrize(
    ("component", "change"),
    [
        (
            ShiftedAdder(width=12, total_width=5, addend_width=9, shift=2),
            (".INIT1(16'h665A)", ".INIT1(16'h66AA)"),
        ),
        (
            ShiftedAdder(width=12, total_width=5, addend_width=9, shift=2),
            (".C1(addend[8])", ".C1(addend[7])"),
        ),
        (GatedAdder(width=8, addend_width=4), ("6CCC", "6AAA")),
    ],
)
def test_a_wrong_cell_is_seen(component, change):
    with pytest.raises(tools.ToolError, match=r"model found: FAIL|proof did fail"):
        proved(component, change=change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 1}, "width must be 2 or more, not 1"),
        ({"total_width": 13}, "total_width must be 1 to 12, not 13"),
        ({"addend_width": 0}, "addend_width must be 1 to 12, not 0"),
        ({"shift": 12}, "shift must be 1 to 11, not 12"),
    ],
)
def test_refused(change, message):
    with pytest.raises(ValueError, match=message):
        ShiftedAdder(**{"width": 12, "total_width": 5, "addend_width": 9, "shift": 2} | change)
