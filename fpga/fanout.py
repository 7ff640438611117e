"""Registers that reach a whole part, several times: a copy for the neighbours of each place."""

from __future__ import annotations

import copy
import re
from collections import defaultdict
from collections.abc import Iterable

MOST = 150
"""Inputs that a register, or a copy of it, may reach; more only where wires of a module are small and many."""

LEAST = 24
"""Inputs that a copy is worth."""

_CELL = re.compile(r"_(?:TRELLIS|LUT4|CCU2C|MULT18X18D|DP16KD)")
"""Where the wire's name ends in that of a cell."""

Sink = tuple[str, str, int]
"""An input: cell, port, bit."""


def spread_registers(netlist: dict) -> None:
    """Give what registers with more than ``MOST`` inputs reach to copies of them, a module or part of it each.

    A copy has the inputs of its original and the same value in every cycle: nothing but places and ways changes. What lies in no
    module stays with the original. ``netlist`` is what Yosys writes for nextpnr, flat.
    """
    for module in netlist["modules"].values():
        cells = module["cells"]
        wide = {
            cell["connections"]["Q"][0]: name
            for name, cell in cells.items()
            if cell["type"] == "TRELLIS_FF" and cell["connections"].get("Q")
        }
        sinks = _sinks(cells, wide)
        nets = module["netnames"]
        described = {bit: net for net in nets.values() if "src" in net["attributes"] for bit in net["bits"]}
        fresh = 1 + max(
            (bit for net in nets.values() for bit in net["bits"] if isinstance(bit, int)), default=1
        )
        for bit, reached in sinks.items():
            if len(reached) <= MOST:
                continue
            name = wide[bit]
            for path, group in _groups(reached).items():
                copied = f"{path}.{name.rpartition('.')[2]}_copy"
                cells[copied] = copy.deepcopy(cells[name])
                cells[copied]["connections"]["Q"] = [fresh]
                attributes = dict(described.get(bit, {"attributes": {}})["attributes"])
                nets[copied] = {"hide_name": 0, "bits": [fresh], "attributes": attributes}
                for cell, port, index in group:
                    cells[cell]["connections"][port][index] = fresh
                fresh += 1


def _sinks(cells: dict, wide: dict[int, str]) -> dict[int, list[Sink]]:
    """What each of these nets reaches."""
    found: dict[int, list[Sink]] = defaultdict(list)
    for name, cell in cells.items():
        for port, bits in cell["connections"].items():
            if cell["port_directions"][port] == "input":
                for index, bit in enumerate(bits):
                    if bit in wide:
                        found[bit].append((name, port, index))
    return found


def _groups(sinks: Iterable[Sink]) -> dict[str, list[Sink]]:
    """By path of the module, as long as there are more than ``MOST`` in it, and then by register.

    What has fewer than ``LEAST`` stays with the rest of its module, or is left out.
    """
    result: dict[str, list[Sink]] = {}
    todo = [("", list(sinks))]
    while todo:
        path, here = todo.pop()
        own = here
        parts: dict[str, list[Sink]] = defaultdict(list)
        if len(here) > MOST:
            own = []
            for sink in here:
                part, dot, _ = sink[0][len(path) + 1 if path else 0 :].partition(".")
                (parts[part] if dot else own).append(sink)
        todo += [(f"{path}.{part}" if path else part, those) for part, those in parts.items()]
        if path:
            found = _registers(path, own) if len(own) > MOST else {path: own}
            result |= {name: those for name, those in found.items() if len(those) >= LEAST}
    return result


def _registers(path: str, sinks: Iterable[Sink]) -> dict[str, list[Sink]]:
    """By the wire that Yosys names a cell after, small ones together and large ones in parts: they may lie far apart."""
    wires: dict[str, list[Sink]] = defaultdict(list)
    for sink in sinks:
        wires[_CELL.split(sink[0])[0]].append(sink)
    result = {path: [sink for those in wires.values() if len(those) < LEAST for sink in those]}
    for wire, those in wires.items():
        parts = -(-len(those) // MOST)
        if len(those) >= LEAST:
            for part in range(parts):
                name = wire if part == 0 else f"{wire}_{part}"
                result[name] = those[len(those) * part // parts : len(those) * (part + 1) // parts]
    return result
