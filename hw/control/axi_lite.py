"""The AXI4-Lite port: registers for the host, from the table in ``hw.control.registers``."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.control import registers
from hw.control.registers import ADDRESS_WIDTH, BY_NAME, REGISTERS, Access

OKAY, SLVERR = 0, 2


def axi_lite() -> wiring.Signature:
    """AXI4-Lite slave as streams: 8-bit byte address, 32-bit data."""
    response = data.StructLayout({"data": 32, "response": 2})
    return wiring.Signature(
        {
            "aw": In(stream.Signature(ADDRESS_WIDTH)),
            "w": In(stream.Signature(data.StructLayout({"data": 32, "strobe": 4}))),
            "b": Out(stream.Signature(2)),
            "ar": In(stream.Signature(ADDRESS_WIDTH)),
            "r": Out(stream.Signature(response)),
        }
    )


class RegisterPort(wiring.Component):
    """Answers the host's reads and writes.

    Parameters
    ----------
    configuration : int
        Value of the ``configuration`` register.

    Members
    -------
    bus : AXI4-Lite slave. A write is taken when address and data are both there, and answered from the next cycle on.
    busy, done, error, code, queue, index : In
        What STATUS, ERROR and ERROR_INSTRUCTION show.
    counters : In(n × 32)
        In the order of ``registers.COUNTERS``.
    start : Out(1)
        One cycle, two cycles after the write of 1 to CONTROL was taken.
    acknowledge : Out(1)
        One cycle: STATUS was written.
    values : Out
        The writable registers, by name.

    A partial write (a strobe that is not 1111), a write while busy, an unmapped or misaligned address answer SLVERR.
    """

    def __init__(self, *, configuration: int = 0) -> None:
        if not 0 <= configuration < 1 << 32:
            raise ValueError(f"configuration must be 0 to 2**32 - 1, not {configuration!r}")
        self._configuration = configuration
        self._held = [r for r in REGISTERS if r.access is Access.RW and r.name != "status"]
        super().__init__(
            {
                "bus": Out(axi_lite()),
                "busy": In(1),
                "done": In(1),
                "error": In(1),
                "code": In(8),
                "queue": In(8),
                "index": In(32),
                "counters": In(data.ArrayLayout(32, len(registers.COUNTERS))),
                "start": Out(1),
                "acknowledge": Out(1),
                "values": Out(
                    data.StructLayout({r.name: 32 for r in self._held}),
                    init={r.name: r.reset for r in self._held},
                ),
            }
        )

    def elaborate(self, platform):
        m = Module()
        self._writes(m)
        self._reads(m)
        return m

    def _writes(self, m: Module) -> None:
        bus = self.bus
        taken, known, starting, occupied = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            taken.eq(bus.aw.valid & bus.w.valid & ~bus.b.valid),
            bus.aw.ready.eq(taken),
            bus.w.ready.eq(taken),
            occupied.eq(self.busy | starting | self.start),  # a start on its way already counts
        ]
        address, word = bus.aw.payload, bus.w.payload
        m.d.sync += [starting.eq(0), self.start.eq(starting), self.acknowledge.eq(0)]
        whole = word.strobe == 0b1111
        with m.If(taken & whole):
            with m.Switch(address):
                with m.Case(BY_NAME["control"].offset):
                    m.d.comb += known.eq(~occupied)
                    m.d.sync += starting.eq(word.data[0] & ~occupied)
                with m.Case(BY_NAME["status"].offset):
                    m.d.comb += known.eq(1)
                    m.d.sync += self.acknowledge.eq(1)
                for register in self._held:
                    with m.Case(register.offset):
                        m.d.comb += known.eq(~occupied)
                        with m.If(~occupied):
                            m.d.sync += self.values[register.name].eq(word.data)
        with m.If(taken):
            m.d.sync += [bus.b.valid.eq(1), bus.b.payload.eq(OKAY)]
            with m.If(~known):
                m.d.sync += bus.b.payload.eq(SLVERR)
        with m.Elif(bus.b.ready):
            m.d.sync += bus.b.valid.eq(0)

    def _reads(self, m: Module) -> None:
        bus = self.bus
        shown = {
            "magic": registers.MAGIC,
            "version": registers.VERSION,
            "configuration": self._configuration,
            "control": 0,
            "status": Cat(self.busy, self.done, self.error),
            "error": Cat(self.code, self.queue),
            "error_instruction": self.index,
            **{r.name: self.values[r.name] for r in self._held},
            **{name: self.counters[i] for i, (name, _) in enumerate(registers.COUNTERS)},
        }
        # Three stages, so that no selection is wide: address, value within a group of eight registers, group.
        address, asked, selected = Signal(ADDRESS_WIDTH), Signal(), Signal()
        value, known = Signal(32), Signal()
        m.d.comb += bus.ar.ready.eq(~asked & ~selected & ~bus.r.valid)
        m.d.sync += [asked.eq(bus.ar.valid & bus.ar.ready), selected.eq(asked)]
        with m.If(bus.ar.ready):
            m.d.sync += address.eq(bus.ar.payload)
        for group in sorted({register.offset >> 5 for register in REGISTERS}):
            within, mapped = Signal(32, name=f"group_{group}"), Signal(name=f"mapped_{group}")
            m.d.sync += mapped.eq(0)
            with m.Switch(address[:5]):
                for register in REGISTERS:
                    if register.offset >> 5 == group:
                        with m.Case(register.offset & 31):
                            m.d.sync += [mapped.eq(1), within.eq(shown[register.name])]
            with m.If(address[5:] == group):
                m.d.comb += [value.eq(within), known.eq(mapped)]
        with m.If(selected):
            m.d.sync += [bus.r.valid.eq(1), bus.r.payload.data.eq(value), bus.r.payload.response.eq(OKAY)]
            with m.If(~known):
                m.d.sync += bus.r.payload.response.eq(SLVERR)
        with m.Elif(bus.r.ready):
            m.d.sync += bus.r.valid.eq(0)
