# amaranth: UnusedElaboratable=no
"""The board's memory: cycles of its AXI4 port by the model's law, contents, errors, the host's accesses between."""

from __future__ import annotations

import random

import pytest
from amaranth.back import rtlil
from amaranth.sim import Simulator

from fpga.soc.memory import HOST_LATENCY, SLVERR, Memory
from fpga.soc.storage import SPRAM_WORDS, BlockStorage, SpramStorage
from sim.cycles.memory import ReadMemory, WriteMemory
from tests.formal import later


def simulate(dut, bench):
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


class Master:
    """Drives the AXI4 port a cycle at a time. ``reads`` and ``writes`` are (cycle from which it is wanted, beat, beats)."""

    def __init__(self, dut, size, reads=(), writes=(), contents=None):
        self.dut, self.size = dut, size
        self.reads, self.writes = list(reads), list(writes)
        self.accepted = {"ar": [], "aw": []}
        self.beats, self.ends, self.answers = [], [], []
        self.contents = dict(contents or {})
        self._data = [
            (address + beat, beat == beats - 1) for _, address, beats in self.writes for beat in range(beats)
        ]
        self._sent = 0

    @property
    def done(self):
        return len(self.ends) == len(self.reads) and len(self.answers) == len(self.writes)

    def drive(self, ctx, cycle):
        dut = self.dut
        ctx.set(dut.s_axi_rready, 1)
        ctx.set(dut.s_axi_bready, 1)
        for name, bursts in (("ar", self.reads), ("aw", self.writes)):
            place = len(self.accepted[name])
            wanted = place < len(bursts) and bursts[place][0] <= cycle
            ctx.set(getattr(dut, f"s_axi_{name}valid"), wanted)
            if wanted:
                ctx.set(getattr(dut, f"s_axi_{name}addr"), bursts[place][1] * self.size)
                ctx.set(getattr(dut, f"s_axi_{name}len"), bursts[place][2] - 1)
        sends = self._sent < len(self._data)
        ctx.set(dut.s_axi_wvalid, sends)
        if sends:
            beat, last = self._data[self._sent]
            ctx.set(dut.s_axi_wdata, pattern(beat, self.size))
            ctx.set(dut.s_axi_wstrb, (1 << self.size) - 1)
            ctx.set(dut.s_axi_wlast, last)

    def look(self, ctx, cycle):
        dut = self.dut
        for name in ("ar", "aw"):
            if ctx.get(getattr(dut, f"s_axi_{name}valid")) and ctx.get(getattr(dut, f"s_axi_{name}ready")):
                self.accepted[name].append(cycle)
        if ctx.get(dut.s_axi_wvalid) and ctx.get(dut.s_axi_wready):
            self.contents[self._data[self._sent][0]] = pattern(self._data[self._sent][0], self.size)
            self._sent += 1
        if ctx.get(dut.s_axi_rvalid):
            self.beats.append((cycle, ctx.get(dut.s_axi_rdata), ctx.get(dut.s_axi_rresp)))
            if ctx.get(dut.s_axi_rlast):
                self.ends.append(cycle)
        if ctx.get(dut.s_axi_bvalid):
            self.answers.append((cycle, ctx.get(dut.s_axi_bresp)))


def pattern(beat, size):
    return random.Random(beat).getrandbits(8 * size)


def run(dut, master, *, limit=4000, alongside=None):
    async def bench(ctx):
        cycle = 0
        while not master.done:
            assert cycle < limit
            master.drive(ctx, cycle)
            if alongside:
                alongside(ctx, cycle)
            master.look(ctx, cycle)
            cycle += 1
            await ctx.tick()

    simulate(dut, bench)


def block(size, beats=64, outstanding=4, registered=False):
    storage = BlockStorage(beats=beats, data_bytes=size, registered=registered)
    return Memory(storage=storage, address_width=32, outstanding=outstanding)


def predicted_reads(timing, bursts):
    model, free, accepted, ends = ReadMemory(timing), 0, [], []
    for wanted, _, beats in bursts:
        taken, _, last = model.read(max(wanted, free), beats)
        free = taken + 1
        accepted.append(taken)
        ends.append(last)
    return accepted, ends


def predicted_writes(timing, bursts):
    model, free, beat, accepted, answers = WriteMemory(timing), 0, 0, [], []
    for wanted, _, beats in bursts:
        taken = model.address(max(wanted, free))
        free = taken + 1
        last, answer = model.data(taken, beat, beats)
        beat = last + 1
        accepted.append(taken)
        answers.append(answer)
    return accepted, answers


def bursts(seed, number, beats):
    """``number`` bursts in ``beats`` beats, in a hurry or not."""
    generator, cycle, found = random.Random(seed), 0, []
    for _ in range(number):
        first = generator.randrange(beats)
        found.append((cycle, first, generator.randint(1, min(9, beats - first))))
        cycle += generator.choice((0, 0, 0, 1, 3, 15))
    return found


@pytest.mark.parametrize("size", [4, 8, *later(16, 64)])
@pytest.mark.parametrize("outstanding", [1, 4, *later(2, 3)])
def test_cycles_are_those_of_the_model(size, outstanding):
    dut = block(size, outstanding=outstanding, registered=size == 8)
    reads, writes = bursts(size, 25, 64), bursts(size + 1, 25, 64)
    master = Master(dut, size, reads, writes)
    run(dut, master)
    accepted, ends = predicted_reads(dut.timing, reads)
    assert (master.accepted["ar"], master.ends) == (accepted, ends)
    beats = [
        last - beats + 1 + i for last, (_, _, beats) in zip(ends, reads, strict=True) for i in range(beats)
    ]
    assert [cycle for cycle, _, _ in master.beats] == beats
    accepted, answers = predicted_writes(dut.timing, writes)
    assert (master.accepted["aw"], [cycle for cycle, _ in master.answers]) == (accepted, answers)
    assert not any(response for _, response in master.answers)


@pytest.mark.parametrize("size", [4, 8, *later(32)])
def test_what_is_written_is_read(size):
    dut = block(size, beats=24, registered=size == 8)
    master = Master(dut, size, [(60, 0, 24), (60, 7, 3)], [(0, 0, 16), (0, 16, 8)])
    run(dut, master)
    wanted = [pattern(beat, size) for beat in [*range(24), 7, 8, 9]]
    assert [data for _, data, _ in master.beats] == wanted


@pytest.mark.parametrize(
    ("first", "beats", "inside"),
    [(24, 3, []), (22, 4, [0, 1]), (31, 2, []), (32, 2, []), (1 << 20, 2, []), (0, 256, list(range(24)))],
)
def test_beats_beyond_the_memory_are_errors(first, beats, inside):
    dut = block(4, beats=24)
    master = Master(dut, 4, [(400, first, beats), (400, 0, 24)], [(0, 0, 24), (40, first, beats)])
    run(dut, master)
    assert [place for place, (_, _, response) in enumerate(master.beats[:beats]) if response == 0] == inside
    assert {response for _, _, response in master.beats} <= {0, SLVERR}
    assert [response for _, response in master.answers] == [0, 0 if len(inside) == beats else SLVERR]
    assert [data for _, data, _ in master.beats[beats:]] == [pattern(beat, 4) for beat in range(24)]


def test_partial_writes():
    dut = block(8, beats=4)

    async def bench(ctx):
        ctx.set(dut.s_axi_bready, 1)
        for data, strobe in ((0x1111111111111111, 0xFF), (0x2222222222222222, 0b01011010)):
            ctx.set(dut.s_axi_awvalid, 1)
            await ctx.tick()
            ctx.set(dut.s_axi_awvalid, 0)
            ctx.set(dut.s_axi_wvalid, 1)
            ctx.set(dut.s_axi_wlast, 1)
            ctx.set(dut.s_axi_wdata, data)
            ctx.set(dut.s_axi_wstrb, strobe)
            await ctx.tick().until(dut.s_axi_wready)
            ctx.set(dut.s_axi_wvalid, 0)
        assert await access(ctx, dut, 0) == (0x22112211, 0)
        assert await access(ctx, dut, 1) == (0x11221122, 0)

    simulate(dut, bench)


async def access(ctx, dut, address, value=None):
    """An access of the host: data and whether it was unmapped."""
    ctx.set(dut.bus.request.payload, {"address": address, "write": value is not None, "data": value or 0})
    ctx.set(dut.bus.request.valid, 1)
    await ctx.tick().until(dut.bus.request.ready)
    ctx.set(dut.bus.request.valid, 0)
    ctx.set(dut.bus.response.ready, 1)
    await ctx.tick().repeat(dut.timing.read_latency + HOST_LATENCY - 2)
    assert ctx.get(dut.bus.response.valid)
    answer = ctx.get(dut.bus.response.payload)
    await ctx.tick()
    assert not ctx.get(dut.bus.response.valid)
    return 0 if answer.unmapped or value is not None else answer.data, answer.unmapped


@pytest.mark.parametrize(("size", "registered"), [(4, False), (8, True), (16, False)])
def test_the_host_reads_and_writes_words(size, registered):
    beats = 12
    dut, words = block(size, beats=beats, registered=registered), beats * size // 4

    async def bench(ctx):
        for word in range(words):
            assert await access(ctx, dut, word, 0x01010101 * (word + 1)) == (0, 0)
        for word in (words, words + 1, 1 << 20, (1 << 30) - 1):
            assert await access(ctx, dut, word, 0xFFFFFFFF) == (0, 1)
            assert await access(ctx, dut, word) == (0, 1)
        for word in range(words):
            assert await access(ctx, dut, word) == (0x01010101 * (word + 1), 0)

    simulate(dut, bench)


@pytest.mark.parametrize("storage", ["block", "registered", "spram"])
def test_host_and_master_at_the_same_time(storage):
    """The host reads one half of the memory while the master writes and reads the other; nothing is lost."""
    ram = (
        SpramStorage(data_bytes=8, modelled=True)
        if storage == "spram"
        else BlockStorage(beats=64, data_bytes=8, registered=storage == "registered")
    )
    dut = Memory(storage=ram, address_width=32)
    writes = [*bursts(7, 20, 32), (0, 0, 32)]
    reads = [(300 + cycle, 0, 32) for cycle in range(0, 60, 20)]
    master = Master(dut, 8, reads, writes)
    seen, asked = [], []

    def host(ctx, cycle):
        request, response = dut.bus.request, dut.bus.response
        ctx.set(response.ready, 1)
        if ctx.get(response.valid):
            seen.append(ctx.get(response.payload.data))
        # The word asked for stays until it is answered.
        asking = cycle % 3 != 1 and len(asked) == len(seen)
        ctx.set(request.valid, asking)
        if asking:
            word = 64 + len(asked) % 32
            ctx.set(request.payload, {"address": word, "write": len(asked) < 32, "data": word * 0x10001})
            if ctx.get(request.ready):
                asked.append(word)

    run(dut, master, alongside=host)
    assert len(seen) > 60
    assert seen[32:] == [word * 0x10001 for word in asked[32 : len(seen)]]
    wanted = [data for _ in reads for _, data in sorted(master.contents.items())]
    assert set(master.contents) == set(range(32))
    assert [data for _, data, _ in master.beats] == wanted


@pytest.mark.parametrize(("size", "rams"), [(4, 4), (8, 4), (4, 2)])
def test_spram_keeps_the_law_where_nothing_meets(size, rams):
    dut = Memory(storage=SpramStorage(data_bytes=size, rams=rams, modelled=True), address_width=32)
    assert dut.size == 2 * SPRAM_WORDS * rams
    assert dut.single_port
    last = dut.size // size - 9
    writes = [(0, 0, 9), (0, last, 9)]
    reads = [(60, 0, 9), (60, last, 9), (62, last, 4)]
    master = Master(dut, size, reads, writes)
    run(dut, master)
    assert (master.accepted["ar"], master.ends) == predicted_reads(dut.timing, reads)
    answers = [cycle for cycle, _ in master.answers]
    assert (master.accepted["aw"], answers) == predicted_writes(dut.timing, writes)
    places = [*range(9), *range(last, last + 9), *range(last, last + 4)]
    assert [data for _, data, _ in master.beats] == [pattern(place, size) for place in places]


@pytest.mark.parametrize(("size", "rams"), [(4, 2), (8, 4)])
def test_spram_is_instances_of_the_part(size, rams):
    text = rtlil.convert(SpramStorage(data_bytes=size, rams=rams))
    assert text.count("cell \\SB_SPRAM256KA") == rams


def test_parameters():
    storage = BlockStorage(beats=4, data_bytes=4)
    for name, value in (("address_width", 15), ("address_width", 65), ("outstanding", 0)):
        with pytest.raises(ValueError, match=f"{name} must be .* not {value}"):
            Memory(**{"storage": storage, "address_width": 32, name: value})
    with pytest.raises(ValueError, match="beats must be 2 or more, not 1"):
        BlockStorage(beats=1, data_bytes=4)
    with pytest.raises(ValueError, match="data_bytes must be one of 4, 8, 16, 32, 64, not 3"):
        BlockStorage(beats=4, data_bytes=3)
    with pytest.raises(ValueError, match=r"rams must be 2 or 4 and .* not 2 and 8"):
        SpramStorage(data_bytes=8, rams=2)
    with pytest.raises(TypeError):
        BlockStorage(beats=4.0, data_bytes=4)
