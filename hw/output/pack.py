"""Packs groups of results into bus beats, at any byte alignment."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from hw.control.isa import OutputMode
from hw.delay import without_reset
from hw.design import Design
from hw.timing import PACK

_ROTATIONS = PACK - 1
"""Stages that share the rotation; the last one merges."""


def place_layout(design: Design) -> data.StructLayout:
    """Where a group's bytes go: from byte ``first`` of a beat to before ``end``, which may lie in the beat behind.

    ``valid``: the group has bytes. ``emit``: the beat is complete with it (``first`` lies in it).
    """
    bits = exact_log2(design.data_bytes)
    return data.StructLayout({"valid": 1, "emit": 1, "first": bits, "end": bits + 1})


def beat_members(design: Design) -> dict:
    """A bus beat on its way to the FIFO."""
    return {
        "coming": Out(1),
        "valid": Out(1),
        "data": Out(8 * design.data_bytes),
        "strobe": Out(design.data_bytes),
    }


class Packer(wiring.Component):
    """Merges groups of results into beats with byte strobes.

    Only the few bytes of a group are rotated; each byte lane of the beat then sees one byte of the rotated group and
    either takes it or does not. The wide part of a shifter over the whole beat is not needed.

    Parameters
    ----------
    design : Design

    Members
    -------
    results : ``output_lanes`` words
    raw : each result has four bytes (else the lowest ones, as many as ``Geometry.result_bytes`` says)
    place : ``place_layout``
    clear : forget what has been gathered
    valid, data, strobe : a beat
    coming : there is a beat in the next cycle

    Timing
    ------
    The beat that a group completes is there ``hw.timing.PACK`` cycles after the group. A group may lie across two beats
    but completes one at most; the bytes in the second are kept for it. Never stalled.
    """

    def __init__(self, *, design):
        if not isinstance(design, Design):
            raise TypeError(f"design must be a Design, not {design!r}")
        self._design = design
        super().__init__(
            {
                "results": In(data.ArrayLayout(32, design.output_lanes)),
                "raw": In(1),
                "place": In(place_layout(design)),
                "clear": In(1),
                **beat_members(design),
            }
        )

    def elaborate(self, platform):
        m = Module()
        size, lanes = self._design.data_bytes, self._design.output_lanes
        rotated = self._rotate(m)

        # Masks over the beat: bytes that the group has here, and in the beat behind.
        place = self.place
        low, wraps = place.end[:-1], place.end[-1]
        from_first, to_end, behind = Signal(size), Signal(size), Signal(size)
        here, wrapped = Signal(size), Signal(size)
        emits = Signal(_ROTATIONS)
        m.d.sync += [
            from_first.eq(Cat(place.valid & (place.first <= i) for i in range(size))),
            to_end.eq(Cat(wraps | (low > i) for i in range(size))),
            behind.eq(Cat(place.valid & wraps & (low > i) for i in range(size))),
            here.eq(from_first & to_end),
            wrapped.eq(behind),
            emits.eq(Cat(place.emit, emits)),
        ]

        emit = emits[-1]
        held = Signal(size)
        gathered = Signal(data.ArrayLayout(8, size), reset_less=True)
        beat = data.View(data.ArrayLayout(8, size), without_reset(m, self.data))
        for i in range(size):
            byte = rotated.word_select(i % (4 * lanes), 8)
            with m.If(here[i] | emit):
                m.d.sync += gathered[i].eq(byte)
            m.d.sync += beat[i].eq(Mux(here[i], byte, gathered[i]))
        m.d.sync += [
            held.eq(Mux(self.clear, 0, Mux(emit, wrapped, held | here))),
            self.strobe.eq(held | here),
            self.valid.eq(emit),
        ]
        m.d.comb += self.coming.eq(emit)
        return m

    def _rotate(self, m):
        """The group's bytes, rotated so that its first stands at byte ``first`` modulo the group's greatest size."""
        lanes = self._design.output_lanes
        narrow = 8 * self._design.geometry.result_bytes(OutputMode.REQUANTISED)
        group = Mux(self.raw, self.results.as_value(), Cat(result[:narrow] for result in self.results))
        amounts = self.place.first[: exact_log2(4 * lanes)]
        split = len(amounts) // _ROTATIONS
        later = Signal(len(amounts) - split, reset_less=True)
        m.d.sync += later.eq(amounts[split:])
        for name, bits, first in (("fine", amounts[:split], 0), ("coarse", later, split)):
            for i, bit in enumerate(bits):
                group = Mux(bit, group.rotate_left(8 << (first + i)), group)
            rotated = Signal(32 * lanes, name=name, reset_less=True)
            m.d.sync += rotated.eq(group)
            group = rotated
        return group
