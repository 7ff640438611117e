# amaranth: UnusedElaboratable=no
"""Figures of synthesis, placement and routing: read from JSON, complete or an error."""

import re

import pytest
from amaranth.hdl import Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from fpga import synthesis
from fpga.measure import measure
from fpga.synthesis import FigureError, Flow, place, synthesise
from gen.rtlil import to_rtlil
from hw.delay import OWN
from hw.share import share
from sim import tools


class Multiplier(wiring.Component):
    """Registered operands and product."""

    def __init__(self):
        super().__init__({"a": In(signed(8)), "b": In(signed(8)), "product": Out(signed(16))})

    def elaborate(self, platform):
        m = Module()
        a, b = Signal(signed(8)), Signal(signed(8))
        m.d.sync += [a.eq(self.a), b.eq(self.b), self.product.eq(a * b)]
        return m


class Multipliers(wiring.Component):
    """Several of them in a row, and a block RAM."""

    def __init__(self, *, number: int):
        self._number = number
        super().__init__({"a": In(signed(8)), "b": In(signed(8)), "product": Out(16), "word": Out(16)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.store = store = Memory(shape=16, depth=1024, init=[])
        write, read = store.write_port(), store.read_port()
        m.d.comb += [write.addr.eq(self.a), write.data.eq(self.b), write.en.eq(1), read.addr.eq(self.b)]
        m.d.sync += self.word.eq(read.data)
        a = self.a
        for i in range(self._number):
            m.submodules[f"multiplier_{i}"] = multiplier = share(Multiplier)
            m.d.comb += [multiplier.a.eq(a), multiplier.b.eq(self.b)]
            a = multiplier.product[:8]
        m.d.comb += self.product.eq(multiplier.product)
        return m


class Wires(wiring.Component):
    """Nothing that is clocked."""

    a: In(8)
    b: Out(8)

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.b.eq(self.a + 1)
        return m


def test_measure():
    flow = Flow(device="25k", frequency=120)
    placed = measure(Multipliers(number=3), seeds=(1, 2), flow=flow)
    netlist = synthesise(to_rtlil(Multipliers(number=3), name="top"), name="top", flow=flow)
    assert placed.area.dsps == 3
    assert placed.area.block_rams == 1
    assert placed.area.flip_flops == netlist.count("TRELLIS_FF") > 0
    assert placed.area.luts > 0
    assert len(placed.frequencies) == len(placed.critical_paths) == 2
    assert 80 < placed.slowest <= placed.median <= placed.fastest < 400
    assert all(re.search(r"clk-to-q|logic", " ".join(path)) for path in placed.critical_paths)
    row = placed.as_dict()
    assert row["flow"] == "synth_ecp5 -nowidelut; LFE5U-25F CABGA381 speed 6 at 120 MHz"
    assert row["dsps"] == 3


def test_same_seed_same_figures():
    netlist = synthesise(to_rtlil(Multiplier(), name="top"), name="top")
    assert place(netlist, seeds=[3]) == place(netlist, seeds=[3])


def test_options_of_the_flow():
    rtlil = to_rtlil(Multipliers(number=2), name="top")
    flat = synthesise(rtlil, name="top", flow=Flow())
    soft = synthesise(rtlil, name="top", flow=Flow(dsp=False))
    wide = synthesise(rtlil, name="top", flow=Flow(dsp=False, wide_luts=True))
    kept = synthesise(rtlil, name="top", flow=Flow(flatten=False))
    assert flat.count("MULT18X18D") == kept.count("MULT18X18D") == 2
    assert soft.count("MULT18X18D") == 0
    assert soft.count("PFUMX", "L6MUX21") == 0 < wide.count("PFUMX", "L6MUX21")
    assert flat.count("DP16KD") == 1


def test_missing_figure_is_an_error():
    netlist = synthesise(to_rtlil(Wires(), name="top"), name="top")
    with pytest.raises(FigureError, match="no clock: the design has no path between registers"):
        place(netlist)


def test_report_without_a_figure(tmp_path):
    with pytest.raises(FigureError, match="the report has no utilization / TRELLIS_FF / used"):
        synthesis.area_of({"utilization": {"TRELLIS_COMB": {"used": 3}}})
    with pytest.raises(FigureError, match=r"none\.json was not written"):
        synthesis.read_json(tmp_path / "none.json")


def test_failures_name_the_tool_and_the_reason():
    with pytest.raises(tools.ToolError, match=r"yosys synth_ecp5 failed(.|\n)*top"):
        synthesise("module \\other\nend\n", name="top")
    netlist = synthesise(to_rtlil(Multiplier(), name="top"), name="top")
    with pytest.raises(tools.ToolError, match=r"nextpnr-ecp5 took longer than 0\.1 s"):
        place(netlist, timeout=0.1)
    with pytest.raises(ValueError, match="seeds must be at least one"):
        place(netlist, seeds=[])


def test_too_large_for_the_part():
    rtlil = to_rtlil(Multipliers(number=30), name="top")
    with pytest.raises(tools.ToolError, match=r"nextpnr-ecp5 failed(.|\n)*MULT18X18D"):
        place(synthesise(rtlil, name="top", flow=Flow(device="25k")))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"device": "12k"}, "device must be one of 25k, 45k, 85k, not '12k'"),
        ({"speed": 5}, "speed must be 6, 7 or 8, not 5"),
        ({"frequency": 0}, "frequency must be more than 0, not 0"),
    ],
)
def test_wrong_flow(options, text):
    with pytest.raises(ValueError, match=text):
        Flow(**options)


class Twins(wiring.Component):
    """Two registers of the same value, which may be one."""

    def __init__(self, attributes):
        self._attributes = attributes
        super().__init__({"i": In(1), "o": Out(2)})

    def elaborate(self, platform):
        m = Module()
        for index in range(2):
            register = Signal(name=f"register_{index}", attrs=self._attributes)
            m.d.sync += register.eq(self.i)
            m.d.comb += self.o[index].eq(register)
        return m


@pytest.mark.parametrize(
    ("attributes", "sources", "registers"), [({}, True, 1), (OWN, True, 2), (OWN, False, 1)]
)
def test_registers_that_stay_apart(attributes, sources, registers):
    text = to_rtlil(Twins(attributes), name="top", sources=sources)
    assert synthesise(text, name="top").count("TRELLIS_FF") == registers
