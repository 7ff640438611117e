"""A tiny accelerator with the ports of the real one, for tests of the flow: copies bursts from one address to another.

``program_address``: source; ``window_first``: target; ``program_length``: beats of a burst; ``watchdog``: bursts. It asks
for all reads at once, keeps the data, then asks for all writes at once.
"""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from hw.control.registers import BY_NAME, STATUS_BUSY, STATUS_DONE, STATUS_ERROR

LITE = {
    "awaddr": In(8), "awprot": In(3), "awvalid": In(1), "awready": Out(1),
    "wdata": In(32), "wstrb": In(4), "wvalid": In(1), "wready": Out(1),
    "bresp": Out(2), "bvalid": Out(1), "bready": In(1),
    "araddr": In(8), "arprot": In(3), "arvalid": In(1), "arready": Out(1),
    "rdata": Out(32), "rresp": Out(2), "rvalid": Out(1), "rready": In(1),
}  # fmt: skip


def _master(data_bytes: int, address_width: int) -> dict:
    request = {
        "id": Out(1), "addr": Out(address_width), "len": Out(8), "size": Out(3), "burst": Out(2), "lock": Out(1),
        "cache": Out(4), "prot": Out(3), "valid": Out(1), "ready": In(1),
    }  # fmt: skip
    return {
        **{f"aw{name}": port for name, port in request.items()},
        "wdata": Out(8 * data_bytes), "wstrb": Out(data_bytes), "wlast": Out(1), "wvalid": Out(1), "wready": In(1),
        "bid": In(1), "bresp": In(2), "bvalid": In(1), "bready": Out(1),
        **{f"ar{name}": port for name, port in request.items()},
        "rid": In(1), "rdata": In(8 * data_bytes), "rresp": In(2), "rlast": In(1), "rvalid": In(1), "rready": Out(1),
    }  # fmt: skip


class CopyMachine(wiring.Component):
    """See above; ``overrun`` is a seeded fault: bursts are not aligned to anything and may cross 4 KiB."""

    def __init__(self, *, data_bytes: int, address_width: int, words: int = 1024):
        self._bytes, self._words = data_bytes, words
        super().__init__(
            {
                "interrupt": Out(1),
                **{f"s_axil_{name}": port for name, port in LITE.items()},
                **{f"m_axi_{name}": port for name, port in _master(data_bytes, address_width).items()},
            }
        )

    def elaborate(self, platform):
        del platform
        m = Module()
        registers = {
            name: Signal(32, name=name)
            for name in ("program_address_low", "window_first_low", "program_length", "watchdog", "cycles")
        }
        start = Signal()
        done, error, busy = Signal(), Signal(), Signal()
        status = Signal(3)
        m.d.comb += [
            status[STATUS_BUSY].eq(busy),
            status[STATUS_DONE].eq(done),
            status[STATUS_ERROR].eq(error & done),
            self.interrupt.eq(done),
        ]
        self._lite(m, registers | {"status": status}, start)
        with m.If(start):
            m.d.sync += [done.eq(0), error.eq(0), registers["cycles"].eq(0)]
        with m.Elif(busy):
            m.d.sync += registers["cycles"].eq(registers["cycles"] + 1)
        self._copy(m, registers, start, busy, done, error)
        return m

    def _lite(self, m, registers, start):
        write = Signal()
        m.d.comb += [
            write.eq(self.s_axil_awvalid & self.s_axil_wvalid & ~self.s_axil_bvalid),
            self.s_axil_awready.eq(write),
            self.s_axil_wready.eq(write),
            self.s_axil_arready.eq(~self.s_axil_rvalid),
            start.eq(write & (self.s_axil_awaddr == BY_NAME["control"].offset)),
        ]
        m.d.sync += [
            self.s_axil_bvalid.eq(Mux(self.s_axil_bvalid, ~self.s_axil_bready, write)),
            self.s_axil_rvalid.eq(Mux(self.s_axil_rvalid, ~self.s_axil_rready, self.s_axil_arvalid)),
        ]
        with m.If(write):
            m.d.sync += self.s_axil_bresp.eq(Mux(self.s_axil_awaddr == BY_NAME["magic"].offset, 2, 0))
            with m.Switch(self.s_axil_awaddr):
                for name in ("program_address_low", "window_first_low", "program_length", "watchdog"):
                    with m.Case(BY_NAME[name].offset):
                        m.d.sync += registers[name].eq(self.s_axil_wdata)
        with m.If(self.s_axil_arvalid & self.s_axil_arready):
            with m.Switch(self.s_axil_araddr):
                for name, value in registers.items():
                    with m.Case(BY_NAME[name].offset):
                        m.d.sync += self.s_axil_rdata.eq(value)
                with m.Default():
                    m.d.sync += self.s_axil_rdata.eq(0)

    def _copy(self, m, registers, start, busy, done, error):
        m.submodules.store = store = Memory(shape=8 * self._bytes, depth=self._words, init=[])
        write, read = store.write_port(), store.read_port(domain="comb")
        beats, bursts = registers["program_length"], registers["watchdog"]
        asked, moved, answered, place = (
            Signal(16, name=name) for name in ("asked", "moved", "answered", "place")
        )
        size = ceil_log2(self._bytes)
        m.d.comb += [
            busy.eq(0),
            write.addr.eq(moved),
            write.data.eq(self.m_axi_rdata),
            read.addr.eq(moved),
            self.m_axi_wdata.eq(read.data),
            self.m_axi_wstrb.eq(-1),
            self.m_axi_wlast.eq(place + 1 == beats),
            self.m_axi_rready.eq(1),
            self.m_axi_bready.eq(1),
        ]
        offset = Signal(32)
        for prefix, base in (("ar", registers["program_address_low"]), ("aw", registers["window_first_low"])):
            m.d.comb += [
                getattr(self, f"m_axi_{prefix}addr").eq(base + offset),
                getattr(self, f"m_axi_{prefix}len").eq(beats - 1),
                getattr(self, f"m_axi_{prefix}size").eq(size),
                getattr(self, f"m_axi_{prefix}burst").eq(1),
            ]
        clear = [asked.eq(0), moved.eq(0), answered.eq(0), place.eq(0), offset.eq(0)]
        with m.FSM():
            with m.State("IDLE"):
                with m.If(start):
                    m.d.sync += clear
                    m.next = "READ"
            with m.State("READ"):
                m.d.comb += [
                    busy.eq(1),
                    self.m_axi_arvalid.eq(asked != bursts),
                    write.en.eq(self.m_axi_rvalid),
                ]
                with m.If(self.m_axi_arvalid & self.m_axi_arready):
                    m.d.sync += [asked.eq(asked + 1), offset.eq(offset + (beats << size))]
                with m.If(self.m_axi_rvalid):
                    m.d.sync += [moved.eq(moved + 1), error.eq(error | (self.m_axi_rresp != 0))]
                    with m.If(self.m_axi_rlast):
                        m.d.sync += answered.eq(answered + 1)
                        with m.If(answered + 1 == bursts):
                            m.d.sync += clear
                            m.next = "WRITE"
            with m.State("WRITE"):
                m.d.comb += [
                    busy.eq(1),
                    self.m_axi_awvalid.eq(asked != bursts),
                    self.m_axi_wvalid.eq(asked > answered),
                ]
                self._write(m, asked, answered, moved, place, offset, size, beats)
                with m.If(self.m_axi_bvalid):
                    m.d.sync += error.eq(error | (self.m_axi_bresp != 0))
                answers = Signal(16)
                m.d.sync += answers.eq(answers + self.m_axi_bvalid)
                with m.If(self.m_axi_bvalid & (answers + 1 == bursts)):
                    m.d.sync += [done.eq(1), answers.eq(0)]
                    m.next = "IDLE"

    def _write(self, m, asked, answered, moved, place, offset, size, beats):
        with m.If(self.m_axi_awvalid & self.m_axi_awready):
            m.d.sync += [asked.eq(asked + 1), offset.eq(offset + (beats << size))]
        with m.If(self.m_axi_wvalid & self.m_axi_wready):
            m.d.sync += [moved.eq(moved + 1), place.eq(Mux(self.m_axi_wlast, 0, place + 1))]
            with m.If(self.m_axi_wlast):
                m.d.sync += answered.eq(answered + 1)
