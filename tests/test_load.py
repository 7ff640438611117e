# amaranth: UnusedElaboratable=no
"""LOAD's faults and halt: what is refused, what still happens, and that the unit is as new afterwards."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from hw.control.isa import Destination, Error
from hw.dma.load import LoadUnit, Rows, Splitter
from hw.dma.realign import Realign, Receive
from hw.dma.row_queue import RowQueue
from sim.cycles.memory import MemoryTiming
from tests.load_bench import BASE, Command, check_contents, design, expected, simulate

TOP = 1 << 32
PLAIN = Command(
    variant=Destination.PARAMETERS, memory_address=BASE + 17, row_bytes=21, local_address=5, post=9
)
"""What must still work after a fault."""


def written_right(d, record, commands, *, but=frozenset()):
    """Every write is one that a command asks for, with the right bytes; ``but``: (scratchpad, beat) not looked at."""
    beats = {
        (which, place): line
        for which, table in expected(d, commands).items()
        for place, line in table.items()
    }
    for _, which, place, word in record.writes:
        line = beats[which, place]
        if (which, place) not in but:
            assert word.to_bytes(d.data_bytes, "little")[: len(line)] == line


def ends_clean(d, record, timing):
    """``busy`` is a single stretch after each command's take, and ends soon after the last beat."""
    assert record.busy
    last = max((at for at, *_ in record.reads), default=0)
    assert record.busy[-1] <= max(last, record.taken[-1]) + timing.read_latency + 256 * timing.interval + 16


@pytest.mark.parametrize(
    ("window", "command", "code", "rows"),
    [
        # One byte before the window, one byte behind it, in the first and in a later row.
        ((BASE, BASE + 99), Command(memory_address=BASE - 1, row_bytes=4), Error.WINDOW, 0),
        ((BASE, BASE + 99), Command(memory_address=BASE + 96, row_bytes=5), Error.WINDOW, 0),
        ((BASE + 2, BASE + 99), Command(memory_address=BASE + 1, row_bytes=4), Error.WINDOW, 0),
        (
            (BASE, BASE + 98),
            Command(memory_address=BASE, memory_stride=32, row_bytes=4, rows=4, local_stride=1),
            Error.WINDOW,
            3,
        ),
        # Past the top of memory: within a row, and from a row to the next, back into the window.
        ((0, TOP - 1), Command(memory_address=TOP - 5, row_bytes=6), Error.WINDOW, 0),
        (
            (0, TOP - 1),
            Command(memory_address=TOP - 8, memory_stride=16, row_bytes=8, rows=2, local_stride=2),
            Error.WINDOW,
            1,
        ),
        # Past the scratchpad's end: by one beat, by far, and by the stride.
        ((0, TOP - 1), Command(local_address=61, row_bytes=13), Error.LOCAL, 0),
        ((0, TOP - 1), Command(row_bytes=(1 << 24) - 1), Error.LOCAL, 0),
        ((0, TOP - 1), Command(local_stride=65535, row_bytes=4, rows=2), Error.LOCAL, 1),
        ((0, TOP - 1), Command(local_address=56, local_stride=4, row_bytes=8, rows=3), Error.LOCAL, 2),
        # Both at once.
        (
            (BASE, BASE + 99),
            Command(memory_address=BASE - 1, local_address=63, row_bytes=50),
            Error.WINDOW,
            0,
        ),
    ],
)
def test_a_row_outside_is_refused_before_it_is_read(window, command, code, rows):
    d, timing = design(), MemoryTiming(read_latency=9)
    record = simulate(d, timing, [command], cycles=120, window=window)
    assert [(c, i) for _, c, i in record.faults] == [(code, 0)]
    assert not record.finished
    done = replace(command, rows=rows)
    assert record.beats == sum(beats for _, _, beats in record.reads)
    written_right(d, record, [done])
    assert record.busy == list(range(1, len(record.busy) + 1))
    for _, address, beats in record.reads:
        assert window[0] // 4 <= address // 4
        assert address // 4 + beats - 1 <= window[1] // 4


@pytest.mark.parametrize(
    ("window", "command"),
    [
        ((BASE, BASE + 99), Command(memory_address=BASE, row_bytes=100)),
        (
            (TOP - 16, TOP - 1),
            Command(memory_address=TOP - 16, memory_stride=8, row_bytes=8, rows=2, local_stride=2),
        ),
        ((0, 7), Command(memory_address=0, row_bytes=8)),
        ((BASE + 3, BASE + 3), Command(memory_address=BASE + 3)),
        ((0, TOP - 1), Command(local_address=61, row_bytes=12)),
        ((0, TOP - 1), Command(variant=Destination.WEIGHTS, row_bytes=512)),
        ((0, TOP - 1), Command(variant=Destination.PARAMETERS, local_address=255, row_bytes=1)),
    ],
)
def test_the_last_byte_and_beat_are_inside(window, command):
    d = design()
    record = simulate(d, MemoryTiming(read_latency=2), [command], cycles=180, window=window)
    assert not record.faults
    assert [index for *_, index in record.finished] == [0]
    check_contents(d, record, [command])


def test_a_fault_behind_a_command_that_still_streams():
    d, timing = design(), MemoryTiming(read_latency=30)
    good = Command(row_bytes=64, post=3)
    bad = Command(memory_address=BASE - 1, row_bytes=8, local_address=20)
    record = simulate(d, timing, [good, bad, PLAIN], cycles=220)
    assert [(c, i) for _, c, i in record.faults] == [(Error.WINDOW, 1)]
    assert [(post, i) for _, post, i in record.finished] == [(3, 0), (9, 2)]
    # The next command waits until everything has ended.
    assert record.taken[2] > record.finished[0][0]
    check_contents(d, record, [good, PLAIN])


def test_fault_and_finished_share_the_index():
    d = design(data_bytes=4)
    good, found = Command(row_bytes=8, post=1), set()
    for gap in range(24):
        bad = Command(memory_address=0, gap=gap)
        record = simulate(d, MemoryTiming(read_latency=3), [good, bad], cycles=60)
        (fault, code, index), (finished, _, first) = record.faults[0], record.finished[0]
        assert (len(record.faults), code, index) == (1, Error.WINDOW, 1)
        assert (len(record.finished), first) == (1, 0)
        assert fault != finished
        found.add(fault - record.taken[1])
    # Two cycles after the row was refused, or one more.
    assert found == {6, 7}


# A failing run is short enough to read; to shrink it would take minutes.
@given(
    error=st.integers(0, 15),
    latency=st.sampled_from([1, 4, 30]),
    interval=st.integers(1, 2),
    outstanding=st.integers(1, 4),
    rows=st.integers(1, 4),
)
@settings(max_examples=25, phases=[Phase.explicit, Phase.generate])
def test_a_read_error_ends_its_command_and_those_behind_it(error, latency, interval, outstanding, rows):
    d = design(outstanding=outstanding, burst_beats=3)
    timing = MemoryTiming(read_latency=latency, interval=interval)
    row = {"row_bytes": 16, "rows": rows, "memory_stride": 64, "local_stride": 4}
    first = Command(memory_address=BASE + 4096, post=1, **row)
    hit = Command(memory_address=BASE, local_address=16, post=2, **row)
    behind = Command(memory_address=BASE + 8192, local_address=32, post=4, **row)
    later = replace(PLAIN, gap=400)
    address = BASE + 64 * (error // 4 % rows) + 4 * (error % 4)
    record = simulate(
        d,
        timing,
        [first, hit, behind, later],
        cycles=800,
        errors=frozenset({address, BASE + 64 * (rows - 1) + 12}),
    )
    assert [(c, i) for _, c, i in record.faults] == [(Error.READ, 1)]
    finished = [i for *_, i in record.finished]
    assert finished in ([0, 3], [0, 2, 3])
    # A command taken while the bad beat was still to come does not finish; one taken after it is a new one.
    assert (2 in finished) == (record.taken[2] > record.faults[0][0])
    assert record.beats == sum(beats for _, _, beats in record.reads)
    written_right(d, record, [first, hit, behind, PLAIN])
    ends_clean(d, record, timing)


@given(
    at=st.integers(0, 150),
    length=st.integers(1, 60),
    latency=st.sampled_from([1, 5, 20]),
    interval=st.integers(1, 3),
    outstanding=st.integers(1, 6),
    burst_beats=st.sampled_from([2, 3, 16]),
    offset=st.integers(0, 3),
)
@settings(max_examples=20, phases=[Phase.explicit, Phase.generate])
def test_halt_stops_asking_and_leaves_the_unit_as_new(
    at, length, latency, interval, outstanding, burst_beats, offset
):
    d = design(outstanding=outstanding, burst_beats=burst_beats)
    timing = MemoryTiming(read_latency=latency, interval=interval)
    row = {
        "memory_address": BASE + offset,
        "row_bytes": 23,
        "rows": 4,
        "memory_stride": 50,
        "local_stride": 6,
    }
    later = replace(PLAIN, gap=700)
    commands = [Command(post=1, **row), Command(variant=Destination.WEIGHTS, post=2, **row), later]
    halt = range(at, at + length)
    record = simulate(d, timing, commands, cycles=1400, halt=halt)
    assert not record.faults
    assert not set(record.taken) & set(halt)
    # A command under way: at most the burst on offer and the one in the arbiter's register still reach the bus.
    if record.taken[1] < at:
        assert len([cycle for cycle, _, _ in record.reads if at < cycle < record.taken[2]]) <= 2
    finished = [i for *_, i in record.finished]
    assert finished == sorted(set(finished))
    assert finished[-1] == 2
    assert record.beats == sum(beats for _, _, beats in record.reads)
    written_right(d, record, commands)
    plain = expected(d, [PLAIN])[PLAIN.variant]
    assert {place for _, which, place, _ in record.writes if which == PLAIN.variant} == set(plain)
    ends_clean(d, record, timing)


@pytest.mark.parametrize("component", [LoadUnit, Rows, Splitter, Realign, Receive])
def test_the_design_must_be_one(component):
    with pytest.raises(TypeError, match="design must be a Design, not 4"):
        component(design=4)


def test_the_row_queue_must_be_one():
    with pytest.raises(TypeError, match="design must be a Design, not 4"):
        RowQueue(design=4, depth=8)
    for depth in (0, 9):
        with pytest.raises(ValueError, match=f"depth must be a power of two, not {depth}"):
            RowQueue(design=design(), depth=depth)
