"""Accumulators: sums, the skew of the columns, STORE's reads meanwhile, ``finished`` and ``conflict`` in their cycles."""

import numpy as np
import pytest
from amaranth.sim import Simulator
from systolic_bench import design_for

from hw.memory.accumulators import Accumulators
from hw.timing import ACCUMULATE, ACCUMULATOR_READ

CYCLES = 300


@pytest.mark.parametrize("columns", [1, 3])
@pytest.mark.parametrize("seed", range(4))
def test_random_results_and_reads(columns, seed):
    """Results go to one half, adding to a row as soon as it may be; STORE reads the other; now and then they change places."""
    design = design_for(
        rows=1, columns=columns, data_bytes=4, dataflow="output-stationary", accumulator_rows=16
    )
    dut = Accumulators(design=design)
    random = np.random.default_rng(seed)
    table = np.zeros((16, columns), np.int64)
    skewed = [[None] * (CYCLES + columns + 1) for _ in range(columns)]
    reads, lasts, conflicts, touched = {}, [], [], {}

    async def bench(ctx):
        half, adds = 0, -columns
        for now in range(CYCLES):
            quiet = (
                now % 50 > 49 - columns - ACCUMULATE - 1
            )  # nothing on its way when the halves change places
            if now % 50 == 0:
                half ^= 1
            row = 8 * half + int(random.integers(8))
            valid = not quiet and random.random() < 0.8 and now - touched.get(row, -9) > ACCUMULATE
            # A command that has no result ends all the same.
            add, last = bool(random.integers(2)), random.random() < 0.2
            ctx.set(dut.results.valid, valid)
            ctx.set(dut.results.address, row)
            ctx.set(dut.results.accumulate, add)
            ctx.set(dut.results.last, last)
            values = random.integers(-(1 << 31), 1 << 31, columns)
            if valid:
                touched[row] = now
                for c in range(columns):
                    skewed[c][now + c] = int(values[c]) & 0xFFFFFFFF
                table[row] = (values + (table[row] if add else 0)).astype(np.int32)
            if last:
                lasts.append(now + columns - 1 + ACCUMULATE + 1)
            for c in range(columns):
                ctx.set(dut.results.data[c], skewed[c][now] if skewed[c][now] is not None else 0xDEADBEEF)
            active = bool(random.integers(2))
            adds = now if valid and add else adds
            # STORE in the half of EXECUTE takes the read port of sums on their way.
            wrong = active and random.random() < 0.5 and now - adds > columns
            address = 8 * (half if wrong else 1 - half) + int(random.integers(8))
            ctx.set(dut.read.active, active)
            ctx.set(dut.read.address, address)
            if wrong and valid:
                conflicts.append(now + 1)
            if active and not wrong:
                reads[now + ACCUMULATOR_READ] = table[address].copy()
            if now in reads:
                assert [ctx.get(dut.read.data[c]) for c in range(columns)] == [
                    int(v) & 0xFFFFFFFF for v in reads[now]
                ]
            assert ctx.get(dut.finished) == (now in lasts), now
            assert ctx.get(dut.conflict) == (now in conflicts), now
            await ctx.tick()
        assert lasts
        assert conflicts

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


@pytest.mark.parametrize("columns", [1, 4])
def test_readable_from_the_cycle_after_finished(columns):
    design = design_for(
        rows=1, columns=columns, data_bytes=4, dataflow="output-stationary", accumulator_rows=16
    )
    dut = Accumulators(design=design)

    async def bench(ctx):
        ctx.set(dut.results.valid, 1)
        ctx.set(dut.results.last, 1)
        ctx.set(dut.results.address, 5)
        for c in range(columns):
            ctx.set(dut.results.data[c], 100 + c)
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
        assert [ctx.get(dut.read.data[c]) for c in range(columns)] == [100 + c for c in range(columns)]

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
