# amaranth: UnusedElaboratable=no
"""Figures of the flow for iCE40 parts: read from JSON, complete or an error."""

import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from test_synthesis import Wires

from fpga import ice40
from fpga.ice40 import Area, Flow, Use, synthesise
from fpga.synthesis import FigureError
from gen.rtlil import to_rtlil
from hw.memory.registered import RegisteredMemory
from sim import tools


class Wide(wiring.Component):
    """More ports than the part has pins, a counter, a multiplier, a memory."""

    def __init__(self, *, registers=64):
        self._registers = registers
        super().__init__({"a": In(64), "b": Out(64), "product": Out(16)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.words = words = RegisteredMemory(depth=256, lanes=1, lane_width=16)
        count, kept = Signal(8), self.a
        m.d.sync += [count.eq(count + 1), self.product.eq(self.a[:8] * self.a[8:16])]
        for stage in range(self._registers // 64):
            register = Signal(64, name=f"stage_{stage}")
            m.d.sync += register.eq(kept)
            kept = register
        m.d.comb += [
            words.write_enable.eq(1),
            words.write_address.eq(count),
            words.write_data.eq(self.a),
            words.read_address.eq(self.a),
            self.b.eq(kept ^ words.read_data),
        ]
        return m


@pytest.fixture(scope="module")
def wide():
    return synthesise(to_rtlil(Wide(), name="top"), name="top")


def test_area_and_clock_out_of_context(wide):
    area = ice40.area(wide)
    assert area.block_rams == Use(used=1, available=30)
    assert area.dsps == Use(used=1, available=8)
    assert area.logic_cells.available == 5280
    assert 64 + 16 + 8 <= area.logic_cells.used < 200
    assert area.fits
    assert area.as_dict()["logic_cells"] == {"used": area.logic_cells.used, "available": 5280}
    assert 12 < ice40.clock(wide) < 200
    assert wide.cells["SB_RAM40_4K"] == wide.cells["SB_MAC16"] == 1


@pytest.mark.long
def test_what_does_not_fit_has_an_area_and_no_clock():
    large = synthesise(to_rtlil(Wide(registers=64 * 90), name="top"), name="top")
    assert not ice40.area(large).fits
    with pytest.raises(tools.ToolError, match=r"nextpnr-ice40 failed"):
        ice40.clock(large)


def test_cells_by_module():
    kept = synthesise(to_rtlil(Wide(), name="top"), name="top", flow=Flow(flatten=False, device="hx8k"))
    assert sum(module.get("SB_RAM40_4K", 0) for module in kept.modules.values()) == 1
    assert "SB_MAC16" not in kept.cells
    assert ice40.area(kept).dsps == Use(used=0, available=0)


def test_missing_figure_is_an_error():
    with pytest.raises(FigureError, match="no clock: the design has no path between registers"):
        ice40.clock(synthesise(to_rtlil(Wires(), name="top"), name="top"))


def test_words_of_the_flow():
    assert Flow().text == "synth_ice40 -device u -dsp; iCE40UP5K sg48 at 16 MHz"
    assert str(Use(used=1234, available=5280)) == "1,234 of 5,280"
    assert not Area(
        logic_cells=Use(used=1, available=2),
        block_rams=Use(used=3, available=2),
        dsps=Use(used=0, available=0),
    ).fits


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"device": "up3k"}, "device must be one of up5k, hx8k, not 'up3k'"),
        ({"frequency": 0}, "frequency must be more than 0, not 0"),
    ],
)
def test_wrong_flow(options, text):
    with pytest.raises(ValueError, match=text):
        Flow(**options)
