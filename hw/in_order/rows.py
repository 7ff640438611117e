"""The walk over the rows of a LOAD or STORE: addresses in memory, their check, bursts of a row."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from hw.design import Design
from hw.interfaces import load_command, store_command
from hw.output.walk import row_bytes_of


def span_bits(design: Design) -> int:
    """Bits of the distance from a row's first byte to its last."""
    load, store = load_command(design), store_command(design)
    return max(load["row_bytes"].width, store["columns"].width + 2)


class RowWalker(wiring.Component):
    """Where the rows of a command lie, one row at a time, and which beat of it comes next.

    The address of a row's last byte is kept inverted: so its comparison with the window's end is a carry chain alone.

    Parameters
    ----------
    design : Design

    Members
    -------
    load, store : the command, constant while it is under way; ``storing`` says which one
    window_first, window_last : lowest and highest byte address that may be touched
    restart : no command is under way
    forward : one cycle: go to the next row, the first one after ``restart``
    reach : one cycle, the next after ``forward``: work out where the row ends
    step : go to the next beat of the row
    final : the row is the command's last one
    span : distance from the row's first byte to its last, constant from the cycle after the command on
    inside : from the cycle after ``reach`` on: no byte of the row is outside the window, and none wraps
    place : the row's first byte within its beat
    tail : the row's last byte lies no lower in its beat than its first
    first : no step has been made in the row
    beat : address of the beat whose turn it is
    length : beats less one from ``beat`` to the row's or its block's (``Design.block_beats``) end
    last : ``beat`` is the row's last one

    Timing
    ------
    All outputs are combinational of registers that change at the end of ``forward``, ``reach`` and ``step``.
    """

    def __init__(self, *, design: Design) -> None:
        if not isinstance(design, Design):
            raise TypeError(f"design must be a Design, not {design!r}")
        self._design = design
        load, store = load_command(design), store_command(design)
        lane = exact_log2(design.data_bytes)
        strides = max(load["memory_stride"].width, store["memory_stride"].width)
        # One bit more: what wraps is seen as an address past the end.
        width = max(design.address_width, strides, span_bits(design)) + 1
        # Seen by the proofs. ``_end`` is the inverse of the address of the row's last byte.
        self._address, self._end = Signal(width), Signal(width)
        self._fresh, self._count = Signal(init=1), Signal(span_bits(design) - lane + 1)
        super().__init__(
            {
                "load": In(load),
                "store": In(store),
                "storing": In(1),
                "window_first": In(design.address_width),
                "window_last": In(design.address_width),
                "restart": In(1),
                "forward": In(1),
                "reach": In(1),
                "step": In(1),
                "final": Out(1),
                "span": Out(span_bits(design)),
                "inside": Out(1),
                "place": Out(lane),
                "tail": Out(1),
                "beat": Out(design.address_width - lane),
                "length": Out(8),
                "first": Out(1),
                "last": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        design, load, store, storing = self._design, self.load, self.store, self.storing
        lane = exact_log2(design.data_bytes)
        address, end = self._address, self._end
        fresh, count = self._fresh, self._count
        row = Signal(max(load.rows.shape().width, store.rows.shape().width))

        row_bytes = Mux(storing, row_bytes_of(design, store), load.row_bytes)
        m.d.sync += self.span.eq(row_bytes - 1)
        further = Signal.like(address)
        m.d.comb += further.eq(
            Mux(
                fresh,
                Mux(storing, store.memory_address, load.memory_address),
                Mux(storing, store.memory_stride, load.memory_stride),
            )
        )
        with m.If(self.restart):
            m.d.sync += [address.eq(0), row.eq(0), fresh.eq(1)]
        with m.Elif(self.forward):
            m.d.sync += [address.eq(address + further), row.eq(row + 1), fresh.eq(0)]
        with m.If(self.reach):
            m.d.sync += [end.eq(~(address + self.span)), count.eq(0)]
        with m.Elif(self.step):
            m.d.sync += count.eq(count + 1)

        m.d.comb += [
            self.final.eq(row == Mux(storing, store.rows, load.rows)),
            self.place.eq(address[:lane]),
            self.tail.eq(~(~end[:lane] < address[:lane])),
            self.first.eq(count == 0),
        ]
        self._check(m, address, end)
        self._burst(m, address[lane : design.address_width] + count, end[lane : design.address_width])
        return m

    def _check(self, m, address, end):
        """The row against the window, from ``address`` to what ``end`` is the inverse of."""
        width = self._design.address_width
        below, above = Signal(), Signal()
        # Where the row begins is known a cycle before its end is: only the end is left to look at then.
        with m.If(self.reach):
            m.d.sync += below.eq(address[:width] < self.window_first)
        m.d.comb += [
            above.eq(~_carry(end, extend(self.window_last, len(end)), 1)),
            # A row that wraps ends above, too: neither the row before nor a stride is longer than all there is.
            self.inside.eq(~below & ~above),
        ]

    def _burst(self, m, beat, end):
        """``beat``, and what is left of its block up to the beat that ``end`` is the inverse of."""
        bits = exact_log2(self._design.block_beats)
        same = Signal()
        m.d.comb += [
            self.beat.eq(beat),
            same.eq((self.beat[bits:] ^ end[bits:]).all()),
            self.last.eq(same & (self.beat[:bits] ^ end[:bits]).all()),
            # The block's last beat less ``beat``, and of a row that ends before it also less what is left behind that.
            self.length.eq(~(self.beat[:bits] + (end[:bits] & same.replicate(bits)))[:bits] if bits else 0),
        ]


def extend(value, bits: int):
    """``value`` with zeros above it, ``bits`` in all."""
    return Cat(value, Const(0, bits - len(value)))


def _carry(a, b, carry):
    """The carry out of ``a + b + carry``."""
    return (Cat(1, a) + Cat(carry, b))[len(a) + 1]
