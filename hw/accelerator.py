"""The whole accelerator: control, DMA, scratchpads, one array family's core, output; flat ports with standard names."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.control.control import Control
from hw.control.isa import PARAMETER_BYTES
from hw.control.registers import ADDRESS_WIDTH
from hw.design import Design
from hw.dma.load import LoadUnit
from hw.dma.read_arbiter import ReadArbiter
from hw.dma.store import StoreUnit
from hw.in_order.control import Control as InOrderControl
from hw.in_order.mover import Mover
from hw.in_order.parameters import Parameters
from hw.interfaces import axi_address, axi_read_data
from hw.memory.accumulators import Accumulators
from hw.memory.scratchpad import Scratchpad

_INCR, _BUFFERABLE = 1, 0b0011


def ports(design: Design) -> dict:
    """The flat ports: interrupt, ``s_axil_*`` (AXI4-Lite slave), ``m_axi_*`` (AXI4 master); clk and rst come with the domain."""
    width, address = 8 * design.data_bytes, design.address_width
    lite = {
        "awaddr": In(ADDRESS_WIDTH), "awprot": In(3), "awvalid": In(1), "awready": Out(1),
        "wdata": In(32), "wstrb": In(4), "wvalid": In(1), "wready": Out(1),
        "bresp": Out(2), "bvalid": Out(1), "bready": In(1),
        "araddr": In(ADDRESS_WIDTH), "arprot": In(3), "arvalid": In(1), "arready": Out(1),
        "rdata": Out(32), "rresp": Out(2), "rvalid": Out(1), "rready": In(1),
    }  # fmt: skip
    request = {
        "id": Out(1), "addr": Out(address), "len": Out(8), "size": Out(3), "burst": Out(2), "lock": Out(1),
        "cache": Out(4), "prot": Out(3), "valid": Out(1), "ready": In(1),
    }  # fmt: skip
    master = {
        **{f"aw{name}": port for name, port in request.items()},
        "wdata": Out(width), "wstrb": Out(width // 8), "wlast": Out(1), "wvalid": Out(1), "wready": In(1),
        "bid": In(1), "bresp": In(2), "bvalid": In(1), "bready": Out(1),
        **{f"ar{name}": port for name, port in request.items()},
        "rid": In(1), "rdata": In(width), "rresp": In(2), "rlast": In(1), "rvalid": In(1), "rready": Out(1),
    }  # fmt: skip
    return {
        "interrupt": Out(1),
        **{f"s_axil_{name}": port for name, port in lite.items()},
        **{f"m_axi_{name}": port for name, port in master.items()},
    }


class Accelerator(wiring.Component):
    """An accelerator around the core of an array family.

    Parameters
    ----------
    design : Design
    core : Component
        With the members of ``hw.interfaces.core_members(design)``.

    Members
    -------
    See ``ports``. One clock, synchronous reset (active high). All AXI outputs are registers but RREADY and BREADY, which are
    constantly high after reset, and the ready signals of AXI4-Lite; issued in order, addresses of AR and AW are not, either.
    """

    def __init__(self, *, design: Design, core: wiring.Component) -> None:
        self._design = design
        self._core = core
        super().__init__(ports(design))

    def elaborate(self, platform):
        m = Module()
        m.submodules.core = self._core
        moves = Signal()
        m.d.sync += moves.eq(
            (self.m_axi_arvalid & self.m_axi_arready)
            | self.m_axi_rvalid
            | (self.m_axi_awvalid & self.m_axi_awready)
            | (self.m_axi_wvalid & self.m_axi_wready)
            | self.m_axi_bvalid
        )
        control = (self._in_order if self._design.in_order else self._queues)(m)
        m.d.comb += [
            self._core.halt.eq(control.halt),
            control.core_busy.eq(self._core.busy),
            control.core_fault.eq(self._core.fault),
            control.bus_moves.eq(moves),
            self.interrupt.eq(control.interrupt),
        ]
        wiring.connect(m, control.core, self._core.command)
        self._lite(m, control)
        return m

    def _queues(self, m: Module) -> Control:
        """Three queues, with a unit behind each."""
        design, core = self._design, self._core
        m.submodules.control = control = Control(design=design)
        m.submodules.arbiter = arbiter = ReadArbiter(
            address_width=design.address_width,
            data_width=8 * design.data_bytes,
            depth=design.outstanding + design.prefetch // design.fetch_batch,
        )
        m.submodules.load = load = LoadUnit(design=design)
        m.submodules.store = store = StoreUnit(design=design)
        self._memories(m, load, store.parameters, store.accumulators, control)
        for mover, status, halt in (
            (load, control.load_status, control.load_halt),
            (store, control.store_status, control.store_halt),
        ):
            m.d.comb += [getattr(status, name).eq(getattr(mover, name)) for name in status.signature.members]
            m.d.comb += [
                mover.window_first.eq(control.window_first),
                mover.window_last.eq(control.window_last),
                mover.halt.eq(halt),
            ]
        wiring.connect(m, control.load, load.command)
        wiring.connect(m, control.store, store.command)
        wiring.connect(m, control.fetch_ar, arbiter.fetch_ar)
        wiring.connect(m, arbiter.fetch_r, control.fetch_beats)
        wiring.connect(m, load.ar, arbiter.load_ar)
        wiring.connect(m, arbiter.load_r, load.r)
        m.d.comb += [
            control.core_step.eq(core.step),
            control.bus_quiet.eq(arbiter.idle),
        ]
        self._addresses(m, arbiter.ar, store.axi.aw)
        self._data(m, arbiter.r, store.axi)
        return control

    def _in_order(self, m: Module) -> InOrderControl:
        """One instruction at a time, and one unit for LOAD and STORE."""
        design = self._design
        m.submodules.control = control = InOrderControl(design=design)
        m.submodules.mover = mover = Mover(design=design)
        self._memories(m, mover, mover.parameters_read, mover.accumulators, control)
        m.d.comb += [
            mover.load.eq(control.load),
            mover.store.eq(control.store),
            mover.start_load.eq(control.start_load),
            mover.start_store.eq(control.start_store),
            mover.halt.eq(control.halt),
            mover.window_first.eq(control.window_first),
            mover.window_last.eq(control.window_last),
            control.mover_ended.eq(mover.ended),
            control.mover_code.eq(mover.code),
            control.mover_busy.eq(mover.busy),
        ]
        ar = stream.Signature(axi_address(design.address_width)).create()
        fetch = control.fetch_ar
        m.d.comb += [
            ar.valid.eq(fetch.valid | mover.ar.valid),
            ar.payload.eq(Mux(fetch.valid, fetch.payload, mover.ar.payload)),
            fetch.ready.eq(ar.ready),
            mover.ar.ready.eq(ar.ready & ~fetch.valid),
        ]
        r = stream.Signature(axi_read_data(8 * design.data_bytes)).create()
        m.d.comb += r.ready.eq(1)
        for beats, chosen in ((control.fetch_beats, ~mover.busy), (mover.r, mover.busy)):
            m.d.comb += [
                beats.valid.eq(r.valid & chosen),
                beats.data.eq(r.payload.data),
                beats.error.eq(r.payload.error),
                beats.last.eq(r.payload.last),
            ]
        self._addresses(m, ar, mover.axi.aw)
        self._data(m, r, mover.axi)
        return control

    def _memories(self, m: Module, load, parameters, results, control) -> None:
        """What ``load`` fills, and who reads it: the core, ``parameters`` and ``results``."""
        core, design, geometry = self._core, self._design, self._design.geometry
        pads = {
            name: Scratchpad(
                words=words, word_bytes=size, beat_bytes=design.data_bytes, kept=not geometry.single
            )
            for name, words, size in (
                ("activations", design.activation_words, geometry.activation_bytes),
                ("weights", design.weight_words, geometry.weight_bytes),
            )
        }
        if design.in_order:
            pads["parameters"] = Parameters(design=design)
        else:
            lanes = design.output_lanes
            pads["parameters"] = Scratchpad(
                words=design.parameter_entries // lanes,
                word_bytes=PARAMETER_BYTES * lanes,
                beat_bytes=design.data_bytes,
            )
        for name, pad in pads.items():
            m.submodules[name] = pad
            wiring.connect(m, getattr(load, name), pad.write)
            wiring.connect(m, parameters if name == "parameters" else getattr(core, name), pad.read)
        m.submodules.accumulators = accumulators = Accumulators(design=design)
        wiring.connect(m, core.results, accumulators.results)
        wiring.connect(m, results, accumulators.read)
        m.d.comb += [
            control.ended.eq(accumulators.finished),
            control.conflict.eq(accumulators.conflict),
        ]

    def _lite(self, m: Module, control: Control | InOrderControl) -> None:
        """AXI4-Lite pins; write protection bits are not looked at."""
        bus = control.bus
        m.d.comb += [
            bus.aw.valid.eq(self.s_axil_awvalid),
            bus.aw.payload.eq(self.s_axil_awaddr),
            self.s_axil_awready.eq(bus.aw.ready),
            bus.w.valid.eq(self.s_axil_wvalid),
            bus.w.payload.data.eq(self.s_axil_wdata),
            bus.w.payload.strobe.eq(self.s_axil_wstrb),
            self.s_axil_wready.eq(bus.w.ready),
            self.s_axil_bvalid.eq(bus.b.valid),
            self.s_axil_bresp.eq(bus.b.payload),
            bus.b.ready.eq(self.s_axil_bready),
            bus.ar.valid.eq(self.s_axil_arvalid),
            bus.ar.payload.eq(self.s_axil_araddr),
            self.s_axil_arready.eq(bus.ar.ready),
            self.s_axil_rvalid.eq(bus.r.valid),
            self.s_axil_rdata.eq(bus.r.payload.data),
            self.s_axil_rresp.eq(bus.r.payload.response),
            bus.r.ready.eq(self.s_axil_rready),
        ]

    def _addresses(self, m: Module, ar, aw) -> None:
        """AXI4 pins: INCR bursts of full-width beats, one ID."""
        for kind, source in (("ar", ar), ("aw", aw)):
            pin = {
                name: getattr(self, f"m_axi_{kind}{name}")
                for name in ("addr", "len", "size", "burst", "cache")
            }
            m.d.comb += [
                pin["addr"].eq(source.payload.address),
                pin["len"].eq(source.payload.length),
                pin["size"].eq(self._design.data_bytes.bit_length() - 1),
                pin["burst"].eq(_INCR),
                pin["cache"].eq(_BUFFERABLE),
                getattr(self, f"m_axi_{kind}valid").eq(source.valid),
                source.ready.eq(getattr(self, f"m_axi_{kind}ready")),
            ]

    def _data(self, m: Module, r, axi) -> None:
        """The other channels' pins."""
        m.d.comb += [
            r.valid.eq(self.m_axi_rvalid),
            r.payload.data.eq(self.m_axi_rdata),
            r.payload.error.eq(self.m_axi_rresp[1]),
            r.payload.last.eq(self.m_axi_rlast),
            self.m_axi_rready.eq(r.ready),
            self.m_axi_wvalid.eq(axi.w.valid),
            self.m_axi_wdata.eq(axi.w.payload.data),
            self.m_axi_wstrb.eq(axi.w.payload.strobe),
            self.m_axi_wlast.eq(axi.w.payload.last),
            axi.w.ready.eq(self.m_axi_wready),
            axi.b.valid.eq(self.m_axi_bvalid),
            axi.b.payload.eq(self.m_axi_bresp[1]),
            self.m_axi_bready.eq(axi.b.ready),
        ]
