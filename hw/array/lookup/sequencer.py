"""The steps of a table-lookup core: which word of which group in a cycle, and which lookup it is."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from hw.array.bit_serial.sequencer import Sequencer
from hw.array.lookup.plan import plan


class LookupSequencer(Sequencer):
    """Counts words of weights, chunks and groups of a tile, and the tiles of a command; one follows the other without a gap.

    A group is, after its pause: words of zero points, if its format has any; for each chunk, for each plane, for each place a
    word of lookups, and the same of totals, if its format has any; words of scales, and of minimums. A chunk takes two cycles or
    more.

    Parameters
    ----------
    design : Design
    array : LookupArray

    Members
    -------
    plan : In(stream of ``plan``)
        Of ``LookupPlanner``.
    stop : In(1)
        End the command with the group under way.
    halt : In(1)
        Stop at once: the group under way does not end.
    current : Out(plan)
        The command under way.
    running : Out(1)
    zero, step, scale : Out(1)
        The word is one of zero points, of lookups, of scales or minimums. ``index``: which of a group's zero points, or of its
        scales and then minimums.
    place, plane, bank : Out
        Of lookups; ``bank`` changes from chunk to chunk.
    total : Out(1)
        The lookup is one of totals, a chunk without activations of its own.
    chunk, word, group : Out(1)
        The first lookup of a chunk, of a word of activations; the first word of a group.
    first_chunk, first_group, fresh, again : Out(1)
        The chunk is its group's first; the group is its tile's; that is the command's; it has the columns of the one before.
    top, last : Out(1)
        Of the lookup of the cycle before: it is in its chunk's last plane; and that in the last of its group.
    group_last, ends : Out(1)
        The word is the last of a group; and of the command.

    Timing
    ------
    Group follows group after its plan's pause, command follows command at once. The first word of a command is in the cycle after
    its plan is taken, or as many cycles later as its first group must pause.
    """

    def _members(self) -> dict[str, Any]:
        array: Any = self._array
        flags = (
            "running", "zero", "step", "scale", "bank", "chunk", "word", "group", "first_chunk", "first_group", "fresh", "again",
            "top", "last", "group_last", "ends", "total",
        )  # fmt: skip
        shape = plan(self._design, array)
        most = max(max(array.zero_words(one), array.tail_words(one)) for one in array.variants)
        return {
            "plan": In(stream.Signature(shape)),
            "stop": In(1),
            "halt": In(1),
            "current": Out(shape),
            **{name: Out(1) for name in flags},
            "index": Out(range(max(2, most))),
            "place": Out(range(array.outputs)),
            "plane": Out(range(max(2, array.planes))),
        }

    def elaborate(self, platform):
        m = Module()
        array: Any = self._array
        self._words_left = Signal.like(self.current.words_left)
        load, code_last, group_final = Signal(), Signal(), Signal()
        tile_final, command_final, command_end = Signal(), Signal(), Signal()
        word_last = self._lookups(m, code_last)
        words = array.scale_words
        last_scale = Mux(self.current.minimum, 2 * words - 1, words - 1)
        total, total_before = self.current.total, Signal()
        m.d.comb += [
            code_last.eq(Mux(total, self.total & self._chunk_last, word_last & group_final)),
            self.last.eq(self.top & Mux(total, total_before, self._final_slice & group_final)),
            self.group_last.eq(self.scale & (self.index == last_scale)),
            command_end.eq(self.group_last & command_final),
            self.ends.eq(command_end),
        ]
        enters, zero = self._follow_group(m, self.group_last & ~command_final, command_end, load)
        final_row, final_columns = self._tiles(m, self.group_last & tile_final, load)
        advance = (word_last & ~group_final) | self.group_last
        final_word = self._words(m, advance, self.group_last & tile_final, load, group_final)
        zero_last = self.zero & (self.index == self.current.last_zero)
        codes = (enters & ~zero) | zero_last
        m.d.sync += [
            tile_final.eq(final_word & group_final),
            command_final.eq(group_final & ((final_word & final_row & final_columns) | self.stop)),
            self.zero.eq(((enters & zero) | (self.zero & ~zero_last)) & ~self.halt),
            self.step.eq((codes | (self.step & ~code_last)) & ~self.halt),
            self.total.eq(
                ((total & word_last & group_final) | (self.total & ~self._chunk_last)) & ~self.halt
            ),
            total_before.eq(self.total),
            self.scale.eq((code_last | (self.scale & ~self.group_last)) & ~self.halt),
            self.index.eq(Mux((self.zero & ~zero_last) | (self.scale & ~self.group_last), self.index + 1, 0)),
            self.group.eq(enters & ~self.halt),
            self.chunk.eq((codes | (self._chunk_last & ~code_last)) & ~self.halt),
            self.word.eq((codes | (word_last & ~group_final)) & ~self.halt),
            self.bank.eq(self.bank ^ self._chunk_last),
        ]
        with m.If(enters):
            m.d.sync += self.first_chunk.eq(1)
        with m.Elif(self._chunk_last):
            m.d.sync += self.first_chunk.eq(0)
        self._keep(m, load)
        return m

    def _lookups(self, m: Module, code_last):
        """Places within planes within chunks within a word of activations. Returned: the word's last lookup."""
        array: Any = self._array
        place_last, plane_final = Signal(), Signal()
        slice_ = Signal(exact_log2(array.slices))
        self._chunk_last, self._final_slice, stepped = Signal(), Signal(), Signal()
        m.d.comb += [
            self._chunk_last.eq(self.step & place_last & plane_final),
            self.top.eq(stepped & plane_final),
        ]
        m.d.sync += [
            # A plane has two places or more, and so has a chunk.
            place_last.eq(self.step & ~place_last & (self.place == array.outputs - 2)),
            plane_final.eq(self.plane == self.current.last_plane),
            self._final_slice.eq(slice_ == array.slices - 1),
            stepped.eq(self.step),
            self.place.eq(Mux(self.step & ~place_last, self.place + 1, 0)),
            self.plane.eq(Mux(self.step & ~self._chunk_last, self.plane + place_last, 0)),
            slice_.eq(Mux(self.step & ~code_last, slice_ + self._chunk_last, 0)),
        ]
        return self._chunk_last & self._final_slice & ~self.total

    def _follow_group(self, m: Module, goes_on, command_end, load):
        """The next group of the command, or the next command; after a pause.

        Returned: the next cycle is its first; and one of zero points.
        """
        waiting, left = Signal(), Signal.like(self.current.pause)
        next_last, here, pauses, enters = Signal(), Signal.like(left), Signal(), Signal()
        after, current = self.plan.payload, self.current
        m.d.comb += [
            self.plan.ready.eq((command_end | ~self.running) & ~self.halt),
            load.eq(self.plan.valid & self.plan.ready),
            enters.eq((load & (after.fresh_pause == 0)) | (goes_on & ~pauses) | (waiting & (left == 0))),
            self.running.eq(self.zero | self.step | self.scale | waiting),
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
            left.eq(Mux(load | goes_on, Mux(load, after.fresh_pause, here) - 1, left - 1)),
            waiting.eq(
                ((load & (after.fresh_pause != 0)) | (goes_on & pauses) | (waiting & (left != 0)))
                & ~self.halt
            ),
        ]
        return enters, Mux(load, after.zero, current.zero)
