"""What tests of cores share: runs of commands against a family's golden execute and cycle law, and halts in their middle."""

from __future__ import annotations

import numpy as np
from amaranth.hdl import ResetInserter, Signal
from amaranth.sim import Simulator
from systolic_bench import House, fill, read, run
from test_systolic_model import contents

from hw.interfaces import execute_command
from hw.timing import RESET


def check_core(design, core, model, commands, visible, seed=1, change=None):
    """Run, and compare everything with the model; ``core`` makes the core of a design, ``change`` weights of random ones."""
    print(f"seed {seed}")
    g = design.geometry
    activations, weights = contents(design, seed)
    weights = change(weights) if change else weights
    seen = run(design, core, activations, weights, commands, visible, patience=20000)
    law = model.law()
    expected = np.zeros((design.accumulator_rows, g.banks), g.sums)
    written = np.zeros(design.accumulator_rows, bool)
    times, busy, values = [], set(), [0] * g.settings
    for one, since in zip(commands, visible, strict=True):
        fields = vars(one)
        visible_at = max(since, times[-1].taken + 1 if times else 0)
        configures = "configure" in fields
        times.append(
            (law.configure if configures else law.execute)(
                visible_at, fields, *([] if configures else [lambda: weights])
            )
        )
        busy |= set(range(times[-1].begin, times[-1].end))
        if configures:
            values[one.setting] = one.value
            continue
        rows = one.row_tiles * g.tile_rows
        results = model.execute(fields, activations, weights, values).reshape(
            -1, rows, one.column_tiles * g.columns
        )
        for n in range(one.column_tiles * g.spread):
            place = slice(one.accumulators_address + n * rows, one.accumulators_address + (n + 1) * rows)
            accumulate = one.accumulate
            for result in results[:, :, n * g.banks : (n + 1) * g.banks]:
                # int32 wraps, float32 is rounded after every addition.
                expected[place] = expected[place] + result if accumulate else result
                accumulate = 1
            written[place] = True
    assert seen.taken == [t.taken for t in times]
    assert seen.finished == [t.finished for t in times]
    assert seen.busy == sorted(busy)
    assert len(seen.steps) == sum(t.steps for t in times)
    assert seen.faults == []
    np.testing.assert_array_equal(seen.accumulators[written], expected.view(np.int32)[written])
    return seen, times


def check_halts(design, core, model, *, work, halts, by_reset, settle=60, patience=500):
    """Two commands, halted in one cycle after another of them: what comes next takes its time, and gives its results.

    ``work`` gives the fields of the commands to be dropped, and those of one that follows from a random number.
    """
    activations, weights = contents(design, 1)
    random = np.random.default_rng(1)
    house, reset = House(design, core), Signal()
    g = design.geometry

    async def until_finished(ctx, offered, patience, *, halt=False):
        """Cycles of handshakes and of ``finished``, until as many as were offered; or halted after ``patience`` cycles."""
        core, taken, finished = house.core, [], []
        for cycle in range(patience):
            ctx.set(core.command.valid, len(taken) < len(offered))
            if len(taken) < len(offered):
                fields = vars(offered[len(taken)])
                ctx.set(
                    core.command.payload, {name: fields.get(name, 0) for name, _ in execute_command(design)}
                )
                if ctx.get(core.command.ready):
                    taken.append(cycle)
            if ctx.get(house.finished):
                finished.append(cycle)
            assert not ctx.get(core.fault)
            await ctx.tick()
            if len(finished) == len(offered):
                return taken, finished
        assert halt
        ctx.set(core.command.valid, 0)
        if by_reset:
            ctx.set(reset, 1)
            await ctx.tick().repeat(RESET)
            ctx.set(reset, 0)
            return None
        ctx.set(core.halt, 1)
        await ctx.tick()
        for _ in range(settle):
            assert not ctx.get(core.step | core.busy | core.command.ready | core.fault)
            await ctx.tick()
        ctx.set(core.halt, 0)
        return None

    async def bench(ctx):
        await fill(ctx, house, activations, weights)
        for since in halts:
            dropped, kept = work(random)
            await until_finished(ctx, [dropped, dropped], since, halt=True)
            (taken,), (finished,) = await until_finished(ctx, [kept], patience)
            time = model.law().execute(taken, vars(kept), lambda: weights)
            assert finished == time.finished
            rows = kept.row_tiles * g.tile_rows
            results = model.execute(vars(kept), activations, weights, [0] * 4).reshape(-1, rows, g.columns)
            total = results[0]
            for result in results[1:]:
                total = total + result
            expected = np.concatenate(np.split(total, g.spread, axis=1))
            np.testing.assert_array_equal(await read(ctx, house, 0, rows * g.spread), expected.view(np.int32))

    simulator = Simulator(ResetInserter(reset)(house))
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
