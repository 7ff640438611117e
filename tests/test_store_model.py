"""The cycle model of STORE, equal to the hardware cycle for cycle."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.control.isa import OutputMode
from hw.timing import STORE_BURST, STORE_FIFO, STORE_PIPELINE
from sim.cycles.kernel import Kernel
from sim.cycles.memory import MemoryTiming, WriteMemory
from sim.cycles.store import store, timing
from tests.store_bench import Bench, command, design

LONGEST = 4000
"""Cycles of a case; longer ones are made shorter."""


def predict(d, memory, taken, commands):
    """Timing of commands whose handshakes were in the cycles ``taken``."""
    writes = WriteMemory(memory)
    return [timing(start, d, writes, fields) for start, fields in zip(taken, commands, strict=True)]


def check(d, memory, commands, gaps=(), seed=0):
    bench = Bench(d, timing=memory, seed=seed)
    outcomes = bench.run(commands, gaps)
    predicted = predict(d, memory, [outcome.taken for outcome in outcomes], commands)
    assert [(o.finished, o.ended, o.beats) for o in outcomes] == [
        (True, p.finished, p.beats) for p in predicted
    ]
    golden = {}
    for fields in commands:
        golden.update(bench.expected(fields))
    assert bench.written == golden


@st.composite
def cases(draw):
    data_bytes = draw(st.sampled_from([4, 8, 8, 16, 32, 64]))
    lanes = draw(st.sampled_from([lanes for lanes in (1, 2, 4, 8, 16) if 4 * lanes <= data_bytes]))
    columns = lanes * draw(st.sampled_from([1, 2, 3, 4, 8]))
    spread = draw(st.sampled_from([1, 1, 2, 3]))
    d = design(
        columns=columns * spread,
        spread=spread,
        data_bytes=data_bytes,
        lanes=lanes,
        address_width=draw(st.sampled_from([32, 40, 64])),
        outstanding=draw(st.integers(1, 8)),
        burst_beats=draw(st.sampled_from([1, 2, 3, 8, 16, 256])),
        rows=draw(st.sampled_from([64, 96])),
        entries=lanes * draw(st.sampled_from([8, 11, 64])),
        sums=draw(st.sampled_from(["int32", "float32"])),
    )
    memory = MemoryTiming(
        write_latency=draw(st.sampled_from([1, 2, 20, 100])),
        interval=draw(st.integers(1, 3)),
        outstanding=draw(st.integers(1, 8)),
    )
    commands = draw(st.lists(stores(d), min_size=1, max_size=3))
    for fields in commands:
        while predict(d, memory, [0], [fields])[0].finished > LONGEST:
            fields["rows"] = max(1, fields["rows"] // 2)
            fields["columns"] = max(1, fields["columns"] // 2)
    return d, memory, commands, draw(st.lists(st.integers(0, 3), max_size=3))


@st.composite
def stores(draw, d):
    """Fields of a STORE inside all limits of a design."""
    tile = d.geometry.banks
    mode = draw(st.sampled_from(OutputMode))
    columns = draw(st.integers(1, draw(st.sampled_from([tile, 4 * tile, 200]))))
    parameters = 0
    if mode == OutputMode.REQUANTISED:
        columns = min(columns, d.parameter_entries)
        parameters = draw(st.integers(0, (d.parameter_entries - columns) // d.output_lanes)) * d.output_lanes
    rows = draw(st.integers(1, 12))
    tiles = -(-columns // tile)
    most = (d.accumulator_rows - rows) // max(1, tiles - 1)
    stride = draw(st.integers(0, min(most, 65535)))
    row_bytes = columns * (4 if mode == OutputMode.RAW else 1)
    return command(
        variant=mode,
        post=draw(st.integers(0, 255)),
        index=draw(st.integers(0, (1 << 20) - 1)),
        rows=rows,
        columns=columns,
        memory_address=draw(st.integers(0, (1 << draw(st.sampled_from([13, d.address_width - 1]))) - 1)),
        memory_stride=draw(st.sampled_from([row_bytes, row_bytes + draw(st.integers(0, 70)), 4096, 3])),
        accumulators_address=draw(st.integers(0, d.accumulator_rows - (tiles - 1) * stride - rows)),
        accumulators_stride=stride,
        parameters_address=parameters,
    )


@settings(max_examples=25)
@given(cases(), st.integers(0, 1 << 20))
def test_hardware_equals_model(case, seed):
    d, memory, commands, gaps = case
    check(d, memory, commands, gaps, seed)


@pytest.mark.long
@settings(max_examples=500)
@given(cases(), st.integers(0, 1 << 20))
def test_hardware_equals_model_often(case, seed):
    d, memory, commands, gaps = case
    check(d, memory, commands, gaps, seed)


@pytest.mark.parametrize("interval", [1, 2, 3])
@pytest.mark.parametrize("outstanding", [1, 3, 8])
def test_full_fifo(interval, outstanding):
    """Rows long enough that the FIFO fills and the walker waits."""
    d = design(outstanding=outstanding)
    memory = MemoryTiming(write_latency=100, interval=interval, outstanding=8)
    check(
        d,
        memory,
        [command(rows=3, columns=120, memory_address=0xFF6, memory_stride=499, accumulators_stride=3)],
    )


def rate(d, **fields):
    """Cycles that a row costs in the long run, write latency 20."""
    few, many = (predict(d, MemoryTiming(), [0], [command(rows=rows, **fields)])[0] for rows in (100, 200))
    return (many.finished - few.finished) / 100


def test_stated_rates():
    """Small rows follow one another closely: what a row costs in the steady state."""
    d = design(outstanding=8, rows=1024)
    assert rate(d, variant=OutputMode.REQUANTISED, columns=8, memory_stride=576) == 4
    assert rate(d, columns=2, memory_stride=576) == 3
    assert rate(d, columns=8, memory_stride=2304) == 4
    # At a beat per cycle the FIFO is a little too small for the pipeline and the burst that is gathered in it.
    assert rate(d, columns=1024, memory_stride=4096) == 512 * (STORE_PIPELINE + STORE_BURST + 3) / STORE_FIFO


def test_process_goes_on_when_finished():
    kernel, d, memory, fields = Kernel(), design(), MemoryTiming(), command(rows=3, columns=5)
    seen = []

    def process():
        yield 17
        result = yield from store(kernel, d, WriteMemory(memory), fields)
        seen.append((kernel.now, result))

    kernel.start(process())
    kernel.run()
    expected = predict(d, memory, [17], [fields])[0]
    assert seen == [(expected.finished, expected)]
