# amaranth: UnusedElaboratable=no
"""Read arbiter: order of grants, cycle-exact handshakes, beats to their owners, ``idle``."""

from __future__ import annotations

import random

import pytest
from amaranth.sim import Simulator

from hw.dma.read_arbiter import ReadArbiter
from hw.timing import READ_RETURN
from sim.cycles.kernel import Kernel
from sim.cycles.memory import MemoryTiming, ReadMemory
from sim.cycles.memory import ReadArbiter as Model


def predict(timing, requests):
    """Bursts that the model sees, per client; ``requests``: per client, (gap, beats)."""
    kernel = Kernel()
    arbiter = Model(kernel, ReadMemory(timing))
    bursts = ([], [])

    def ask(client):
        for gap, beats in requests[client]:
            yield kernel.now + gap
            bursts[client].append((yield from arbiter.request(client, beats)))

    for client in range(2):
        kernel.start(ask(client))
    kernel.run()
    return bursts


def simulate(timing, requests, cycles, depth):
    """Per client: cycles of grants, and (cycle, data, last, error) of beats; and per cycle, ``idle``.

    A beat's data is the low byte of its burst's address and its number in the burst.
    """
    dut = ReadArbiter(address_width=32, data_width=32, depth=depth)
    grants, beats, idle = ([], []), ([], []), []
    asks = [list(items) for items in requests]
    begin = [items[0][0] if items else None for items in asks]
    reads, free = [], 0

    async def bench(ctx):
        nonlocal free
        sides = ((dut.fetch_ar, dut.fetch_r), (dut.load_ar, dut.load_r))
        for cycle in range(cycles):
            ctx.set(dut.ar.ready, len(reads) < timing.outstanding)
            here = bool(reads) and reads[0][2] == cycle
            ctx.set(dut.r.valid, here)
            if len(reads) < timing.outstanding and ctx.get(dut.ar.valid):
                length = ctx.get(dut.ar.payload.length)
                start = max(cycle + timing.read_latency, free)
                reads.append([ctx.get(dut.ar.payload.address), 0, start, length])
                free = start + (length + 1) * timing.interval
            if here:
                address, number, _, length = reads[0]
                word = {"data": address << 8 | number, "error": number % 2, "last": number == length}
                ctx.set(dut.r.payload, word)
                reads[0][1:3] = [number + 1, cycle + timing.interval]
                if number == length:
                    del reads[0]
            for client, (ar, _) in enumerate(sides):
                offered = begin[client] is not None and begin[client] <= cycle
                ctx.set(ar.valid, offered)
                if offered:
                    address = 2 * len(grants[client]) + client
                    ctx.set(ar.payload, {"address": address, "length": asks[client][0][1] - 1})
            for client, (ar, back) in enumerate(sides):
                if ctx.get(ar.valid) and ctx.get(ar.ready):
                    grants[client].append(cycle)
                    del asks[client][0]
                    begin[client] = cycle + 1 + asks[client][0][0] if asks[client] else None
                if ctx.get(back.valid):
                    beats[client].append((cycle, ctx.get(back.data), ctx.get(back.last), ctx.get(back.error)))
            assert ctx.get(dut.r.ready)
            idle.append(ctx.get(dut.idle))
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return grants, beats, idle


@pytest.mark.parametrize("seed", range(8))
def test_every_handshake_is_predicted(seed):
    rng = random.Random(seed)
    print("seed", seed)
    timing = MemoryTiming(
        read_latency=rng.choice([1, 2, 7, 30]), interval=rng.randint(1, 3), outstanding=rng.randint(1, 8)
    )
    most = rng.choice([0, 2, 20])
    requests = [[(rng.randint(0, most), rng.randint(1, 6)) for _ in range(10)] for _ in range(2)]
    model = predict(timing, requests)
    end = max(burst.last for bursts in model for burst in bursts)
    grants, beats, idle = simulate(timing, requests, end + 4, depth=20)
    for client in range(2):
        assert grants[client] == [burst.grant for burst in model[client]]
        wanted = []
        for place, burst in enumerate(model[client]):
            length = (burst.last - burst.first) // timing.interval
            for number in range(length + 1):
                cycle = burst.first + number * timing.interval + READ_RETURN
                wanted.append((cycle, (2 * place + client) << 8 | number, number == length, number % 2))
        assert beats[client] == wanted
    under_way = [(b.grant, b.last) for bursts in model for b in bursts]
    assert idle == [not any(first < cycle <= last for first, last in under_way) for cycle in range(end + 4)]


def test_no_grant_beyond_the_depth():
    timing = MemoryTiming(read_latency=30)
    grants, beats, _ = simulate(timing, [[(0, 1)] * 5, [(0, 1)] * 5], 200, depth=3)
    granted = sorted(grants[0] + grants[1])
    assert granted[:3] == [0, 2, 4]
    # The first one's only beat, in cycle 31, makes room from the next cycle on.
    assert granted[3] == 1 + timing.read_latency + 1
    assert (len(beats[0]), len(beats[1])) == (5, 5)


def test_depth_must_hold_something():
    with pytest.raises(ValueError, match="depth must be 1 or more, not 0"):
        ReadArbiter(address_width=32, data_width=32, depth=0)
