# amaranth: UnusedElaboratable=no
"""FIFO and register slice: order, latency, throughput, level, limits of parameters."""

from __future__ import annotations

import pytest
from amaranth.lib import data
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.stream.fifo import Fifo
from hw.stream.skid import SkidBuffer

PAIR = data.StructLayout({"low": 3, "high": 9})


def run(dut, offers, takes, cycles):
    """Offer the words 1, 2, ... and take; ``offers`` and ``takes`` say in which cycles, again and again.

    Per cycle: the word taken at ``i``, the word taken at ``o`` (0 for none), and ``level`` where there is one.
    """
    history = []

    async def bench(ctx):
        word, offered = 1, False
        for cycle in range(cycles):
            offered = offered or offers[cycle % len(offers)]
            ctx.set(dut.i.valid, offered)
            ctx.set(dut.i.payload, PAIR.from_bits(word))
            ctx.set(dut.o.ready, takes[cycle % len(takes)])
            put = offered and ctx.get(dut.i.ready)
            take = takes[cycle % len(takes)] and ctx.get(dut.o.valid)
            out = ctx.get(dut.o.payload).as_bits() if take else 0
            history.append((word if put else 0, out, ctx.get(dut.level) if hasattr(dut, "level") else None))
            word, offered = (word + 1, False) if put else (word, offered)
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return history


def model(capacity, offers, takes, cycles):
    """The same of an ideal buffer with one cycle of latency."""
    history, inside, word, offered = [], [], 1, False
    for cycle in range(cycles):
        offered = offered or offers[cycle % len(offers)]
        put = offered and len(inside) < capacity
        take = takes[cycle % len(takes)] and bool(inside)
        history.append((word if put else 0, inside[0] if take else 0, len(inside)))
        inside = inside[take:] + [word] * put
        word, offered = (word + 1, False) if put else (word, offered)
    return history


PATTERN = st.lists(st.booleans(), min_size=1, max_size=12)


@given(depth=st.integers(1, 18), offers=PATTERN, takes=PATTERN)
@settings(max_examples=40)
def test_fifo_is_an_ideal_buffer(depth, offers, takes):
    assert run(Fifo(shape=PAIR, depth=depth), offers, takes, 80) == model(depth, offers, takes, 80)


@given(offers=PATTERN, takes=PATTERN)
@settings(max_examples=20)
def test_skid_buffer_is_an_ideal_buffer_of_two(offers, takes):
    found = run(SkidBuffer(shape=PAIR), offers, takes, 60)
    assert [row[:2] for row in found] == [row[:2] for row in model(2, offers, takes, 60)]


@pytest.mark.parametrize("depth", [2, 3, 8])
def test_fifo_passes_a_word_per_cycle(depth):
    history = run(Fifo(shape=PAIR, depth=depth), [True], [True], 40)
    assert [out for _, out, _ in history] == list(range(40))


def test_fifo_can_be_elaborated_again():
    dut = Fifo(shape=PAIR, depth=4)
    assert run(dut, [True], [True], 10) == run(dut, [True], [True], 10)
    assert dut.depth == 4


@pytest.mark.parametrize("depth", [0, -1])
def test_depth_must_hold_something(depth):
    with pytest.raises(ValueError, match=f"depth must be 1 or more, not {depth}"):
        Fifo(shape=8, depth=depth)


def test_depth_must_be_an_integer():
    with pytest.raises(TypeError):
        Fifo(shape=8, depth=2.5)
