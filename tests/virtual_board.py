"""The virtual board that the tests share, a small one, and a client of its bytes."""

from __future__ import annotations

import os
import select
import subprocess
import zlib
from functools import cache

import numpy as np
from link_model import CHECK, READ, WRITE, command

from fpga.soc import registers, virtual
from fpga.soc.registers import ACCELERATOR_BASE, LINK_ERRORS
from gen import config
from hw.control.registers import BY_NAME, STATUS_BUSY, STATUS_DONE

MEMORY, CLOCK, BAUD = 1 << 13, 25_000_000, 1_000_000
SMALL = (
    "array.rows=2",
    "array.columns=2",
    "memory.activations_kib=1",
    "memory.weights_kib=1",
    "memory.accumulators=64",
    "memory.parameters=32",
)
ERRORS = {name: 1 << bit for bit, (name, _) in enumerate(LINK_ERRORS)}
LIMIT = 300
"""Seconds in which anything must be answered."""


@cache
def board(width):
    """A configuration, and the program of the board around it."""
    loaded = config.load("systolic-4x4", [*SMALL, f"bus.data_width={width}"])
    memory = virtual.block_memory(loaded, memory_bytes=MEMORY)
    return loaded, virtual.program(loaded, memory=memory, clock_hz=CLOCK, baud=BAUD)


class Client:
    """Commands and answers through pipes."""

    def __init__(self, program, *arguments):
        self._process = subprocess.Popen(
            [program, "0", "1", *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.communicate()

    def send(self, data):
        self._process.stdin.write(data)

    def receive(self, count):
        data = b""
        while len(data) < count:
            if not self.answers(LIMIT):
                raise TimeoutError(f"no answer within {LIMIT} s")
            part = os.read(self._process.stdout.fileno(), count - len(data))
            assert part, "the board has gone"
            data += part
        return data

    def answers(self, seconds):
        """Whether anything comes within that time."""
        return bool(select.select([self._process.stdout], [], [], seconds)[0])

    def end(self):
        """End the input; all that still comes, and the exit status."""
        rest, _ = self._process.communicate(timeout=LIMIT)
        return rest, self._process.returncode

    def read(self, address, count=1):
        words = []
        for first in range(0, count, 255):
            part = min(255, count - first)
            self.send(command(READ, address + 4 * first, count=part))
            words.append(np.frombuffer(self.receive(4 * part), ">u4").astype(np.uint32))
        return np.concatenate(words)

    def write(self, address, words):
        for first in range(0, len(words), 255):
            part = words[first : first + 255]
            self.send(command(WRITE, address + 4 * first, words=[int(word) for word in part]))

    def shown(self, name):
        return int(self.read(registers.address(name))[0])

    def put(self, name, value):
        self.write(registers.address(name), [value])

    def register(self, name):
        return int(self.read(ACCELERATOR_BASE + BY_NAME[name].offset)[0])

    def set(self, name, value):
        names = [(name, value)]
        if name + "_low" in BY_NAME:
            names = [(f"{name}_low", value & 0xFFFFFFFF), (f"{name}_high", value >> 32)]
        for one, word in names:
            self.write(ACCELERATOR_BASE + BY_NAME[one].offset, [word])

    def check(self, address, count):
        """CRC-32 of ``count`` words, 255 at most, as the board works it out."""
        self.send(command(CHECK, address, count=count))
        return int.from_bytes(self.receive(4), "big")

    def checked(self, address, data):
        """Whether the memory has ``data``."""
        parts = [(first, data[first : first + 1020]) for first in range(0, len(data), 1020)]
        return all(self.check(address + first, len(part) // 4) == zlib.crc32(part) for first, part in parts)

    def run(self, ready):
        """Upload, run, download: the memory and the cycles."""
        image = np.pad(ready.image, (0, -len(ready.image) % 4))
        self.write(ready.program.base, image.view("<u4"))
        assert self.checked(ready.program.base, image.tobytes())
        for name, value in ready.program.registers.items():
            self.set(name, value)
        self.set("control", 1)
        while self.register("status") >> STATUS_BUSY & 1:
            pass
        assert self.register("status") == 1 << STATUS_DONE
        memory = self.read(ready.program.base, len(image) // 4).astype("<u4").view(np.uint8)
        return memory[: len(ready.image)], self.register("cycles")
