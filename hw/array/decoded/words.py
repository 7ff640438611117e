"""Where words of activations end whose slots are of 4 bits, but those of scales."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

AHEAD = 3
"""Steps by which the end of a word is known before; fewer than there are in a word or a block."""


def is_scale(slot: Value, length: Value) -> Value:
    """Whether a slot of a block, from 0 on, is behind its codes. ``length``: how many these are, a power of two."""
    return (slot & length).any()


class WordEnds(wiring.Component):
    """Counts slots and bytes of a row's stream ahead of its steps.

    Parameters
    ----------
    word_bits : int
        Logarithm of the bytes of a word, 4 or more of them.
    slot_bits : int
        Of the number of a block's slot.

    Members
    -------
    begin : In(1)
        The next cycle is step 0 of a tile; from then on there is a step in each cycle.
    narrow : In(1)
        Slots of codes have 4 bits.
    length : In(slot_bits), end : In(slot_bits)
        Codes of a block, a power of two, and number of its last slot; from step 0 of the tile on.
    ends : Out(1)
        ``AHEAD`` steps later a word ends.
    """

    def __init__(self, *, word_bits: int, slot_bits: int) -> None:
        self._word_bits, self._slot_bits = word_bits, slot_bits
        super().__init__(
            {
                "begin": In(1),
                "narrow": In(1),
                "length": In(slot_bits),
                "end": In(slot_bits),
                "ends": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        slot, place = Signal(self._slot_bits), Signal(self._word_bits + 1)
        scale = is_scale(slot, self.length)
        m.d.comb += self.ends.eq(
            Mux(self.narrow, place[1:].all() & (place[0] | scale), place[: self._word_bits].all())
        )
        m.d.sync += [
            slot.eq(Mux(slot == self.end, 0, slot + 1)),
            # A scale takes both halves of its byte.
            place.eq(place + 1 + (self.narrow & scale)),
        ]
        with m.If(self.begin):
            m.d.sync += [slot.eq(AHEAD), place.eq(AHEAD)]
        return m
