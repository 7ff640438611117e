"""The link, the arbiter and the checksum keep the stream rules and ask for one thing at a time, for all time."""

from __future__ import annotations

import pytest
from amaranth.hdl import Assert, Assume, Cover, Elaboratable, Module, Signal, Value

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
    # It takes the answer whenever that comes, and what it asked for stays until then.
    m.d.comb += Assert(~away | bus.response.ready)
    asked = Value.cast(bus.request.payload)
    m.d.comb += Assert(~away | (asked == previous(m, asked, f"{name}_asked")))
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


def test_rules():
    prove(LinkRules(), depth=3, reach=16)


@pytest.mark.long
@pytest.mark.parametrize(
    ("rules", "kind", "bug"),
    [
        (LinkRules, Link, ("with m.If(self.o.ready):", "with m.If(1):")),
        (LinkRules, Link, ("with m.If(~self.i.valid & self.forget)", "with m.If(self.forget)")),
        (LinkRules, Link, ("with m.If(shift | sum_ | answer.valid)", "with m.If(1)")),
    ],
)  # fmt: skip
def test_rules_with_a_bug(rules, kind, bug):
    refute(rules(mutant(kind, bug)), depth=16)
