"""The way into a systolic core: one EXECUTE ahead, with what has to be worked out before its first tile."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2, exact_log2

from hw.array.geometry import TURN
from hw.delay import without_reset
from hw.design import Design
from hw.interfaces import execute_command
from hw.timing import SYSTOLIC_SETUP

DEPTH_BITS = 24
COUNT_BITS = 16


def plan(
    design: Design,
    *,
    depth_bits: int = DEPTH_BITS,
    long_words: bool = False,
    paired_weights: bool = False,
    parts: int = 0,
    scales: int = 0,
) -> data.StructLayout:
    """A command and its derived numbers; steps of a tile have ``depth_bits``.

    ``..._left``: what a counter starts from that is below zero with the last of its kind; two less than the count
    (``passes_left``, of rows: three).
    ``turn_left``: the same for the tile's interval, ``TURN`` less. ``short``: the tiles have fewer steps than the least interval.
    ``long``: a word of activations lasts twice as many steps as it has bytes; not there without ``long_words``.
    ``paired``: a word of weights has those of two steps; not there without ``paired_weights``. ``parts_last``: parts of a word of
    activations, less one; not there without ``parts``, the most. ``scales``: words of scales behind a tile's weights; not there
    without ``scales``, the most.
    """
    return data.StructLayout(
        {
            "command": execute_command(design),
            "rows_left": COUNT_BITS + 1,
            "passes_left": COUNT_BITS + 1,
            "columns_left": COUNT_BITS + 1,
            "depth_left": depth_bits + 1,
            "turn_left": depth_bits + 1,
            "short": 1,
            **({"long": 1} if long_words else {}),
            **({"paired": 1} if paired_weights else {}),
            **({"parts_last": (parts - 1).bit_length()} if parts else {}),
            **({"scales": scales.bit_length()} if scales else {}),
        }
    )


class Setup(wiring.Component):
    """Takes a command when the one before it has begun, and prepares it.

    Parameters
    ----------
    design : Design
    least_interval : int
        Shortest interval of tiles in the output-stationary array; the weight-stationary one leaves ``turn_left`` unused.
    depth_bits : int
        Of the steps of a tile.
    long_words : bool
        Whether words of activations may last twice as many steps as they have bytes.
    paired_weights : bool
        Whether words of weights may have those of two steps.
    step_bytes : int
        Of a row's activations that a step takes.
    parts, scales : int
        See ``plan``.

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
    ``plan`` is valid ``cycles - 2`` cycles after ``command`` was taken, its ``short`` two cycles before. The next command
    can be taken in the cycle after ``plan`` was.
    """

    cycles = SYSTOLIC_SETUP

    def __init__(
        self,
        *,
        design: Design,
        least_interval: int = 1,
        depth_bits: int = DEPTH_BITS,
        long_words: bool = False,
        paired_weights: bool = False,
        step_bytes: int = 1,
        parts: int = 0,
        scales: int = 0,
    ) -> None:
        self._design, self._least_interval = design, least_interval
        self._word_steps = design.geometry.activation_bytes // step_bytes
        self._depth_bits, self._long_words = depth_bits, long_words
        planned = plan(
            design,
            depth_bits=depth_bits,
            long_words=long_words,
            paired_weights=paired_weights,
            parts=parts,
            scales=scales,
        )
        super().__init__(
            {
                "command": In(stream.Signature(execute_command(design))),
                "halt": In(1),
                "plan": Out(stream.Signature(planned)),
                "soon": Out(1),
                "busy": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        planned = without_reset(m, self.plan.payload)
        command = planned.command
        stages = Signal(self.cycles - 3)
        steps = self._steps(m, planned)
        self._turn_left(m, planned, steps)
        m.d.comb += [
            self.command.ready.eq(~self.busy & ~self.halt),
            self.soon.eq(stages[-1] | (self.plan.valid & ~self.plan.ready)),
        ]
        m.d.sync += [
            Cat(stages, self.plan.valid).eq(Cat(self.command.valid & self.command.ready, stages)),
            planned.rows_left.eq(command.row_tiles - 2),
            planned.passes_left.eq(command.row_tiles - 3),
            planned.columns_left.eq(command.column_tiles - 2),
            planned.depth_left.eq(steps - 2),
        ]
        short = self._short(steps)
        if isinstance(short, Const):
            # Not in a register without reset: what never changes never wakes a process of the Verilog that sets it.
            m.d.comb += self.plan.payload.short.eq(short)
        else:
            m.d.sync += planned.short.eq(short)
        with m.If(self.command.valid & self.command.ready):
            m.d.sync += [self.busy.eq(1), command.eq(self.command.payload)]
        with m.If(self.plan.valid):
            m.d.sync += self.plan.valid.eq(~self.plan.ready)
            with m.If(self.plan.ready):
                m.d.sync += self.busy.eq(0)
        with m.If(self.halt):
            m.d.sync += [stages.eq(0), self.plan.valid.eq(0), self.busy.eq(0)]
        return m

    def _turn_left(self, m: Module, planned: data.View, steps: Value) -> None:
        """A tile takes its steps, or all words of its rows, whichever is longer: rows of the last word come one a step."""
        geometry = self._design.geometry
        word_bits = exact_log2(self._word_steps)
        row_last, least = geometry.tile_rows - 1, self._least_interval - 1
        depth_last, interval_last, longest = (Signal(self._depth_bits, reset_less=True) for _ in range(3))
        part = depth_last[:word_bits]
        early = part < row_last
        if self._long_words:
            early = early & ~(planned.long & depth_last[word_bits])
        # Tiles that are not short last as long as the least anyway; those that are fit in a few bits.
        few = longest[: ceil_log2(least + 1 + (1 << word_bits))]
        m.d.comb += [
            # One row has its words at once, and no interval is shorter than one; unsigned numbers are never below 0.
            longest.eq(
                Cat(
                    Mux(early, Const(row_last, word_bits), part) if row_last else part,
                    depth_last[word_bits:],
                )
            ),
        ]
        m.d.sync += [
            depth_last.eq(steps - 1),
            interval_last.eq(Mux(planned.short & (few < least), least, longest) if least else longest),
            planned.turn_left.eq(interval_last - (TURN - 1)),
        ]

    def _steps(self, m: Module, planned: data.View) -> Value:
        """Of a tile, in the cycle after the command's, and as many more as ``cycles`` has."""
        return planned.command.depth_tiles

    def _short(self, steps: Value) -> Value:
        """Whether a tile of so many steps must wait, as the first of its command, for the results of the one before it."""
        return steps <= self._least_interval - 1
