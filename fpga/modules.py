"""What each module of a design takes of a part, counted from the netlist that nextpnr writes once it has packed it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from fpga.flow.report import KINDS
from fpga.parts import GOWIN, ICE40
from fpga.synthesis import FigureError

FLIP_FLOPS = "flip_flops"
"""Counted one by one on an iCE40, where they are in the logic cells."""
MOST_SHARED = 8
"""Cells at a net that says where a cell without a name of its own belongs: not so a clock or a reset."""

_GOWIN = {
    **dict.fromkeys(("LUT1", "LUT2", "LUT3", "BLOCKER_LUT"), "LUT4"),
    **dict.fromkeys((f"DFF{kind}" for kind in ("E", "R", "RE", "S", "SE", "C", "CE", "P", "PE")), "DFF"),
    **dict.fromkeys((f"DFFN{kind}" for kind in ("", "E", "R", "RE", "S", "SE", "C", "CE", "P", "PE")), "DFF"),
    **dict.fromkeys(
        ("DP", "DPX9", "DPB", "DPX9B", "SP", "SPX9", "SDP", "SDPX9", "SDPB", "SDPX9B", "pROM", "pROMX9"),
        "BSRAM",
    ),
}
"""Kinds of cells in a Gowin netlist by what nextpnr's report calls them."""


def by_module(netlist: Mapping[str, Any], family: str, *, depth: int = 1) -> dict[str, dict[str, float]]:
    """Resources by ``report.utilisation``'s names, of each module down to ``depth``, by path; the top's own path is empty.

    What lies deeper counts with the module that it lies in, and what nextpnr makes, as at the ends of carry chains, with what
    it is joined to. Yosys joins registers and tables that do the same: those are one module's alone.

    Raises ``FigureError`` when the netlist is not one of one module.
    """
    modules = netlist.get("modules", {})
    if len(modules) != 1:
        raise FigureError(f"the packed netlist must have one module, not {len(modules)}")
    cells = next(iter(modules.values()))["cells"]
    kinds = {cell: (name, weight) for name, parts in KINDS[family].items() for cell, weight in parts.items()}
    owners = owners_of(cells)
    found: dict[str, dict[str, float]] = {}
    for name, cell in cells.items():
        kind = _GOWIN.get(cell["type"], cell["type"]) if family == GOWIN else cell["type"]
        if kind in kinds:
            resource, weight = kinds[kind]
            path = ".".join(owners[name].split(".")[:depth])
            own = found.setdefault(path, dict.fromkeys([*KINDS[family], FLIP_FLOPS], 0))
            own[resource] += weight
            if family == ICE40 and _bit(cell, "DFF_ENABLE"):
                own[FLIP_FLOPS] += 1
    return dict(sorted(found.items()))


def owners_of(cells: Mapping[str, Any]) -> dict[str, str]:
    """Path of the module that each cell lies in, by its name; one without a name lies where most of its neighbours do."""
    owners = {name: name.rpartition(".")[0] for name in cells if not name.startswith("$")}
    users: dict[Any, list[str]] = {}
    for name, owner in owners.items():
        for bit in _bits(cells[name]):
            users.setdefault(bit, []).append(owner)
    for name in cells:
        if name not in owners:
            near = [users.get(bit, []) for bit in _bits(cells[name])]
            several = Counter(owner for some in near if len(some) <= MOST_SHARED for owner in some)
            owners[name] = several.most_common(1)[0][0] if several else ""
    return owners


def _bit(cell: Mapping[str, Any], parameter: str) -> bool:
    """Whether a parameter of one bit is there and 1."""
    return int(cell.get("parameters", {}).get(parameter, "0"), 2) == 1


def _bits(cell: Mapping[str, Any]) -> set[int]:
    return {bit for bits in cell["connections"].values() for bit in bits if isinstance(bit, int)}
