"""The steps of a bit-serial core that skips terms which are zero in all lanes of all columns."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2, exact_log2

from hw.array.bit_serial.geometry import LOWER_WORD
from hw.array.bit_serial.sequencer import Sequencer
from hw.array.bit_serial.words import WordTimes
from hw.delay import delayed
from hw.pe.weight_format import NIBBLE
from hw.timing import MASK_LEAD


class SkippingSequencer(Sequencer):
    """Counts slices, words, groups and tiles as a ``Sequencer``; of each slice it takes the terms of the slice's mask.

    A slice takes as many cycles as terms, or ``WeightFormat.least_cycles`` if that is more; a block whose slices take less than
    ``BitSerial.block_least`` together is as much longer at its end. The masks of a block come while the one before is under way.

    Members
    -------
    As of ``Sequencer``; ``step`` is low in the cycles of a slice that have no term, and pauses do not exist.

    index : Out(2)
        Of the term.
    lead : Out(1)
        The word of the cycle after the next is to be the first masks of the command.
    block : Out(1)
        The first cycle of a block.
    block_last, tile_last, again_next : Out(1)
        From three cycles after ``block`` to the block's end: it is its tile's last; its tile is the command's last; the next
        tile has the same columns.
    masks : In(NIBBLE * slices of a block), masks_come : In(1)
        Those of the next block, the first slice's lowest.

    Timing
    ------
    Block follows block, command follows command. The first step of a command is ``MASK_LEAD + 1`` cycles after its plan is taken.
    """

    def _members(self):
        flags = ("lead", "block", "block_last", "tile_last", "again_next")
        masks = NIBBLE * self._array.block_words * self._array.slices
        own = {"index": Out(2), "masks": In(masks), "masks_come": In(1)}
        return super()._members() | own | {name: Out(1) for name in flags}

    def elaborate(self, platform):
        m = Module()
        self._words_left = Signal.like(self.current.words_left)
        active, place = Signal(), Signal(exact_log2(self._array.slices))
        slice_end, word_end, block_final, block_end = Signal(), Signal(), Signal(), Signal()
        group_final, load, dropped = Signal(), Signal(), Signal()
        tile_end, command_end = Signal(), Signal()
        m.d.comb += [
            word_end.eq(slice_end & place.all()),
            block_end.eq(word_end & block_final),
            self.group_last.eq((word_end & group_final) | dropped),
            self.ends.eq(command_end | self.configure),
        ]
        first = self._lead(m, active, command_end, load)
        again = first | (self.group_last & ~command_end)
        goes_on = slice_end & ~self.group_last
        new_block = again | (goes_on & block_end)
        final_row, final_columns = self._tiles(m, tile_end, load)
        final_word = self._words(m, word_end, tile_end, load, group_final)
        m.d.comb += [
            self.tile_last.eq(final_row & final_columns),
            self.again_next.eq(~final_row),
            tile_end.eq(self.group_last & final_word),
            command_end.eq(self.group_last & ((final_word & self.tile_last) | self.stop | dropped)),
        ]
        self._blocks(m, word_end, new_block, block_final)
        held = self._held(m, new_block)
        self._terms(m, active, slice_end, again | goes_on, new_block, place, block_final, held)
        m.d.sync += [
            dropped.eq(delayed(m, self.halt & active, max(one.terms for one in self._array.formats) - 1)),
            active.eq((again | (active & ~self.group_last)) & ~self.halt),
            place.eq(Mux(again, 0, place + slice_end)),
            self.part.eq(Mux(again, 0, self.part + slice_end)),
            self.group.eq(again & ~self.halt),
            self.block.eq(new_block & ~self.halt),
            self.word.eq((again | (goes_on & word_end)) & ~self.halt),
            self.slice.eq((again | goes_on) & ~self.halt),
        ]
        self._keep(m, load)
        return m

    def _lead(self, m: Module, active, command_end, load):
        """From one command to the next. Returned: the next cycle is a command's first."""
        waiting, left = Signal(), Signal(range(MASK_LEAD))
        executes = ~self.plan.payload.command.configure if self._design.geometry.settings else 1
        m.d.comb += [
            self.plan.ready.eq((command_end | ~(active | waiting)) & ~self.halt),
            load.eq(self.plan.valid & self.plan.ready),
            self.running.eq(active | waiting | self.configure),
            self.lead.eq(waiting & (left == MASK_LEAD - 2)),
        ]
        m.d.sync += [
            left.eq(Mux(load, MASK_LEAD - 1, left - 1)),
            self.configure.eq(load & ~executes),
            waiting.eq(((load & executes) | (waiting & (left != 0))) & ~self.halt),
        ]
        return waiting & (left == 0)

    def _blocks(self, m: Module, word_end, new_block, block_final) -> None:
        """Words within a block, and which block it is."""
        words, left = self._array.block_words, self._words_left
        place = Signal(exact_log2(words))
        m.d.sync += [
            place.eq(Mux(new_block, 0, place + word_end)),
            block_final.eq(left[-1] | place.all()),
            # The words after the first one are at most those that a block may have beside it.
            self.block_last.eq(left[-1] | (left < words - 1)),
        ]

    def _held(self, m: Module, new_block):
        """Returned: the block must not end in this cycle."""
        left = Signal(signed(ceil_log2(self._array.block_least) + 1), init=-1)
        m.d.sync += left.eq(Mux(new_block, self._array.block_least - 2, left - ~left[-1]))
        return ~left[-1]

    def _terms(self, m: Module, active, slice_end, begins, new_block, place, block_final, held) -> None:
        """The terms of a slice, and its end."""
        coming, kept = Signal.like(self.masks), Signal.like(self.masks)
        with m.If(self.masks_come):
            m.d.sync += coming.eq(self.masks)
        masks, rest, more = Signal.like(self.masks), Signal(NIBBLE), Signal(2)
        last = (place == self._array.slices - 2) & block_final & ~new_block
        m.d.comb += [
            masks.eq(Mux(new_block, coming, kept)),
            slice_end.eq(active & ~(rest.any() | more[0] | (place.all() & block_final & held))),
        ]
        with m.If(begins):
            m.d.sync += kept.eq(masks >> NIBBLE)
        due = Signal(NIBBLE)
        m.d.comb += due.eq(Mux(begins, masks[:NIBBLE], rest))
        m.d.sync += [
            rest.eq(due & (due - 1)),
            self.step.eq(due.any() & ~self.halt),
            self.index.eq(Mux(due[0], 0, Mux(due[1], 1, Mux(due[2], 2, 3)))),
            more.eq(Mux(begins, self._more(m, new_block, last), more >> 1)),
        ]
        with m.If(self.halt):
            m.d.sync += rest.eq(0)

    def _more(self, m: Module, first, last) -> Value:
        """Cycles beside its first that the coming slice takes at least, one bit each."""
        part, several = Signal.like(self.part), Signal(2)
        upper, reads = Signal(), Signal()
        m.d.comb += part.eq(Mux(first, 0, self.part + 1))
        with m.Switch(self.current.format):
            for one in sorted(self._array.formats):
                each = NIBBLE // one.way.high if one.way.high else 0
                with m.Case(one):
                    m.d.comb += [
                        upper.eq(part[: exact_log2(each)].all() if each else 0),
                        reads.eq(one.way.low == NIBBLE),
                    ]
        m.d.comb += several.eq(upper + (first | (last & reads)))
        return Cat(several != 0, several[1])


class SkippingWordTimes(WordTimes):
    """The same where a slice may take one cycle: a word must stay until the last slice of the one before it has begun.

    Members
    -------
    As of ``WordTimes``.

    tile : Out(1)
        The cycle before ``scale``.

    Timing
    ------
    The scales' word is read one cycle after the group's first step, or two without upper parts; a word of upper parts two cycles
    after the first step of a slice, a word of lower parts three.
    """

    def _members(self):
        return super()._members() | {"tile": Out(1)}

    def elaborate(self, platform):
        m = Module()
        high, low, early = Signal(), Signal(), Signal()
        with m.Switch(self.format):
            for one in sorted(self._formats):
                way = one.way
                with m.Case(one):
                    m.d.comb += [
                        early.eq(way.high != 0),
                        high.eq(self.slice & (self._every(way.high) if way.high else 0)),
                        low.eq(self.slice & self._every(way.low)),
                    ]
        m.d.comb += [
            self.tile.eq(self.group & early | delayed(m, self.group & ~early, 1)),
            self.scale.eq(delayed(m, self.tile, 1)),
            self.high.eq(delayed(m, high, LOWER_WORD - 1)),
            self.low.eq(delayed(m, low, LOWER_WORD)),
        ]
        return m
