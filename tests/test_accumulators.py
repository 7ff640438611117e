"""Accumulators: sums, the skew of the banks, STORE's reads meanwhile, ``finished`` and ``conflict`` in their cycles."""

from dataclasses import replace

import numpy as np
import pytest
from amaranth.sim import Simulator
from systolic_bench import design_for

from hw.memory.accumulators import Accumulators
from hw.timing import (
    ACCUMULATE,
    ACCUMULATOR_READ,
    FLOAT_ACCUMULATE,
    FLOAT_ADD,
    LEAN_ACCUMULATOR_READ,
    SINGLE_ACCUMULATE,
)

CYCLES = 300


def accumulators(banks, sums, spread=1, single=False):
    design = design_for(
        rows=1, columns=banks * spread, data_bytes=4, dataflow="output-stationary", accumulator_rows=16
    )
    geometry = replace(design.geometry, sums=sums, spread=spread, single=single)
    return Accumulators(design=replace(design, geometry=geometry))


def any_results(random, banks, sums):
    """Of a row: any int32, or floats not far from one another, zeros of both signs among them."""
    if sums == "int32":
        return random.integers(-(1 << 31), 1 << 31, banks, dtype=np.int32)
    values = np.ldexp(random.integers(-(1 << 24), 1 << 24, banks), random.integers(-30, -20, banks))
    return (values * random.choice([1, 0, -0.0], banks, p=[0.9, 0.05, 0.05])).astype(np.float32)


def test_latency_of_a_sum():
    assert FLOAT_ACCUMULATE - ACCUMULATE == FLOAT_ADD - 1


@pytest.mark.parametrize("banks", [1, 3])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("sums", "single", "latency", "reading"),
    [
        ("int32", False, ACCUMULATE, ACCUMULATOR_READ),
        ("float32", False, FLOAT_ACCUMULATE, ACCUMULATOR_READ),
        ("int32", True, SINGLE_ACCUMULATE, LEAN_ACCUMULATOR_READ),
    ],
)
def test_random_results_and_reads(banks, seed, sums, single, latency, reading):
    """Results go to one half, adding to a row as soon as it may be; STORE reads the other; now and then they change places."""
    dut = accumulators(banks, sums, single=single)
    random = np.random.default_rng(seed)
    table = np.zeros((16, banks), sums)
    skewed = [[None] * (CYCLES + banks + 1) for _ in range(banks)]
    reads, lasts, conflicts, touched = {}, [], [], {}

    async def bench(ctx):
        half, adds = 0, -banks
        for now in range(CYCLES):
            quiet = now % 50 > 49 - banks - latency - 1  # nothing on its way when the halves change places
            if now % 50 == 0:
                half ^= 1
            row = 8 * half + int(random.integers(8))
            valid = not quiet and random.random() < 0.8 and now - touched.get(row, -99) > latency
            # A command that has no result ends all the same.
            add, last = bool(random.integers(2)), random.random() < 0.2
            ctx.set(dut.results.valid, valid)
            ctx.set(dut.results.address, row)
            ctx.set(dut.results.accumulate, add)
            ctx.set(dut.results.last, last)
            values = any_results(random, banks, sums)
            if valid:
                touched[row] = now
                for c in range(banks):
                    skewed[c][now + c] = int(values.view(np.uint32)[c])
                table[row] = table[row] + values if add else values
            if last:
                lasts.append(now + banks - 1 + latency + 1)
            for c in range(banks):
                ctx.set(dut.results.data[c], skewed[c][now] if skewed[c][now] is not None else 0xDEADBEEF)
            active = bool(random.integers(2))
            adds = now if valid and add else adds
            # STORE in the half of EXECUTE takes the read port of sums on their way.
            wrong = active and random.random() < 0.5 and now - adds > banks
            address = 8 * (half if wrong else 1 - half) + int(random.integers(8))
            ctx.set(dut.read.active, active)
            ctx.set(dut.read.address, address)
            if wrong and valid:
                conflicts.append(now + 1)
            if active and not wrong:
                reads[now + reading] = table[address].copy()
            if now in reads:
                got = [ctx.get(dut.read.data[c]) for c in range(banks)]
                assert got == reads[now].view(np.uint32).tolist()
            assert ctx.get(dut.finished) == (now in lasts), now
            assert ctx.get(dut.conflict) == (now in conflicts), now
            await ctx.tick()
        assert lasts
        assert conflicts

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


@pytest.mark.parametrize(("banks", "spread"), [(1, 1), (1, 3), (4, 1), (4, 2)])
@pytest.mark.parametrize("sums", ["int32", "float32"])
def test_readable_from_the_cycle_after_finished(banks, spread, sums):
    """The smallest patterns, too: what overwrites is not changed."""
    dut = accumulators(banks, sums, spread)
    first = 100 if sums == "int32" else 0x80000000

    async def bench(ctx):
        ctx.set(dut.results.valid, 1)
        ctx.set(dut.results.last, 1)
        ctx.set(dut.results.address, 5)
        for c in range(banks):
            ctx.set(dut.results.data[c], first + (c << 23))
            await ctx.tick()
            ctx.set(dut.results.valid, 0)
        while not ctx.get(dut.finished):
            await ctx.tick()
        await ctx.tick()
        ctx.set(dut.read.active, 1)
        ctx.set(dut.read.address, 5)
        await ctx.tick()
        ctx.set(dut.read.address, 0)
        await ctx.tick().repeat(ACCUMULATOR_READ - 1)
        assert [ctx.get(dut.read.data[c]) for c in range(banks)] == [first + (c << 23) for c in range(banks)]

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
