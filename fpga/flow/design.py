# amaranth: UnusedElaboratable=no
"""The system that a board gets: the accelerator of a configuration, and the memory that the board has for it."""

from __future__ import annotations

from fpga.board import LARGE_RAM, SDRAM, Board
from fpga.soc.memory import Memory, Storage
from fpga.soc.sdram import Sdram
from fpga.soc.sdram_pads import capture_of
from fpga.soc.storage import BlockStorage, SpramStorage
from fpga.soc.system import BoardMemory, System, of_config
from fpga.soc.uart import divisor_of
from gen.config import Config

NEAR = 16 << 10
"""Bytes of block RAM up to which its blocks lie side by side; beyond, there is a register on the way to them."""


def memory(config: Config, board: Board, *, clock_hz: int, modelled: bool = False) -> BoardMemory:
    """As wide as the bus of ``config``; ``modelled`` for simulation, without cells of the part and its pads.

    Raises ``ValueError`` when the board's kind of memory cannot be so wide or have that clock.
    """
    design = config.design()
    if board.memory == SDRAM and board.sdram is not None:
        # Before anything is made that would then not be used.
        board.sdram.cycles(clock_hz=clock_hz)
        return Sdram(
            part=board.sdram,
            clock_hz=clock_hz,
            data_bytes=design.data_bytes,
            address_width=design.address_width,
            capture=0 if modelled else capture_of(board.sdram, clock_hz=clock_hz)[0],
            outstanding=design.outstanding,
        )
    if board.memory == LARGE_RAM and design.data_bytes not in (4, 8):
        raise ValueError(
            f"bus.data_width must be 32 or 64 with the {LARGE_RAM} of {board.name}, not {8 * design.data_bytes}"
        )
    storage: Storage = (
        SpramStorage(data_bytes=design.data_bytes, modelled=modelled)
        if board.memory == LARGE_RAM
        else BlockStorage(
            beats=board.memory_bytes // design.data_bytes,
            data_bytes=design.data_bytes,
            registered=board.memory_bytes > NEAR,
        )
    )
    return Memory(storage=storage, address_width=design.address_width, outstanding=design.outstanding)


def system(config: Config, board: Board, *, clock_hz: int, baud: int) -> System:
    """``System`` of ``config`` for ``board``.

    Raises ``ValueError`` when the memory cannot be as wide as the bus or have that clock, or that makes no such baud rate.
    """
    divisor_of(clock_hz=clock_hz, baud=baud)
    made = memory(config, board, clock_hz=clock_hz)
    return of_config(System, config, memory=made, clock_hz=clock_hz, baud=baud)
