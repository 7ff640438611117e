# amaranth: UnusedElaboratable=no
"""Quantised tables against T-MAC's, as the golden model has them, bit for bit: entries, scales, timing, mapped cells."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mapped import run_component, run_mapped
from test_block_ram import number, synthesised
from test_lookup import operands

from hw.pe.lookup_times import product_cycles
from hw.pe.table_quantiser import GreatestSum, QuantisedEntry, ScaleDivider, TableQuantiser
from sim import lookup

LEAST, MOST = 2.0**-24, 65504.0
ENDS = ((0x3000, 0x4000), (0, 0x7C00), (0, 0x400), (0, 4), (0x7800, 0x7C00), (0, 1))


def quantised(unit, groups, *, tables, gap=0):
    """Tables [groups, tables, 8] and scale patterns of patterns [groups, 4 * tables]; read as soon as they may be."""
    times, inputs, scales, reads = unit.times, {}, [], []
    end, free, cycle = -1000, [0, 0], 0
    for number_, group in enumerate(groups):
        bank = number_ % 2
        begin = max(cycle, end + times.interval - 4 * tables + 1, free[bank])
        cycle = begin + -begin % 4
        for place, pattern in enumerate(group):
            table = place // 4
            inputs.setdefault(cycle, {}).update(
                activation=int(pattern), write=1, write_bank=bank, write_table=table, place=place % 4,
                first=int(table == 0), last=int(table == tables - 1),
            )  # fmt: skip
            cycle += 1 + 4 * gap * (place % 4 == 3)
        end = cycle - 1 - 4 * gap
        scales.append(end + times.scale)
        read = max(end + times.inverse, free[1 - bank] - times.late)
        for table in range(tables):
            for index in range(8):
                inputs.setdefault(read, {}).update(read_bank=bank, read_table=table, index=index)
                reads.append(read + times.entry)
                read += 1
        free[bank] = read + times.late
    seen = run_component(unit, [inputs.get(one, {}) for one in range(max(reads) + 1)])
    assert [one for one, out in enumerate(seen) if out["valid"]] == scales
    codes = np.array([seen[one]["entry"] for one in reads], np.uint8).view(np.int8)
    return codes.reshape(-1, tables, 8), np.array([seen[one]["scale"] for one in scales], np.uint32)


def check(groups, *, tables, gap=0):
    """Equal to the golden model's, in which nothing is subnormal."""
    groups = np.asarray(groups).astype(np.uint16).reshape(-1, 4 * tables)
    codes, scales = quantised(TableQuantiser(tables=tables), groups, tables=tables, gap=gap)
    for group, got, scale in zip(groups, codes, scales, strict=True):
        x = group.view(np.float16).astype(np.float32)
        wanted, due = lookup.quantised_tables(x, tables_per_scale=tables)
        assert due.view(np.uint32)[0] == scale, (group, due)
        np.testing.assert_array_equal(got, wanted[:, 8:])


def patterns(random, count, least=0, most=0x7C00):
    return random.integers(least, most, size=count) | random.integers(2, size=count) << 15


def test_random():
    """Of one size, of all sizes and of the least; sums that float32 must round, and tables of nothing but zeros."""
    random = np.random.default_rng(3)
    groups = [
        patterns(random, 64, *ends)
        for ends in ((0x3000, 0x4000), (0, 0x7C00), (0, 0x400), (0, 4), (0x7800, 0x7C00), (0, 1))
    ]
    mixed = patterns(random, 64, 0x6000, 0x7C00)
    mixed[::3] = patterns(random, 22, 0, 0x1000)
    ternary = random.choice([0, 0x3C00, 0xBC00], 64)
    check([*groups, mixed, ternary, patterns(random, 64)], tables=16)


@pytest.mark.parametrize("tables", [1, 2, 5])
def test_small_groups(tables):
    random = np.random.default_rng(tables)
    groups = [patterns(random, 4 * tables, *ends) for ends in ((0x3000, 0x4000), (0, 0x7C00), (0, 0x400)) * 5]
    check(groups, tables=tables)


def test_extremes():
    """The least and greatest activations alone, and together: sums of 42 bits."""
    least, most = (int(np.float16(one).view(np.uint16)) for one in (LEAST, MOST))
    few = [
        [0] * 4, [0x8000] * 4, [least, 0, 0, 0], [0, 0, 0, least], [most] * 4, [most | 0x8000] * 4,
        [most, least, least, least], [least, most, 0x8000 | least, most], [0x3FF, 0x400, 1, 0x8001],
        [most, most, most, 0xFBFE], [0x3C00, 0x3800, 0x3400, 0x3000], [0x57F0, 0, 0, 0],
        [0x3C00, 0x3C01, 0xBC02, 0x4C03], [0x4C00, 1, 0xCC00, 1],
    ]  # fmt: skip
    check(few, tables=1)


@settings(max_examples=8)
@given(
    seed=st.integers(0, 2**32 - 1), tables=st.integers(1, 6), gap=st.integers(0, 3),
    low=st.integers(0, 0x7800), span=st.integers(1, 0x7800),
)  # fmt: skip
def test_any(seed, tables, gap, low, span):
    random = np.random.default_rng(seed)
    check(patterns(random, (3, 4 * tables), low, min(0x7C00, low + span)), tables=tables, gap=gap)


def test_product_is_rounded_twice():
    """Products near whole numbers and a half: float32 makes ties of some that are none, and they go to the even number."""
    random = np.random.default_rng(11)
    inverse = (random.uniform(1, 2, size=6000) * 2.0 ** random.integers(-12, 31, size=6000)).astype(
        np.float32
    )
    near = random.integers(-127, 127, size=6000) + np.float32(0.5) * (random.random(6000) < 0.9)
    entry = (near / inverse).astype(np.float32)
    entry = (entry.view(np.uint32) + random.integers(-2, 3, size=6000)).astype(np.uint32).view(np.float32)
    entry = np.where(near == 0, np.float32(0), entry)
    late = product_cycles(24) + 4
    stimulus = [
        {"entry": int(a), "inverse": int(b)}
        for a, b in zip(entry.view(np.uint32), inverse.view(np.uint32), strict=True)
    ]
    seen = run_component(QuantisedEntry(), [*stimulus, *[{}] * late])
    codes = np.array([one["code"] for one in seen[late:]], np.uint8).view(np.int8)
    np.testing.assert_array_equal(codes, np.rint(entry * inverse).astype(np.int8))
    exact = np.rint(entry.astype(float) * inverse.astype(float)).astype(np.int8)
    assert (codes != exact).sum() > 50


def test_no_float32_is_subnormal():
    """The least that there can be: entries of one unit beside the greatest sum, the least and greatest scales."""
    for most in (np.float32(LEAST), np.float32(4 * MOST)):
        scale = most / np.float32(127)
        inverse = np.float32(1) / scale
        assert 2.0**-31 < scale < 2.0**12
        assert 2.0**-12 < inverse <= 2.0**31
        assert np.float32(LEAST) * inverse >= 2.0**-36


MAPPED = {
    "divider": ScaleDivider,
    "sum": GreatestSum,
    "entry": QuantisedEntry,
    "quantiser": lambda: TableQuantiser(tables=3),
}


@pytest.mark.parametrize(
    "make",
    [
        make if name != "quantiser" else pytest.param(make, marks=pytest.mark.long)
        for name, make in MAPPED.items()
    ],
    ids=MAPPED,
)
def test_mapped(make):
    """The synthesised cells do what the component does, whatever the operands."""
    module, _ = synthesised(make())
    random = np.random.default_rng(7)
    widths = operands(make())
    stimulus = [
        {"rst": int(cycle % 97 < 2)} | {name: number(random, width) for name, width in widths.items()}
        for cycle in range(200)
    ]
    assert run_mapped(module, stimulus) == run_component(make(), stimulus)


def test_refused():
    with pytest.raises(ValueError, match="tables must be 1 to 16, not 17"):
        TableQuantiser(tables=17)
    with pytest.raises(TypeError, match="integer"):
        TableQuantiser(tables=4.0)
