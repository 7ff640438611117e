"""The way into a table-lookup core: one command ahead, with what has to be worked out before its first tile."""

from __future__ import annotations

from amaranth.hdl import Array, Module, Mux, Signal
from amaranth.lib import data
from amaranth.utils import ceil_log2

from hw.array.bit_serial.plan import Planner, counts, stride_bits
from hw.array.lookup.geometry import LookupArray, Offset
from hw.design import Design
from hw.interfaces import execute_command
from hw.timing import LOOKUP_SETUP


def plan(design: Design, array: LookupArray) -> data.StructLayout:
    """A command and its derived numbers.

    ``words_left``, ``rows_left``, ``columns_left``: where counters start that are below zero with the last of their kind: two
    less than the counts. ``pause``, ``last_pause``: of the groups before the last of a tile, and of that one; ``first_pause``: of
    its first; ``fresh_pause``: of the command's first. ``offset``, ``last_plane``: of the weights' format. ``minimum``: its
    groups end with words of minimums. ``total``: they have one more chunk of lookups. ``zero``, ``last_zero``: they begin with
    words of zero points, and the number of the last of them.

    ``stride``: rows of accumulators from a place of a unit to the next; ``span``: from the first to the last; ``skip``: from the
    last row tile to the first of the next columns. ``too_many``: not even one tile's places fit into half of the accumulators.
    """
    most = max(array.pause(one, 1, fresh=True) for one in array.variants)
    row = ceil_log2(design.accumulator_rows // 2) + 1
    return data.StructLayout(
        {
            "command": execute_command(design),
            **counts(design),
            "tile_stride": stride_bits(design, array.rows),
            **dict.fromkeys(("pause", "last_pause", "first_pause", "fresh_pause"), range(max(2, most + 1))),
            "offset": Offset,
            "last_plane": range(array.planes),
            "minimum": 1,
            "total": 1,
            "zero": 1,
            "last_zero": range(max(1, *(array.zero_words(one) for one in array.variants))),
            "stride": row,
            "span": row,
            "skip": row,
            "too_many": 1,
        }
    )


class LookupPlanner(Planner):
    """As :class:`hw.array.bit_serial.plan.Planner`, with this family's ``plan``, after ``LOOKUP_SETUP - 1`` cycles."""

    setup = LOOKUP_SETUP

    def _plan(self) -> data.StructLayout:
        return plan(self._design, self._array)

    def _index_bits(self) -> int:
        return ceil_log2(self._array.group_words)

    def _own(self, m: Module, command, words) -> None:
        array, planned, formats = self._array, self.plan.payload, self._array.variants
        short = Signal()  # a tile is one group

        def pauses(words: int, fresh: bool) -> Array:
            return Array(array.pause(one, words, fresh=fresh) for one in formats)

        def last_pauses(fresh: bool):
            sizes = range(1, array.group_words + 1)
            return Array(Array(array.pause(one, size, fresh=fresh) for size in sizes) for one in formats)[
                command.variant
            ][words]

        full_fresh, last_fresh = Signal.like(planned.pause), Signal.like(planned.pause)
        m.d.sync += [
            short.eq(self._short),
            planned.pause.eq(pauses(array.group_words, False)[command.variant]),
            planned.last_pause.eq(last_pauses(False)),
            planned.first_pause.eq(Mux(short, planned.last_pause, planned.pause)),
            full_fresh.eq(pauses(array.group_words, True)[command.variant]),
            last_fresh.eq(last_pauses(True)),
            planned.fresh_pause.eq(Mux(short, last_fresh, full_fresh)),
            planned.offset.eq(Array(one.offset for one in formats)[command.variant]),
            planned.last_plane.eq(Array(one.bits - 1 for one in formats)[command.variant]),
            planned.minimum.eq(Array(one.minimum for one in formats)[command.variant]),
            planned.total.eq(Array(array.total_words(one) > 0 for one in formats)[command.variant]),
            planned.zero.eq(Array(array.zero_words(one) > 0 for one in formats)[command.variant]),
            planned.last_zero.eq(
                Array(max(0, array.zero_words(one) - 1) for one in formats)[command.variant]
            ),
        ]
        self._rows(m, command)

    def _rows(self, m: Module, command) -> None:
        """Rows of accumulators that places of a unit are apart."""
        array, planned = self._array, self.plan.payload
        rows = Signal((((1 << len(command.row_tiles)) - 1) * array.rows).bit_length())
        m.d.sync += [
            rows.eq(command.row_tiles * array.rows),
            planned.stride.eq(rows),
            planned.span.eq(rows * (array.outputs - 1)),
            planned.skip.eq(planned.span + array.rows),
            planned.too_many.eq(rows > self._design.accumulator_rows // 2 // array.outputs),
        ]
