"""Splits runs of bus beats into AXI4 bursts."""

from __future__ import annotations

import operator

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2, exact_log2

from hw.design import PAGE_BYTES

PAGE_BITS = exact_log2(PAGE_BYTES)


def run_layout(address_width: int, length_width: int) -> data.StructLayout:
    """A run of ``length`` + 1 beats at the byte address ``address`` (aligned to the bus); ``final`` is for the user."""
    return data.StructLayout({"address": address_width, "length": length_width, "final": 1})


def burst_layout(address_width: int, most: int) -> data.StructLayout:
    """A burst of ``length`` + 1 beats (1 to ``most``); ``final``: the last one of a run with ``final``."""
    return data.StructLayout({"address": address_width, "length": max(1, ceil_log2(most)), "final": 1})


class _State(enum.Enum, shape=2):
    """What the splitter does: the work between two bursts is shared out over as many cycles as ``hw.timing.SPLIT`` says."""

    IDLE = 0
    LIMIT = 1
    """how far to the page's end"""
    LENGTH = 2
    """how far to the run's end"""
    OFFER = 3
    """and, when the burst is taken, where the next one begins"""


class BurstSplitter(wiring.Component):
    """Splits each run into bursts that neither cross 4 KiB nor are longer than ``most`` beats.

    Parameters
    ----------
    address_width : int
        Bits of a byte address, 13 or more.
    data_bytes : int
        Bytes of a beat, a power of two up to 128.
    length_width : int
        Bits of ``length`` of a run.
    most : int
        Most beats in a burst, 1 to 256.

    Members
    -------
    runs : stream of ``run_layout``; no run may wrap
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

    def __init__(self, *, address_width, data_bytes, length_width, most):
        address_width, data_bytes = operator.index(address_width), operator.index(data_bytes)
        length_width, most = operator.index(length_width), operator.index(most)
        if address_width <= PAGE_BITS:
            raise ValueError(f"address_width must be above {PAGE_BITS}, not {address_width!r}")
        if data_bytes not in (1 << i for i in range(8)):
            raise ValueError(f"data_bytes must be a power of two up to 128, not {data_bytes!r}")
        if length_width < 1:
            raise ValueError(f"length_width must be 1 or more, not {length_width!r}")
        if not 1 <= most <= 256:
            raise ValueError(f"most must be 1 to 256, not {most!r}")
        self._beat_bits = exact_log2(data_bytes)
        self._most = most
        self._state = Signal(_State)
        self._page = Signal(address_width - PAGE_BITS, reset_less=True)
        self._carry = Signal()
        self._place = Signal(PAGE_BITS - self._beat_bits, reset_less=True)
        self._left = Signal(length_width, reset_less=True)
        self._far = Signal()
        self._limit = Signal(max(1, ceil_log2(min(most, 1 << len(self._place)))))
        self._whole = Signal(init=1)
        super().__init__(
            {
                "runs": In(stream.Signature(run_layout(address_width, length_width))),
                "bursts": Out(stream.Signature(burst_layout(address_width, most))),
                "clear": In(1),
                "idle": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        run, burst, state = self.runs.payload, self.bursts.payload, self._state
        page, carry, place, left = self._page, self._carry, self._place, self._left
        far, limit, whole = self._far, self._limit, self._whole
        final, advance = Signal(), Signal()
        bits = len(limit)

        m.d.comb += [
            self.idle.eq(state == _State.IDLE),
            burst.address.eq(Cat(Const(0, self._beat_bits), place, page)),
            burst.final.eq(whole & final),
            # ``whole`` is high in IDLE, and in OFFER with the last burst of a run.
            advance.eq(Mux(self.bursts.valid, self.bursts.ready, whole)),
        ]
        # All lengths are one less than the beats: what is left to the page's end is then the inverse of the place in it.
        to_page = ~place[:bits]
        fits = Signal()
        m.d.comb += fits.eq(~far & ~(limit < left[:bits]))

        m.d.sync += self.runs.ready.eq(advance & whole & self.runs.valid)
        with m.Switch(state):
            with m.Case(_State.LIMIT):
                m.d.sync += [
                    limit.eq(Mux(place[bits:].all() & (to_page < self._most), to_page, self._most - 1)),
                    far.eq(left[bits:].any()),
                    state.eq(_State.LENGTH),
                ]
            with m.Case(_State.LENGTH):
                m.d.sync += [
                    burst.length.eq(Mux(fits, left[:bits], limit)),
                    whole.eq(fits),
                    self.bursts.valid.eq(1),
                    state.eq(_State.OFFER),
                ]
        with m.If((state == _State.LIMIT) | advance & whole):
            m.d.sync += page.eq(Mux(state == _State.LIMIT, page + carry, run.address[PAGE_BITS:]))
        with m.If(advance):
            m.d.sync += [
                self.bursts.valid.eq(0),
                whole.eq(whole & ~self.runs.valid),
                state.eq(Mux(whole & ~self.runs.valid, _State.IDLE, _State.LIMIT)),
            ]
            with m.If(whole):
                m.d.sync += [
                    place.eq(run.address[self._beat_bits : PAGE_BITS]),
                    carry.eq(0),
                    left.eq(run.length),
                    final.eq(run.final),
                ]
            with m.Else():
                m.d.sync += [
                    # One beat more than ``length``: the one goes into the adders as a carry.
                    Cat(place, carry).eq((Cat(1, place) + Cat(1, burst.length)) >> 1),
                    left.eq((Cat(0, left) - Cat(1, burst.length)) >> 1),
                ]
        with m.If(self.clear):
            m.d.sync += [
                state.eq(_State.IDLE),
                whole.eq(1),
                self.bursts.valid.eq(0),
                self.runs.ready.eq(0),
            ]
        return m
