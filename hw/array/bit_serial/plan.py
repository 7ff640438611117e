"""The way into a bit-serial core: one command ahead, with what has to be worked out before its first tile."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from hw.array.bit_serial.geometry import BitSerial
from hw.design import Design
from hw.interfaces import execute_command
from hw.pe.weight_format import NIBBLE, WeightFormat
from hw.timing import BIT_SERIAL_SETUP

DEPTH_BITS = 24
COUNT_BITS = 16


def plan(design: Design, array: BitSerial) -> data.StructLayout:
    """A command and its derived numbers.

    ``words_left``, ``rows_left``, ``columns_left``: where counters start that are below zero with the last of their kind: two
    less than the counts; ``terms_left``, of the format's terms, likewise. ``pause``, ``last_pause``: of the groups before the
    last of a tile, and of that one; ``first_pause``: of its first. ``format``: of the weights.

    Where zero terms are skipped, ``ahead`` takes the place of pauses and ``terms_left``: words from the first word of lower parts
    of a tile's last block to the next tile.
    """
    if array.skip_zero_terms:
        own = {"ahead": range(max(max(one) for one in _ahead(array)) + 1)}
    else:
        own = dict.fromkeys(("pause", "last_pause", "first_pause"), range(array.least + 1))
        own |= {"terms_left": 2}
    return data.StructLayout(
        {
            "command": execute_command(design),
            "words_left": DEPTH_BITS + 1,
            "rows_left": COUNT_BITS + 1,
            "columns_left": COUNT_BITS + 1,
            "tile_stride": COUNT_BITS + ceil_log2(array.rows + 1),
            "format": WeightFormat,
            **own,
        }
    )


def _ahead(array: BitSerial) -> list[list[int]]:
    """``ahead`` by variant and words of activations in the last block, less one."""
    return [
        [
            words * array.slices * one.bits // NIBBLE - (one.way.high > 0)
            for words in range(1, array.block_words + 1)
        ]
        for one in array.variants
    ]


class Planner(wiring.Component):
    """Takes a command when the one before it has begun, and prepares it.

    Parameters
    ----------
    design : Design
    array : BitSerial

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
    ``plan`` is valid ``BIT_SERIAL_SETUP - 1`` cycles after ``command`` was taken. The next command can be taken in the cycle
    after ``plan`` was.
    """

    setup = BIT_SERIAL_SETUP

    def __init__(self, *, design: Design, array: Any) -> None:
        self._design, self._array = design, array
        super().__init__(
            {
                "command": In(stream.Signature(execute_command(design))),
                "halt": In(1),
                "plan": Out(stream.Signature(self._plan())),
                "busy": Out(1),
            }
        )

    def _plan(self) -> data.StructLayout:
        return plan(self._design, self._array)

    def elaborate(self, platform):
        m = Module()
        array, planned = self._array, self.plan.payload
        command = planned.command
        stages = Signal(self.setup - 2)
        index_bits = self._index_bits()
        last_words = (command.depth_tiles - 1)[:index_bits]  # of the last group or block, less one
        m.d.comb += self.command.ready.eq(~self.busy & ~self.halt)
        words = Signal.like(last_words) if index_bits else 0
        if index_bits:
            m.d.sync += words.eq(last_words)
        m.d.sync += [
            Cat(stages, self.plan.valid).eq(Cat(self.command.valid & self.command.ready, stages)),
            planned.words_left.eq(command.depth_tiles - 2),
            planned.rows_left.eq(command.row_tiles - 2),
            planned.columns_left.eq(command.column_tiles - 2),
            planned.tile_stride.eq(command.activations_stride * array.rows),
        ]
        self._own(m, command, words)
        with m.If(self.command.valid & self.command.ready):
            m.d.sync += [self.busy.eq(1), command.eq(self.command.payload)]
        with m.If(self.plan.valid):
            m.d.sync += self.plan.valid.eq(~self.plan.ready)
            with m.If(self.plan.ready):
                m.d.sync += self.busy.eq(0)
        with m.If(self.halt):
            m.d.sync += [stages.eq(0), self.plan.valid.eq(0), self.busy.eq(0)]
        return m

    def _index_bits(self) -> int:
        """Of the place of a word of activations in its group, or block."""
        return ceil_log2(self._array.block_words if self._array.skip_zero_terms else self._array.group_words)

    def _own(self, m: Module, command, words) -> None:
        """What is of this family alone."""
        array, planned = self._array, self.plan.payload
        m.d.sync += planned.format.eq(Array(array.variants)[command.variant])
        if array.skip_zero_terms:
            ahead = Array(Array(each) for each in _ahead(array))
            m.d.sync += planned.ahead.eq(ahead[command.variant][words])
        else:
            self._pauses(m, command, words)

    def _pauses(self, m: Module, command, words) -> None:
        """What concerns pauses and terms; ``words`` are those of a tile's last group, less one."""
        array, planned, formats = self._array, self.plan.payload, self._array.variants
        full = Array(array.pause(one, array.group_words) for one in formats)
        last = Array(
            Array(array.pause(one, words + 1) for words in range(array.group_words)) for one in formats
        )
        short = Signal()  # a tile is one group
        m.d.sync += [
            short.eq(command.depth_tiles <= array.group_words),
            planned.terms_left.eq(Array(one.terms - 2 for one in formats)[command.variant]),
            planned.pause.eq(full[command.variant]),
            planned.last_pause.eq(last[command.variant][words]),
            planned.first_pause.eq(Mux(short, planned.last_pause, planned.pause)),
        ]
