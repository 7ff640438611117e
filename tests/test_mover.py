"""LOAD and STORE of in-order designs: golden bytes, and the cycles of the model."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.control.isa import Destination, Opcode, OutputMode
from hw.design import ceil_div
from hw.dma.realign import scratchpad_beats
from sim.cycles import mover as law
from sim.cycles.memory import MemoryTiming, ReadMemory, WriteMemory
from tests.mover_bench import MoverBench, design, load, store

LONGEST = 1500
"""Cycles of a case; longer ones are made shorter."""


def predict(d, memory, opcode, fields, start=0):
    """The law's answer to a command alone."""
    if opcode is Opcode.LOAD:
        return law.load(start, d, ReadMemory(memory), fields)
    return law.store(start, d, WriteMemory(memory), fields)


def check_contents(bench, commands):
    """Exactly the bytes and beats that must be written were."""
    written, loaded = {}, {which: {} for which in Destination}
    for opcode, fields in commands:
        if opcode is Opcode.STORE:
            written.update(bench.expected(fields))
        else:
            loaded[fields["variant"]].update(bench.loaded(fields))
    assert bench.written == written
    for which, beats in loaded.items():
        found = bench.scratchpads[which]
        assert set(found) == set(beats)
        for place, line in beats.items():
            assert found[place].to_bytes(bench.design.data_bytes, "little")[: len(line)] == line


def check(d, memory, commands, gaps=(), seed=0):
    """Run ``commands``: no fault, golden bytes, and the law's cycles and beats."""
    bench = MoverBench(d, timing=memory, seed=seed, limit=6 * LONGEST)
    outcomes = bench.run(commands, gaps)
    reads, writes = ReadMemory(memory), WriteMemory(memory)
    for (opcode, fields), outcome in zip(commands, outcomes, strict=True):
        unit, side = (law.load, reads) if opcode is Opcode.LOAD else (law.store, writes)
        moved = unit(outcome.started, d, side, fields)
        assert (outcome.ended, outcome.beats, outcome.code) == (moved.ended, moved.beats, 0)
    check_contents(bench, commands)


@st.composite
def stores(draw, d):
    """A STORE inside all limits of a design."""
    banks, mode = d.geometry.banks, draw(st.sampled_from(OutputMode))
    rows, columns = draw(st.integers(1, 5)), draw(st.integers(1, draw(st.sampled_from([3, 3 * banks, 24]))))
    columns = min(columns, d.parameter_entries)
    tiles = ceil_div(columns, banks)
    stride = draw(st.integers(0, (d.accumulator_rows - rows) // tiles))
    row_bytes = columns * (4 if mode == OutputMode.RAW else 1)
    return store(
        variant=mode,
        rows=rows,
        columns=columns,
        memory_address=draw(addresses(d)),
        memory_stride=row_bytes + draw(st.integers(0, 9)),
        accumulators_address=draw(st.integers(0, d.accumulator_rows - (tiles - 1) * stride - rows)),
        accumulators_stride=stride,
        parameters_address=draw(st.integers(0, d.parameter_entries - columns)),
    )


@st.composite
def loads(draw, d):
    """A LOAD inside all limits of a design, whose rows do not overlap in the scratchpad."""
    which = draw(st.sampled_from(Destination))
    depth, size = scratchpad_beats(d)[which], d.data_bytes
    row_bytes = draw(st.integers(1, draw(st.sampled_from([2 * size, depth * size]))))
    beats = ceil_div(row_bytes, size)
    stride = draw(st.integers(beats, depth))
    rows = draw(st.integers(1, min(6, (depth - beats) // stride + 1)))
    return load(
        variant=which,
        rows=rows,
        row_bytes=row_bytes,
        memory_address=draw(addresses(d)),
        memory_stride=draw(st.sampled_from([row_bytes, row_bytes + 3, 0, 4096])),
        local_address=draw(st.integers(0, depth - beats - (rows - 1) * stride)),
        local_stride=stride if rows > 1 else draw(st.integers(0, depth)),
    )


def addresses(d):
    """Byte addresses: any, or close to the end of a page."""
    return st.one_of(st.integers(0, 1 << 15), st.integers(4096 - 3 * d.data_bytes, 4096))


@st.composite
def cases(draw):
    d = design(
        columns=draw(st.sampled_from([1, 1, 2, 3, 16])),
        data_bytes=draw(st.sampled_from([4, 4, 8, 16, 32])),
        address_width=draw(st.sampled_from([16, 17, 32, 64])),
        outstanding=draw(st.sampled_from([1, 1, 2, 4])),
        burst_beats=draw(st.sampled_from([1, 2, 3, 8, 16, 100, 256])),
        rows=draw(st.sampled_from([64, 96])),
        entries=draw(st.sampled_from([24, 64])),
    )
    commands = draw(st.lists(st.one_of(loads(d), stores(d)), min_size=1, max_size=3))
    memory = MemoryTiming(
        read_latency=draw(st.sampled_from([1, 2, 20])),
        write_latency=draw(st.sampled_from([1, 2, 20, 60])),
        interval=draw(st.integers(1, 3)),
        outstanding=draw(st.sampled_from([1, 2, 8])),
    )
    for opcode, fields in commands:
        while fields["rows"] > 1 and predict(d, memory, opcode, fields).ended > LONGEST:
            fields["rows"] -= 1
    return d, memory, commands, draw(st.lists(st.integers(0, 3), max_size=3))


@settings(max_examples=12)
@given(cases(), st.integers(0, 1 << 20))
def test_hardware_equals_model(case, seed):
    d, memory, commands, gaps = case
    check(d, memory, commands, gaps, seed)


@pytest.mark.long
@settings(max_examples=200)
@given(cases(), st.integers(0, 1 << 20))
def test_hardware_equals_model_often(case, seed):
    d, memory, commands, gaps = case
    check(d, memory, commands, gaps, seed)


@pytest.mark.long
@settings(max_examples=100)
@given(cases(), st.integers(0, 1 << 20))
def test_random_stalls(case, seed):
    d, _, commands, gaps = case
    bench = MoverBench(d, seed=seed, stalls=random.Random(seed))
    assert all(outcome.code == 0 for outcome in bench.run(commands, gaps))
    check_contents(bench, commands)
