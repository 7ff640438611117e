"""Where the results of a bit-serial core go that carries out one command at a time."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2, exact_log2

from hw.array.bit_serial.geometry import BitSerial
from hw.design import Design, ceil_div


class ResultPlaces(wiring.Component):
    """Notes the groups that end, and counts their results when they come: what is on its way takes two bits a group.

    Parameters
    ----------
    design : Design
    array : BitSerial

    Members
    -------
    clear : In(1)
        A command is taken: forget all groups.
    base : In, accumulate : In(1)
        Of the command: row of the first result, within its half; whether it adds to what is there.
    ended : In(1), first : In(1), ends : In(1)
        The last step of a group; of a tile's first group; of the command.
    valid : In(1)
        A result comes.
    address : Out, add : Out(1), last : Out(1)
        Its row within the half, whether it is added; it is the command's last.
    past : Out(1)
        A result goes past the end of its half.

    Timing
    ------
    Rows of a group may come in any cycles, and those of the next from two cycles after its last on.
    """

    def __init__(self, *, design: Design, array: BitSerial) -> None:
        self._array = array
        row = ceil_log2(design.accumulator_rows // 2)
        super().__init__(
            {
                "clear": In(1),
                "base": In(row),
                "accumulate": In(1),
                "ended": In(1),
                "first": In(1),
                "ends": In(1),
                "valid": In(1),
                "address": Out(row),
                "add": Out(1),
                "last": Out(1),
                "past": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        array, rows = self._array, self._array.rows
        depth = 1 << (ceil_div(array.result_latency, array.least)).bit_length()
        firsts, ends = Signal(depth), Signal(depth)
        # Groups that are noted, less one; all ones are none.
        bits = exact_log2(depth)
        noted, begun, row = Signal(bits + 1, init=(2 << bits) - 1), Signal(), Signal(range(rows))
        some, taken, row_last, final = Signal(), Signal(), Signal(), Signal()
        # One bit more than a row has, which says that it is past the end.
        tile, onward, here = (Signal(len(self.base) + 1) for _ in range(3))
        first = Array(firsts)[noted[:bits]]
        m.d.comb += [
            some.eq(~noted[-1]),
            taken.eq(some & ~begun),
            row_last.eq(self.valid & (row == rows - 1)),
            self.last.eq(row_last & final),
            onward.eq(Mux(first, tile + rows, tile)),
            self.address.eq(here),
            self.past.eq(self.valid & here[-1]),
        ]
        m.d.sync += [
            noted.eq(noted + Mux(self.ended, ~taken, taken.replicate(len(noted)))),
            begun.eq(taken | (begun & ~row_last)),
        ]
        with m.If(self.ended):
            m.d.sync += [firsts.eq(Cat(self.first, firsts)), ends.eq(Cat(self.ends, ends))]
        with m.If(self.valid):
            m.d.sync += [here.eq(here + 1), row.eq(Mux(row_last, 0, row + 1))]
        with m.If(taken):
            m.d.sync += [
                tile.eq(onward),
                here.eq(onward),
                self.add.eq(self.accumulate | ~first),
                final.eq(Array(ends)[noted[:bits]]),
            ]
        with m.If(self.clear):
            m.d.sync += [noted.eq(-1), begun.eq(0), row.eq(0), tile.eq(self.base - rows)]
        return m
