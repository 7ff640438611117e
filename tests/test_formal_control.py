"""Queues, tokens, registers and watchdog keep the stream rules and lose nothing."""

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
    TOKEN_MAXIMUM,
    Queue,
    Token,
)
from hw.control.queue import InstructionQueue
from hw.control.registers import BY_NAME, REGISTERS
from hw.control.run import Watchdog
from hw.control.tokens import TokenCounters
from tests.formal import check, free, holds, mutant, previous, prove, refute
from tests.formal_inside import SMALL, implies, inside


class QueueRules(Elaboratable):
    """The next command stays; tokens are taken whole, and only such as are there."""

    def __init__(self, kind=InstructionQueue):
        self._dut = kind(design=SMALL, queue=Queue.EXECUTE)

    def elaborate(self, platform):
        m = Module()
        dut = self._dut
        m.submodules.dut, own = dut, inside(dut, platform)
        free(m, dut)
        cleared = previous(m, dut.clear, "cleared")
        holds(m, dut.o, name="o", unless=cleared)
        # As TokensCounted has it: a token that is there goes when it is taken, or when everything is dropped.
        there = previous(m, dut.present & ~dut.take, "there")
        head, go = own.head, own.go
        lacking = (head.payload.wait & ~dut.present).any()
        could = previous(m, head.valid & ~lacking & ~go & ~dut.clear, "could")
        gone, command = previous(m, go, "gone"), previous(m, Value.cast(head.payload.command), "went")
        m.d.comb += [
            Assume(cleared | ~(there & ~dut.present).any()),
            Assert(implies(own.served, head.valid & ~lacking)),
            Assert(implies(go, head.valid & ~dut.o.valid & head.ready)),
            Assert(~(dut.take & ~dut.present).any()),
            Assert(dut.take == Mux(go, head.payload.wait, 0)),
            Assert(dut.waiting == (head.valid & lacking)),
            Assert(dut.empty == ~(head.valid | dut.o.valid)),
            # It goes on as soon as there is room, whoever takes it then.
            Assert(implies(could & ~dut.o.valid, go)),
            Assert(implies(gone, dut.o.valid & (Value.cast(dut.o.payload) == command))),
            Cover(go & dut.take.all()),
            Cover(own.served & dut.o.valid & ~dut.o.ready),
        ]
        return m


class QueueOrder(Elaboratable):
    """Every instruction leaves once, in order and unchanged, and took its own tokens. Any one is watched."""

    def __init__(self, kind=InstructionQueue):
        self._dut = kind(design=SMALL, queue=Queue.STORE)

    def elaborate(self, platform):
        m = Module()
        dut = self._dut
        m.submodules.dut, own = dut, inside(dut, platform)
        free(m, dut, but=("clear",))
        there = previous(m, dut.present & ~dut.take, "there")
        m.d.comb += Assume(~(there & ~dut.present).any())
        room = SMALL.queue_depth + 1
        level, entry = Signal(range(room + 2)), Signal.like(dut.i.payload)
        put, got = dut.i.valid & dut.i.ready, dut.o.valid & dut.o.ready
        m.d.sync += level.eq(level + put - got)
        watched, ahead, paid = Signal(), Signal.like(level), Signal()
        with m.If(~watched & put & AnySeq(1)):
            m.d.sync += [watched.eq(1), ahead.eq(level - got), entry.eq(dut.i.payload), paid.eq(0)]
        with m.Elif(watched & got):
            m.d.sync += [ahead.eq(ahead - 1), watched.eq(ahead != 0)]
        next_to_go = watched & (ahead == dut.o.valid) & ~paid
        with m.If(own.go & next_to_go):
            m.d.sync += paid.eq(1)
            m.d.comb += Assert(dut.take == entry.wait)
        with m.If(watched & dut.o.valid & (ahead == 0)):
            m.d.comb += [Assert(paid), Assert(Value.cast(dut.o.payload) == Value.cast(entry.command))]
        m.d.comb += [
            Assert(level == own.fifo.level + dut.o.valid),
            Assert(dut.i.ready == (own.fifo.level != room)),
            Cover(watched & (ahead == room)),
            Cover(watched & paid & got & (ahead == 0) & (entry.wait == 3)),
        ]
        return m


class TokensCounted(Elaboratable):
    """Each counter is what was given less what was taken, never below zero; ``present`` says that it is not zero.

    Until a counter spills, which ends a run.
    """

    def __init__(self, kind=TokenCounters):
        self._dut = kind()

    def elaborate(self, platform):
        m = Module()
        dut = self._dut
        m.submodules.dut, own = dut, inside(dut, platform)
        free(m, dut)
        spilt, spills, begun = Signal(), Signal(), Signal()
        over_now = []
        m.d.sync += [spilt.eq(spilt | spills), begun.eq(1)]
        for token in Token:
            name = token.name.lower()
            count, given = getattr(own, f"count_{name}"), getattr(own, f"given_{name}")
            take = dut.takes[token.waiter][token]
            true = Signal(6, name=f"true_{name}")
            posts = sum(dut.posts[queue][token] for queue in Queue)
            m.d.sync += true.eq(Mux(dut.clear, 0, true + posts - take))
            over = Signal(name=f"over_{name}")
            m.d.comb += [
                over.eq(count > TOKEN_MAXIMUM),
                Assume(implies(take, dut.present[token])),
                Assert(implies(begun, getattr(own, f"given_less_one_{name}") == given - 1)),
            ]
            over_now.append(over)
            with m.If(~spilt):
                stays = previous(m, dut.present[token] & ~take & ~dut.clear, f"stays_{name}")
                m.d.comb += [
                    Assert(true == count + given),
                    Assert(count <= TOKEN_MAXIMUM + len(Queue)),
                    Assert(dut.present[token] == (count != 0)),
                    Assert(implies(take, count != 0)),
                    Assert(implies(stays, dut.present[token])),
                ]
        m.d.comb += spills.eq(Cat(over_now).any())
        spill = previous(m, spills & ~spilt & ~dut.clear, "spill")
        calm = previous(m, ~spills, "calm")
        m.d.comb += [
            Assert(implies(spill, dut.overflow.any())),
            Assert(implies(calm, ~dut.overflow.any())),
            Cover(dut.present.all()),
            Cover(spill),
            Cover(~spilt & previous(m, dut.takes[Queue.STORE][Token.RESULTS_READY], "taken")),
        ]
        return m


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
            Assert(writes == bus.b.valid),
            Assert(reads == own.asked + own.selected + bus.r.valid),
            Assert(reads <= 1),
            Assert(implies(bus.aw.valid & bus.w.valid & ~bus.b.valid, write)),
            Assert(bus.ar.ready == (reads == 0)),
        ]
        free_to_write = ~(dut.busy | own.starting | dut.start)
        allowed = bus.aw.payload == BY_NAME["status"].offset
        changes = {register.name: register.offset for register in dut._held}
        for offset in (BY_NAME["control"].offset, *changes.values()):
            allowed |= free_to_write & (bus.aw.payload == offset)
        allowed &= bus.w.payload.strobe == 0b1111
        wrote, was_allowed = previous(m, write, "wrote"), previous(m, allowed, "was_allowed")
        address, word = previous(m, bus.aw.payload, "address"), previous(m, bus.w.payload.data, "word")
        values = previous(m, Value.cast(dut.values), "values")
        m.d.comb += Assert(implies(wrote, (bus.b.payload == OKAY) == was_allowed))
        begun = Signal()  # before it, the cycle before means nothing
        m.d.sync += begun.eq(1)
        before = dut.values.shape()(values)
        for name, offset in changes.items():
            here = wrote & was_allowed & (address == offset)
            m.d.comb += Assert(~begun | (dut.values[name] == Mux(here, word, before[name])))
        # A read is answered three cycles after it was taken, OKAY where the map has a register.
        asked, mapped = Signal(8), Signal()
        with m.If(read):
            m.d.sync += asked.eq(bus.ar.payload)
        m.d.comb += mapped.eq(reduce(or_, (asked == register.offset for register in REGISTERS)))
        due = previous(m, own.selected, "due")
        magic, now = asked == BY_NAME["magic"].offset, bus.r.payload
        m.d.comb += [
            Assert(implies(previous(m, read, "was_read"), own.asked)),
            Assert(implies(previous(m, own.asked, "was_asked"), own.selected)),
            Assert(implies(due, bus.r.valid)),
            Assert(implies(bus.r.valid, (now.response == OKAY) == mapped)),
            Assert(implies(bus.r.valid & magic, now.data == BY_NAME["magic"].reset)),
            Assert(implies(own.asked | own.selected, own.address == asked)),
            Cover(wrote & was_allowed & bus.r.valid & ~mapped),
            Cover(dut.start),
            Cover(bus.r.valid & bus.r.ready & mapped & (asked == REGISTERS[-1].offset)),
        ]
        return m


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
        put, got = command.valid & command.ready, dut.finished
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
            Assert(dut.finished == (dut.ended & dut.pending)),
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
        with m.If(watched & (ahead == 0)):
            m.d.comb += [Assert(dut.pending), Assert(Cat(dut.post, dut.index) == owed)]
        m.d.comb += [
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
        limit, still, begun = Signal(32), Signal(33), Signal()
        m.d.comb += [limit.eq(AnyConst(32)), dut.limit.eq(limit), Assume(begun | dut.progress)]
        m.d.sync += begun.eq(1)
        # Cycles since the last with progress or bark.
        m.d.sync += still.eq(Mux(dut.progress | dut.barks | ~begun, 0, Mux(limit == 0, 0, still + 1)))
        m.d.comb += [
            Assert(~begun | (still <= limit + 1)),
            Assert(dut.barks == (begun & (limit != 0) & (still == limit + 1))),
            Assert(~begun | (limit == 0) | (own.spent == (still == limit))),
            Assert(~begun | (still > limit) | (own.left == limit - still)),
            Cover(dut.barks & (limit == 3)),
        ]
        # Of the heads that stood still for three cycles, the one with the lowest index; with none, where fetch is.
        heads, same = Cat(dut.heads, Value.cast(dut.indices)), []
        past = heads
        for age in range(3):
            past = previous(m, past, f"heads_{age}")
            same.append(past == heads)
        named = Signal()
        m.d.comb += named.eq(reduce(and_, same))
        oldest = reduce(and_, (~dut.heads[q] | (dut.index <= dut.indices[q]) for q in Queue))
        its = reduce(or_, ((dut.queue == q) & dut.heads[q] & (dut.index == dut.indices[q]) for q in Queue))
        count = Signal(3)  # three cycles must have been
        m.d.sync += count.eq(Mux(count == 7, 7, count + 1))
        with m.If(named & (count > 3)):
            m.d.comb += [
                Assert(implies(dut.heads.any(), oldest & its)),
                Assert(dut.heads.any() | ((dut.queue == FETCH_SOURCE) & (dut.index == dut.reached))),
                Cover(dut.heads.all() & (dut.queue == Queue.STORE)),
            ]
        return m


def test_the_queue_keeps_the_rules():
    prove(QueueRules(), depth=2, reach=8)


def test_the_queue_keeps_the_order():
    check(QueueOrder(), depth=8)


@pytest.mark.parametrize(
    "bug",
    [
        ("served.eq(head.valid & ~self.missing.any() & ~go & ~self.clear)", "served.eq(head.valid)"),
        ("self.take.eq(head.payload.wait)", "self.take.eq(-1)"),
        ("go.eq(served & ~self.o.valid)", "go.eq(served & (~self.o.valid | self.i.valid))"),
    ],
)
def test_the_queue_with_a_bug(bug):
    refute(QueueRules(mutant(InstructionQueue, bug)), depth=7)


@pytest.mark.parametrize(
    "bug",
    [
        ("self.o.valid.eq(go)", "self.o.valid.eq(served)"),
        ("self.take.eq(head.payload.wait)", "self.take.eq(head.payload.wait & head.payload.command.post)"),
    ],
)
def test_the_queue_out_of_order(bug):
    refute(QueueOrder(mutant(InstructionQueue, bug)), depth=7)


def test_tokens_are_counted():
    prove(TokensCounted(), depth=3, reach=14)


@pytest.mark.parametrize(
    "bug",
    [
        ("(count[0] & given[0])", "(count[0] & given[1])"),
        ("Mux(take, several, some)", "some"),
        ("given.eq(posts), less.eq(posts - 1)", "given.eq(posts), less.eq(given - 1)"),
    ],
)
def test_tokens_with_a_bug(bug):
    refute(TokensCounted(mutant(TokenCounters, bug)), depth=6)


def test_the_register_port_answers():
    prove(PortAnswers(), depth=3, reach=7)


@pytest.mark.parametrize(
    "bug",
    [
        ("~asked & ~selected & ~bus.r.valid", "~asked & ~bus.r.valid"),
        ("bus.aw.valid & bus.w.valid & ~bus.b.valid", "bus.aw.valid & bus.w.valid"),
        ("bus.w.ready.eq(taken)", "bus.w.ready.eq(~bus.b.valid)"),
        ("with m.If(~occupied):", "with m.If(~self.busy):"),
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
    ],
)
def test_execute_with_a_bug(bug):
    refute(ExecuteRules(bug), depth=8)


def test_the_watchdog_barks_in_time():
    prove(WatchdogExact(), depth=6, reach=8)


@pytest.mark.parametrize(
    "bug",
    [
        ("self.limit != 0", "1"),
        ("spent & ~self.progress & ~self.barks", "spent & ~self.barks"),
        ("mine.index < found.index", "mine.index > found.index"),
    ],
)
def test_the_watchdog_with_a_bug(bug):
    refute(WatchdogExact(mutant(Watchdog, bug)), depth=8)
