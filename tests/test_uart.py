# amaranth: UnusedElaboratable=no
"""UART: bytes through lines of either speed, broken frames, timing, limits of the divisor."""

from __future__ import annotations

import random

import pytest
from amaranth.sim import Simulator

from fpga.soc.uart import LEAST_DIVISOR, ReceiveBuffer, UartReceiver, UartTransmitter, divisor_of
from tests.formal import later

DIVISORS = (8, 9, *later(13, 25))
BYTES = [0x00, 0xFF, 0x55, 0x01, 0x80, *random.Random(5).randbytes(3)]


def line_of(data, cycles_per_bit, *, phase=0.0, idle=0.0, stop=1):
    """Levels of the line per cycle of the receiver's clock, a bit being ``cycles_per_bit`` (any number) of them long."""
    bits = []
    for byte in data:
        bits += [(0, 1.0), *((byte >> i & 1, 1.0) for i in range(8)), (stop, 1.0), (1, idle)]
    bits += [(1, 3.0)]
    levels, end = [1] * 5, 5 + phase
    for level, length in bits:
        end += length * cycles_per_bit
        levels += [level] * (round(end) - len(levels))
    return levels


def receive(divisor, levels, *, ready=lambda cycle: True):
    """Bytes, and the numbers of framing errors and overruns, that ``levels`` make."""
    dut = UartReceiver(divisor=divisor)
    seen, framing, overrun = [], [], []

    async def bench(ctx):
        for cycle, level in enumerate(levels):
            ctx.set(dut.rx, level)
            ctx.set(dut.o.ready, ready(cycle))
            if ctx.get(dut.o.valid) and ready(cycle):
                seen.append(ctx.get(dut.o.payload))
            framing.append(ctx.get(dut.framing))
            overrun.append(ctx.get(dut.overrun))
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return seen, sum(framing), sum(overrun)


@pytest.mark.parametrize("divisor", DIVISORS)
@pytest.mark.parametrize("mismatch", [-0.02, 0.0, 0.02])
@pytest.mark.parametrize("idle", [0.0, *later(0.37)])
def test_receiver_with_a_clock_that_is_off(divisor, mismatch, idle):
    for phase in (0.0, 0.5):
        levels = line_of(BYTES, divisor * (1 + mismatch), phase=phase, idle=idle)
        assert receive(divisor, levels) == (BYTES, 0, 0)


@pytest.mark.parametrize("divisor", DIVISORS)
def test_samples_that_are_wrong_are_outvoted(divisor):
    levels = line_of(BYTES, divisor)
    for middle in range(5 + divisor // 2, len(levels), divisor):
        levels[middle] ^= 1
    assert receive(divisor, levels) == (BYTES, 0, 0)


def test_short_pulse_is_no_start_bit():
    levels = [1] * 10 + [0] * 3 + [1] * 30
    assert receive(13, levels + line_of([0x5A], 13)) == ([0x5A], 0, 0)


def test_byte_without_stop_bit_is_dropped():
    levels = line_of([0x21], 8) + line_of([0x42], 8, stop=0) + line_of([0x63], 8)
    assert receive(8, levels) == ([0x21, 0x63], 1, 0)


def test_break_is_one_framing_error():
    levels = [1] * 10 + [0] * 400 + line_of([0x63], 8)
    assert receive(8, levels) == ([0x63], 1, 0)


def test_byte_that_is_not_taken_in_time_is_lost():
    """A byte waits from the middle of its stop bit until that of the next one's first bit, 2 bits later."""
    levels = line_of([0x21, 0x42, 0x63], 8)
    assert receive(8, levels, ready=lambda cycle: cycle > 190) == ([0x63], 0, 2)
    offered = 5 + 4 + 9 * 8 + 4
    for after, seen in ((12, [0x21, 0x42, 0x63]), (16, [0x42, 0x63])):
        assert receive(8, levels, ready=lambda cycle, end=offered + after: cycle >= end)[0] == seen


def test_buffer_keeps_the_order_and_is_full_one_byte_later():
    dut, sent = ReceiveBuffer(depth=8), list(random.Random(7).randbytes(60))
    taken, got = [], []

    async def bench(ctx):
        generator = random.Random(8)
        while len(got) < len(sent):
            takes = len(taken) >= 9 and generator.random() < 0.4
            ctx.set(dut.i.valid, len(taken) < len(sent))
            ctx.set(dut.i.payload, sent[min(len(taken), len(sent) - 1)])
            ctx.set(dut.o.ready, takes)
            if ctx.get(dut.o.valid) and takes:
                got.append(ctx.get(dut.o.payload))
            if ctx.get(dut.i.valid) and ctx.get(dut.i.ready):
                taken.append(1)
            assert len(taken) - len(got) <= 10
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert got == sent


def transmit(divisor, data, *, gap=0):
    """Levels of the line per cycle."""
    dut = UartTransmitter(divisor=divisor)
    levels = []

    async def watch(ctx):
        for _ in range((len(data) * (10 * divisor + gap)) + 20):
            levels.append(ctx.get(dut.tx))
            await ctx.tick()

    async def bench(ctx):
        for byte in data:
            ctx.set(dut.i.payload, byte)
            ctx.set(dut.i.valid, 1)
            await ctx.tick().until(dut.i.ready)
            ctx.set(dut.i.valid, 0)
            if gap:
                await ctx.tick().repeat(10 * divisor + gap - 1)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(watch)
    simulator.add_testbench(bench)
    simulator.run()
    return levels


@pytest.mark.parametrize("divisor", DIVISORS)
def test_transmitter_sends_without_a_gap(divisor):
    bits = [bit for byte in BYTES for bit in (0, *(byte >> i & 1 for i in range(8)), 1)]
    wanted = [1, *(bit for bit in bits for _ in range(divisor))]
    levels = transmit(divisor, BYTES)
    assert levels == wanted + [1] * (len(levels) - len(wanted))


@pytest.mark.parametrize("gap", [0, 1, 5])
def test_what_is_sent_is_received(gap):
    assert receive(9, transmit(9, BYTES, gap=gap) + [1] * 40) == (BYTES, 0, 0)


def test_divisor_of():
    assert divisor_of(clock_hz=25_000_000, baud=1_000_000) == 25
    assert divisor_of(clock_hz=12_000_000, baud=115_200) == 104
    assert divisor_of(clock_hz=8, baud=1) == LEAST_DIVISOR


@pytest.mark.parametrize(("clock_hz", "baud"), [(7, 1), (12_000_000, 1_300_000), (25_000_000, 4_000_000)])
def test_divisor_of_refuses(clock_hz, baud):
    with pytest.raises(ValueError, match=f"baud must be .* not {baud} at {clock_hz} Hz"):
        divisor_of(clock_hz=clock_hz, baud=baud)


@pytest.mark.parametrize("kind", [UartReceiver, UartTransmitter])
def test_least_divisor(kind):
    with pytest.raises(ValueError, match="divisor must be 8 or more, not 7"):
        kind(divisor=7)
    with pytest.raises(TypeError):
        kind(divisor=8.5)
