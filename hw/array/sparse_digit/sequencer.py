"""The groups of a core that multiplies digit by digit: which comes when."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from hw.array.geometry import least_interval
from hw.array.sparse_digit.plan import plan
from hw.delay import delayed
from hw.design import Design
from hw.timing import DIGIT_GROUP, DIGIT_TURN

GROUP = data.StructLayout(
    dict.fromkeys(("valid", "word", "tile", "fresh", "again", "tile_last", "ends"), 1),
)
"""What a group is. ``valid``: it is one. ``word``: its activations are the first of their words.

``tile``: it is the first of a tile; ``fresh``: its tile is the first of a command; ``again``: its tile has the columns of the one
before. ``tile_last``: it is the last of a tile; ``ends``: and of the command.
"""


class DigitSequencer(wiring.Component):
    """Counts groups of a tile, and the tiles of a command.

    Three groups are under way: one whose digits the array takes, one whose digits are known, one whose weights are read. They
    move on together. A command begins with two times of no group, until its first has come to the array.

    Parameters
    ----------
    design : Design

    Members
    -------
    plan : In(stream of ``plan``)
        Of ``DigitPlanner``.
    busy : In(1)
        A column has too many digits for the group to end ``DIGIT_TURN + 1`` cycles later; from a group's first cycle on.
    stop : In(1)
        End the command with a group of these.
    halt : In(1)
        Stop at once. A sum so far is let out: ``last`` in the next cycle.
    current : Out(plan)
        The command under way.
    running : Out(1)
    turn : Out(1)
        The group of the array ends ``DIGIT_TURN - 1`` cycles later. In this cycle ``ending`` is that group, ``starting`` the one
        after it, ``reading`` the one after that, and ``coming`` that whose weights are to be read from the next cycle on.
    start : Out(1)
        The group of the array ends; ``valid``: what is read is a group. ``clear``: there is no group after it, whatever is known.
    last : Out(1)
        In the cycle after the last one of a tile. ``ends``: and of the command.

    Timing
    ------
    A group lasts ``DIGIT_GROUP`` cycles or more. The last of a tile ends ``least_interval`` cycles after that of the tile before,
    and when as many cycles of its word of activations have passed as there are rows, or later. Group follows group, tile
    follows tile. The first group of a command begins ``DIGIT_LEAD + 1`` cycles after its plan is taken.
    """

    def __init__(self, *, design: Design) -> None:
        self._design = design
        shape = plan(design)
        groups = ("ending", "starting", "reading", "coming")
        super().__init__(
            {
                "plan": In(stream.Signature(shape)),
                "busy": In(1),
                "stop": In(1),
                "halt": In(1),
                "current": Out(shape),
                **dict.fromkeys(groups, Out(GROUP)),
                **dict.fromkeys(("running", "turn", "start", "valid", "clear", "last", "ends"), Out(1)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        load, cut, final, tile_end, command_end = (Signal() for _ in range(5))
        after, dropped = Signal(), Signal()
        ended = delayed(m, command_end, DIGIT_TURN - 1)
        m.d.comb += [
            final.eq(self.ending.valid & (self.ending.tile_last | cut)),
            tile_end.eq(self.turn & final),
            command_end.eq(tile_end & (self.ending.ends | cut)),
            self.plan.ready.eq((ended | ~self.running) & ~self.halt),
            load.eq(self.plan.valid & self.plan.ready),
            self.clear.eq(ended | self.halt),
            self.start.eq(delayed(m, after, 1)),
            self.last.eq(delayed(m, tile_end, DIGIT_TURN) | dropped),
            self.ends.eq(delayed(m, command_end, DIGIT_TURN)),
            self.valid.eq(self.starting.valid),
        ]
        held = self._held(m, tile_end, dropped)
        m.d.sync += [
            self.running.eq((load | (self.running & ~ended)) & ~self.halt),
            self.turn.eq(
                (load | (self.running & ~(self.turn | after | self.start | self.busy | (final & held))))
                & ~self.halt
            ),
            after.eq(self.turn & ~self.halt),
            dropped.eq(self.halt & self.ending.valid),
        ]
        with m.If(self.start):
            m.d.sync += cut.eq(self.stop)
        with m.If(load):
            m.d.sync += [self.current.eq(self.plan.payload), cut.eq(0)]
        self._groups(m, load, command_end)
        return m

    def _groups(self, m: Module, load, command_end) -> None:
        """Moves groups on, and says what comes."""
        words = exact_log2(self._design.geometry.activation_bytes // DIGIT_GROUP)
        coming, place = self.coming, Signal(words)
        valid = Signal()
        depth_left = Signal.like(self.current.words_left, name="depth_left")
        rows_left, columns_left = Signal.like(self.current.rows_left), Signal.like(self.current.columns_left)
        m.d.comb += [
            coming.valid.eq(valid),
            coming.word.eq(~place.any()),
            coming.tile_last.eq(depth_left[-1]),
            coming.ends.eq(depth_left[-1] & rows_left[-1] & columns_left[-1]),
        ]
        tile, fresh, again = (Signal(name=name) for name in ("tile", "fresh", "again"))
        m.d.comb += [coming.tile.eq(tile), coming.fresh.eq(fresh), coming.again.eq(again)]
        after = self.plan.payload
        with m.If(load):
            m.d.sync += [
                valid.eq(1), place.eq(0), tile.eq(1), fresh.eq(1), again.eq(0),
                depth_left.eq(after.words_left), rows_left.eq(after.rows_left), columns_left.eq(after.columns_left),
            ]  # fmt: skip
        with m.Elif(self.turn):
            m.d.sync += [
                self.ending.eq(self.starting),
                self.starting.eq(self.reading),
                self.reading.eq(coming),
                valid.eq(valid & ~coming.ends),
                tile.eq(coming.tile_last),
                depth_left.eq(depth_left - 1),
                place.eq(place + 1),
            ]
            with m.If(coming.tile_last):
                m.d.sync += [
                    place.eq(0), fresh.eq(0), again.eq(~rows_left[-1]),
                    depth_left.eq(self.current.words_left),
                    rows_left.eq(Mux(rows_left[-1], self.current.rows_left, rows_left - 1)),
                    columns_left.eq(columns_left - rows_left[-1]),
                ]  # fmt: skip
        with m.If(self.halt | command_end):
            m.d.sync += [
                valid.eq(0),
                *(one.valid.eq(0) for one in (self.ending, self.starting, self.reading)),
            ]

    def _held(self, m: Module, tile_end, dropped):
        """Returned: a tile must not end yet. Its results would meet those before, or a row's word has not been read."""
        rows = self._design.geometry.tile_rows
        least = least_interval(rows)
        results = Signal(signed(least.bit_length() + 1), init=-1)
        m.d.sync += results.eq(results - ~results[-1])
        with m.If(tile_end | dropped):
            m.d.sync += results.eq(least - DIGIT_TURN)
        if rows <= DIGIT_GROUP:
            return ~results[-1]
        words = Signal(signed(rows.bit_length() + 1), init=-1)
        m.d.sync += words.eq(words - ~words[-1])
        with m.If(self.turn & self.starting.valid & self.starting.word):
            m.d.sync += words.eq(rows - DIGIT_TURN)
        return ~results[-1] | ~words[-1]
