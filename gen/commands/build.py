"""``gatemill boards``, ``gatemill build CONFIG --board B`` and ``gatemill flash CONFIG --board B``."""

from __future__ import annotations

import json
import shlex
import time
import warnings
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gen.commands.common import (
    ConfigArgument,
    JsonOption,
    SetOption,
    emit,
    integer,
    note,
    output_folder,
    write_files,
)
from gen.errors import RequestError

if TYPE_CHECKING:
    from fpga.board import Board
    from fpga.flow.build import Build, Plan
    from gen.config import Config

BoardOption = Annotated[
    str, typer.Option("--board", metavar="BOARD", help="A board of `gatemill boards`, or a Python file.")
]
SeedOption = Annotated[int, typer.Option("--seed", metavar="N", help="Seed of place and route.")]
ClockOption = Annotated[
    str | None, typer.Option("--clock", metavar="MHZ", help="Clock; the board's usual one otherwise.")
]
BaudOption = Annotated[
    int | None, typer.Option("--baud", metavar="N", help="Bits a second of the link; the board's usual ones.")
]
TimeoutOption = Annotated[int, typer.Option("--timeout", metavar="S", help="Seconds for each program.")]
AllowOption = Annotated[
    bool, typer.Option("--allow-timing-fail", help="A bitstream even if the clock is missed.")
]

HOUR = 3600


def boards(as_json: JsonOption = False) -> None:
    """List the boards that a design can be built for."""
    from fpga.board import boards as known

    found = list(known().values())
    emit([board.as_dict() for board in found], as_json=as_json, render=lambda: _boards_table(found))


def build(
    config: ConfigArgument,
    *,
    board: BoardOption,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Folder for the files.")],
    clock: ClockOption = None,
    seed: SeedOption = 1,
    baud: BaudOption = None,
    timeout: TimeoutOption = HOUR,
    allow_timing_fail: AllowOption = False,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a bitstream: figures against the part and the clock, critical path, floorplan."""
    wanted, loaded = _plan(config, board, clock, seed, baud, timeout, overrides)
    folder = output_folder(output)
    made = _build(wanted, loaded, timeout)
    whole = made.holds or allow_timing_fail
    contents = {
        "report.json": json.dumps(made.figures, indent=2).encode(),
        "floorplan.png": made.floorplan,
    }
    if whole:
        file = made.bitstream(note)
        contents[file.name] = file.read_bytes()
    paths = write_files(folder, contents)
    document = {
        **made.figures,
        "holds": made.holds,
        "bitstream": paths[-1] if whole else None,
        "files": paths,
    }
    emit(document, as_json=as_json, render=lambda: _build_table(document))
    if not made.holds:
        note(f"gatemill: {_missed(made)}")
        if not allow_timing_fail:
            raise typer.Exit(1)


def flash(
    config: ConfigArgument,
    *,
    board: BoardOption,
    clock: ClockOption = None,
    seed: SeedOption = 1,
    baud: BaudOption = None,
    timeout: TimeoutOption = HOUR,
    allow_timing_fail: AllowOption = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the command, build and flash nothing.")
    ] = False,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Build a bitstream if need be, and put it onto the board."""
    from fpga import flash as flasher
    from fpga.flow.build import bitstream_file

    start = time.monotonic()
    wanted, loaded = _plan(config, board, clock, seed, baud, timeout, overrides)
    programmer, file = wanted.board.programmer, bitstream_file(wanted.folder, wanted.board)
    words = flasher.command(programmer, file, wanted=not dry_run)
    if not dry_run:
        made = _build(wanted, loaded, timeout)
        if not made.holds and not allow_timing_fail:
            note(f"gatemill: {_missed(made)}")
            raise typer.Exit(1)
        file = made.bitstream(note)
        note(f"{programmer.tool}: {file.name}")
        flasher.flash(programmer, file)
    elif not file.exists():
        note("the bitstream would be built first")
    document = {
        "pass": True,
        "seconds": round(time.monotonic() - start, 1),
        "command": words,
        "dry_run": dry_run,
    }
    emit(document, as_json=as_json, render=lambda: shlex.join(words))


def _plan(
    config: str,
    board: str,
    clock: str | None,
    seed: int,
    baud: int | None,
    timeout: int,
    overrides: list[str] | None,
) -> tuple[Plan, Config]:
    integer("--seed", seed, 0, (1 << 31) - 1)
    integer("--timeout", timeout, 1, 24 * HOUR)
    from fpga.board import load
    from gen import config as configuration

    found = load(board)
    loaded = configuration.load(config, overrides or [])
    hertz = found.default_hz if clock is None else _hertz(clock, found)
    rate = found.baud if baud is None else integer("--baud", baud, 300, 20_000_000)
    from amaranth.hdl import UnusedElaboratable

    from fpga.flow.build import plan
    from fpga.flow.design import system

    try:
        made = system(loaded, found, clock_hz=hertz, baud=rate)
    except ValueError as error:
        raise RequestError(f"{loaded.name} on {found.name}: {error}") from None
    note("design")
    try:
        return plan(made, found, clock_hz=hertz, seed=seed), loaded
    except KeyboardInterrupt:
        # Given up half way: Amaranth need not warn of parts that were made and not used.
        warnings.simplefilter("ignore", UnusedElaboratable)
        raise


def _hertz(text: str, board: Board) -> int:
    """A clock that the part can make, in Hz."""
    from fpga.pll import settings

    try:
        hertz = Decimal(text) * 1_000_000
    except InvalidOperation:
        hertz = Decimal("NaN")
    if not hertz.is_finite() or hertz <= 0 or hertz != int(hertz):
        raise RequestError(f"--clock {text}: must be MHz, of whole Hz")
    try:
        settings(board.resources.family, input_hz=board.clock_hz, output_hz=int(hertz))
    except ValueError as error:
        raise RequestError(f"--clock {text}: {error}") from None
    return int(hertz)


def _build(wanted: Plan, loaded: Config, timeout: int) -> Build:
    from fpga.flow.build import build as make
    from fpga.flow.steps import DoesNotFit

    try:
        made = make(wanted, timeout=timeout, name=loaded.name, notice=note)
    except DoesNotFit as error:
        note(f"gatemill: {error}")
        raise typer.Exit(1) from None
    if made.kept:
        note(f"taken from {made.folder}")
    return made


def _missed(made: Build) -> str:
    from fpga.pll import megahertz

    return f"the design reaches {made.fmax_mhz:g} MHz, not {megahertz(made.clock_hz)}: {made.nearest}, or another --seed"


def _boards_table(found: list[Board]) -> Any:
    from fpga.pll import megahertz
    from gen.report import table

    return table(
        ["name", "part", "LUT", "RAM", "DSP", "memory", "MHz", "presets"],
        [
            [
                board.name, board.part, f"{board.resources.luts:,}", f"{board.resources.block_rams}",
                f"{board.resources.dsps}", f"{board.memory_bytes >> 10} KiB", megahertz(board.default_hz),
                ", ".join(board.presets),
            ]
            for board in found
        ],
    )  # fmt: skip


def _build_table(document: dict[str, Any]) -> Any:
    from rich.console import Group

    from gen.report import table

    use = table(
        ["resource", "used", "of", "%"],
        [
            [kind.replace("_", " "), f"{one['used']:,}", f"{one['available']:,}", f"{one['percent']:.1f}"]
            for kind, one in document["utilisation"].items()
        ],
    )
    path = document["critical_path"]
    steps = table(
        ["ns", "what", "to", "at", "source"],
        [
            [
                f"{step['delay']:.2f}", step["kind"], step["net"] or step["cell"], ",".join(map(str, step["place"])),
                " ".join(step["sources"]),
            ]
            for step in path["steps"]
        ],
    )  # fmt: skip
    clock = (
        f"{document['fmax_mhz']:g} MHz of {document['clock_mhz']:g}; critical path {path['delay_ns']:g} ns:"
    )
    return Group(use, clock, steps, *document["files"])
