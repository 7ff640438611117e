# amaranth: UnusedElaboratable=no
"""Control: registers, tokens, queues, EXECUTE, faults, watchdog; each against the table or text that defines it."""

import random

import pytest
from amaranth.sim import Simulator
from control_bench import design, simulate

from hw.control import isa, registers
from hw.control.axi_lite import OKAY, SLVERR, RegisterPort
from hw.control.execute import ExecuteUnit
from hw.control.isa import Error, Queue, Token
from hw.control.queue import InstructionQueue
from hw.control.run import Watchdog
from hw.control.tokens import TokenCounters
from hw.in_order.registers import RegisterFile
from hw.timing import QUEUE_CHECK, QUEUE_HEAD, TOKEN_COUNT


async def write(ctx, bus, address, value, strobe=0b1111, *, later=2):
    """Written and answered; the answer comes so many cycles ``later`` than the cycle after."""
    ctx.set(bus.aw.payload, address)
    ctx.set(bus.w.payload, {"data": value, "strobe": strobe})
    ctx.set(bus.aw.valid, 1)
    ctx.set(bus.w.valid, 1)
    ctx.set(bus.b.ready, 1)
    while not ctx.get(bus.aw.ready):
        await ctx.tick()
    await ctx.tick()
    ctx.set(bus.aw.valid, 0)
    ctx.set(bus.w.valid, 0)
    for _ in range(later):
        assert not ctx.get(bus.b.valid)
        await ctx.tick()
    response = ctx.get(bus.b.payload)
    assert ctx.get(bus.b.valid)
    await ctx.tick()
    return response


async def read(ctx, bus, address):
    ctx.set(bus.ar.payload, address)
    ctx.set(bus.ar.valid, 1)
    ctx.set(bus.r.ready, 1)
    while not ctx.get(bus.ar.ready):
        await ctx.tick()
    await ctx.tick()
    ctx.set(bus.ar.valid, 0)
    while not ctx.get(bus.r.valid):
        await ctx.tick()
    answer = ctx.get(bus.r.payload)
    await ctx.tick()
    return answer.data, answer.response


def queues(configuration=0):
    return RegisterPort(configuration=configuration), 2


def in_order(configuration=0):
    return RegisterFile(configuration=configuration, address_width=17, index_bits=12), 0


@pytest.mark.parametrize("make", [queues, in_order])
class TestRegisters:
    def test_every_register_answers_as_the_table_says(self, make):
        dut, later = make(0xC0FFEE)

        async def bench(ctx):
            for register in registers.REGISTERS:
                value, response = await read(ctx, dut.bus, register.offset)
                wanted = 0xC0FFEE if register.name == "configuration" else register.reset
                assert (value, response) == (wanted, OKAY), register
                writable = register.access is not registers.Access.RO
                assert await write(ctx, dut.bus, register.offset, 0x5A5A5A5A & ~1, later=later) == (
                    OKAY if writable else SLVERR
                )
                value, _ = await read(ctx, dut.bus, register.offset)
                kept = register.access is registers.Access.RW and register.name != "status"
                assert value == (0x5A5A5A5A if kept else wanted), register

        simulate(dut, bench)

    def test_unmapped_misaligned_and_partial_accesses_are_refused(self, make):
        dut, later = make()
        mapped = {register.offset for register in registers.REGISTERS}

        async def bench(ctx):
            for address in range(256):
                if address not in mapped:
                    assert (await read(ctx, dut.bus, address))[1] == SLVERR
                    assert await write(ctx, dut.bus, address, 1, later=later) == SLVERR
            watchdog = registers.BY_NAME["watchdog"]
            assert await write(ctx, dut.bus, watchdog.offset, 7, strobe=0b0111, later=later) == SLVERR
            assert await read(ctx, dut.bus, watchdog.offset) == (watchdog.reset, OKAY)

        simulate(dut, bench)

    def test_start_is_one_pulse_and_refused_while_busy(self, make):
        dut, later = make()
        control = registers.BY_NAME["control"].offset
        pulses = []

        async def bench(ctx):
            assert await write(ctx, dut.bus, control, 0, later=later) == OKAY
            assert await write(ctx, dut.bus, control, 1, later=later) == OKAY
            ctx.set(dut.busy, 1)
            assert await write(ctx, dut.bus, control, 1, later=later) == SLVERR
            assert await write(ctx, dut.bus, registers.BY_NAME["watchdog"].offset, 3, later=later) == SLVERR
            assert await write(ctx, dut.bus, registers.BY_NAME["status"].offset, 0, later=later) == OKAY
            await ctx.tick().repeat(4)
            assert sum(pulses) == 1

        async def watch(ctx):
            async for _, _, start in ctx.tick().sample(dut.start):
                pulses.append(start)

        simulator = Simulator(dut)
        simulator.add_clock(1e-6)
        simulator.add_testbench(bench)
        simulator.add_testbench(watch, background=True)
        simulator.run()

    def test_configuration_is_checked(self, make):
        with pytest.raises(ValueError, match="configuration must be 0 to"):
            make(1 << 32)


class TestTokens:
    def test_counts_like_a_model(self):
        seed = 7
        rng = random.Random(seed)
        print("seed", seed)
        dut = TokenCounters()

        async def bench(ctx):
            counts = dict.fromkeys(Token, 0)
            on_the_way = []
            for _ in range(600):
                posts = {
                    queue: rng.getrandbits(8) & rng.getrandbits(8) & rng.getrandbits(8) for queue in Queue
                }
                takes = dict.fromkeys(Queue, 0)
                for token in Token:
                    assert ctx.get(dut.present) >> token & 1 == (counts[token] > 0)
                    if counts[token] and rng.random() < 0.7:
                        takes[token.waiter] |= 1 << token
                for token in Token:
                    coming = sum(p[q] >> token & 1 for p in [*on_the_way, posts] for q in Queue)
                    if counts[token] + coming > isa.TOKEN_MAXIMUM:
                        posts = {queue: posts[queue] & ~(1 << token) for queue in Queue}
                for queue in Queue:
                    ctx.set(dut.posts[queue], posts[queue])
                    ctx.set(dut.takes[queue], takes[queue])
                await ctx.tick()
                assert ctx.get(dut.overflow) == 0
                on_the_way.append(posts)
                arrived = on_the_way.pop(0) if len(on_the_way) >= TOKEN_COUNT else {}
                for token in Token:
                    counts[token] += sum(mask >> token & 1 for mask in arrived.values())
                    counts[token] -= takes[token.waiter] >> token & 1

        simulate(dut, bench)

    def test_a_token_too_many_is_reported_with_its_queue(self):
        dut = TokenCounters()

        async def bench(ctx):
            ctx.set(dut.posts[Queue.STORE], 1 << Token.ACCUMULATORS_FREE)
            for _ in range(isa.TOKEN_MAXIMUM + 2):
                await ctx.tick()
                assert ctx.get(dut.overflow) == 0
            await ctx.tick()
            assert ctx.get(dut.overflow) == 1 << Queue.STORE
            ctx.set(dut.posts[Queue.STORE], 0)
            ctx.set(dut.clear, 1)
            await ctx.tick().repeat(2)
            assert (ctx.get(dut.overflow), ctx.get(dut.present)) == (0, 0)

        simulate(dut, bench)


class TestQueue:
    def test_order_tokens_and_timing(self):
        dut = InstructionQueue(design=design(), queue=Queue.STORE)

        async def bench(ctx):
            ctx.set(dut.i.valid, 1)
            for index, wait in enumerate([0, 0b01]):
                ctx.set(dut.i.payload, {"wait": wait, "command": {"index": index}})
                await ctx.tick()
            ctx.set(dut.i.valid, 0)
            # The first was the head QUEUE_HEAD cycles after it came, is checked for QUEUE_CHECK, and is at the output one later.
            for _ in range(QUEUE_HEAD + QUEUE_CHECK - 1):
                assert not ctx.get(dut.o.valid)
                await ctx.tick()
            assert (ctx.get(dut.o.valid), ctx.get(dut.o.payload.index)) == (1, 0)
            for _ in range(QUEUE_HEAD - 1):
                assert not ctx.get(dut.head)
                await ctx.tick()
            assert (ctx.get(dut.head), ctx.get(dut.index), ctx.get(dut.waiting)) == (1, 1, 1)
            ctx.set(dut.o.ready, 1)
            await ctx.tick().repeat(3)
            assert not ctx.get(dut.o.valid)
            ctx.set(dut.present, 0b01)
            for _ in range(QUEUE_CHECK + 1):
                assert (ctx.get(dut.o.valid), ctx.get(dut.take)) == (0, 0)
                await ctx.tick()
            assert (ctx.get(dut.o.valid), ctx.get(dut.o.payload.index), ctx.get(dut.take)) == (1, 1, 0b01)
            await ctx.tick()
            assert (ctx.get(dut.empty), ctx.get(dut.take)) == (1, 0)

        simulate(dut, bench)


class TestExecute:
    def test_a_fault_names_the_command_that_ends_a_cycle_later(self):
        """Two are in the core; the older ends as the younger's fault is told."""
        dut = ExecuteUnit(design=design())

        async def bench(ctx):
            ctx.set(dut.core.ready, 1)
            ctx.set(dut.command.valid, 1)
            for index in (5, 6, 7):
                ctx.set(dut.command.payload, {"post": 1 << index, "index": index})
                await ctx.tick()
            ctx.set(dut.command.valid, 0)
            ctx.set(dut.ended, 1)
            ctx.set(dut.wrong, 1)
            await ctx.tick()
            ctx.set(dut.wrong, 0)
            assert (ctx.get(dut.finished), ctx.get(dut.fault)) == (1, 0)
            assert (ctx.get(dut.post), ctx.get(dut.index)) == (1 << 5, 5)
            await ctx.tick()
            assert (ctx.get(dut.finished), ctx.get(dut.fault), ctx.get(dut.code)) == (0, 1, Error.LOCAL)
            assert (ctx.get(dut.post), ctx.get(dut.index)) == (0, 6)
            await ctx.tick()
            assert (ctx.get(dut.finished), ctx.get(dut.fault), ctx.get(dut.index)) == (1, 0, 7)
            assert not ctx.get(dut.pending)

        simulate(dut, bench)


class TestWatchdog:
    def test_barks_after_the_limit_and_names_the_oldest(self):
        dut = Watchdog()

        async def bench(ctx):
            ctx.set(dut.limit, 10)
            ctx.set(dut.heads, 0b111)
            for queue, index in zip(Queue, (9, 5, 7), strict=True):
                ctx.set(dut.indices[queue], index)
            ctx.set(dut.progress, 1)
            await ctx.tick().repeat(3)
            ctx.set(dut.progress, 0)
            for _ in range(10):
                await ctx.tick()
                assert not ctx.get(dut.barks)
            await ctx.tick()
            assert (ctx.get(dut.barks), ctx.get(dut.queue), ctx.get(dut.index)) == (1, Queue.EXECUTE, 5)
            await ctx.tick()
            assert not ctx.get(dut.barks)

        simulate(dut, bench)

    def test_zero_never_barks(self):
        dut = Watchdog()

        async def bench(ctx):
            for _ in range(50):
                await ctx.tick()
                assert not ctx.get(dut.barks)

        simulate(dut, bench)
