"""The way into a bit-serial core: one command ahead, with what has to be worked out before its first tile."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from hw.array.bit_serial.geometry import BitSerial
from hw.design import Design
from hw.interfaces import execute_command
from hw.pe.weight_format import WeightFormat
from hw.timing import BIT_SERIAL_SETUP

DEPTH_BITS = 24
COUNT_BITS = 16


def plan(design: Design, array: BitSerial) -> data.StructLayout:
    """A command and its derived numbers.

    ``words_left``, ``rows_left``, ``columns_left``: where counters start that are below zero with the last of their kind: two
    less than the counts; ``terms_left``, of the format's terms, likewise. ``pause``, ``last_pause``: of the groups before the
    last of a tile, and of that one; ``first_pause``: of its first. ``format``: of the weights.
    """
    pause = range(array.least + 1)
    return data.StructLayout(
        {
            "command": execute_command(design),
            "words_left": DEPTH_BITS + 1,
            "rows_left": COUNT_BITS + 1,
            "columns_left": COUNT_BITS + 1,
            "tile_stride": COUNT_BITS + ceil_log2(array.rows + 1),
            "pause": pause,
            "last_pause": pause,
            "first_pause": pause,
            "format": WeightFormat,
            "terms_left": 2,
        }
    )


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

    def __init__(self, *, design: Design, array: BitSerial) -> None:
        self._design, self._array = design, array
        super().__init__(
            {
                "command": In(stream.Signature(execute_command(design))),
                "halt": In(1),
                "plan": Out(stream.Signature(plan(design, array))),
                "busy": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        array, planned = self._array, self.plan.payload
        command = planned.command
        stages = Signal(BIT_SERIAL_SETUP - 2)
        formats = array.variants
        index_bits = ceil_log2(array.group_words)
        last_words = (command.depth_tiles - 1)[:index_bits]  # of the last group, less one
        m.d.comb += self.command.ready.eq(~self.busy & ~self.halt)
        full = Array(array.pause(one, array.group_words) for one in formats)
        last = Array(
            Array(array.pause(one, words + 1) for words in range(array.group_words)) for one in formats
        )
        words = Signal.like(last_words) if index_bits else 0
        short = Signal()  # a tile is one group
        if index_bits:
            m.d.sync += words.eq(last_words)
        m.d.sync += [
            Cat(stages, self.plan.valid).eq(Cat(self.command.valid & self.command.ready, stages)),
            planned.words_left.eq(command.depth_tiles - 2),
            planned.rows_left.eq(command.row_tiles - 2),
            planned.columns_left.eq(command.column_tiles - 2),
            planned.tile_stride.eq(command.activations_stride * array.rows),
            short.eq(command.depth_tiles <= array.group_words),
            planned.format.eq(Array(formats)[command.variant]),
            planned.terms_left.eq(Array(one.terms - 2 for one in formats)[command.variant]),
            planned.pause.eq(full[command.variant]),
            planned.last_pause.eq(last[command.variant][words]),
            planned.first_pause.eq(Mux(short, planned.last_pause, planned.pause)),
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
