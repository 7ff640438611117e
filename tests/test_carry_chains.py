# amaranth: UnusedElaboratable=no
"""Adders and multiplexers that synthesis replaces by cells: proved equal by Yosys to the components, with its models of cells."""

import pytest

from fpga.cells import gated_adders, shifted_adders, signed_adders, table_selects
from gen.rtlil import to_rtlil
from hw.pe.accumulate import GatedAdder, ShiftedAdder, SignedAdder
from hw.pe.lookup import TableSelect
from sim import tools

REPLACED = {
    GatedAdder: ("gated_adder", gated_adders),
    ShiftedAdder: ("shifted_adder", shifted_adders),
    SignedAdder: ("signed_adder", signed_adders),
    TableSelect: ("table_select", table_selects),
}


def proved(component, *, change=("", "")):
    """What Yosys says of the component beside what it is replaced by; with the old text of ``change`` made the new one."""
    name, replacement = REPLACED[type(component)]
    rtlil = to_rtlil(component, name=f"top_{name}")
    blocks = replacement(rtlil)
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


@pytest.mark.parametrize("carry", [False, True])
@pytest.mark.parametrize(("width", "total", "addend", "shift"), SHIFTED)
def test_shifted_adder(width, total, addend, shift, carry):
    """Even and odd widths; a total and an addend that are extended; for all values."""
    said = proved(ShiftedAdder(width=width, total_width=total, addend_width=addend, shift=shift, carry=carry))
    assert "SAT proof finished - no model found: SUCCESS!" in said


@pytest.mark.parametrize(
    ("width", "addend", "carry"), [(32, 16, False), (30, 30, False), (2, 1, False), (24, 11, True)]
)
def test_gated_adder(width, addend, carry):
    assert "no model found: SUCCESS!" in proved(GatedAdder(width=width, addend_width=addend, carry=carry))


@pytest.mark.parametrize("signs", [False, True])
@pytest.mark.parametrize(("width", "a", "b"), [(11, 10, 10), (12, 11, 9), (5, 2, 5), (2, 1, 1)])
def test_signed_adder(width, a, b, signs):
    said = proved(SignedAdder(width=width, a_width=a, b_width=b, signs=signs))
    assert "no model found: SUCCESS!" in said


@pytest.mark.parametrize("index_bits", [1, 2, 3, 4, 5])
def test_table_select(index_bits):
    assert "no model found: SUCCESS!" in proved(TableSelect(width=3, index_bits=index_bits))


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
        (SignedAdder(width=8, a_width=7, b_width=7, signs=True), ("16'h6996", "16'h6999")),
        (SignedAdder(width=8, a_width=7, b_width=7, signs=False), (".A0(carry)", ".A0(1'b0)")),
        (TableSelect(width=2, index_bits=3), (".C0(index[1])", ".C0(index[0])")),
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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 1}, "width must be 2 or more, not 1"),
        ({"a_width": 13}, "a_width must be 1 to 12, not 13"),
        ({"b_width": 0}, "b_width must be 1 to 12, not 0"),
    ],
)
def test_signed_adder_refuses(change, message):
    with pytest.raises(ValueError, match=message):
        SignedAdder(**{"width": 12, "a_width": 5, "b_width": 9, "signs": True} | change)
