# amaranth: UnusedElaboratable=no
"""Control: registers, decoder, tokens, queues, fetch, watchdog; each against the table or text that defines it."""

import random

import pytest
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.control import isa, registers
from hw.control.axi_lite import OKAY, SLVERR, RegisterPort
from hw.control.decode import Decoder
from hw.control.fetch import Fetch
from hw.control.isa import Error, Opcode, Queue, Token
from hw.control.queue import InstructionQueue
from hw.control.run import Watchdog
from hw.control.tokens import TokenCounters
from hw.design import Design, Geometry
from hw.timing import PROGRAM_CHECK, TOKEN


def design(data_bytes=8, address_width=32):
    geometry = Geometry(
        tile_rows=4,
        columns=4,
        tile_depth=1,
        activation_bytes=data_bytes,
        weight_bytes=data_bytes,
        weight_words=1,
    )
    return Design(
        geometry=geometry,
        data_bytes=data_bytes,
        address_width=address_width,
        burst_beats=16,
        outstanding=2,
        activation_words=1024,
        weight_words=1024,
        accumulator_rows=64,
        parameter_entries=32,
        output_lanes=1,
        queue_depth=2,
    )


def simulate(component, testbench):
    simulator = Simulator(component)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()


async def write(ctx, bus, address, value, strobe=0b1111):
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


class TestRegisters:
    def test_every_register_answers_as_the_table_says(self):
        dut = RegisterPort(configuration=0xC0FFEE)

        async def bench(ctx):
            for register in registers.REGISTERS:
                value, response = await read(ctx, dut.bus, register.offset)
                wanted = 0xC0FFEE if register.name == "configuration" else register.reset
                assert (value, response) == (wanted, OKAY), register
                writable = register.access is not registers.Access.RO
                assert await write(ctx, dut.bus, register.offset, 0x5A5A5A5A & ~1) == (
                    OKAY if writable else SLVERR
                )
                value, _ = await read(ctx, dut.bus, register.offset)
                kept = register.access is registers.Access.RW and register.name != "status"
                assert value == (0x5A5A5A5A if kept else wanted), register

        simulate(dut, bench)

    def test_unmapped_misaligned_and_partial_accesses_are_refused(self):
        dut = RegisterPort()
        mapped = {register.offset for register in registers.REGISTERS}

        async def bench(ctx):
            for address in range(256):
                if address not in mapped:
                    assert (await read(ctx, dut.bus, address))[1] == SLVERR
                    assert await write(ctx, dut.bus, address, 1) == SLVERR
            watchdog = registers.BY_NAME["watchdog"]
            assert await write(ctx, dut.bus, watchdog.offset, 7, strobe=0b0111) == SLVERR
            assert await read(ctx, dut.bus, watchdog.offset) == (watchdog.reset, OKAY)

        simulate(dut, bench)

    def test_start_is_one_pulse_and_refused_while_busy(self):
        dut = RegisterPort()
        control = registers.BY_NAME["control"].offset
        pulses = []

        async def bench(ctx):
            assert await write(ctx, dut.bus, control, 0) == OKAY
            assert await write(ctx, dut.bus, control, 1) == OKAY
            ctx.set(dut.busy, 1)
            assert await write(ctx, dut.bus, control, 1) == SLVERR
            assert await write(ctx, dut.bus, registers.BY_NAME["watchdog"].offset, 3) == SLVERR
            assert await write(ctx, dut.bus, registers.BY_NAME["status"].offset, 0) == OKAY
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

    def test_configuration_is_checked(self):
        with pytest.raises(ValueError, match="configuration must be 0 to"):
            RegisterPort(configuration=1 << 32)


def random_word(draw):
    """A well-formed instruction of the design above, as values."""
    opcode = draw(st.sampled_from(list(Opcode)))
    own = sum(1 << token for token in Token if token.waiter is opcode.queue)
    small = {
        "memory_address": (1 << 32) - 1, "memory_stride": (1 << 32) - 1, "row_bytes": (1 << 24) - 1, "rows": 65535,
        "local_stride": 65535, "local_address": 1023, "activations_address": 1023, "weights_address": 1023,
        "accumulators_address": 63, "activations_stride": 65535, "row_tiles": 65535, "column_tiles": 65535,
        "accumulate": 1, "depth_tiles": (1 << 24) - 1, "accumulators_stride": 65535, "columns": 65535,
        "parameters_address": 31, "post": 255, "variant": {Opcode.LOAD: 2, Opcode.EXECUTE: 0, Opcode.STORE: 1}[opcode],
    }  # fmt: skip
    values = {"wait": draw(st.integers(0, 255)) & own}
    for item in isa.FIELDS[opcode]:
        if item.name in small:
            low = int(item.range is isa.Range.COUNT)
            values[item.name] = draw(st.integers(low, small[item.name]))
    return opcode, values


class TestDecoder:
    @settings(max_examples=40)
    @given(st.data())
    def test_fields_reach_their_queue(self, data):
        words = [random_word(data.draw) for _ in range(4)]
        dut = Decoder(design=design())

        async def bench(ctx):
            for index, (opcode, values) in enumerate(words):
                word = int.from_bytes(isa.assemble(opcode, **values), "little")
                ctx.set(dut.i.payload, {"word": word, "index": index})
                ctx.set(dut.i.valid, 1)
                await ctx.tick()
                ctx.set(dut.i.valid, 0)
                for queue in Queue:
                    port = getattr(dut, queue.name.lower())
                    assert ctx.get(port.valid) == (queue is opcode.queue)
                assert not ctx.get(dut.fault)
                port = getattr(dut, opcode.queue.name.lower())
                entry = port.payload
                own = [token for token in Token if token.waiter is opcode.queue]
                assert ctx.get(entry.wait) == values["wait"] >> own[0]
                assert ctx.get(entry.command.index) == index
                assert ctx.get(entry.command.post) == values["post"]
                target = entry.command.operands if opcode is Opcode.EXECUTE else entry.command
                for name in target.shape().members:
                    if name in values:
                        assert ctx.get(target[name]) == values[name], name
                ctx.set(port.ready, 1)
                await ctx.tick()
                ctx.set(port.ready, 0)

        simulate(dut, bench)

    @settings(max_examples=60)
    @given(st.data())
    def test_one_wrong_field_is_refused(self, data):
        opcode, values = random_word(data.draw)
        wrong = data.draw(st.sampled_from(["opcode", "variant", "reserved", "wait", "zero", "range"]))
        code = Error.OPCODE if wrong in ("opcode", "variant") else Error.FIELD
        if wrong == "variant":
            values["variant"] = data.draw(
                st.integers(values["variant"] + 1 if opcode is not Opcode.LOAD else 3, 255)
            )
            values["variant"] = max(
                values["variant"], {Opcode.LOAD: 3, Opcode.EXECUTE: 1, Opcode.STORE: 2}[opcode]
            )
        if wrong == "wait":
            values["wait"] |= 1 << data.draw(
                st.sampled_from([t for t in Token if t.waiter is not opcode.queue])
            )
        if wrong == "zero":
            values[
                data.draw(st.sampled_from([f.name for f in isa.FIELDS[opcode] if f.range is isa.Range.COUNT]))
            ] = 0
        if wrong == "range":
            name = {
                Opcode.LOAD: "local_address",
                Opcode.EXECUTE: "depth_tiles",
                Opcode.STORE: "parameters_address",
            }
            values[name[opcode]] = 1 << (24 if opcode is Opcode.EXECUTE else 11)
        word = int.from_bytes(isa.assemble(opcode, **values), "little")
        if wrong == "opcode":
            word = word & ~0xFF | data.draw(st.integers(0, 255).filter(lambda b: b not in list(Opcode)))
        if wrong == "reserved":
            word |= 1 << data.draw(st.integers(224, 255))
        dut = Decoder(design=design())

        async def bench(ctx):
            ctx.set(dut.i.payload, {"word": word, "index": 77})
            ctx.set(dut.i.valid, 1)
            await ctx.tick()
            ctx.set(dut.i.valid, 0)
            assert (ctx.get(dut.fault), ctx.get(dut.code), ctx.get(dut.index)) == (1, code, 77)
            assert not any(ctx.get(getattr(dut, queue.name.lower()).valid) for queue in Queue)
            ctx.set(dut.clear, 1)
            await ctx.tick()
            assert not ctx.get(dut.fault)

        simulate(dut, bench)


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
                arrived = on_the_way.pop(0) if len(on_the_way) >= TOKEN else {}
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
            # The first was the head one cycle after it came, is checked for one, and is at the output one later.
            assert not ctx.get(dut.o.valid)
            await ctx.tick()
            assert (ctx.get(dut.o.valid), ctx.get(dut.o.payload.index)) == (1, 0)
            assert (ctx.get(dut.head), ctx.get(dut.index), ctx.get(dut.waiting)) == (1, 1, 1)
            ctx.set(dut.o.ready, 1)
            await ctx.tick().repeat(3)
            assert not ctx.get(dut.o.valid)
            ctx.set(dut.present, 0b01)
            assert ctx.get(dut.take) == 0
            await ctx.tick()
            assert ctx.get(dut.take) == 0b01
            await ctx.tick()
            assert (ctx.get(dut.o.valid), ctx.get(dut.o.payload.index), ctx.get(dut.take)) == (1, 1, 0)
            await ctx.tick()
            assert ctx.get(dut.empty)

        simulate(dut, bench)


class TestFetch:
    @pytest.mark.parametrize("data_bytes", [4, 8, 32, 64])
    @pytest.mark.parametrize("length", [1, 3, 4, 21])
    def test_hands_over_the_program_in_order(self, data_bytes, length):
        rng = random.Random(length)
        program = [rng.getrandbits(256) for _ in range(length)]
        image = b"".join(word.to_bytes(32, "little") for word in program) + bytes(data_bytes)
        dut = Fetch(address_width=32, data_bytes=data_bytes)
        base, seen, requests = 0x1F80, [], []

        async def memory(ctx):
            while True:
                while not ctx.get(dut.ar.valid):
                    await ctx.tick()
                payload = ctx.get(dut.ar.payload)
                requests.append((payload.address, payload.length))
                ctx.set(dut.ar.ready, 1)
                await ctx.tick()
                ctx.set(dut.ar.ready, 0)
                for k in range(payload.length + 1):
                    offset = payload.address - base + k * data_bytes
                    ctx.set(dut.beats.data, int.from_bytes(image[offset : offset + data_bytes], "little"))
                    ctx.set(dut.beats.valid, 1)
                    await ctx.tick()
                ctx.set(dut.beats.valid, 0)

        async def bench(ctx):
            ctx.set(dut.program_address, base)
            ctx.set(dut.program_length, length)
            ctx.set(dut.window_last, base + 32 * length - 1)
            ctx.set(dut.start, 1)
            await ctx.tick()
            ctx.set(dut.start, 0)
            for _ in range(PROGRAM_CHECK - 1):
                assert not ctx.get(dut.ar.valid)
                await ctx.tick()
            assert ctx.get(dut.ar.valid)
            while len(seen) < length:
                assert not ctx.get(dut.exhausted)
                ctx.set(dut.o.ready, rng.random() < 0.5)
                if ctx.get(dut.o.valid) and ctx.get(dut.o.ready):
                    seen.append((ctx.get(dut.o.payload.word), ctx.get(dut.o.payload.index)))
                await ctx.tick()
            assert ctx.get(dut.exhausted)
            await ctx.tick().repeat(4)
            assert not ctx.get(dut.o.valid)
            assert ctx.get(dut.idle)

        simulator = Simulator(dut)
        simulator.add_clock(1e-6)
        simulator.add_testbench(bench)
        simulator.add_testbench(memory, background=True)
        simulator.run()
        assert seen == [(word, i) for i, word in enumerate(program)]
        for address, beats in requests:
            assert address % 128 == 0
            assert (beats + 1) * data_bytes <= 128

    @pytest.mark.parametrize(
        ("address", "length", "last"),
        [(0x1010, 1, 0xFFFF), (0x1000, 0, 0xFFFF), (0x1000, 1, 0x101E), (0x80, 1, 0xFFFF), (0xFFFFFF80, 5, 0xFFFFFFFF),
         (1 << 32, 1, 0xFFFF), (0x1000, 1 << 20, 0xFFFFFFFF)],
    )  # fmt: skip
    def test_a_bad_program_is_refused_before_any_read(self, address, length, last):
        dut = Fetch(address_width=32, data_bytes=8)

        async def bench(ctx):
            ctx.set(dut.program_address, address)
            ctx.set(dut.program_length, length)
            ctx.set(dut.window_first, 0x100)
            ctx.set(dut.window_last, last)
            ctx.set(dut.start, 1)
            await ctx.tick()
            ctx.set(dut.start, 0)
            faults = 0
            for _ in range(10):
                await ctx.tick()
                assert not ctx.get(dut.ar.valid)
                if ctx.get(dut.fault):
                    faults += 1
                    assert ctx.get(dut.code) == Error.PROGRAM
            assert faults == 1

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
