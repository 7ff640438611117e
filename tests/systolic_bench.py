"""A systolic core between its scratchpads and accumulators in Amaranth's simulator, and what was seen of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace

import numpy as np
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator

from hw.array.core import systolic_core
from hw.array.geometry import systolic_geometry
from hw.design import Design
from hw.interfaces import accumulators_read, execute_command, write_port
from hw.memory.accumulators import Accumulators
from hw.memory.scratchpad import Scratchpad


def design_for(
    *, rows, columns, data_bytes, dataflow, multiplier="native", depth=1, activation_words=256, weight_words=256,
    accumulator_rows=128,
):  # fmt: skip
    """A small design around an array."""
    return Design(
        geometry=systolic_geometry(
            rows=rows,
            columns=columns,
            data_bytes=data_bytes,
            dataflow=dataflow,
            multiplier=multiplier,
            depth=depth,
        ),
        data_bytes=data_bytes,
        address_width=32,
        burst_beats=16,
        outstanding=4,
        activation_words=activation_words,
        weight_words=weight_words,
        accumulator_rows=accumulator_rows,
        parameter_entries=64,
        output_lanes=1,
    )


def command(**fields) -> SimpleNamespace:
    """Fields of an EXECUTE; what is not given is the least."""
    values = {name: 0 for name, _ in execute_command(design_for(**SMALL))}
    values |= {"row_tiles": 1, "column_tiles": 1, "depth_tiles": 1, "activations_stride": 1}
    return SimpleNamespace(**(values | fields))


SMALL = {"rows": 1, "columns": 1, "data_bytes": 4, "dataflow": "output-stationary"}


class House(wiring.Component):
    """Core, scratchpads and accumulators."""

    def __init__(self, design: Design, make: Callable[..., wiring.Component]):
        self.design, self.make = design, make
        super().__init__(
            {
                "activations": In(write_port(beats=design.activation_beats, width=8 * design.data_bytes)),
                "weights": In(write_port(beats=design.weight_beats, width=8 * design.data_bytes)),
                "read": In(accumulators_read(design)),
                "finished": Out(1),
                "conflict": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        design, geometry = self.design, self.design.geometry
        m.submodules.core = self.core = core = self.make(design=design)
        for name in ("activations", "weights"):
            pad = Scratchpad(
                words=getattr(design, f"{name[:-1]}_words"),
                word_bytes=getattr(geometry, f"{name[:-1]}_bytes"),
                beat_bytes=design.data_bytes,
                kept=not geometry.single,
            )
            m.submodules[name] = pad
            wiring.connect(m, wiring.flipped(getattr(self, name)), pad.write)
            wiring.connect(m, getattr(core, name), pad.read)
        m.submodules.accumulators = accumulators = Accumulators(design=design)
        wiring.connect(m, core.results, accumulators.results)
        wiring.connect(m, wiring.flipped(self.read), accumulators.read)
        m.d.comb += [self.finished.eq(accumulators.finished), self.conflict.eq(accumulators.conflict)]
        return m


@dataclass
class Seen:
    """Cycles, from the first in which a command may be valid on."""

    taken: list[int] = field(default_factory=list)
    finished: list[int] = field(default_factory=list)
    faults: list[int] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    busy: list[int] = field(default_factory=list)
    results: list[tuple[int, int, int, int]] = field(default_factory=list)
    """Cycle, address, accumulate, last."""
    accumulators: np.ndarray | None = None


async def fill(ctx, house, activations, weights):
    """Write both scratchpads, as uint8."""
    for port, content in ((house.activations, activations), (house.weights, weights)):
        for address, beat in enumerate(content.reshape(-1, house.design.data_bytes)):
            ctx.set(port.valid, 1)
            ctx.set(port.address, address)
            ctx.set(port.data, int.from_bytes(beat.tobytes(), "little"))
            await ctx.tick()
        ctx.set(port.valid, 0)


async def read(ctx, house, first, rows):
    """So many rows of the accumulators, as int32 [rows, columns]."""
    columns, reading = house.design.geometry.banks, house.design.geometry.accumulator_read
    found = np.zeros((rows, columns), np.int64)
    ctx.set(house.read.active, 1)
    for row in range(rows + reading):
        if row >= reading:
            found[row - reading] = [ctx.get(house.read.data[c]) for c in range(columns)]
        ctx.set(house.read.address, (first + row) % house.design.accumulator_rows)
        await ctx.tick()
    ctx.set(house.read.active, 0)
    return found.astype(np.uint32).view(np.int32)


def run(design, core, activations, weights, commands, visible, *, halt=range(0), patience=4000) -> Seen:
    """Put ``commands`` to the core, valid from the cycles ``visible`` on, until all have finished; read everything out.

    ``core`` is a systolic array's dataflow, or makes a core for a design.
    """
    house = House(design, partial(systolic_core, dataflow=core) if isinstance(core, str) else core)
    seen = Seen()
    simulator = Simulator(house)
    simulator.add_clock(1e-6)

    async def bench(ctx):
        core = house.core
        await fill(ctx, house, activations, weights)
        offered, cycle = 0, 0
        due = len(commands)
        while offered < len(commands) or len(seen.finished) < due:
            assert cycle < patience, f"finished in {seen.finished} only"
            if halt and cycle == halt.stop:
                # What was taken before or would have been has been dropped; only the last command is to come.
                offered, due = len(commands) - 1, len(seen.finished) + 1
            valid = offered < len(commands) and cycle >= visible[offered] and cycle not in halt
            ctx.set(core.command.valid, valid)
            ctx.set(core.halt, cycle in halt)
            if valid:
                fields = vars(commands[offered])
                ctx.set(
                    core.command.payload, {name: fields.get(name, 0) for name, _ in execute_command(design)}
                )
                if ctx.get(core.command.ready):
                    seen.taken.append(cycle)
                    offered += 1
            for name, signal in (
                ("finished", house.finished),
                ("faults", core.fault),
                ("steps", core.step),
                ("busy", core.busy),
            ):
                if ctx.get(signal):
                    getattr(seen, name).append(cycle)
            results = core.results
            if ctx.get(results.valid):
                seen.results.append(
                    (cycle, ctx.get(results.address), ctx.get(results.accumulate), ctx.get(results.last))
                )
            else:
                # Only a CONFIGURE ends without a result.
                assert design.geometry.settings or not ctx.get(results.last)
            await ctx.tick()
            cycle += 1
        ctx.set(core.command.valid, 0)
        seen.accumulators = await read(ctx, house, 0, design.accumulator_rows)

    simulator.add_testbench(bench)
    simulator.run()
    return seen
