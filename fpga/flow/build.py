"""Builds, kept by what they are made from: the same one twice is there at once.

A build's digest is of the platform's files, the programs' versions, our own steps and the options. What is kept comes into
the cache whole or not at all.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import struct
import tempfile
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from amaranth.lib import wiring

from fpga.board import Board, Programmer
from fpga.flow import floorplan, layout, programs, report, steps
from fpga.flow.top import Prepared, prepare
from fpga.parts import ICE40
from fpga.pll import MEGA, below, megahertz, settings
from sim import tools

Notice = Callable[[str], None]

FIGURES, LAYOUT, PICTURE = "figures.json", "layout.gz", "floorplan.png"
"""Files of a build in the cache, beside the bitstream."""


@dataclass(frozen=True, kw_only=True)
class Build:
    """A design that is placed and routed.

    Parameters
    ----------
    board : Board
    clock_hz : int
        That it was to reach.
    figures : dict
        ``fmax_mhz``, ``clock_mhz``, ``utilisation``, ``critical_path``, ``seed``, ``programs``: plain data, for JSON.
    folder : Path
        Where it lies in the cache.
    kept : bool
        It was there already.
    """

    board: Board
    clock_hz: int
    figures: dict[str, Any]
    folder: Path
    kept: bool

    @property
    def fmax_mhz(self) -> float:
        """MHz that the design reaches."""
        return self.figures["fmax_mhz"]

    @property
    def holds(self) -> bool:
        """Whether the clock is reached."""
        return self.fmax_mhz * MEGA >= self.clock_hz

    @property
    def nearest(self) -> str:
        """The highest clock that would be reached, in words."""
        family = self.board.resources.family
        found = below(family, input_hz=self.board.clock_hz, most_hz=self.fmax_mhz * MEGA)
        if found is None:
            return f"no clock that the part makes of {megahertz(self.board.clock_hz)} MHz is as low"
        loop = settings(family, input_hz=self.board.clock_hz, output_hz=found)
        return f"--clock {megahertz(found)} would hold ({loop.text if loop else 'the oscillator itself'})"

    @property
    def floorplan(self) -> bytes:
        """PNG."""
        return (self.folder / PICTURE).read_bytes()

    def bitstream(self, notice: Notice = lambda _: None) -> Path:
        """Its file, made when it is first asked for. Raises as :func:`fpga.flow.steps.pack`."""
        file = bitstream_file(self.folder, self.board)
        if not file.exists():
            notice("bitstream")
            content = steps.pack(self.board, gzip.decompress((self.folder / LAYOUT).read_bytes()))
            with tempfile.TemporaryDirectory(dir=self.folder, prefix=".partial-") as folder:
                part = Path(folder) / file.name
                part.write_bytes(with_ending(content, self.board.programmer))
                part.replace(file)
        return file


def bitstream_file(folder: Path, board: Board) -> Path:
    """Where the bitstream lies, or is to lie, in the folder of a build; programmers go by the ending of its name."""
    return folder / f"{board.name}{board.bitstream_suffix}"


def with_ending(bitstream: bytes, programmer: Programmer) -> bytes:
    """With what a DFU file ends with, where the programmer wants it. Reference: USB, DFU 1.1, appendix B."""
    if not programmer.vendor:
        return bitstream
    ids = (0xFFFF, programmer.product, programmer.vendor, 0x0100)
    whole = bitstream + struct.pack("<HHHH3sB", *ids, b"UFD", 16)
    return whole + struct.pack("<I", ~zlib.crc32(whole) & 0xFFFFFFFF)


def builds_folder() -> Path:
    """Where builds are kept; made if need be."""
    folder = tools.cache_folder() / "builds"
    folder.mkdir(exist_ok=True)
    return folder


_OWN = (
    "block_ram.py",
    "cells.py",
    "fanout.py",
    "ice40.py",
    "synthesis.py",
    "flow/floorplan.py",
    "flow/report.py",
    "flow/steps.py",
)
"""Files of this package that decide what becomes of a plan."""


@cache
def _own_version() -> str:
    """A hash of the text of ``_OWN``."""
    root = Path(__file__).resolve().parent.parent
    digest = hashlib.sha256()
    for file in _OWN:
        digest.update(file.encode() + b"\0" + (root / file).read_bytes())
    return digest.hexdigest()


def digest_of(plan: str, board: Board, *, clock_hz: int, seed: int, versions: dict[str, str]) -> str:
    """Of all that a build depends on; ``plan`` is the digest of the platform's files."""
    content = {
        "plan": plan, "part": board.resources.as_dict(), "package": board.package, "speed": board.speed, "pack": board.pack,
        "usb": [board.programmer.vendor, board.programmer.product], "clock": clock_hz, "seed": seed, "programs": versions,
        "own": _own_version(),
    }  # fmt: skip
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A build that may or may not have been done: what it is made from, and where the cache has it."""

    board: Board
    prepared: Prepared
    clock_hz: int
    seed: int
    versions: dict[str, str]

    @cached_property
    def folder(self) -> Path:
        """Where the cache has it, or is to have it."""
        digest = digest_of(
            self.prepared.digest, self.board, clock_hz=self.clock_hz, seed=self.seed, versions=self.versions
        )
        return builds_folder() / digest

    def with_seed(self, seed: int) -> Plan:
        """The same with another seed."""
        return replace(self, seed=seed)

    @property
    def done(self) -> Build | None:
        """The build, if it is in the cache."""
        try:
            figures = json.loads((self.folder / FIGURES).read_text())
        except FileNotFoundError:
            return None
        if self.board.resources.family == ICE40:
            luts, *others = figures["utilisation"].items()
            figures["utilisation"] = dict([luts, self._registers, *others])
        return Build(board=self.board, clock_hz=self.clock_hz, figures=figures, folder=self.folder, kept=True)

    @property
    def _registers(self) -> tuple[str, dict[str, float]]:
        """Of an iCE40, whose report counts cells that have a table, a register or both: what the layout says."""
        used = layout.flip_flops(gzip.decompress((self.folder / LAYOUT).read_bytes()))
        return "flip_flops", report.Use(used=used, available=self.board.resources.flip_flops).as_dict()


def plan(system: wiring.Component, board: Board, *, clock_hz: int, seed: int = 1) -> Plan:
    """What a build of ``system`` is made from.

    Raises
    ------
    ValueError
        The part cannot make that clock.
    sim.tools.ToolError
        A program that the environment names is not there.
    """
    prepared = prepare(board, system, clock_hz=clock_hz)
    versions = programs.identity(board.resources.family)
    return Plan(board=board, prepared=prepared, clock_hz=clock_hz, seed=seed, versions=versions)


def build(
    wanted: Plan, *, timeout: float = 3600, name: str = "design", notice: Notice = lambda _: None
) -> Build:
    """Place and route what is ``wanted``, or take it from the cache. Parameters and errors: :func:`tries`."""
    return tries(wanted, [wanted.seed], timeout=timeout, name=name, notice=notice)[0]


def tries(
    wanted: Plan,
    seeds: Sequence[int],
    *,
    timeout: float = 3600,
    name: str = "design",
    notice: Notice = lambda _: None,
) -> list[Build]:
    """Builds with these seeds in place of that of ``wanted``, up to the first that reaches the clock; synthesised once.

    Parameters
    ----------
    timeout
        Seconds for each program.
    name
        What the picture calls it.
    notice
        Told each step as it begins.

    Raises
    ------
    fpga.flow.steps.DoesNotFit
        The part has too little.
    sim.tools.ToolError
        A program is missing, failed or took too long.
    """
    result: list[Build] = []
    netlist = None
    for each in map(wanted.with_seed, seeds):
        made = each.done
        if made is None:
            netlist = netlist or _synthesised(each, timeout, notice)
            made = _placed(each, netlist, timeout, name, notice)
        result.append(made)
        if len(seeds) > 1:
            notice(f"seed {each.seed}: {made.fmax_mhz:g} MHz of {megahertz(each.clock_hz)}")
        if made.holds:
            break
    return result


def _synthesised(wanted: Plan, timeout: float, notice: Notice) -> str:
    """The netlist for nextpnr."""
    board = wanted.board
    for program in programs.PROGRAMS[board.resources.family]:
        # What is missing is told now, not after minutes.
        programs.command(program)
        if not programs.is_prepared(program):
            notice(f"{program} runs for the first time: its preparation takes up to a minute")
    notice("synthesis")
    return steps.synthesise(board, wanted.prepared, clock_hz=wanted.clock_hz, timeout=timeout)


def _placed(wanted: Plan, netlist: str, timeout: float, name: str, notice: Notice) -> Build:
    """Kept in the cache."""
    board, clock_hz, seed = wanted.board, wanted.clock_hz, wanted.seed
    notice(f"place and route, seed {seed}")
    placed = steps.place(
        board, netlist, wanted.prepared.constraints, clock_hz=clock_hz, seed=seed, timeout=timeout
    )
    figures = _figures(board, placed, netlist, clock_hz) | {"seed": seed, "programs": wanted.versions}
    notice("floorplan")
    title = f"{name} on {board.name}: {figures['fmax_mhz']:g} MHz of {megahertz(clock_hz)}"
    contents = {
        LAYOUT: gzip.compress(placed.layout, 3, mtime=0),
        PICTURE: floorplan.draw(placed.netlist, title, board.resources),
        FIGURES: json.dumps(figures, indent=2).encode(),
    }
    return replace(_kept(wanted, contents), kept=False)


def _figures(board: Board, placed: steps.Placed, netlist: str, clock_hz: int) -> dict[str, Any]:
    use = report.utilisation(placed.report, board.resources.family)
    path = report.critical_path(placed.report, report.lines(json.loads(netlist)))
    return {
        "fmax_mhz": report.fastest(placed.report, clock_hz),
        "clock_mhz": clock_hz / MEGA,
        "utilisation": {kind: one.as_dict() for kind, one in use.items()},
        "critical_path": path.as_dict(),
    }


def _kept(wanted: Plan, contents: dict[str, bytes]) -> Build:
    """Put a build into the cache in one step; another that was quicker is as good."""
    folder = wanted.folder
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".partial-") as partial:
        made = Path(partial) / "build"
        made.mkdir()
        for name, content in contents.items():
            (made / name).write_bytes(content)
        with suppress(FileExistsError, OSError):
            os.rename(made, folder)
    if done := wanted.done:
        return done
    raise tools.ToolError(f"{folder} must be writable: builds are kept there")
