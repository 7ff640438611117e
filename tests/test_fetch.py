# amaranth: UnusedElaboratable=no
"""Fetch and decoder: a program's words come in order, and each goes to its queue, or is refused."""

import random

import pytest
from amaranth.sim import Simulator
from control_bench import design, simulate
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.control import isa
from hw.control.decode import Decoder
from hw.control.fetch import Fetch
from hw.control.isa import Error, Opcode, Queue, Token
from hw.timing import DECODE, PROGRAM_CHECK


def known(count):
    """The operations of a design with so many settings."""
    return list(Opcode) if count else [Opcode.LOAD, Opcode.EXECUTE, Opcode.STORE]


def random_word(draw, count):
    """A well-formed instruction of the design with ``count`` settings, as values."""
    opcode = draw(st.sampled_from(known(count)))
    own = sum(1 << token for token in Token if token.waiter is opcode.queue)
    small = {
        "memory_address": (1 << 32) - 1, "memory_stride": (1 << 32) - 1, "row_bytes": (1 << 24) - 1, "rows": 65535,
        "local_stride": 65535, "local_address": 1023, "activations_address": 1023, "weights_address": 1023,
        "accumulators_address": 63, "activations_stride": 65535, "row_tiles": 65535, "column_tiles": 65535,
        "accumulate": 1, "depth_tiles": (1 << 24) - 1, "accumulators_stride": 65535, "columns": 65535,
        "parameters_address": 31, "post": 255, "variant": {Opcode.LOAD: 2, Opcode.STORE: 1}.get(opcode, 0),
        "setting": count - 1, "value": (1 << 32) - 1,
    }  # fmt: skip
    values = {"wait": draw(st.integers(0, 255)) & own}
    for item in isa.FIELDS[opcode]:
        if item.name in small:
            low = int(item.range is isa.Range.COUNT)
            values[item.name] = draw(st.integers(low, small[item.name]))
    return opcode, values


class TestDecoder:
    @settings(max_examples=25)
    @given(st.data())
    def test_fields_reach_their_queue(self, data):
        count = data.draw(st.sampled_from([0, 1, 3, 4]))
        words = [random_word(data.draw, count) for _ in range(4)]
        dut = Decoder(design=design(settings=count))

        async def bench(ctx):
            for index, (opcode, values) in enumerate(words):
                word = int.from_bytes(isa.assemble(opcode, **values), "little")
                ctx.set(dut.i.payload, {"word": word, "index": index})
                ctx.set(dut.i.valid, 1)
                await ctx.tick()
                ctx.set(dut.i.valid, 0)
                for _ in range(DECODE - 1):
                    assert not any(ctx.get(getattr(dut, queue.name.lower()).valid) for queue in Queue)
                    await ctx.tick()
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
                target = entry.command.operands if opcode.queue is Queue.EXECUTE else entry.command
                if count and opcode.queue is Queue.EXECUTE:
                    assert ctx.get(target.configure) == (opcode is Opcode.CONFIGURE)
                for name in target.shape().members:
                    if name in values:
                        assert ctx.get(target[name]) == values[name], name
                ctx.set(port.ready, 1)
                await ctx.tick()
                ctx.set(port.ready, 0)

        simulate(dut, bench)

    @settings(max_examples=30)
    @given(st.data())
    def test_one_wrong_field_is_refused(self, data):
        count = data.draw(st.sampled_from([0, 1, 3, 4]))
        opcode, values = random_word(data.draw, count)
        kinds = ["opcode", "variant", "reserved", "wait", "range", "zero"]
        wrong = data.draw(st.sampled_from(kinds[:-1] if opcode is Opcode.CONFIGURE else kinds))
        code = Error.OPCODE if wrong in ("opcode", "variant") else Error.FIELD
        if wrong == "variant":
            values["variant"] = data.draw(st.integers({Opcode.LOAD: 3, Opcode.STORE: 2}.get(opcode, 1), 255))
        if wrong == "wait":
            values["wait"] |= 1 << data.draw(
                st.sampled_from([t for t in Token if t.waiter is not opcode.queue])
            )
        if wrong == "zero":
            values[
                data.draw(st.sampled_from([f.name for f in isa.FIELDS[opcode] if f.range is isa.Range.COUNT]))
            ] = 0
        if wrong == "range":
            name, least, bits = {
                Opcode.LOAD: ("local_address", 1 << 10, 32),
                Opcode.EXECUTE: ("depth_tiles", 1 << 24, 32),
                Opcode.STORE: ("parameters_address", 1 << 5, 16),
                Opcode.CONFIGURE: ("setting", count, 16),
            }[opcode]
            values[name] = data.draw(st.integers(least, (1 << bits) - 1))
        word = int.from_bytes(isa.assemble(opcode, **values), "little")
        if wrong == "opcode":
            word = word & ~0xFF | data.draw(st.integers(0, 255).filter(lambda b: b not in known(count)))
        if wrong == "reserved":
            word |= 1 << data.draw(st.integers(224, 255))
        dut = Decoder(design=design(settings=count))

        async def bench(ctx):
            ctx.set(dut.i.payload, {"word": word, "index": 77})
            ctx.set(dut.i.valid, 1)
            await ctx.tick()
            ctx.set(dut.i.valid, 0)
            for _ in range(DECODE):
                assert not ctx.get(dut.fault)
                await ctx.tick()
            assert (ctx.get(dut.fault), ctx.get(dut.code), ctx.get(dut.index)) == (1, code, 77)
            assert not any(ctx.get(getattr(dut, queue.name.lower()).valid) for queue in Queue)
            ctx.set(dut.clear, 1)
            await ctx.tick()
            assert not ctx.get(dut.fault)

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
