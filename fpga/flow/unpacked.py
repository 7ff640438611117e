"""A placed and routed iCE40 design turned back into Verilog: what its configuration bits say, not what they were made from.

``icebox_vlog`` of Project IceStorm (Debian: fpga-icestorm) reads tables, registers, carries, wires, pins and block RAMs. What it
leaves out of an UltraPlus, the four large memories and the multipliers, is added here from IceStorm's own tables of where these
have their wires and configuration bits.
"""

from __future__ import annotations

import ast
import functools
import importlib
import re
import shutil
import sys
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sim import tools

PROGRAM, PACKAGE = "icebox_vlog", "fpga-icestorm"
MODULE = "chip"
"""Name of the Verilog module."""

Place = tuple[int, int, str]
"""Column and row of a tile, and a wire or a configuration bit there."""

_WIRE = re.compile(r"(?:wire|reg) (\S+?)(?: = 0)?;")
_SPRAM_BUSES = {"ADDRESS": 14, "DATAIN": 16, "MASKWREN": 4, "DATAOUT": 16}
_DSP_BUSES = {"A": 16, "B": 16, "C": 16, "D": 16, "O": 32}
_WIDE = ("TOPOUTPUT_SELECT", "TOPADDSUB_LOWERINPUT", "TOPADDSUB_CARRYSELECT", "BOTOUTPUT_SELECT", "BOTADDSUB_LOWERINPUT",
         "BOTADDSUB_CARRYSELECT")  # fmt: skip
_OUTPUTS = ("DATAOUT", "O", "CO")


def program() -> Path:
    """Where ``icebox_vlog`` is. Raises ``sim.tools.ToolError`` when it is not installed."""
    found = shutil.which(PROGRAM)
    if found is None:
        raise tools.ToolError(f"{PROGRAM} is missing; get it with: apt-get install {PACKAGE}")
    return Path(found)


@functools.cache
def _icebox() -> Any:
    """IceStorm's module of tables, which lies beside the program or where Debian puts it."""
    for folder in (program().resolve().parent, Path("/usr/share/fpga-icestorm/python")):
        if (folder / "icebox.py").exists():
            break
    else:
        raise tools.ToolError(f"icebox.py must lie beside {PROGRAM}; get it with: apt-get install {PACKAGE}")
    sys.path.insert(0, str(folder))
    try:
        # Its regular expressions are older than Python's warning about them.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module("icebox")
    finally:
        sys.path.remove(str(folder))


def _nets(text: str) -> dict[Place, str]:
    """The net of each piece of wire, from the comments of ``icebox_vlog``."""
    nets: dict[Place, str] = {}
    name = ""
    for line in text.splitlines():
        if found := _WIRE.match(line):
            name = found[1]
        elif line.startswith("// (") and name:
            nets[ast.literal_eval(line[3:])] = name
    return nets


class _Cells:
    """Instances for ``chip``, joined to its nets; ``bits`` are those of the tiles."""

    def __init__(self, layout: Path, nets: Mapping[Place, str]) -> None:
        self._icebox, self._nets = _icebox(), nets
        self._chip = self._icebox.iceconfig()
        self._chip.read_file(str(layout))
        self._new: list[str] = []

    def _bit(self, place: Place) -> bool:
        """Whether a configuration bit is set."""
        x, y, name = place
        tile = self._icebox.tileconfig(self._chip.tile(x, y))
        patterns = [entry[0] for entry in self._chip.tile_db(x, y) if entry[1:] == ["IpConfig", name]]
        return any(tile.match(pattern) for pattern in patterns)

    def _net(self, place: Place) -> str | None:
        x, y, wire = place
        return self._nets.get(place) or self._nets.get((x, y, wire.removeprefix("lutff_global/")))

    def _ports(self, wires: Mapping[str, Place], buses: Mapping[str, int]) -> Iterator[str]:
        """Connections of an instance. What the wires do not reach is 0 at an input, and 1 at a clock's enable."""
        for port in dict.fromkeys(name.rpartition("_")[0] if name[-1].isdigit() else name for name in wires):
            names = [f"{port}_{i}" for i in reversed(range(buses[port]))] if port in buses else [port]
            nets = [self._net(wires[name]) for name in names]
            if port not in _OUTPUTS:
                level = "1'b1" if port == "CE" else "1'b0"
                yield f".{port}({{{', '.join(net or level for net in nets)}}})"
            elif any(nets):
                yield f".{port}({{{', '.join(net or self._spare() for net in nets)}}})"

    def _spare(self) -> str:
        self._new.append(f"spare_{len(self._new)}")
        return self._new[-1]

    def instances(self) -> str:
        """Verilog."""
        made: list[str] = []
        for (x, y, z), wires in self._icebox.spram_db.get(self._chip.device, {}).items():
            ports = dict(wires)
            if self._bit(ports.pop("SPRAM_EN")):
                made.append(
                    f"SB_SPRAM256KA spram_{x}_{y}_{z} ({', '.join(self._ports(ports, _SPRAM_BUSES))});"
                )
        for x, y in sorted(self._chip.dsp_tiles[0]):
            bits = {name: int(self._bit(place)) for name, place in self._chip.get_dsp_config_db(x, y).items()}
            ports = self._chip.get_dsp_nets_db(x, y)
            if not any(self._net(ports[f"O_{i}"]) for i in range(_DSP_BUSES["O"])):
                continue
            values = {name: f"1'b{bit}" for name, bit in bits.items() if not name.startswith(_WIDE)}
            values |= {name: f"2'b{bits[name + '_1']}{bits[name + '_0']}" for name in _WIDE}
            parameters = ", ".join(f".{name}({value})" for name, value in values.items())
            made.append(
                f"SB_MAC16 #({parameters}) mac_{x}_{y} ({', '.join(self._ports(ports, _DSP_BUSES))});"
            )
        wires = [f"wire {name};" for name in self._new]
        return "\n".join([*wires, *made])


def to_verilog(layout: bytes, constraints: str, *, package: str, timeout: float = 600) -> str:
    """Module ``MODULE`` of a layout (``.asc``), whose ports are called as in ``constraints`` (``.pcf``).

    Raises ``sim.tools.ToolError`` when IceStorm is missing or fails.
    """
    with tools.working_folder("unpack") as folder:
        (folder / "layout.asc").write_bytes(layout)
        (folder / "top.pcf").write_text(constraints)
        command = [str(program()), "-n", MODULE, "-p", "top.pcf", "-d", package, "layout.asc"]
        text = tools.run(command, folder=folder, name=PROGRAM, timeout=timeout)
        cells = _Cells(folder / "layout.asc", _nets(text)).instances()
    head, end, _ = text.rpartition("endmodule")
    # Ports that are declared as wires once more are taken by Icarus alone.
    ports = {f"wire {port};" for port in re.findall(r"(?:input|output|inout) (\w+)", head)}
    lines = [
        line for line in head.splitlines() if line not in ports and not line.startswith(("//", "/* DSP"))
    ]
    return "\n".join([*lines, cells, end, ""])
