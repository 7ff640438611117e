"""The steps of an output-stationary core: which operand is read when."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2, exact_log2

from hw.array.geometry import least_interval
from hw.array.setup import DEPTH_BITS, plan
from hw.design import Design


class OutputSequencer(wiring.Component):
    """Counts the steps of a tile and the tiles of a command; one command follows another without a gap.

    Parameters
    ----------
    design : Design

    Members
    -------
    plan : In(stream of ``plan``)
    stop : In(1)
        End the command at the next end of a word of activations, or of the tile.
    halt : In(1)
        Stop at once. The sums so far are let out: ``last`` without an operand.
    current : Out(plan)
        The command under way.
    running : Out(1)
    begin : Out(1)
        The next cycle is step 0 of a tile; ``load``: of the first tile of the command at ``plan``; ``again``: of a tile with
        the same columns as the one before.
    step : Out(1)
        A pair of operands: k is below K. ``last``: it is the last of the tile; ``ends``: and of the command.
    read : Out(1)
        An activation word is read. ``index``: step within the word, which is also the row whose word is read.

    All outputs but ``begin``, ``load``, ``again`` and ``ends`` are registers.

    Timing
    ------
    Tile follows tile after ``interval_last + 1`` cycles, ``least_interval`` or more. A command of ``short`` tiles begins
    ``least_interval`` cycles after the last step before it, at the earliest.
    """

    def __init__(self, *, design: Design) -> None:
        self._design = design
        super().__init__(
            {
                "plan": In(stream.Signature(plan(design))),
                "stop": In(1),
                "halt": In(1),
                "current": Out(plan(design)),
                "running": Out(1),
                "begin": Out(1),
                "load": Out(1),
                "again": Out(1),
                "step": Out(1),
                "last": Out(1),
                "ends": Out(1),
                "read": Out(1),
                "index": Out(exact_log2(design.geometry.activation_bytes)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        rows, word_bytes = self._design.geometry.tile_rows, self._design.geometry.activation_bytes
        current, following = self.current, Signal(DEPTH_BITS)
        final, ending, word, cut = Signal(), Signal(), Signal(), Signal()
        ended, goes_on, settled, stops = Signal(), Signal(), Signal(), Signal()
        # A sum's results must have left before those of the next one come; within a command the interval sees to that.
        settling = Signal(range(least_interval(rows)))
        m.d.comb += [
            ended.eq(Mux(self.last, self.ends, ending)),
            self.plan.ready.eq((~self.running | (final & ended)) & (settled | ~self.plan.payload.short)),
            self.load.eq(self.plan.valid & self.plan.ready),
            self.begin.eq(self.load | (final & ~ended)),
            settled.eq((settling == 0) & ~self.last),
            goes_on.eq(self.step & ~self.last),
            # The rows' words of this turn have been read by then.
            stops.eq(goes_on & self.stop & (self.index == word_bytes - 2)),
            self.read.eq(word & (self.index < rows) if rows < word_bytes else word),
        ]
        with m.If(self.last):
            m.d.sync += [ending.eq(self.ends), settling.eq(least_interval(rows) - 2)]
        with m.Elif(settling != 0):
            m.d.sync += settling.eq(settling - 1)
        # What a step is, is decided a step before: each flag is a register.
        m.d.sync += [
            following.eq(Mux(self.begin, 1, following + 1)),
            self.index.eq(Mux(self.begin, 0, self.index + 1)),
            final.eq(self.running & ((following == current.interval_last) | cut)),
            self.step.eq(self.begin | goes_on),
            self.last.eq(self.step & ((following == current.depth_last) | stops)),
            cut.eq(stops & (following != current.depth_last)),
        ]
        with m.If(self.index == word_bytes - 1):
            m.d.sync += word.eq(goes_on)
        with m.If(final):
            m.d.sync += [self.running.eq(0), word.eq(0)]
        with m.If(self.begin):
            m.d.sync += [self.running.eq(1), word.eq(1)]
            m.d.sync += self.last.eq(Mux(self.load, self.plan.payload.single_depth, current.single_depth))
        with m.If(self.load):
            m.d.sync += current.eq(self.plan.payload)
        with m.If(self.halt):
            m.d.sync += [signal.eq(0) for signal in (self.running, self.step, word, final)]
            m.d.sync += self.last.eq(self.running)
        self._tiles(m)
        return m

    def _tiles(self, m: Module) -> None:
        """Row tiles within column tiles."""
        current, planned = self.current, self.plan.payload
        row_last, column_last = Signal(), Signal()
        row, column = Signal(17), Signal(17)  # of the next tile, counted from 1
        m.d.comb += [
            self.again.eq(~row_last),
            self.ends.eq(self.last & ((row_last & column_last) | self.stop | self.halt)),
        ]
        with m.If(self.load):
            m.d.sync += [
                row.eq(2),
                column.eq(2),
                row_last.eq(planned.single_row),
                column_last.eq(planned.single_column),
            ]
        with m.Elif(self.begin):
            m.d.sync += [row.eq(row + 1), row_last.eq(row == current.command.row_tiles)]
            with m.If(row_last):
                m.d.sync += [
                    row.eq(2),
                    row_last.eq(current.single_row),
                    column.eq(column + 1),
                    column_last.eq(column == current.command.column_tiles),
                ]


class ActivationWalk(wiring.Component):
    """Address of each activation word that an output-stationary core reads: words of a tile's rows in turn, then their next.

    Members
    -------
    begin, load, again, read, index : In
        Of ``OutputSequencer``.
    base : In
        Of the command at ``plan`` while ``load``; of the one under way otherwise.
    stride : In(16)
    address : Out
        Of the word that ``read`` reads, a register, wide enough to pass the end of the scratchpad once.
    """

    def __init__(self, *, words: int, word_bytes: int) -> None:
        self._word_bytes = word_bytes
        super().__init__(
            {
                "begin": In(1),
                "load": In(1),
                "again": In(1),
                "read": In(1),
                "index": In(exact_log2(word_bytes)),
                "base": In(ceil_log2(words)),
                "stride": In(16),
                "address": Out(max(16, ceil_log2(words)) + 1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        word_of_row_0, next_tile = Signal.like(self.address), Signal.like(self.address)
        onward, first = Signal.like(self.address), Signal.like(self.address)
        first_words = Signal()
        m.d.comb += [
            onward.eq(Mux(self.read, self.address + self.stride, self.address)),
            first.eq(Mux(self.load | ~self.again, self.base, Mux(first_words, onward, next_tile))),
        ]
        with m.If(self.begin):
            m.d.sync += [self.address.eq(first), word_of_row_0.eq(first), first_words.eq(1)]
        with m.Elif(self.index == self._word_bytes - 1):
            m.d.sync += [
                self.address.eq(word_of_row_0 + 1),
                word_of_row_0.eq(word_of_row_0 + 1),
                first_words.eq(0),
            ]
            with m.If(first_words):
                m.d.sync += next_tile.eq(onward)
        with m.Else():
            m.d.sync += self.address.eq(onward)
        return m


class WeightWalk(wiring.Component):
    """Address of each weight word: those of a column tile in turn, again for every row tile.

    Members
    -------
    begin, load, again, step : In
        Of ``OutputSequencer``, all delayed by the same number of cycles.
    base : In
        Of the command, while ``load``.
    address : Out
        Of the word of ``step``; a register.
    """

    def __init__(self, *, words: int) -> None:
        width = ceil_log2(words)
        super().__init__(
            {
                "begin": In(1),
                "load": In(1),
                "again": In(1),
                "step": In(1),
                "base": In(width),
                "address": Out(width + 1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        first, onward = Signal.like(self.address), Signal.like(self.address)
        m.d.comb += onward.eq(self.address + self.step)
        m.d.sync += self.address.eq(onward)
        with m.If(self.begin):
            with m.If(self.load):
                m.d.sync += [self.address.eq(self.base), first.eq(self.base)]
            with m.Elif(self.again):
                m.d.sync += self.address.eq(first)
            with m.Else():
                m.d.sync += first.eq(onward)
        return m
