"""The steps of a bit-serial core: which term of which slice of which group, and what is read when."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from hw.array.bit_serial.plan import plan
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

    def __init__(self, *, design: Design, array: Any) -> None:
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
        self._words_left = Signal.like(self.current.words_left)
        current, index = self.current, Signal(exact_log2(self._array.slices))
        slice_last, word_last, load, dropped = Signal(), Signal(), Signal(), Signal()
        group_final, tile_final, command_final = Signal(), Signal(), Signal()
        tile_end, command_end = Signal(), Signal()
        term = Signal.like(current.terms_left)
        # One cycle ahead: a slice has two terms or more.
        ends = self.step & ~self.halt & (term == current.terms_left)
        m.d.comb += [
            self.group_last.eq((word_last & group_final) | dropped),
            tile_end.eq(word_last & tile_final),
            command_end.eq((word_last & command_final) | dropped),
            self.ends.eq(command_end | self.configure),
        ]
        begins = self._follow(m, word_last & group_final & ~command_final, command_end, load)
        final_row, final_columns = self._tiles(m, tile_end, load)
        final_word = self._words(m, word_last, tile_end, load, group_final)
        m.d.sync += [
            tile_final.eq(final_word & group_final),
            command_final.eq(group_final & ((final_word & final_row & final_columns) | self.stop)),
            # The encoder goes on to the last term of its slice.
            dropped.eq(delayed(m, self.halt & self.step, max(one.terms for one in self._array.formats) - 1)),
            slice_last.eq(ends),
            word_last.eq(ends & index.all()),
            term.eq(Mux(self.step & ~slice_last, term + 1, 0)),
            index.eq(Mux(self.step, index + slice_last, 0)),
            self.part.eq(Mux(self.step & ~self.group_last, self.part + slice_last, 0)),
            self.step.eq((begins | (self.step & ~self.group_last)) & ~self.halt),
            self.group.eq(begins & ~self.halt),
            self.word.eq((begins | (word_last & ~self.group_last)) & ~self.halt),
            self.slice.eq((begins | (slice_last & ~self.group_last)) & ~self.halt),
        ]
        self._keep(m, load)
        return m

    def _keep(self, m: Module, load) -> None:
        """``current``: the planner has it as long as there is no other command."""
        if self._array.single:
            m.d.comb += self.current.eq(self.plan.payload)
        else:
            with m.If(load):
                m.d.sync += self.current.eq(self.plan.payload)

    def _follow(self, m: Module, goes_on, command_end, load):
        """The next group of the command, or the next command; after a pause. Returned: the next cycle is its first."""
        waiting, left = Signal(), Signal.like(self.current.pause)
        next_last, here, pauses, begins = Signal(), Signal.like(left), Signal(), Signal()
        after, current = self.plan.payload, self.current
        executes = ~after.command.configure if self._design.geometry.settings else 1
        starts = load & executes
        m.d.comb += [
            self.plan.ready.eq((command_end | ~(self.step | waiting)) & ~self.halt),
            load.eq(self.plan.valid & self.plan.ready),
            begins.eq((starts & (after.first_pause == 0)) | (goes_on & ~pauses) | (waiting & (left == 0))),
            self.running.eq(self.step | waiting | self.configure),
        ]
        m.d.sync += [
            # The words after this one are those of the last group at most.
            next_last.eq(~self._words_left[exact_log2(self._array.group_words) :].any()),
            here.eq(
                Mux(
                    self._words_left[-1],
                    current.first_pause,
                    Mux(next_last, current.last_pause, current.pause),
                )
            ),
            pauses.eq(here != 0),
            left.eq(Mux(starts | goes_on, Mux(starts, after.first_pause, here) - 1, left - 1)),
            self.configure.eq(load & ~executes),
            waiting.eq(
                ((starts & (after.first_pause != 0)) | (goes_on & pauses) | (waiting & (left != 0)))
                & ~self.halt
            ),
        ]
        return begins

    def _tiles(self, m: Module, tile_end, load):
        """Row tiles within column tiles. Returned: the tile is the last with its columns; there are no columns after those."""
        rows_left, columns_left = Signal.like(self.current.rows_left), Signal.like(self.current.columns_left)
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
        return rows_left[-1], columns_left[-1]

    def _words(self, m: Module, word_last, tile_end, load, group_final):
        """Words of activations within a tile. Returned: the word is its last."""
        left, place = self._words_left, Signal(exact_log2(self._array.group_words))
        m.d.sync += group_final.eq(left[-1] | place.all())
        with m.If(load):
            m.d.sync += [left.eq(self.plan.payload.words_left), place.eq(0), self.first_group.eq(1)]
        with m.Elif(tile_end):
            m.d.sync += [left.eq(self.current.words_left), place.eq(0), self.first_group.eq(1)]
        with m.Elif(word_last):
            m.d.sync += [left.eq(left - 1), place.eq(place + 1)]
            with m.If(group_final):
                m.d.sync += self.first_group.eq(0)
        return left[-1]
