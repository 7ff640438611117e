"""Area and clock of an accelerator on a part of an FPGA, by Yosys and nextpnr, and where its cells lie."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fpga import gowin, ice40, synthesis
from fpga.flow import floorplan, report
from fpga.flow.programs import PROGRAMS
from fpga.flow.steps import DoesNotFit
from fpga.modules import FLIP_FLOPS, by_module
from fpga.parts import ECP5, GOWIN, ICE40, Part
from gen.estimate.targets import PART_OF
from sim import tools

LETTERS = "ABCDEFGHIJKLMNOP"
"""Of modules in a floorplan."""
PACKED = "packed.json"
"""The netlist that nextpnr writes."""
_MAKERS: dict[str, Any] = {ECP5: synthesis, ICE40: ice40, GOWIN: gowin}
"""Modules with ``Flow``, ``synthesise`` and ``nextpnr`` of their parts."""


@dataclass(frozen=True, kw_only=True)
class Effort:
    """What is done to measure.

    Parameters
    ----------
    seeds : tuple of int
        Of place and route, out of context, each of which takes minutes; without, a design is synthesised and packed alone.
    dsp : bool
        Multipliers may use DSP blocks.
    wide_luts : bool
        LUTs may be joined by multiplexers, where the part has such.
    flatten : bool
        Optimise across modules. Without, what occurs several times is synthesised once, for a few per cent more LUTs.
    mhz : float or None
        That the programs work towards; None for the flow's own.
    timeout : float
        Seconds for each program.
    depth : int
        Of the modules that are counted each.
    """

    seeds: tuple[int, ...] = ()
    dsp: bool = True
    wide_luts: bool = False
    flatten: bool = True
    mhz: float | None = None
    timeout: float = 1800
    depth: int = 1


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a design takes of a part, by ``luts``, ``flip_flops``, ``dsps``, ``block_rams``; placed, its MHz and floorplan.

    ``modules`` has the same of each module by path: together they are the whole.
    """

    use: dict[str, report.Use]
    modules: dict[str, dict[str, float]] = field(repr=False, default_factory=dict)
    flow: str = ""
    seeds: tuple[int, ...] = ()
    frequencies: tuple[float, ...] = ()
    floorplan: dict[str, Any] | None = field(default=None, repr=False)

    @property
    def fmax_mhz(self) -> float | None:
        """The middle of the seeds."""
        return statistics.median(self.frequencies) if self.frequencies else None


def measure(rtlil: str, target: str, effort: Effort) -> Measured:
    """Synthesise ``rtlil`` (top module ``top``) for ``target``, one of ``PART_OF``, and pack it; with seeds also place and route.

    Raises
    ------
    fpga.flow.steps.DoesNotFit
        The part has too little.
    fpga.synthesis.FigureError
        A figure is missing.
    sim.tools.ToolError
        A program is missing, failed or took too long.
    """
    part = PART_OF[target]
    made = _synthesised(rtlil, part, effort)
    command = made.command
    with tools.working_folder("place") as folder:
        for name, text in made.files.items():
            (folder / name).write_text(text)
        found, packed = _run(command, ["--pack-only"], part, folder, effort.timeout)
        over = report.overfull(found, part.family)
        if over:
            raise DoesNotFit(part.name, over)
        clocks, placed = [], None
        for seed in effort.seeds:
            options = ["--timing-allow-fail", "--seed", str(seed)]
            placed_report, placed = _run(command, options, part, folder, effort.timeout)
            clocks.append(synthesis.frequency(placed_report))
    use, modules = report.utilisation(found, part.family), by_module(packed, part.family, depth=effort.depth)
    _check(use, modules)
    if FLIP_FLOPS not in use:
        registers = int(sum(module[FLIP_FLOPS] for module in modules.values()))
        use[FLIP_FLOPS] = report.Use(used=registers, available=use["luts"].available)
    return Measured(
        use=use, modules=modules, flow=made.flow, seeds=effort.seeds, frequencies=tuple(clocks),
        floorplan=None if placed is None else layout(placed),
    )  # fmt: skip


def _check(use: Mapping[str, report.Use], modules: Mapping[str, Mapping[str, float]]) -> None:
    """That the modules are the whole: they are counted from one file, and the whole is another's."""
    for name, one in use.items():
        counted = sum(module[name] for module in modules.values())
        if not one.used - 1 < counted <= one.used:
            raise synthesis.FigureError(f"modules must have {one.used} {name} together, not {counted:g}")


@dataclass(frozen=True, kw_only=True)
class _Netlist:
    """What nextpnr is given: the command, the files that it reads; and the flow in words."""

    command: list[str]
    files: dict[str, str]
    flow: str


def _synthesised(rtlil: str, part: Part, effort: Effort) -> _Netlist:
    maker = _MAKERS[part.family]
    wanted: dict[str, Any] = {"device": part.device, "dsp": effort.dsp, "flatten": effort.flatten}
    if part.family != ICE40:
        wanted["wide_luts"] = effort.wide_luts
    if effort.mhz is not None:
        wanted["frequency"] = effort.mhz
    flow = maker.Flow(**wanted)
    made = maker.synthesise(rtlil, name="top", flow=flow, timeout=effort.timeout)
    files = {synthesis.NETLIST: made.netlist}
    if part.family == GOWIN:
        files[gowin.CONSTRAINTS] = gowin.constraints(flow)
    return _Netlist(command=maker.nextpnr(flow), files=files, flow=flow.text)


def _run(
    command: list[str], options: list[str], part: Part, folder: Path, timeout: float
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Report and netlist of nextpnr."""
    name = PROGRAMS[part.family][1]
    tools.run([*command, *options, "--write", PACKED], folder=folder, name=name, timeout=timeout)
    return synthesis.read_json(folder / synthesis.REPORT), synthesis.read_json(folder / PACKED)


def layout(netlist: Mapping[str, Any]) -> dict[str, Any]:
    """Where cells lie: ``rows`` has a line of text for each row of tiles, a letter for the module that most cells of a tile
    belong to and a dot where there is none; ``modules`` has names and numbers of cells, by letter.
    """
    cells = floorplan.places(netlist)
    parts = floorplan.groups((path for path, _, _ in cells), len(LETTERS) - 1) or [""]
    owners = {path: floorplan.group_of(path, parts) for path in {path for path, _, _ in cells}}
    tiles: dict[tuple[int, int], Counter[str]] = {}
    for path, x, y in cells:
        tiles.setdefault((x, y), Counter())[owners[path]] += 1
    sizes = Counter(owners[path] for path, _, _ in cells)
    letters = {
        part: LETTERS[place] for place, part in enumerate(sorted(sizes, key=lambda one: (-sizes[one], one)))
    }
    width, height = (max((at[axis] for at in tiles), default=0) + 1 for axis in (0, 1))
    rows = [
        "".join(letters[tiles[x, y].most_common(1)[0][0]] if (x, y) in tiles else "." for x in range(width))
        for y in range(height)
    ]
    modules = {letter: {"name": part or "top", "cells": sizes[part]} for part, letter in letters.items()}
    return {"rows": rows, "modules": modules}
