"""The system that a board gets: the accelerator of a configuration, and the memory that the board has for it."""

from __future__ import annotations

from fpga.board import LARGE_RAM, Board
from fpga.soc.memory import Memory, Storage
from fpga.soc.storage import BlockStorage, SpramStorage
from fpga.soc.system import System, of_config
from fpga.soc.uart import divisor_of
from gen.config import Config


def memory(config: Config, board: Board, *, modelled: bool = False) -> Memory:
    """As wide as the bus of ``config``; ``modelled`` for simulation, without cells of the part.

    Raises ``ValueError`` when the board's kind of memory cannot be so wide.
    """
    design = config.design()
    storage: Storage = (
        SpramStorage(data_bytes=design.data_bytes, modelled=modelled)
        if board.memory == LARGE_RAM
        else BlockStorage(beats=board.memory_bytes // design.data_bytes, data_bytes=design.data_bytes)
    )
    return Memory(storage=storage, address_width=design.address_width, outstanding=design.outstanding)


def system(config: Config, board: Board, *, clock_hz: int, baud: int) -> System:
    """``System`` of ``config`` for ``board``.

    Raises ``ValueError`` when the memory cannot be as wide as the bus, or the clock makes no such baud rate.
    """
    divisor_of(clock_hz=clock_hz, baud=baud)
    return of_config(System, config, memory=memory(config, board), clock_hz=clock_hz, baud=baud)
