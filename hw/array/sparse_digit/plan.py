"""The way into a core that multiplies digit by digit: one command ahead."""

from __future__ import annotations

from types import SimpleNamespace

from amaranth.hdl import Module
from amaranth.lib import data

from hw.array.bit_serial.plan import Planner, counts, stride_bits
from hw.design import Design
from hw.interfaces import execute_command
from hw.timing import DIGIT_SETUP


def plan(design: Design) -> data.StructLayout:
    """A command and its derived numbers.

    ``words_left``, ``rows_left``, ``columns_left``: where counters start that are below zero with the last group of a tile, row
    tile and column tile: two less than the counts. ``tile_stride``: words of activations from a row tile to the next.
    """
    return data.StructLayout(
        {
            "command": execute_command(design),
            **counts(design),
            "tile_stride": stride_bits(design, design.geometry.tile_rows),
        }
    )


class DigitPlanner(Planner):
    """As :class:`hw.array.bit_serial.plan.Planner`, with this array's ``plan``, after ``DIGIT_SETUP - 1`` cycles."""

    setup = DIGIT_SETUP

    def __init__(self, *, design: Design) -> None:
        super().__init__(design=design, array=SimpleNamespace(rows=design.geometry.tile_rows, single=False))

    def _plan(self) -> data.StructLayout:
        return plan(self._design)

    def _index_bits(self) -> int:
        return 0

    def _own(self, m: Module, command, words) -> None:
        """Nothing more."""
