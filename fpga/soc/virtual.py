"""A board in simulation, compiled: its link is bytes on file descriptors (``tb/virtual.cpp``)."""

from __future__ import annotations

from pathlib import Path

from fpga.soc.memory import Memory
from fpga.soc.storage import BlockStorage
from fpga.soc.system import ByteSystem, of_config
from gen.config import Config
from gen.verilog import to_verilog
from sim import simulate, verilator

TOP = "gatemill_board"
MAIN = simulate.BENCH / "virtual.cpp"


def block_memory(config: Config, *, memory_bytes: int) -> Memory:
    """A memory in block RAM for the bus of ``config``.

    Raises ``ValueError`` unless ``memory_bytes`` are two beats of the bus or more.
    """
    design = config.design()
    if memory_bytes % design.data_bytes:
        raise ValueError(f"memory_bytes must be a multiple of {design.data_bytes}, not {memory_bytes!r}")
    storage = BlockStorage(beats=memory_bytes // design.data_bytes, data_bytes=design.data_bytes)
    return Memory(storage=storage, address_width=design.address_width)


def program(
    config: Config, *, memory: Memory, clock_hz: int, baud: int, notify: verilator.Notify | None = None
) -> Path:
    """The virtual board's program, whose arguments are two file descriptors: bytes from the host, bytes to the host.

    Raises
    ------
    sim.tools.ToolError
        A tool is missing or failed.
    """
    system = of_config(ByteSystem, config, memory=memory, clock_hz=clock_hz, baud=baud)
    text = to_verilog(system, name=TOP, notify=notify)
    return verilator.build({"design.v": text}, top=TOP, main=MAIN, vpi=False, notify=notify)
