# amaranth: UnusedElaboratable=no
"""The compiled virtual board: a GEMM in the cycles that the model says, any bytes, silence."""

from __future__ import annotations

import random
import threading
import time
import zlib

import numpy as np
import pytest
from link_model import READ, WRITE, Board, LinkModel, command
from virtual_board import BAUD, CLOCK, ERRORS, LIMIT, MEMORY, Client, board

from fpga.soc import registers
from fpga.soc.memory import memory_timing
from fpga.soc.registers import ACCELERATOR_BASE
from gen.cases import Case, prepare
from hw.control.isa import OutputMode
from hw.control.registers import BY_NAME
from sim.cycles.program import predict
from tests.formal import later

COUNTED = (MEMORY // 4).bit_length()
"""Bits of a word's address that count on: one more than the memory has."""


@pytest.mark.parametrize("width", [32, *later(64, 128)])
def test_gemm_in_the_predicted_cycles(width):
    loaded, program = board(width)
    cases = [Case((5, 9, 6)), Case((3, 70, 11), OutputMode.REQUANTISED, seed=2)]
    with Client(program) as client:
        identity = [
            registers.MAGIC,
            registers.VERSION,
            *registers.digest_words(loaded.digest),
            CLOCK,
            MEMORY,
            BAUD,
        ]
        assert client.read(registers.BOARD_BASE, 13).tolist() == identity
        for case in cases:
            ready = prepare(loaded, case)
            memory, cycles = client.run(ready)
            np.testing.assert_array_equal(ready.program.read_output(memory), ready.load.golden())
            assert ready.program.damaged(memory) is None
            law = loaded.instance.model().law()
            predicted = predict(
                loaded.design(), law, ready.program.instructions, memory_timing(), image=ready.image
            )
            assert cycles == predicted.cycles
        assert client.shown("link_errors") == 0
        assert client.end() == (b"", 0)


def test_checks_registers_and_reset():
    _, program = board(32)
    data = np.frombuffer(random.Random(2).randbytes(MEMORY), "<u4")
    with Client(program) as client:
        client.write(0, data)
        for address, count in ((0, 1), (4, 0), (8, 100), (MEMORY - 1020, 255), (MEMORY - 4, 1)):
            assert client.check(address, count) == zlib.crc32(data.tobytes()[address : address + 4 * count])
        assert client.checked(0, data.tobytes())
        assert client.shown("link_errors") == 0
        # Words that are not there count as 0.
        assert client.check(MEMORY - 4, 2) == zlib.crc32(data.tobytes()[-4:] + bytes(4))
        assert client.shown("link_errors") == ERRORS["unmapped"]
        client.put("link_errors", 0)
        client.put("magic", 1)
        assert client.shown("magic") == registers.MAGIC
        assert client.shown("link_errors") == ERRORS["unmapped"]
        client.put("link_errors", 0)
        # The accelerator refuses a write to what is read only; reset brings its registers back and leaves the memory.
        client.set("magic", 1)
        client.send(command(READ, ACCELERATOR_BASE + 0xF0) + command(READ, ACCELERATOR_BASE + 0x100))
        assert client.receive(8) == bytes(8)
        assert client.shown("link_errors") == ERRORS["refused"] | ERRORS["unmapped"]
        client.set("watchdog", 77)
        assert client.register("watchdog") == 77
        client.put("reset", 1)
        assert client.register("watchdog") == BY_NAME["watchdog"].reset
        np.testing.assert_array_equal(client.read(0, MEMORY // 4), data)
        assert client.checked(0, data.tobytes())


@pytest.mark.long
def test_silence_forgets_half_a_command():
    _, program = board(32)
    with Client(program) as client:
        assert client.shown("magic") == registers.MAGIC
        client.send(command(WRITE, 0, words=[1, 2, 3])[:-5])
        end = time.monotonic() + LIMIT
        # The board's clock is its own: ask until it has forgotten.
        while True:
            time.sleep(0.5)
            client.send(command(READ, registers.address("magic")))
            if client.answers(0.5):
                break
            assert time.monotonic() < end
        assert client.receive(4) == registers.MAGIC.to_bytes(4, "big")
        assert client.shown("link_errors") & ERRORS["forgotten"]
        assert client.read(0, 1).tolist() == [1]


def biased(generator, number):
    """Commands of all kinds, near the edges of things, cut short and with garbage between, then the way back."""
    data = bytearray()
    while len(data) < number:
        address = generator.choice((0, MEMORY, 1 << 31, 0xF000_0000, 0xFFFF_FFFC, 0xEFFF_FFF0)) + 4 * (
            generator.randint(-3, 12)
        )
        if generator.random() < 0.4:
            address = 4 * generator.randrange(MEMORY // 2)
        code, words = generator.randint(1, 5), generator.choice((0, 1, 1, 2, 5, 40))
        address = max(0, min(address, 0xF000_0034)) & ~3
        if code in (2, 4, 5):
            one = command(code, address, count=words)
        else:
            one = command(code, address, words=[generator.getrandbits(32) for _ in range(words)])
        if generator.random() < 0.1:
            one = one[: generator.randrange(len(one))] + generator.randbytes(3)
        data += one if words or code in (2, 4, 5) else one[:1] + bytes([0]) + one[2:]
    return bytes(data)


def flood(data, *, size=MEMORY):
    """Send ``data`` and what brings the link back: answers and memory are those of the model."""
    loaded, program = board(32)
    words = Board(size, clock_hz=CLOCK, baud=BAUD, memory_timing=registers.timing_word(memory_timing()))
    words.registers |= {f"digest{i}": word for i, word in enumerate(registers.digest_words(loaded.digest))}
    model = LinkModel(words, counted=COUNTED)
    data += bytes(1030) + b"".join(command(READ, first, count=128) for first in range(0, size, 512))
    wanted = model.take(data)
    with Client(program) as client:
        sender = threading.Thread(target=client.send, args=(data,), daemon=True)
        sender.start()
        got = client.receive(len(wanted))
        sender.join()
        assert got[-size:] == wanted[-size:]
        assert got == wanted
        assert client.shown("link_errors") == words.errors
        assert client.end() == (b"", 0)
    return model


def harmless(make, seed):
    """Bytes that do not reach the accelerator, whose answers the model cannot say."""
    for attempt in range(100):
        data = make(random.Random(1000 * seed + attempt))
        try:
            LinkModel(Board(MEMORY), counted=COUNTED).take(data + bytes(1030))
        except NotImplementedError:
            continue
        return data
    raise AssertionError("no such bytes")


def test_any_commands_are_answered_as_the_protocol_says():
    model = flood(harmless(lambda generator: biased(generator, 3000), 1))
    assert len(model.words.accesses) > 300
    assert any(model.words.memory)


@pytest.mark.parametrize("number", [10_000, *later(1_000_000)])
def test_random_bytes(number):
    """Nothing hangs, and no byte of the memory is other than the protocol says."""
    flood(harmless(lambda generator: generator.randbytes(number), 2))


@pytest.mark.long
def test_random_bytes_at_the_accelerator():
    """Starts, resets and programs of garbage: whatever happens, the link answers."""
    _, program = board(32)
    generator = random.Random(4)
    with Client(program) as client:
        for _ in range(300):
            data = b""
            for _ in range(30):
                base = generator.choice((ACCELERATOR_BASE, registers.BOARD_BASE, 0))
                words = [generator.choice((0, 1, 0xFFFFFFFF, generator.getrandbits(14))) for _ in range(3)]
                data += command(generator.choice((WRITE, 3)), base + 4 * generator.randrange(30), words=words)
            client.send(data)
            assert client.shown("magic") == registers.MAGIC
        client.put("reset", 1)
        client.put("link_errors", 0)
        loaded, _ = board(32)
        ready = prepare(loaded, Case((5, 9, 6)))
        memory, _ = client.run(ready)
        np.testing.assert_array_equal(ready.program.read_output(memory), ready.load.golden())
