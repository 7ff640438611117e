"""Queues and tokens keep the stream rules and lose nothing."""

from __future__ import annotations

import pytest
from amaranth.asserts import AnySeq
from amaranth.hdl import Assert, Assume, Cat, Cover, Elaboratable, Module, Mux, Signal, Value

from hw.control.isa import (
    TOKEN_MAXIMUM,
    Queue,
    Token,
)
from hw.control.queue import InstructionQueue, InstructionRegister
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
