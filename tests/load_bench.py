"""LOAD behind the read arbiter and a memory of exact timing, in simulation and in the cycle model."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace

from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator

from hw.control.isa import Destination
from hw.design import Design, Geometry, ceil_div
from hw.dma.load import LoadUnit
from hw.dma.read_arbiter import ReadArbiter, read_beats
from hw.dma.realign import SCRATCHPADS, write_ports
from hw.interfaces import axi_address, axi_read, load_command, mover_members
from sim.cycles.kernel import Kernel
from sim.cycles.load import LoadUnit as LoadModel
from sim.cycles.memory import MemoryTiming, ReadMemory
from sim.cycles.memory import ReadArbiter as ArbiterModel

FETCH_READS = 8
"""Most reads of a run that are not LOAD's; the bench does not limit how many of them are under way."""
BASE = 0x4000_0000
SIZE = 1 << 16


def design(*, data_bytes=4, burst_beats=8, outstanding=4, address_width=32, words=64) -> Design:
    """A small design; ``words`` bounds every scratchpad."""
    geometry = Geometry(
        tile_rows=4,
        columns=4,
        tile_depth=4,
        activation_bytes=data_bytes,
        weight_bytes=2 * data_bytes,
        weight_words=2,
    )
    return Design(
        geometry=geometry,
        data_bytes=data_bytes,
        address_width=address_width,
        burst_beats=burst_beats,
        outstanding=outstanding,
        activation_words=words,
        weight_words=words,
        accumulator_rows=16,
        parameter_entries=words,
        output_lanes=1,
    )


@dataclass(frozen=True, kw_only=True)
class Command:
    """A LOAD and the cycles between the last handshake and the one in which it is offered."""

    variant: Destination = Destination.ACTIVATIONS
    memory_address: int = BASE
    memory_stride: int = 0
    row_bytes: int = 1
    rows: int = 1
    local_address: int = 0
    local_stride: int = 0
    post: int = 0
    gap: int = 0


@dataclass(frozen=True, kw_only=True)
class Fetch:
    """A read by the other client, ``gap`` cycles after its last one was granted."""

    gap: int
    beats: int


class Top(wiring.Component):
    """The unit and the arbiter, with the fetch side of the arbiter left open."""

    def __init__(self, design: Design):
        self.design = design
        width = 8 * design.data_bytes
        super().__init__(
            {
                "bus": Out(axi_read(design.address_width, width)),
                "fetch_ar": In(stream.Signature(axi_address(design.address_width))),
                "fetch_r": Out(read_beats(width)),
                "command": In(stream.Signature(load_command(design))),
                **mover_members(design),
                **write_ports(design),
                "beat": Out(1),
                "idle": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.load = load = LoadUnit(design=self.design)
        m.submodules.arbiter = arbiter = ReadArbiter(
            address_width=self.design.address_width,
            data_width=8 * self.design.data_bytes,
            depth=self.design.outstanding + FETCH_READS,
        )
        wiring.connect(m, load.ar, arbiter.load_ar)
        wiring.connect(m, arbiter.load_r, load.r)
        wiring.connect(m, arbiter.ar, wiring.flipped(self.bus.ar))
        wiring.connect(m, wiring.flipped(self.bus.r), arbiter.r)
        wiring.connect(m, wiring.flipped(self.fetch_ar), arbiter.fetch_ar)
        wiring.connect(m, arbiter.fetch_r, wiring.flipped(self.fetch_r))
        wiring.connect(m, wiring.flipped(self.command), load.command)
        for name in SCRATCHPADS.values():
            wiring.connect(m, getattr(load, name), wiring.flipped(getattr(self, name)))
        for name, member in mover_members(self.design).items():
            inner, outer = getattr(load, name), getattr(self, name)
            m.d.comb += outer.eq(inner) if member.flow is Out else inner.eq(outer)
        m.d.comb += [self.beat.eq(load.beat), self.idle.eq(arbiter.idle)]
        return m


@dataclass
class Record:
    """What happened. Cycles count from the end of reset."""

    taken: list[int] = field(default_factory=list)
    finished: list[tuple[int, int, int]] = field(default_factory=list)
    """Cycle, post and index."""
    faults: list[tuple[int, int, int]] = field(default_factory=list)
    """Cycle, code and index."""
    reads: list[tuple[int, int, int]] = field(default_factory=list)
    """AR handshakes on the bus: cycle, address, beats."""
    writes: list[tuple[int, Destination, int, int]] = field(default_factory=list)
    """Cycle, scratchpad, beat, data."""
    beats: int = 0
    fetched: list[int] = field(default_factory=list)
    """Data of the beats that came back to the fetch side."""
    busy: list[int] = field(default_factory=list)
    """Cycles with ``busy``."""

    def scratchpad(self, variant: Destination) -> dict[int, int]:
        """Contents of what was written."""
        return {beat: data for _, which, beat, data in self.writes if which == variant}


def contents(address: int, count: int) -> bytes:
    """What lies in memory: every byte depends on the whole of its address."""
    return bytes(
        (a * 0x9E3779B1 >> 13 ^ a * 0x85EBCA6B >> 21) & 0xFF for a in range(address, address + count)
    )


def expected(design: Design, commands: list[Command]) -> dict[Destination, dict[int, bytes]]:
    """The defined bytes of every beat that must be written, later commands over earlier ones."""
    size = design.data_bytes
    result: dict[Destination, dict[int, bytes]] = {which: {} for which in Destination}
    for c in commands:
        for row in range(c.rows):
            line = contents(c.memory_address + row * c.memory_stride, c.row_bytes)
            for beat in range(ceil_div(c.row_bytes, size)):
                place = c.local_address + row * c.local_stride + beat
                result[c.variant][place] = line[beat * size : (beat + 1) * size]
    return result


def check_contents(design: Design, record: Record, commands: list[Command]) -> None:
    """Exactly the beats that must be written were, and every defined byte is right."""
    for which, beats in expected(design, commands).items():
        found = record.scratchpad(which)
        assert set(found) == set(beats)
        for place, line in beats.items():
            assert found[place].to_bytes(design.data_bytes, "little")[: len(line)] == line


class Memory:
    """The bus side with the timing that ``sim.cycles.memory`` states; ``errors``: addresses answered with one."""

    def __init__(self, design: Design, timing: MemoryTiming, record: Record, errors: frozenset[int]):
        self._size = design.data_bytes
        self._timing = timing
        self._record = record
        self._errors = errors
        self._reads: deque[list[int]] = deque()  # address of next beat, beats left, cycle of next beat
        self._free = 0

    def drive(self, ctx, bus, cycle: int) -> None:
        """Outputs of this cycle, and what its handshakes lead to."""
        timing, reads = self._timing, self._reads
        ready = len(reads) < timing.outstanding
        ctx.set(bus.ar.ready, ready)
        beat = bool(reads) and reads[0][2] == cycle
        ctx.set(bus.r.valid, beat)
        if ready and ctx.get(bus.ar.valid):
            address, beats = ctx.get(bus.ar.payload.address), ctx.get(bus.ar.payload.length) + 1
            self._record.reads.append((cycle, address, beats))
            reads.append([address, beats, max(cycle + timing.read_latency, self._free)])
            self._free = reads[-1][2] + beats * timing.interval
        if beat:
            address, left, _ = reads[0]
            word = int.from_bytes(contents(address, self._size), "little")
            ctx.set(bus.r.payload, {"data": word, "error": address in self._errors, "last": left == 1})
            assert ctx.get(bus.r.ready)
            reads[0] = [address + self._size, left - 1, cycle + timing.interval]
            if left == 1:
                reads.popleft()


class Source:
    """Offers payloads on a stream, each ``gap`` cycles after the handshake of the one before."""

    def __init__(self, port, items: list[tuple[int, dict[str, int]]]):
        self._port = port
        self._items = deque(items)
        self._next = items[0][0] if items else None

    def drive(self, ctx, cycle: int) -> bool:
        """Outputs of this cycle; whether there is a handshake."""
        offered = self._next is not None and self._next <= cycle
        ctx.set(self._port.valid, offered)
        if not offered:
            return False
        ctx.set(self._port.payload, self._items[0][1])
        if not ctx.get(self._port.ready):
            return False
        self._items.popleft()
        self._next = cycle + 1 + self._items[0][0] if self._items else None
        return True


def simulate(
    design: Design,
    timing: MemoryTiming,
    commands: list[Command],
    *,
    cycles: int,
    fetches: list[Fetch] = (),
    window: tuple[int, int] = (BASE, BASE + SIZE - 1),
    errors: frozenset[int] = frozenset(),
    halt: range = range(0),
) -> Record:
    """Run ``commands`` for ``cycles`` cycles; ``halt`` is high in those of its range."""
    top, record = Top(design), Record()
    memory = Memory(design, timing, record, errors)
    given = [({key: v for key, v in vars(c).items() if key != "gap"}) for c in commands]
    loads = Source(
        top.command,
        [(c.gap, {**f, "index": i}) for i, (c, f) in enumerate(zip(commands, given, strict=True))],
    )
    places = [BASE + SIZE + 256 * design.data_bytes * i for i in range(len(fetches))]
    asks = [(f.gap, {"address": at, "length": f.beats - 1}) for f, at in zip(fetches, places, strict=True)]
    fetching = Source(top.fetch_ar, asks)
    ports = {which: getattr(top, name) for which, name in SCRATCHPADS.items()}

    def watch(ctx, cycle):
        get = ctx.get
        if get(top.finished):
            record.finished.append((cycle, get(top.post), get(top.index)))
        if get(top.fault):
            record.faults.append((cycle, get(top.code), get(top.index)))
        for which, port in ports.items():
            if get(port.valid):
                record.writes.append((cycle, which, get(port.address), get(port.data)))
        record.beats += get(top.beat)
        if get(top.fetch_r.valid):
            record.fetched.append(get(top.fetch_r.data))
        if get(top.busy):
            record.busy.append(cycle)

    async def bench(ctx):
        ctx.set(top.window_first, window[0])
        ctx.set(top.window_last, window[1])
        for cycle in range(cycles):
            ctx.set(top.halt, cycle in halt)
            memory.drive(ctx, top.bus, cycle)
            if loads.drive(ctx, cycle):
                record.taken.append(cycle)
            fetching.drive(ctx, cycle)
            watch(ctx, cycle)
            await ctx.tick()

    simulator = Simulator(top)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    words = [
        contents(at + i * design.data_bytes, design.data_bytes)
        for f, at in zip(fetches, places, strict=True)
        for i in range(f.beats)
    ]
    assert record.fetched == [int.from_bytes(word, "little") for word in words][: len(record.fetched)]
    return record


@dataclass
class Predicted:
    """What the cycle model says of the same run."""

    taken: list[int] = field(default_factory=list)
    finished: list[int] = field(default_factory=list)
    beats: int = 0
    fetched: int = 0
    """Last beat of the last fetch on the bus."""


def predict(
    design: Design, timing: MemoryTiming, commands: list[Command], fetches: list[Fetch] = ()
) -> Predicted:
    """The cycle model's answer to ``simulate``."""
    kernel = Kernel()
    arbiter = ArbiterModel(kernel, ReadMemory(timing))
    unit = LoadModel(kernel, arbiter, design)
    result = Predicted()
    loads = []

    def ended(load):
        yield from load.until_finished()
        assert load.finished == kernel.now
        result.finished.append(kernel.now)
        result.beats += load.beats

    def control():
        for command in commands:
            offered = kernel.now + command.gap
            if loads:
                yield from loads[-1].until_ready()
            yield max(kernel.now, offered)
            result.taken.append(kernel.now)
            names = ("memory_address", "memory_stride", "row_bytes", "rows")
            loads.append(unit.take(**{name: getattr(command, name) for name in names}))
            kernel.start(ended(loads[-1]))
            yield kernel.now + 1

    def fetch():
        for read in fetches:
            yield kernel.now + read.gap
            burst = yield from arbiter.request(0, read.beats)
            result.fetched = burst.last

    kernel.start(control())
    kernel.start(fetch())
    kernel.run()
    return result


def within(design: Design, command: Command) -> Command:
    """``command`` with its rows moved to where they stay inside the scratchpad and do not overlap one another."""
    size = design.data_bytes
    depth = {
        Destination.ACTIVATIONS: design.activation_beats,
        Destination.WEIGHTS: design.weight_beats,
        Destination.PARAMETERS: design.parameter_beats,
    }[command.variant]
    row_bytes = min(command.row_bytes, depth * size)
    beats = ceil_div(row_bytes, size)
    local_stride = max(command.local_stride, beats)
    rows = min(command.rows, (depth - beats) // local_stride + 1)
    free = depth - beats - (rows - 1) * local_stride
    return replace(
        command,
        row_bytes=row_bytes,
        rows=rows,
        local_stride=local_stride,
        local_address=min(command.local_address, free),
    )
