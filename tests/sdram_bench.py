# amaranth: UnusedElaboratable=no
"""SDRAM in the tests: compiled models driven pin by pin, an AXI4 master with a memory of its own, a part small and quick."""

from __future__ import annotations

import dataclasses
import subprocess
from functools import cache

import numpy as np

from fpga.soc import virtual
from fpga.soc.sdram import Sdram
from fpga.soc.sdram_part import AS4C16M16SA_7
from gen.verilog import to_verilog
from sim import simulate, verilator

PART = dataclasses.replace(AS4C16M16SA_7, row_bits=11, column_bits=8, power_up=1_000)
"""2 MB, with rows of 512 bytes."""

CLOCK = 100_000_000
MODEL = simulate.BENCH / "sdram.v"
DRIVER = simulate.BENCH / "pins.cpp"

BREACHES = {
    name: 1 << bit
    for bit, name in enumerate(
        (
            "power_up",
            "start",
            "mode",
            "mrd",
            "rcd",
            "rp",
            "ras",
            "rc",
            "rrd",
            "rfc",
            "wr",
            "bank",
            "refresh",
            "conflict",
            "undriven",
            "command",
        )
    )
}
"""Bits of the model's ``breach``."""

PINS = {
    "cke": 1, "cs_n": 1, "ras_n": 1, "cas_n": 1, "we_n": 1, "ba": 2, "a": PART.row_bits, "dqm": 2, "dq_i": 16, "dq_oe": 1
}  # fmt: skip


def controller(**changed):
    """``Sdram`` of a small part, unless told otherwise."""
    return Sdram(**{"part": PART, "clock_hz": CLOCK, "data_bytes": 8, "address_width": 32} | changed)


def _connections(fields, vector):
    """Port connections of ``fields`` to slices of ``vector``, from bit 0 on; their text and all bits."""
    texts, place = [], 0
    for name, width in fields.items():
        texts.append(f".{name}({vector}[{place + width - 1}:{place}])")
        place += width
    return ", ".join(texts), place


def _harness(body, inputs, outputs, declared=""):
    """A top for ``tb/pins.cpp``; ``body`` has {inputs} and {outputs} where ports are connected."""
    given, wide = _connections(inputs, "i")
    shown, high = _connections(outputs, "o")
    text = body.replace("{inputs}", given).replace("{outputs}", shown)
    return f"module bench(input clk, input [{wide - 1}:0] i, output [{high - 1}:0] o);\n{declared}{text}\nendmodule\n"


def _instance(kind, name, values, ports):
    given = ", ".join(f".{key}({value})" for key, value in values.items())
    return f"{kind} {'#(' + given + ') ' if given else ''}{name} (.clk(clk), {ports});\n"


def _build(sources, top):
    return verilator.build(
        {**sources, "sdram.v": MODEL.read_text(), "bench.v": top}, top="bench", main=DRIVER, vpi=False
    )


class Fields:
    """Values by name in one number, from bit 0 on."""

    def __init__(self, fields):
        self.fields, place = {}, 0
        for name, width in fields.items():
            self.fields[name] = (place, (1 << width) - 1)
            place += width
        words = -(-place // 8)
        # Verilator's own sizes: 1, 2, 4, 8 bytes, then whole words of 4.
        self.bytes = next((size for size in (1, 2, 4, 8) if words <= size), -(-words // 4) * 4)

    def pack(self, values):
        number = 0
        for name, value in values.items():
            place, mask = self.fields[name]
            assert 0 <= value <= mask, (name, value)
            number |= value << place
        return number.to_bytes(self.bytes, "little")

    def unpack(self, data):
        number = int.from_bytes(data, "little")
        return {name: number >> place & mask for name, (place, mask) in self.fields.items()}


class Model:
    """A compiled model, a cycle at a time."""

    def __init__(self, program, inputs, outputs):
        self._inputs, self._outputs = Fields(inputs), Fields(outputs)
        self._process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.communicate()

    def cycle(self, values):
        """Outputs of a cycle with these inputs, before its edge; those that are not named are 0."""
        self._process.stdin.write(self._inputs.pack(values))
        self._process.stdin.flush()
        return self._outputs.unpack(self._process.stdout.read(self._outputs.bytes))


PART_OUTPUTS = {"dq_o": 16, "breach": 16}
BARE_RC = 12


@cache
def _part_program():
    # A row that is closed as soon as it may be can be opened again too soon.
    body = _instance(
        "sdram", "part", virtual.sdram_parameters(controller()) | {"RC": BARE_RC}, "{inputs}, {outputs}"
    )
    return _build({}, _harness(body, PINS, PART_OUTPUTS))


def bare_part():
    """The part alone."""
    return Model(_part_program(), PINS, PART_OUTPUTS)


def ports(size):
    """Inputs and outputs of the controller, without the part's pins."""
    address = {"addr": 32, "len": 8, "valid": 1}
    inputs = {"rst": 1, "restart": 1}
    inputs |= {f"s_axi_aw{name}": width for name, width in address.items()}
    inputs |= {
        "s_axi_wdata": 8 * size,
        "s_axi_wstrb": size,
        "s_axi_wlast": 1,
        "s_axi_wvalid": 1,
        "s_axi_bready": 1,
    }
    inputs |= {f"s_axi_ar{name}": width for name, width in address.items()} | {"s_axi_rready": 1}
    inputs |= {"bus_request_payload": 63, "bus_request_valid": 1, "bus_response_ready": 1}
    outputs = {f"s_axi_{name}": 1 for name in ("awready", "wready", "bvalid", "arready", "rlast", "rvalid")}
    outputs |= {"s_axi_bresp": 2, "s_axi_rdata": 8 * size, "s_axi_rresp": 2}
    outputs |= {"bus_request_ready": 1, "bus_response_payload": 34, "bus_response_valid": 1}
    return inputs, outputs


@cache
def _system_program(size, part, clock_hz, cas, capture):
    dut = controller(part=part, clock_hz=clock_hz, data_bytes=size, cas=cas, capture=capture)
    pins = ("cke", "cs_n", "ras_n", "cas_n", "we_n", "ba", "a", "dqm")
    there = {name: width for name, width in (PINS | {"a": part.row_bits}).items() if name in pins}
    wires = "".join(f"wire [{width - 1}:0] {name};\n" for name, width in there.items())
    wires += "wire dq_oe; wire [15:0] to_part, from_part;\n"
    chain = "from_part"
    for stage in range(capture):
        wires += f"reg [15:0] late{stage}; always @(posedge clk) late{stage} <= {chain};\n"
        chain = f"late{stage}"
    joined = ", ".join(f".sdram_{name}({name})" for name in there)
    body = _instance(
        "controller", "dut", {},
        f"{{inputs}}, {{outputs}}, {joined}, .sdram_dq_o(to_part), .sdram_dq_oe(dq_oe), .sdram_dq_i({chain})",
    )  # fmt: skip
    inputs, outputs = ports(size)
    same = ", ".join(f".{name}({name})" for name in there)
    width = sum(outputs.values())
    body += _instance(
        "sdram", "part", virtual.sdram_parameters(dut),
        f"{same}, .dq_i(to_part), .dq_oe(dq_oe), .dq_o(from_part), .breach(o[{width + 15}:{width}])",
    )  # fmt: skip
    text = _harness(body, inputs, outputs, wires)
    text = text.replace(f"output [{width - 1}:0] o", f"output [{width + 15}:0] o")
    return _build({"design.v": to_verilog(dut, name="controller")}, text)


def with_part(size, *, part=PART, clock_hz=CLOCK, cas=3, capture=1):
    """Controller and part, after a reset."""
    program = _system_program(size, part, clock_hz, cas, capture)
    inputs, outputs = ports(size)
    made = Model(program, inputs, outputs | {"breach": 16})
    for _ in range(4):
        made.cycle({"rst": 1})
    return made


class Traffic:
    """An AXI4 master, the host, and what the memory must hold.

    ``reads`` are (byte address, beats) one after the other; ``writes`` (byte address, [(data, strobe), ...]); ``accesses`` of the
    host (word address, value or None). Readiness and the pauses come from ``stalls``, a function of channel and cycle.
    """

    def __init__(self, model, size, *, stalls=lambda channel, cycle: False):
        self.model, self.size, self.stalls = model, size, stalls
        self.now, self.breach, self.beats, self.answers, self.words = 0, 0, [], [], []
        self.first = self.last = None

    def run(self, *, reads=(), writes=(), accesses=(), limit=20_000):
        """Carry them out; ``cycles`` from the first transfer to the last, in ``first`` and ``last``."""
        todo = {"ar": list(reads), "aw": [(address, len(beats)) for address, beats in writes]}
        data = [
            (word, strobe, i == len(beats) - 1)
            for _, beats in writes
            for i, (word, strobe) in enumerate(beats)
        ]
        host, away = list(accesses), False
        wanted = (sum(beats for _, beats in reads), len(writes), len(accesses))
        self.beats, self.answers, self.words = [], [], []
        offered: set[str] = set()
        limit += self.now
        while (len(self.beats), len(self.answers), len(self.words)) != wanted:
            assert self.now < limit, "it hangs"
            self.now += 1
            # What has been offered stays until it is taken.
            pins = {f"s_axi_{name}": int(not self.stalls(name, self.now)) for name in ("rready", "bready")}
            offered |= {name for name in ("ar", "aw") if todo[name] and not self.stalls(name, self.now)}
            offered |= {"w"} if data and not self.stalls("w", self.now) else set()
            for name in offered & {"ar", "aw"}:
                address, beats = todo[name][0]
                pins |= {f"s_axi_{name}addr": address, f"s_axi_{name}len": beats - 1, f"s_axi_{name}valid": 1}
            if "w" in offered:
                word, strobe, last = data[0]
                pins |= {"s_axi_wdata": word, "s_axi_wstrb": strobe, "s_axi_wlast": last, "s_axi_wvalid": 1}
            pins["bus_response_ready"] = 1
            if host and not away:
                address, value = host[0]
                pins |= {"bus_request_valid": 1, "bus_request_payload": address | (value or 0) << 30}
                pins["bus_request_payload"] |= (value is not None) << 62
            seen = self.model.cycle(pins)
            for name in ("ar", "aw"):
                if name in offered and seen[f"s_axi_{name}ready"]:
                    offered.discard(name)
                    todo[name].pop(0)
                    self._moved()
            if "w" in offered and seen["s_axi_wready"]:
                offered.discard("w")
                data.pop(0)
                self._moved()
            if seen["s_axi_rvalid"] and pins["s_axi_rready"]:
                self.beats.append((seen["s_axi_rdata"], seen["s_axi_rresp"], seen["s_axi_rlast"]))
                self._moved()
            if seen["s_axi_bvalid"] and pins["s_axi_bready"]:
                self.answers.append(seen["s_axi_bresp"])
                self._moved()
            if host and not away and seen["bus_request_ready"]:
                host.pop(0)
                away = True
            if seen["bus_response_valid"]:
                self.words.append(seen["bus_response_payload"])
                away = False
            self.breach |= seen["breach"]
        return self

    def _moved(self):
        self.first = self.now if self.first is None else self.first
        self.last = self.now

    def idle(self, cycles):
        """Nothing, for so long."""
        for _ in range(cycles):
            self.breach |= self.model.cycle({})["breach"]
        return self


class Golden:
    """What a memory of ``size`` bytes holds; accesses beyond it do nothing."""

    def __init__(self, size):
        self.data = np.zeros(size, np.uint8)

    def write(self, address, value, strobe, size):
        """A beat; whether it is inside."""
        if address + size > len(self.data):
            return False
        for byte in range(size):
            if strobe >> byte & 1:
                self.data[address + byte] = value >> 8 * byte & 0xFF
        return True

    def read(self, address, size):
        """A beat, or None outside."""
        if address + size > len(self.data):
            return None
        return int.from_bytes(self.data[address : address + size].tobytes(), "little")
