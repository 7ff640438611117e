"""The way into a bit-serial core: one command ahead, with what has to be worked out before its first tile."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from hw.array.bit_serial.geometry import BitSerial
from hw.design import Design
from hw.interfaces import execute_command
from hw.pe.weight_format import NIBBLE, WeightFormat
from hw.timing import BIT_SERIAL_SETUP


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
            **counts(design),
            "tile_stride": stride_bits(design, array.rows),
            "format": WeightFormat,
            **own,
        }
    )


def counts(design: Design) -> dict[str, int]:
    """Bits of where counters start that are below zero with the last of their kind."""
    bits = design.execute_fields
    names = {"words_left": "depth_tiles", "rows_left": "row_tiles", "columns_left": "column_tiles"}
    return {left: bits[name] + 1 for left, name in names.items()}


def stride_bits(design: Design, rows: int) -> int:
    """Of words of activations from a tile to the next."""
    return (((1 << design.execute_fields["activations_stride"]) - 1) * rows).bit_length()


def tile_stride(stride: Value, rows: int) -> Value:
    """Words of activations from a tile to the next, combinational.

    Of shifts and sums where ``rows`` is no power of two: Yosys takes a hardware multiplier for a product with such a constant,
    and the way through it was the slowest of an array of 3 rows.
    """
    if rows & (rows - 1) == 0:
        return stride * rows
    places = [place for place in range(rows.bit_length()) if rows >> place & 1]
    return sum((stride << place for place in places), start=Const(0, 0))[: len(stride * rows)]


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
    """Takes a command when the one before it has begun, and prepares it; or, one at a time, when that has ended.

    Parameters
    ----------
    design : Design
    array : BitSerial

    Members
    -------
    command : In(stream of ``execute_command``)
    halt : In(1)
        Take nothing, and drop what is here.
    ended : In(1)
        All of the command is over, for arrays of a single command: only then another one is taken, and ``plan`` stays.
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
                "ended": In(1),
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
        # Words of a tile less one; of its last group or block less one.
        last = (planned.words_left + 1) if array.single else command.depth_tiles - 1
        last_words = last[:index_bits]
        given = self.command.payload if array.single else command
        left = [
            planned.words_left.eq(given.depth_tiles - 2),
            planned.rows_left.eq(given.row_tiles - 2),
            planned.columns_left.eq(given.column_tiles - 2),
        ]
        taken, ready = Signal(), ~self.busy & ~self.halt
        if array.single:
            under_way = Signal()
            m.d.sync += under_way.eq((taken | under_way) & ~self.ended & ~self.halt)
            ready = ready & ~under_way
        m.d.comb += [self.command.ready.eq(ready), taken.eq(self.command.valid & ready)]
        words = Signal.like(last_words) if index_bits else 0
        if index_bits:
            m.d.sync += words.eq(last_words)
        m.d.sync += [
            Cat(stages, self.plan.valid).eq(Cat(taken, stages)),
            planned.tile_stride.eq(tile_stride(command.activations_stride, array.rows)),
        ]
        self._short = ~last[index_bits:-1].any() if array.single else command.depth_tiles <= 1 << index_bits
        self._own(m, command, words)
        if not array.single:
            m.d.sync += left
        with m.If(taken):
            m.d.sync += [self.busy.eq(1), command.eq(self.command.payload)]
            if array.single:
                m.d.sync += left
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
            short.eq(self._short),
            planned.terms_left.eq(Array(one.terms - 2 for one in formats)[command.variant]),
            planned.pause.eq(full[command.variant]),
            planned.last_pause.eq(last[command.variant][words]),
            planned.first_pause.eq(Mux(short, planned.last_pause, planned.pause)),
        ]
