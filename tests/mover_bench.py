"""The mover of in-order designs with all that is around it: accumulators, parameters, scratchpads, a memory of exact timing."""

import random
from collections import deque
from dataclasses import dataclass, field

from amaranth.sim import Simulator

from hw.control.isa import Destination, Opcode
from hw.design import PAGE_BYTES, Design, ceil_div
from hw.dma.realign import SCRATCHPADS
from hw.in_order.mover import Mover
from hw.timing import LEAN_ACCUMULATOR_READ
from tests.load_bench import contents
from tests.store_bench import Bench, _Memory
from tests.store_bench import command as store_command
from tests.store_bench import design as store_design


def design(**changes) -> Design:
    """A small design."""
    return store_design(**{"columns": 1, "data_bytes": 4, "lanes": 1, "outstanding": 1, **changes})


def store(**fields):
    """A STORE: its opcode and fields."""
    return Opcode.STORE, store_command(**fields)


def load(**fields):
    """A LOAD: its opcode and fields; a single byte unless told otherwise."""
    return Opcode.LOAD, {
        "variant": Destination.ACTIVATIONS,
        "post": 0,
        "index": 0,
        "memory_address": 0x1000,
        "memory_stride": 0,
        "row_bytes": 1,
        "rows": 1,
        "local_stride": 0,
        "local_address": 0,
        **fields,
    }


@dataclass
class Ended:
    """What happened to one command."""

    started: int
    ended: int = -1
    code: int = -1
    reads: list[tuple[int, int, int]] = field(default_factory=list)
    """AR handshakes: cycle, address, beats."""
    beats: int = 0
    """Beats read or written."""


@dataclass
class MoverBench(Bench):
    """Runs commands on a ``Mover``; ``errors`` are the addresses of beats whose reading is answered with an error."""

    errors: frozenset[int] = frozenset()

    def __post_init__(self):
        super().__post_init__()
        self._rows = deque([0] * LEAN_ACCUMULATOR_READ)
        self._word = 0
        self.scratchpads = {which: {} for which in Destination}
        """Data by beat of what was written last."""
        self.settled = True

    def run(self, commands, gaps=()):
        """Carry out ``commands`` (opcode and fields), the i-th ``gaps[i]`` cycles after the first in which it may start."""
        dut = Mover(design=self.design)

        async def testbench(ctx):
            await self._commands(ctx, dut, list(commands), [*gaps, *[0] * len(commands)])

        simulator = Simulator(dut)
        simulator.add_clock(1e-6)
        simulator.add_testbench(testbench)
        simulator.run()
        return self.outcomes

    async def _commands(self, ctx, dut, commands, gaps):
        first, last = self.window or (0, (1 << self.design.address_width) - 1)
        ctx.set(dut.window_first, first)
        ctx.set(dut.window_last, last)
        reads, writes = _Reads(self), _Memory(self)
        current, wait = None, gaps[0]
        while commands or current is not None:
            starts = current is None and wait <= 0
            wait -= 1
            opcode, fields = commands[0] if starts else (None, None)
            ctx.set(dut.start_load, opcode is Opcode.LOAD)
            ctx.set(dut.start_store, opcode is Opcode.STORE)
            if starts:
                ctx.set(dut.load if opcode is Opcode.LOAD else dut.store, fields)
                current = Ended(self.cycle)
                self.outcomes.append(current)
                commands.pop(0)
                assert not ctx.get(dut.busy)
            ctx.set(dut.halt, self.cycle in self.halt)
            self._answer(ctx, dut)
            writes.drive(ctx, dut.axi)
            reads.drive(ctx, dut, current)
            self._watch(ctx, dut)
            if writes.observe(ctx, dut.axi):
                current.beats += 1
            if ctx.get(dut.ended):
                current.ended, current.code = self.cycle, ctx.get(dut.code)
                assert writes.quiet
                assert reads.quiet
                current, wait = None, gaps[len(self.outcomes)] if commands else 0
            await ctx.tick()
            self.cycle += 1
            assert self.cycle < self.limit, f"not ended after {self.limit} cycles"

    def _answer(self, ctx, dut):
        """Accumulators and parameters."""
        ctx.set(dut.accumulators.data, self._row(self._rows.popleft()))
        ctx.set(dut.parameters_read.data, self._word)
        self._rows.append(ctx.get(dut.accumulators.address))
        entry, number = divmod(ctx.get(dut.parameters_read.address), 4)
        bias, multiplier, shift = self.parameters[entry] if entry < len(self.parameters) else (0, 0, 0)
        self._word = (bias & 0xFFFFFFFF, multiplier, shift | 0xABCDEF << 6 & 0xFFFFFFC0, 0x12345678)[number]
        if ctx.get(dut.accumulators.active):
            self.read.add(self._rows[-1])

    def _watch(self, ctx, dut):
        for which, name in SCRATCHPADS.items():
            port = getattr(dut, name)
            if ctx.get(port.valid):
                self.scratchpads[which][ctx.get(port.address)] = ctx.get(port.data)

    def loaded(self, fields):
        """The defined bytes of every beat that a LOAD must write."""
        size, result = self.design.data_bytes, {}
        for row in range(fields["rows"]):
            line = contents(fields["memory_address"] + row * fields["memory_stride"], fields["row_bytes"])
            for beat in range(ceil_div(len(line), size)):
                place = fields["local_address"] + row * fields["local_stride"] + beat
                result[place] = line[beat * size : (beat + 1) * size]
        return result


class _Reads:
    """Read side of the memory: in the cycles that ``sim.cycles.memory`` states, or at random."""

    def __init__(self, bench):
        self._bench = bench
        self._open = deque()
        """Of each burst: address of the next beat, beats left, cycle of the next beat."""
        self._free = 0
        self._held = None

    @property
    def quiet(self):
        return not self._open and self._held is None

    def drive(self, ctx, dut, command):
        """Outputs of this cycle, and what its handshakes lead to."""
        bench, now = self._bench, self._bench.cycle
        timing, size = bench.timing, bench.design.data_bytes
        ready = len(self._open) < timing.outstanding
        beat = bool(self._open) and self._open[0][2] <= now
        if bench.stalls:
            ready &= bench.stalls.random() < 0.5
            beat &= bench.stalls.random() < 0.5
        ctx.set(dut.ar.ready, ready)
        ctx.set(dut.r.valid, beat)
        # What stands beside ``valid`` means nothing without it.
        noise = random.Random(now)
        ctx.set(dut.r.data, noise.getrandbits(8 * size))
        ctx.set(dut.r.last, noise.getrandbits(1))
        ctx.set(dut.r.error, noise.getrandbits(1))
        if beat:
            address, left, _ = self._open[0]
            ctx.set(dut.r.data, int.from_bytes(contents(address, size), "little"))
            ctx.set(dut.r.error, address in bench.errors)
            ctx.set(dut.r.last, left == 1)
            command.beats += 1
            self._open[0] = [address + size, left - 1, now + timing.interval]
            if left == 1:
                self._open.popleft()
        asked = None
        if ctx.get(dut.ar.valid):
            asked = ctx.get(dut.ar.payload.address), ctx.get(dut.ar.payload.length) + 1
        assert self._held is None or asked == self._held, "AR must hold until it is taken"
        self._held = asked
        if asked and ready:
            address, beats = asked
            assert address % size == 0
            assert beats <= bench.design.block_beats
            assert address // PAGE_BYTES == (address + beats * size - 1) // PAGE_BYTES
            command.reads.append((now, address, beats))
            self._open.append([address, beats, max(now + timing.read_latency, self._free)])
            self._free = self._open[-1][2] + beats * timing.interval
            self._held = None
