"""The way into a systolic core: one EXECUTE ahead, with what has to be worked out before its first tile."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2, exact_log2

from hw.design import Design
from hw.interfaces import execute_command
from hw.timing import SYSTOLIC_SETUP

DEPTH_BITS = 24
COUNT_BITS = 16
TURN = 4
"""Cycles by which an output-stationary tile knows its end before it has come."""


def plan(design: Design) -> data.StructLayout:
    """A command and its derived numbers.

    ``..._left``: what a counter starts from that is below zero with the last of its kind; two less than the count
    (``passes_left``, of rows: three).
    ``turn_left``: the same for the tile's interval, ``TURN`` less. ``short``: the tiles have fewer steps than the least interval.
    """
    return data.StructLayout(
        {
            "command": execute_command(design),
            "rows_left": COUNT_BITS + 1,
            "passes_left": COUNT_BITS + 1,
            "columns_left": COUNT_BITS + 1,
            "depth_left": DEPTH_BITS + 1,
            "turn_left": DEPTH_BITS + 1,
            "short": 1,
        }
    )


class Setup(wiring.Component):
    """Takes a command when the one before it has begun, and prepares it.

    Parameters
    ----------
    design : Design
    least_interval : int
        Shortest interval of tiles in the output-stationary array; the weight-stationary one leaves ``turn_left`` unused.

    Members
    -------
    command : In(stream of ``execute_command``)
    halt : In(1)
        Take nothing, and drop what is here.
    plan : Out(stream of ``plan``)
    soon : Out(1)
        ``plan`` is valid in the next cycle, if it is not taken in this one.
    busy : Out(1)
        A command is here.

    Timing
    ------
    ``plan`` is valid ``SYSTOLIC_SETUP - 2`` cycles after ``command`` was taken, its ``short`` two cycles before. The next command
    can be taken in the cycle after ``plan`` was.
    """

    def __init__(self, *, design: Design, least_interval: int = 1) -> None:
        self._design, self._least_interval = design, least_interval
        super().__init__(
            {
                "command": In(stream.Signature(execute_command(design))),
                "halt": In(1),
                "plan": Out(stream.Signature(plan(design))),
                "soon": Out(1),
                "busy": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        geometry, planned = self._design.geometry, self.plan.payload
        command = planned.command
        stages = Signal(SYSTOLIC_SETUP - 3)
        # A tile takes its steps of K, or all words of its rows, whichever is longer: rows of the last word come one a step.
        word_bits = exact_log2(geometry.activation_bytes)
        row_last, least = geometry.tile_rows - 1, self._least_interval - 1
        depth_last, interval_last, longest = (Signal(DEPTH_BITS) for _ in range(3))
        part = depth_last[:word_bits]
        # Tiles that are not short last as long as the least anyway; those that are fit in a few bits.
        few = longest[: ceil_log2(least + 1 + (1 << word_bits))]
        m.d.comb += [
            # One row has its words at once, and no interval is shorter than one; unsigned numbers are never below 0.
            longest.eq(
                Cat(
                    Mux(part < row_last, Const(row_last, word_bits), part) if row_last else part,
                    depth_last[word_bits:],
                )
            ),
            self.command.ready.eq(~self.busy & ~self.halt),
            self.soon.eq(stages[-1] | (self.plan.valid & ~self.plan.ready)),
        ]
        m.d.sync += [
            Cat(stages, self.plan.valid).eq(Cat(self.command.valid & self.command.ready, stages)),
            planned.rows_left.eq(command.row_tiles - 2),
            planned.passes_left.eq(command.row_tiles - 3),
            planned.columns_left.eq(command.column_tiles - 2),
            planned.depth_left.eq(command.depth_tiles - 2),
            planned.short.eq(command.depth_tiles <= least),
            depth_last.eq(command.depth_tiles - 1),
            interval_last.eq(Mux(planned.short & (few < least), least, longest) if least else longest),
            planned.turn_left.eq(interval_last - (TURN - 1)),
        ]
        with m.If(self.command.valid & self.command.ready):
            m.d.sync += [self.busy.eq(1), command.eq(self.command.payload)]
        with m.If(self.plan.valid):
            m.d.sync += self.plan.valid.eq(~self.plan.ready)
            with m.If(self.plan.ready):
                m.d.sync += self.busy.eq(0)
        with m.If(self.halt):
            m.d.sync += [stages.eq(0), self.plan.valid.eq(0), self.busy.eq(0)]
        return m
