"""Where the results of a table-lookup core go: rows of accumulators, for the places of a unit one after another."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.array.lookup.geometry import LookupArray
from hw.control.ring import Ring

IN_FLIGHT = 16
"""Groups whose results have not begun to come; more than there may be."""


def group_layout(*, row: int) -> data.StructLayout:
    """What results of a group need to know, with ``row`` bits of a row within half of the accumulators.

    ``address``: of place 0 in row 0 of the tile; ``half`` of the accumulators; ``stride`` between places. ``more``: their format
    is not doubled (``LookupArray.paces``); or of an array of float32, all places have a second result, of their minimums.
    ``ends``: they are a command's last; ``fault``: that was past the end somewhere.
    """
    return data.StructLayout(
        {"address": row, "half": 1, "stride": row, "accumulate": 1, "more": 1, "ends": 1, "fault": 1}
    )


class Places(wiring.Component):
    """Keeps groups until their results come, and counts places while they do.

    Parameters
    ----------
    array : LookupArray
    row : int
        Bits of a row within half of the accumulators.

    Members
    -------
    put : In(1), group : In(group_layout)
        A group has ended.
    due : In(1)
        The oldest group's first result comes in the next cycle.
    valid : In(1)
        A result comes.
    clear : In(1)
        Forget all groups.
    address : Out(row + 1), accumulate : Out(1)
        Its row.
    last, fault : Out(1)
        It is the last one of a command; which was past the end somewhere.
    """

    def __init__(self, *, array: LookupArray, row: int) -> None:
        self._array, self._layout = array, group_layout(row=row)
        super().__init__(
            {
                "put": In(1),
                "group": In(self._layout),
                "due": In(1),
                "valid": In(1),
                "clear": In(1),
                "address": Out(row + 1),
                "accumulate": Out(1),
                "last": Out(1),
                "fault": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        array = self._array
        m.submodules.ring = ring = Ring(shape=self._layout, depth=IN_FLIGHT)
        oldest, current = ring.o.payload, Signal(self._layout)
        slow, quick = array.paces
        cycle, place, row = Signal(range(max(slow, quick))), Signal(range(array.outputs)), Signal(4)
        here, wraps, final = Signal.like(current.address), Signal(), Signal()
        last_place = place == array.outputs - 1
        m.d.comb += [
            ring.i.valid.eq(self.put),
            ring.i.payload.eq(self.group),
            ring.o.ready.eq(self.due),
            ring.clear.eq(self.clear),
            wraps.eq(cycle == (max(slow, quick) if array.floats else Mux(current.more, slow, quick)) - 1),
            final.eq(last_place & (row == array.rows - 1)),
            self.address.eq(Cat(here, current.half)),
            self.accumulate.eq(current.accumulate),
            self.last.eq(current.ends & self.valid & final),
            self.fault.eq(current.fault & self.last),
        ]
        m.d.sync += [cycle.eq(Mux(wraps, 0, cycle + 1)), here.eq(here + self.valid), row.eq(row + self.valid)]
        with m.If(wraps):
            following = Signal.like(current.address)
            m.d.comb += following.eq(current.address + current.stride)
            m.d.sync += [current.address.eq(following), here.eq(following), place.eq(place + 1), row.eq(0)]
        if any(one.minimum for one in array.variants):
            m.d.comb += final.eq(last_place & (row == array.rows - 1) & ~current.more)
            self._again(m, wraps & last_place & current.more, oldest, current, here, place)
        with m.If(self.due):
            m.d.sync += [current.eq(oldest), here.eq(oldest.address), cycle.eq(0), place.eq(0), row.eq(0)]
        return m

    def _again(
        self, m: Module, again: Value, oldest: data.View, current: data.View, here: Signal, place: Signal
    ) -> None:
        """The same places once more, to be added."""
        first = Signal.like(current.address)
        with m.If(self.due):
            m.d.sync += first.eq(oldest.address)
        with m.If(again):
            m.d.sync += [
                *(each.eq(first) for each in (current.address, here)),
                *(each.eq(0) for each in (place, current.more)),
                current.accumulate.eq(1),
            ]
