# amaranth: UnusedElaboratable=no
"""The parts of control that issues in order, each against the table or text that defines it."""

import random
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from control_bench import design, simulate
from test_control import write

from hw.control.isa import (
    FIELDS,
    INSTRUCTION_BYTES,
    TOKEN_MAXIMUM,
    Error,
    Opcode,
    Range,
    Token,
    assemble,
    offsets,
)
from hw.control.registers import BY_NAME
from hw.control.run import SETTLING
from hw.in_order.instruction import InstructionRegister
from hw.in_order.registers import RegisterFile
from hw.in_order.tokens import TokenRing
from hw.in_order.watchdog import Watchdog
from hw.timing import IN_ORDER_START, TOKEN_PASS
from sim import interpreter

SEED = 11


def in_order(data_bytes=4, address_width=17, settings=0):
    """A design whose fields are not as wide as they could be."""
    return replace(design(data_bytes, address_width, settings), issue="in-order", queue_depth=0, prefetch=1)


class TestRegisters:
    @pytest.mark.parametrize("width", [16, 17, 32, 40, 64])
    def test_what_the_host_wrote_is_looked_at(self, width):
        bits = in_order(address_width=width).index_bits
        dut = RegisterFile(address_width=width, index_bits=bits)
        rng = random.Random(SEED)

        def drawn(most, least_zeros=0):
            value = rng.getrandbits(rng.choice([most, most, most, most + 1, 64]))
            return value & (1 << 64) - 1 >> least_zeros << least_zeros

        async def bench(ctx):
            for _ in range(25):
                program, first, last = drawn(width, 7), drawn(width), drawn(width)
                length = drawn(bits) & 0xFFFF_FFFF
                for name, value in (
                    ("program_address", program),
                    ("window_first", first),
                    ("window_last", last),
                ):
                    for half, place in (("low", 0), ("high", 32)):
                        word = value >> place & 0xFFFF_FFFF
                        await write(ctx, dut.bus, BY_NAME[f"{name}_{half}"].offset, word, later=0)
                await write(ctx, dut.bus, BY_NAME["program_length"].offset, length, later=0)
                await write(ctx, dut.bus, BY_NAME["control"].offset, 1, later=0)
                cycles = 0
                while not ctx.get(dut.loaded):
                    assert not ctx.get(dut.shown) or ctx.get(dut.limit) == BY_NAME["watchdog"].reset
                    await ctx.tick()
                    cycles += 1
                assert cycles == IN_ORDER_START - 3
                await ctx.tick()
                bad = not 0 < length < 1 << bits or max(program, first) >> width or program % 128
                assert ctx.get(dut.bad) == bool(bad)
                assert ctx.get(dut.window_last) == min(last, (1 << width) - 1)
                assert (ctx.get(dut.shown), ctx.get(dut.limit)) == (1, BY_NAME["watchdog"].reset)
                if not bad:
                    found = ctx.get(dut.before), ctx.get(dut.last), ctx.get(dut.window_first)
                    assert found == ((1 << width - 7) - 1 - (program >> 7), length - 1, first)

        simulate(dut, bench)


class TestTokens:
    def test_counts_like_a_model(self):
        rng = random.Random(SEED)
        dut = TokenRing()

        async def bench(ctx):
            counts, kept = [0] * len(Token), 0
            for number in range(200):
                if number % 40 == 0:
                    ctx.set(dut.clear, 1)
                    await ctx.tick()
                    ctx.set(dut.clear, 0)
                    counts = [0] * len(Token)
                wait, post = rng.getrandbits(8) & rng.getrandbits(8), rng.getrandbits(8)
                ctx.set(dut.load, 1)
                ctx.set(dut.wait, wait)
                ctx.set(dut.post, post)
                overflow = False
                for own, giving in ((0, rng.random() < 0.5), (rng.random() < 0.7, 0)):
                    ctx.set(dut.begin, 1)
                    ctx.set(dut.own, own)
                    ctx.set(dut.kept, giving)
                    given = post * own | kept * giving
                    await ctx.tick()
                    ctx.set(dut.begin, 0)
                    ctx.set(dut.load, 0)
                    for _ in range(TOKEN_PASS):
                        assert ctx.get(dut.passing)
                        await ctx.tick()
                    assert not ctx.get(dut.passing)
                    overflow = False
                    for token in Token:
                        counts[token] += given >> token & 1
                        if wait >> token & 1 and counts[token]:
                            counts[token] -= 1
                            wait ^= 1 << token
                        overflow |= counts[token] > TOKEN_MAXIMUM
                        counts[token] %= TOKEN_MAXIMUM + 1
                    assert (ctx.get(dut.missing), ctx.get(dut.overflow)) == (wait != 0, overflow)
                if rng.random() < 0.5:
                    ctx.set(dut.keep, 1)
                    await ctx.tick()
                    ctx.set(dut.keep, 0)
                    kept = post

        simulate(dut, bench)


def instructions(rng, one):
    """Good ones, and such as have a bit or a field too many."""
    for opcode in Opcode:
        for _ in range(60):
            values, odd = {}, rng.random() < 0.5
            for field in FIELDS[opcode][1:]:
                most = {"wait": 0, "reserved": 0, "variant": 1 if opcode is Opcode.LOAD else 0}.get(
                    field.name, 4
                )
                values[field.name] = rng.getrandbits(1 if field.range is Range.FLAG else most)
                if field.range is Range.COUNT:
                    values[field.name] += 1
                if field.range is Range.SETTING:
                    values[field.name] %= max(1, one.geometry.settings)
                if not odd or rng.random() < 0.8:
                    continue
                implemented = (one.load_fields | one.store_fields | one.execute_fields).get(
                    field.name, field.bits
                )
                bit = rng.choice([0, implemented - 1, implemented, field.bits - 1])
                values[field.name] = 1 << min(field.bits - 1, bit) if rng.random() < 0.8 else 0
            word = assemble(opcode, **values)
            if odd and rng.random() < 0.5:
                place = rng.randrange(8 * INSTRUCTION_BYTES)
                word = (int.from_bytes(word, "little") ^ 1 << place).to_bytes(INSTRUCTION_BYTES, "little")
            yield word


class TestInstruction:
    @pytest.mark.parametrize(
        ("data_bytes", "settings"),
        [
            (4, 0),
            (4, 3),
            pytest.param(8, 4, marks=pytest.mark.long),
            pytest.param(32, 1, marks=pytest.mark.long),
        ],
    )
    def test_refuses_what_the_interpreter_refuses(self, data_bytes, settings):
        one = in_order(data_bytes, settings=settings)
        dut = InstructionRegister(design=one)
        rng = random.Random(SEED)
        endless = SimpleNamespace(activation_bytes=lambda *_: 1 << 40, weight_words=lambda *_: 1 << 40)
        seen = {error: 0 for error in Error}

        async def bench(ctx):
            for word in instructions(rng, one):
                memory = np.zeros(256, np.uint8)
                memory[:INSTRUCTION_BYTES] = np.frombuffer(word, np.uint8)
                wanted = interpreter.run(one, endless, memory, 0, 1, (0, 255)).error
                seen[wanted] += 1
                for place in range(0, INSTRUCTION_BYTES, data_bytes):
                    ctx.set(dut.valid, 1)
                    ctx.set(dut.data, int.from_bytes(word[place : place + data_bytes], "little"))
                    assert ctx.get(dut.first) == (place == 0)
                    assert ctx.get(dut.last) == (place == INSTRUCTION_BYTES - data_bytes)
                    await ctx.tick()
                    ctx.set(dut.valid, 0)
                    for _ in range(rng.choice([0, 0, 1])):
                        await ctx.tick()
                assert ctx.get(dut.unknown) == (wanted is Error.OPCODE), word.hex()
                if wanted is not Error.OPCODE:
                    assert ctx.get(dut.malformed) == (wanted is Error.FIELD), word.hex()
                if wanted not in (Error.OPCODE, Error.FIELD):
                    self.check_fields(ctx, dut, word)

        simulate(dut, bench)
        assert min(seen[Error.OPCODE], seen[Error.FIELD], seen[Error.WATCHDOG] + seen[Error.LOCAL]) > 5

    def check_fields(self, ctx, dut, word):
        opcode, value = Opcode(word[0]), int.from_bytes(word, "little")
        assert ctx.get(dut.queue) == opcode.queue
        command = getattr(dut, opcode.queue.name.lower())
        for name, (first, bits) in offsets(opcode).items():
            if name in command.shape().members and name != "post":
                assert ctx.get(command[name]) == value >> first & (1 << bits) - 1, name
        if "configure" in command.shape().members:
            assert ctx.get(command.configure) == (opcode is Opcode.CONFIGURE)


class TestWatchdog:
    def test_barks_after_the_limit_and_settles(self):
        dut = Watchdog()

        async def bench(ctx):
            ctx.set(dut.shown, 1)
            ctx.set(dut.limit, 10)
            ctx.set(dut.restart, 1)
            await ctx.tick()
            ctx.set(dut.restart, 0)
            for cycle in range(11):
                assert not ctx.get(dut.barks)
                if cycle == 4:  # the host reads: a cycle that does not count
                    ctx.set(dut.shown, 0)
                    ctx.set(dut.limit, 4)
                    await ctx.tick()
                    ctx.set(dut.shown, 1)
                    ctx.set(dut.limit, 10)
                await ctx.tick()
            assert ctx.get(dut.barks)
            ctx.set(dut.quiet, 1)
            assert not ctx.get(dut.barks)
            for _ in range(SETTLING - 11):
                assert not ctx.get(dut.settled)
                await ctx.tick()
            assert ctx.get(dut.settled)

        simulate(dut, bench)

    def test_zero_never_barks(self):
        dut = Watchdog()

        async def bench(ctx):
            ctx.set(dut.shown, 1)
            for _ in range(50):
                await ctx.tick()
                assert not ctx.get(dut.barks)

        simulate(dut, bench)
