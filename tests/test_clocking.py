# amaranth: UnusedElaboratable=no
"""The clock of a board's design: reset until it has been steady long enough; what the loops are told."""

import re

import pytest
from amaranth.hdl import Elaboratable
from amaranth.lib import io
from amaranth.sim import Simulator
from flow_bench import Echo

from fpga.board import load
from fpga.flow.clocking import SETTLING, Clocking
from fpga.flow.top import prepare


class Simulated(Elaboratable):
    """With a pin that a simulation drives."""

    def __init__(self, clocking: Clocking) -> None:
        self.clocking, self.pin = clocking, io.SimulationPort("i", 1)

    def request(self, name, dir):
        return self.pin

    def elaborate(self, platform):
        return self.clocking.elaborate(self)


def test_reset_until_the_clock_is_steady():
    top = Simulated(Clocking(board=load("icebreaker"), clock_hz=12_000_000))
    resets = []

    async def drive(ctx):
        for _ in range(300):
            ctx.set(top.pin.i, 1)
            await ctx.delay(4e-8)
            resets.append(ctx.get(top.clocking.rst))
            assert ctx.get(top.clocking.clk)
            ctx.set(top.pin.i, 0)
            await ctx.delay(4e-8)

    simulator = Simulator(top)
    simulator.add_testbench(drive)
    simulator.run()
    least = int(SETTLING * 12_000_000)
    assert resets == sorted(resets, reverse=True)
    assert least <= sum(resets) <= least + 4


@pytest.mark.parametrize(
    ("name", "mhz", "parameters"),
    [
        ("ulx3s-25f", 110, {"CLKI_DIV": "1", "CLKFB_DIV": "11", "CLKOP_DIV": "2", "CLKOS_DIV": "5", "FEEDBK_PATH": '"CLKOP"'}),
        ("icebreaker", 40.5, {"DIVR": "4'0000", "DIVF": "7'0110101", "DIVQ": "3'100", "FILTER_RANGE": "3'001"}),
        ("tang-nano-9k", 54, {"IDIV_SEL": "0", "FBDIV_SEL": "1", "ODIV_SEL": "16", "FCLKIN": '"27"'}),
    ],
)  # fmt: skip
def test_loops_are_told_their_dividers(name, mhz, parameters):
    text = prepare(load(name), Echo(), clock_hz=int(mhz * 1_000_000)).rtlil
    found = dict(re.findall(r"parameter \\(\w+) (\S+)$", text, re.MULTILINE))
    assert {key: found[key] for key in parameters} == parameters
