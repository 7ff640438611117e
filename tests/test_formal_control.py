"""Registers, execute and watchdog keep the stream rules and lose nothing."""

from __future__ import annotations

from functools import reduce
from operator import and_, or_
from unittest.mock import patch

import pytest
from amaranth.asserts import AnyConst, AnySeq
from amaranth.hdl import Assert, Assume, Cat, Cover, Elaboratable, Module, Mux, Signal, Value

from hw.control import execute
from hw.control.axi_lite import OKAY, RegisterPort
from hw.control.execute import ExecuteUnit
from hw.control.isa import (
    FETCH_SOURCE,
    Queue,
)
from hw.control.registers import BY_NAME, REGISTERS
from hw.control.run import Watchdog
from tests.formal import check, free, holds, mutant, previous, prove, refute
from tests.formal_inside import SMALL, implies, inside


class PortAnswers(Elaboratable):
    """One answer to each request, which stays; OKAY for what the map allows; a value changes by such a write alone."""

    def __init__(self, kind=RegisterPort):
        self._dut = kind()

    def elaborate(self, platform):
        m = Module()
        dut = self._dut
        m.submodules.dut, own = dut, inside(dut, platform)
        free(m, dut)
        bus = dut.bus
        holds(m, bus.b, name="b")
        holds(m, bus.r, name="r")
        write, read = bus.aw.valid & bus.aw.ready, bus.ar.valid & bus.ar.ready
        writes, reads = Signal(2), Signal(2)
        m.d.sync += [
            writes.eq(writes + write - (bus.b.valid & bus.b.ready)),
            reads.eq(reads + read - (bus.r.valid & bus.r.ready)),
        ]
        m.d.comb += [
            Assert(write == (bus.w.valid & bus.w.ready)),
            Assert(writes == own.asked + own.decided + bus.b.valid),
            Assert(reads == own.sought + own.picked + own.selected + bus.r.valid),
            Assert((writes <= 1) & (reads <= 1)),
            Assert(own.idle == (writes == 0)),
            Assert(implies(bus.aw.valid & bus.w.valid & (writes == 0), write)),
            Assert(bus.ar.ready == (reads == 0)),
        ]
        self._writes(m, dut, own, write)
        # A read is answered four cycles after it was taken, OKAY where the map has a register.
        asked, mapped = Signal(8), Signal()
        with m.If(read):
            m.d.sync += asked.eq(bus.ar.payload)
        m.d.comb += mapped.eq(reduce(or_, (asked == register.offset for register in REGISTERS)))
        due = previous(m, own.selected, "due")
        magic, now = asked == BY_NAME["magic"].offset, bus.r.payload
        m.d.comb += [
            Assert(implies(previous(m, read, "was_read"), own.sought)),
            Assert(implies(previous(m, own.sought, "was_sought"), own.picked)),
            Assert(implies(previous(m, own.picked, "was_picked"), own.selected)),
            Assert(implies(due, bus.r.valid)),
            Assert(implies(bus.r.valid, (now.response == OKAY) == mapped)),
            Assert(implies(bus.r.valid & magic, now.data == BY_NAME["magic"].reset)),
            Assert(implies(own.sought | own.picked | own.selected, own.place == asked)),
            Cover(bus.b.valid & (bus.b.payload == OKAY) & bus.r.valid & ~mapped),
            Cover(dut.start),
            Cover(bus.r.valid & bus.r.ready & mapped & (asked == REGISTERS[-1].offset)),
        ]
        return m

    def _writes(self, m, dut, own, write) -> None:
        """A write is answered three cycles after it was taken; it has changed its register by then, if it was allowed."""
        bus = dut.bus
        address, word, allowed = Signal(8), Signal(32), Signal()
        control, status = BY_NAME["control"].offset, BY_NAME["status"].offset
        changes = {register.name: register.offset for register in dut._held}
        free_to_write = reduce(or_, (bus.aw.payload == offset for offset in (control, *changes.values())))
        free_to_write = (free_to_write & ~dut.busy) | (bus.aw.payload == status)
        with m.If(write):
            m.d.sync += [
                address.eq(bus.aw.payload),
                word.eq(bus.w.payload.data),
                allowed.eq(free_to_write & (bus.w.payload.strobe == 0b1111)),
            ]
        decided, values = (
            previous(m, own.decided, "was_decided"),
            previous(m, Value.cast(dut.values), "values"),
        )
        held = (own.address == address) & (own.word == word)
        m.d.comb += [
            Assert(implies(own.asked | own.decided, held)),
            Assert(implies(own.asked, implies(allowed, own.whole & (own.changes | (address == status))))),
            Assert(implies(own.decided, own.hits.any() == allowed)),
            Assert(implies(decided, bus.b.valid)),
            Assert(implies(bus.b.valid, (bus.b.payload == OKAY) == allowed)),
            Assert(dut.start == (own.decided & allowed & (address == control) & word[0])),
            Assert(dut.acknowledge == (own.decided & allowed & (address == status))),
        ]
        begun = Signal()  # before it, the cycle before means nothing
        m.d.sync += begun.eq(1)
        before = dut.values.shape()(values)
        for name, offset in changes.items():
            here = decided & allowed & (address == offset)
            m.d.comb += Assert(~begun | (dut.values[name] == Mux(here, word, before[name])))


class ExecuteRules(Elaboratable):
    """A command goes to the core once, as the queue gave it, and its post and index come back when it ends, in order."""

    IN_FLIGHT = 3

    def __init__(self, *bugs):
        with patch.object(execute, "IN_FLIGHT", self.IN_FLIGHT):
            self._dut = mutant(ExecuteUnit, *bugs)(design=SMALL)

    def elaborate(self, platform):
        m = Module()
        dut = self._dut
        m.submodules.dut, own = dut, inside(dut, platform)
        free(m, dut, but=("halt",))
        command = dut.command
        offered = previous(m, command.valid & ~command.ready, "offered")
        payload = previous(m, Value.cast(command.payload), "payload")
        flying = Signal(range(self.IN_FLIGHT + 1))
        put, got = command.valid & command.ready, dut.ended & dut.pending
        wrong = previous(m, dut.wrong, "was_wrong")
        m.d.sync += flying.eq(flying + put - got)
        m.d.comb += [
            Assume(~offered | (command.valid & (Value.cast(command.payload) == payload))),
            Assert(put == (dut.core.valid & dut.core.ready)),
            Assert(implies(dut.core.valid, command.valid)),
            Assert(Value.cast(dut.core.payload) == Value.cast(command.payload.operands)),
            # Valid does not wait for ready.
            Assert(dut.core.valid == (command.valid & (flying != self.IN_FLIGHT))),
            Assert(flying == own.in_flight.level),
            Assert(dut.pending == (flying != 0)),
            Assert(dut.finished == previous(m, got & ~wrong, "ended_well")),
            Assert(dut.fault == previous(m, wrong, "ended_wrong")),
            Assert(dut.finished | (dut.post == 0)),
        ]
        # With room for a command, room stays until it goes.
        stays = previous(m, dut.core.valid & ~dut.core.ready, "core_waiting")
        m.d.comb += Assert(implies(stays, dut.core.valid))
        watched, ahead = Signal(), Signal.like(flying)
        owed = Signal(len(dut.post) + len(dut.index))
        with m.If(~watched & put & AnySeq(1)):
            m.d.sync += [
                watched.eq(1),
                ahead.eq(flying - got),
                owed.eq(Cat(command.payload.post, command.payload.index)),
            ]
        with m.Elif(watched & got):
            m.d.sync += [ahead.eq(ahead - 1), watched.eq(ahead != 0)]
        ends = watched & got & (ahead == 0)
        what = previous(m, owed, "what")
        well, blamed = previous(m, ends & ~wrong, "well"), previous(m, ends & wrong, "blamed")
        m.d.comb += [
            Assert(implies(watched, dut.pending)),
            Assert(implies(well, dut.finished & (Cat(dut.post, dut.index) == what))),
            Assert(implies(blamed, dut.fault & ~dut.finished & (dut.index == what[len(dut.post) :]))),
            Cover(blamed & (flying != 0)),
            Cover(watched & got & (ahead == 0) & (flying == self.IN_FLIGHT)),
            Cover(command.valid & ~command.ready & dut.core.ready),
        ]
        return m


class WatchdogExact(Elaboratable):
    """It barks in the second cycle after ``limit`` ones without progress, names the oldest head, and 0 silences it."""

    def __init__(self, kind=Watchdog):
        self._dut = kind()

    def elaborate(self, platform):
        m = Module()
        dut = self._dut
        m.submodules.dut, own = dut, inside(dut, platform)
        free(m, dut, but=("limit",))
        limit, still, warm, begun = Signal(32), Signal(33), Signal(), Signal()
        m.d.comb += [limit.eq(AnyConst(32)), dut.limit.eq(limit), Assume(begun | dut.progress)]
        m.d.sync += [warm.eq(1), begun.eq(warm)]  # what is known of the limit is in registers
        # Cycles since the last with progress or bark.
        m.d.sync += still.eq(Mux(dut.progress | dut.barks | ~begun, 0, Mux(limit == 0, 0, still + 1)))
        m.d.comb += [
            Assert(~begun | (still <= limit + 1)),
            Assert(dut.barks == (begun & (limit != 0) & (still == limit + 1))),
            Assert(~warm | (own.never == (limit == 0))),
            Assert(~warm | (own.limit_zero == (limit[:16] == 0))),
            Assert(~begun | (own.low_zero == (own.low == 0))),
            Assert(~begun | (Cat(own.low, own.high) == (limit - still)[:33])),
            Cover(dut.barks & (limit == 3)),
        ]
        # Of the heads that stood still for six cycles, the one with the lowest index; with none, where fetch is.
        heads, same = Cat(dut.heads, Value.cast(dut.indices), dut.reached), []
        past = heads
        for age in range(6):
            past = previous(m, past, f"heads_{age}")
            same.append(past == heads)
        named = Signal()
        m.d.comb += named.eq(reduce(and_, same))
        oldest = reduce(and_, (~dut.heads[q] | (dut.index <= dut.indices[q]) for q in Queue))
        its = reduce(or_, ((dut.queue == q) & dut.heads[q] & (dut.index == dut.indices[q]) for q in Queue))
        count = Signal(3)  # six cycles must have been
        m.d.sync += count.eq(Mux(count == 7, 7, count + 1))
        with m.If(named & (count > 6)):
            m.d.comb += [
                Assert(implies(dut.heads.any(), oldest & its)),
                Assert(dut.heads.any() | ((dut.queue == FETCH_SOURCE) & (dut.index == dut.reached))),
                Cover(dut.heads.all() & (dut.queue == Queue.STORE)),
            ]
        return m


def test_the_register_port_answers():
    prove(PortAnswers(), depth=4, reach=9)


@pytest.mark.parametrize(
    "bug",
    [
        ("begun | (bus.r.valid & bus.r.ready)", "begun | bus.r.valid"),
        ("bus.aw.valid & bus.w.valid & idle", "bus.aw.valid & bus.w.valid"),
        ("bus.w.ready.eq(taken)", "bus.w.ready.eq(idle)"),
        ("(bus.w.payload.strobe == 0b1111) & ~self.busy", "bus.w.payload.strobe == 0b1111"),
    ],
)
def test_the_register_port_with_a_bug(bug):
    refute(PortAnswers(mutant(RegisterPort, bug)), depth=7)


def test_execute_hands_over():
    check(ExecuteRules(), depth=10)


@pytest.mark.parametrize(
    "bug",
    [
        ("self.command.valid & in_flight.i.ready & ~self.halt", "self.command.valid & ~self.halt"),
        ("self.command.valid & self.core.ready & ~self.halt", "self.command.valid & ~self.halt"),
        ("in_flight.o.ready.eq(self.ended)", "in_flight.o.ready.eq(self.ended & ~self.command.valid)"),
        ("self.fault.eq(wrong)", "self.fault.eq(self.wrong)"),
    ],
)
def test_execute_with_a_bug(bug):
    refute(ExecuteRules(bug), depth=8)


def test_the_watchdog_barks_in_time():
    prove(WatchdogExact(), depth=9, reach=10)


@pytest.mark.parametrize(
    "bug",
    [
        ("m.Elif(~never)", "m.Else()"),
        ("restart.eq(self.progress | self.barks)", "restart.eq(self.barks)"),
        ("low == 1", "low == 2"),
        ("mine.index < found.index", "mine.index > found.index"),
    ],
)
def test_the_watchdog_with_a_bug(bug):
    refute(WatchdogExact(mutant(Watchdog, bug)), depth=8)
