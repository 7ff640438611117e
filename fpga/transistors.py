"""Transistors of a design in CMOS: Yosys' gates of two inputs, each at what ``stat -tech cmos`` takes it for.

There are NAND, NOR and NOT alone, so that what is rich in exclusive ors comes out large: ratios count, not numbers. Memories are
registers and multiplexers. Nothing is sized, placed or timed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from graphlib import TopologicalSorter
from typing import Any

from amaranth.lib import wiring

from fpga.synthesis import figure, read_json, without_collisions
from gen.rtlil import to_rtlil
from sim import tools

GATES = {"$_NAND_": 4, "$_NOR_": 4, "$_NOT_": 2}
FLIP_FLOP = "$_DFF_P_"
FLIP_FLOP_TRANSISTORS = 24
"""Of a master and a slave of transmission gates with the clock's inverters; ``stat -tech cmos`` has 16."""
SCRIPT = (
    "read_rtlil design.il\nhierarchy -top top\nproc\nflatten -noscopeinfo\nsynth -booth -top top\n"
    # Enables and resets become gates; nothing may take them back into flip-flops after that.
    "dfflegalize -cell $_DFF_P_ 01\n"
    # Twice as much is asked of ABC as by itself, and area before depth: what it leaves differs less from unit to unit.
    "abc -g cmos2 -script +strash;ifraig;scorr;dc2;dc2;dch,-f;map,-a\n"
    "opt_clean\ncheck -assert\ntee -q -o statistics.json stat -json\n"
)
PLAIN_SCRIPT = (
    "read_rtlil design.il\nhierarchy -top top\nproc\nflatten -noscopeinfo\nasync2sync\nsynth -flatten -top top\n"
    "dfflegalize -cell $_DFF_P_ 01\nopt_clean\nabc -g cmos2\nopt_clean\ncheck -assert\n"
    "tee -q -o statistics.json stat -json\nwrite_json netlist.json\n"
)
"""As others' RTL was measured: nothing is asked of ABC or of multipliers beyond what is done by itself."""
PLAIN_TEXT = (
    "proc; flatten; async2sync; synth -flatten; dfflegalize; abc -g cmos2: 4 (NAND + NOR) + 2 NOT, "
    f"{FLIP_FLOP_TRANSISTORS} for a flip-flop; levels: gates on the longest path"
)
TEXT = (
    "synth -flatten -booth; abc -g cmos2 (dc2; dc2; dch -f; map -a): 4 (NAND + NOR) + 2 NOT, "
    f"{FLIP_FLOP_TRANSISTORS} for a flip-flop"
)


@dataclass(frozen=True, kw_only=True)
class Transistors:
    """Of the gates; and flip-flops, as many as there are."""

    gates: int
    flip_flops: int

    @property
    def total(self) -> int:
        """Both, a flip-flop at ``FLIP_FLOP_TRANSISTORS``."""
        return self.gates + FLIP_FLOP_TRANSISTORS * self.flip_flops

    def as_dict(self) -> dict[str, int]:
        """Plain data, for JSON."""
        return {**asdict(self), "total": self.total}


def count(cells: Mapping[str, int]) -> Transistors:
    """Of cells by type. Raises ``ValueError`` for a type that is not one of ``GATES`` or a flip-flop."""
    strange = sorted(set(cells) - set(GATES) - {FLIP_FLOP})
    if strange:
        raise ValueError(f"cells must be {', '.join([*GATES, FLIP_FLOP])}, not {', '.join(strange)}")
    return Transistors(
        gates=sum(each * cells.get(kind, 0) for kind, each in GATES.items()),
        flip_flops=cells.get(FLIP_FLOP, 0),
    )


@dataclass(frozen=True, kw_only=True)
class Plain:
    """By ``PLAIN_SCRIPT``: transistors, and the gates on the longest path from register or port to register or port."""

    transistors: Transistors
    levels: int

    def as_dict(self) -> dict[str, int]:
        """Plain data, for JSON."""
        return {**self.transistors.as_dict(), "levels": self.levels}


def levels(cells: Mapping[str, Mapping[str, Any]]) -> int:
    """Gates on the longest path of a netlist's cells, as Yosys' ``write_json`` has them."""
    inputs: dict[int, list[int | str]] = {}
    for cell in cells.values():
        if cell["type"] != FLIP_FLOP:
            pins = cell["connections"]
            inputs[pins["Y"][0]] = [bit for pin in "AB" for bit in pins.get(pin, ())]
    depth: dict[int | str, int] = {}
    for net in TopologicalSorter(inputs).static_order():
        depth[net] = 1 + max(depth[bit] for bit in inputs[net]) if net in inputs else 0
    return max(depth.values(), default=0)


def plain(component: wiring.Component, *, timeout: float = 600) -> Plain:
    """Synthesise ``component`` by ``PLAIN_SCRIPT``. Raises as :func:`transistors`."""
    statistics, netlist = _synthesised(component, PLAIN_SCRIPT, timeout, "statistics.json", "netlist.json")
    cells = figure(netlist, "modules", "top", "cells")
    return Plain(transistors=count(figure(statistics, "design", "num_cells_by_type")), levels=levels(cells))


def transistors(component: wiring.Component, *, timeout: float = 600) -> Transistors:
    """Synthesise ``component``.

    Raises ``sim.tools.ToolError`` when Yosys is missing, fails or takes longer than ``timeout`` seconds.
    """
    (statistics,) = _synthesised(component, SCRIPT, timeout, "statistics.json")
    return count(figure(statistics, "design", "num_cells_by_type"))


def _synthesised(component: wiring.Component, script: str, timeout: float, *written: str) -> list[dict]:
    """What ``script`` has ``written``."""
    with tools.working_folder("synthesis") as folder:
        (folder / "design.il").write_text(without_collisions(to_rtlil(component, name="top")))
        (folder / "script.ys").write_text(script)
        command = [*tools.yowasp("yosys"), "-q", "-s", "script.ys"]
        tools.run(command, folder=folder, name="yosys synth", timeout=timeout)
        return [read_json(folder / name) for name in written]
