"""A STORE unit with all that is around it: accumulators, parameters, and a memory timed as sim.cycles.memory states."""

import random
from collections import deque
from dataclasses import dataclass, field

import numpy as np
from amaranth.sim import Simulator

from hw.control.isa import OutputMode
from hw.design import Design, Geometry
from hw.dma.store import StoreUnit
from hw.timing import ACCUMULATOR_READ, SCRATCHPAD
from sim.cycles.memory import MemoryTiming
from sim.requantise import requantise
from sim.rescale import rescale


def design(
    *,
    columns=8,
    spread=1,
    data_bytes=8,
    lanes=2,
    address_width=32,
    outstanding=4,
    burst_beats=16,
    rows=64,
    entries=64,
    sums="int32",
):
    """A design of which only what STORE uses matters."""
    geometry = Geometry(
        tile_rows=columns,
        columns=columns,
        tile_depth=1,
        activation_bytes=data_bytes,
        weight_bytes=data_bytes,
        weight_words=1,
        sums=sums,
        spread=spread,
    )
    return Design(
        geometry=geometry,
        data_bytes=data_bytes,
        address_width=address_width,
        burst_beats=burst_beats,
        outstanding=outstanding,
        activation_words=64,
        weight_words=64,
        accumulator_rows=rows,
        parameter_entries=entries,
        output_lanes=lanes,
    )


def command(**fields):
    """Fields of a STORE; a single result unless told otherwise."""
    return {
        "variant": OutputMode.RAW,
        "post": 0,
        "index": 0,
        "memory_address": 0x1000,
        "memory_stride": 0,
        "accumulators_address": 0,
        "accumulators_stride": 0,
        "rows": 1,
        "columns": 1,
        "parameters_address": 0,
        **fields,
    }


@dataclass
class Outcome:
    """What happened to one command."""

    taken: int
    ended: int = -1
    """Cycle of ``finished`` or ``fault``, or in which ``busy`` was seen low first."""
    finished: bool = False
    code: int = 0
    index: int = -1
    post: int = -1
    beats: int = 0


@dataclass
class Bench:
    """Runs commands on a ``StoreUnit``; ``written`` is what the memory got, by byte address."""

    design: Design
    timing: MemoryTiming = field(default_factory=MemoryTiming)
    seed: int = 0
    window: tuple[int, int] | None = None
    refuse: int | None = None
    """Burst (from 0) that is answered with an error."""
    halt: range = range(0)
    """Cycles in which ``halt`` is high."""
    stalls: random.Random | None = None
    """Makes the memory ready at random instead of by ``timing``."""
    limit: int = 20000

    def __post_init__(self):
        d, generator = self.design, random.Random(self.seed)
        self.accumulators = [
            [
                generator.randint(-(1 << 31), (1 << 31) - 1) >> generator.choice([0, 12, 24])
                for _ in range(d.geometry.banks)
            ]
            for _ in range(d.accumulator_rows)
        ]
        self.parameters = [
            (generator.randint(-3000, 3000), generator.randrange(1 << 32), generator.randint(24, 63))
            for _ in range(d.parameter_entries)
        ]
        if d.geometry.sums == "float32":
            self._make_floats(generator)
        self.written = {}
        self.bursts = []
        self.outcomes = []
        self.cycle = 0
        self._rows = deque([0] * ACCUMULATOR_READ)
        self._groups = deque([0] * SCRATCHPAD)
        self.read = set()
        """Rows of the accumulators read while ``active`` said so."""

    def _make_floats(self, generator):
        """Patterns instead: accumulators and biases about 1, multipliers that lead to any fp16 and beyond."""

        def pattern(least, most, fraction):
            return generator.getrandbits(1) << 31 | generator.randint(least, most) << 23 | fraction

        for row in self.accumulators:
            row[:] = [pattern(120, 130, generator.getrandbits(23)) for _ in row]
        self.parameters = [
            (
                pattern(110, 130, generator.getrandbits(23)),
                pattern(95, 145, generator.getrandbits(17) << 6),
                0,
            )
            for _ in self.parameters
        ]

    def _result(self, value, entry, mode):
        """The bytes of a result."""
        if mode == OutputMode.RAW:
            return (value & 0xFFFFFFFF).to_bytes(4, "little")
        parameters = self.parameters[entry]
        if self.design.geometry.sums == "int32":
            return requantise(value, *parameters).tobytes()
        value, bias, multiplier = np.array([value, *parameters[:2]], np.uint32).view(np.float32)[:, None]
        return rescale(value, bias, multiplier).astype("<f2").tobytes()

    def expected(self, fields):
        """Bytes by address that a command must write; the golden model of STORE."""
        d, result = self.design, {}
        banks = d.geometry.banks
        for row in range(fields["rows"]):
            place = fields["memory_address"] + row * fields["memory_stride"]
            for n in range(fields["columns"]):
                value = self.accumulators[
                    fields["accumulators_address"] + n // banks * fields["accumulators_stride"] + row
                ][n % banks]
                for byte in self._result(value, fields["parameters_address"] + n, fields["variant"]):
                    result[place] = byte
                    place += 1
        return result

    def run(self, commands, gaps=()):
        """Carry out ``commands`` (fields), the i-th offered ``gaps[i]`` cycles after the one before has ended."""
        dut = StoreUnit(design=self.design)

        async def testbench(ctx):
            await self._run(ctx, dut, list(commands), [*gaps, *[0] * (len(commands) + 1)])

        simulator = Simulator(dut)
        simulator.add_clock(1e-6)
        simulator.add_testbench(testbench)
        simulator.run()
        return self.outcomes

    async def _run(self, ctx, dut, commands, gaps):
        d = self.design
        first, last = self.window or (0, (1 << d.address_width) - 1)
        ctx.set(dut.window_first, first)
        ctx.set(dut.window_last, last)
        memory = _Memory(self)
        wait, current, beat = gaps[0], None, False
        while commands or current is not None or not memory.quiet:
            offering = current is None and bool(commands) and wait <= 0
            wait -= 1
            ctx.set(dut.command.valid, offering)
            if offering:
                ctx.set(dut.command.payload, commands[0])
            ctx.set(dut.halt, self.cycle in self.halt)
            self._answer_reads(ctx, dut)
            memory.drive(ctx, dut.axi)

            # What is seen in this cycle, with everything set.
            if offering and ctx.get(dut.command.ready):
                current = Outcome(self.cycle)
                self.outcomes.append(current)
                commands.pop(0)
            elif current is not None:
                if ctx.get(dut.finished) or ctx.get(dut.fault):
                    current.finished = bool(ctx.get(dut.finished))
                    current.ended = self.cycle
                    current.code = ctx.get(dut.code) if ctx.get(dut.fault) else 0
                    current.index, current.post = ctx.get(dut.index), ctx.get(dut.post)
                if not ctx.get(dut.busy):
                    assert memory.quiet
                    current.ended = self.cycle if current.ended < 0 else current.ended
                    current, wait = None, gaps[len(self.outcomes)] - 1
                    # The next command may be taken in this very cycle.
                    if commands and wait < 0:
                        ctx.set(dut.command.valid, 1)
                        ctx.set(dut.command.payload, commands[0])
                        assert ctx.get(dut.command.ready) == (self.cycle not in self.halt)
                    if commands and wait < 0 and self.cycle not in self.halt:
                        commands.pop(0)
                        current = Outcome(self.cycle)
                        self.outcomes.append(current)
            assert bool(ctx.get(dut.beat)) == beat
            beat = memory.observe(ctx, dut.axi)
            if beat:
                self.outcomes[-1].beats += 1
            await ctx.tick()
            self.cycle += 1
            assert self.cycle < self.limit, f"not ended after {self.limit} cycles"

    def _answer_reads(self, ctx, dut):
        ctx.set(dut.accumulators.data, self._row(self._rows.popleft()))
        ctx.set(dut.parameters.data, self._entries(self._groups.popleft()))
        self._rows.append(ctx.get(dut.accumulators.address))
        self._groups.append(ctx.get(dut.parameters.address))
        if ctx.get(dut.accumulators.active):
            self.read.add(self._rows[-1])

    def _row(self, address):
        if address >= self.design.accumulator_rows:
            return [0] * self.design.geometry.banks
        return [value & 0xFFFFFFFF for value in self.accumulators[address]]

    def _entries(self, group):
        lanes, value = self.design.output_lanes, 0
        for lane, entry in enumerate(self.parameters[group * lanes : (group + 1) * lanes]):
            bias, multiplier, shift = entry
            value |= (bias & 0xFFFFFFFF | multiplier << 32 | shift << 64) << 128 * lane
        return value


class _Memory:
    """Write side of an AXI4 memory: accepts and answers in exactly the cycles that sim.cycles.memory states."""

    def __init__(self, bench):
        self._bench = bench
        self._free_from = deque()
        """For every burst accepted and not answered: the first cycle in which its place is free, once known."""
        self._open = deque()
        """Bursts whose data has not all come: cycle of AW, address, beats, beats that have come."""
        self._answers = deque()
        self._next_beat = 0
        self._last_answer = -1
        self._count = 0
        self._held = {}

    @property
    def quiet(self):
        return not self._free_from and not self._open and not self._held

    def drive(self, ctx, axi):
        b, now = self._bench, self._bench.cycle
        aw_ready = len(self._free_from) < b.timing.outstanding
        w_ready = bool(self._open) and now > self._open[0]["accepted"] and now >= self._next_beat
        if b.stalls:
            aw_ready &= b.stalls.random() < 0.5
            w_ready &= b.stalls.random() < 0.5
        ctx.set(axi.aw.ready, aw_ready)
        ctx.set(axi.w.ready, w_ready)
        answering = bool(self._answers) and self._answers[0][0] <= now
        ctx.set(axi.b.valid, answering)
        ctx.set(axi.b.payload, answering and self._answers[0][1])

    def observe(self, ctx, axi):
        """Look at the handshakes of this cycle; true when a beat was accepted."""
        b, now = self._bench, self._bench.cycle
        self._check_stable(ctx, axi)
        assert ctx.get(axi.b.ready) == 1
        if self._answers and self._answers[0][0] <= now:
            self._answers.popleft()
            self._free_from.popleft()
        beat = bool(ctx.get(axi.w.valid) and ctx.get(axi.w.ready))
        if beat:
            self._beat(
                ctx.get(axi.w.payload.data), ctx.get(axi.w.payload.strobe), ctx.get(axi.w.payload.last)
            )
        if ctx.get(axi.aw.valid) and ctx.get(axi.aw.ready):
            address, beats = ctx.get(axi.aw.payload.address), ctx.get(axi.aw.payload.length) + 1
            size = b.design.data_bytes
            assert address % size == 0
            assert address // 4096 == (address + beats * size - 1) // 4096
            assert beats <= min(16, b.design.burst_beats)
            self._open.append({"accepted": now, "address": address, "beats": beats, "come": 0})
            self._free_from.append(None)
            b.bursts.append((now, address, beats))
            assert len(self._free_from) <= b.design.outstanding
        return beat

    def _beat(self, value, strobe, last):
        b, now, burst = self._bench, self._bench.cycle, self._open[0]
        size = b.design.data_bytes
        for i in range(size):
            if strobe >> i & 1:
                b.written[burst["address"] + burst["come"] * size + i] = value >> 8 * i & 0xFF
        burst["come"] += 1
        self._next_beat = now + b.timing.interval
        assert last == (burst["come"] == burst["beats"])
        if last:
            self._open.popleft()
            self._last_answer = max(now + b.timing.write_latency, self._last_answer + 1)
            self._answers.append((self._last_answer, self._count == b.refuse))
            self._count += 1

    def _check_stable(self, ctx, axi):
        """Valid and payload hold until the transfer."""
        for name, channel in (("aw", axi.aw), ("w", axi.w)):
            valid, ready = ctx.get(channel.valid), ctx.get(channel.ready)
            value = ctx.get(channel.payload.as_value())
            if name in self._held:
                assert valid
                assert value == self._held.pop(name)
            if valid and not ready:
                self._held[name] = value
