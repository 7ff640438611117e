"""A memory whose data passes a register of its own, which an FPGA's block RAM holds inside."""

from __future__ import annotations

import operator

from amaranth.hdl import Module, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2


class RegisteredMemory(wiring.Component):
    """One write and one read port; nothing stands between the memory and the register behind it.

    The register is never reset and loads in every cycle, so that synthesis may take the one inside a block RAM
    (``fpga.block_ram``): without, data comes late in its cycle.

    Parameters
    ----------
    depth : int
        Words, 1 or more.
    lanes, lane_width : int
        A word is ``lanes`` parts of ``lane_width`` bits, written one by one or together; 1 or more each.
    kept : bool
        With the register. Without it, data comes a cycle earlier: where block RAM has none, it would take a cell for each bit.

    Members
    -------
    write_enable : In(lanes), write_address, write_data : In
        Written at the end of the cycle.
    read_address : In, read_data : Out
        Data comes 2 cycles after its address, or 1 if it is not ``kept``. What is written in the cycle of the address may or may
        not be seen.

    Raises
    ------
    TypeError, ValueError
        A size that is not an integer of 1 or more.
    """

    def __init__(self, *, depth: int, lanes: int, lane_width: int, kept: bool = True) -> None:
        self._depth, self._lane_width = operator.index(depth), operator.index(lane_width)
        lanes, self._kept = operator.index(lanes), kept
        for name, size in (("depth", depth), ("lanes", lanes), ("lane_width", lane_width)):
            if size < 1:
                raise ValueError(f"{name} must be 1 or more, not {size!r}")
        width = lanes * lane_width
        super().__init__(
            {
                "write_enable": In(lanes),
                "write_address": In(ceil_log2(depth)),
                "write_data": In(width),
                "read_address": In(ceil_log2(depth)),
                "read_data": Out(width),
            }
        )

    def elaborate(self, platform):
        m = Module()
        width = len(self.write_data)
        m.submodules.words = storage = memory.Memory(shape=width, depth=self._depth, init=[])
        write, read = storage.write_port(granularity=self._lane_width), storage.read_port()
        m.d.comb += [
            write.addr.eq(self.write_address),
            write.data.eq(self.write_data),
            write.en.eq(self.write_enable),
            read.addr.eq(self.read_address),
        ]
        if self._kept:
            kept = Signal(width, reset_less=True)
            m.d.sync += kept.eq(read.data)
            m.d.comb += self.read_data.eq(kept)
        else:
            m.d.comb += self.read_data.eq(read.data)
        return m
