"""On-chip memory between DMA and array: written a bus beat at a time, read a word at a time."""

from __future__ import annotations

import operator

from amaranth.hdl import Module
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In
from amaranth.utils import exact_log2

from hw.delay import delayed, without_reset
from hw.interfaces import read_port, write_port
from hw.memory.registered import RegisteredMemory
from hw.timing import SCRATCHPAD


class Scratchpad(wiring.Component):
    """Block RAM with one write and one read port, which never wait for each other.

    Parameters
    ----------
    words, word_bytes : int
        Depth and width as the reader sees them.
    beat_bytes : int
        Width of a write. Word and beat are a power of two each; either may be the larger.
    kept : bool
        Data passes registers; otherwise only addresses do, which have fewer bits.

    Members
    -------
    write : In(``write_port``), address in beats
    read : In(``read_port``), address in words

    Timing
    ------
    Data comes ``hw.timing.SCRATCHPAD`` cycles after its address: the address' register, block RAM, the block's own, then
    one behind the choice of the part; or, not ``kept``, registers of the address. What is written in cycle t is read by an
    address in cycle t or later; an address in cycle t - 1 may find anything.

    Raises
    ------
    TypeError, ValueError
        A size that is not a power of two, or ``words`` below 1 or not whole beats.
    """

    def __init__(self, *, words: int, word_bytes: int, beat_bytes: int, kept: bool = True) -> None:
        self._kept = kept
        self._words, self._word, self._beat = map(operator.index, (words, word_bytes, beat_bytes))
        for name, size in (("word_bytes", self._word), ("beat_bytes", self._beat)):
            if size < 1 or size & (size - 1):
                raise ValueError(f"{name} must be a power of two, not {size!r}")
        if self._words < 1 or self._words * self._word % self._beat:
            raise ValueError(
                f"words must fill whole beats of {beat_bytes} bytes, not {words!r} words of {word_bytes}"
            )
        super().__init__(
            {
                "write": In(write_port(beats=self._words * self._word // self._beat, width=8 * self._beat)),
                "read": In(read_port(words=self._words, width=8 * self._word)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        row = max(self._word, self._beat)
        lanes, parts = exact_log2(row // self._beat), exact_log2(row // self._word)
        m.submodules.storage = storage = RegisteredMemory(
            depth=self._words * self._word // row,
            lanes=1 << lanes,
            lane_width=8 * self._beat,
            kept=self._kept,
        )
        # Its own register: the way to all the blocks takes most of a cycle. Without parts to be chosen data needs none.
        early = 1 if self._kept else SCRATCHPAD - 1 - (parts > 0)
        address = delayed(m, self.read.address, early, reset_less=True)
        m.d.comb += [
            storage.write_address.eq(self.write.address >> lanes),
            storage.write_data.eq(self.write.data.replicate(1 << lanes)),
            storage.write_enable.eq(self.write.valid << self.write.address[:lanes]),
            storage.read_address.eq(address >> parts),
        ]
        words = data.View(data.ArrayLayout(8 * self._word, 1 << parts), storage.read_data)
        if parts or self._kept:
            chosen = delayed(m, address[:parts], SCRATCHPAD - 1 - early, reset_less=True)
            m.d.sync += without_reset(m, self.read.data).eq(words[chosen] if parts else words[0])
        else:
            m.d.comb += self.read.data.eq(words[0])
        return m
