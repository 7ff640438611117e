# amaranth: UnusedElaboratable=no
"""A board in simulation, compiled: its link is bytes on file descriptors (``tb/virtual.cpp``)."""

from __future__ import annotations

from pathlib import Path

from fpga.soc.memory import Memory
from fpga.soc.sdram import Sdram
from fpga.soc.sdram_part import SdramPart
from fpga.soc.storage import BlockStorage
from fpga.soc.system import BoardMemory, ByteSystem, of_config
from gen.config import Config
from gen.verilog import to_verilog
from sim import simulate, verilator

TOP = "gatemill_board"
MAIN = simulate.BENCH / "virtual.cpp"
SDRAM_TOP = "board_sdram"


def block_memory(config: Config, *, memory_bytes: int) -> Memory:
    """A memory in block RAM for the bus of ``config``.

    Raises ``ValueError`` unless ``memory_bytes`` are two beats of the bus or more.
    """
    design = config.design()
    if memory_bytes % design.data_bytes:
        raise ValueError(f"memory_bytes must be a multiple of {design.data_bytes}, not {memory_bytes!r}")
    storage = BlockStorage(beats=memory_bytes // design.data_bytes, data_bytes=design.data_bytes)
    return Memory(storage=storage, address_width=design.address_width)


def sdram_memory(config: Config, *, part: SdramPart, clock_hz: int) -> Sdram:
    """A memory in ``part`` for the bus of ``config``.

    Raises ``ValueError`` when the part cannot have that clock.
    """
    design = config.design()
    return Sdram(
        part=part,
        clock_hz=clock_hz,
        data_bytes=design.data_bytes,
        address_width=design.address_width,
        outstanding=design.outstanding,
    )


def sdram_parameters(memory: Sdram) -> dict[str, int]:
    """Those of ``tb/sdram.v`` for the part of ``memory``."""
    part = memory.part
    sizes = {"ROW_BITS": part.row_bits, "COLUMN_BITS": part.column_bits}
    return sizes | {name.upper(): value for name, value in memory.cycles.items()}


def program(
    config: Config, *, memory: BoardMemory, clock_hz: int, baud: int, notify: verilator.Notify | None = None
) -> Path:
    """The virtual board's program, whose arguments are two file descriptors: bytes from the host, bytes to the host.

    An SDRAM is that of ``tb/sdram.v``; the program ends when it is used as it must not be.

    Raises
    ------
    sim.tools.ToolError
        A tool is missing or failed.
    """
    system = of_config(ByteSystem, config, memory=memory, clock_hz=clock_hz, baud=baud)
    sources = {"design.v": to_verilog(system, name=TOP, notify=notify)}
    top, parameters = TOP, {}
    if isinstance(memory, Sdram):
        sources |= {name: (simulate.BENCH / name).read_text() for name in ("sdram.v", f"{SDRAM_TOP}.v")}
        top, parameters = SDRAM_TOP, sdram_parameters(memory)
    return verilator.build(sources, top=top, main=MAIN, parameters=parameters, vpi=False, notify=notify)
