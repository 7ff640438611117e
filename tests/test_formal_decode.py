"""The decoder hands each word of the program on whole, to one queue."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce
from operator import and_, or_

import pytest
from amaranth.hdl import Assert, Assume, Cat, Const, Cover, Elaboratable, Module, Mux, Signal, Value

from hw.control.decode import Decoder, own_tokens
from hw.control.isa import (
    FETCH_BUFFER,
    FIELDS,
    INSTRUCTION_BITS,
    Destination,
    Opcode,
    OutputMode,
    Queue,
    Range,
)
from hw.timing import DECODE
from tests.formal import free, holds, mutant, previous, prove, refute
from tests.formal_inside import SMALL, implies, inside


class DecoderExact(Elaboratable):
    """A good word goes to its queue whole, and to no other; a bad one to none. A word is good if nothing of it is lost.

    With a ``prefetch`` of 1 it stays where it comes from until then.
    """

    def __init__(self, kind=Decoder, settings=3, prefetch=FETCH_BUFFER):
        self._geometry = replace(SMALL.geometry, settings=settings)
        self._stays = prefetch == 1
        self._dut = kind(design=replace(SMALL, geometry=self._geometry, prefetch=prefetch))

    def elaborate(self, platform):
        m = Module()
        dut = self._dut
        m.submodules.dut, own = dut, inside(dut, platform)
        free(m, dut)
        cleared = previous(m, dut.clear, "cleared")
        taken = dut.i.valid & ~dut.held
        word, index = Signal(INSTRUCTION_BITS), Signal.like(dut.index)
        if self._stays:
            waits = previous(m, dut.i.valid & ~dut.i.ready, "waits")
            same = Value.cast(dut.i.payload) == previous(m, Value.cast(dut.i.payload), "offered")
            m.d.comb += [Assume(implies(waits, dut.i.valid & same)), Assert(implies(dut.held, dut.i.valid))]
        with m.If(taken):
            m.d.sync += [word.eq(dut.i.payload.word), index.eq(dut.i.payload.index)]
        age = Signal(range(DECODE + 2))  # cycles since the word was taken, as far as they matter
        m.d.sync += age.eq(Mux(taken, 1, Mux(age > DECODE, age, age + 1)))
        ports = {queue: getattr(dut, queue.name.lower()) for queue in Queue}
        goods = []
        for queue, port in ports.items():
            holds(m, port, name=queue.name.lower(), unless=cleared)
            late, mine = previous(m, port.valid & ~port.ready, f"late_{queue.name}"), []
            for opcode in Opcode:
                if opcode.queue is queue and (opcode is not Opcode.CONFIGURE or self._geometry.settings):
                    good = Signal(name=f"good_{opcode.name.lower()}")
                    m.d.comb += [
                        good.eq(self._whole(opcode, port.payload, word)),
                        Cover(port.valid & port.ready & late & good),
                    ]
                    mine.append(good)
            m.d.comb += [
                Assert(port.valid == (dut.held & (age >= DECODE) & reduce(or_, mine))),
                Assert(implies(port.valid, port.payload.command.index == index)),
            ]
            goods += mine
        goes = reduce(or_, (p.valid & p.ready for p in ports.values()))
        gone = previous(m, goes, "gone")
        held, was_taken = previous(m, dut.held, "was_held"), previous(m, taken, "was_taken")
        m.d.comb += [
            Assert(dut.i.ready == (goes | dut.clear if self._stays else ~dut.held)),
            Assert(dut.fault == (dut.held & (age > DECODE) & ~reduce(or_, goods))),
            Assert(implies(dut.held, (own.held.word == word) & (age != 0))),
            Assert((own.fresh == (dut.held & (age == 1))) & (own.looked == (dut.held & (age == 2)))),
            Assert(own.checked == (dut.held & (age == DECODE))),
            Assert(implies(dut.held, dut.index == index)),
            # Hence held until a queue has it, and a bad word until it is dropped.
            Assert(dut.held == ((was_taken | held & ~gone) & ~cleared)),
            Cover(dut.fault & (word[:8] == Opcode.LOAD)),
            Cover(dut.fault & (word[:8] == 0)),
        ]
        return m

    def _whole(self, opcode, entry, word):
        """The instruction put together again from what the queue gets is the word; and its counts and variant are good."""
        own, command = own_tokens(opcode.queue), entry.command
        target = command.operands if opcode.queue is Queue.EXECUTE else command
        variants = {Opcode.LOAD: len(Destination), Opcode.STORE: len(OutputMode), Opcode.CONFIGURE: 1}
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
                good.append(part < variants.get(opcode, self._geometry.variants))
            if field.range is Range.SETTING:
                good.append(part < self._geometry.settings)
        if opcode.queue is Queue.EXECUTE and self._geometry.settings:
            good.append(target.configure == (opcode is Opcode.CONFIGURE))
        together = Cat(Value.cast(part) | Const(0, len(whole)) for whole, part in parts)
        return reduce(and_, good, together == word)


@pytest.mark.parametrize("settings", [0, 1, 3, 4])
def test_the_decoder_loses_nothing(settings):
    prove(DecoderExact(settings=settings), depth=4, reach=9)


def test_the_decoder_of_a_word_that_stays_loses_nothing():
    prove(DecoderExact(prefetch=1), depth=4, reach=9)


def test_the_decoder_of_a_word_that_stays_with_a_bug():
    bug = "accepted.any() | self.clear if stays_there", "valid if stays_there"
    refute(DecoderExact(mutant(Decoder, bug), prefetch=1), depth=8)


@pytest.mark.parametrize(
    "bug",
    [
        ("known[place] & ~flaws.any()", "known[place]"),
        ("value >= geometry.settings", "value > geometry.settings"),
        ("configure.eq(known)", "configure.eq(0)"),
        ("zeros += list(word[end:])", "zeros += list(word[end + 1 :])"),
        ("checked & ~offered.any()", "checked"),
        ("offered[queue] & ~port.ready", "offered[queue]"),
    ],
)
def test_the_decoder_with_a_bug(bug):
    refute(DecoderExact(mutant(Decoder, bug)), depth=8)
