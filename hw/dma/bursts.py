"""Splits runs of bus beats into AXI4 bursts."""

from __future__ import annotations

import operator

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for, exact_log2

from hw.design import PAGE_BYTES

PAGE_BITS = exact_log2(PAGE_BYTES)


def run_layout(address_width: int, beats_width: int) -> data.StructLayout:
    """A run of ``beats`` beats at the byte address ``address`` (aligned to the bus); ``final`` is for the user."""
    return data.StructLayout({"address": address_width, "beats": beats_width, "final": 1})


def burst_layout(address_width: int, most: int) -> data.StructLayout:
    """A burst of ``beats`` beats (1 to ``most``); ``final``: the last one of a run with ``final``."""
    return data.StructLayout({"address": address_width, "beats": bits_for(most), "final": 1})


class _State(enum.Enum, shape=2):
    """What the splitter does: the work between two bursts is shared out over as many cycles as ``hw.timing.SPLIT`` says."""

    IDLE = 0
    LIMIT = 1
    """how far to the page's end"""
    LENGTH = 2
    """how far to the run's end"""
    OFFER = 3


class BurstSplitter(wiring.Component):
    """Splits each run into bursts that neither cross 4 KiB nor are longer than ``most`` beats.

    Parameters
    ----------
    address_width : int
        Bits of a byte address, 13 or more.
    data_bytes : int
        Bytes of a beat, a power of two up to 128.
    beats_width : int
        Bits of the number of beats in a run.
    most : int
        Most beats in a burst, 1 to 256.

    Members
    -------
    runs : stream of ``run_layout``; no run may be empty, or wrap
    bursts : stream of ``burst_layout``
    clear : forget the run under way
    idle : no run is under way

    Timing
    ------
    A burst is offered ``hw.timing.SPLIT`` cycles after the burst before it was taken, or, when its run was not yet there
    then, after the run was. A run is taken 2 cycles before its first burst is offered. ``bursts.valid`` and its payload
    are registers, and so is ``runs.ready``.

    Raises
    ------
    ValueError
        A parameter is out of range.
    """

    def __init__(self, *, address_width, data_bytes, beats_width, most):
        address_width, data_bytes = operator.index(address_width), operator.index(data_bytes)
        beats_width, most = operator.index(beats_width), operator.index(most)
        if address_width <= PAGE_BITS:
            raise ValueError(f"address_width must be above {PAGE_BITS}, not {address_width!r}")
        if data_bytes not in (1 << i for i in range(8)):
            raise ValueError(f"data_bytes must be a power of two up to 128, not {data_bytes!r}")
        if beats_width < 1:
            raise ValueError(f"beats_width must be 1 or more, not {beats_width!r}")
        if not 1 <= most <= 256:
            raise ValueError(f"most must be 1 to 256, not {most!r}")
        self._beat_bits = exact_log2(data_bytes)
        self._most = most
        self._state = Signal(_State)
        self._page = Signal(address_width - PAGE_BITS)
        self._next_page = Signal.like(self._page)
        self._place = Signal(PAGE_BITS - self._beat_bits)
        self._left = Signal(beats_width)
        self._behind = Signal(PAGE_BITS - self._beat_bits + 1)
        self._rest = Signal(beats_width)
        self._fresh = Signal()
        self._limit = Signal(range(most + 1))
        self._whole = Signal()
        super().__init__(
            {
                "runs": In(stream.Signature(run_layout(address_width, beats_width))),
                "bursts": Out(stream.Signature(burst_layout(address_width, most))),
                "clear": In(1),
                "idle": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        run, burst = self.runs.payload, self.bursts.payload
        page, next_page, place, left = self._page, self._next_page, self._place, self._left
        limit, whole, state = self._limit, self._whole, self._state
        behind, rest, fresh = self._behind, self._rest, self._fresh
        final = Signal()

        m.d.comb += [
            self.idle.eq(state == _State.IDLE),
            self.runs.ready.eq((state == _State.LIMIT) & fresh),
            burst.address.eq(page << PAGE_BITS | place << self._beat_bits),
            burst.final.eq(whole & final),
        ]
        here = Mux(fresh, run.address[self._beat_bits : PAGE_BITS], behind[:-1])
        to_page = (1 << len(place)) - here
        # Little depends on bursts.ready, which comes late: where the next burst begins is worked out all the while.
        with m.Switch(state):
            with m.Case(_State.IDLE):
                with m.If(self.runs.valid):
                    m.d.sync += [fresh.eq(1), state.eq(_State.LIMIT)]
            with m.Case(_State.LIMIT):
                m.d.sync += [
                    limit.eq(Mux(to_page < self._most, to_page, self._most)),
                    place.eq(here),
                    left.eq(Mux(fresh, run.beats, rest)),
                    page.eq(Mux(fresh, run.address[PAGE_BITS:], Mux(behind[-1], next_page, page))),
                    state.eq(_State.LENGTH),
                ]
                with m.If(fresh):
                    m.d.sync += final.eq(run.final)
            with m.Case(_State.LENGTH):
                m.d.sync += [
                    burst.beats.eq(Mux(left <= limit, left, limit)),
                    whole.eq(left <= limit),
                    next_page.eq(page + 1),
                    self.bursts.valid.eq(1),
                    state.eq(_State.OFFER),
                ]
            with m.Case(_State.OFFER):
                m.d.sync += [behind.eq(place + burst.beats), rest.eq(left - burst.beats)]
                with m.If(self.bursts.ready):
                    m.d.sync += [
                        self.bursts.valid.eq(0),
                        fresh.eq(whole),
                        state.eq(Mux(whole & ~self.runs.valid, _State.IDLE, _State.LIMIT)),
                    ]
        with m.If(self.clear):
            m.d.sync += [state.eq(_State.IDLE), self.bursts.valid.eq(0)]
        return m
