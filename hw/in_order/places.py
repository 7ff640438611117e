"""Where LOAD's beats go in a scratchpad, and STORE's results stand in the accumulators."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2, exact_log2

from hw.design import Design
from hw.dma.realign import scratchpad_beats
from hw.in_order.rows import span_bits
from hw.interfaces import load_command, store_command


def past(value, size: int):
    """``value`` is no number below ``size``."""
    return value[ceil_log2(size) :].any() if size & (size - 1) == 0 else value >= size


class LocalPlaces(wiring.Component):
    """The beat of the scratchpad or the row of the accumulators whose turn it is.

    Parameters
    ----------
    design : Design

    Members
    -------
    load, store, storing : as in ``RowWalker``
    span : distance from the row's first byte to its last
    restart : no command is under way
    forward : one cycle: go to the next row, the first one after ``restart``
    reach : one cycle: ``past`` says in the next one whether the row's last beat is past the end of its scratchpad
    begin : one cycle: go to the row's first place
    step : go to the row's next place: a beat, or a tile of columns
    place : the place whose turn it is
    past : it is past the end
    """

    def __init__(self, *, design: Design) -> None:
        if not isinstance(design, Design):
            raise TypeError(f"design must be a Design, not {design!r}")
        self._design = design
        load, store = load_command(design), store_command(design)
        sizes = [load[name].width for name in ("local_address", "local_stride")]
        sizes += [store[name].width for name in ("accumulators_address", "accumulators_stride")]
        sizes += [span_bits(design) - exact_log2(design.data_bytes)]
        super().__init__(
            {
                "load": In(load),
                "store": In(store),
                "storing": In(1),
                "span": In(span_bits(design)),
                "restart": In(1),
                "forward": In(1),
                "reach": In(1),
                "begin": In(1),
                "step": In(1),
                # One bit more: the first place past the end, or more than one stride behind it, is seen as such.
                "place": Out(max(sizes) + 1),
                "past": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        design, load, store, storing = self._design, self.load, self.store, self.storing
        first, fresh, more = Signal.like(self.place), Signal(init=1), Signal.like(self.place)
        with m.If(self.restart):
            m.d.sync += [first.eq(0), fresh.eq(1)]
        with m.Elif(self.forward):
            origin = Mux(storing, store.accumulators_address, load.local_address)
            m.d.sync += [
                first.eq(first + Mux(fresh, origin, Mux(storing, 1, load.local_stride))),
                fresh.eq(0),
            ]
        with m.If(self.reach):
            m.d.comb += more.eq(self.span >> exact_log2(design.data_bytes))
        with m.Elif(~self.begin):
            m.d.comb += more.eq(Mux(storing, store.accumulators_stride, 1))
        with m.If(self.reach | self.begin | self.step):
            m.d.sync += self.place.eq(Mux(self.reach | self.begin, first, self.place) + more)
        limits = {which: past(self.place, beats) for which, beats in scratchpad_beats(design).items()}
        with m.If(storing):
            m.d.comb += self.past.eq(past(self.place, design.accumulator_rows))
        with m.Else():
            with m.Switch(load.variant):
                for which, outside in limits.items():
                    with m.Case(which):
                        m.d.comb += self.past.eq(outside)
        return m
