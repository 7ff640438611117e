"""1BitSquared iCEBreaker, an iCE40 UP5K: its memory is the part's four large single-port memories."""

from __future__ import annotations

from typing import Any

from fpga.board import LARGE_RAM, Board, Programmer


def _platform() -> Any:
    from amaranth_boards.icebreaker import ICEBreakerPlatform

    return ICEBreakerPlatform()


BOARD = Board(
    name="icebreaker",
    summary="1BitSquared iCEBreaker, iCE40 UP5K",
    part="iCE40UP5K",
    package="sg48",
    platform=_platform,
    clock="clk12",
    clock_hz=12_000_000,
    clock_is_pad=True,
    default_hz=36_000_000,
    memory=LARGE_RAM,
    memory_bytes=128 << 10,
    programmer=Programmer(tool="iceprog", package="fpga-icestorm"),
    presets=("bitserial-up5k", "lut-up5k"),
)
