"""The steps of a bit-serial core: which term of which slice of which group, and what is read when."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from hw.array.bit_serial.geometry import BitSerial
from hw.array.bit_serial.plan import COUNT_BITS, DEPTH_BITS, plan
from hw.delay import delayed
from hw.design import Design


class Sequencer(wiring.Component):
    """Counts terms, slices, words and groups of a tile, and the tiles of a command; one follows the other without a gap.

    A word of activations lasts four cycles or more: what comes after it is settled while it lasts, so that its end has nothing
    more to do than to choose.

    Parameters
    ----------
    design : Design
    array : BitSerial

    Members
    -------
    plan : In(stream of ``plan``)
        Of ``Planner``.
    stop : In(1)
        End the command with the group under way.
    halt : In(1)
        Stop at once. A sum so far is let out: ``group_last`` when its slice would have ended.
    current : Out(plan)
        The command under way.
    running : Out(1)
    step : Out(1)
        A term of a slice. ``slice``, ``word``, ``group``: the first of a slice, of a word of activations, of a group.
    part : Out(2)
        Which slice of the group it is, modulo four.
    first_group, fresh, again : Out(1)
        Of the group: it is its tile's first; its tile is the command's first; its tile has the columns of the tile before.
    group_last, ends, configure : Out(1)
        The step is the last of a group; and of the command. ``configure``: the command is a CONFIGURE, which ``ends`` at once.

    Timing
    ------
    Group follows group after its plan's pause, command follows command at once. The first step of a command is in the cycle after
    its plan is taken, or as many cycles later as its first group must pause.
    """

    def __init__(self, *, design: Design, array: BitSerial) -> None:
        self._design, self._array = design, array
        super().__init__(self._members())

    def _members(self) -> dict[str, Any]:
        flags = (
            "running",
            "step",
            "slice",
            "word",
            "group",
            "first_group",
            "fresh",
            "again",
            "group_last",
            "ends",
            "configure",
        )
        shape = plan(self._design, self._array)
        return {
            "plan": In(stream.Signature(shape)),
            "stop": In(1),
            "halt": In(1),
            "current": Out(shape),
            **{name: Out(1) for name in flags},
            "part": Out(2),
        }

    def elaborate(self, platform):
        m = Module()
        self._words_left = Signal(DEPTH_BITS + 1)
        current, index = self.current, Signal(exact_log2(self._array.slices))
        word_end, group_final, final_word, final_tile = Signal(), Signal(), Signal(), Signal()
        tile_end, command_end, load, dropped = Signal(), Signal(), Signal(), Signal()
        term = Signal.like(current.terms_last)
        slice_end = self.step & (term == current.terms_last)
        m.d.comb += [
            word_end.eq(slice_end & index.all()),
            self.group_last.eq((word_end & group_final) | dropped),
            tile_end.eq(self.group_last & final_word),
            command_end.eq(self.group_last & ((final_word & final_tile) | self.stop | dropped)),
            self.ends.eq(command_end | self.configure),
        ]
        begin = self._follow(m, tile_end, command_end, load)
        self._tiles(m, tile_end, load, final_tile)
        self._words(m, word_end, tile_end, load, final_word, group_final)
        m.d.sync += [
            # The encoder goes on to the last term of its slice.
            dropped.eq(delayed(m, self.halt & self.step, max(one.terms for one in self._array.formats) - 1)),
            term.eq(Mux(slice_end, 0, term + self.step)),
            index.eq(index + slice_end),
            self.part.eq(Mux(begin, 0, self.part + slice_end)),
            self.step.eq((begin | (self.step & ~self.group_last)) & ~self.halt),
            self.group.eq(begin & ~self.halt),
            self.word.eq((begin | (word_end & ~self.group_last)) & ~self.halt),
            self.slice.eq((begin | (slice_end & ~self.group_last)) & ~self.halt),
        ]
        with m.If(begin):
            m.d.sync += [term.eq(0), index.eq(0)]
        with m.If(load):
            m.d.sync += current.eq(self.plan.payload)
        return m

    def _follow(self, m: Module, tile_end, command_end, load):
        """The next group of the tile, the next tile, the next command; after a pause. Returned: the next cycle is its first."""
        waiting, left = Signal(), Signal.like(self.current.pause)
        next_last, next_pause, begins = Signal(), Signal.like(left), Signal()
        last_of_tile = Mux(tile_end, self.current.short, next_last)
        here = Mux(last_of_tile, self.current.last_pause, self.current.pause)
        after = self.plan.payload
        there = Mux(after.short, after.last_pause, after.pause)
        executes = ~after.command.configure if self._design.geometry.settings else 1
        follows = (load & executes) | (self.group_last & ~command_end)
        m.d.comb += [
            self.plan.ready.eq((command_end | ~(self.step | waiting)) & ~self.halt),
            load.eq(self.plan.valid & self.plan.ready),
            next_pause.eq(Mux(load, there, here)),
            begins.eq((follows & (next_pause == 0)) | (waiting & (left == 0))),
            self.running.eq(self.step | waiting | self.configure),
        ]
        m.d.sync += [
            # The words after this one are those of the last group at most.
            next_last.eq(~self._words_left[exact_log2(self._array.group_words) :].any()),
            left.eq(Mux(follows, next_pause - 1, left - 1)),
            self.configure.eq(load & ~executes),
            waiting.eq(((follows & (next_pause != 0)) | (waiting & (left != 0))) & ~self.halt),
        ]
        return begins

    def _tiles(self, m: Module, tile_end, load, final_tile):
        """Row tiles within column tiles. Returned: the tile is the last with its columns."""
        rows_left, columns_left = Signal(COUNT_BITS + 1), Signal(COUNT_BITS + 1)
        m.d.sync += final_tile.eq(rows_left[-1] & columns_left[-1])
        with m.If(load):
            m.d.sync += [rows_left.eq(self.plan.payload.rows_left), self.fresh.eq(1), self.again.eq(0)]
            m.d.sync += columns_left.eq(self.plan.payload.columns_left)
        with m.Elif(tile_end):
            m.d.sync += [
                rows_left.eq(Mux(rows_left[-1], self.current.rows_left, rows_left - 1)),
                columns_left.eq(columns_left - rows_left[-1]),
                self.fresh.eq(0),
                self.again.eq(~rows_left[-1]),
            ]
        return rows_left[-1]

    def _words(self, m: Module, word_end, tile_end, load, final_word, group_final) -> None:
        """Words of activations within a tile."""
        left, place = self._words_left, Signal(exact_log2(self._array.group_words))
        m.d.sync += [final_word.eq(left[-1]), group_final.eq(left[-1] | place.all())]
        with m.If(load):
            m.d.sync += [left.eq(self.plan.payload.words_left), place.eq(0), self.first_group.eq(1)]
        with m.Elif(tile_end):
            m.d.sync += [left.eq(self.current.words_left), place.eq(0), self.first_group.eq(1)]
        with m.Elif(word_end):
            m.d.sync += [left.eq(left - 1), place.eq(place + 1)]
            with m.If(group_final):
                m.d.sync += self.first_group.eq(0)
