"""Fetch asks for nothing it may not, and hands each word of the program on whole; so does the decoder, to one queue."""

from __future__ import annotations

from functools import reduce
from operator import and_, or_
from unittest.mock import patch

import pytest
from amaranth.asserts import AnyConst, AnySeq
from amaranth.hdl import Assert, Assume, Cat, Const, Cover, Elaboratable, Module, Mux, Signal, Value
from amaranth.utils import exact_log2

from hw.control.decode import Decoder, own_tokens
from hw.control.fetch import Fetch, Gearbox
from hw.control.isa import (
    FETCH_BATCH,
    FETCH_BUFFER,
    FIELDS,
    INSTRUCTION_BITS,
    INSTRUCTION_BYTES,
    Destination,
    Opcode,
    OutputMode,
    Range,
)
from tests.formal import free, holds, mutant, previous, prove, refute
from tests.formal_inside import SMALL, implies, inside


class GearboxExact(Elaboratable):
    """Each word is made of its own beats, in their order; it stays until taken."""

    def __init__(self, data_bytes, kind=Gearbox):
        self._bytes, self._dut = data_bytes, kind(data_bytes=data_bytes)

    def elaborate(self, platform):
        m = Module()
        dut, bits = self._dut, 8 * self._bytes
        m.submodules.dut, own = dut, inside(dut, platform)
        free(m, dut, but=("last",))
        holds(m, dut.o, name="o")
        # ``last`` as Fetch gives it; and the buffer keeps the rules, too.
        to_make = Signal(3)
        m.d.sync += to_make.eq(to_make - dut.made + (AnySeq(1) & (to_make == 0)))
        m.d.comb += dut.last.eq(to_make == 1)
        offered = previous(m, dut.i.valid & ~dut.i.ready, "i_waiting")
        beat = previous(m, dut.i.payload, "i_beat")
        m.d.comb += Assume(~offered | (dut.i.valid & (dut.i.payload == beat)))
        taken = dut.i.valid & dut.i.ready
        made = previous(m, dut.made, "was_made")
        m.d.comb += [Assert(implies(made, dut.o.valid)), Assert(implies(dut.made, ~dut.o.valid))]
        word = Signal(INSTRUCTION_BITS)
        m.d.comb += Assert(implies(dut.o.valid, dut.o.payload == word))
        if self._bytes > INSTRUCTION_BYTES:
            half = Signal()
            with m.If(dut.made):
                m.d.sync += [
                    word.eq(dut.i.payload.word_select(half, INSTRUCTION_BITS)),
                    half.eq(~half & ~dut.last),
                ]
            m.d.comb += [
                Assert(half == own.upper),
                Assert(dut.made == (dut.i.valid & ~dut.o.valid)),
                # A beat goes with its upper half, or with the lower when that is the program's last.
                Assert(taken == (dut.made & (half | dut.last))),
                Cover(dut.made & half),
                Cover(dut.made & dut.last & ~half),
            ]
            return m
        beats = INSTRUCTION_BYTES // self._bytes
        place = Signal(range(beats))
        with m.If(taken):
            m.d.sync += [word.word_select(place, bits).eq(dut.i.payload), place.eq(place + 1)]
            if beats == 1:
                m.d.sync += place.eq(0)
        for have in range(1, beats):
            with m.If(place == have):
                m.d.comb += [
                    Assert(~dut.o.valid),
                    Assert(dut.o.payload[-have * bits :] == word[: have * bits]),
                ]
        m.d.comb += [
            Assert(own.count == place),
            Assert(dut.i.ready == ~dut.o.valid),
            Assert(dut.made == (taken & (place == beats - 1))),
            Cover(dut.o.valid & dut.o.ready & previous(m, ~dut.o.ready, "stalled")),
        ]
        return m


class FetchInside(Elaboratable):
    """Requests lie inside the program and a page, and there is room for each of their beats; words come in order.

    ``asked``: beats asked for and not come yet. The run starts and clears only at rest, as ``RunControl`` has it.
    """

    WIDTH = 32

    def __init__(self, data_bytes, kind=Fetch):
        self._bytes, self._dut = data_bytes, kind(address_width=self.WIDTH, data_bytes=data_bytes)

    def elaborate(self, platform):
        m = Module()
        dut, width, size = self._dut, self.WIDTH, self._bytes
        m.submodules.dut, own = dut, inside(dut, platform)
        constants = ("program_address", "program_length", "window_first", "window_last")
        free(m, dut, but=constants)
        base, length, first, last = (
            Signal(len(getattr(dut, name)), name=f"the_{name}") for name in constants
        )
        for name, value in zip(constants, (base, length, first, last), strict=True):
            m.d.comb += [value.eq(AnyConst(len(value))), getattr(dut, name).eq(value)]

        ar, beats = dut.ar, Signal(9)
        granted = ar.valid & ar.ready
        asked = Signal(range(FETCH_BUFFER * INSTRUCTION_BYTES // size + 5))
        m.d.comb += beats.eq(ar.payload.length + 1)
        m.d.sync += asked.eq(asked + Mux(granted, beats, 0) - dut.beats.valid)
        begun = Signal(4)  # a check of the program may be under way
        m.d.sync += begun.eq(begun << 1 | dut.start)
        rest = dut.idle & (asked == 0) & ~begun.any()
        m.d.comb += [
            Assume(implies(dut.beats.valid, asked != 0)),
            Assume(implies(dut.start, rest & dut.exhausted & ~dut.clear & ~dut.halt)),
            Assume(implies(dut.clear, rest & dut.halt)),
        ]
        cleared = previous(m, dut.clear, "cleared")
        holds(m, ar, name="ar")
        holds(m, dut.o, name="o", unless=cleared)

        end, stop, past = Signal(width + 1), Signal(width + 1), Signal(width + 1)
        address = ar.payload.address
        m.d.comb += [
            end.eq(base[:width] + (length[:20] << 5)),  # first byte behind the program, at most 2**width
            stop.eq((end + size - 1) & -size),  # the same, in whole beats
            past.eq(address + beats * size),
        ]
        good = (base[:7] == 0) & (base[width:] == 0) & (length != 0) & (length[20:] == 0)
        good &= (base[:width] >= first) & (end - 1 <= last)
        with m.If(ar.valid):
            m.d.comb += [
                Assert(good),
                Assert((address >= base[:width]) & (past <= stop)),
                Assert((address >= first) & (past - size <= last)),
                Assert(address[: exact_log2(size)] == 0),
                Assert(address[:12] + beats * size <= 4096),
            ]
        self._invariants(m, own, good, base, end, asked, begun)
        began = Signal(2)
        m.d.sync += began.eq(Mux(granted & (began != 3), began + 1, began))
        m.d.comb += [
            Assert(implies(dut.beats.valid, own.fifo.i.ready)),
            Cover(
                granted & (began == 1) & (beats < FETCH_BATCH * INSTRUCTION_BYTES // size) & (last == end - 1)
            ),
            Cover(granted & (past[width] == 1)),
            Cover(dut.exhausted & (began == 1) & ~cleared & (asked == 0)),
            Cover(dut.fault & (length == 1)),
        ]
        return m

    def _invariants(self, m, own, good, base, end, asked, begun) -> None:
        dut, size = self._dut, self._bytes
        room, asking = own.fsm.ongoing("ROOM"), own.fsm.ongoing("ASK")
        made, place = own.gearbox.o.valid, own.gearbox.place
        tail, waiting, words = Signal(3), Signal(9), Signal(22)
        m.d.comb += [
            tail.eq(Mux(own.remaining >= FETCH_BATCH, FETCH_BATCH, own.remaining)),
            waiting.eq(own.fifo.level + asked),
            words.eq(own.left - own.remaining - made),  # asked for and not made yet
            Assert(own.fifo.o.valid == (own.fifo.level != 0)),
            Assert(implies(dut.exhausted, dut.idle & (waiting == 0) & ~made & (place == 0))),
            Assert(dut.idle | good),
            Assert(own.check.valid == begun[2]),
        ]
        if size > INSTRUCTION_BYTES:
            odd = (own.remaining == 0) & dut.program_length[0] & (words != 0)  # then half a beat is no word
            here, ask = 2 * waiting == words + odd + place, (tail + 1) >> 1
        else:
            per = INSTRUCTION_BYTES // size
            here, ask = waiting + place == words * per, tail * per
            m.d.comb += [Assert(place < per), Assert(implies(made, place == 0))]
        with m.If(~dut.exhausted):
            m.d.comb += [
                Assert(here),
                Assert((own.remaining == 0) | (own.remaining[:2] == dut.program_length[:2])),
                Assert(~good | (dut.ar.payload.address[:7] == 0)),
                Assert(own.room + own.given_back + made + words == FETCH_BUFFER),
                Assert(own.to_make == (own.left - made)[: len(own.to_make)]),
                Assert(own.left <= dut.program_length[: len(own.left)]),
                Assert(own.remaining <= own.left),
            ]
            with m.If(own.remaining != 0):
                m.d.comb += Assert(implies(good, dut.ar.payload.address + (own.remaining << 5) == end))
        with m.If(asking):
            m.d.comb += [Assert(own.remaining != 0), Assert(dut.ar.payload.length == ask - 1)]
        m.d.comb += [
            Assert(dut.ar.valid == asking),
            Assert(implies(room | asking, own.tail == tail)),
            Assert(implies(asking, own.room >= tail)),
        ]
        with m.If(begun[:3].any()):
            m.d.comb += [
                Assert(dut.idle & ~dut.exhausted),
                Assert(own.remaining == dut.program_length[: len(own.remaining)]),
                Assert(dut.ar.payload.address == base[: self.WIDTH]),
                Assert(own.room == FETCH_BUFFER),
            ]


def fetch(*bugs):
    """``Fetch`` whose gearbox shows how far it is in its word or beat."""
    shown = mutant(
        Gearbox,
        (
            "self._data_bytes = data_bytes",
            "self._data_bytes = data_bytes; self.place = Signal(1 if data_bytes > 32 else 3)",
        ),
        ("count = Signal(range(beats))", "count = self.place"),
        ("upper = Signal()", "upper = self.place"),
    )
    with patch("hw.control.fetch.Gearbox", shown):
        return mutant(Fetch, *bugs)


class DecoderExact(Elaboratable):
    """A good word goes to its queue whole, and to no other; a bad one to none. A word is good if nothing of it is lost."""

    def __init__(self, kind=Decoder):
        self._dut = kind(design=SMALL)

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self._dut
        free(m, dut)
        cleared = previous(m, dut.clear, "cleared")
        taken = dut.i.valid & dut.i.ready
        word, index = Signal(INSTRUCTION_BITS), Signal.like(dut.index)
        with m.If(taken):
            m.d.sync += [word.eq(dut.i.payload.word), index.eq(dut.i.payload.index)]
        ports = {opcode: getattr(dut, opcode.queue.name.lower()) for opcode in Opcode}
        goods = []
        for opcode, port in ports.items():
            holds(m, port, name=opcode.name.lower(), unless=cleared)
            good = Signal(name=f"good_{opcode.name.lower()}")
            m.d.comb += [
                good.eq(self._whole(opcode, port.payload, word)),
                Assert(port.valid == (dut.held & good)),
                Assert(implies(port.valid, port.payload.command.index == index)),
                Cover(port.valid & port.ready & previous(m, port.valid & ~port.ready, f"late_{opcode.name}")),
            ]
            goods.append(good)
        gone = previous(m, reduce(or_, (p.valid & p.ready for p in ports.values())), "gone")
        held, was_taken = previous(m, dut.held, "was_held"), previous(m, taken, "was_taken")
        m.d.comb += [
            Assert(dut.i.ready == ~dut.held),
            Assert(dut.fault == (dut.held & ~reduce(or_, goods))),
            Assert(implies(dut.held, dut.index == index)),
            # Hence held until a queue has it, and a bad word until it is dropped.
            Assert(dut.held == ((was_taken | held & ~gone) & ~cleared)),
            Cover(dut.fault & (word[:8] == Opcode.LOAD)),
            Cover(dut.fault & (word[:8] == 0)),
        ]
        return m

    @staticmethod
    def _whole(opcode, entry, word):
        """The instruction put together again from what the queue gets is the word; and its counts and variant are good."""
        own, command = own_tokens(opcode.queue), entry.command
        target = command.operands if opcode is Opcode.EXECUTE else command
        variants = {Opcode.LOAD: len(Destination), Opcode.STORE: len(OutputMode)}
        parts, good = [], []
        for field in FIELDS[opcode]:
            part = Const(0, field.bits)
            if field.range is Range.OPCODE:
                part = Const(opcode, field.bits)
            elif field.name == "wait":
                part = entry.wait.shift_left(int(own[0]))
            elif field.name == "post":
                part = command.post
            elif field.name in target.shape().members:
                part = target[field.name]
            whole = Signal(field.bits, name=f"{opcode.name}_{field.name}")
            parts.append((whole, part))
            if field.range is Range.COUNT:
                good.append(Value.cast(part).any())
            if field.range is Range.VARIANT:
                good.append(part < variants.get(opcode, SMALL.geometry.variants))
        together = Cat(Value.cast(part) | Const(0, len(whole)) for whole, part in parts)
        return reduce(and_, good, together == word)


@pytest.mark.parametrize("data_bytes", [8, 32, 64])
def test_the_gearbox_makes_words(data_bytes):
    prove(GearboxExact(data_bytes), depth=2, reach=8)


@pytest.mark.parametrize(
    ("data_bytes", "bug"),
    [
        (8, ("count == beats - 1, 0", "count == beats - 2, 0")),
        (32, ("free.eq(~o.valid)", "free.eq(1)")),
        (64, ("upper.eq(~upper & ~self.last)", "upper.eq(~upper)")),
    ],
)
def test_the_gearbox_with_a_bug(data_bytes, bug):
    refute(GearboxExact(data_bytes, mutant(Gearbox, bug)), depth=10)


@pytest.mark.parametrize("data_bytes", [8, 32, 64])
def test_fetch_stays_inside(data_bytes):
    prove(FetchInside(data_bytes, fetch()), depth=5, reach=17)


@pytest.mark.parametrize(
    ("data_bytes", "bug"),
    [
        (32, ("room.eq(FETCH_BUFFER)", "room.eq(FETCH_BUFFER + FETCH_BATCH)")),
        (8, ("check.valid & check.good & ~self.halt", "check.valid & ~self.halt")),
        (64, ("(tail + 1) >> 1", "(tail + 2) >> 1")),
        (32, ("with m.If(granted):", "with m.If(granted | self.halt):")),
    ],
)
def test_fetch_with_a_bug(data_bytes, bug):
    refute(FetchInside(data_bytes, fetch(bug)), depth=9)


def test_the_decoder_loses_nothing():
    prove(DecoderExact(), depth=2, reach=6)


@pytest.mark.parametrize(
    "bug",
    [
        ("port.valid.eq(offered[opcode.queue] & ~bad)", "port.valid.eq(offered[opcode.queue] & ~opcode_bad)"),
        ("faults.append(word[end:].any())", "faults.append(word[end + 1 :].any())"),
        ("(accepted.any() & ~bad)", "accepted.any()"),
        ("offered.eq(0)", "offered.eq(offered)"),
    ],
)
def test_the_decoder_with_a_bug(bug):
    refute(DecoderExact(mutant(Decoder, bug)), depth=6)
