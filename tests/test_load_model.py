"""LOAD and the read arbiter take exactly the cycles that the model says, and put the right bytes in place."""

from __future__ import annotations

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from hw.control.isa import Destination
from hw.timing import LOAD_FIRST_BURST, LOAD_FIRST_ROW, LOAD_NEXT_COMMAND, LOAD_ROWS, LOAD_TAIL
from sim.cycles.kernel import Kernel
from sim.cycles.load import LoadUnit as LoadModel
from sim.cycles.load import bursts
from sim.cycles.memory import MemoryTiming, ReadMemory
from sim.cycles.memory import ReadArbiter as ArbiterModel
from tests.load_bench import BASE, Command, Fetch, check_contents, design, predict, simulate, within


def agree(d, timing, commands, fetches=()):
    """Simulate and compare everything with the model and with memory; the record."""
    model = predict(d, timing, commands, fetches)
    record = simulate(d, timing, commands, fetches=fetches, cycles=max(*model.finished, model.fetched) + 8)
    assert record.taken == model.taken
    ends = [(at, c.post, i) for i, (at, c) in enumerate(zip(model.finished, commands, strict=True))]
    assert record.finished == ends
    assert record.beats == model.beats
    assert len(record.fetched) == sum(read.beats for read in fetches)
    assert not record.faults
    under_way = {
        cycle
        for first, last in zip(model.taken, model.finished, strict=True)
        for cycle in range(first + 1, last + 1)
    }
    assert record.busy == sorted(under_way)
    check_contents(d, record, commands)
    return record


@st.composite
def runs(draw):
    data_bytes = draw(st.sampled_from([4, 8, 16]))
    d = design(
        data_bytes=data_bytes,
        burst_beats=draw(st.sampled_from([1, 2, 3, 7, 16, 256])),
        outstanding=draw(st.integers(1, 12)),
        address_width=draw(st.sampled_from([32, 33, 64])),
    )
    timing = MemoryTiming(
        read_latency=draw(st.sampled_from([1, 2, 3, 5, 20, 100])),
        interval=draw(st.integers(1, 3)),
        outstanding=draw(st.integers(1, 8)),
    )
    commands = []
    for _ in range(draw(st.integers(1, 4))):
        row_bytes = draw(st.one_of(st.integers(1, 3 * data_bytes), st.integers(1, 24 * data_bytes)))
        command = Command(
            variant=draw(st.sampled_from(Destination)),
            # Half of the rows start near the edge of a page.
            memory_address=BASE + draw(st.one_of(st.integers(0, 4095), st.integers(4090 - row_bytes, 4098))),
            memory_stride=draw(st.integers(0, 700)),
            row_bytes=row_bytes,
            rows=draw(st.integers(1, 20)),
            local_address=draw(st.integers(0, 63)),
            local_stride=draw(st.integers(0, 9)),
            post=draw(st.integers(0, 255)),
            gap=draw(st.one_of(st.integers(0, 3), st.integers(0, 60))),
        )
        commands.append(within(d, command))
    fetches = draw(st.lists(st.builds(Fetch, gap=st.integers(0, 40), beats=st.integers(1, 8)), max_size=6))
    return d, timing, commands, fetches


@given(runs())
@settings(max_examples=20, phases=[Phase.explicit, Phase.generate])
def test_every_cycle_is_predicted(run):
    d, timing, commands, fetches = run
    agree(d, timing, commands, fetches)


@pytest.mark.parametrize("interval", [1, 2])
def test_rows_of_one_burst_fill_the_row_fifo(interval):
    d = design(outstanding=12, burst_beats=4, words=64)
    timing = MemoryTiming(read_latency=60, interval=interval, outstanding=12)
    command = Command(memory_address=BASE + 3, memory_stride=37, row_bytes=6, rows=30, local_stride=2)
    record = agree(d, timing, [command, command])
    first = record.reads[0][0]
    # All places are asked for at three cycles each; the next row must wait for the first one's beats.
    assert [at for at, _, _ in record.reads[:LOAD_ROWS]] == [first + 3 * i for i in range(LOAD_ROWS)]
    assert record.reads[LOAD_ROWS][0] > first + timing.read_latency


def test_weights_stream_without_a_gap_from_command_to_command():
    d = design(data_bytes=16, burst_beats=16, outstanding=4, words=128)
    weights = {"variant": Destination.WEIGHTS, "row_bytes": 64 * 16}
    commands = [
        Command(memory_address=BASE + 1024 * i, local_address=64 * (i % 4), post=1 << i % 8, **weights)
        for i in range(6)
    ]
    record = agree(d, MemoryTiming(read_latency=20), commands)
    writes = [at for at, *_ in record.writes]
    assert writes == list(range(writes[0], writes[0] + 6 * 64))
    assert [at for at, _, _ in record.finished] == [writes[0] + 64 * i + 64 for i in range(6)]


@pytest.mark.parametrize("data_bytes", [4, 8, 16, 32, 64])
def test_every_alignment_and_length(data_bytes):
    d = design(data_bytes=data_bytes, burst_beats=4)
    lengths = [1, data_bytes - 1, data_bytes, data_bytes + 1, 2 * data_bytes]
    commands = [
        Command(
            memory_address=BASE + offset,
            row_bytes=lengths[(offset + turn) % 5],
            local_address=(7 * offset) % 61,
        )
        for turn in range(2)
        for offset in range(data_bytes)
    ]
    agree(d, MemoryTiming(read_latency=2), commands)


def test_finished_is_a_constant_after_the_last_beat():
    d = design()
    for offset in range(4):
        record = agree(d, MemoryTiming(read_latency=7), [Command(memory_address=BASE + offset, row_bytes=9)])
        (asked, _, beats), (end, _, _) = record.reads[0], record.finished[0]
        assert end == asked + 7 + beats - 1 + LOAD_TAIL
        assert max(at for at, *_ in record.writes) < end


@given(
    address=st.integers(0, 1 << 20),
    count=st.integers(1, 9000),
    data_bytes=st.sampled_from([4, 8, 16, 32, 64]),
    burst_beats=st.integers(1, 256),
)
@settings(max_examples=200)
def test_bursts_cover_the_row_and_cross_no_page(address, count, data_bytes, burst_beats):
    place = address // data_bytes * data_bytes
    for beats in bursts(address, count, data_bytes=data_bytes, burst_beats=burst_beats):
        assert 1 <= beats <= burst_beats
        assert place // 4096 == (place + beats * data_bytes - 1) // 4096
        place += beats * data_bytes
    assert place - data_bytes < address + count <= place


def test_a_late_question_is_answered_at_once():
    kernel = Kernel()
    unit = LoadModel(kernel, ArbiterModel(kernel, ReadMemory(MemoryTiming())), design())
    seen = []

    def late():
        load = unit.take(memory_address=0, memory_stride=0, row_bytes=1, rows=1)
        yield 1000
        yield from load.until_ready()
        yield from load.until_finished()
        seen.append((kernel.now, load.ready, load.finished))

    kernel.start(late())
    kernel.run()
    ready = LOAD_FIRST_ROW + LOAD_NEXT_COMMAND
    end = LOAD_FIRST_ROW + LOAD_FIRST_BURST + 1 + MemoryTiming().read_latency + LOAD_TAIL
    assert seen == [(1000, ready, end)]
