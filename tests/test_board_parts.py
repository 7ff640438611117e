# amaranth: UnusedElaboratable=no
"""Parts of the system on a board, and the whole behind a line of bits: with a machine that only copies as its accelerator."""

from __future__ import annotations

import random
import re
import zlib

import pytest
from amaranth.sim import Simulator
from axi_copy import CopyMachine
from link_model import READ, WRITE, command

from fpga.soc import registers
from fpga.soc.board import RESET_CYCLES, BoardRegisters
from fpga.soc.bus import Decoder
from fpga.soc.crc import WordCrc
from fpga.soc.link import Link
from fpga.soc.memory import Memory
from fpga.soc.registers import ACCELERATOR_BASE
from fpga.soc.storage import BlockStorage
from fpga.soc.system import ByteSystem, System
from fpga.soc.uart import ReceiveBuffer
from fpga.soc.virtual import block_memory
from gen import config
from gen.verilog import to_verilog
from hw.control.registers import BY_NAME
from sim import lint
from sim.cycles.memory import MemoryTiming
from tests.formal import later

DIGEST = random.Random(1).randbytes(32).hex()
DIVISOR, BAUD = 8, 1_000_000


def memory(data_bytes=8, beats=32):
    return Memory(storage=BlockStorage(beats=beats, data_bytes=data_bytes), address_width=32)


def system(kind=System, **changed):
    options = {"clock_hz": DIVISOR * BAUD, "baud": BAUD, "digest": DIGEST}
    if kind is System:
        options["silence"] = 40 * DIVISOR
    machine = CopyMachine(data_bytes=8, address_width=32)
    return kind(**{"accelerator": machine, "memory": memory(), **options, **changed})


def simulate(dut, *benches):
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    for bench in benches:
        simulator.add_testbench(bench)
    simulator.run()


class Host:
    """The other end of the line, bit by bit."""

    def __init__(self, dut):
        self._dut = dut

    async def send(self, ctx, data):
        for byte in data:
            for bit in (0, *(byte >> i & 1 for i in range(8)), 1):
                ctx.set(self._dut.rx, bit)
                await ctx.tick().repeat(DIVISOR)

    async def receive(self, ctx, count):
        data = bytearray()
        for _ in range(count):
            if ctx.get(self._dut.tx):
                await ctx.tick().until(~self._dut.tx)
            await ctx.tick().repeat(DIVISOR // 2)
            bits = []
            for _ in range(9):
                await ctx.tick().repeat(DIVISOR)
                bits.append(ctx.get(self._dut.tx))
            data.append(sum(bit << i for i, bit in enumerate(bits[:8])))
            assert bits[8]
        return bytes(data)


def test_a_program_runs_over_a_line_of_bits():
    dut = system()
    host = Host(dut)
    words = [random.Random(2).getrandbits(32) for _ in range(4)]
    wanted = {"program_address_low": 0, "program_length": 2, "window_first_low": 64, "watchdog": 1}
    first, last = BY_NAME["program_address_low"].offset, BY_NAME["watchdog"].offset
    names = {BY_NAME[name].offset: value for name, value in wanted.items()}
    settings = [names.get(offset, 0) for offset in range(first, last + 4, 4)]

    async def bench(ctx):
        ctx.set(dut.rx, 1)
        await ctx.tick().repeat(3)
        # Half a command first, which a silence ends.
        await host.send(ctx, command(WRITE, 0, words=[7])[:-1])
        await ctx.tick().repeat(60 * DIVISOR)
        await host.send(ctx, command(WRITE, 0, words=words))
        await host.send(ctx, command(WRITE, ACCELERATOR_BASE + first, words=settings))
        await host.send(ctx, command(WRITE, ACCELERATOR_BASE + BY_NAME["control"].offset, words=[1]))
        assert ctx.get(dut.active) or ctx.get(dut.tx)
        await host.send(ctx, command(READ, 64, count=2)[:-1])
        await host.send(ctx, command(READ, 64, count=2)[-1:])
        answer = await host.receive(ctx, 8)
        assert answer == b"".join(word.to_bytes(4, "big") for word in words[:2])
        await host.send(ctx, command(READ, registers.address("link_errors")))
        assert await host.receive(ctx, 4) == (1 << 3).to_bytes(4, "big")

    simulate(dut, bench)


@pytest.mark.parametrize("kind", later(System, ByteSystem))
def test_verilog_is_clean(kind):
    text = to_verilog(system(kind), name="board")
    assert lint.verilator_lint(text, top="board") == []
    assert lint.yosys_check(text, top="board") == []


def test_decoder():
    dut = Decoder(regions={"low": (0, 6), "high": (0xF000_0000, 16)})
    seen = []

    async def bench(ctx):
        for name in ("low", "high"):
            ctx.set(getattr(dut, name).request.ready, 1)
        ctx.set(dut.initiator.response.ready, 1)
        for address in (0, 15, 16, 0x3C00_0000, 0x3C00_3FFF, 0x3C00_4000, 0x3FFF_FFFF):
            ctx.set(dut.initiator.request.valid, 1)
            ctx.set(dut.initiator.request.payload, {"address": address, "data": 5, "write": 1})
            places = [
                ctx.get(port.request.payload.address) if ctx.get(port.request.valid) else None
                for port in (dut.low, dut.high)
            ]
            assert ctx.get(dut.initiator.request.ready)
            await ctx.tick()
            ctx.set(dut.initiator.request.valid, 0)
            for port, place, data in zip((dut.low, dut.high), places, (11, 12), strict=True):
                ctx.set(port.response.valid, place is not None)
                ctx.set(port.response.payload, {"data": data})
            await ctx.tick()
            for port in (dut.low, dut.high):
                ctx.set(port.response.valid, 0)
            assert ctx.get(dut.initiator.response.valid)
            answer = ctx.get(dut.initiator.response.payload)
            seen.append((*places, answer.data, answer.unmapped))
            await ctx.tick()
            assert not ctx.get(dut.initiator.response.valid)

    simulate(dut, bench)
    away = (None, None, 0, 1)
    assert seen == [
        (0, None, 11, 0), (15, None, 11, 0), away, (None, 0, 12, 0), (None, 0x3FFF, 12, 0), away, away,
    ]  # fmt: skip


@pytest.mark.parametrize("bits", [1, 2, 4, 8, *later(16, 32)])
def test_checksum(bits):
    dut = WordCrc(bits=bits)
    data = random.Random(bits).randbytes(20)

    async def bench(ctx):
        for count in (5, 0, 2):
            ctx.set(dut.clear, 1)
            await ctx.tick()
            ctx.set(dut.clear, 0)
            for word in range(count):
                ctx.set(dut.word, int.from_bytes(data[4 * word :][:4], "little"))
                ctx.set(dut.take, 1)
                await ctx.tick()
                ctx.set(dut.take, 0)
                ctx.set(dut.word, 0x5555AAAA)
                for _ in range(32 // bits):
                    assert ctx.get(dut.busy)
                    await ctx.tick()
                assert not ctx.get(dut.busy)
            assert ctx.get(dut.value) == zlib.crc32(data[: 4 * count])

    simulate(dut, bench)


def test_reset_lasts_and_is_answered_behind():
    dut = BoardRegisters(digest=DIGEST, clock_hz=1, memory_bytes=4, baud=1, memory_timing=0)
    high = []

    async def bench(ctx):
        place = registers.BY_NAME["reset"].offset // 4
        ctx.set(dut.bus.request.payload, {"address": place, "data": 1, "write": 1})
        ctx.set(dut.bus.request.valid, 1)
        await ctx.tick()
        ctx.set(dut.bus.request.valid, 0)
        while not ctx.get(dut.bus.response.valid):
            high.append(ctx.get(dut.reset))
            await ctx.tick()
        assert not ctx.get(dut.reset)

    simulate(dut, bench)
    assert high == [1] * RESET_CYCLES


def test_table():
    offsets = [register.offset for register in registers.REGISTERS]
    assert offsets == list(range(0, 4 * len(offsets), 4))
    assert registers.address("digest") == registers.address("digest0") == 0xF000_0008
    assert registers.MAGIC.to_bytes(4, "little") == b"GMBD"
    assert "".join(f"{word:08x}" for word in registers.digest_words(DIGEST)) == DIGEST


@pytest.mark.parametrize("digest", ["", "12", "x" * 64, "0x" + "1" * 63, "-" + "1" * 63])
def test_digest_must_be_one(digest):
    with pytest.raises(ValueError, match=re.escape(f"digest must be 64 hexadecimal digits, not {digest!r}")):
        registers.digest_words(digest)


def test_timing_of_the_memory():
    timing = MemoryTiming(read_latency=3, write_latency=1, interval=2, outstanding=4)
    assert registers.timing_word(timing) == 0x04020103
    for single_port in (False, True):
        assert registers.timing_of(registers.timing_word(timing, single_port=single_port)) == (
            timing,
            single_port,
        )
    assert registers.timing_of(registers.timing_word(None)) == (None, False)
    with pytest.raises(ValueError, match="outstanding must be 1 to 127, not 128"):
        registers.timing_word(MemoryTiming(outstanding=128))
    with pytest.raises(ValueError, match="read_latency must be 1 to 255, not 0"):
        registers.timing_word(MemoryTiming(read_latency=0))
    with pytest.raises(ValueError, match=r"memory_timing must be 0 to 2\*\*32 - 1, not -1"):
        BoardRegisters(digest=DIGEST, clock_hz=1, memory_bytes=4, baud=1, memory_timing=-1)


def test_parameters():
    with pytest.raises(
        ValueError, match="memory must be as wide as the accelerator's bus of 64 bits, not 32"
    ):
        system(memory=memory(4))
    with pytest.raises(ValueError, match=r"baud must be .*, not 2000000 at 8000000 Hz"):
        system(baud=2_000_000)
    with pytest.raises(ValueError, match=r"clock_hz must be 1 to 2\*\*32 - 1, not 0"):
        system(ByteSystem, clock_hz=0)
    with pytest.raises(ValueError, match="bits must be one of 1, 2, 4, 8, 16, 32, not 3"):
        WordCrc(bits=3)
    with pytest.raises(ValueError, match="counted must be 1 to 30, not 0"):
        Link(counted=0)
    with pytest.raises(ValueError, match="depth must be a power of two, 2 or more, not 6"):
        ReceiveBuffer(depth=6)
    with pytest.raises(ValueError, match="region of low must be aligned to its size, not 0x4 with 3 bits"):
        Decoder(regions={"low": (4, 3)})
    with pytest.raises(ValueError, match="memory_bytes must be a multiple of 4, not 4098"):
        block_memory(config.load("systolic-4x4"), memory_bytes=4098)
