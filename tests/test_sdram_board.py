# amaranth: UnusedElaboratable=no
"""The SDRAM on a board: a GEMM through the link, a part that is used wrongly, its pads, lint."""

from __future__ import annotations

import re
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
from amaranth.back import rtlil
from amaranth.hdl import Fragment, IOPort, Module
from amaranth.lib import io
from amaranth.vendor import LatticeECP5Platform
from virtual_board import BAUD, CLOCK, SMALL, Client

from fpga.soc import virtual
from fpga.soc.sdram_pads import STAGES, SdramPads, capture_of
from fpga.soc.sdram_part import AS4C16M16SA_7
from fpga.soc.system import ByteSystem, System, of_config
from gen import config
from gen.cases import Case, prepare
from gen.verilog import to_verilog
from hw.control.isa import OutputMode
from sim import lint
from tests.formal import later

PART = AS4C16M16SA_7


def loaded(width):
    return config.load("systolic-4x4", [*SMALL, f"bus.data_width={width}"])


def memory(width):
    return virtual.sdram_memory(loaded(width), part=PART, clock_hz=CLOCK)


@pytest.mark.parametrize("width", later(32, 64, 512))
def test_gemm_through_the_link(width):
    configuration = loaded(width)
    program = virtual.program(configuration, memory=memory(width), clock_hz=CLOCK, baud=BAUD)
    with Client(program) as client:
        assert client.shown("memory_bytes") == PART.size
        assert client.shown("memory_timing") == 0
        for case in (Case((5, 9, 6)), Case((3, 70, 11), OutputMode.REQUANTISED, seed=2)):
            ready = prepare(configuration, case)
            for _ in range(2):
                contents, cycles = client.run(ready)
                np.testing.assert_array_equal(ready.program.read_output(contents), ready.load.golden())
                assert ready.program.damaged(contents) is None
                assert cycles > 0
                client.put("reset", 1)
        words = np.arange(600, dtype=np.uint32) * 0x01010101
        client.write(PART.size - 2400, words)
        client.put("reset", 1)
        np.testing.assert_array_equal(client.read(PART.size - 2400, 600), words)
        assert client.shown("link_errors") == 0
        assert client.read(PART.size)[0] == 0
        assert client.shown("link_errors") == 1
        assert client.end() == (b"", 0)


@pytest.mark.long
def test_a_part_that_is_used_wrongly_ends_the_program(monkeypatch):
    wanted = virtual.sdram_parameters
    monkeypatch.setattr(virtual, "sdram_parameters", lambda memory: wanted(memory) | {"RCD": 5})
    program = virtual.program(loaded(32), memory=memory(32), clock_hz=CLOCK, baud=BAUD)
    with Client(program) as client:
        client.write(0, [1])
        client.send(bytes((2, 1, 0, 0, 0, 0)))
        assert client.answers(60)
        _, status = client.end()
        assert status != 0


def port(name, width):
    return io.SingleEndedPort(IOPort(width, name=name))


def ports(**changed):
    """Those of a board's resource."""
    widths = {
        "clk": 1,
        "clk_en": 1,
        "cs": 1,
        "ras": 1,
        "cas": 1,
        "we": 1,
        "ba": 2,
        "a": 13,
        "dqm": 2,
        "dq": 16,
    }
    return SimpleNamespace(**{name: port(name, width) for name, width in (widths | changed).items()})


class Platform(LatticeECP5Platform):
    device, package, speed = "LFE5U-85F", "BG381", "6"
    resources, connectors = (), ()


def test_pads_have_a_register_each():
    m = Module()
    m.submodules.pads = pads = SdramPads(part=PART, ports=ports(), falling=True)
    m.d.sync += [pads.pins.dq_o.eq(pads.pins.dq_i)]
    text = rtlil.convert_fragment(Fragment.get(m, Platform()), ports=(), name="top")[0]
    cells = Counter(re.findall(r"cell \\(\w+)", text))
    pins = 1 + 1 + 4 + 2 + 13 + 2 + 16
    assert (cells["ODDRX1F"], cells["IDDRX1F"], cells["BB"], cells["OBZ"]) == (pins, 16, 16, pins - 16)
    with pytest.raises(ValueError, match="a of ports must be 13 pins wide, not 12"):
        SdramPads(part=PART, ports=ports(a=12), falling=False)


@pytest.mark.parametrize(
    ("clock_mhz", "capture"),
    [(25, (0, False)), (50, (0, True)), (75, (0, True)), (100, (1, False)), (133, (1, False))],
)
def test_words_are_sampled_in_the_middle_of_their_time(clock_mhz, capture):
    """At the pads: not before the part gives them, not after it takes them back."""
    stages, falling = capture_of(PART, clock_hz=clock_mhz * 1_000_000)
    assert (stages - STAGES, falling) == capture
    period = 1000 / clock_mhz
    sampled = (3 + stages - STAGES + falling / 2) * period
    first, last = 2.5 * period + PART.access + 5, 3.5 * period + PART.hold + 5
    assert first < sampled < last


@pytest.mark.long
@pytest.mark.parametrize("kind", [System, ByteSystem])
def test_lint(kind):
    system = of_config(kind, loaded(64), memory=memory(64), clock_hz=CLOCK, baud=BAUD)
    assert len(system.sdram.dq_i) == 16
    text = to_verilog(system, name="board")
    assert lint.verilator_lint(text, top="board") == []
    assert lint.yosys_check(text, top="board") == []
