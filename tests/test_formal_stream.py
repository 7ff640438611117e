"""FIFO, ring and register slice keep the stream rules and the order of words, for all time."""

from __future__ import annotations

import pytest
from amaranth.asserts import AnySeq
from amaranth.hdl import Assert, Assume, Cover, Elaboratable, Module, Mux, Signal

from hw.control.ring import Ring
from hw.stream.fifo import Fifo
from hw.stream.skid import SkidBuffer
from tests.formal import free, holds, mutant, prove, refute

BITS = 4


class Order(Elaboratable):
    """A buffer hands on every word once and in order, and keeps the rules at its output.

    Any one word is watched: ``ahead`` counts the words that leave before it.

    Parameters
    ----------
    dut : component with ``i`` and ``o``
    capacity : words that fit
    level : words inside, as the component has it
    word : function of ``m`` and a position; the value inside at that position
    sound : invariants of the component's own state
    assumed : what its inputs keep to
    """

    def __init__(self, dut, *, capacity, level, word, sound, assumed=()):
        self._dut, self._capacity, self._assumed = dut, capacity, assumed
        self._level, self._word, self._sound = level, word, sound

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self._dut
        free(m, dut)
        put, take = dut.i.valid & dut.i.ready, dut.o.valid & dut.o.ready

        watched, ahead, value = Signal(), Signal(range(self._capacity + 1)), Signal(BITS)
        with m.If(~watched & put & AnySeq(1)):
            m.d.sync += [watched.eq(1), ahead.eq(self._level - take), value.eq(dut.i.payload)]
        with m.Elif(watched & take):
            m.d.sync += [ahead.eq(ahead - 1), watched.eq(ahead != 0)]
        with m.If(watched):
            m.d.comb += [Assert(ahead < self._level), Assert(self._word(m, ahead) == value)]
            with m.If(ahead == 0):
                m.d.comb += Assert(dut.o.payload == value)

        holds(m, dut.o, name="o")
        m.d.comb += [Assume(condition) for condition in self._assumed]
        m.d.comb += [
            Assert(self._level <= self._capacity),
            # Neither end waits for the other side: they depend on what is inside alone.
            Assert(dut.o.valid == (self._level != 0)),
            Assert(dut.i.ready == (self._level != self._capacity)),
            *(Assert(condition) for condition in self._sound),
            Cover(watched & (ahead == self._capacity - 1) & (value == 5)),
            Cover(watched & take & (ahead == 0) & (self._level == self._capacity)),
        ]
        filled = Signal()
        m.d.sync += filled.eq(filled | (self._level == self._capacity))
        m.d.comb += Cover(filled & (self._level == 0))
        return m


def fifo(depth, kind=Fifo):
    """The specification of a FIFO; a further read port shows the word at any position."""
    words = depth - 1
    position, behind = Signal(range(depth + 1)), Signal(BITS)

    class Probed(kind):
        def elaborate(self, platform):
            m = super().elaborate(platform)
            if words:
                port = m.submodules.storage.read_port(domain="comb")
                place = Signal(range(2 * depth))
                m.d.comb += [
                    place.eq(self._read + position - 1),
                    port.addr.eq(Mux(place >= words, place - words, place)),
                    behind.eq(port.data),
                ]
            return m

    dut = Probed(shape=BITS, depth=depth)

    def word(m, ahead):
        m.d.comb += position.eq(ahead)
        return Mux(ahead == 0, dut.o.payload, behind)

    sound = []
    if words:
        end = Mux(dut.level == 0, dut._read, dut._read + dut.level - 1)
        sound = [dut._read < words, dut._write < words, dut._write == Mux(end >= words, end - words, end)]
    return Order(dut, capacity=depth, level=dut.level, word=word, sound=sound)


def ring(depth, kind=Ring):
    """The specification of a ring that nobody clears; a further read port shows the word at any position."""
    position, behind = Signal(range(depth + 1)), Signal(BITS)

    class Probed(kind):
        def elaborate(self, platform):
            m = super().elaborate(platform)
            port = m.submodules.storage.read_port(domain="comb")
            m.d.comb += [port.addr.eq(self._places.read + position), behind.eq(port.data)]
            return m

    dut = Probed(shape=BITS, depth=depth)
    places = dut._places

    def word(m, ahead):
        m.d.comb += position.eq(ahead)
        return behind

    size = 1 << len(places.write)
    sound = [places.write == (places.read + places.level) % size]
    return Order(dut, capacity=depth, level=dut.level, word=word, sound=sound, assumed=[~dut.clear])


def skid(kind=SkidBuffer):
    """The specification of a register slice."""
    dut = kind(shape=BITS)
    level = dut.o.valid + dut._full
    return Order(
        dut,
        capacity=2,
        level=level,
        word=lambda m, ahead: Mux(ahead == 0, dut.o.payload, dut._spare),
        sound=[~dut._full | dut.o.valid],
    )


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 8, 9])
def test_fifo(depth):
    prove(fifo(depth), depth=2, reach=2 * depth + 4)


@pytest.mark.parametrize(
    ("depth", "bug"),
    [
        (1, ("self.level != self._depth", "self.level <= self._depth")),
        (3, ("put & self.o.valid & (behind | ~take)", "put & self.o.valid & behind")),
        (4, ("Mux(behind, read.data, self.i.payload)", "Mux(behind & ~put, read.data, self.i.payload)")),
        (5, ("pointer == words - 1", "pointer == words - 2")),
        (2, ("with m.If(take | ~self.o.valid)", "with m.If(take | ~self.o.valid | put)")),
    ],
)
def test_fifo_with_a_bug(depth, bug):
    refute(fifo(depth, mutant(Fifo, bug)), depth=2 * depth + 4)


@pytest.mark.parametrize("depth", [2, 3, 4, 8, 9])
def test_ring(depth):
    prove(ring(depth), depth=2, reach=2 * depth + 4)


@pytest.mark.parametrize(
    "bug",
    [
        ("write.en.eq(places.room)", "write.en.eq(1)"),
        ("read.addr.eq(places.read)", "read.addr.eq(places.read + 1)"),
        ("places.take.eq(self.o.valid & self.o.ready)", "places.take.eq(self.o.ready)"),
    ],
)
def test_ring_with_a_bug(bug):
    refute(ring(4, mutant(Ring, bug)), depth=12)


def test_skid_buffer():
    prove(skid(), depth=2, reach=8)


@pytest.mark.parametrize(
    "bug",
    [
        ("Mux(self._full, self._spare, self.i.payload)", "self.i.payload"),
        ("self.i.valid | self._full", "self.i.valid"),
        ("with m.If(~self._full)", "with m.If(self.i.valid)"),
    ],
)
def test_skid_buffer_with_a_bug(bug):
    refute(skid(mutant(SkidBuffer, bug)), depth=8)
