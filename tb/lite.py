"""AXI4-Lite master for the test bench: one access at a time."""

from __future__ import annotations

from cocotb.triggers import RisingEdge

_OKAY = 0


class BusError(Exception):
    """A register access was answered with an error."""


class LiteMaster:
    """Reads and writes registers through the pins ``<prefix>_*`` of ``dut``."""

    def __init__(self, dut, clock, prefix: str):
        self._clock = clock
        self._pin = lambda name: getattr(dut, f"{prefix}_{name}")
        for name in ("awvalid", "awprot", "wvalid", "wstrb", "bready", "arvalid", "arprot", "rready"):
            self._pin(name).value = 0
        for name in ("awaddr", "wdata", "araddr"):
            self._pin(name).value = 0

    async def _until(self, *names: str) -> None:
        """Hold each ``<name>valid`` until its handshake."""
        waiting = set(names)
        while waiting:
            await RisingEdge(self._clock)
            for name in sorted(waiting):
                if int(self._pin(name + "ready").value):
                    self._pin(name + "valid").value = 0
                    waiting.discard(name)

    async def _answer(self, name: str) -> int:
        """Take the answer on channel ``name``; its response code."""
        self._pin(name + "ready").value = 1
        while True:
            await RisingEdge(self._clock)
            if int(self._pin(name + "valid").value):
                self._pin(name + "ready").value = 0
                return int(self._pin(name + "resp").value)

    async def write(self, address: int, value: int) -> None:
        """Write a register; raises ``BusError`` when it is refused."""
        self._pin("awaddr").value = address
        self._pin("awvalid").value = 1
        self._pin("wdata").value = value
        self._pin("wstrb").value = 0xF
        self._pin("wvalid").value = 1
        await self._until("aw", "w")
        if (response := await self._answer("b")) != _OKAY:
            raise BusError(f"write of {value:#x} to register {address:#x} was answered with {response}")

    async def read(self, address: int) -> int:
        """Value of a register; raises ``BusError`` when it is refused."""
        self._pin("araddr").value = address
        self._pin("arvalid").value = 1
        await self._until("ar")
        self._pin("rready").value = 1
        while True:
            await RisingEdge(self._clock)
            if int(self._pin("rvalid").value):
                value, response = int(self._pin("rdata").value), int(self._pin("rresp").value)
                self._pin("rready").value = 0
                break
        if response != _OKAY:
            raise BusError(f"read of register {address:#x} was answered with {response}")
        return value
