"""cocotbext-axi's AXI slave as the memory: an independent reading of the protocol, with random back-pressure and errors."""

from __future__ import annotations

import logging
import random
import warnings
from collections.abc import Iterator
from pathlib import Path

# cocotbext-axi 0.1.28 uses names that cocotb 2 still has but warns of.
with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from cocotbext.axi import AxiBus, AxiSlave


def pauses(seed: int, channel: str, share: float) -> Iterator[bool]:
    """An endless pattern in which ``share`` of the cycles are pauses, in runs of random length."""
    generator = random.Random(f"{seed} {channel}")
    while True:
        pause = generator.random() < share
        for _ in range(generator.choice((1, 1, 1, 2, 3, 8))):
            yield pause


class ExternalMemory:
    """The memory of one job at a time behind the pins ``m_axi_*`` of ``dut``; made after a first reset."""

    def __init__(self, dut, data_bytes: int):
        warnings.simplefilter("ignore", DeprecationWarning)
        logging.getLogger(f"cocotb.{dut._name}").setLevel(logging.ERROR)
        self._data_bytes = data_bytes
        self._base, self._contents = 0, bytearray()
        self._errors: list[tuple[int, int]] = []
        self._slave = AxiSlave(AxiBus.from_prefix(dut, "m_axi"), dut.clk, dut.rst, target=self)

    def fill(self, number: int, job: dict) -> None:
        """Contents, back-pressure and error ranges of ``job``."""
        self._base = job["base"]
        self._contents = bytearray(Path(f"image{number}.bin").read_bytes())
        self._errors = [tuple(pair) for pair in job["errors"]]
        write, read = self._slave.write_if, self._slave.read_if
        channels = {
            "aw": write.aw_channel, "w": write.w_channel, "b": write.b_channel, "ar": read.ar_channel, "r": read.r_channel
        }  # fmt: skip
        for name, channel in channels.items():
            channel.set_pause_generator(pauses(job["seed"], name, job["stall"]))

    def dump(self, number: int, job: dict) -> None:
        """Write what the job wants to see."""
        first, last = (beat * self._data_bytes for beat in job["dump"])
        Path(f"dump{number}.bin").write_bytes(self._contents[first : last + self._data_bytes])

    def _place(self, address: int, length: int) -> int:
        """Offset of ``address``; raises ``ValueError`` (answered with SLVERR) outside the memory or in an error range."""
        place = address - self._base
        if not 0 <= place <= len(self._contents) - length:
            raise ValueError(f"{address:#x} is outside the memory")
        if any(first <= address + length - 1 and address <= last for first, last in self._errors):
            raise ValueError(f"{address:#x} is in an error range")
        return place

    async def read(self, address: int, length: int) -> bytes:
        """Used by the slave."""
        place = self._place(address, length)
        return bytes(self._contents[place : place + length])

    async def write(self, address: int, data: bytes) -> None:
        """Used by the slave."""
        place = self._place(address, len(data))
        self._contents[place : place + len(data)] = data
