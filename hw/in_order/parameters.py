"""Parameters of in-order designs: written a bus beat at a time, read in words of 32 bits."""

from __future__ import annotations

from amaranth.hdl import Module
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In
from amaranth.utils import exact_log2

from hw.control.isa import PARAMETER_BYTES
from hw.delay import delayed
from hw.design import Design
from hw.interfaces import read_port, write_port

WORD_BYTES = 4
"""A quarter of an entry: bias, multiplier, shift, and zeros that are not read."""
ENTRY_WORDS = PARAMETER_BYTES // WORD_BYTES


class Parameters(wiring.Component):
    """The parameter scratchpad, a block RAM with nothing around it.

    A word is read while its successor is asked for, so that the wide word of an entry is nowhere kept.

    Parameters
    ----------
    design : Design

    Members
    -------
    write : In(``write_port``), address in beats
    read : In(``read_port``), address in words: entry * ``ENTRY_WORDS`` + word

    Timing
    ------
    Data comes ``hw.timing.LEAN_PARAMETER_READ`` cycles after its address. What is written in cycle t is read by an address in
    cycle t + 1 or later.
    """

    def __init__(self, *, design: Design) -> None:
        if not isinstance(design, Design):
            raise TypeError(f"design must be a Design, not {design!r}")
        self._design = design
        super().__init__(
            {
                "write": In(write_port(beats=design.parameter_beats, width=8 * design.data_bytes)),
                "read": In(read_port(words=ENTRY_WORDS * design.parameter_entries, width=8 * WORD_BYTES)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        width, parts = len(self.write.data), exact_log2(self._design.data_bytes // WORD_BYTES)
        m.submodules.words = storage = memory.Memory(shape=width, depth=self._design.parameter_beats, init=[])
        write, read = storage.write_port(), storage.read_port()
        m.d.comb += [
            write.addr.eq(self.write.address),
            write.data.eq(self.write.data),
            write.en.eq(self.write.valid),
            read.addr.eq(self.read.address >> parts),
        ]
        words = data.View(data.ArrayLayout(8 * WORD_BYTES, 1 << parts), read.data)
        chosen = delayed(m, self.read.address[:parts], 1)
        m.d.comb += self.read.data.eq(words[chosen] if parts else words[0])
        return m
