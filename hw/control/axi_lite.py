"""The AXI4-Lite port: registers for the host, from the table in ``hw.control.registers``."""

from __future__ import annotations

from functools import reduce
from operator import or_

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.control import registers
from hw.control.registers import ADDRESS_WIDTH, BY_NAME, REGISTERS, Access

OKAY, SLVERR = 0, 2

JOINED = 4
"""Registers that are joined in one cycle on the way to the host."""


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
    bus : AXI4-Lite slave. A write is taken when address and data are both there, and answered three cycles later.
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
        """Taken, looked up, carried out and answered: a cycle each."""
        bus = self.bus
        idle, taken, asked, decided = Signal(init=1), Signal(), Signal(), Signal()
        address = Signal(ADDRESS_WIDTH, reset_less=True)
        word, whole, changes = Signal(32, reset_less=True), Signal(reset_less=True), Signal(reset_less=True)
        m.d.comb += [
            taken.eq(bus.aw.valid & bus.w.valid & idle),
            bus.aw.ready.eq(taken),
            bus.w.ready.eq(taken),
        ]
        with m.If(idle):
            m.d.sync += [
                address.eq(bus.aw.payload),
                word.eq(bus.w.payload.data),
                whole.eq(bus.w.payload.strobe == 0b1111),
                changes.eq((bus.w.payload.strobe == 0b1111) & ~self.busy),
            ]
        with m.If(taken | (bus.b.valid & bus.b.ready)):
            m.d.sync += idle.eq(~taken)
        targets = [BY_NAME["control"], BY_NAME["status"], *self._held]
        hits = Signal(len(targets))
        m.d.sync += [asked.eq(taken), decided.eq(asked)]
        for i, target in enumerate(targets):
            allowed = whole if target.name == "status" else changes
            m.d.sync += hits[i].eq(asked & allowed & (address == target.offset))
        control = BY_NAME["control"].offset
        m.d.sync += self.start.eq(asked & changes & (address == control) & word[0])
        m.d.comb += self.acknowledge.eq(hits[1])
        for hit, register in zip(hits[2:], self._held, strict=True):
            with m.If(hit):
                m.d.sync += self.values[register.name].eq(word)
        with m.If(decided):
            m.d.sync += [bus.b.valid.eq(1), bus.b.payload.eq(Mux(hits.any(), OKAY, SLVERR))]
        with m.Elif(bus.b.ready):
            m.d.sync += bus.b.valid.eq(0)

    def _reads(self, m: Module) -> None:
        """Taken, looked up, joined within each group of registers, joined and answered: a cycle each."""
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
        free, begun = Signal(init=1), Signal()
        sought, picked, selected = Signal(), Signal(), Signal()
        place, known = Signal(ADDRESS_WIDTH, reset_less=True), Signal(reset_less=True)
        m.d.comb += [bus.ar.ready.eq(free), begun.eq(bus.ar.valid & free)]
        with m.If(free):
            m.d.sync += place.eq(bus.ar.payload)
        with m.If(begun | (bus.r.valid & bus.r.ready)):
            m.d.sync += free.eq(~begun)
        m.d.sync += [sought.eq(begun), picked.eq(sought), selected.eq(picked)]
        # One-hot, and no word that is not picked is let through: the words of a group, and then the groups, are only joined.
        picks = Signal(len(REGISTERS), reset_less=True)
        m.d.sync += [picks.eq(Cat(place == register.offset for register in REGISTERS)), known.eq(picks.any())]
        groups = []
        for start in range(0, len(REGISTERS), JOINED):
            group = Signal(32, name=f"group_{start}", reset_less=True)
            words = [
                Mux(picks[i], shown[register.name], 0)
                for i, register in enumerate(REGISTERS[start : start + JOINED], start)
            ]
            m.d.sync += group.eq(reduce(or_, words))
            groups.append(group)
        with m.If(selected):
            m.d.sync += [
                bus.r.valid.eq(1),
                bus.r.payload.data.eq(reduce(or_, groups)),
                bus.r.payload.response.eq(Mux(known, OKAY, SLVERR)),
            ]
        with m.Elif(bus.r.ready):
            m.d.sync += bus.r.valid.eq(0)
