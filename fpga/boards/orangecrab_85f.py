"""OrangeCrab r0.2 with an LFE5U-85F. No chip makes a serial port of its USB: a 3.3 V adapter goes to pins 0 and 1.

Pin 0 is the board's rx (the adapter's TX), pin 1 its tx.
"""

from __future__ import annotations

from typing import Any

from fpga.board import Board, Programmer


def _platform() -> Any:
    from amaranth.build import Attrs
    from amaranth_boards.orangecrab_r0_2 import OrangeCrabR0_2_85FPlatform
    from amaranth_boards.resources import UARTResource

    platform = OrangeCrabR0_2_85FPlatform()
    pins = UARTResource(0, rx="0", tx="1", conn=("io", 0), attrs=Attrs(IO_TYPE="LVCMOS33"))
    platform.add_resources([pins])
    return platform


BOARD = Board(
    name="orangecrab-85f",
    summary="OrangeCrab r0.2, LFE5U-85F; UART on pins 0 (rx) and 1 (tx)",
    part="LFE5U-85F",
    package="CSFBGA285",
    speed=8,
    platform=_platform,
    clock="clk",
    clock_hz=48_000_000,
    default_hz=80_000_000,
    link="UART on pins",
    memory_bytes=128 << 10,
    programmer=Programmer(
        tool="dfu-util", arguments=("-a", "0", "-D"), package="dfu-util", vendor=0x1209, product=0x5AF0
    ),
    presets=("systolic-ulx3s", "systolic-8x8", "systolic-4x4"),
    pack=("--compress", "--freq", "38.8"),
)
