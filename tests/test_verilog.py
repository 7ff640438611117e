# amaranth: UnusedElaboratable=no
"""Verilog: the same byte for byte, plain, clean for three readers."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from amaranth.hdl import Fragment, Module
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from axi_copy import CopyMachine

from gen import config
from gen.generate import generate
from gen.verilog import to_verilog
from sim import lint, tools
from tests.formal import later

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def text() -> str:
    return to_verilog(CopyMachine(data_bytes=8, address_width=32), name="copy")


@pytest.mark.parametrize("seed", ["0", "7"])
def test_the_same_in_another_process(text, tmp_path, seed):
    program = (
        "import sys; from axi_copy import CopyMachine; from gen.verilog import to_verilog;"
        "sys.stdout.write(to_verilog(CopyMachine(data_bytes=8, address_width=32), name='copy'))"
    )
    environment = dict(os.environ, PYTHONHASHSEED=seed, PYTHONPATH=f"{ROOT}{os.pathsep}{ROOT / 'tests'}")
    other = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert other.stdout == text


def test_first_use_of_yosys_is_told(text, tmp_path, monkeypatch):
    assert tools.is_prepared("yosys")
    told = []
    to_verilog(CopyMachine(data_bytes=8, address_width=32), name="copy", notify=told.append)
    assert told == []
    monkeypatch.setenv("YOWASP_CACHE_DIR", str(tmp_path))
    assert not tools.is_prepared("yosys")

    def stopped(*_, **__):
        raise tools.ToolError("before it is run")

    monkeypatch.setattr(tools, "run", stopped)
    with pytest.raises(tools.ToolError, match="before it is run"):
        to_verilog(CopyMachine(data_bytes=8, address_width=32), name="copy", notify=told.append)
    assert told == ["preparing Yosys (once, about a minute)"]


def test_ports_in_plain_names(text):
    header = (
        re.search(r"^module copy\(([^)]*)\);", text, re.MULTILINE)[1]
        .replace("\n", "")
        .replace(" ", "")
        .split(",")
    )
    machine = CopyMachine(data_bytes=8, address_width=32)
    Fragment.get(machine, None)
    assert sorted(header) == sorted([*machine.signature.members, "clk", "rst"])


def test_no_paths_attributes_or_escaped_names(text):
    for word in ("\\", "(*", "src", "Yosys", "/home", "/tmp", "/workspace", str(ROOT)):
        assert word not in text


def test_memories_are_initialised_by_a_loop(text):
    assert "< 1024;" in text
    assert text.count("\n") < 1000


def test_memory_with_different_words_is_kept():
    class Table(wiring.Component):
        address: In(2)
        value: Out(8)

        def elaborate(self, platform):
            m = Module()
            m.submodules.table = table = Memory(shape=8, depth=4, init=[1, 2, 3, 4])
            read = table.read_port()
            m.d.comb += [read.addr.eq(self.address), self.value.eq(read.data)]
            return m

    text = to_verilog(Table(), name="table_1")
    assert [int(value) for value in re.findall(r"table_2\[\d\] = 8'h0(\d);", text)] == [1, 2, 3, 4]


def test_lint_is_clean(text):
    assert lint.lint(text, top="copy") == []


FAULTS = {
    "latch": "input a, input b, output reg c); always @* if (a) c = b; endmodule",
    "loop": "input a, output b); wire x; assign x = ~(x & a); assign b = x; endmodule",
    "two drivers": "input a, input b, output c); assign c = a; assign c = ~b; endmodule",
    "missing pin": "input a, output b); inner i (.x(a)); assign b = a; endmodule module inner(input x, input y); endmodule",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_lint_finds_faults(fault):
    verilog = f"module bad({FAULTS[fault]}\n"
    assert lint.verilator_lint(verilog, top="bad") or lint.yosys_check(verilog, top="bad")


def test_icarus_refuses_what_is_newer_than_2005():
    if tools.icarus():
        assert lint.icarus_read(
            "module bad(input a); always_ff @(posedge a) begin end endmodule\n", top="bad"
        )
    else:
        with pytest.raises(tools.ToolError, match="apt-get install iverilog"):
            lint.icarus_read("", top="bad")


@pytest.mark.parametrize(
    "preset",
    [
        "systolic-4x4",
        "lut-up5k",
        *(
            pytest.param(large, marks=pytest.mark.long)
            for large in ("systolic-8x8", "systolic-ws-16x16", "lut-m2n64k4")
        ),
    ],
)
def test_accelerators_are_clean(preset):
    made = generate(config.load(preset, []))
    assert lint.lint(made.verilog, top=made.top) == []
    top = made.verilog[made.verilog.index(f"module {made.top}(") :].split("\nendmodule", 1)[0]
    ports = re.findall(r"^  (?:input|output).*$", top, re.MULTILINE)
    assert ports
    assert not [port for port in ports if "__" in port]


@pytest.mark.parametrize(
    "preset", ["mx-8x8", *later("olive-8x8", "systolic-ulx3s", "lut-m2n64k4", "bitserial-up5k")]
)
def test_no_process_sets_constants_alone(preset):
    """It has nothing to wait for: a simulator never runs it, and its register stays what it was."""
    made = generate(config.load(preset, []))
    assert not re.findall(r"always @\*\n    \S+ = \d+'h[0-9a-f]+;\n", made.verilog)
