"""Registers that reach a whole part: copied for each place, and nothing else changed."""

from collections import Counter

import pytest

from fpga import fanout
from fpga.fanout import spread_registers


def register(bit, data):
    return {
        "type": "TRELLIS_FF",
        "port_directions": {"CLK": "input", "DI": "input", "LSR": "input", "Q": "output"},
        "connections": {"CLK": [2], "DI": [data], "LSR": ["0"], "Q": [bit]},
    }


def gate(bit):
    return {"type": "LUT4", "port_directions": {"A": "input"}, "connections": {"A": [bit]}}


def netlist(sinks, source=3):
    """One module: ``system.held`` from bit ``source``, and gates on it by the paths of their modules."""
    cells = {"system.held_FF": register(4, source), "system.other_FF": register(5, 4)}
    for path, number in sinks.items():
        cells |= {f"{path}.gate_{index}": gate(4) for index in range(number)}
    nets = {
        "system.held": {"bits": [4], "attributes": {"src": "fpga/soc/system.py:1"}},
        "x": {"bits": ["0", 5], "attributes": {}},
    }
    return {"modules": {"top": {"cells": cells, "netnames": nets}}}


def reached(made):
    """Inputs by the register that they are from."""
    cells = made["modules"]["top"]["cells"]
    owner = {cell["connections"]["Q"][0]: name for name, cell in cells.items() if "Q" in cell["connections"]}
    inputs = (
        bit
        for cell in cells.values()
        for port, bits in cell["connections"].items()
        if cell["port_directions"][port] == "input"
        for bit in bits
    )
    return Counter(owner[bit] for bit in inputs if bit in owner)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(fanout, "MOST", 10)
    monkeypatch.setattr(fanout, "LEAST", 3)


def test_few_inputs_stay():
    made = netlist({"system.a": 9})
    spread_registers(made)
    assert made == netlist({"system.a": 9})


def test_each_place_has_its_copy():
    made = netlist(
        {"system.a": 8, "system.b.c": 7, "system.b.d": 6, "system.b": 4, "system.e": 2, "system": 1}
    )
    spread_registers(made)
    copies = {"system.a": 8, "system.b.c": 7, "system.b.d": 6, "system.b": 4}
    # A register of the top, and places too small for a copy, stay.
    assert reached(made) == {f"{path}.held_FF_copy": number for path, number in copies.items()} | {
        "system.held_FF": 1 + 2 + 1
    }
    module = made["modules"]["top"]
    original = module["cells"]["system.held_FF"]["connections"]
    bits = {original["Q"][0]}
    for path in copies:
        copy = module["cells"][f"{path}.held_FF_copy"]["connections"]
        assert copy | {"Q": original["Q"]} == original
        bits |= set(copy["Q"])
        assert module["netnames"][f"{path}.held_FF_copy"]["bits"] == copy["Q"]
        assert module["netnames"][f"{path}.held_FF_copy"]["attributes"] == {"src": "fpga/soc/system.py:1"}
    assert len(bits) == 1 + len(copies)
    assert min(bits - {4}) > 5


def test_registers_of_one_module_may_lie_apart():
    made = netlist({})
    cells = made["modules"]["top"]["cells"]
    for wire, number in {"near": 8, "far": 7, "tiny": 2, "small": 1, "wide": 25}.items():
        cells |= {f"system.a.{wire}_TRELLIS_FF_Q_{index}": gate(4) for index in range(number)}
    spread_registers(made)
    groups = {"system.a.near": 8, "system.a.far": 7, "system.a": 3}
    groups |= {"system.a.wide": 8, "system.a.wide_1": 8, "system.a.wide_2": 9}
    assert reached(made) == {f"{path}.held_FF_copy": number for path, number in groups.items()} | {
        "system.held_FF": 1
    }


def test_a_register_that_reaches_itself():
    made = netlist({"system.a": 20}, source=4)
    spread_registers(made)
    cells = made["modules"]["top"]["cells"]
    assert cells["system.a.held_FF_copy"]["connections"]["DI"] == [4]
    assert reached(made)["system.a.held_FF_copy"] == 20
