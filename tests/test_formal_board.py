"""The link, the arbiter and the checksum keep the stream rules and ask for one thing at a time, for all time."""

from __future__ import annotations

import pytest
from amaranth.hdl import Assert, Assume, Cat, Cover, Elaboratable, Module, Mux, Signal, Value

from fpga.soc.bus import Arbiter
from fpga.soc.crc import MemoryCrc
from fpga.soc.link import Link
from tests.formal import free, holds, mutant, previous, prove, refute


def one_at_a_time(m: Module, bus, name: str) -> Signal:
    """Assert that an initiator asks for nothing before it has its answer, and assume that answers are of requests."""
    away = Signal(name=f"{name}_away")
    with m.If(bus.request.valid & bus.request.ready):
        m.d.sync += away.eq(1)
    with m.Elif(bus.response.valid & bus.response.ready):
        m.d.sync += away.eq(0)
    m.d.comb += [Assert(~(away & bus.request.valid)), Assume(~bus.response.valid | away)]
    # It takes the answer whenever that comes.
    m.d.comb += Assert(~away | bus.response.ready)
    return away


class LinkRules(Elaboratable):
    """Streams of the link; silence always ends half a command."""

    def __init__(self, kind=Link):
        self._kind = kind

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self._kind()
        free(m, dut)
        holds(m, dut.o, name="o")
        holds(m, dut.bus.request, name="request")
        away = one_at_a_time(m, dut.bus, "bus")
        m.d.comb += [
            Assert(~(dut.i.ready & (dut.bus.request.valid | dut.o.valid | away))),
            # It is in no command, waits for a byte or for one of its neighbours: it does not wait for nothing.
            Assert(~dut.waiting | (dut.i.ready & ~dut.i.valid)),
            Assert(~dut.forgotten | (dut.waiting & dut.forget)),
            Cover(dut.o.valid & away == 0),
            Cover(dut.bus.request.valid & dut.bus.request.payload.write),
            Cover(dut.forgotten),
        ]
        with m.If(previous(m, dut.waiting & dut.forget, "silence")):
            m.d.comb += Assert(dut.idle)
        return m


class ArbiterRules(Elaboratable):
    """The target sees one initiator that keeps the rules, when both do."""

    def __init__(self, kind=Arbiter):
        self._kind = kind

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self._kind()
        free(m, dut)
        for name, side in (("first", dut.first), ("second", dut.second)):
            waiting = previous(m, side.request.valid & ~side.request.ready, f"{name}_waiting")
            payload = previous(m, Value.cast(side.request.payload), f"{name}_payload")
            with m.If(waiting):
                m.d.comb += [Assume(side.request.valid), Assume(Value.cast(side.request.payload) == payload)]
            m.d.comb += Assume(side.response.ready)
        holds(m, dut.target.request, name="target")
        away = one_at_a_time(m, dut.target, "bus")
        taken = Signal(2)
        m.d.comb += [
            taken.eq((dut.first.request.valid & dut.first.request.ready)
                     | (dut.second.request.valid & dut.second.request.ready) << 1),
            Assert(taken != 0b11),
            Assert(taken.any() == (dut.target.request.valid & dut.target.request.ready)),
            Assert(~(dut.first.response.valid & dut.second.response.valid)),
            Assert((dut.first.response.valid | dut.second.response.valid) == dut.target.response.valid),
        ]  # fmt: skip
        owner = Signal(2)
        with m.If(taken.any()):
            m.d.sync += owner.eq(taken)
        asking = Cat(dut.first.request.valid, dut.second.request.valid)
        m.d.comb += [
            Assert(dut._away == Mux(away, owner, 0)),
            Assert(owner != 0b11),
            Assert((dut._owners != 0b11) & ((dut._owners & ~asking) == 0)),
            Assert(~(dut._owners.any() & away)),
        ]
        with m.If(dut.target.response.valid):
            m.d.comb += [
                Assert(owner[0] == dut.first.response.valid),
                Assert(owner[1] == dut.second.response.valid),
            ]
        m.d.comb += [
            Cover(dut.first.response.valid),
            Cover(dut.second.response.valid & dut.first.request.valid),
        ]
        return m


class ChecksumRules(Elaboratable):
    """The checksum's side of the bus; it says when it is busy."""

    def __init__(self, kind=MemoryCrc):
        self._kind = kind

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self._kind()
        free(m, dut)
        holds(m, dut.bus.request, name="request")
        away = one_at_a_time(m, dut.bus, "bus")
        m.d.comb += [
            Assert(dut.busy | ~(away | dut.bus.request.valid)),
            Assert(~dut.bus.request.payload.write),
            Cover(away & dut.start),
        ]
        with m.If(previous(m, dut.start & ~dut.stop, "started")):
            m.d.comb += Assert(dut.busy)
        return m


RULES = [LinkRules, ArbiterRules, ChecksumRules]


@pytest.mark.parametrize("rules", RULES)
def test_rules(rules):
    prove(rules(), depth=3, reach=16)


@pytest.mark.long
@pytest.mark.parametrize(
    ("rules", "kind", "bug"),
    [
        (LinkRules, Link, ("with m.If(self.o.ready):", "with m.If(1):")),
        (LinkRules, Link, ("with m.If(~self.i.valid & self.forget)", "with m.If(self.forget)")),
        (ArbiterRules, Arbiter, ("with m.If(owners.any())", "with m.If(0)")),
        (ArbiterRules, Arbiter, ("picked[i] & ~away.any()", "picked[i]")),
        (ChecksumRules, MemoryCrc, ("with m.If(request.ready)", "with m.If(1)")),
    ],
)  # fmt: skip
def test_rules_with_a_bug(rules, kind, bug):
    refute(rules(mutant(kind, bug)), depth=16)
