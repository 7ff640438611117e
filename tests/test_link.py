# amaranth: UnusedElaboratable=no
"""The link: any bytes, gaps and silences give what the protocol says; the rate of bursts; silence."""

from __future__ import annotations

import random

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st
from link_model import CHECK, READ, READ_FIXED, WRITE, WRITE_FIXED, LinkModel, Words, command

from fpga.soc.link import Link, Silence
from fpga.soc.uart import UartReceiver, UartTransmitter
from tests.formal import later

SIZE = 32
"""Bytes of memory behind the link."""


def run(data, *, offers=(True,), takes=(True,), delays=(0,), settle=20):
    """Feed ``data``, of which None is a silence; a model behind it. The model's words, what was sent, flags by name."""
    dut = Link()
    words, sent, flags = (
        Words(SIZE),
        bytearray(),
        dict.fromkeys(("unknown", "forgotten", "unmapped", "refused"), 0),
    )
    items = list(data)

    def serve(asked):
        """The answer to a request."""
        before, value = words.unmapped, 0
        if asked.write:
            words.write(asked.address, asked.data)
        else:
            value = words.read(asked.address)
        return {"data": value, "unmapped": words.unmapped != before, "refused": asked.address == 3}

    async def bench(ctx):
        request, response = dut.bus.request, dut.bus.response
        cycle = quiet = wait = served = 0
        offered, answer = False, None
        while items or quiet < settle:
            offered = bool(items) and items[0] is not None and (offered or offers[cycle % len(offers)])
            ctx.set(dut.i.valid, offered)
            ctx.set(dut.i.payload, items[0] if offered else 0xEE)
            ready = takes[cycle % len(takes)]
            ctx.set(dut.o.ready, ready)
            # A silence comes once everything that came before is through.
            silent = bool(items) and items[0] is None and quiet >= settle
            ctx.set(dut.forget, silent)
            ctx.set(request.ready, answer is None)
            answers = answer is not None and wait == 0
            ctx.set(response.valid, answers)
            ctx.set(response.payload, answer if answers else {"data": 0})
            for name in flags:
                flags[name] += ctx.get(getattr(dut, name))
            if ctx.get(dut.o.valid) and ready:
                sent.append(ctx.get(dut.o.payload))
            taken = offered and ctx.get(dut.i.ready)
            quiet = 0 if taken or silent or ctx.get(dut.o.valid) else quiet + 1
            if silent or taken:
                del items[0]
                offered = False
            if answers and ctx.get(response.ready):
                answer = None
            elif answer is not None:
                wait = max(0, wait - 1)
            elif ctx.get(request.valid):
                answer, wait = serve(ctx.get(request.payload)), delays[served % len(delays)]
                served += 1
            cycle += 1
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return words, bytes(sent), flags


PATTERN = st.lists(st.booleans(), min_size=1, max_size=6).filter(any)
ADDRESSES = st.sampled_from([0, 4, 8, 12, SIZE - 8, SIZE - 4, SIZE, 0xFFFF_FFFC, 0x8000_0000])
WORD = st.integers(0, (1 << 32) - 1)
WRITES = st.builds(
    lambda code, address, words: list(command(code, address, words=words)),
    st.sampled_from([WRITE, WRITE_FIXED]), ADDRESSES, st.lists(WORD, min_size=1, max_size=3),
)  # fmt: skip
READS = st.builds(
    lambda code, address, count: list(command(code, address, count=count)),
    st.sampled_from([READ, READ_FIXED, CHECK]), ADDRESSES, st.integers(0, 3),
)  # fmt: skip
CUT = st.builds(lambda bytes_, cut: [*bytes_[:cut], None], WRITES | READS, st.integers(1, 17))
GARBAGE = st.lists(st.integers(0, 255), max_size=6).map(lambda data: [*data, None])
EMPTY = st.just(list(command(WRITE, 4, count=0)))


@given(
    parts=st.lists(WRITES | READS | CUT | GARBAGE | EMPTY, max_size=6),
    offers=PATTERN,
    takes=PATTERN,
    delays=st.lists(st.integers(0, 3), min_size=1, max_size=4),
)
@settings(max_examples=25)
def test_any_commands(parts, offers, takes, delays):
    data = [byte for part in parts for byte in part]
    model = LinkModel(Words(SIZE))
    answers = model.take(data)
    words, sent, flags = run(data, offers=offers, takes=takes, delays=delays)
    assert sent == answers
    assert words.accesses == model.words.accesses
    assert words.memory == model.words.memory
    refused = sum(word == 3 for word, _ in words.accesses)
    assert flags == {
        "unknown": model.unknown,
        "forgotten": model.forgotten,
        "unmapped": model.words.unmapped,
        "refused": refused,
    }


def test_longest_burst():
    words = [random.Random(3).getrandbits(32) for _ in range(255)]
    data = [*command(WRITE_FIXED, 4, words=words), *command(READ_FIXED, 4, count=60)]
    assert run(data)[1] == words[-1].to_bytes(4, "big") * 60


def test_zeros_bring_the_link_back_from_anywhere():
    """As many as the longest command may still want."""
    for cut in (1, 2, 6, 9):
        data = [*command(WRITE, 0, words=[1] * 5)[:cut], *[0] * 26, *command(READ, 8)]
        assert run(data)[1] == bytes(4)


def test_silence_says_nothing_to_an_answer():
    dut = Link()
    read = command(READ, 0, count=2)

    async def bench(ctx):
        ctx.set(dut.bus.response.valid, 1)
        ctx.set(dut.bus.response.payload, {"data": 0x01020304})
        ctx.set(dut.bus.request.ready, 1)
        ctx.set(dut.i.valid, 1)
        for byte in read:
            ctx.set(dut.i.payload, byte)
            await ctx.tick().until(dut.i.ready)
        ctx.set(dut.i.valid, 0)
        ctx.set(dut.forget, 1)
        got = []
        await ctx.tick().repeat(50)
        ctx.set(dut.o.ready, 1)
        for _ in range(8):
            (byte,) = await ctx.tick().sample(dut.o.payload).until(dut.o.valid)
            got.append(byte)
        assert got == [1, 2, 3, 4] * 2

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


class _Line(wiring.Component):
    """A link between UARTs."""

    def __init__(self, divisor):
        self.receiver, self.transmitter = UartReceiver(divisor=divisor), UartTransmitter(divisor=divisor)
        self.link = Link()
        super().__init__({})

    def elaborate(self, platform):
        m = Module()
        m.submodules.receiver, m.submodules.link, m.submodules.transmitter = (
            self.receiver,
            self.link,
            self.transmitter,
        )
        wiring.connect(m, self.receiver.o, self.link.i)
        wiring.connect(m, self.link.o, self.transmitter.i)
        return m


@pytest.mark.parametrize("divisor", [8, *later(25)])
def test_burst_reads_leave_no_gap_on_the_line(divisor):
    dut, levels = _Line(divisor), []
    bits = [bit for byte in command(READ, 0, count=4) for bit in (0, *(byte >> i & 1 for i in range(8)), 1)]
    line = [1] * 9 + [bit for bit in bits for _ in range(divisor)] + [1] * (170 * divisor)

    async def bench(ctx):
        response = dut.link.bus.response
        ctx.set(dut.link.bus.request.ready, 1)
        ctx.set(response.payload, {"data": 0})
        for level in line:
            ctx.set(response.valid, ctx.get(response.ready))
            ctx.set(dut.receiver.rx, level)
            levels.append(ctx.get(dut.transmitter.tx))
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    # A byte of zeros is nine bits low, one high.
    first = levels.index(0)
    assert levels[first : first + 160 * divisor] == ([0] * 9 * divisor + [1] * divisor) * 16
    assert 0 not in levels[first + 160 * divisor :]


@pytest.mark.parametrize("cycles", [2, 5])
def test_silence(cycles):
    dut, seen = Silence(cycles=cycles), []

    async def bench(ctx):
        for waiting in [1] * (cycles - 1) + [0] + [1] * (2 * cycles):
            ctx.set(dut.waiting, waiting)
            seen.append(ctx.get(dut.over))
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert seen == [0] * cycles + ([0] * (cycles - 1) + [1]) * 2


def test_silence_must_last():
    with pytest.raises(ValueError, match="cycles must be 2 or more, not 1"):
        Silence(cycles=1)
    with pytest.raises(TypeError):
        Silence(cycles=2.0)
