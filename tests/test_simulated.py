# amaranth: UnusedElaboratable=no
"""Boards at the pins of their UART: as described, as synthesised cell by cell, and as the configuration bits of an iCE40 say."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
import virtual_board
from virtual_board import SMALL, Client

from fpga import board as boards
from fpga.flow import design, simulated, steps
from fpga.flow.layout import flip_flops
from fpga.flow.top import prepare
from fpga.soc import registers
from fpga.soc.system import System, of_config
from fpga.soc.uart import LEAST_DIVISOR
from fpga.soc.virtual import block_memory
from gen import config
from gen.cases import Case
from gen.cases import prepare as prepared_case
from hw.control.isa import OutputMode

pytestmark = pytest.mark.long

CASES = (Case((3, 9, 5)), Case((2, 20, 3), OutputMode.REQUANTISED, seed=2))
TIMEOUT = 1800
MOST = 4_000_000
"""Cycles that the bits have for ``CASES``, and for the host's pauses: they take 490,000."""


def multiply(program, loaded, *most):
    """GEMMs through the pins are those of the golden model, within ``most`` cycles if that is given."""
    with Client(program, str(LEAST_DIVISOR), *map(str, most)) as board:
        words = registers.digest_words(loaded.digest)
        assert board.read(registers.address("digest"), len(words)).tolist() == list(words)
        for case in CASES:
            ready = prepared_case(loaded, case)
            memory, _ = board.run(ready)
            np.testing.assert_array_equal(ready.program.read_output(memory), ready.load.golden())
            assert ready.program.damaged(memory) is None
        assert board.shown("link_errors") == 0
        assert board.end() == (b"", 0)


def test_description():
    loaded = config.load("systolic-4x4", [*SMALL, "bus.data_width=32"])
    memory = block_memory(loaded, memory_bytes=virtual_board.MEMORY)
    clock = 1_000_000 * LEAST_DIVISOR
    multiply(
        simulated.of_system(of_config(System, loaded, memory=memory, clock_hz=clock, baud=1_000_000)), loaded
    )


@pytest.mark.parametrize(
    ("name", "preset", "sets"),
    [
        ("ulx3s-25f", "systolic-4x4", (*SMALL, "bus.data_width=32")),
        ("tang-nano-9k", "systolic-nano9k", ()),
    ],
)
def test_netlist(name, preset, sets):
    board, loaded = boards.load(name), config.load(preset, list(sets))
    clock = board.clock_hz
    system = design.system(loaded, board, clock_hz=clock, baud=clock // LEAST_DIVISOR)
    netlist = steps.synthesise(board, prepare(board, system, clock_hz=clock), clock_hz=clock, timeout=TIMEOUT)
    multiply(simulated.of_netlist(board, netlist), loaded)


@pytest.fixture(scope="module", params=["bitserial-up5k", "lut-up5k"])
def placed(request):
    """A configuration, the netlist of an iCEBreaker with it, its layout and constraints.

    Its clock is the pin's, as bits know no loop: it is not the bitstream of ``gatemill flash``.
    """
    board, loaded = boards.load("icebreaker"), config.load(request.param)
    clock = board.clock_hz
    system = design.system(loaded, board, clock_hz=clock, baud=clock // LEAST_DIVISOR)
    ready = prepare(board, system, clock_hz=clock)
    netlist = steps.synthesise(board, ready, clock_hz=clock, timeout=TIMEOUT)
    made = steps.place(board, netlist, ready.constraints, clock_hz=clock, seed=1, timeout=TIMEOUT)
    return loaded, json.loads(netlist), made.layout, ready.constraints


def configured(layout, constraints):
    return simulated.of_layout(boards.load("icebreaker"), layout, constraints)


def cut(layout, seed):
    """``layout`` without one of the bits that join wires in tiles of logic."""
    lines, tile, places = layout.decode().splitlines(), 0, []
    for number, line in enumerate(lines):
        if line.startswith("."):
            tile = number if line.startswith(".logic_tile") else -99
        elif number - tile <= 16:
            places += [(number, i) for i, bit in enumerate(line) if bit == "1" and not 36 <= i < 46]
    number, i = random.Random(seed).choice(places)
    lines[number] = lines[number][:i] + "0" + lines[number][i + 1 :]
    return "\n".join([*lines, ""]).encode()


def test_configuration_bits(placed):
    loaded, _, layout, constraints = placed
    multiply(configured(layout, constraints), loaded, MOST)


def test_registers_of_the_bits_are_those_of_the_netlist(placed):
    _, netlist, layout, _ = placed
    cells = [cell["type"] for module in netlist["modules"].values() for cell in module["cells"].values()]
    assert flip_flops(layout) == sum(cell.startswith("SB_DFF") for cell in cells) > 1000


def test_a_bit_less(placed):
    """One wire is cut: what the whole layout does within ``MOST`` cycles is not done any more.

    A few are tried, as some wires are of no use here.
    """
    loaded, _, layout, constraints = placed
    multiply(configured(layout, constraints), loaded, MOST)

    def fails(seed):
        try:
            multiply(configured(cut(layout, seed), constraints), loaded, MOST)
        except (AssertionError, BrokenPipeError):
            # A wrong answer, or none: the program ends after its cycles. Too many seconds are a ``TimeoutError``.
            return True
        return False

    assert any(fails(seed) for seed in range(4))
