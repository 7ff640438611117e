"""A board as the build needs to know it. The boards themselves lie in ``fpga/boards``, one a file."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
import re
import runpy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fpga.parts import ECP5, GOWIN, PARTS, Part
from fpga.pll import MEGA, settings
from fpga.soc.sdram_part import SdramPart
from gen.errors import RequestError

BLOCK_RAM, LARGE_RAM, SDRAM = "block RAM", "SPRAM", "SDRAM"
MEMORIES = (BLOCK_RAM, LARGE_RAM, SDRAM)
"""What a memory can be made of."""

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


@dataclass(frozen=True, kw_only=True)
class Programmer:
    """The program that gets a bitstream onto the board: ``tool *arguments FILE``.

    Parameters
    ----------
    tool : str
        Its name on a PATH.
    arguments : tuple of str
        Before the file's name.
    package : str
        What to install, for the line that says so.
    vendor, product : int
        USB numbers that a DFU file ends with; without them it has no such end.
    """

    tool: str
    arguments: tuple[str, ...] = ()
    package: str = ""
    vendor: int = 0
    product: int = 0

    @property
    def variable(self) -> str:
        """The environment variable that names another program."""
        return self.tool.upper().replace("-", "_")


@dataclass(frozen=True, kw_only=True)
class Usual:
    """How a preset is built for a board unless the user says otherwise.

    Parameters
    ----------
    clock_hz : int, optional
        Where it is not the board's usual clock.
    seed : int
        Of place and route.
    """

    clock_hz: int | None = None
    seed: int = 1


@dataclass(frozen=True, kw_only=True)
class Board:
    """A board.

    Parameters
    ----------
    name : str
        Small letters, digits and hyphens.
    summary : str
        One line for people.
    part : str
        One of ``fpga.parts.PARTS``.
    package : str
        The part's, as nextpnr is told it; of a Gowin part the whole number of the device.
    speed : int
        Speed grade of an ECP5.
    platform : Callable[[], amaranth.build.Platform]
        Makes a platform; imports what it needs when it is called.
    clock : str
        The platform's resource of the oscillator.
    clock_hz : int
        Of that.
    default_hz : int
        The accelerator's clock unless the user wants another.
    uart : str
        The platform's resource with ``rx`` and ``tx``.
    link : str
        What carries its bytes to a host, for people.
    baud : int
        Usual rate.
    memory : str
        One of ``MEMORIES``.
    memory_bytes : int
        Of the accelerator's memory, a power of two; of an SDRAM all that it has.
    sdram : SdramPart, optional
        What the board has at the platform's resource ``sdram``, in use or not.
    programmer : Programmer
    presets : tuple of str
        Configurations whose size is right for it.
    usual : mapping of str to Usual
        How those of ``presets`` are built that want another clock or seed than others.
    usual_with_sdram : mapping of str to Usual
        The same where the SDRAM is the memory and that wants another yet.
    clock_is_pad : bool
        The oscillator's pin is the pad of an iCE40's loop, and only that can use it.
    pack : tuple of str
        More options of the program that makes the bitstream.

    Raises
    ------
    TypeError, ValueError
        A value is none of those allowed.
    """

    name: str
    summary: str
    part: str
    package: str
    platform: Callable[[], Any]
    clock: str
    clock_hz: int
    default_hz: int
    programmer: Programmer
    memory_bytes: int
    memory: str = BLOCK_RAM
    sdram: SdramPart | None = None
    uart: str = "uart"
    link: str = "USB serial"
    baud: int = 1_000_000
    speed: int = 6
    presets: tuple[str, ...] = ()
    usual: Mapping[str, Usual] = field(default_factory=dict)
    usual_with_sdram: Mapping[str, Usual] = field(default_factory=dict)
    clock_is_pad: bool = False
    pack: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise ValueError(f"name must be small letters, digits and hyphens, not {self.name!r}")
        if self.part not in PARTS:
            raise ValueError(f"part must be one of {', '.join(PARTS)}, not {self.part!r}")
        if self.memory not in MEMORIES:
            raise ValueError(f"memory must be one of {', '.join(MEMORIES)}, not {self.memory!r}")
        if strange := {*self.usual, *self.usual_with_sdram} - set(self.presets):
            raise ValueError(f"usual must be of presets of {self.name}, not {sorted(strange)[0]!r}")
        if not isinstance(self.programmer, Programmer):
            raise TypeError(f"programmer must be a Programmer, not {self.programmer!r}")
        if self.memory_bytes < 1024 or self.memory_bytes & self.memory_bytes - 1:
            raise ValueError(f"memory_bytes must be a power of two from 1024, not {self.memory_bytes!r}")
        if self.memory == SDRAM:
            self._check_sdram()
            return
        most = self.resources.block_ram_bytes if self.memory == BLOCK_RAM else self.resources.large_ram_bytes
        if self.memory_bytes > most:
            raise ValueError(
                f"memory_bytes must be at most the {most} of the {self.memory} of a {self.part}, not {self.memory_bytes!r}"
            )

    def _check_sdram(self) -> None:
        if self.sdram is None:
            raise ValueError(f"sdram must be the part of {self.name}, not {self.sdram!r}")
        if self.memory_bytes != self.sdram.size:
            raise ValueError(
                f"memory_bytes must be the {self.sdram.size} of the SDRAM of {self.name}, not {self.memory_bytes!r}"
            )

    @property
    def memories(self) -> dict[str, Board]:
        """This board with each kind of memory that it can have, by the kind's name: its usual one first."""
        result = {self.memory: self}
        if self.sdram is not None:
            usual = {**self.usual, **self.usual_with_sdram}
            result[SDRAM] = replace(self, memory=SDRAM, memory_bytes=self.sdram.size, usual=usual)
        return result

    def usual_hz(self, name: str) -> int:
        """The accelerator's clock for the configuration of that name unless the user wants another."""
        return self.usual.get(name, Usual()).clock_hz or self.default_hz

    def usual_seed(self, name: str) -> int:
        """Of place and route."""
        return self.usual.get(name, Usual()).seed

    @property
    def resources(self) -> Part:
        """Of its part."""
        return PARTS[self.part]

    @property
    def bitstream_suffix(self) -> str:
        """Of the file that its programmer takes."""
        return {ECP5: ".bit", GOWIN: ".fs"}.get(self.resources.family, ".bin")

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {
            "name": self.name,
            "summary": self.summary,
            "resources": self.resources.as_dict(),
            "clock_mhz": self.clock_hz / MEGA,
            "default_clock_mhz": self.default_hz / MEGA,
            "memory": self.memory,
            "memory_bytes": self.memory_bytes,
            "memories": {kind: board.memory_bytes for kind, board in self.memories.items()},
            "link": self.link,
            "baud": self.baud,
            "programmer": self.programmer.tool,
            "presets": list(self.presets),
            "preset_clocks_mhz": {name: self.usual_hz(name) / MEGA for name in self.presets},
        }


def in_words(size: int) -> str:
    """Bytes of a memory for people."""
    return f"{size >> 20} MiB" if size >= 1 << 20 else f"{size >> 10} KiB"


def boards() -> dict[str, Board]:
    """The boards that come with the package, by name: whatever file lies in ``fpga/boards``."""
    package = importlib.import_module("fpga.boards")
    found = [
        importlib.import_module(f"{package.__name__}.{each.name}").BOARD
        for each in pkgutil.iter_modules(package.__path__)
    ]
    return {board.name: board for board in sorted(found, key=lambda board: board.name)}


def load(origin: str) -> Board:
    """The board of that name, or ``BOARD`` in a Python file.

    Raises
    ------
    RequestError
        There is no such board, or the file has none, does not run, or its board is not that of its platform.
    """
    known = boards()
    if origin in known:
        return known[origin]
    path = Path(origin)
    if path.suffix == ".py" and path.is_file():
        board = _run(path, origin).get("BOARD")
        if not isinstance(board, Board):
            raise RequestError(
                f"--board {origin!r}: must have a BOARD that is an fpga.board.Board, not {board!r}"
            )
        try:
            _check_platform(board)
        except Exception as error:
            raise RequestError(
                f"--board {origin!r}: must be a board that its platform describes ({_told(error)})"
            ) from None
        return board
    near = difflib.get_close_matches(origin, known, 1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    raise RequestError(f"--board {origin!r}: must be a Python file or one of {', '.join(known)}{hint}")


def _run(path: Path, origin: str) -> dict[str, Any]:
    """What a Python file of the user's defines. Whatever it raises is the user's to mend."""
    try:
        return runpy.run_path(str(path))
    except (Exception, SystemExit) as error:
        raise RequestError(f"--board {origin!r}: must be a Python file that runs ({_told(error)})") from None


def _told(error: BaseException) -> str:
    """In one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def platform_of(board: Board) -> Any:
    """The board's platform. Raises ``ValueError`` when its oscillator is another, and whatever making it raises."""
    platform = board.platform()
    oscillator = platform.lookup(board.clock).clock
    if oscillator is None:
        raise ValueError(f"clock must be a resource with a frequency, not {board.clock!r}")
    if oscillator.frequency != board.clock_hz:
        raise ValueError(
            f"clock_hz of {board.name} must be {oscillator.frequency:.0f}, not {board.clock_hz!r}"
        )
    return platform


def _check_platform(board: Board) -> None:
    """That all is there which a build asks the platform for. Raises as :func:`platform_of`."""
    platform = platform_of(board)
    if not {"rx", "tx"} <= {line.name for line in platform.lookup(board.uart).ios if hasattr(line, "name")}:
        raise ValueError(f"uart must be a resource with rx and tx, not {board.uart!r}")
    if board.sdram is not None:
        platform.lookup("sdram")
    for hertz in {one.usual_hz(name) for one in board.memories.values() for name in ("", *board.presets)}:
        settings(board.resources.family, input_hz=board.clock_hz, output_hz=hertz)
