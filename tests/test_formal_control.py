"""What lies between the bus and the units keeps the stream rules, loses nothing and asks for nothing it may not."""

from __future__ import annotations

from functools import reduce
from operator import and_, or_
from unittest.mock import patch

import pytest
from amaranth.asserts import AnyConst, AnySeq
from amaranth.hdl import Assert, Assume, Cat, Const, Cover, Elaboratable, Module, Mux, Signal, Value
from amaranth.utils import exact_log2

from hw.control import execute
from hw.control.axi_lite import OKAY, RegisterPort
from hw.control.decode import Decoder, own_tokens
from hw.control.execute import ExecuteUnit
from hw.control.fetch import Fetch, Gearbox
from hw.control.isa import (
    FETCH_BATCH,
    FETCH_BUFFER,
    FETCH_SOURCE,
    FIELDS,
    INSTRUCTION_BITS,
    INSTRUCTION_BYTES,
    TOKEN_MAXIMUM,
    Destination,
    Opcode,
    OutputMode,
    Queue,
    Range,
    Token,
)
from hw.control.queue import InstructionQueue
from hw.control.registers import BY_NAME, REGISTERS
from hw.control.run import Watchdog
from hw.control.tokens import TokenCounters
from hw.design import Design, Geometry
from tests.formal import check, free, holds, mutant, previous, prove, refute
from tests.formal_inside import inside

SMALL = Design(
    geometry=Geometry(
        tile_rows=2, columns=2, tile_depth=1, activation_bytes=4, weight_bytes=2, weight_words=1, variants=2
    ),
    data_bytes=4,
    address_width=32,
    burst_beats=4,
    outstanding=2,
    activation_words=16,
    weight_words=16,
    accumulator_rows=8,
    parameter_entries=8,
    output_lanes=1,
    queue_depth=2,
)


def implies(condition, then):
    """``then`` wherever ``condition``."""
    return ~condition | then


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
    check(QueueOrder(), depth=9)


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
        (32, ("remaining.eq(remaining - tail)", "remaining.eq(remaining - 1)")),
        (32, ("with m.If(granted):", "with m.If(granted | self.halt):")),
    ],
)
def test_fetch_with_a_bug(data_bytes, bug):
    refute(FetchInside(data_bytes, fetch(bug)), depth=10)


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


def test_tokens_are_counted():
    prove(TokensCounted(), depth=3, reach=14)


@pytest.mark.parametrize(
    "bug",
    [
        ("(count[0] & given[0])", "(count[0] & given[1])"),
        ("Mux(take, several, some)", "some"),
        ("less.eq(posts - 1)", "less.eq(posts)"),
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
