"""The least design that a board takes, and what nextpnr writes of it, made up."""

from __future__ import annotations

from pathlib import Path

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out


class Echo(wiring.Component):
    """Says what it hears, later."""

    def __init__(self, bits: int = 8) -> None:
        self._bits = bits
        super().__init__({"rx": In(1), "tx": Out(1)})

    def elaborate(self, platform):
        m = Module()
        heard = Signal(self._bits)
        m.d.sync += heard.eq(heard + self.rx)
        m.d.comb += self.tx.eq(heard[-1])
        return m


def step(kind: str, delay: float, cell: str, net: str = "", sources: tuple[str, ...] = ()) -> dict:
    """Of a path, as nextpnr's report has it."""
    net_of = {"net": net, "sources": list(sources)} if net else {}
    return {"type": kind, "delay": delay, "to": {"cell": cell, "loc": [3, 4], "port": "D"}, **net_of}


ECP5_REPORT = {
    "utilization": {
        "TRELLIS_COMB": {"used": 12148, "available": 24288},
        "TRELLIS_FF": {"used": 100, "available": 24288},
        "DP16KD": {"used": 56, "available": 56},
        "MULT18X18D": {"used": 0, "available": 28},
        "TRELLIS_IO": {"used": 3, "available": 197},
    },
    "fmax": {
        "$glbnet$clk": {"achieved": 93.416, "constraint": 100.0},
        "slow": {"achieved": 300.0, "constraint": 25.0},
    },
    "critical_paths": [
        {"from": "posedge clk", "to": "<async>", "path": [step("clk-to-q", 99.0, "far")]},
        {
            "from": "posedge clk",
            "to": "posedge clk",
            "path": [
                step("clk-to-q", 0.5, "core.a"),
                step(
                    "routing",
                    1.25,
                    "core.b",
                    "core.x",
                    ("hw/dma/store.py:12", "/share/ecp5/cells_sim.v:3.4-5.6"),
                ),
                step("routing", 1.0, "core.c", "core.y", ("hw/dma/store.py:12",)),
                step("setup", 0.25, "core.c"),
            ],
        },
    ],
}


def example() -> str:
    """The board file of docs/boards.md."""
    text = (Path(__file__).resolve().parent.parent / "docs" / "boards.md").read_text()
    return text.split("## A board of one's own")[1].split("```python\n")[1].split("```")[0]
