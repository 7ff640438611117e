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
from hw.control.queue import InstructionQueue, InstructionRegister
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
        ring, wait, go = own.ring, own.wait, own.go
        places, oldest = ring._places, ring.o.payload
        lacking = (wait & ~dut.present).any()
        could = previous(m, dut.head & ~lacking & ~go & ~dut.clear, "could")
        gone = previous(m, go & ~dut.clear, "gone")
        command, taken = (
            previous(m, Value.cast(oldest.command), "went"),
            previous(m, Mux(go, wait, 0), "taken"),
        )
        m.d.comb += [
            Assume(cleared | ~(there & ~dut.present).any()),
            Assert(ring.o.valid == (ring.level != 0)),
            Assert(ring.i.ready == (ring.level != SMALL.queue_depth + 1)),
            Assert(ring.level <= SMALL.queue_depth + 1),
            Assert((places.write - places.read)[: len(places.write)] == ring.level[: len(places.write)]),
            Assert(
                implies(dut.head, ring.o.valid & (wait == oldest.wait) & (dut.index == oldest.command.index))
            ),
            Assert(cleared | implies(own.served, dut.head & ~lacking)),
            Assert(cleared | implies(go, dut.head & ~dut.o.valid)),
            Assert(cleared | ~(dut.take & ~dut.present).any()),
            Assert(dut.take == taken),
            Assert(dut.waiting == (dut.head & lacking)),
            Assert(dut.empty == ~(ring.o.valid | dut.o.valid)),
            # It goes on as soon as there is room, whoever takes it then.
            Assert(implies(could & ~dut.o.valid, go)),
            Assert(implies(gone, dut.o.valid & (Value.cast(dut.o.payload) == command))),
            Cover(go & wait.all()),
            Cover(own.served & dut.o.valid & ~dut.o.ready),
        ]
        return m


class RegisterRules(Elaboratable):
    """As ``QueueRules``, of one register: what is in it stays until it is taken, and takes its own tokens once."""

    def __init__(self, kind=InstructionRegister):
        self._dut = kind(design=SMALL, queue=Queue.EXECUTE)

    def elaborate(self, platform):
        m = Module()
        dut = self._dut
        m.submodules.dut, own = dut, inside(dut, platform)
        free(m, dut)
        cleared = previous(m, dut.clear, "cleared")
        holds(m, dut.o, name="o", unless=cleared)
        there = previous(m, dut.present & ~dut.take, "there")
        full, go, entry = own.full, own.go, Value.cast(own.entry)
        lacking = (own.entry.wait & ~dut.present).any()
        could = previous(m, dut.head & ~lacking & ~go & ~dut.clear, "could")
        put = previous(m, dut.i.valid & dut.i.ready & ~dut.clear, "put")
        got = previous(m, dut.o.valid & dut.o.ready, "got")
        offered, kept = previous(m, Value.cast(dut.i.payload), "offered"), previous(m, entry, "kept")
        was, taken = previous(m, full, "was"), previous(m, Mux(go, own.entry.wait, 0), "taken")
        paid = Signal()  # for what is in it
        m.d.sync += paid.eq((paid | go) & ~(dut.o.valid & dut.o.ready) & ~dut.clear)
        m.d.comb += [
            Assume(cleared | ~(there & ~dut.present).any()),
            Assert(implies(dut.head, full & ~dut.o.valid & (dut.index == own.entry.command.index))),
            Assert(implies(dut.o.valid, full)),
            Assert(dut.o.valid == paid),
            Assert(cleared | implies(go, dut.head & ~lacking & ~paid)),
            Assert(implies(put, full & (entry == offered))),
            Assert(cleared | implies(was, full == ~got)),
            Assert(implies(was & full, entry == kept)),
            Assert(cleared | ~(dut.take & ~dut.present).any()),
            Assert(dut.take == taken),
            Assert(dut.waiting == (dut.head & lacking)),
            Assert(dut.empty == ~full),
            Assert(implies(could, go)),
            Cover(go & own.entry.wait.all()),
            Cover(dut.o.valid & dut.o.ready & paid),
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
        went, price = previous(m, own.go & next_to_go, "went"), previous(m, entry.wait, "price")
        m.d.comb += Assert(implies(went, dut.take == price))
        with m.If(watched & dut.o.valid & (ahead == 0)):
            m.d.comb += [Assert(paid), Assert(Value.cast(dut.o.payload) == Value.cast(entry.command))]
        m.d.comb += [
            Assert(level == own.ring.level + dut.o.valid),
            Assert(dut.i.ready == (own.ring.level != room)),
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


def test_the_queue_keeps_the_rules():
    prove(QueueRules(), depth=3, reach=9)


def test_the_register_keeps_the_rules():
    prove(RegisterRules(), depth=3, reach=9)


@pytest.mark.parametrize(
    "bug",
    [
        (
            "go.eq(self.head & ~self.missing.any() & ~go & ~self.clear)",
            "go.eq(self.head & ~self.missing.any())",
        ),
        ("self.take.eq(Mux(go, entry.wait, 0))", "self.take.eq(entry.wait)"),
        ("self.head.eq(full & ~self.o.valid & ~go & ~self.clear)", "self.head.eq(full & ~go & ~self.clear)"),
        ("with m.If(~full)", "with m.If(self.i.valid)"),
    ],
)
def test_the_register_with_a_bug(bug):
    refute(RegisterRules(mutant(InstructionRegister, bug)), depth=8)


def test_the_queue_keeps_the_order():
    check(QueueOrder(), depth=10)


@pytest.mark.parametrize(
    "bug",
    [
        ("served.eq(self.head & ~self.missing.any() & ~go & ~self.clear)", "served.eq(self.head)"),
        ("self.take.eq(Mux(go, wait, 0))", "self.take.eq(-1)"),
        ("go.eq(served & ~self.o.valid)", "go.eq(served & (~self.o.valid | self.i.valid))"),
    ],
)
def test_the_queue_with_a_bug(bug):
    refute(QueueRules(mutant(InstructionQueue, bug)), depth=7)


@pytest.mark.parametrize(
    "bug",
    [
        ("self.o.valid.eq(go & ~self.clear)", "self.o.valid.eq(served)"),
        ("self.take.eq(Mux(go, wait, 0))", "self.take.eq(Mux(go, wait & entry.command.post, 0))"),
    ],
)
def test_the_queue_out_of_order(bug):
    refute(QueueOrder(mutant(InstructionQueue, bug)), depth=10)


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
