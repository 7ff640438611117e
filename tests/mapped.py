"""A synthesised ECP5 netlist carried out cell by cell, so that it can be held against the component that it came from.

Block RAM and multiplier do what Lattice's FPGA-TN-02204 and FPGA-TN-02205 say, as far as synthesis uses them here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from graphlib import TopologicalSorter
from typing import Any

from amaranth.hdl import ResetInserter, Signal, Value
from amaranth.lib import wiring
from amaranth.sim import Simulator

CARRY, LUT = "CCU2C", "LUT4"


class Cell:
    """One cell; ``values`` are those of all bits, changed in place."""

    def __init__(self, cell: Mapping[str, Any], values: dict[int | str, int]):
        self.parameters, self.connections = cell["parameters"], cell["connections"]
        self.values = values

    def get(self, port: str, default: int = 0) -> int:
        bits = self.connections.get(port)
        return self.values[bits[0]] if bits else default

    def number(self, prefix: str, count: int) -> int:
        return sum(self.get(f"{prefix}{i}") << i for i in range(count))

    def put(self, port: str, value: int) -> None:
        for bit in self.connections.get(port, ()):
            if bit != "x":
                self.values[bit] = value & 1

    def put_number(self, prefix: str, count: int, value: int) -> None:
        for i in range(count):
            self.put(f"{prefix}{i}", value >> i)


class Lut(Cell):
    def evaluate(self) -> None:
        index = sum(self.get(port) << i for i, port in enumerate("ABCD"))
        self.put("Z", int(self.parameters["INIT"], 2) >> index)


class Multiplexer(Cell):
    """Of a slice: PFUMX between two look-up tables, L6MUX21 between two of those."""

    PORTS = ("BLUT", "ALUT", "C0")

    def evaluate(self) -> None:
        low, high, select = self.PORTS
        self.put("Z", self.get(high if self.get(select) else low))


class WideMultiplexer(Multiplexer):
    PORTS = ("D0", "D1", "SD")


class Carry(Cell):
    """Two bits of an adder: a look-up table says whether the carry passes, half a one what it is otherwise."""

    def evaluate(self) -> None:
        carry = self.get("CIN")
        for half in "01":
            assert self.parameters[f"INJECT1_{half}"] == "NO"
            table = int(self.parameters[f"INIT{half}"], 2)
            index = sum(self.get(port + half) << i for i, port in enumerate("ABCD"))
            passes = table >> index & 1
            self.put("S" + half, passes ^ carry)
            carry = carry if passes else table >> (index & 3) & 1
        self.put("COUT", carry)


class Register(Cell):
    def __init__(self, cell, values):
        super().__init__(cell, values)
        assert self.parameters["CLKMUX"].strip() == "CLK"
        assert self.parameters.get("SRMODE", "LSR_OVER_CE") == "LSR_OVER_CE"
        self._reset = self._state = int(self.parameters["REGSET"].strip() == "SET")

    def sample(self) -> None:
        if self.get("LSR"):
            self._state = self._reset
        elif self.parameters["CEMUX"].strip() == "1" or self.get("CE"):
            self._state = self.get("DI")

    def show(self) -> None:
        self.put("Q", self._state)


class DistributedRam(Cell):
    """Sixteen words of four bits: written with the clock, read without."""

    def __init__(self, cell, values):
        super().__init__(cell, values)
        assert self.parameters["WCKMUX"].strip() == "WCK"
        assert self.parameters["WREMUX"].strip() == "WRE"
        assert not int(self.parameters.get("INITVAL", "0").replace("x", "0"), 2)
        self._words = [0] * 16

    def _bits(self, port: str) -> list[int]:
        return [self.values[bit] for bit in self.connections[port]]

    def evaluate(self) -> None:
        word = self._words[sum(bit << i for i, bit in enumerate(self._bits("RAD")))]
        for i, bit in enumerate(self.connections["DO"]):
            if bit != "x":
                self.values[bit] = word >> i & 1

    def sample(self) -> None:
        if self.get("WRE"):
            address = sum(bit << i for i, bit in enumerate(self._bits("WAD")))
            self._words[address] = sum(bit << i for i, bit in enumerate(self._bits("DI")))


class BlockRam(Cell):
    """Port A writes, port B reads words of the same width; the lowest address bits of wide words enable each 9 bits."""

    def __init__(self, cell, values):
        super().__init__(cell, values)
        self._width = int(self.parameters["DATA_WIDTH_A"], 2)
        assert self._width == int(self.parameters["DATA_WIDTH_B"], 2)
        assert not any(int(v, 2) for name, v in self.parameters.items() if name.startswith("INITVAL"))
        self._low = {1: 0, 2: 1, 4: 2, 9: 3, 18: 4, 36: 5}[self._width]
        self._words: dict[int, int] = {}
        self._word = self._kept = 0

    def sample(self) -> None:
        if self.get("OCEB"):
            self._kept = self._word
        assert not any(self.get(f"CS{side}{i}") for side in "AB" for i in range(3))
        assert not self.get("WEB")
        assert not self.get("RSTB")
        if self.get("CEB"):
            self._word = self._words.get(self.number("ADB", 14) >> self._low, 0)
        if self.get("CEA") and self.get("WEA"):
            address = self.number("ADA", 14)
            enables = address & (15 if self._width == 36 else 3) if self._width >= 18 else 1
            mask = sum(511 << 9 * i for i in range(4) if enables >> i & 1)
            data = self.number("DIA", 18) | self.number("DIB", 18) << 18
            place = address >> self._low
            self._words[place] = (self._words.get(place, 0) & ~mask | data & mask) % (1 << self._width)

    def show(self) -> None:
        word = self._kept if self.parameters["REGMODE_B"] == "OUTREG" else self._word
        if self._width == 36:
            self.put_number("DOA", 18, word)
            word >>= 18
        self.put_number("DOB", 18, word)


class Multiplier(Cell):
    def __init__(self, cell, values):
        super().__init__(cell, values)
        assert all(self.parameters[f"REG_{place}_CLK"] == "CLK0" for place in ("INPUTA", "INPUTB", "OUTPUT"))
        self._a = self._b = self._product = 0

    def _factor(self, name: str) -> int:
        value = self.number(name, 18)
        return value - (1 << 18) if self.get(f"SIGNED{name}") and value >> 17 else value

    def sample(self) -> None:
        if self.get("RST0"):
            self._a = self._b = self._product = 0
        elif self.get("CE0"):
            self._product = self._a * self._b
            self._a, self._b = self._factor("A"), self._factor("B")

    def show(self) -> None:
        self.put_number("P", 36, self._product)


CLOCKED = {"TRELLIS_FF": Register, "DP16KD": BlockRam, "MULT18X18D": Multiplier}
SAMPLED = ("DI", "WAD", "WRE", "WCK")
"""Ports of distributed RAM that nothing depends on before the clock."""
COMBINATIONAL = {
    LUT: Lut,
    CARRY: Carry,
    "PFUMX": Multiplexer,
    "L6MUX21": WideMultiplexer,
    "TRELLIS_DPR16X4": DistributedRam,
}


def run_mapped(module: Mapping[str, Any], stimulus: Sequence[Mapping[str, int]]) -> list[dict[str, int]]:
    """Outputs in each cycle of a module of a JSON netlist; inputs that a cycle does not name are 0."""
    values: dict[int | str, int] = {"0": 0, "1": 1, "x": 0}
    cells = {name: cell for name, cell in module["cells"].items() if cell["type"] != "$scopeinfo"}
    drivers = {}
    for name, cell in cells.items():
        for port, bits in cell["connections"].items():
            values |= {bit: 0 for bit in bits if isinstance(bit, int)}
            if cell["port_directions"][port] == "output" and cell["type"] in COMBINATIONAL:
                drivers |= dict.fromkeys((bit for bit in bits if bit != "x"), name)
    for port in module["ports"].values():
        values |= {bit: 0 for bit in port["bits"] if isinstance(bit, int)}
    order = TopologicalSorter(
        {
            name: {
                drivers[bit]
                for port, bits in cell["connections"].items()
                if cell["port_directions"][port] == "input" and port not in SAMPLED
                for bit in bits
                if bit in drivers
            }
            for name, cell in cells.items()
            if cell["type"] in COMBINATIONAL
        }
    ).static_order()
    logic = [COMBINATIONAL[cells[name]["type"]](cells[name], values) for name in order]
    memories = [cell for cell in logic if isinstance(cell, DistributedRam)]
    state = [CLOCKED[c["type"]](c, values) for c in cells.values() if c["type"] not in COMBINATIONAL]
    seen = []
    for given in stimulus:
        for name, port in module["ports"].items():
            if port["direction"] == "input":
                for i, bit in enumerate(port["bits"]):
                    values[bit] = given.get(name, 0) >> i & 1
        for cell in state:
            cell.show()
        for cell in logic:
            cell.evaluate()
        seen.append(
            {
                name: sum(values[bit] << i for i, bit in enumerate(port["bits"]))
                for name, port in module["ports"].items()
                if port["direction"] == "output"
            }
        )
        for cell in [*state, *memories]:
            cell.sample()
    return seen


def run_component(component: wiring.Component, stimulus: Sequence[Mapping[str, int]]) -> list[dict[str, int]]:
    """The same of a component, in Amaranth's simulator; ``rst`` resets it."""
    reset = Signal()
    members = {
        "_".join(map(str, path)): (member, Value.cast(value))
        for path, member, value in component.signature.flatten(component)
    }
    seen = []

    async def bench(ctx):
        for given in stimulus:
            ctx.set(reset, given.get("rst", 0))
            for name, (member, value) in members.items():
                if member.flow == wiring.In:
                    ctx.set(value.as_unsigned(), given.get(name, 0))
            seen.append(
                {
                    name: ctx.get(value) & ((1 << len(value)) - 1)
                    for name, (member, value) in members.items()
                    if member.flow == wiring.Out
                }
            )
            await ctx.tick()

    simulator = Simulator(ResetInserter(reset)(component))
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return seen
