"""The memory behind an accelerator's AXI4 port, which the host reaches as well."""

from __future__ import annotations

import operator

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from fpga.soc.bus import word_bus
from fpga.soc.storage import LATENCY, BlockStorage, SpramStorage
from hw.delay import delayed
from hw.interfaces import axi_address
from hw.stream.fifo import Fifo
from sim.cycles.memory import MemoryTiming

OKAY, SLVERR = 0, 2

OUTSTANDING = 4
"""Reads, and as many writes, that a memory takes before they are answered, unless told otherwise."""

HOST_LATENCY = 1
"""Cycles from an access of the host to its answer, besides those of the storage."""

Storage = BlockStorage | SpramStorage


def axi_pins(*, data_bytes: int, address_width: int) -> dict:
    """The slave's AXI4 pins by the names that follow the prefix; the other pins of a master are not looked at."""
    width = 8 * data_bytes
    address = {"addr": In(address_width), "len": In(8), "valid": In(1), "ready": Out(1)}
    return {
        **{f"aw{name}": port for name, port in address.items()},
        "wdata": In(width), "wstrb": In(data_bytes), "wlast": In(1), "wvalid": In(1), "wready": Out(1),
        "bresp": Out(2), "bvalid": Out(1), "bready": In(1),
        **{f"ar{name}": port for name, port in address.items()},
        "rdata": Out(width), "rresp": Out(2), "rlast": Out(1), "rvalid": Out(1), "rready": In(1),
    }  # fmt: skip


def memory_timing(outstanding: int = OUTSTANDING, *, latency: int = LATENCY) -> MemoryTiming:
    """Of a ``Memory`` that takes so many reads and writes, on a storage of that ``latency``."""
    return MemoryTiming(read_latency=1 + latency, write_latency=1, interval=1, outstanding=outstanding)


def _place(beats: int) -> data.StructLayout:
    """Where a burst goes on: ``index`` of a beat, unless that is ``beyond`` what the index can say; beats - 1 that are left."""
    return data.StructLayout({"index": ceil_log2(beats), "beyond": 1, "length": 8})


class Bursts(wiring.Component):
    """Addresses that were taken, and the beats of the oldest one after the other.

    ``step`` (In) takes the beat at ``index`` (Out), which is ``inside`` the memory or not, and ``last`` of its burst or not.
    """

    def __init__(self, *, beats: int, data_bytes: int, address_width: int, depth: int) -> None:
        self._beats, self._shift, self._depth = beats, ceil_log2(data_bytes), depth
        super().__init__(
            {
                "i": In(stream.Signature(axi_address(address_width))),
                "valid": Out(1),
                "index": Out(ceil_log2(beats)),
                "inside": Out(1),
                "last": Out(1),
                "step": In(1),
            }
        )

    def elaborate(self, platform):
        del platform
        m = Module()
        shape = _place(self._beats)
        m.submodules.waiting = waiting = Fifo(shape=shape, depth=self._depth)
        given = self.i.payload.address[self._shift :]
        width = len(waiting.i.payload.index)
        m.d.comb += [
            waiting.i.valid.eq(self.i.valid),
            self.i.ready.eq(waiting.i.ready),
            waiting.i.payload.index.eq(given[:width]),
            waiting.i.payload.beyond.eq(given[width:].any()),
            waiting.i.payload.length.eq(self.i.payload.length),
        ]
        begun, rest, now = Signal(), Signal(shape), Signal(shape)
        m.d.comb += [
            now.eq(Mux(begun, rest, waiting.o.payload)),
            self.valid.eq(waiting.o.valid),
            self.index.eq(now.index),
            self.inside.eq(~now.beyond & (now.index < self._beats)),
            self.last.eq(now.length == 0),
            waiting.o.ready.eq(self.step & self.last),
        ]
        with m.If(self.step):
            m.d.sync += [
                begun.eq(~self.last),
                rest.index.eq(now.index + 1),
                rest.beyond.eq(~self.inside | (now.index == self._beats - 1)),
                rest.length.eq(now.length - 1),
            ]
        return m


class Walk(wiring.Component):
    """The beats of one burst, whose ``address`` and ``length`` (In; beats - 1) are taken with ``take``, one after the other.

    The other members are those of ``Bursts``, but that ``end`` (In) says which is the last to take.
    """

    def __init__(self, *, beats: int, data_bytes: int, address_width: int) -> None:
        self._beats, self._shift = beats, ceil_log2(data_bytes)
        super().__init__(
            {
                "take": In(1),
                "address": In(address_width),
                "length": In(8),
                "valid": Out(1),
                "index": Out(ceil_log2(beats)),
                "inside": Out(1),
                "last": Out(1),
                "step": In(1),
                "end": In(1),
            }
        )

    def elaborate(self, platform):
        del platform
        m = Module()
        width, given = ceil_log2(self._beats), self.address[self._shift :]
        beyond, left = Signal(), Signal(8)
        m.d.comb += [self.inside.eq(~beyond & (self.index < self._beats)), self.last.eq(left == 0)]
        with m.If(self.take):
            m.d.sync += [
                self.valid.eq(1), self.index.eq(given), beyond.eq(given[width:].any()), left.eq(self.length)
            ]  # fmt: skip
        with m.Elif(self.step):
            m.d.sync += [
                self.valid.eq(~self.end),
                self.index.eq(self.index + 1),
                beyond.eq(~self.inside | (self.index == self._beats - 1)),
                left.eq(left - 1),
            ]
        return m


def take_addresses(m: Module, port, name: str, bursts: Bursts, *, outstanding: int, ended) -> None:
    """Hand on what channel ``name`` of ``port`` brings, while fewer than ``outstanding`` are without an end."""
    pin = {part: getattr(port, f"s_axi_{name}{part}") for part in ("addr", "len", "valid", "ready")}
    open_ = Signal(range(outstanding + 1), name=f"{name}_open")
    m.d.comb += [
        pin["ready"].eq(open_ != outstanding),
        bursts.i.valid.eq(pin["valid"] & pin["ready"]),
        bursts.i.payload.address.eq(pin["addr"]),
        bursts.i.payload.length.eq(pin["len"]),
    ]
    m.d.sync += open_.eq(open_ + bursts.i.valid - ended)


class Memory(wiring.Component):
    """An AXI4 slave and a target of the word bus on one storage.

    Parameters
    ----------
    storage : BlockStorage or SpramStorage
    address_width : int
        Bits of an AXI address.
    outstanding : int
        Reads, and as many writes, that are taken before they are answered; 1 or more. A storage with one port has one burst
        in all under way, whatever this says.

    Members
    -------
    bus : In(``word_bus``), for the host; addresses of words
    s_axi_* : the pins of ``axi_pins``. Bursts are INCR, as wide as the bus. RREADY must be high always, as the accelerator's is

    Timing
    ------
    On the AXI4 port just that of ``timing`` as ``sim.cycles.memory`` has it, while the host does nothing. An access
    of the host goes before, and takes one cycle from both reads and writes; its answer comes ``HOST_LATENCY`` cycles and the
    storage's ``latency`` after it was taken. With a storage of one port a read waits until a write has been answered, and the
    other way round; of two that come together the write is first.
    Addresses beyond the memory answer SLVERR: such a beat writes nothing, and is read as anything.

    Raises
    ------
    TypeError, ValueError
        A parameter is not as above.
    """

    def __init__(self, *, storage: Storage, address_width: int, outstanding: int = OUTSTANDING) -> None:
        self._storage = storage
        self._address_width = operator.index(address_width)
        if not 16 <= self._address_width <= 64:
            raise ValueError(f"address_width must be 16 to 64, not {address_width!r}")
        if operator.index(outstanding) < 1:
            raise ValueError(f"outstanding must be 1 or more, not {outstanding!r}")
        self._outstanding = 1 if storage.single_port else operator.index(outstanding)
        pins = axi_pins(data_bytes=storage.data_bytes, address_width=self._address_width)
        super().__init__({"bus": In(word_bus()), **{f"s_axi_{name}": port for name, port in pins.items()}})

    @property
    def size(self) -> int:
        """Bytes."""
        return self._storage.beats * self._storage.data_bytes

    @property
    def timing(self) -> MemoryTiming:
        """The AXI4 port's timing, for the cycle model; where ``single_port``, as long as reads and writes do not meet."""
        return memory_timing(self._outstanding, latency=self._storage.latency)

    @property
    def single_port(self) -> bool:
        """Whether a write keeps reads from being taken, and the other way round."""
        return self._storage.single_port

    def elaborate(self, platform):
        del platform
        m = Module()
        m.submodules.storage = storage = self._storage
        host = Signal()
        if storage.single_port:
            self._either(m, host)
        else:
            self._both(m, host)
        # The host's comes last: what it says of the storage goes before.
        self._host(m, host)
        return m

    def _both(self, m: Module, host: Signal) -> None:
        """Reads and writes beside one another."""
        storage, bursts = self._storage, {}
        for name in ("ar", "aw"):
            m.submodules[name] = bursts[name] = Bursts(
                beats=storage.beats,
                data_bytes=storage.data_bytes,
                address_width=self._address_width,
                depth=self._outstanding,
            )
        self._writes(m, bursts["aw"], host)
        self._reads(m, bursts["ar"], host)

    def _either(self, m: Module, host: Signal) -> None:
        """One burst at a time, a read or a write."""
        storage = self._storage
        m.submodules.walk = walk = Walk(
            beats=storage.beats, data_bytes=storage.data_bytes, address_width=self._address_width
        )
        open_, write, failed, step, last = Signal(), Signal(), Signal(), Signal(), Signal()
        answered = delayed(m, last & step & ~write, storage.latency)
        m.d.comb += [
            self.s_axi_awready.eq(~open_),
            self.s_axi_arready.eq(~open_ & ~self.s_axi_awvalid),
            walk.take.eq(~open_ & (self.s_axi_awvalid | self.s_axi_arvalid)),
            walk.address.eq(Mux(self.s_axi_awvalid, self.s_axi_awaddr, self.s_axi_araddr)),
            walk.length.eq(self.s_axi_arlen),
            last.eq(Mux(write, self.s_axi_wlast, walk.last)),
            self.s_axi_wready.eq(walk.valid & write & ~host),
            step.eq(walk.valid & ~host & (~write | self.s_axi_wvalid)),
            walk.step.eq(step),
            walk.end.eq(last),
            self.s_axi_rvalid.eq(delayed(m, step & ~write, storage.latency)),
            self.s_axi_rlast.eq(answered),
            self.s_axi_rresp.eq(Mux(delayed(m, walk.inside, storage.latency), OKAY, SLVERR)),
            self.s_axi_rdata.eq(storage.read_data),
            self.s_axi_bresp.eq(Mux(failed, SLVERR, OKAY)),
            storage.read_enable.eq(step & ~write),
            storage.read_address.eq(walk.index),
            storage.write_address.eq(walk.index),
            storage.write_data.eq(self.s_axi_wdata),
            storage.write_enable.eq(
                self.s_axi_wstrb & (step & write & walk.inside).replicate(storage.data_bytes)
            ),
        ]
        with m.If(walk.take):
            m.d.sync += [open_.eq(1), write.eq(self.s_axi_awvalid), failed.eq(0)]
        with m.Elif(answered | (self.s_axi_bvalid & self.s_axi_bready)):
            m.d.sync += open_.eq(0)
        with m.If(step & write):
            m.d.sync += [failed.eq(failed | ~walk.inside), self.s_axi_bvalid.eq(last)]
        with m.Elif(self.s_axi_bready):
            m.d.sync += self.s_axi_bvalid.eq(0)

    def _reads(self, m: Module, bursts: Bursts, busy) -> None:
        storage = self._storage
        step = Signal(name="read_step")
        ended = self.s_axi_rvalid & self.s_axi_rlast
        take_addresses(m, self, "ar", bursts, outstanding=self._outstanding, ended=ended)
        m.d.comb += [
            step.eq(bursts.valid & ~busy),
            bursts.step.eq(step),
            self.s_axi_rvalid.eq(delayed(m, step, storage.latency)),
            self.s_axi_rlast.eq(delayed(m, bursts.last, storage.latency)),
            self.s_axi_rresp.eq(Mux(delayed(m, bursts.inside, storage.latency), OKAY, SLVERR)),
            self.s_axi_rdata.eq(storage.read_data),
            storage.read_enable.eq(step),
            storage.read_address.eq(bursts.index),
        ]

    def _writes(self, m: Module, bursts: Bursts, busy) -> None:
        storage = self._storage
        m.submodules.answers = answers = Fifo(shape=1, depth=self._outstanding)
        step, failed = Signal(name="write_step"), Signal()
        ended = self.s_axi_bvalid & self.s_axi_bready
        take_addresses(m, self, "aw", bursts, outstanding=self._outstanding, ended=ended)
        m.d.comb += [
            self.s_axi_wready.eq(bursts.valid & ~busy),
            step.eq(self.s_axi_wready & self.s_axi_wvalid),
            bursts.step.eq(step),
            storage.write_address.eq(bursts.index),
            storage.write_data.eq(self.s_axi_wdata),
            answers.i.valid.eq(step & bursts.last),
            answers.i.payload.eq(failed | ~bursts.inside),
            self.s_axi_bvalid.eq(answers.o.valid),
            self.s_axi_bresp.eq(Mux(answers.o.payload, SLVERR, OKAY)),
            answers.o.ready.eq(self.s_axi_bready),
        ]
        with m.If(step & bursts.inside):
            m.d.comb += storage.write_enable.eq(self.s_axi_wstrb)
        with m.If(step):
            m.d.sync += failed.eq(answers.i.payload & ~bursts.last)

    def _host(self, m: Module, host: Signal) -> None:
        """``host``, a register: this cycle is the host's."""
        storage, (request, response) = self._storage, (self.bus.request, self.bus.response)
        lanes, asked = ceil_log2(storage.data_bytes // 4), self.bus.request.payload
        pending, inside, lane = Signal(), Signal(), Signal(max(1, lanes))
        m.d.sync += pending.eq(request.valid)
        m.d.comb += [
            request.ready.eq(1),
            inside.eq(asked.address[lanes:] < storage.beats),
            host.eq(pending),
            lane.eq(asked.address[:lanes]),
            response.valid.eq(delayed(m, pending, storage.latency)),
            response.payload.unmapped.eq(~inside),
            response.payload.data.eq(storage.read_data.word_select(lane, 32)),
        ]
        with m.If(host):
            m.d.comb += [
                storage.read_enable.eq(~asked.write),
                storage.read_address.eq(asked.address[lanes:]),
                storage.write_address.eq(asked.address[lanes:]),
                storage.write_data.eq(asked.data.replicate(storage.data_bytes // 4)),
                storage.write_enable.eq(0),
            ]
            with m.If(asked.write & inside):
                m.d.comb += storage.write_enable.eq(0b1111 << (lane << 2))
