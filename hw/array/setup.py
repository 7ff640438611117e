"""The way into a systolic core: one EXECUTE ahead, with what has to be worked out before its first tile."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from hw.design import Design
from hw.interfaces import execute_command
from hw.timing import SYSTOLIC_SETUP

DEPTH_BITS = 24


def plan(design: Design) -> data.StructLayout:
    """A command and its derived numbers; ``single_...``: the count is 1, ``..._last``: the count less one.

    ``short``: the tiles have fewer steps than the least interval.
    """
    return data.StructLayout(
        {
            "command": execute_command(design),
            "single_row": 1,
            "single_column": 1,
            "single_depth": 1,
            "short": 1,
            "depth_last": DEPTH_BITS,
            "interval_last": DEPTH_BITS,
        }
    )


class Setup(wiring.Component):
    """Takes a command when the one before it has begun, and prepares it.

    Parameters
    ----------
    design : Design
    least_interval : int
        Shortest interval of tiles in the output-stationary array; the weight-stationary one leaves ``interval_last`` unused.

    Members
    -------
    command : In(stream of ``execute_command``)
    halt : In(1)
        Take nothing, and drop what is here.
    plan : Out(stream of ``plan``)
    busy : Out(1)
        A command is here.

    Timing
    ------
    ``plan`` is valid ``SYSTOLIC_SETUP - 1`` cycles after ``command`` was taken. The next command can be taken in the cycle after
    ``plan`` was.
    """

    def __init__(self, *, design: Design, least_interval: int = 1) -> None:
        self._design, self._least_interval = design, least_interval
        super().__init__(
            {
                "command": In(stream.Signature(execute_command(design))),
                "halt": In(1),
                "plan": Out(stream.Signature(plan(design))),
                "busy": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        geometry, planned = self._design.geometry, self.plan.payload
        command = planned.command
        stages = Signal(SYSTOLIC_SETUP - 2)
        # A tile takes its steps of K, or all words of its rows, whichever is longer: rows of the last word come one a step.
        word_bits = exact_log2(geometry.activation_bytes)
        part, row_last = planned.depth_last[:word_bits], geometry.tile_rows - 1
        longest = Cat(Mux(part < row_last, Const(row_last, word_bits), part), planned.depth_last[word_bits:])
        least = self._least_interval - 1
        m.d.comb += self.command.ready.eq(~self.busy & ~self.halt)
        m.d.sync += [
            Cat(stages, self.plan.valid).eq(Cat(self.command.valid & self.command.ready, stages)),
            planned.single_row.eq(command.row_tiles == 1),
            planned.single_column.eq(command.column_tiles == 1),
            planned.single_depth.eq(command.depth_tiles == 1),
            planned.short.eq(command.depth_tiles <= least),
            planned.depth_last.eq(command.depth_tiles - 1),
            planned.interval_last.eq(Mux(longest < least, least, longest)),
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
