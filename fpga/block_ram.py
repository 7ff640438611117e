"""Puts the registers behind block RAM into the block, where the clock finds them ready: a netlist is given and changed.

Yosys leaves a DP16KD's output registers unused: its data then comes 5.8 ns after the clock edge.
Parameters and ports of the block: Lattice, ECP5 memory usage guide (FPGA-TN-02204).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

BITS = 18
"""Data outputs of a port."""

WHOLE = 36
"""Width at which both ports are one: written as A, read as B."""


def pack_output_registers(netlist: Mapping) -> int:
    """Use the output registers of every DP16KD in a Yosys JSON ``netlist`` whose outputs allow it; how many ports do.

    Each output in use must feed one flip-flop and nothing else: same clock edge, no enable, no reset, clear at power-up.
    The flip-flops go, and the block drives what they drove.
    """
    return sum(_pack(module) for module in netlist["modules"].values())


def count_cells(netlist: Mapping, top: str) -> dict[str, int]:
    """Cells by type in module ``top`` and all that it contains."""
    modules = netlist["modules"]
    counts: Counter[str] = Counter()
    for cell in modules[top]["cells"].values():
        inside = modules.get(cell["type"])
        if cell["type"] == "$scopeinfo":
            continue
        if inside is None or "blackbox" in inside["attributes"]:
            counts[cell["type"]] += 1
        else:
            counts.update(count_cells(netlist, cell["type"]))
    return dict(counts)


def _pack(module: dict) -> int:
    cells = module["cells"]
    loads: Counter[int | str] = Counter(bit for port in module["ports"].values() for bit in port["bits"])
    registers = {}
    for name, cell in cells.items():
        for port, bits in cell["connections"].items():
            if cell["port_directions"][port] != "output":
                loads.update(bits)
        if cell["type"] == "TRELLIS_FF" and _is_plain(cell):
            registers[cell["connections"]["DI"][0]] = name
    packed = 0
    for cell in [cell for cell in cells.values() if cell["type"] == "DP16KD"]:
        for sides in _read_ports(cell):
            outputs = [
                f"DO{side}{i}"
                for side in sides
                for i in range(BITS)
                if cell["connections"].get(f"DO{side}{i}")
            ]
            used = [port for port in outputs if loads[cell["connections"][port][0]]]
            behind = [registers.get(cell["connections"][port][0]) for port in used]
            if not used or not all(
                name and loads[cell["connections"][port][0]] == 1 and _same_edge(cell, sides[-1], cells[name])
                for port, name in zip(used, behind, strict=True)
            ):
                continue
            for port, name in zip(used, behind, strict=True):
                cell["connections"][port] = cells.pop(name)["connections"]["Q"]
            for side in sides:
                cell["parameters"][f"REGMODE_{side}"] = "OUTREG"
                cell["connections"][f"OCE{side}"] = ["1"]
            packed += 1
    return packed


def _read_ports(cell: dict) -> list[str]:
    """Sides of each read port of a DP16KD; the last one's clock is the port's."""
    return ["AB"] if int(cell["parameters"]["DATA_WIDTH_A"], 2) == WHOLE else ["A", "B"]


def _is_plain(cell: dict) -> bool:
    """A flip-flop loads in every cycle, is never reset and is clear at power-up."""
    parameters, connections = cell["parameters"], cell["connections"]
    enabled = parameters["CEMUX"].strip() == "1" or connections.get("CE") == ["1"]
    reset = connections.get("LSR", ["0"]) != ["0"]
    return enabled and not reset and parameters["REGSET"].strip() == "RESET"


def _same_edge(memory: dict, side: str, register: dict) -> bool:
    inverted = memory["parameters"][f"CLK{side}MUX"].strip() == "INV"
    return (
        memory["connections"][f"CLK{side}"] == register["connections"]["CLK"]
        and inverted == (register["parameters"]["CLKMUX"].strip() == "INV")
        and memory["connections"][f"RST{side}"] == ["0"]
    )
