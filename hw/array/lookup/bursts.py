"""When a table-lookup core reads the activations of groups whose tables are quantised: all of a group one after the other."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2, exact_log2

from hw.array.lookup.geometry import LookupArray
from hw.array.lookup.quantised import TAG_BITS
from hw.array.lookup.quantised_tables import TAKE
from hw.pe.lookup_times import K

DEPTH_BITS = 24
"""Of the words of activations of a tile, at most."""


class Bursts(wiring.Component):
    """From a group's first word of weights on an activation a cycle, a word of row 0 every ``array.word_steps`` cycles.

    Members
    -------
    group, tile : In(1)
        A group begins; it is its tile's first. Not before the one before is through.
    words : In(DEPTH_BITS)
        Words of activations of a tile, less one.
    halt : In(1)
        Stop at once.
    word : Out(1)
        A word of row 0 is due: in the next cycle. Combinational, as the next two.
    take : Out(TAKE)
        Of the activation that comes with it, or later.
    tag : Out
        Of the group which is under way.
    """

    def __init__(self, *, array: LookupArray) -> None:
        self._array = array
        super().__init__(
            {
                "group": In(1),
                "tile": In(1),
                "words": In(DEPTH_BITS),
                "halt": In(1),
                "word": Out(1),
                "take": Out(TAKE),
                "tag": Out(TAG_BITS),
            }
        )

    def elaborate(self, platform):
        m = Module()
        array, take = self._array, self.take
        # Of the next activation: its place in its word, and the word's in its group; of the tile's words those after this one.
        step, place = Signal(exact_log2(array.word_steps)), Signal(ceil_log2(array.group_words))
        left, before = Signal(DEPTH_BITS), Signal(TAG_BITS)
        active, last_word, ends = Signal(), Signal(), Signal()
        m.d.comb += [
            self.word.eq(self.group | (active & (step == 0))),
            ends.eq(last_word & step.all()),
            self.tag.eq(before + self.group),
            take.write.eq(self.group | active),
            take.first.eq(self.group),
            take.last.eq(last_word & step[exact_log2(K) :].all()),
            take.tag.eq(self.tag),
        ]
        # A word is longer than it takes to see that it is the last.
        m.d.sync += [
            before.eq(self.tag),
            last_word.eq((left == 0) | (place == array.group_words - 1)),
        ]
        with m.If(self.word):
            m.d.sync += left.eq(Mux(self.group & self.tile, self.words, left - 1))
        with m.If(take.write):
            m.d.sync += [step.eq(step + 1), active.eq(1), place.eq(place + step.all())]
        with m.If(ends & take.write | self.halt):
            m.d.sync += [step.eq(0), place.eq(0), active.eq(0)]
        return m
