# amaranth: UnusedElaboratable=no
"""Registers inside block RAM and multipliers: which are taken, and that the mapped netlist does what the design does."""

import json

import numpy as np
import pytest
from amaranth.hdl import Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from mapped import run_component, run_mapped

from fpga.synthesis import synthesise
from gen.rtlil import to_rtlil
from hw.memory.accumulators import AccumulatorBank
from hw.memory.registered import RegisteredMemory
from hw.memory.scratchpad import Scratchpad
from hw.pe.multiplier import RegisteredMultiplier
from hw.pe.systolic import OutputStationaryElement
from hw.share import share

CYCLES = 300


def synthesised(component):
    """Module of the mapped netlist, and its cells by type."""
    result = synthesise(to_rtlil(component, name="top"), name="top")
    return json.loads(result.netlist)["modules"]["top"], result.cells


def modes(module):
    """Of the sides of block RAMs that are read, how many give which kind of output."""
    seen = [c["parameters"]["REGMODE_B"] for c in module["cells"].values() if c["type"] == "DP16KD"]
    return {mode: seen.count(mode) for mode in sorted(set(seen))}


def number(random, width):
    """``width`` random bits."""
    return int.from_bytes(random.bytes((width + 7) // 8), "little") % (1 << width)


def memory_stimulus(*, depth, lanes, width):
    """Writes and reads within a few words, so that most reads find something; never of the same word at once."""
    random = np.random.default_rng(depth)
    words = np.append(random.choice(depth, min(depth, 11), replace=False), depth - 1)
    stimulus = []
    for _ in range(CYCLES):
        write, read = random.choice(np.unique(words), 2, replace=False)
        stimulus.append(
            {
                "write_enable": int(random.integers(1 << lanes)),
                "write_address": int(write),
                "write_data": number(random, width),
                "read_address": int(read),
            }
        )
    return stimulus


@pytest.mark.parametrize(
    ("depth", "lanes", "lane_width", "blocks"),
    [
        (512, 1, 32, 1),  # a half of the accumulators
        (512, 2, 64, 4),  # parameters
        (2048, 2, 32, 8),
        (8192, 1, 16, 8),
        (16384, 1, 3, 3),
    ],
)
def test_memory(depth, lanes, lane_width, blocks):
    sizes = {"depth": depth, "lanes": lanes, "lane_width": lane_width}
    module, cells = synthesised(RegisteredMemory(**sizes))
    assert cells["DP16KD"] == blocks
    assert modes(module) == {"OUTREG": blocks}
    assert "TRELLIS_FF" not in cells
    stimulus = memory_stimulus(depth=depth, lanes=lanes, width=lanes * lane_width)
    assert run_mapped(module, stimulus) == run_component(RegisteredMemory(**sizes), stimulus)


def test_several_blocks_deep():
    """A choice between blocks stands before the register: it stays outside, and all is as it was."""
    sizes = {"depth": 32768, "lanes": 1, "lane_width": 2}
    module, cells = synthesised(RegisteredMemory(**sizes))
    assert modes(module) == {"NOREG": 4}
    assert cells["TRELLIS_FF"] >= 2
    stimulus = memory_stimulus(depth=32768, lanes=1, width=2)
    assert run_mapped(module, stimulus) == run_component(RegisteredMemory(**sizes), stimulus)


@pytest.mark.parametrize(
    ("port", "wrong"), [("REGMODE_B", "NOREG"), ("OCEB", ["0"]), ("ADB7", ["0"]), ("ADA1", ["0"])]
)
def test_a_wrong_netlist_is_seen(port, wrong):
    sizes = {"depth": 512, "lanes": 1, "lane_width": 32}
    module, _ = synthesised(RegisteredMemory(**sizes))
    (cell,) = (c for c in module["cells"].values() if c["type"] == "DP16KD")
    cell["parameters" if port in cell["parameters"] else "connections"][port] = wrong
    stimulus = memory_stimulus(depth=512, lanes=1, width=32)
    assert run_mapped(module, stimulus) != run_component(RegisteredMemory(**sizes), stimulus)


@pytest.mark.parametrize(
    ("words", "word", "beat", "blocks"), [(512, 16, 8, 4), (1024, 4, 8, 2), (4096, 8, 8, 16)]
)
def test_scratchpad(words, word, beat, blocks):
    sizes = {"words": words, "word_bytes": word, "beat_bytes": beat}
    module, _ = synthesised(Scratchpad(**sizes))
    assert modes(module) == {"OUTREG": blocks}
    random, row = np.random.default_rng(words), max(word, beat)
    stimulus = []
    for _ in range(CYCLES):
        write, read = random.choice(16, 2, replace=False)
        stimulus.append(
            {
                "write_valid": int(random.integers(2)),
                "write_address": int(write * (row // beat) + random.integers(row // beat)),
                "write_data": number(random, 8 * beat),
                "read_address": int(read * (row // word) + random.integers(row // word)),
            }
        )
    assert run_mapped(module, stimulus) == run_component(Scratchpad(**sizes), stimulus)


def test_accumulator_bank():
    """Adder, choices and both halves around the blocks; STORE reads the half in which no results come."""
    module, _ = synthesised(AccumulatorBank(rows=1024))
    assert modes(module) == {"OUTREG": 2}
    random = np.random.default_rng(3)
    stimulus = []
    for cycle in range(CYCLES):
        half, rest = divmod(cycle, 100)
        stimulus.append(
            {
                "valid": int(rest < 90),
                "address": cycle % 7 + 512 * (half % 2),
                "accumulate": int(random.integers(2)),
                "data": number(random, 32),
                "read_active": int(rest < 90 and random.integers(2)),
                "read_address": int(random.integers(7)) + 512 * (1 - half % 2),
            }
        )
    assert run_mapped(module, stimulus) == run_component(AccumulatorBank(rows=1024), stimulus)


class AroundMultiplier(wiring.Component):
    """A shared multiplier: a module of its own, which is replaced."""

    def __init__(self, **arguments):
        self._arguments = arguments
        super().__init__(RegisteredMultiplier(**arguments).signature)

    def elaborate(self, platform):
        m = Module()
        m.submodules.multiplier = multiplier = share(RegisteredMultiplier, **self._arguments)
        m.d.comb += [
            multiplier.a.eq(self.a),
            multiplier.b.eq(self.b),
            self.product.eq(multiplier.product),
        ]
        return m


@pytest.mark.parametrize(
    ("a_width", "b_width", "is_signed"), [(8, 8, True), (18, 18, True), (18, 18, False), (5, 17, False)]
)
def test_multiplier(a_width, b_width, is_signed):
    arguments = {"a_width": a_width, "b_width": b_width, "signed": is_signed}
    module, cells = synthesised(AroundMultiplier(**arguments))
    assert cells == {"MULT18X18D": 1}
    random = np.random.default_rng(a_width)
    least_a, least_b = 1 << (a_width - 1), 1 << (b_width - 1)
    pairs = [(least_a, least_b), (-1, -1), (least_a, -1), (-1, least_b - 1)]
    pairs += [(number(random, a_width), number(random, b_width)) for _ in range(CYCLES)]
    stimulus = [
        {
            "a": a % (1 << a_width),
            "b": b % (1 << b_width),
            "rst": int(i > len(pairs) // 2 and random.random() < 0.1),
        }
        for i, (a, b) in enumerate(pairs)
    ]
    assert run_mapped(module, stimulus) == run_component(AroundMultiplier(**arguments), stimulus)


class AroundElement(wiring.Component):
    """Shared parts stay modules of their own below an element, and are replaced."""

    def __init__(self):
        super().__init__(OutputStationaryElement().signature)

    def elaborate(self, platform):
        m = Module()
        m.submodules.element = element = OutputStationaryElement()
        wiring.connect(m, wiring.flipped(self), element)
        return m


def test_element():
    """Sums of every length, also of one product, and of products that carry through the whole of the sum."""
    module, cells = synthesised(AroundElement())
    assert cells["CCU2C"] == 17  # the adder with half a cell for its first carry, and no other gate beside it
    random = np.random.default_rng(7)
    stimulus = [
        {
            "activation": int(random.choice([0, 1, 255, 128, 127, random.integers(256)])),
            "weight": int(random.choice([1, 255, 128, 127, random.integers(256)])),
            "last": int(random.random() < (0.5 if i % 100 < 30 else 0.05)),
        }
        for i in range(2 * CYCLES)
    ]
    assert run_mapped(module, stimulus) == run_component(AroundElement(), stimulus)


class Behind(wiring.Component):
    """A register behind a memory that is not plain, in the way that ``kind`` says."""

    address: In(9)
    enable: In(1)
    data: In(signed(9))
    out: Out(9)
    also: Out(9)

    def __init__(self, kind):
        self._kind = kind
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        m.submodules.storage = storage = Memory(shape=9, depth=512, init=[])
        write, read = storage.write_port(), storage.read_port()
        kept = Signal(9, reset_less=self._kind != "reset")
        m.d.comb += [
            write.addr.eq(self.address + 1),
            write.data.eq(self.data),
            write.en.eq(1),
            read.addr.eq(self.address),
            self.out.eq(kept),
        ]
        with m.If(self.enable if self._kind == "enable" else 1):
            m.d.sync += kept.eq(read.data)
        if self._kind == "output":
            m.d.comb += self.also.eq(read.data)
        if self._kind == "logic":
            m.d.sync += kept.eq(read.data ^ self.data)
        return m


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        ("plain", "OUTREG"), ("enable", "NOREG"), ("reset", "NOREG"), ("output", "NOREG"),
        ("logic", "NOREG"),
    ],
)  # fmt: skip
def test_only_plain_registers_are_taken(kind, mode):
    module, _ = synthesised(Behind(kind))
    assert modes(module) == {mode: 1}
