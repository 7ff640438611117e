"""CRC-32 over a range of the memory, so that the host can check an upload without reading it back."""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.crc import catalog
from amaranth.lib.wiring import In, Out

from fpga.soc.bus import WORD_ADDRESS, word_bus


class MemoryCrc(wiring.Component):
    """Reads words from the bus one by one and keeps their CRC-32, the lowest byte of each word first.

    Members
    -------
    bus : Out(``word_bus``), reads alone
    start, stop : In(1)
        Begin, anew if need be; give up. An access under way is waited for.
    address, length : In(``WORD_ADDRESS``)
        First word and number of words, held while busy.
    busy : Out(1)
    value : Out(32)
        As ``zlib.crc32`` of these bytes, when not busy; 0 after a word that is not there, and the rest is not read.
    unmapped : Out(1)
        One cycle: such a word was met.

    Timing
    ------
    A word takes 2 cycles and those of the access.

    Reference: CRC-32/ISO-HDLC of Greg Cook's catalogue of parametrised CRC algorithms, in ``amaranth.lib.crc``.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "bus": Out(word_bus()),
                "start": In(1),
                "stop": In(1),
                "address": In(WORD_ADDRESS),
                "length": In(WORD_ADDRESS),
                "busy": Out(1),
                "value": Out(32),
                "unmapped": Out(1),
            }
        )

    def elaborate(self, platform):
        del platform
        m = Module()
        m.submodules.processor = crc = catalog.CRC32_ISO_HDLC(data_width=32).create()
        request, response = self.bus.request, self.bus.response
        place, left = Signal(WORD_ADDRESS), Signal(WORD_ADDRESS)
        wanted, halted, missing = Signal(), Signal(), Signal()
        m.d.comb += [
            crc.data.eq(response.payload.data),
            request.payload.address.eq(place),
            self.busy.eq(1),
        ]
        with m.If(~missing):
            m.d.comb += self.value.eq(crc.crc)
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.busy.eq(wanted)
                with m.If(wanted):
                    m.next = "NEXT"
            with m.State("NEXT"):
                m.next = "REQUEST"
                with m.If(wanted):
                    m.d.comb += crc.start.eq(1)
                    m.d.sync += [place.eq(self.address), left.eq(self.length), wanted.eq(0), missing.eq(0)]
                    m.next = "NEXT"
                with m.Elif((left == 0) | halted | missing):
                    m.next = "IDLE"
            with m.State("REQUEST"):
                m.d.comb += request.valid.eq(1)
                with m.If(request.ready):
                    m.next = "RESPONSE"
            with m.State("RESPONSE"):
                m.d.comb += response.ready.eq(1)
                with m.If(response.valid):
                    m.d.comb += [crc.valid.eq(1), self.unmapped.eq(response.payload.unmapped)]
                    m.d.sync += [place.eq(place + 1), left.eq(left - 1), missing.eq(self.unmapped)]
                    m.next = "NEXT"
        with m.If(self.start):
            m.d.sync += [wanted.eq(1), halted.eq(0)]
        with m.If(self.stop):
            m.d.sync += [wanted.eq(0), halted.eq(1)]
        return m
