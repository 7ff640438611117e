"""The word bus between the link and what it reaches: one access at a time, each answered once."""

from __future__ import annotations

from collections.abc import Mapping

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.control.registers import ADDRESS_WIDTH as LITE_ADDRESS
from hw.control.registers import BY_NAME

WORD_ADDRESS = 30
"""Bits of the address of a word of 32 bits."""

REQUEST = data.StructLayout({"address": WORD_ADDRESS, "data": 32, "write": 1})
"""``address`` counts words; ``data`` matters to writes alone."""
RESPONSE = data.StructLayout({"data": 32, "unmapped": 1, "refused": 1})
"""``unmapped``: there is nothing to read or write there; ``refused``: the accelerator answered SLVERR. With either, nothing
was done. ``data`` means nothing then, nor in the answer to a write."""


def word_bus() -> wiring.Signature:
    """Seen from the initiator, which asks for nothing more before the answer has come, and takes that at once. What it asked
    for stays at ``request`` until then, so that no target keeps it."""
    return wiring.Signature(
        {"request": Out(stream.Signature(REQUEST)), "response": In(stream.Signature(RESPONSE))}
    )


class Decoder(wiring.Component):
    """Hands each access to the target in whose region it lies, whose answer goes back; without one the answer is an error.
    While nothing is answered, the initiator sees data of 0.

    Parameters
    ----------
    regions : mapping
        First byte address and bits of the addresses within, by the name of each target.

    Members
    -------
    initiator : In(``word_bus``)
    <name> : Out(``word_bus``), a target; its addresses are those within its region

    Timing
    ------
    Nothing is added on the way there; back, one cycle: all of an answer are registers. An error is answered two cycles later.

    Raises
    ------
    ValueError
        A region is not a whole aligned power of two of words.
    """

    def __init__(self, *, regions: Mapping[str, tuple[int, int]]) -> None:
        for name, (first, bits) in regions.items():
            if not 2 <= bits <= 32 or first % (1 << bits) or not 0 <= first < 1 << 32:
                raise ValueError(
                    f"region of {name} must be aligned to its size, not {first:#x} with {bits!r} bits"
                )
        self._regions = dict(regions)
        super().__init__({"initiator": In(word_bus()), **{name: Out(word_bus()) for name in self._regions}})

    def elaborate(self, platform):
        del platform
        m = Module()
        request, response = self.initiator.request, self.initiator.response
        hits, missed, data = Signal(len(self._regions)), Signal(), 0
        # An answer depends on the address, too: it would come late in its cycle, and goes far.
        valid, answer = Signal(), Signal(RESPONSE)
        for i, (name, (first, bits)) in enumerate(self._regions.items()):
            target, low = getattr(self, name), bits - 2
            m.d.comb += [
                hits[i].eq(request.payload.address[low:] == first >> bits),
                target.request.valid.eq(request.valid & hits[i]),
                target.request.payload.data.eq(request.payload.data),
                target.request.payload.write.eq(request.payload.write),
                target.request.payload.address.eq(request.payload.address[:low]),
                target.response.ready.eq(response.ready),
            ]
            with m.If(hits[i]):
                m.d.comb += [
                    request.ready.eq(target.request.ready),
                    valid.eq(target.response.valid),
                    answer.unmapped.eq(target.response.payload.unmapped),
                    answer.refused.eq(target.response.payload.refused),
                ]
            answers = hits[i] & target.response.valid
            data |= target.response.payload.data & answers.replicate(32)
        with m.If(~hits.any()):
            m.d.comb += [request.ready.eq(1), valid.eq(missed), answer.unmapped.eq(1)]
        m.d.comb += answer.data.eq(data)
        m.d.sync += [
            missed.eq(request.valid & ~hits.any()),
            response.valid.eq(valid),
            Value.cast(response.payload).eq(Value.cast(answer)),
        ]
        return m


def lite_pins() -> dict:
    """Pins of an AXI4-Lite master by the names that follow the prefix; those of protection are left alone."""
    return {
        "awaddr": Out(LITE_ADDRESS), "awvalid": Out(1), "awready": In(1),
        "wdata": Out(32), "wstrb": Out(4), "wvalid": Out(1), "wready": In(1),
        "bresp": In(2), "bvalid": In(1), "bready": Out(1),
        "araddr": Out(LITE_ADDRESS), "arvalid": Out(1), "arready": In(1),
        "rdata": In(32), "rresp": In(2), "rvalid": In(1), "rready": Out(1),
    }  # fmt: skip


class LiteBridge(wiring.Component):
    """Target of the word bus: an AXI4-Lite master, to the accelerator's registers.

    Members
    -------
    bus : In(``word_bus``); what lies beyond the register port's addresses is answered with an error
    m_axil_* : the pins of ``lite_pins``, to the accelerator's ``s_axil_*``
    started : Out(1), one cycle: the accelerator was told to start
    """

    def __init__(self) -> None:
        pins = {f"m_axil_{name}": pin for name, pin in lite_pins().items()}
        super().__init__({"bus": In(word_bus()), "started": Out(1), **pins})

    def elaborate(self, platform):
        del platform
        m = Module()
        asked, answer = self.bus.request.payload, self.bus.response
        mapped, address = asked.address[LITE_ADDRESS - 2 :] == 0, asked.address[: LITE_ADDRESS - 2] << 2
        m.d.comb += [
            self.m_axil_awaddr.eq(address), self.m_axil_araddr.eq(address),
            self.m_axil_wdata.eq(asked.data), self.m_axil_wstrb.eq(0b1111), answer.payload.data.eq(self.m_axil_rdata),
        ]  # fmt: skip
        for name in ("aw", "w", "ar"):
            with m.If(getattr(self, f"m_axil_{name}ready")):
                m.d.sync += getattr(self, f"m_axil_{name}valid").eq(0)
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.bus.request.ready.eq(1)
                with m.If(self.bus.request.valid):
                    m.d.sync += [
                        self.m_axil_awvalid.eq(mapped & asked.write),
                        self.m_axil_wvalid.eq(mapped & asked.write),
                        self.m_axil_arvalid.eq(mapped & ~asked.write),
                    ]
                    m.next = "WAIT"
                    with m.If(~mapped):
                        m.next = "MISSED"
            with m.State("WAIT"):
                start = asked.write & asked.data[0] & (address == BY_NAME["control"].offset)
                m.d.comb += [
                    self.m_axil_bready.eq(1),
                    self.m_axil_rready.eq(1),
                    answer.valid.eq(self.m_axil_bvalid | self.m_axil_rvalid),
                    answer.payload.refused.eq(Mux(asked.write, self.m_axil_bresp[1], self.m_axil_rresp[1])),
                    self.started.eq(start & self.m_axil_bvalid & ~self.m_axil_bresp[1]),
                ]
                with m.If(answer.valid):
                    m.next = "IDLE"
            with m.State("MISSED"):
                m.d.comb += [answer.valid.eq(1), answer.payload.unmapped.eq(1)]
                m.next = "IDLE"
        return m
