"""Fetch asks for nothing it may not, and hands each word of the program on whole."""

from __future__ import annotations

from unittest.mock import patch

import pytest
from amaranth.asserts import AnyConst
from amaranth.hdl import Assert, Assume, Cover, Elaboratable, Module, Mux, Signal, Value
from amaranth.utils import exact_log2

from hw.control.fetch import Fetch, WordRegister, WordStore
from hw.control.isa import (
    FETCH_BATCH,
    FETCH_BUFFER,
    INSTRUCTION_BITS,
    INSTRUCTION_BYTES,
)
from hw.timing import PROGRAM_CHECK
from tests.formal import free, holds, mutant, previous, prove, refute
from tests.formal_inside import implies, inside


class StoreExact(Elaboratable):
    """Each word is made of its own beats, in their order; it stays until taken. Any one row of the RAM is watched."""

    def __init__(self, data_bytes, kind=WordStore):
        self._bytes, self._dut = data_bytes, kind(data_bytes=data_bytes)

    def elaborate(self, platform):
        m = Module()
        dut = self._dut
        m.submodules.dut, own = dut, inside(dut, platform)
        free(m, dut)
        rows, words = own.rows, max(1, self._bytes // INSTRUCTION_BYTES)
        beats, depth = max(1, INSTRUCTION_BYTES // self._bytes), FETCH_BUFFER // words
        m.d.comb += Assume(implies(dut.valid, rows.room))
        holds(m, dut.o, name="o", unless=previous(m, dut.restart, "restarted"))
        write, read, place, half = (
            Signal.like(rows.write),
            Signal.like(rows.read),
            Signal(range(beats)),
            Signal(),
        )
        level, taken = Signal(range(depth + 1)), dut.o.valid & dut.o.ready
        whole = dut.valid & (place == beats - 1)
        given_up = taken & (half | dut.last) if words > 1 else taken
        m.d.sync += [
            write.eq(write + whole),
            read.eq(read + given_up),
            level.eq(level + whole - given_up),
            half.eq(Mux(taken & (words > 1), ~half & ~dut.last, half)),
            place.eq(Mux(whole, 0, place + dut.valid)),
        ]
        with m.If(dut.restart):
            m.d.sync += [signal.eq(0) for signal in (write, read, level, half, place)]
        row, kept = Signal.like(write), Signal(INSTRUCTION_BITS * words)
        m.d.comb += row.eq(AnyConst(len(row)))
        with m.If(dut.valid & (write == row)):
            m.d.sync += kept.word_select(place, 8 * self._bytes).eq(dut.beat)
        width = min(8 * self._bytes, INSTRUCTION_BITS)
        for number in range(max(words, beats)):
            there = own.m.submodules[f"bank_{number}"].read_port(domain="comb")
            m.d.comb += [there.addr.eq(row), Assert(there.data == kept.word_select(number, width))]
        m.d.comb += [
            Assert((rows.write == write) & (rows.read == read) & (rows.level == level)),
            Assert((own.turn == 1 << place) & (own.half == half) & (place < beats)),
            Assert((write - read)[: len(write)] == level[: len(write)]),
            Assert((level <= depth) & (half <= (words > 1))),
            Assert((rows.some == (level != 0)) & (rows.room == (level != depth))),
            Assert(dut.o.valid == (level != 0)),
            Assert(
                implies(
                    dut.o.valid & (read == row), dut.o.payload == kept.word_select(half, INSTRUCTION_BITS)
                )
            ),
            Cover(taken & previous(m, ~dut.o.ready, "stalled")),
            Cover(level == 2),
        ]
        return m


class WordExact(Elaboratable):
    """The word is made of its own beats, in their order; it stays until taken."""

    def __init__(self, data_bytes, kind=WordRegister):
        self._bytes, self._dut = data_bytes, kind(data_bytes=data_bytes)

    def elaborate(self, platform):
        m = Module()
        dut, beats = self._dut, INSTRUCTION_BYTES // self._bytes
        m.submodules.dut, own = dut, inside(dut, platform)
        free(m, dut)
        m.d.comb += Assume(~(dut.valid & dut.o.valid))
        holds(m, dut.o, name="o", unless=previous(m, dut.restart, "restarted"))
        place, full, kept = Signal(range(beats)), Signal(), Signal(INSTRUCTION_BITS)
        whole, taken = dut.valid & (place == beats - 1), dut.o.valid & dut.o.ready
        m.d.sync += [place.eq(Mux(whole, 0, place + dut.valid)), full.eq(whole | (full & ~taken))]
        with m.If(dut.restart):
            m.d.sync += [place.eq(0), full.eq(0)]
        with m.If(dut.valid):
            m.d.sync += kept.word_select(place, 8 * self._bytes).eq(dut.beat)
        parts = [
            Value.cast(word).word_select(i, 8 * self._bytes)
            for word in (dut.o.payload, kept)
            for i in range(beats)
        ]
        m.d.comb += [
            Assert(own.turn == 1 << place),
            Assert(dut.o.valid == full),
            Assert(implies(full, (place == 0) & (dut.o.payload == kept))),
            *(Assert(implies(place > i, parts[i] == parts[beats + i])) for i in range(beats)),
            Cover(taken),
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
        begun = Signal(PROGRAM_CHECK)  # a check of the program may be under way
        m.d.sync += begun.eq(begun << 1 | dut.start)
        rest = dut.idle & (asked == 0) & ~begun.any()
        m.d.comb += [
            Assume(implies(dut.beats.valid, asked != 0)),
            Assume(implies(dut.start, rest & dut.exhausted & ~dut.clear & ~dut.halt)),
            Assume(implies(dut.clear, rest & dut.halt)),
        ]
        cleared = previous(m, dut.clear, "cleared")
        holds(m, ar, name="ar")
        holds(m, dut.o, name="o", unless=previous(m, own.restart, "restarted"))

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
            Assert(implies(dut.beats.valid, own.store.rows.room)),
            Cover(
                granted & (began == 1) & (beats < FETCH_BATCH * INSTRUCTION_BYTES // size) & (last == end - 1)
            ),
            Cover(granted & (past[width] == 1)),
            Cover(dut.exhausted & (began == 1) & ~cleared & (asked == 0)),
            Cover(dut.fault & (length == 1)),
        ]
        return m

    def _invariants(self, m, own, good, base, end, asked, begun) -> None:
        dut, size, store = self._dut, self._bytes, own.store
        states = {name: own.fsm.ongoing(name) for name in ("ROOM", "ASK", "COUNT", "SETTLE")}
        level, place = store.rows.level, Signal(range(8))
        tail, remaining, words = Signal(3), Signal(20), Signal(22)
        per, depth = max(1, INSTRUCTION_BYTES // size), FETCH_BUFFER // max(1, size // INSTRUCTION_BYTES)
        for number in range(per):
            with m.If(store.turn == 1 << number):
                m.d.comb += place.eq(number)
        m.d.comb += [
            tail.eq(Mux(own.remaining >= FETCH_BATCH, FETCH_BATCH, own.remaining)),
            # What is granted is no longer to be asked for, though it is counted in the cycle after.
            remaining.eq(own.remaining - Mux(states["COUNT"], tail, 0)),
            words.eq(own.left - remaining),  # asked for and not handed over
            Assert(store.turn == 1 << place),
            Assert((store.rows.write - store.rows.read)[: len(level) - 1] == level[:-1]),
            Assert(store.rows.some == (level != 0)),
            Assert((level <= depth) & (store.rows.room == (level != depth))),
            Assert(implies(dut.exhausted & ~own.restart, (level == 0) & (place == 0) & ~store.half)),
            Assert(implies(dut.exhausted, (asked == 0) & ~states["ASK"])),
            Assert(implies(dut.exhausted & ~dut.idle, remaining == 0)),
            Assert(dut.idle | good),
            Assert(own.check.valid == begun[-2]),
        ]
        if size > INSTRUCTION_BYTES:
            odd = (remaining == 0) & dut.program_length[0] & (words != 0)  # then half a beat is no word
            here, ask = 2 * (level + asked) == words + odd + store.half, (tail + 1) >> 1
            m.d.comb += Assert(dut.exhausted | ~odd | (words < FETCH_BUFFER))
        else:
            here, ask = level * per + place + asked == words * per, tail * per
            m.d.comb += [Assert(place < per), Assert(~store.half)]
        with m.If(~dut.exhausted):
            m.d.comb += [
                Assert(here),
                Assert((own.remaining == 0) | (own.remaining[:2] == dut.program_length[:2])),
                Assert(~good | (dut.ar.payload.address[:7] == 0)),
                Assert(
                    own.room + own.given_back + words
                    == FETCH_BUFFER + own.taken + Mux(states["COUNT"], tail, 0)
                ),
                Assert(begun[0] | (own.final == (own.left == 1))),
                Assert(own.left <= dut.program_length[: len(own.left)]),
                Assert(implies(good, own.left != 0)),
                Assert(remaining <= own.left),
            ]
            with m.If(own.remaining != 0):
                m.d.comb += Assert(implies(good, dut.ar.payload.address + (own.remaining << 5) == end))
        known = ~dut.idle & ~states["SETTLE"]
        with m.If(states["ASK"]):
            m.d.comb += [Assert(own.remaining != 0), Assert(dut.ar.payload.length == ask - 1)]
        m.d.comb += [
            Assert(dut.ar.valid == states["ASK"]),
            Assert(implies(known | begun[1:-1].any(), own.many == (own.remaining >= FETCH_BATCH))),
            Assert(implies(states["ASK"], own.room >= FETCH_BATCH)),
            Assert(implies(~states["SETTLE"], own.taken == 0)),
        ]
        with m.If(begun[:-1].any()):
            m.d.comb += [
                Assert(dut.idle & ~dut.exhausted),
                Assert(own.remaining == dut.program_length[: len(own.remaining)]),
                Assert(dut.ar.payload.address == base[: self.WIDTH]),
                Assert(own.room == FETCH_BUFFER),
            ]


def fetch(*bugs):
    """``Fetch`` whose store shows its rows, and how far it is in its word or beat."""
    shown = mutant(
        WordStore,
        (
            "self._data_bytes = data_bytes",
            "self._data_bytes = data_bytes; self.half = Signal(); "
            "self.turn = Signal(max(1, INSTRUCTION_BYTES // data_bytes), init=1); "
            "self.rows = Places(depth=FETCH_BUFFER // max(1, data_bytes // INSTRUCTION_BYTES))",
        ),
        ("turn, half = Signal(beats, init=1), Signal()", "turn, half = self.turn, self.half"),
        ("rows = Places(depth=FETCH_BUFFER // words)", "rows = self.rows"),
    )
    with patch("hw.control.fetch.WordStore", shown):
        return mutant(Fetch, *bugs)


@pytest.mark.parametrize("data_bytes", [8, 32, 64])
def test_the_store_makes_words(data_bytes):
    prove(StoreExact(data_bytes), depth=2, reach=12)


@pytest.mark.parametrize(
    ("data_bytes", "bug"),
    [
        (8, ("turn.rotate_left(1)", "turn.rotate_left(2)")),
        (32, ("self.valid & turn[-1]", "self.valid & ~self.o.valid")),
        (64, ("half.eq(~half & ~self.last)", "half.eq(~half)")),
    ],
)
def test_the_store_with_a_bug(data_bytes, bug):
    refute(StoreExact(data_bytes, mutant(WordStore, bug)), depth=10)


@pytest.mark.parametrize("data_bytes", [4, 16, 32])
def test_the_register_is_exact(data_bytes):
    prove(WordExact(data_bytes), depth=3, reach=INSTRUCTION_BYTES // data_bytes + 3)


@pytest.mark.parametrize(
    "bug",
    [
        ("turn.rotate_left(1)", "turn.rotate_left(2)"),
        ("with m.Elif(self.o.ready)", "with m.Elif(~self.o.ready)"),
        ("self.o.valid.eq(turn[-1])", "self.o.valid.eq(turn[0])"),
    ],
)
def test_the_register_with_a_bug(bug):
    refute(WordExact(8, mutant(WordRegister, bug)), depth=8)


@pytest.mark.parametrize("data_bytes", [32, *(pytest.param(one, marks=pytest.mark.long) for one in (8, 64))])
def test_fetch_stays_inside(data_bytes):
    prove(FetchInside(data_bytes, fetch()), depth=5, reach=20)


@pytest.mark.parametrize(
    ("data_bytes", "bug"),
    [
        (32, ("room.eq(self._prefetch)", "room.eq(self._prefetch + batch)")),
        (8, ("check.valid & check.good & ~self.halt", "check.valid & ~self.halt")),
        (64, ("(tail + 1) >> 1", "(tail + 2) >> 1")),
        (32, ("with m.If(self.ar.ready):", "with m.If(self.ar.ready | self.halt):")),
    ],
)
def test_fetch_with_a_bug(data_bytes, bug):
    refute(FetchInside(data_bytes, fetch(bug)), depth=11)
