"""Where the results of a table-lookup core go that carries out one command at a time."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from hw.array.lookup.geometry import LookupArray
from hw.design import ceil_div


class SinglePlaces(wiring.Component):
    """As :class:`hw.array.lookup.places.Places`; what all groups of the command share is given, so that a group takes three bits.

    Parameters
    ----------
    array : LookupArray
    row : int
        Bits of a row within half of the accumulators.

    Members
    -------
    clear : In(1)
        A command begins: forget all groups.
    base, stride : In, accumulate, whole : In(1)
        Of the command: row of its first result; rows from a place to the next; whether it adds to what is there; its format is
        not doubled.
    put, first, again, ends : In(1)
        The last word of a group; of a tile's first group; of a tile with the columns of the one before; of the command.
    due : In(1)
        The oldest group's first result comes in the next cycle.
    valid : In(1)
        A result comes.
    address : Out, add : Out(1), last : Out(1)
        Its row within the half; whether it is added; it is the command's last.
    past : Out(1)
        A result goes past the end of its half.
    """

    def __init__(self, *, array: LookupArray, row: int) -> None:
        self._array, self._row = array, row
        flags = ("clear", "accumulate", "whole", "put", "first", "again", "ends", "due", "valid")
        super().__init__(
            {
                **dict.fromkeys(flags, In(1)),
                "base": In(row),
                "stride": In(row + 1),
                "address": Out(row),
                "add": Out(1),
                "last": Out(1),
                "past": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        array = self._array
        group, flags = self._noted(m)
        slow, quick = array.paces
        cycle, place, row = (
            Signal(range(max(slow, quick))),
            Signal(range(array.outputs)),
            Signal(range(array.rows + 1)),
        )
        wraps, fresh, ends = Signal(), Signal(), Signal()
        # One bit more than a row has, which says that it is past the end. ``place_first`` stays at that of the last place.
        tile, begin, place_first, following, here = (Signal(self._row + 1) for _ in range(5))
        last_place = place == array.outputs - 1
        m.d.comb += [
            wraps.eq((cycle == Mux(self.whole, slow, quick) - 1) & ~last_place),
            self.last.eq(ends & self.valid & last_place & (row == array.rows - 1)),
            begin.eq(Mux(fresh, self.base, Mux(flags[1], tile, place_first) + array.rows)),
            following.eq(place_first + self.stride),
            self.address.eq(here),
            self.past.eq(self.valid & here[-1]),
        ]
        m.d.sync += [cycle.eq(Mux(wraps, 0, cycle + 1)), here.eq(here + self.valid), row.eq(row + self.valid)]
        with m.If(wraps):
            m.d.sync += [place_first.eq(following), here.eq(following), place.eq(place + 1), row.eq(0)]
        with m.If(self.due):
            start = Mux(flags[0], begin, tile)
            m.d.sync += [
                tile.eq(start), place_first.eq(start), here.eq(start), self.add.eq(self.accumulate | ~flags[0]),
                ends.eq(flags[2]), cycle.eq(0), place.eq(0), row.eq(0), fresh.eq(0),
            ]  # fmt: skip
        with m.If(self.clear):
            m.d.sync += [fresh.eq(1), ends.eq(0)]
        m.d.comb += group.eq(self.due)
        return m

    def _noted(self, m: Module) -> tuple[Signal, Signal]:
        """Groups on their way. Returned: to be set when one is taken, and the flags of that."""
        array = self._array
        least = min(array.group_cycles(one, 1) for one in array.variants)
        most = max(array.first_result(one) for one in array.variants)
        depth = 1 << ceil_div(most, least).bit_length()
        bits = exact_log2(depth)
        lines = [Signal(depth, name=f"noted_{name}") for name in ("first", "again", "ends")]
        count, taken, flags = Signal(bits + 1, init=(2 << bits) - 1), Signal(), Signal(3)
        with m.If(self.put):
            for line, flag in zip(lines, (self.first, self.again, self.ends), strict=True):
                m.d.sync += line.eq(Cat(flag, line))
        m.d.comb += flags.eq(Cat(Array(line)[count[:bits]] for line in lines))
        m.d.sync += count.eq(count + Mux(self.put, ~taken, taken.replicate(len(count))))
        with m.If(self.clear):
            m.d.sync += count.eq(-1)
        return taken, flags
