"""Gates of an accelerator: in CMOS, as Yosys takes them, or of a Liberty file's cells.

Memories of more than ``REGISTERS`` words are left as they are: their bits are counted, their transistors and area are not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fpga.modules import owners_of
from fpga.synthesis import NETLIST, FigureError, figure, read_json, without_collisions
from fpga.transistors import FLIP_FLOP, GATES, Transistors, count, levels
from gen.errors import RequestError
from sim import tools

REGISTERS = 64
"""Words of a memory that is made of registers; larger ones are macros."""
NAND2 = GATES["$_NAND_"]
"""Transistors of the gate that sizes are given in."""
MACRO, SCOPE = "$mem_v2", "$scopeinfo"
_GATES = f"""\
read_rtlil design.il
synth -flatten -booth -top top -run begin:fine
opt -fast -full
memory_map t:{MACRO} r:SIZE<={REGISTERS} %i
opt -undriven -fine
techmap
opt -fast
"""
_END = f"opt_clean\nautoname\ncheck -assert\nwrite_json {NETLIST}\n"
_CMOS = f"{_GATES}dfflegalize -cell {FLIP_FLOP} 01\nopt_clean\nabc -g cmos2\n{_END}"
_LIBERTY = (
    f"{_GATES}read_liberty -lib cells.lib\ndfflibmap -liberty cells.lib\nopt_clean\ntee -q -o registers.json stat -json\n"
    "abc -liberty cells.lib -script "
    "+strash;&get,-n;&fraig,-x;&put;scorr;dc2;strash;&get,-n;&dch,-f;&nf;&put;buffer;upsize;dnsize;stime,-d\n"
    f"{_END}tee -q -o statistics.json stat -json -liberty cells.lib\n"
)
TEXT = {
    "cmos": f"synth -flatten -booth; abc -g cmos2: 4 (NAND + NOR) + 2 NOT, {count({FLIP_FLOP: 1}).total} for a flip-flop",
    "liberty": "synth -flatten -booth; dfflibmap; abc -liberty (&dch -f; &nf; buffer; upsize; dnsize; stime)",
}
"""The flows in words."""


@dataclass(frozen=True, kw_only=True)
class Gates:
    """What a design takes.

    Parameters
    ----------
    flow : str
        In words.
    flip_flops, macros, memory_bits : int
        Registers; memories that are left as they are, and their bits together.
    modules : dict
        ``gates`` and ``ff`` of each module by path: NAND2-equivalents or µm², flip-flops included.
    transistors : Transistors or None
        In CMOS.
    levels : int or None
        Gates on the longest path from register, macro or port to the next, in CMOS.
    area_um2, delay_ns : float or None
        With a Liberty file: of all cells, in its own unit, which is µm² by custom; and of the longest path between registers, as
        ABC has it: without wires, setup, or the registers' own delay.
    """

    flow: str
    flip_flops: int
    macros: int
    memory_bits: int
    modules: dict[str, dict[str, float]] = field(repr=False)
    transistors: Transistors | None = None
    levels: int | None = None
    area_um2: float | None = None
    delay_ns: float | None = None

    @property
    def nand2(self) -> float | None:
        """Gates of two inputs that have as many transistors."""
        return None if self.transistors is None else self.transistors.total / NAND2


def measure(rtlil: str, liberty: Path | None = None, *, depth: int = 1, timeout: float = 1800) -> Gates:
    """Synthesise ``rtlil`` (top module ``top``) to CMOS gates, or to the cells of a ``liberty`` file.

    Raises
    ------
    RequestError
        There is no such file.
    fpga.synthesis.FigureError
        A figure is missing.
    sim.tools.ToolError
        Yosys is missing, failed or took longer than ``timeout`` seconds.
    """
    with tools.working_folder("synthesis") as folder:
        if liberty is not None:
            (folder / "cells.lib").write_bytes(content(liberty))
        (folder / "design.il").write_text(without_collisions(rtlil))
        (folder / "script.ys").write_text(_CMOS if liberty is None else _LIBERTY)
        command = [*tools.yowasp("yosys"), "-q", "-l", "log.txt", "-s", "script.ys"]
        tools.run(command, folder=folder, name="yosys synth", timeout=timeout)
        netlist = read_json(folder / NETLIST)
        if liberty is not None:
            delay_ns, registers = _delay(folder / "stats.txt"), read_json(folder / "registers.json")
            statistics = read_json(folder / "statistics.json")
    cells = figure(netlist, "modules", "top", "cells")
    macros = [cell for cell in cells.values() if cell["type"] == MACRO]
    gates = {name: cell for name, cell in cells.items() if cell["type"] not in (MACRO, SCOPE)}
    bits = sum(_number(cell, "SIZE") * _number(cell, "WIDTH") for cell in macros)
    if liberty is not None:
        # Before ABC, registers alone are the library's.
        kinds = {
            kind for kind in figure(registers, "design", "num_cells_by_type") if not kind.startswith("$")
        }
        return Gates(
            flow=TEXT["liberty"], flip_flops=sum(cell["type"] in kinds for cell in gates.values()), macros=len(macros),
            memory_bits=bits, modules=_modules(gates, _areas(netlist), kinds, depth), delay_ns=delay_ns,
            area_um2=float(figure(statistics, "design", "area")),
        )  # fmt: skip
    found = count(Counter(cell["type"] for cell in gates.values()))
    sizes = {kind: each / NAND2 for kind, each in GATES.items()} | {
        FLIP_FLOP: count({FLIP_FLOP: 1}).total / NAND2
    }
    return Gates(
        flow=TEXT["cmos"], flip_flops=found.flip_flops, macros=len(macros), memory_bits=bits, transistors=found,
        levels=levels(gates), modules=_modules(gates, sizes, {FLIP_FLOP}, depth),
    )  # fmt: skip


def content(file: Path) -> bytes:
    """Of a Liberty file. Raises ``RequestError`` when it cannot be read."""
    try:
        return file.read_bytes()
    except OSError as error:
        raise RequestError(
            f"target 'liberty:{file}': must name a file that can be read ({error.strerror})"
        ) from None


def _number(cell: Mapping[str, Any], parameter: str) -> int:
    return int(cell["parameters"][parameter], 2)


def _delay(file: Path) -> float:
    """Nanoseconds, out of what ABC writes: name, inputs, outputs, cells, area, and the delay in picoseconds."""
    words = file.read_text().split() if file.is_file() else []
    if len(words) != 6 or not words[-1].isdigit():
        raise FigureError("ABC has written no delay: the Liberty file must have one of each gate")
    return int(words[-1]) / 1000


def _areas(netlist: Mapping[str, Any]) -> dict[str, float]:
    """Of each cell of the Liberty file."""
    found = {name: one["attributes"].get("area") for name, one in netlist["modules"].items()}
    return {name: float(area) for name, area in found.items() if area is not None}


def _modules(
    cells: Mapping[str, Any], sizes: Mapping[str, float], registers: set[str], depth: int
) -> dict[str, dict[str, float]]:
    owners = owners_of(cells)
    found: dict[str, dict[str, float]] = {}
    for name, cell in cells.items():
        path = ".".join(owners[name].split(".")[:depth])
        own = found.setdefault(path, {"gates": 0, "ff": 0})
        own["gates"] += sizes[cell["type"]]
        own["ff"] += cell["type"] in registers
    return dict(sorted(found.items()))
