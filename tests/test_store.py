# amaranth: UnusedElaboratable=no
"""STORE: every byte, every fault, every way to be stopped."""

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.control.isa import Error, OutputMode
from hw.dma.bursts import BurstSplitter
from hw.dma.store import RowAddresses, StoreUnit
from hw.dma.writer import Writer
from hw.output.pack import Packer
from hw.output.path import ResultPath
from hw.output.walk import GroupWalker, RowPlaces
from sim.cycles.memory import MemoryTiming, WriteMemory
from sim.cycles.store import timing
from tests.store_bench import Bench, command, design

SEED = 4711
RAW, REQUANTISED = OutputMode.RAW, OutputMode.REQUANTISED
AFTER = command(
    rows=3, columns=11, accumulators_stride=4, memory_address=0x2345, memory_stride=50, index=77, post=5
)


def written_by(bench, *commands):
    """Bytes that the golden model writes."""
    result = {}
    for fields in commands:
        result.update(bench.expected(fields))
    return result


def check_clean(bench, outcome, fields=AFTER):
    """The command after a fault or halt behaves as if nothing had happened before."""
    predicted = timing(outcome.taken, bench.design, WriteMemory(bench.timing), fields)
    assert outcome.finished
    assert (outcome.index, outcome.post) == (fields["index"], fields["post"])
    assert (outcome.ended, outcome.beats) == (predicted.finished, predicted.beats)


@pytest.mark.parametrize(
    ("sums", "mode"), [("int32", RAW), ("int32", REQUANTISED), ("float32", RAW), ("float32", REQUANTISED)]
)
@pytest.mark.parametrize("offset", range(8))
def test_alignment(sums, mode, offset):
    """Every first byte, with every last byte, in rows that follow one another at odd distances."""
    bench = Bench(design(sums=sums), seed=SEED)
    commands = [
        command(
            variant=mode,
            rows=3,
            columns=n,
            memory_address=0x1000 * n + offset,
            memory_stride=101,
            accumulators_stride=8,
        )
        for n in range(1, 21)
    ]
    outcomes = bench.run(commands)
    assert all(outcome.finished for outcome in outcomes)
    assert bench.written == written_by(bench, *commands)


@pytest.mark.parametrize(
    ("data_bytes", "lanes", "columns"), [(4, 1, 1), (4, 1, 3), (16, 4, 4), (32, 4, 16), (64, 16, 32)]
)
@pytest.mark.parametrize("sums", ["int32", "float32"])
def test_bus_widths(data_bytes, lanes, columns, sums):
    d = design(data_bytes=data_bytes, lanes=lanes, columns=columns, sums=sums)
    bench = Bench(d, seed=SEED)
    commands = [
        command(
            variant=mode,
            rows=4,
            columns=min(40, 3 * columns + 1),
            memory_address=4096 - 37,
            memory_stride=1031,
            accumulators_address=7,
            accumulators_stride=5,
        )
        for mode in OutputMode
    ]
    for fields in commands:
        fields["memory_address"] += 0x10000 * fields["variant"]
    assert all(outcome.finished for outcome in bench.run(commands))
    assert bench.written == written_by(bench, *commands)
    tiles = -(-commands[0]["columns"] // columns)
    assert bench.read == {7 + 5 * tile + row for tile in range(tiles) for row in range(4)}


def test_pages_and_bursts():
    """A row over three pages: bursts end at 4 KiB and are as long as they may be in between."""
    bench = Bench(design(columns=16, rows=128, burst_beats=256), seed=SEED)
    fields = command(columns=1500, memory_address=0x0FC3, accumulators_stride=1)
    assert bench.run([fields])[0].finished
    assert bench.written == written_by(bench, fields)
    assert [beats for _, _, beats in bench.bursts] == [8, *[16] * 46, 7]


def test_top_of_the_address_space():
    """Up to the last byte that there is, and not one further."""
    for width in (32, 64):
        bench = Bench(design(address_width=width), seed=SEED)
        fields = command(rows=2, columns=6, memory_address=(1 << width) - 53, memory_stride=29)
        beyond = command(rows=2, columns=6, memory_address=(1 << width) - 53, memory_stride=30, index=3)
        around = command(rows=3, columns=1, memory_address=(1 << width) - 8, memory_stride=4, index=4)
        outcomes = bench.run([fields, beyond, around])
        assert outcomes[0].finished
        assert [(outcome.code, outcome.index) for outcome in outcomes[1:]] == [
            (Error.WINDOW, 3),
            (Error.WINDOW, 4),
        ]
        assert bench.written == written_by(bench, fields, {**beyond, "rows": 1}, {**around, "rows": 2})


@settings(max_examples=15)
@given(
    first=st.integers(-2, 2),
    last=st.integers(-2, 2),
    rows=st.integers(1, 4),
    mode=st.sampled_from(OutputMode),
    address=st.integers(0x1000, 0x1040),
    sums=st.sampled_from(["int32", "float32"]),
)
def test_window(first, last, rows, mode, address, sums):
    """Rows inside the window are written, the first one that is not ends the command."""
    fields = command(variant=mode, rows=rows, columns=5, memory_address=address, memory_stride=45, index=9)
    size = 5 * (4 if mode == RAW else {"int32": 1, "float32": 2}[sums])
    end = address + (rows - 1) * 45 + size - 1
    bench = Bench(design(sums=sums), window=(address + first, end + last), seed=SEED)
    outcome = bench.run([fields])[0]
    good = 0 if first > 0 else rows if last >= 0 else rows - 1
    assert outcome.finished == (good == rows)
    assert (outcome.code, outcome.index) == ((Error.NONE, 9) if good == rows else (Error.WINDOW, 9))
    assert bench.written == written_by(bench, {**fields, "rows": good})


@pytest.mark.parametrize(
    ("fields", "good"),
    [
        (dict(accumulators_address=60, rows=4), True),
        (dict(accumulators_address=60, rows=5), False),
        (dict(accumulators_address=63, columns=9, accumulators_stride=1), False),
        (dict(accumulators_address=0, columns=17, accumulators_stride=65535), False),
        (dict(accumulators_address=12, columns=25, accumulators_stride=17), True),
        (dict(variant=REQUANTISED, parameters_address=40, columns=24), True),
        (dict(variant=REQUANTISED, parameters_address=40, columns=25), False),
        (dict(variant=REQUANTISED, parameters_address=41, columns=2), False),
        (dict(variant=RAW, parameters_address=41, columns=200), True),
    ],
)
def test_local_addresses(fields, good):
    fields = command(index=12345, memory_stride=800, **fields)
    bench = Bench(design(), seed=SEED)
    outcomes = bench.run([fields, AFTER])
    assert outcomes[0].finished == good
    if good:
        assert bench.written == written_by(bench, fields, AFTER)
    else:
        assert (outcomes[0].code, outcomes[0].index) == (Error.LOCAL, 12345)
        assert not set(bench.written) - set(range(0x1000, 0x1000 + 5 * 800)) - set(written_by(bench, AFTER))
        check_clean(bench, outcomes[1])


@settings(max_examples=15)
@given(refuse=st.integers(0, 12), latency=st.sampled_from([1, 20]), mode=st.sampled_from(OutputMode))
def test_write_error(refuse, latency, mode):
    fields = command(variant=mode, rows=9, columns=7, memory_address=0x1FF3, memory_stride=301, index=5)
    bench = Bench(design(), refuse=refuse, timing=MemoryTiming(write_latency=latency), seed=SEED)
    outcomes = bench.run([fields, AFTER])
    golden = written_by(bench, fields, AFTER)
    if refuse >= len(bench.bursts):
        assert outcomes[0].finished
        assert bench.written == golden
    elif outcomes[0].finished:
        assert (outcomes[1].code, outcomes[1].index) == (Error.WRITE, 77)
        assert bench.written.items() <= golden.items()
    else:
        assert (outcomes[0].code, outcomes[0].index) == (Error.WRITE, 5)
        assert bench.written.items() <= golden.items()
        check_clean(bench, outcomes[1])


@settings(max_examples=15)
@given(
    at=st.integers(0, 140),
    cycles=st.integers(1, 30),
    mode=st.sampled_from(OutputMode),
    memory=st.sampled_from([MemoryTiming(), MemoryTiming(write_latency=1, interval=3, outstanding=1)]),
)
def test_halt(at, cycles, mode, memory):
    """Whenever it comes: bursts under way are finished, nothing else is written, and the next command works."""
    fields = command(
        variant=mode, rows=6, columns=30, memory_address=0x1FE5, memory_stride=123, accumulators_stride=6
    )
    bench = Bench(design(), timing=memory, halt=range(at, at + cycles), seed=SEED)
    outcomes = bench.run([fields, AFTER], gaps=[0, cycles])
    assert len(outcomes) == 2
    assert bench.written.items() <= written_by(bench, fields, AFTER).items()
    assert outcomes[0].code == 0
    check_clean(bench, outcomes[1])
    if outcomes[0].finished:
        check_clean(bench, outcomes[0], fields)
        assert bench.written == written_by(bench, fields, AFTER)


def test_no_burst_after_halt():
    fields = command(rows=20, columns=30, memory_stride=120, accumulators_stride=6)
    bench = Bench(design(), halt=range(60, 400), seed=SEED)
    outcomes = bench.run([fields])
    assert not outcomes[0].finished
    assert bench.bursts
    assert all(accepted <= 61 for accepted, _, _ in bench.bursts)


@settings(max_examples=12)
@given(seed=st.integers(0, 1 << 20), mode=st.sampled_from(OutputMode), outstanding=st.integers(1, 8))
def test_stalls(seed, mode, outstanding):
    """The memory is ready whenever it likes; ``Bench`` checks that valid and payload hold."""
    generator = random.Random(seed)
    fields = command(
        variant=mode,
        rows=generator.randint(1, 9),
        columns=generator.randint(1, 60),
        memory_address=generator.randrange(0x3000),
        memory_stride=generator.randint(240, 300),
        accumulators_stride=7,
    )
    bench = Bench(design(outstanding=outstanding), stalls=generator, seed=seed)
    assert all(outcome.finished for outcome in bench.run([fields, AFTER]))
    assert bench.written == written_by(bench, fields, AFTER)


@pytest.mark.parametrize(
    "part", [StoreUnit, RowAddresses, GroupWalker, RowPlaces, ResultPath, Packer, Writer]
)
def test_parts_take_a_design(part):
    with pytest.raises(TypeError, match="design must be a Design, not 8"):
        part(design=8)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (dict(output_lanes=3), "output_lanes must be a power of two, not 3"),
        (dict(output_lanes=0), "output_lanes must be a power of two, not 0"),
        (dict(output_lanes=16), "output_lanes must divide banks, not be 16 with 8 banks"),
        (dict(parameter_entries=63), "output_lanes must divide parameter_entries, not be 2 with 63 entries"),
        (dict(data_bytes=4), r"output_lanes \* 4 must be at most data_bytes, not 8 with 4 bytes"),
    ],
)
def test_refused_designs(change, text):
    with pytest.raises(ValueError, match=text):
        StoreUnit(design=replace(design(), **change))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (dict(address_width=12), "address_width must be above 12, not 12"),
        (dict(data_bytes=24), "data_bytes must be a power of two up to 128, not 24"),
        (dict(length_width=0), "length_width must be 1 or more, not 0"),
        (dict(most=257), "most must be 1 to 256, not 257"),
    ],
)
def test_refused_splitters(change, text):
    with pytest.raises(ValueError, match=text):
        BurstSplitter(**{"address_width": 32, "data_bytes": 8, "length_width": 12, "most": 16, **change})
