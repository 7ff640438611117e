"""What ``gatemill build`` prints of a critical path: names that Python has, lines of Python, whatever the terminal's width."""

import pytest
from flow_bench import step

from fpga.flow import report
from gen.commands.build import NARROWEST, described, steps_table
from gen.commands.common import emit


@pytest.mark.parametrize(
    ("name", "net"),
    [
        (
            "system.core.accelerator.control.outside_SB_DFFSR_Q_D_SB_LUT4_O_I2_SB_CARRY_CO_CI[3]",
            "system.core.accelerator.control.outside",
        ),
        ("system.core.link._signal_3_TRELLIS_FF_Q_1", "system.core.link._signal_3"),
        ("system.core.link._signal_3[22]", "system.core.link._signal_3[22]"),
        ("system.U$1.count_LUT4_Z$CCU2_COMB0", "system.U$1.count"),
        (
            "system.core.accelerator__response__payload_LUT4_B_Z[3]",
            "system.core.accelerator__response__payload",
        ),
        ("$PACKER_VCC", "$PACKER_VCC"),
    ],
)
def test_the_net_of_ours_that_a_name_was_made_of(name, net):
    assert described(name) == net


@pytest.mark.parametrize("columns", [80, 200])
def test_the_critical_path_keeps_its_lines_of_python(capsys, monkeypatch, columns):
    """With names and places as nextpnr makes them."""
    made = "_SB_DFFESR_Q_1_D_SB_LUT4_O_I2" + 9 * "_SB_CARRY_CO_CI"
    first = step("clk-to-q", 1.39, f"system.core.accelerator.control.registers.window_first{made}")
    first["sources"] = ["hw/in_order/registers.py:79"]
    second = step(
        "routing",
        11.761,
        "x",
        f"system.core.accelerator.code{made}[3]",
        ("hw/array/decoded/elements.py:1130",),
    )
    for one in (first, second):
        one["to"]["loc"] = [101, 116]
    path = {"from": "posedge clk", "to": "posedge clk", "path": [first, second]}
    found = report.critical_path({"critical_paths": [path]}, {}).as_dict()
    monkeypatch.setenv("COLUMNS", str(columns))
    emit(found, as_json=False, render=lambda: steps_table(found["steps"]))
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= columns
    shown = [line.strip("│").split("│") for line in out.splitlines() if "101,116" in line]
    ns, what, to, _, source = ([cell.strip() for cell in column] for column in zip(*shown, strict=True))
    assert (ns, what) == (["1.39", "11.76"], ["clk-to-q", "routing"])
    assert source == ["hw/in_order/registers.py:79", "hw/array/decoded/elements.py:1130"]
    whole = ["system.core.accelerator.control.registers.window_first", "system.core.accelerator.code"]
    if columns == 200:
        assert to == whole
    else:
        assert all(cut[0] == "…" and one.endswith(cut[1:]) for cut, one in zip(to, whole, strict=True))
        assert min(map(len, to)) >= NARROWEST
