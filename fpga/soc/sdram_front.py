"""The ports of an SDRAM's memory: AXI4 slave, host, and whose turn it is."""

from __future__ import annotations

import enum

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from fpga.soc.bus import REQUEST, word_bus
from fpga.soc.memory import OKAY, SLVERR, Bursts, axi_pins, take_addresses
from fpga.soc.sdram_control import beats_signature
from fpga.soc.sdram_part import WORD_BYTES, SdramPart
from hw.delay import delayed
from hw.stream.fifo import Fifo

BEATS = 17
"""Beats that wait on their way to the master, and as many on their way from it."""

HOST_WORDS = 4 // WORD_BYTES


class Client(enum.IntEnum):
    """Whose beat it is."""

    HOST = 0
    READ = 1
    WRITE = 2


TAG = data.StructLayout({"word": 1, "end": 1, "host": 1, "last": 1, "failed": 1})
"""Whether a word was read; is the last of its beat; the host's; of a burst's last beat; of a beat beyond the memory."""


def memory_ports(*, data_bytes: int, address_width: int) -> dict:
    """``bus`` for the host, and the pins of ``axi_pins``."""
    pins = axi_pins(data_bytes=data_bytes, address_width=address_width)
    return {"bus": In(word_bus()), **{f"s_axi_{name}": port for name, port in pins.items()}}


class SdramFront(wiring.Component):
    """All of ``Sdram`` but the controller; its reset forgets what was asked.

    Parameters
    ----------
    part : SdramPart
    data_bytes, address_width, outstanding : int
        As of ``Sdram``, which has looked at them.
    latency : int
        Cycles from a ``step`` to the word that it reads.

    Members
    -------
    bus, s_axi_* : as of ``Sdram``
    beats : Out(``beats_signature``)
    words : In(16)
        Those that are read.
    """

    def __init__(
        self, *, part: SdramPart, data_bytes: int, address_width: int, outstanding: int, latency: int
    ) -> None:
        self._size, self._data_bytes, self._address_width = part.size, data_bytes, address_width
        self._outstanding, self._latency = outstanding, latency
        self._word, self._who = Signal(range(data_bytes // WORD_BYTES)), Signal(Client)
        self._asked, self._pending = Signal(REQUEST), Signal()
        self._gathered = Signal(8 * (data_bytes - WORD_BYTES))
        self._can_read, self._reads_on = Signal(), Signal()
        self._can_write, self._writes_on = Signal(), Signal()
        super().__init__(
            {
                **memory_ports(data_bytes=data_bytes, address_width=address_width),
                "beats": Out(beats_signature(part)),
                "words": In(8 * WORD_BYTES),
            }
        )

    def elaborate(self, platform):
        del platform
        m = Module()
        bursts = {}
        for name in ("ar", "aw"):
            m.submodules[name] = bursts[name] = Bursts(
                beats=self._size // self._data_bytes,
                data_bytes=self._data_bytes,
                address_width=self._address_width,
                depth=self._outstanding,
            )
        tag = self._came(m, bursts["ar"])
        self._reads(m, bursts["ar"], tag)
        self._writes(m, bursts["aw"])
        self._host(m, tag)
        self._turns(m, bursts)
        return m

    def _turns(self, m: Module, bursts: dict[str, Bursts]) -> None:
        """Whose beat is next, and where the words of a beat are."""
        who, chosen, has_read = self._who, Signal(Client), Signal()
        beat = ceil_log2(self._data_bytes // WORD_BYTES)
        words = Mux(who == Client.HOST, HOST_WORDS, self._data_bytes // WORD_BYTES)
        reads, writes, host = self._can_read, self._can_write, self._pending
        m.d.comb += [chosen.eq(Client.HOST), self.beats.address.eq(self._asked.address << 1)]
        with m.If(~host & reads & ~(writes & has_read)):
            m.d.comb += [chosen.eq(Client.READ), self.beats.address.eq(bursts["ar"].index << beat)]
        with m.Elif(~host):
            m.d.comb += [chosen.eq(Client.WRITE), self.beats.address.eq(bursts["aw"].index << beat)]
        m.d.comb += [
            self.beats.valid.eq(host | reads | writes),
            self.beats.write.eq((chosen == Client.WRITE) | ((chosen == Client.HOST) & self._asked.write)),
            self.beats.boundary.eq(self._word == words - 1),
            self.beats.more.eq(~host & Mux(who == Client.READ, self._reads_on, self._writes_on)),
        ]
        with m.If(self.beats.take):
            m.d.sync += [who.eq(chosen), self._word.eq(0)]
            with m.If(chosen != Client.HOST):
                m.d.sync += has_read.eq(chosen == Client.READ)
        with m.Elif(self.beats.step):
            m.d.sync += self._word.eq(Mux(self.beats.boundary, 0, self._word + 1))

    def _came(self, m: Module, bursts: Bursts) -> data.View:
        """What ``dq_i`` is in this cycle: commands are a cycle behind ``step``."""
        asked, came = Signal(TAG), Signal(TAG)
        m.d.comb += [
            asked.word.eq(
                self.beats.step
                & ((self._who == Client.READ) | (self._who == Client.HOST) & ~self._asked.write)
            ),
            asked.end.eq(asked.word & self.beats.boundary),
            asked.host.eq(self._who == Client.HOST),
            asked.last.eq(bursts.last),
            asked.failed.eq(~bursts.inside),
            came.eq(delayed(m, asked, self._latency)),
        ]
        return came

    def _reads(self, m: Module, bursts: Bursts, tag) -> None:
        width, words = 8 * self._data_bytes, 8 * WORD_BYTES
        m.submodules.read_beats = beats = Fifo(
            shape=data.StructLayout({"data": width, "last": 1, "failed": 1}), depth=BEATS
        )
        room, given, taken = Signal(range(BEATS + 1), init=BEATS), Signal(), Signal()
        ended = self.s_axi_rvalid & self.s_axi_rready & self.s_axi_rlast
        take_addresses(m, self, "ar", bursts, outstanding=self._outstanding, ended=ended)
        whole = Cat(self._gathered, self.words)
        with m.If(tag.word):
            m.d.sync += self._gathered.eq(whole[words:])
        m.d.comb += [
            beats.i.valid.eq(tag.end & ~tag.host),
            beats.i.payload.data.eq(whole),
            beats.i.payload.last.eq(tag.last),
            beats.i.payload.failed.eq(tag.failed),
            self.s_axi_rvalid.eq(beats.o.valid),
            self.s_axi_rdata.eq(beats.o.payload.data),
            self.s_axi_rlast.eq(beats.o.payload.last),
            self.s_axi_rresp.eq(Mux(beats.o.payload.failed, SLVERR, OKAY)),
            beats.o.ready.eq(self.s_axi_rready),
            given.eq(self.s_axi_rvalid & self.s_axi_rready),
            # Counted at a beat's first word: at its last one ``room`` is what is left for the next.
            taken.eq(self.beats.step & (self._who == Client.READ) & (self._word == 0)),
            bursts.step.eq(self.beats.step & (self._who == Client.READ) & self.beats.boundary),
            self._can_read.eq(bursts.valid & room.any()),
            self._reads_on.eq(~bursts.last & room.any()),
        ]
        m.d.sync += room.eq(room + given - taken)

    def _writes(self, m: Module, bursts: Bursts) -> None:
        m.submodules.write_beats = beats = Fifo(
            shape=data.StructLayout({"data": 8 * self._data_bytes, "strobe": self._data_bytes}), depth=BEATS
        )
        m.submodules.answers = answers = Fifo(shape=1, depth=self._outstanding)
        step, failed = Signal(name="write_step"), Signal()
        ended = self.s_axi_bvalid & self.s_axi_bready
        take_addresses(m, self, "aw", bursts, outstanding=self._outstanding, ended=ended)
        strobe = beats.o.payload.strobe.word_select(self._word, WORD_BYTES)
        m.d.comb += [
            beats.i.valid.eq(self.s_axi_wvalid),
            self.s_axi_wready.eq(beats.i.ready),
            beats.i.payload.data.eq(self.s_axi_wdata),
            beats.i.payload.strobe.eq(self.s_axi_wstrb),
            step.eq(self.beats.step & (self._who == Client.WRITE) & self.beats.boundary),
            beats.o.ready.eq(step),
            bursts.step.eq(step),
            self.beats.data.eq(beats.o.payload.data.word_select(self._word, 8 * WORD_BYTES)),
            self.beats.mask.eq(Mux(bursts.inside, ~strobe, 0b11)),
            self._can_write.eq(bursts.valid & beats.o.valid),
            self._writes_on.eq(~bursts.last & (beats.level > 1)),
            answers.i.valid.eq(step & bursts.last),
            answers.i.payload.eq(failed | ~bursts.inside),
            self.s_axi_bvalid.eq(answers.o.valid),
            self.s_axi_bresp.eq(Mux(answers.o.payload, SLVERR, OKAY)),
            answers.o.ready.eq(self.s_axi_bready),
        ]
        with m.If(step):
            m.d.sync += failed.eq(answers.i.payload & ~bursts.last)

    def _host(self, m: Module, tag) -> None:
        request, response = self.bus.request, self.bus.response
        asked, pending = self._asked, self._pending
        away, missed = Signal(), Signal()
        m.d.comb += request.ready.eq(~away & ~response.valid)
        inside = request.payload.address[ceil_log2(self._size // 4) :] == 0
        served = self.beats.step & (self._who == Client.HOST) & self.beats.boundary
        m.d.sync += missed.eq(0)
        with m.If(request.valid & request.ready):
            m.d.sync += [asked.eq(request.payload), pending.eq(inside), missed.eq(~inside), away.eq(1)]
        with m.Elif(served):
            m.d.sync += pending.eq(0)
        with m.If(self._who == Client.HOST):
            m.d.comb += [
                self.beats.data.eq(asked.data.word_select(self._word[0], 8 * WORD_BYTES)),
                self.beats.mask.eq(0),
            ]
        with m.If(missed | (served & asked.write) | (tag.end & tag.host)):
            m.d.sync += [
                away.eq(0),
                response.valid.eq(1),
                response.payload.unmapped.eq(missed),
                response.payload.data.eq(Mux(missed | asked.write, 0, Cat(self._gathered[-16:], self.words))),
            ]
        with m.Elif(response.ready):
            m.d.sync += response.valid.eq(0)
