"""The steps of a build, each a program: synthesis, place and route, bitstream. Figures come from JSON alone."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from fpga import ice40, synthesis
from fpga.board import Board
from fpga.fanout import spread_registers
from fpga.flow import programs
from fpga.flow.report import overfull
from fpga.flow.top import TOP, Prepared
from fpga.parts import ECP5, GOWIN, ICE40
from fpga.pll import MEGA
from sim import tools

_GOWIN_SCRIPT = f"""\
read_rtlil design.il
synth_gowin -nowidelut -top {TOP} -json netlist.json
check -assert
"""
_CONSTRAINTS = {ECP5: "top.lpf", ICE40: "top.pcf", GOWIN: "top.cst"}


@dataclass(frozen=True, kw_only=True)
class Placed:
    """What nextpnr wrote: its report, its netlist with places, and what the bitstream is made from."""

    report: dict = field(repr=False)
    netlist: dict = field(repr=False)
    layout: bytes = field(repr=False)


def synthesise(board: Board, prepared: Prepared, *, clock_hz: int, timeout: float) -> str:
    """The netlist for nextpnr, JSON.

    Raises ``sim.tools.ToolError`` when Yosys is missing, fails or takes longer than ``timeout`` seconds.
    """
    part, yosys, frequency = board.resources, programs.command("yosys"), clock_hz / MEGA
    if part.family == ECP5:
        flow = synthesis.Flow(
            device=part.device, package=board.package, speed=board.speed, frequency=frequency
        )
        made = synthesis.synthesise(prepared.rtlil, name=TOP, flow=flow, yosys=yosys, timeout=timeout)
        netlist = json.loads(made.netlist)
        spread_registers(netlist)
        return json.dumps(netlist)
    if part.family == ICE40:
        small = ice40.Flow(device=part.device, frequency=frequency)
        return ice40.synthesise(
            prepared.rtlil, name=TOP, flow=small, pins=True, yosys=yosys, timeout=timeout
        ).netlist
    with tools.working_folder("synthesis") as folder:
        (folder / "design.il").write_text(synthesis.without_collisions(prepared.rtlil))
        (folder / "script.ys").write_text(_GOWIN_SCRIPT)
        tools.run([*yosys, "-q", "-s", "script.ys"], folder=folder, name="yosys synth_gowin", timeout=timeout)
        return (folder / "netlist.json").read_text()


def place(
    board: Board, netlist: str, constraints: str, *, clock_hz: int, seed: int, timeout: float
) -> Placed:
    """Place and route towards ``clock_hz``, whether it is reached or not.

    Raises
    ------
    DoesNotFit
        The part has too little.
    sim.tools.ToolError
        nextpnr is missing, failed or took longer than ``timeout`` seconds.
    """
    family = board.resources.family
    more = [
        "--timing-allow-fail",
        "--seed",
        str(seed),
        "--freq",
        str(clock_hz / MEGA),
        "--write",
        "placed.json",
    ]
    with tools.working_folder("place") as folder:
        (folder / "netlist.json").write_text(netlist)
        (folder / _CONSTRAINTS[family]).write_text(constraints)
        command = _nextpnr(board)
        name = programs.PROGRAMS[family][1]
        try:
            tools.run([*command, *more, *_layout(family)], folder=folder, name=name, timeout=timeout)
        except tools.ToolError as error:
            _explain(board, netlist, constraints, timeout, error)
            raise
        placed = (folder / "placed.json").read_bytes()
        return Placed(
            report=json.loads((folder / "report.json").read_bytes()),
            netlist=json.loads(placed),
            layout=placed if family == GOWIN else (folder / "layout").read_bytes(),
        )


class DoesNotFit(RuntimeError):
    """A part has less than a design takes: ``over`` has what by its name, used and available."""

    def __init__(self, part: str, over: dict[str, tuple[int, int]]) -> None:
        self.over = over
        text = ", ".join(f"{used:,} of {available:,} {kind}" for kind, (used, available) in over.items())
        super().__init__(f"the design does not fit a {part}: it takes {text}")


def _explain(board: Board, netlist: str, constraints: str, timeout: float, error: tools.ToolError) -> None:
    """Raise ``DoesNotFit`` if that is why placing failed: packing alone counts what a design takes."""
    with tools.working_folder("pack") as folder:
        (folder / "netlist.json").write_text(netlist)
        (folder / _CONSTRAINTS[board.resources.family]).write_text(constraints)
        try:
            tools.run(
                [*_nextpnr(board), "--pack-only"], folder=folder, name="nextpnr --pack-only", timeout=timeout
            )
        except tools.ToolError:
            raise error from None
        report = json.loads((folder / "report.json").read_bytes())
    over = overfull(report, board.resources.family)
    if over:
        raise DoesNotFit(board.part, over) from error


def _nextpnr(board: Board) -> list[str]:
    part = board.resources
    command = [
        *programs.command(programs.PROGRAMS[part.family][1]), "--json", "netlist.json", "--report", "report.json", "--quiet",
    ]  # fmt: skip
    if part.family == ECP5:
        where = [f"--{part.device}", "--package", board.package, "--speed", str(board.speed)]
        # The other router takes several times as long over a full system. This one looks at time only when told:
        # some 10 % of the clock.
        return [*command, *where, "--lpf", _CONSTRAINTS[ECP5], "--router", "router2", "--tmg-ripup"]
    if part.family == ICE40:
        return [*command, f"--{part.device}", "--package", board.package, "--pcf", _CONSTRAINTS[ICE40]]
    where = ["--device", board.package, "--vopt", f"family={part.device}"]
    return [*command, *where, "--vopt", f"cst={_CONSTRAINTS[GOWIN]}"]


def _layout(family: str) -> list[str]:
    return {ECP5: ["--textcfg", "layout"], ICE40: ["--asc", "layout"]}.get(family, [])


def pack(board: Board, layout: bytes, *, timeout: float = 600) -> bytes:
    """The bitstream. Raises ``sim.tools.ToolError`` when its program is missing or fails."""
    family = board.resources.family
    name = programs.PROGRAMS[family][2]
    arguments = {
        ECP5: ["--input", "layout", "--bit", "bitstream", *board.pack],
        ICE40: [*board.pack, "layout", "bitstream"],
        GOWIN: ["-d", board.resources.device, "-o", "bitstream", *board.pack, "layout"],
    }[family]
    with tools.working_folder("pack") as folder:
        (folder / "layout").write_bytes(layout)
        tools.run([*programs.command(name), *arguments], folder=folder, name=name, timeout=timeout)
        return (folder / "bitstream").read_bytes()
