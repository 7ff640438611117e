"""``gatemill boards``, ``gatemill build CONFIG --board B`` and ``gatemill flash CONFIG --board B``."""

from __future__ import annotations

import json
import re
import shlex
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal, InvalidOperation, Overflow
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gen.commands.common import (
    MOST_MEGAHERTZ,
    ConfigArgument,
    JsonOption,
    SetOption,
    emit,
    integer,
    note,
    output_folder,
    paper,
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
SeedOption = Annotated[
    str | None,
    typer.Option(
        "--seed",
        metavar="N[,N...]",
        help="Seeds of place and route, tried until one reaches the clock; the fastest counts.",
    ),
]
MemoryOption = Annotated[
    str | None,
    typer.Option(
        "--memory", metavar="KIND", help="block-ram or sdram, of those that the board has; its usual one."
    ),
]
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
NARROWEST = 8
"""Characters that the name of a net has at least, however narrow the terminal."""
MADE = re.compile(r"(?<=[a-z0-9_])_[A-Z$].*")
"""What Yosys and nextpnr put behind the name of a net of ours, to name what they make of it."""


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
    memory: MemoryOption = None,
    clock: ClockOption = None,
    seed: SeedOption = None,
    baud: BaudOption = None,
    timeout: TimeoutOption = HOUR,
    allow_timing_fail: AllowOption = False,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a bitstream: figures against the part and the clock, critical path, floorplan."""
    from fpga.flow.build import bitstream_file

    wanted, seeds, loaded = _plan(config, board, memory, clock, seed, baud, timeout, overrides)
    folder = output_folder(output)
    made, tried = _build(wanted, seeds, loaded, timeout)
    whole = made.holds or allow_timing_fail
    contents = {
        "report.json": json.dumps(made.figures, indent=2).encode(),
        "floorplan.png": made.floorplan,
    }
    if whole:
        file = made.bitstream(note)
        contents[file.name] = file.read_bytes()
    # An earlier build's bitstream must not lie beside the figures of one that has none.
    old = bitstream_file(folder, wanted.board).name
    paths = write_files(folder, contents, stale=() if whole else (old,))
    document = {
        **made.figures,
        "holds": made.holds,
        "seeds": tried,
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
    memory: MemoryOption = None,
    clock: ClockOption = None,
    seed: SeedOption = None,
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
    wanted, seeds, loaded = _plan(config, board, memory, clock, seed, baud, timeout, overrides)
    programmer, file = wanted.board.programmer, bitstream_file(_kept(wanted, seeds).folder, wanted.board)
    words = flasher.command(programmer, file, missing=note if dry_run else None)
    if not dry_run:
        made, _ = _build(wanted, seeds, loaded, timeout)
        if not made.holds:
            note(f"gatemill: {_missed(made)}")
            if not allow_timing_fail:
                raise typer.Exit(1)
        file = made.bitstream(note)
        words = flasher.command(programmer, file)
        note(f"{programmer.tool}: {file.name}")
        flasher.flash(programmer, file, timeout=min(timeout, flasher.PATIENCE))
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
    memory: str | None,
    clock: str | None,
    seed: str | None,
    baud: int | None,
    timeout: int,
    overrides: list[str] | None,
) -> tuple[Plan, list[int], Config]:
    """The plan with the first of the seeds, and all of them."""
    named = None if seed is None else _seeds(seed)
    integer("--timeout", timeout, 1, 24 * HOUR)
    loaded, found, hertz, rate = request(config, board, memory, clock, baud, overrides)
    from amaranth.hdl import UnusedElaboratable

    from fpga.flow.build import plan
    from fpga.flow.design import system

    with explained(loaded, found):
        made = system(loaded, found, clock_hz=hertz, baud=rate)
    note("design")
    seeds = named or [found.usual_seed(loaded.name)]
    try:
        return plan(made, found, clock_hz=hertz, seed=seeds[0]), seeds, loaded
    except KeyboardInterrupt:
        # Given up half way: Amaranth need not warn of parts that were made and not used.
        warnings.simplefilter("ignore", UnusedElaboratable)
        raise


def request(
    config: str,
    board: str,
    memory: str | None,
    clock: str | None,
    baud: int | None,
    overrides: list[str] | None,
) -> tuple[Config, Board, int, int]:
    """The configuration, the board, the clock in Hz and the bits a second of the link that options name.

    Raises
    ------
    RequestError
        One of them is none.
    """
    from gen import config as configuration

    found = board_with(board, memory)
    loaded = configuration.load(config, overrides or [])
    hertz = found.usual_hz(loaded.name) if clock is None else _hertz(clock, found)
    rate = found.baud if baud is None else integer("--baud", baud, 300, 20_000_000)
    return loaded, found, hertz, rate


@contextmanager
def explained(loaded: Config, found: Board) -> Iterator[None]:
    """A design that a board cannot have, which is a ``ValueError``, is a request that cannot be taken."""
    try:
        yield
    except ValueError as error:
        raise RequestError(f"{loaded.name} on {found.name}: {error}") from None


def board_with(board: str, memory: str | None) -> Board:
    """The board that options name, with the memory that they name.

    Raises
    ------
    RequestError
        There is no such board, or it has no such memory.
    """
    from fpga.board import load

    found = load(board)
    if memory is None:
        return found
    known = {kind.lower().replace(" ", "-"): one for kind, one in found.memories.items()}
    if memory not in known:
        raise RequestError(f"--memory {memory!r}: must be one of {', '.join(known)} on {found.name}")
    return known[memory]


def _hertz(text: str, board: Board) -> int:
    """A clock that the part can make, in Hz."""
    from fpga.pll import settings

    try:
        hertz = Decimal(text) * 1_000_000
    except (InvalidOperation, Overflow):
        hertz = Decimal("NaN")
    if not (hertz.is_finite() and 0 < hertz <= MOST_MEGAHERTZ * 1_000_000) or hertz != int(hertz):
        raise RequestError(f"--clock {text}: must be MHz, of whole Hz, up to {MOST_MEGAHERTZ}")
    try:
        settings(board.resources.family, input_hz=board.clock_hz, output_hz=int(hertz))
    except ValueError as error:
        raise RequestError(f"--clock {text}: {error}") from None
    return int(hertz)


def _seeds(text: str) -> list[int]:
    """Seeds that are named once each, in their order."""
    try:
        found = [int(one) for one in text.split(",")]
    except ValueError:
        raise RequestError(f"--seed {text!r}: must be integers with commas between them") from None
    for one in found:
        integer("--seed", one, 0, (1 << 31) - 1)
    return list(dict.fromkeys(found))


def _kept(wanted: Plan, seeds: list[int]) -> Plan:
    """With the seed that the cache has the fastest build of, or else with the first."""
    done = {seed: found for seed in seeds if (found := wanted.with_seed(seed).done)}
    return wanted.with_seed(max(done, key=lambda seed: done[seed].fmax_mhz, default=seeds[0]))


def _build(wanted: Plan, seeds: list[int], loaded: Config, timeout: int) -> tuple[Build, dict[int, float]]:
    """The fastest, and MHz of each seed that was tried."""
    from fpga.flow.build import tries
    from fpga.flow.steps import DoesNotFit

    try:
        found = tries(wanted, seeds, timeout=timeout, name=loaded.name, notice=note)
    except DoesNotFit as error:
        note(f"gatemill: {error}")
        raise typer.Exit(1) from None
    made = max(found, key=lambda one: one.fmax_mhz)
    if made.kept:
        note(f"taken from {made.folder}")
    return made, {one.figures["seed"]: one.fmax_mhz for one in found}


def _missed(made: Build) -> str:
    from fpga.pll import megahertz

    return f"the design reaches {made.fmax_mhz:g} MHz, not {megahertz(made.clock_hz)}: {made.nearest}, or another --seed"


def _boards_table(found: list[Board]) -> Any:
    from fpga.pll import megahertz
    from gen.report import table

    return table(
        ["board", "what it has", "link, programmer", "presets"],
        [
            [
                f"{board.name}\n{board.part}\n{megahertz(board.default_hz)} MHz",
                f"{board.resources.luts:,} LUT\n{board.resources.block_rams} RAM, {board.resources.dsps} DSP\n{_sizes(board)}",
                f"{board.link}\n{board.baud:,} baud\n{board.programmer.tool}",
                "\n".join(board.presets),
            ]
            for board in found
        ],
    )


def _sizes(board: Board) -> str:
    """Of each memory that it can have."""
    from fpga.board import in_words

    return "\n".join(f"{in_words(one.memory_bytes)} {kind}" for kind, one in board.memories.items())


def _build_table(document: dict[str, Any]) -> Any:
    from rich.console import Group
    from rich.text import Text

    from gen.report import table

    use = table(
        ["resource", "used", "of", "%"],
        [
            [kind.replace("_", " "), f"{one['used']:,}", f"{one['available']:,}", f"{one['percent']:.1f}"]
            for kind, one in document["utilisation"].items()
        ],
    )
    path = document["critical_path"]
    steps = steps_table(path["steps"])
    clock = (
        f"{document['fmax_mhz']:g} MHz of {document['clock_mhz']:g}; critical path {path['delay_ns']:g} ns:"
    )
    files = [Text(file, no_wrap=True, overflow="ignore") for file in document["files"]]
    return Group(use, clock, steps, *files)


def steps_table(steps: list[dict[str, Any]]) -> Any:
    """Of a path. A line of Python is always whole; the front of a name is cut where there is no room for all of it."""
    from gen.report import table

    columns = ["ns", "what", "to", "at", "source"]
    rows = [
        [
            f"{step['delay']:.2f}", step["kind"], described(step["net"] or step["cell"]),
            ",".join(map(str, step["place"])), "\n".join(step["sources"]),
        ]
        for step in steps
    ]  # fmt: skip
    others = sum(
        max([len(columns[place]), *(len(line) for row in rows for line in row[place].split("\n"))])
        for place in (0, 1, 3, 4)
    )
    room = max(NARROWEST, paper().width - others - 3 * len(columns) - 1)
    for row in rows:
        row[2] = row[2] if len(row[2]) <= room else f"…{row[2][1 - room :]}"
    return table(columns, rows)


def described(name: str) -> str:
    """The net that Python describes, out of the name of a net or cell that was made of it."""
    module, dot, own = name.rpartition(".")
    return f"{module}{dot}{MADE.sub('', own) or own}"
