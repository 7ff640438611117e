"""Who shares the bus for reading keeps its rules, and is answered with what it asked for."""

from __future__ import annotations

import pytest
from amaranth.asserts import AnySeq
from amaranth.hdl import Assert, Assume, Cat, Cover, Elaboratable, Module, Mux, Signal, Value

from hw.dma.read_arbiter import ReadArbiter
from tests.formal import check, free, holds, mutant, previous, prove, refute


class ArbiterRules(Elaboratable):
    """AR is stable, fetch goes first, a request is granted only into the empty register, every beat has one owner."""

    def __init__(self, kind=ReadArbiter):
        self._dut = kind(address_width=8, data_width=8, depth=3)

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self._dut
        free(m, dut)
        fetch = dut.fetch_ar.valid & dut.fetch_ar.ready
        load = dut.load_ar.valid & dut.load_ar.ready
        holds(m, dut.ar, name="ar")
        granted = previous(m, fetch | load, "granted")
        payload = Value.cast(Mux(fetch, Value.cast(dut.fetch_ar.payload), Value.cast(dut.load_ar.payload)))
        wanted = previous(m, payload, "wanted")
        with m.If(granted):
            m.d.comb += [Assert(dut.ar.valid), Assert(Value.cast(dut.ar.payload) == wanted)]
        m.d.comb += [
            Assert(~(fetch & load)),
            Assert(~(load & dut.fetch_ar.valid)),
            Assert(~((fetch | load) & dut.ar.valid)),
            Assert(dut.r.ready),
        ]

        m.d.comb += [
            Cover(granted & previous(m, dut.fetch_ar.valid & dut.load_ar.valid, "both")),
            Cover(dut.ar.valid & ~dut.ar.ready & dut.fetch_ar.valid & dut.load_ar.valid),
            Cover(dut.load_r.valid & dut.load_r.last),
        ]
        return m


class ArbiterOwners(Elaboratable):
    """Every beat goes to the client that asked for it, unchanged; ``idle`` says when none is to come.

    Any one burst is watched: ``ahead`` counts those that end before it.
    """

    DEPTH = 3

    def __init__(self, kind=ReadArbiter):
        self._dut = kind(address_width=8, data_width=8, depth=self.DEPTH)

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self._dut
        free(m, dut)
        load = dut.load_ar.valid & dut.load_ar.ready
        granted = dut.fetch_ar.valid & dut.fetch_ar.ready | load
        under_way = Signal(range(self.DEPTH + 1))
        ends = dut.r.valid & dut.r.payload.last
        m.d.comb += [
            Assume(~dut.r.valid | (under_way > dut.ar.valid)),
            Assert(dut.idle == (under_way == 0)),
            Assert(under_way <= self.DEPTH),
        ]
        m.d.sync += under_way.eq(under_way + granted - ends)

        watched, ahead, owner = Signal(), Signal(range(self.DEPTH + 1)), Signal()
        with m.If(~watched & granted & AnySeq(1)):
            m.d.sync += [watched.eq(1), ahead.eq(under_way - ends), owner.eq(load)]
        with m.Elif(watched & ends):
            m.d.sync += [ahead.eq(ahead - 1), watched.eq(ahead != 0)]
        mine = previous(m, watched & (ahead == 0) & dut.r.valid, "mine")
        whose = previous(m, owner, "whose")
        beat = previous(m, Value.cast(dut.r.payload), "beat")
        for client, back in enumerate((dut.fetch_r, dut.load_r)):
            with m.If(mine):
                m.d.comb += Assert(back.valid == (whose == client))
            with m.If(mine & back.valid):
                m.d.comb += Assert(Cat(back.data, back.error, back.last) == beat)
        m.d.comb += [
            Cover(mine & whose & dut.load_r.last),
            Cover(mine & ~whose & ~dut.fetch_r.last),
            Cover(watched & (ahead == self.DEPTH - 1)),
        ]
        return m


def test_the_arbiter_keeps_the_rules():
    prove(ArbiterRules(), depth=3, reach=10)


def test_the_arbiter_knows_the_owners():
    check(ArbiterOwners(), depth=12)


@pytest.mark.parametrize(
    "bug",
    [
        ("load.ready.eq(go & ~fetch.valid)", "load.ready.eq(go)"),
        ("~self.ar.valid & owners.i.ready", "(~self.ar.valid | self.fetch_ar.valid) & owners.i.ready"),
        ("with m.Elif(self.ar.ready):", "with m.Elif(self.ar.ready | self.r.valid):"),
    ],
)
def test_the_arbiter_with_a_bug(bug):
    refute(ArbiterRules(mutant(ReadArbiter, bug)), depth=8)


@pytest.mark.parametrize(
    "bug",
    [
        ("owners.o.ready.eq(self.r.valid & self.r.payload.last)", "owners.o.ready.eq(self.r.valid)"),
        ("owners.i.payload.eq(~fetch.valid)", "owners.i.payload.eq(load.valid)"),
        ("self.idle.eq(~self.ar.valid & ~owners.o.valid)", "self.idle.eq(~owners.o.valid)"),
    ],
)
def test_the_arbiter_with_a_wrong_owner(bug):
    refute(ArbiterOwners(mutant(ReadArbiter, bug)), depth=10)
