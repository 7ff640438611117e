"""Area and clock of a design on an iCE40: Yosys and nextpnr from their wheels, figures from JSON alone.

An iCE40 has no distributed RAM: each memory is block RAM, of 16 bits and 256 words, or registers. Nor has its block RAM an
output register; those of ``hw.memory.registered`` are cells of logic there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from fpga.parts import ICE40, devices
from fpga.synthesis import NETLIST, REPORT, figure, frequency, leave_clock, read_json, without_collisions
from sim import tools

DEVICES = devices(ICE40)
"""Parts by nextpnr's name."""
PACKAGES = {"up5k": "sg48", "hx8k": "ct256"}
"""In which they are measured."""


@dataclass(frozen=True, kw_only=True)
class Flow:
    """How a design is synthesised and placed; printed beside every figure.

    Parameters
    ----------
    device : str
        One of ``DEVICES``.
    dsp : bool
        Multipliers may use DSP blocks, where the part has some.
    flatten : bool
        Optimise across modules; without, cells are counted by module.
    frequency : float
        MHz that nextpnr works towards.
    """

    device: str = "up5k"
    dsp: bool = True
    flatten: bool = True
    frequency: float = 16.0

    def __post_init__(self) -> None:
        if self.device not in DEVICES:
            raise ValueError(f"device must be one of {', '.join(DEVICES)}, not {self.device!r}")
        if not self.frequency > 0:
            raise ValueError(f"frequency must be more than 0, not {self.frequency!r}")

    @property
    def synthesis_options(self) -> list[str]:
        """Options of ``synth_ice40``."""
        family = "u" if self.device.startswith("up") else "hx"
        wanted = {"-dsp": self.dsp and family == "u", "-noflatten": not self.flatten}
        return ["-device", family, *(name for name, on in wanted.items() if on)]

    @property
    def text(self) -> str:
        """The flow in words, for tables."""
        part = f"{DEVICES[self.device]} {PACKAGES[self.device]}"
        return f"synth_ice40 {' '.join(self.synthesis_options)}; {part} at {self.frequency:g} MHz"


@dataclass(frozen=True, kw_only=True)
class Use:
    """How much a design takes of one kind of cell, and how many the part has."""

    used: int
    available: int

    def __str__(self) -> str:
        return f"{self.used:,} of {self.available:,}"


@dataclass(frozen=True, kw_only=True)
class Area:
    """What a design takes of a part. A logic cell is a table, a carry and a register, of which each may be unused."""

    logic_cells: Use
    block_rams: Use
    dsps: Use

    @property
    def fits(self) -> bool:
        """Whether the part has so much of everything."""
        return all(use.used <= use.available for use in (self.logic_cells, self.block_rams, self.dsps))

    def as_dict(self) -> dict[str, object]:
        """Plain data, for JSON."""
        return {**asdict(self), "fits": self.fits}


@dataclass(frozen=True, kw_only=True)
class Synthesised:
    """A netlist for nextpnr, and cells by type: those of each module itself, and through the hierarchy."""

    netlist: str = field(repr=False)
    modules: Mapping[str, Mapping[str, int]] = field(repr=False)
    cells: Mapping[str, int]
    flow: Flow
    name: str


def synthesise(
    rtlil: str,
    *,
    name: str,
    flow: Flow | None = None,
    pins: bool = False,
    yosys: Sequence[str] | None = None,
    timeout: float = 1800,
) -> Synthesised:
    """Synthesise ``rtlil`` with top module ``name``; with ``pins`` its ports are a package's, otherwise all but the clock go.

    ``yosys`` is another command than the wheel's.

    Raises ``sim.tools.ToolError`` when Yosys is missing, fails or takes longer than ``timeout`` seconds.
    """
    flow = flow or Flow()
    script = (
        f"read_rtlil design.il\nsynth_ice40 {' '.join(flow.synthesis_options)} -top {name} -json netlist.json\n"
        "check -assert\ntee -q -o statistics.json stat -json\n"
    )
    with tools.working_folder("synthesis") as folder:
        (folder / "design.il").write_text(without_collisions(rtlil))
        (folder / "script.ys").write_text(script)
        command = [*(yosys or tools.yowasp("yosys")), "-q", "-s", "script.ys"]
        tools.run(command, folder=folder, name="yosys synth_ice40", timeout=timeout)
        netlist, statistics = read_json(folder / "netlist.json"), read_json(folder / "statistics.json")
    modules = {
        module.removeprefix("\\"): figure(found, "num_cells_by_type")
        for module, found in figure(statistics, "modules").items()
    }
    cells = figure(statistics, "design", "num_cells_by_type")
    if not pins:
        leave_clock(netlist["modules"][name])
    return Synthesised(netlist=json.dumps(netlist), modules=modules, cells=cells, flow=flow, name=name)


def area(synthesised: Synthesised, *, timeout: float = 600) -> Area:
    """What nextpnr packs the design into, whether the part has so much or not.

    Raises as :func:`clock`.
    """
    report = _run(synthesised, ["--pack-only"], timeout=timeout)

    def use(kind: str) -> Use:
        used, available = (int(figure(report, "utilization", kind, key)) for key in ("used", "available"))
        return Use(used=used, available=available)

    kinds = report.get("utilization", {})
    return Area(
        logic_cells=use("ICESTORM_LC"),
        block_rams=use("ICESTORM_RAM"),
        dsps=use("ICESTORM_DSP") if "ICESTORM_DSP" in kinds else Use(used=0, available=0),
    )


def clock(synthesised: Synthesised, *, seed: int = 1, timeout: float = 1800) -> float:
    """MHz of the design, placed and routed out of context.

    Raises
    ------
    sim.tools.ToolError
        nextpnr is missing, failed (the design does not fit) or took longer than ``timeout`` seconds.
    FigureError
        Its report lacks a figure.
    """
    return frequency(_run(synthesised, ["--timing-allow-fail", "--seed", str(seed)], timeout=timeout))


def nextpnr(flow: Flow) -> list[str]:
    """The command that packs, places and routes ``NETLIST`` in its folder, and writes ``REPORT``."""
    return [
        *tools.yowasp("nextpnr-ice40"), f"--{flow.device}", "--package", PACKAGES[flow.device],
        "--freq", str(flow.frequency), "--quiet", "--json", NETLIST, "--report", REPORT,
    ]  # fmt: skip


def _run(synthesised: Synthesised, options: list[str], *, timeout: float) -> dict:
    with tools.working_folder("place") as folder:
        (folder / NETLIST).write_text(synthesised.netlist)
        tools.run(
            [*nextpnr(synthesised.flow), *options], folder=folder, name="nextpnr-ice40", timeout=timeout
        )
        return read_json(folder / REPORT)
