"""The read arbiter: instruction fetch and LOAD share the read half of the AXI master."""

from __future__ import annotations

import operator

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, Signature

from hw.delay import without_reset
from hw.interfaces import axi_address, axi_read_data
from hw.stream.fifo import Fifo


def read_beats(data_width: int) -> Signature:
    """Beats of R as the arbiter hands them on: no stream, the client takes each as it comes."""
    return Signature({"valid": Out(1), "data": Out(data_width), "error": Out(1), "last": Out(1)})


class ReadArbiter(wiring.Component):
    """Puts the read requests of two clients in one register before AR and hands beats back to their owners.

    Fetch goes before LOAD. A client must take its beats as they come, hence RREADY is constantly high.

    Parameters
    ----------
    address_width, data_width : int
        Bits of an address and of a beat.
    depth : int
        Most reads, of both clients together, that wait for their last beat. No request is granted beyond
        that.

    Members
    -------
    fetch_ar, load_ar : streams of ``axi_address``, requests
    ar, r : AXI read channels
    fetch_r, load_r : ``read_beats``, each its owner's part of R
    idle : no granted read waits for its last beat

    Timing
    ------
    A request is granted (its handshake) in a cycle in which the register is empty; AR is valid from the next
    cycle on, and the register is empty again the cycle after AR was accepted: at most one grant every two
    cycles. A beat on the bus in cycle t is at its owner in cycle t + ``hw.timing.READ_RETURN``. ``idle``
    falls the cycle after a grant and rises the cycle after the last beat on the bus.

    Raises
    ------
    ValueError
        ``depth`` is below 1.
    """

    def __init__(self, *, address_width, data_width, depth):
        self._depth = operator.index(depth)
        if self._depth < 1:
            raise ValueError(f"depth must be 1 or more, not {depth!r}")
        address = stream.Signature(axi_address(operator.index(address_width)))
        beats = read_beats(operator.index(data_width))
        super().__init__(
            {
                "fetch_ar": In(address),
                "load_ar": In(address),
                "ar": Out(address),
                "r": In(stream.Signature(axi_read_data(data_width))),
                "fetch_r": Out(beats),
                "load_r": Out(beats),
                "idle": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.owners = owners = Fifo(shape=1, depth=self._depth)

        go, fetch, load = Signal(), self.fetch_ar, self.load_ar
        m.d.comb += [
            go.eq(~self.ar.valid & owners.i.ready),
            fetch.ready.eq(go),
            load.ready.eq(go & ~fetch.valid),
        ]
        # The owner is put down a cycle late: no grant follows at once, and no beat comes before AR was accepted.
        m.d.sync += [owners.i.valid.eq(go & (fetch.valid | load.valid)), owners.i.payload.eq(~fetch.valid)]
        payload = without_reset(m, self.ar.payload)
        with m.If(~self.ar.valid):
            m.d.sync += [
                self.ar.valid.eq(go & (fetch.valid | load.valid)),
                payload.eq(Mux(fetch.valid, fetch.payload, load.payload)),
            ]
        with m.Elif(self.ar.ready):
            m.d.sync += self.ar.valid.eq(0)

        beat = Signal(self.r.payload.shape(), reset_less=True)
        m.d.sync += beat.eq(self.r.payload)
        m.d.comb += [
            self.r.ready.eq(1),
            owners.o.ready.eq(self.r.valid & self.r.payload.last),
            self.idle.eq(~self.ar.valid & ~owners.o.valid),
        ]
        for client, beats in enumerate((self.fetch_r, self.load_r)):
            m.d.sync += beats.valid.eq(self.r.valid & owners.o.valid & (owners.o.payload == client))
            m.d.comb += [beats.data.eq(beat.data), beats.error.eq(beat.error), beats.last.eq(beat.last)]
        return m
