"""A core between scratchpads and accumulators, driven with commands at chosen cycles."""

import numpy as np
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.sim import Simulator

from hw.design import Design
from hw.memory.accumulators import Accumulators
from hw.memory.scratchpad import Scratchpad
from hw.timing import ACCUMULATOR_READ

FIELDS = (
    "activations_address", "weights_address", "accumulators_address", "activations_stride",
    "row_tiles", "column_tiles", "depth_tiles", "accumulate",
)  # fmt: skip


class Bench(wiring.Component):
    """Core, two scratchpads, accumulators."""

    def __init__(self, design: Design, core):
        self.design, self.core = design, core
        g = design.geometry
        sizes = {
            "activations": (design.activation_words, g.activation_bytes),
            "weights": (design.weight_words, g.weight_bytes),
        }
        self.pads = {
            name: Scratchpad(words=words, word_bytes=size, beat_bytes=design.data_bytes)
            for name, (words, size) in sizes.items()
        }
        self.accumulators = Accumulators(design=design)
        super().__init__({})

    def elaborate(self, platform):
        m = Module()
        m.submodules.core = self.core
        m.submodules.accumulators = self.accumulators
        for name, pad in self.pads.items():
            m.submodules[name] = pad
            wiring.connect(m, getattr(self.core, name), pad.read)
        wiring.connect(m, self.core.results, self.accumulators.results)
        return m


def run(design: Design, core, contents, commands, *, limit=20_000):
    """Fill the scratchpads, give each (cycle, fields) of ``commands`` not before its cycle, wait for all to finish.

    Returns per command (visible, taken, finished), the number of steps, and the accumulators [rows, columns].
    """
    bench = Bench(design, core)
    visible, taken, finished, steps = [], [], [], []
    table = np.zeros((design.accumulator_rows, design.geometry.columns), np.int32)

    async def fill(ctx, pad, data):
        beats = data.reshape(-1, design.data_bytes)
        ctx.set(pad.write.valid, 1)
        for address, beat in enumerate(beats):
            ctx.set(pad.write.address, address)
            ctx.set(pad.write.data, int.from_bytes(beat.tobytes(), "little"))
            await ctx.tick()
        ctx.set(pad.write.valid, 0)

    async def drive(ctx):
        for name, pad in bench.pads.items():
            await fill(ctx, pad, contents[name])
        ctx.set(core.command.valid, 0)
        now = 0
        queue = list(commands)
        offered = False
        while len(finished) < len(commands):
            if not offered and queue and now >= queue[0][0]:
                fields = queue.pop(0)[1]
                ctx.set(core.command.payload, {name: fields[name] for name in FIELDS})
                ctx.set(core.command.valid, 1)
                visible.append(now)
                offered = True
            fire = offered and ctx.get(core.command.ready)
            if fire:
                taken.append(now)
                offered = False
            if ctx.get(core.step):
                steps.append(now)
            if ctx.get(bench.accumulators.finished):
                finished.append(now)
            assert not ctx.get(core.fault)
            assert not ctx.get(bench.accumulators.conflict)
            await ctx.tick()
            if fire:
                ctx.set(core.command.valid, 0)
            now += 1
            assert now < limit, "commands did not end"
        assert not ctx.get(core.busy)
        read = bench.accumulators.read
        for row in range(design.accumulator_rows):
            ctx.set(read.active, 1)
            ctx.set(read.address, row)
            await ctx.tick().repeat(ACCUMULATOR_READ)
            table[row] = np.array(
                [ctx.get(read.data[c]) for c in range(design.geometry.columns)], np.uint32
            ).view(np.int32)

    simulator = Simulator(bench)
    simulator.add_clock(1e-6)
    simulator.add_testbench(drive)
    simulator.run()
    return list(zip(visible, taken, finished, strict=True)), steps, table
