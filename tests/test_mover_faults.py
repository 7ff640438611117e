# amaranth: UnusedElaboratable=no
"""Faults, halts and what bounds the mover's accesses."""

import random

import pytest

from hw.control.isa import Destination, Error, Opcode, OutputMode
from hw.in_order.mover import Mover
from sim.cycles.memory import MemoryTiming
from tests.load_bench import contents
from tests.mover_bench import MoverBench, design, load, store
from tests.test_mover import check_contents


def later(*case):
    """A case of the longer tests."""
    return pytest.param(*case, marks=pytest.mark.long)


def small(**changes):
    return design(**{"address_width": 17, "columns": 2, **changes})


LOADS = [
    ({"memory_address": 0x0FFF, "row_bytes": 4}, Error.WINDOW),
    ({"memory_address": 0x1FFC, "row_bytes": 5}, Error.WINDOW),
    ({"memory_address": 0x1FF0, "row_bytes": 4, "rows": 5, "memory_stride": 4}, Error.WINDOW),
    ({"memory_address": 0x1000, "row_bytes": 4, "rows": 2, "memory_stride": 0x1FFFC}, Error.WINDOW),
    ({"memory_address": 0x1000, "row_bytes": 4, "rows": 3, "memory_stride": 0x10000}, Error.WINDOW),
    ({"row_bytes": 9, "local_address": 62}, Error.LOCAL),
    ({"row_bytes": 8, "rows": 3, "local_address": 60, "local_stride": 2}, Error.LOCAL),
    ({"row_bytes": 8, "rows": 3, "local_address": 0, "local_stride": 40}, Error.LOCAL),
    ({"row_bytes": 4 * 64 + 1}, Error.LOCAL),
]
STORES = [
    ({"memory_address": 0x0FFF, "columns": 1}, Error.WINDOW),
    ({"memory_address": 0x1FFC, "columns": 2}, Error.WINDOW),
    ({"memory_address": 0x1FF0, "columns": 1, "rows": 5, "memory_stride": 4}, Error.WINDOW),
    ({"memory_address": 0x1000, "rows": 2, "memory_stride": 0x1FFFC}, Error.WINDOW),
    ({"accumulators_address": 62, "rows": 3, "memory_stride": 8}, Error.LOCAL),
    ({"columns": 5, "accumulators_stride": 40}, Error.LOCAL),
    ({"columns": 5, "variant": OutputMode.REQUANTISED, "parameters_address": 60}, Error.LOCAL),
]


@pytest.mark.parametrize(("fields", "code"), [LOADS[2], LOADS[6], *(later(*case) for case in LOADS)])
def test_load_outside(fields, code):
    """The rows before the fault are there, nothing of the one at fault was read."""
    bench = MoverBench(small(), window=(0x1000, 0x1FFF))
    wrong, again = load(**fields), load(row_bytes=13, rows=2, memory_stride=9, local_stride=4)
    outcomes = bench.run([wrong, again])
    assert [outcome.code for outcome in outcomes] == [code, 0]
    good = 0
    while _good_load(wrong[1], good):
        good += 1
    rows = [load(**{**wrong[1], "rows": good})] if good else []
    check_contents(bench, [*rows, again])
    size = bench.design.data_bytes
    for _, address, beats in outcomes[0].reads:
        assert address >= 0x1000
        assert address + beats * size <= 0x2000


def _good_load(fields, row):
    first = fields["memory_address"] + row * fields["memory_stride"]
    beats = -(-fields["row_bytes"] // 4)
    local = fields["local_address"] + row * fields["local_stride"] + beats
    return first >= 0x1000 and first + fields["row_bytes"] <= 0x2000 and local <= 64


@pytest.mark.parametrize(("fields", "code"), [STORES[2], STORES[6], *(later(*case) for case in STORES)])
def test_store_outside(fields, code):
    """WINDOW: the rows before are written. LOCAL: of what was before, some. Nothing else is."""
    bench = MoverBench(small(), window=(0x1000, 0x1FFF))
    wrong, again = store(**fields), store(rows=2, columns=3, memory_stride=14, memory_address=0x1800)
    outcomes = bench.run([wrong, again])
    assert [outcome.code for outcome in outcomes] == [code, 0]
    expected = bench.expected(again[1])
    row_bytes = wrong[1]["columns"] * (4 if wrong[1]["variant"] == OutputMode.RAW else 1)
    if code == Error.WINDOW:
        for rows in range(wrong[1]["rows"]):
            first = wrong[1]["memory_address"] + rows * wrong[1]["memory_stride"]
            if not 0x1000 <= first <= first + row_bytes - 1 <= 0x1FFF:
                break
            expected.update(bench.expected({**wrong[1], "rows": rows + 1}))
        assert bench.written == expected
    else:
        allowed = dict(_before_the_end(bench, wrong[1]))
        assert bench.written.items() <= {**allowed, **expected}.items()
        assert expected.items() <= bench.written.items()


def _before_the_end(bench, fields):
    """Bytes of the results before the first one that is past the end."""
    d, banks = bench.design, bench.design.geometry.banks
    each = 4 if fields["variant"] == OutputMode.RAW else 1
    for row in range(fields["rows"]):
        for n in range(fields["columns"]):
            place = fields["accumulators_address"] + n // banks * fields["accumulators_stride"] + row
            entry = fields["parameters_address"] + n
            if place >= d.accumulator_rows or (each == 1 and entry >= d.parameter_entries):
                return
            bytes_of = bench._result(bench.accumulators[place][n % banks], entry, fields["variant"])
            first = fields["memory_address"] + row * fields["memory_stride"] + n * each
            yield from enumerate(bytes_of, first)


@pytest.mark.parametrize("beat", [5, *map(later, range(9))])
def test_error_of_a_read(beat):
    """In any beat, of the first or last burst: all bursts asked for are received, and no other one is asked for."""
    bench = MoverBench(small(burst_beats=4), errors=frozenset([0x1000 + 4 * beat]))
    wrong = load(memory_address=0x1003, row_bytes=32, rows=2, memory_stride=32, local_stride=8)
    again = load(memory_address=0x4000, row_bytes=9, variant=Destination.WEIGHTS)
    outcomes = bench.run([wrong, again])
    assert [outcome.code for outcome in outcomes] == [Error.READ, 0]
    assert outcomes[0].beats == min(9, 4 * (beat // 4 + 1))
    assert len(outcomes[0].reads) == beat // 4 + 1
    line = contents(0x4000, 9)
    assert [data.to_bytes(4, "little") for data in bench.scratchpads[Destination.WEIGHTS].values()][:2] == [
        line[:4],
        line[4:8],
    ]


@pytest.mark.parametrize(
    ("refuse", "outstanding"), [(2, 4), *(later(n, most) for n in range(6) for most in (1, 4))]
)
def test_error_of_a_write(refuse, outstanding):
    """Any burst: what is under way is answered, nothing else is written."""
    d = small(outstanding=outstanding)
    bench = MoverBench(d, refuse=refuse, timing=MemoryTiming(write_latency=30))
    wrong = store(columns=2, rows=3, memory_stride=8)
    again = store(rows=2, columns=3, memory_stride=14, memory_address=0x1800)
    outcomes = bench.run([wrong, again])
    assert [outcome.code for outcome in outcomes] == [Error.WRITE, 0]
    assert refuse < outcomes[0].beats <= refuse + outstanding
    # What was refused counts as written here; nothing but the command's bytes was.
    expected = bench.expected(again[1])
    assert bench.written.items() <= {**bench.expected(wrong[1]), **expected}.items()
    assert expected.items() <= bench.written.items()


def halted(command, cycle, *, seed=None):
    """``command`` with ``halt`` from ``cycle`` to its end, then two commands that are not halted."""
    again = [
        load(memory_address=0x4001, row_bytes=9, variant=Destination.WEIGHTS),
        store(rows=2, columns=3, memory_stride=14),
    ]
    bench = MoverBench(
        small(burst_beats=4), halt=range(cycle, cycle + 80), stalls=random.Random(seed) if seed else None
    )
    outcomes = bench.run([command, *again], gaps=[0, 90])
    assert [outcome.code for outcome in outcomes] == [0, 0, 0]
    check_contents_of(bench, command, again)
    assert all(asked <= cycle for asked, _, _ in outcomes[0].reads) or seed
    assert outcomes[0].ended < cycle + 80
    return outcomes[0]


def check_contents_of(bench, command, again):
    """What came after the halt is right; of the halted command nothing wrong was written."""
    expected, wanted = {}, bench.expected(again[1][1])
    if command[0] is Opcode.STORE:
        expected = bench.expected(command[1])
    assert bench.written.items() <= {**expected, **wanted}.items()
    assert wanted.items() <= bench.written.items()
    line = contents(0x4001, 9)
    found = bench.scratchpads[Destination.WEIGHTS]
    assert [found[beat].to_bytes(4, "little")[:4] for beat in range(2)] == [line[:4], line[4:8]]


@pytest.mark.parametrize("cycle", [30, *map(later, range(1, 100, 9))])
def test_halted_load(cycle):
    command = load(memory_address=0x1003, row_bytes=32, rows=3, memory_stride=32, local_stride=8)
    ended = halted(command, cycle)
    assert ended.beats < 27


@pytest.mark.parametrize(
    ("cycle", "variant"),
    [(40, OutputMode.REQUANTISED), *(later(n, mode) for n in range(1, 100, 9) for mode in OutputMode)],
)
def test_halted_store(cycle, variant):
    ended = halted(store(columns=8, rows=4, memory_stride=32, variant=variant, memory_address=0x1802), cycle)
    assert ended.beats < 12


@pytest.mark.long
@pytest.mark.parametrize("cycle", range(1, 130))
def test_halts_at_any_cycle(cycle):
    halted(
        load(memory_address=0x1003, row_bytes=32, rows=3, memory_stride=32, local_stride=8), cycle, seed=cycle
    )
    for variant in OutputMode:
        halted(
            store(columns=8, rows=4, memory_stride=32, variant=variant, memory_address=0x1802),
            cycle,
            seed=cycle,
        )


def test_refused_designs():
    with pytest.raises(ValueError, match="output_lanes must be 1 in an in-order design, not 2"):
        Mover(design=design(columns=2, data_bytes=8, lanes=2))
    with pytest.raises(ValueError, match="sums must be int32 in an in-order design, not 'float32'"):
        Mover(design=design(sums="float32"))
    with pytest.raises(TypeError, match="design must be a Design, not 1"):
        Mover(design=1)
