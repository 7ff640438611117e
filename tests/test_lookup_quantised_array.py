# amaranth: UnusedElaboratable=no
"""Table-lookup arrays of tables quantised to int8 against the definition, bit for bit: formats, special values, resets; and the
parts that only they have."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st
from lookup_bench import run
from lookup_quantised_bench import QuantisedPlan, array_for, random_group
from mapped import run_component, run_mapped
from test_block_ram import synthesised
from test_lookup_array import stimulus_of

from hw.array.lookup import quantised
from hw.array.lookup.quantised_column import QuantisedColumn
from hw.array.lookup.quantised_tables import QuantisedSteps, QuantisedTables
from hw.delay import RingDelay
from hw.pe.float_scale import TableScale
from hw.pe.lookup_times import SINGLE_SCALE, QuantiserTimes
from sim import lookup

pytestmark = pytest.mark.long

ALL = ("zero4", "none4", "plain4m", "twos4", "zero2", "none2", "twos3", "plain2m")
VECTORS = np.load(Path(__file__).parent / "vectors" / "lookup.npz")
LONG = pytest.mark.long
CASES = {
    "two units": (ALL[:5], {}, 10),
    "one row": (ALL[4:], {"columns": 16, "rows": 1}, 10),
    "eight rows": (("plain2m", "twos3"), {"columns": 16, "rows": 8, "group": 32}, 6),
    "bipolar": (("none2", "none3"), {"columns": 16, "rows": 1}, 6),
    "eight tables": (("twos4", "plain4m"), {"columns": 16, "rows": 1, "groups_per_lane": 8}, 6),
    "eight outputs": (("zero4", "none4"), {"columns": 8, "outputs": 8}, 6),
}


def groups(random, array, count, *, chunks=0):
    """Formats in turn, half of them twice; every other of special values, and some with gaps and waits."""
    for i in range(count):
        parts = chunks or int(random.integers(1, array.group // array.chunk + 1))
        calm = i % 4 < 3
        yield random_group(
            random, array, array.variants[i // 2 % len(array.variants)], chunks=parts, special=i % 2 == 1,
            wait=0 if calm else int(random.integers(20)),
            gaps=() if calm else tuple(random.integers(4, size=parts).tolist()),
        )  # fmt: skip


@pytest.mark.parametrize("case", [pytest.param(one, marks=() if one == "one row" else LONG) for one in CASES])
def test_shapes(case):
    """Groups of random lengths, formats and operands, as close as may be but for a few."""
    formats, shape, count = CASES[case]
    array = array_for(*formats, **shape)
    random, plan = np.random.default_rng(array.columns + array.rows), QuantisedPlan(array)
    for group in groups(random, array, count):
        plan.add(group)
    run(plan, random=random)


@pytest.mark.parametrize("into", [60, pytest.param(10, marks=LONG), pytest.param(160, marks=LONG)])
def test_reset(into):
    """While a group is read, quantised, looked up: those after it are right all the same."""
    array = array_for("zero3", "plain3m", columns=16, rows=2)
    before, after, random = QuantisedPlan(array), QuantisedPlan(array), np.random.default_rng(into)
    for plan, count in ((before, 2), (after, 3)):
        for group in groups(random, array, count, chunks=2):
            plan.add(group)
    run(before.then(after, begin=into, end=into + 2), random=random, reset=(into, into + 2))


def entries_of(array, x):
    """Entries [tables, 8] and the float32 pattern of the scale of a group of fp16 patterns, by the array's row."""
    steps, row = QuantisedSteps(array=array), QuantisedTables(array=array)
    found, scales = {}, []

    async def bench(ctx):
        chunks = len(x) // array.chunk
        reads = {array.wait + chunk * quantised.writes(array): chunk for chunk in range(chunks)}
        end = array.wait + array.build + chunks * quantised.writes(array)
        for cycle in range(end + 1):
            taken = cycle < len(x)
            ctx.set(
                steps.take,
                {"write": taken, "first": cycle == 0, "last": taken and cycle >= len(x) - 4, "tag": 1},
            )
            chunk = reads.get(cycle)
            ctx.set(
                steps.build,
                {} if chunk is None else {"start": 1, "bank": chunk % 2, "first": chunk == 0, "tag": 1},
            )
            ctx.set(row.activations.as_value(), int(x[cycle]) if taken else 0)
            ctx.set(row.step.as_value(), ctx.get(steps.step.as_value()))
            if ctx.get(row.valid):
                scales.append(ctx.get(row.scale.as_value()))
            if enable := ctx.get(row.tables.write):
                chunk = len(found) // quantised.writes(array)
                address = ctx.get(row.tables.address)
                assert address >> 3 == chunk % 2
                table = chunk * array.groups_per_lane + enable.bit_length() - 1
                assert enable & enable - 1 == 0
                found[table, address & 7] = ctx.get(row.tables.entry)
            await ctx.tick()

    m = Module()
    m.submodules.steps, m.submodules.row = steps, row
    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    (scale,) = scales
    return np.array([found[table, entry] for table in range(len(x) // 4) for entry in range(8)]), scale


@pytest.mark.parametrize("case", ["w1", "w2z"])
def test_entries_are_those_of_tmac(case):
    """Of the activations of T-MAC's vectors, rounded to fp16, and of those alone that are the greatest: entries and scale by its
    rule, which ``test_lookup_golden.py`` checks against its own tables."""
    array = array_for("twos2")
    x = VECTORS[f"{case}_x"][0, :64].astype(np.float16)
    got, scale = entries_of(array, x.view(np.uint16))
    tables, (wanted,) = lookup.quantised_tables(x, tables_per_scale=16)
    np.testing.assert_array_equal(got.reshape(16, 8), tables[:, 8:])
    assert scale == wanted.view(np.uint32)


@pytest.mark.parametrize("cycles", [4, 5, 17, 64, 190])
def test_ring_delay(cycles):
    """As late as it should be, and nothing of what was before a clear or a reset."""
    ring, random = RingDelay(width=9, cycles=cycles), np.random.default_rng(cycles)
    values, clears = random.integers(1, 512, size=700), {300, 500, 501}
    stimulus = [
        {"i": int(value), "clear": int(cycle in clears), "rst": int(cycle in (400, 401))}
        for cycle, value in enumerate(values)
    ]
    for cycle, seen in enumerate(run_component(ring, stimulus)):
        since = cycle - cycles
        lost = any(since <= clear < cycle for clear in clears | {400, 401})
        if cycle not in (400, 401):
            assert seen["o"] == (0 if since < 0 or lost else values[since])


def test_ring_delay_refused():
    with pytest.raises(ValueError, match="cycles must be 4 or more, not 3"):
        RingDelay(width=1, cycles=3)


@pytest.mark.parametrize(("whole", "halved"), [(True, True), (True, False), (False, True)])
@pytest.mark.parametrize("width", [2, 17, 22])
def test_table_scale(width, whole, halved):
    """Rounded twice, as the definition is: of any sums and scales, the least and greatest among them."""
    unit, random, count = (
        TableScale(width=width, whole=whole, halved=halved),
        np.random.default_rng(width),
        600,
    )
    totals = random.integers(-(1 << width - 1), 1 << width - 1, size=count)
    totals[:4] = [-(1 << width - 1), (1 << width - 1) - 1, 0, -1]
    tables = (random.uniform(1, 2, size=count) * 2.0 ** random.integers(-31, 13, size=count)).astype(
        np.float32
    )
    tables[5::9] = random.choice([0, np.float32(2.0**-24) / np.float32(127)], tables[5::9].shape)
    scales = random.integers(1 << 16, size=count)
    wholes = random.integers(2, size=count) if whole and halved else np.full(count, int(whole))
    stimulus = []
    for cycle in range(count + unit.latency):
        one = {"total": int(totals[cycle % count]), "whole": int(wholes[cycle % count])}
        one |= {"table_scale": int(tables.view(np.uint32)[(cycle - 1) % count])}
        one |= {"scale": int(scales[(cycle - SINGLE_SCALE) % count])}
        stimulus.append(one if whole and halved else {name: one[name] for name in one if name != "whole"})
    got = [seen["result"] for seen in run_component(unit, stimulus)][unit.latency :]
    doubled = wholes == 0
    wanted = [
        lookup.quantised_results(
            totals[i : i + 1, None],
            tables[i : i + 1],
            lookup.half(scales[i : i + 1]),
            doubled=bool(doubled[i]),
        )[0, 0]
        for i in range(count)
    ]
    np.testing.assert_array_equal(got, np.array(wanted, np.float32).view(np.uint32))


def test_table_scale_refused():
    with pytest.raises(ValueError, match="whole or halved must be true, not False and False"):
        TableScale(width=8, whole=False, halved=False)


@given(
    groups_per_lane=st.sampled_from([4, 8]), outputs=st.integers(8, 16), group=st.sampled_from([32, 64]),
    rows=st.integers(1, 8), names=st.lists(st.sampled_from(ALL), min_size=1, max_size=3, unique=True),
    data_bytes=st.sampled_from([4, 16, 64]),
)  # fmt: skip
@settings(max_examples=150)
def test_nothing_is_replaced_before_its_time(groups_per_lane, outputs, group, rows, names, data_bytes):
    """In the numbers of the geometry: activations, inverses and scales of tables of three groups, of every length and format."""
    try:
        array = array_for(
            *names, groups_per_lane=groups_per_lane, outputs=outputs, columns=outputs, group=group, rows=rows,
            data_bytes=data_bytes,
        )  # fmt: skip
    except ValueError:
        return
    times, lengths = QuantiserTimes(), range(1, array.group_words + 1)
    kinds = list(product(array.variants, lengths))
    least = {one: array.pause(*one) + array.group_cycles(*one) for one in kinds}
    for (format, words), (after, then) in product(kinds, repeat=2):
        cycles, steps = array.group_cycles(format, words), words * array.word_steps
        assert 2 * steps <= cycles
        pause = array.pause(after, then, fresh=format != after)
        # From the last activation of one to that of the next.
        assert cycles + pause + then * array.word_steps - steps >= times.interval
        # From the first of one to the first of the group after the next; reads end with the last chunk's first lookups.
        next_but_one = cycles + min(least.values())
        last_chunk = cycles - array.tail_words(format) - array.lookups(format)
        last_read = array.wait + last_chunk + quantised.writes(array) - 1
        assert next_but_one >= last_read + times.late
        # Scales of tables: kept until the last result of the group is under way.
        written = next_but_one + (quantised.GROUPS_KEPT - 2) * min(least.values()) + times.scale
        wanted = (
            array.wait
            + array.build
            + cycles
            + array.scale_select
            + array.scale_wait
            + array.scale_cycles(format)
        )
        assert written >= wanted + 8 + array.rows


@pytest.mark.long
@pytest.mark.parametrize("make", [QuantisedColumn, QuantisedTables])
def test_mapped(make):
    """The synthesised cells do what the component does, whatever the operands."""
    array = array_for("plain2m", "none2", columns=16, rows=2)
    module, _ = synthesised(make(array=array))
    stimulus = stimulus_of(make(array=array), np.random.default_rng(3), 200)
    assert run_mapped(module, stimulus) == run_component(make(array=array), stimulus)


@pytest.mark.parametrize(("change", "message"), [
    ({"tables": "int4"}, "tables must be one of exact, int8, not 'int4'"),
    ({"activations": "int8"}, "activations must be fp16 with tables of int8, not int8"),
    ({"scales": "int8"}, "scales must be fp16 with tables of int8, not int8"),
    ({"k": 2}, "k must be 4 with tables of int8, not 2"),
    ({"group": 128}, r"group must be at most 64 with tables of int8 \(those of a scale\), not 128"),
    ({"outputs": 8}, r"outputs must be at least 16 with tables of int8 \(the 32 entries of 4 tables .* 2 planes\), not 8"),
])  # fmt: skip
def test_refused(change, message):
    with pytest.raises(ValueError, match=message):
        array_for("twos2", **change)
