"""Area and clock of a design on an ECP5: Yosys and nextpnr from their wheels, figures from JSON alone."""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fpga.block_ram import count_cells, pack_output_registers
from fpga.cells import loosen_carries, replacements
from fpga.parts import ECP5, devices
from gen.rtlil import KEPT
from sim import tools

DEVICES = devices(ECP5)
"""Parts by nextpnr's name."""


SMALL_WORDS = 64
"""Words of a memory that goes into distributed RAM."""


NETLIST, REPORT = "netlist.json", "report.json"
"""What nextpnr reads, and what it writes."""


CLOCK = "clk"
"""The port that stays connected out of context."""


class FigureError(RuntimeError):
    """A figure is not in what the tools wrote."""


_KEEP = "setattr -set keep 1 a:keep=1 %ci1:+$dff[Q] t:$dff %i\n"
"""Registers whose wires say so stay as they are."""


@dataclass(frozen=True, kw_only=True)
class Flow:
    """How a design is synthesised and placed; printed beside every figure.

    Parameters
    ----------
    dsp : bool
        Multipliers may use DSP blocks.
    wide_luts : bool
        LUTs may be joined by the slices' multiplexers; soft multipliers are much smaller without.
    flatten : bool
        Optimise across modules; without, a module that appears many times is synthesised once.
    device, package, speed
        The part.
    frequency : float
        MHz that nextpnr works towards.
    """

    dsp: bool = True
    wide_luts: bool = False
    flatten: bool = True
    device: str = "85k"
    package: str = "CABGA381"
    speed: int = 6
    frequency: float = 150.0

    def __post_init__(self) -> None:
        if self.device not in DEVICES:
            raise ValueError(f"device must be one of {', '.join(DEVICES)}, not {self.device!r}")
        if self.speed not in (6, 7, 8):
            raise ValueError(f"speed must be 6, 7 or 8, not {self.speed!r}")
        if not self.frequency > 0:
            raise ValueError(f"frequency must be more than 0, not {self.frequency!r}")

    @property
    def synthesis_options(self) -> list[str]:
        """Options of ``synth_ecp5``."""
        off = {"-nodsp": not self.dsp, "-nowidelut": not self.wide_luts, "-noflatten": not self.flatten}
        return [name for name, wanted in off.items() if wanted]

    @property
    def text(self) -> str:
        """The flow in words, for tables."""
        synthesis = " ".join(["synth_ecp5", *self.synthesis_options])
        return (
            f"{synthesis}; {DEVICES[self.device]} {self.package} speed {self.speed} at {self.frequency:g} MHz"
        )


@dataclass(frozen=True, kw_only=True)
class Area:
    """What a design takes of a part; LUTs are nextpnr's TRELLIS_COMB (a carry cell counts as two)."""

    luts: int
    flip_flops: int
    dsps: int
    block_rams: int


@dataclass(frozen=True, kw_only=True)
class Placed:
    """A placed and routed design."""

    area: Area
    frequencies: tuple[float, ...]
    """MHz, one per seed."""
    seeds: tuple[int, ...]
    flow: Flow
    critical_paths: tuple[tuple[str, ...], ...] = field(repr=False, default=())
    """Per seed: the cells on the slowest path."""

    @property
    def slowest(self) -> float:
        """The worst of the seeds, MHz."""
        return min(self.frequencies)

    @property
    def median(self) -> float:
        """The middle of the seeds, MHz."""
        return statistics.median(self.frequencies)

    @property
    def fastest(self) -> float:
        """The best of the seeds, MHz."""
        return max(self.frequencies)

    def as_dict(self) -> dict[str, object]:
        """Plain data, for JSON."""
        clock = {"slowest": self.slowest, "median": self.median, "fastest": self.fastest}
        return {**asdict(self.area), **clock, "seeds": list(self.seeds), "flow": self.flow.text}


@dataclass(frozen=True, kw_only=True)
class Synthesised:
    """A netlist for nextpnr, and its cells by type, counted through the hierarchy."""

    netlist: str = field(repr=False)
    cells: dict[str, int]
    flow: Flow
    name: str

    def count(self, *types: str) -> int:
        """Cells of these types together; none of them is 0."""
        return sum(self.cells.get(kind, 0) for kind in types)


def without_collisions(rtlil: str) -> str:
    """``rtlil`` with clocked memory reads free to give anything for a word that is written in the same cycle.

    Nothing in an accelerator looks at such a word; and block RAM that would have to give the old one gets a comparator,
    a register and a multiplexer around it.
    """
    blocks = re.split(r"(?=^  cell \$memrd_v2 )", rtlil, flags=re.MULTILINE)
    result = []
    for block in blocks:
        cell, end, rest = block.partition("\n  end\n")
        if cell.startswith("  cell $memrd_v2 ") and "\\CLK_ENABLE 1" in cell:
            cell = re.sub(r"(?<=COLLISION_X_MASK )(\d+)'0+", lambda m: f"{m[1]}'" + "1" * int(m[1]), cell)
        result.append(cell + end + rest)
    return "".join(result)


def small_memories(rtlil: str) -> str:
    """``rtlil`` with memories of up to 64 words in distributed RAM: what block RAM puts out comes late in its cycle."""

    def mark(memory: re.Match) -> str:
        style = '  attribute \\ram_style "distributed"\n' if int(memory[1]) <= SMALL_WORDS else ""
        return style + memory[0]

    return re.sub(r"^  memory width \d+ size (\d+) ", mark, rtlil, flags=re.MULTILINE)


def synthesise(
    rtlil: str,
    *,
    name: str,
    flow: Flow | None = None,
    yosys: Sequence[str] | None = None,
    timeout: float = 1800,
) -> Synthesised:
    """Synthesise ``rtlil`` with top module ``name``; ``yosys`` is another command than the wheel's.

    Raises ``sim.tools.ToolError`` when Yosys is missing, fails or takes longer than ``timeout`` seconds.
    """
    flow = flow or Flow()
    options = " ".join(flow.synthesis_options)
    blocks = replacements(rtlil, dsp=flow.dsp)
    rtlil = small_memories(without_collisions(rtlil))
    script = (
        "read_rtlil design.il\n" + (_KEEP if KEPT in rtlil else "") + ("techmap -map blocks.v\n" if blocks else "")
        + f"synth_ecp5 {options} -top {name} -json netlist.json\n"
        "check -assert\ntee -q -o statistics.json stat -json\n"
    )  # fmt: skip
    with tools.working_folder("synthesis") as folder:
        (folder / "design.il").write_text(rtlil)
        (folder / "blocks.v").write_text(blocks)
        (folder / "script.ys").write_text(script)
        command = [*(yosys or tools.yowasp("yosys")), "-q", "-l", "log.txt", "-s", "script.ys"]
        try:
            tools.run(command, folder=folder, name="yosys synth_ecp5", timeout=timeout)
        except tools.ToolError as error:
            # What fails after the first pass that runs ABC is in the log only.
            last = (
                (folder / "log.txt").read_text().splitlines()[-10:] if (folder / "log.txt").exists() else []
            )
            raise tools.ToolError("\n".join([str(error), *last])) from error
        netlist = read_json(folder / "netlist.json")
    pack_output_registers(netlist)
    loosen_carries(netlist)
    cells = count_cells(netlist, top=name)
    return Synthesised(netlist=json.dumps(netlist), cells=cells, flow=flow, name=name)


def leave_clock(top: dict[str, Any]) -> None:
    """Take all ports but the clock from a netlist's top: more than the package has pins would keep it from being placed."""
    top["ports"] = {port: what for port, what in top["ports"].items() if port == CLOCK}


def nextpnr(flow: Flow) -> list[str]:
    """The command that packs, places and routes ``NETLIST`` in its folder out of context, and writes ``REPORT``."""
    return [
        *tools.yowasp("nextpnr-ecp5"), f"--{flow.device}", "--package", flow.package, "--speed", str(flow.speed),
        "--out-of-context", "--freq", str(flow.frequency), "--quiet", "--json", NETLIST, "--report", REPORT,
    ]  # fmt: skip


def place(
    synthesised: Synthesised,
    *,
    seeds: Sequence[int] = (1,),
    timeout: float = 1800,
    progress: Callable[[int], None] | None = None,
) -> Placed:
    """Place and route out of context, once per seed.

    Parameters
    ----------
    timeout
        Seconds for each seed.
    progress
        Told each seed as it begins.

    Raises
    ------
    sim.tools.ToolError
        nextpnr is missing, failed (the design does not fit) or took too long.
    FigureError
        Its report lacks a figure.
    """
    if not seeds:
        raise ValueError(f"seeds must be at least one, not {seeds!r}")
    flow = synthesised.flow
    reports = []
    with tools.working_folder("place") as folder:
        (folder / NETLIST).write_text(synthesised.netlist)
        for seed in seeds:
            if progress:
                progress(seed)
            # The target only guides the tool: what was reached is read from the report, never taken for granted.
            command = [*nextpnr(flow), "--timing-allow-fail", "--seed", str(seed)]
            tools.run(command, folder=folder, name="nextpnr-ecp5", timeout=timeout)
            reports.append(read_json(folder / REPORT))
            (folder / REPORT).unlink()
    areas = {area_of(report) for report in reports}
    return Placed(
        area=max(areas, key=lambda area: area.luts),
        frequencies=tuple(frequency(report) for report in reports),
        seeds=tuple(seeds),
        flow=flow,
        critical_paths=tuple(_path(report) for report in reports),
    )


def read_json(path: Path) -> dict:
    """What a program wrote at ``path``. Raises ``FigureError`` when it is not there or no JSON."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise FigureError(f"{path.name} was not written: {error}") from error


def figure(table: dict, *keys: str):
    """The entry of ``table`` below these keys. Raises ``FigureError`` when there is none: a missing figure is not 0."""
    for key in keys:
        if not isinstance(table, dict) or key not in table:
            raise FigureError(f"the report has no {' / '.join(keys)}")
        table = table[key]
    return table


def area_of(report: dict) -> Area:
    """What nextpnr packed a design into. Raises ``FigureError`` when its report does not say so."""

    def used(kind: str) -> int:
        return int(figure(report, "utilization", kind, "used"))

    return Area(
        luts=used("TRELLIS_COMB"),
        flip_flops=used("TRELLIS_FF"),
        dsps=used("MULT18X18D"),
        block_rams=used("DP16KD"),
    )


def frequency(report: dict) -> float:
    """MHz of the slowest clock in nextpnr's report. Raises ``FigureError`` when there is none."""
    clocks = figure(report, "fmax")
    if not clocks:
        raise FigureError("the report has no clock: the design has no path between registers")
    return min(float(figure(clocks, clock, "achieved")) for clock in clocks)


def _path(report: dict) -> tuple[str, ...]:
    """Cells on the slowest path from clock to the same clock."""
    paths = [p for p in report.get("critical_paths", []) if p.get("from") == p.get("to")]
    if not paths:
        return ()
    slowest = max(paths, key=lambda p: sum(step["delay"] for step in p["path"]))
    return tuple(f"{step['to']['cell']} {step['type']} {step['delay']:.2f}" for step in slowest["path"])
