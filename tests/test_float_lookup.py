# amaranth: UnusedElaboratable=no
"""fp16 adder, table builder and lookup unit against NumPy's float16 and the published RTL, bit for bit; timing, mapped cells."""

from pathlib import Path

import numpy as np
import pytest
from halves import narrow, one_nan, wide
from hypothesis import given, settings
from hypothesis import strategies as st
from mapped import run_component, run_mapped
from test_block_ram import number, synthesised
from test_lookup import operands

from hw.pe.float_lookup import FloatLookupUnit, FloatTableBuilder
from hw.pe.half import HalfAdder
from hw.pe.lookup_times import FLOAT_BUILDER, HALF_ADD
from sim import lookup

HERE = Path(__file__).parent
BESIDE = HERE.parents[1] / "shared" / "vectors"
RTL = [
    dict(np.load(path))
    for path in (HERE / "vectors" / "lookup.npz", BESIDE / "luttc_rtl.npz")
    if path.exists()
]
EDGES = [0, 1, 2, 3, 0x1FF, 0x200, 0x3FE, 0x3FF, 0x400, 0x401, 0x7FF, 0x800, 0x801, 0x13FF, 0x1400,
         0x3800, 0x3BFF, 0x3C00, 0x3C01, 0x3FFF, 0x4000, 0x77FF, 0x7800, 0x7801, 0x7BFE, 0x7BFF, 0x7C00, 0x7E01]  # fmt: skip


def float16(patterns):
    return np.asarray(patterns).astype(np.uint16).view(np.float16)


def bits(numbers):
    """Patterns of fp16, one of them for all NaN."""
    return one_nan(np.asarray(numbers, np.float16).view(np.uint16)).tolist()


def added(a, b):
    """Patterns of sums of patterns."""
    stimulus = [{"a": wide(x), "b": wide(y)} for x, y in zip(a, b, strict=True)]
    seen = run_component(HalfAdder(), [*stimulus, *[{}] * HALF_ADD])
    return [narrow(one["sum"]) for one in seen[HALF_ADD:]]


def check_sums(a, b):
    with np.errstate(over="ignore", invalid="ignore"):
        wanted = bits(float16(a) + float16(b))
    for x, y, got, due in zip(a, b, added(a, b), wanted, strict=True):
        assert got == due, f"{x:#06x} + {y:#06x} must be {due:#06x}, not {got:#06x}"


def test_adder_edges():
    """Subnormals, ties, cancellation, the greatest numbers, infinities and NaN, each with each in all signs."""
    signed = [one | sign for one in EDGES for sign in (0, 0x8000)]
    check_sums(*zip(*[(a, b) for a in signed for b in signed], strict=True))


def random_patterns(random, count, *, special=0.02):
    """fp16 of all exponents; half of them close to a few, so that sums cancel and round."""
    near = random.integers(1 << 10, 1 << 14, size=count) + 0x2000
    patterns = np.where(random.random(count) < 0.5, random.integers(0x7C00, size=count), near)
    patterns = np.where(random.random(count) < special, random.choice(EDGES, count), patterns)
    return patterns | random.integers(2, size=count) << 15


@pytest.mark.parametrize("seed", range(4))
def test_adder_random(seed):
    random = np.random.default_rng(seed)
    a, b = random_patterns(random, 4000), random_patterns(random, 4000)
    close = random.random(4000) < 0.3
    b = np.where(
        close, (a ^ 0x8000) + random.integers(-3, 4, size=4000) * (1 << random.integers(11, size=4000)), b
    )
    check_sums(a.tolist(), (b & 0xFFFF).tolist())


def built(activations):
    """Tables [count, 8] that the builder makes of patterns [count, 4], an entry in each cycle."""
    stimulus = [
        {"activations": sum(int(x) << 16 * i for i, x in enumerate(row)), "index": index}
        for row in activations
        for index in range(8)
    ]
    seen = run_component(FloatTableBuilder(), [*stimulus, *[{}] * FLOAT_BUILDER])
    return np.array([narrow(one["entry"]) for one in seen[FLOAT_BUILDER:]]).reshape(-1, 8)


def check_tables(activations):
    with np.errstate(invalid="ignore"):
        wanted = lookup.half_float_table(float16(activations))
    np.testing.assert_array_equal(built(activations), one_nan(wanted.view(np.uint16)))


def test_builder_edges():
    random = np.random.default_rng(1)
    check_tables(random.choice(EDGES, (300, 4)) | random.integers(2, size=(300, 4)) << 15)
    check_tables(np.array([[0x7BFF] * 4, [0xFBFF] * 4, [0x7BFF, 0x7BFF, 1, 1], [0x7BFF, 0x4FFF, 0, 0], [0x7BFF, 0x5000, 0, 0],
                           [0] * 4, [0x8000] * 4, [0x7C00] * 4, [0x7C00, 1, 0xFC00, 3], [0x7E00, 0, 0, 0]]))  # fmt: skip


@pytest.mark.parametrize("seed", range(2))
def test_builder_random(seed):
    random = np.random.default_rng(seed)
    check_tables(random_patterns(random, 2400).reshape(-1, 4))


@pytest.mark.parametrize("arrays", RTL)
def test_builder_gives_the_published_tables(arrays):
    x = arrays["b2_x"].view(np.uint16).reshape(-1, 4)
    np.testing.assert_array_equal(built(x), arrays["b2_table"].view(np.uint16).reshape(-1, 8))


def run_unit(unit, groups, *, gaps=(0,)):
    """fp16 results [groups, outputs] of groups (tables [chunks, 8], recoded codes [chunks, 4, outputs], start [outputs], planes).

    ``gaps`` are cycles without a lookup before each, in turn; a table is written while the one before it is in use.
    """
    outputs, times, inputs, reads = unit._outputs, unit.times, {}, []

    def at(cycle, **values):
        inputs.setdefault(cycle, {}).update(values)

    cycle, written, count, used = 0, 0, 0, [0, 0]
    ready = [0] * outputs
    for tables, codes, start, planes in groups:
        for part, table in enumerate(tables):
            bank = count % 2
            begin = max(written, used[bank])
            for index, entry in enumerate(table):
                at(begin + index, write=1, address=bank << 3 | index, entry=wide(int(entry)))
            written = begin + 8
            cycle = max(cycle, written)
            for plane in range(planes):
                for output in range(outputs):
                    cycle = max(cycle + gaps[count % len(gaps)], ready[output])
                    bit = codes[part, :, output] >> plane & 1
                    entry, negative = int(bit[1] + 2 * bit[2] + 4 * bit[3]), int(bit[0])
                    at(cycle, code=entry | negative << 3, bank=bank)
                    at(cycle + times.plane, plane=plane)
                    at(
                        cycle + times.first,
                        place=output,
                        first=int(part == plane == 0),
                        start=wide(int(start[output])),
                    )
                    at(cycle + times.add, add=1, sum_place=output)
                    ready[output] = cycle + times.interval
                    if part == len(tables) - 1 and plane == planes - 1:
                        reads.append(cycle + times.result)
                    cycle += 1
            used[bank] = cycle
            count += 1
    stimulus = [inputs.get(one, {}) for one in range(max([*inputs, *reads]) + 1)]
    seen = run_component(unit, stimulus)
    return np.array([narrow(seen[one]["result"]) for one in reads]).reshape(-1, outputs)


def golden(groups):
    results = []
    for tables, codes, start, planes in groups:
        total = float16(start)[None]
        for part, table in enumerate(tables):
            total = lookup.half_float_sums(float16(table)[None], codes[part], total, bits=planes)
        results.append(one_nan(total.view(np.uint16))[0])
    return np.array(results)


def check_unit(groups, *, outputs, planes, gaps=(0,)):
    unit = FloatLookupUnit(outputs=outputs, planes=planes)
    np.testing.assert_array_equal(run_unit(unit, groups, gaps=gaps), golden(groups))


def random_group(random, *, chunks, outputs, planes, tables=None):
    if tables is None:
        with np.errstate(invalid="ignore"):
            found = lookup.half_float_table(
                float16(random_patterns(random, 4 * chunks, special=0.1)).reshape(-1, 4)
            )
        tables = found.view(np.uint16)
    codes = lookup.half_float_codes(random.integers(1 << planes, size=(chunks, 4, outputs)), bits=planes)
    start = random_patterns(random, outputs) * (random.random(outputs) < 0.5)
    return tables, codes, start, planes


@pytest.mark.parametrize(("outputs", "planes"), [(8, 1), (8, 4), (2, 2), (16, 3), (5, 8)])
def test_unit_random(outputs, planes):
    """Groups of all widths; tables of all numbers, subnormal, zero and infinite ones among them, times every power of two."""
    random = np.random.default_rng(outputs)
    groups = [
        random_group(random, chunks=int(random.integers(1, 4)), outputs=outputs, planes=1 + i % planes)
        for i in range(24)
    ]
    for i in range(3):
        groups.append(
            random_group(
                random, chunks=4, outputs=outputs, planes=planes,
                tables=random.choice([*EDGES[:26], *[one | 0x8000 for one in EDGES[:26]]], (4, 8)) >> i,
            )
        )  # fmt: skip
    check_unit(groups, outputs=outputs, planes=planes)


@settings(max_examples=15)
@given(
    outputs=st.integers(2, 16), planes=st.integers(1, 8), seed=st.integers(0, 2**32 - 1),
    gaps=st.lists(st.integers(0, 11), min_size=1, max_size=4),
)  # fmt: skip
def test_unit_pauses(outputs, planes, seed, gaps):
    random = np.random.default_rng(seed)
    groups = [random_group(random, chunks=2, outputs=outputs, planes=planes) for _ in range(3)]
    check_unit(groups, outputs=outputs, planes=planes, gaps=gaps)


@pytest.mark.parametrize("arrays", RTL)
def test_unit_gives_the_published_results(arrays):
    """Row by row of both; the table of a group is the other bank's of the one before."""
    groups = [
        (table[None], codes[None].astype(int), start, 2)
        for tables, codes, starts in zip(
            arrays["b2_table"].view(np.uint16),
            arrays["b2_codes"],
            arrays["b2_psum"].view(np.uint16),
            strict=True,
        )
        for table, start in zip(tables, starts, strict=True)
    ]
    got = run_unit(FloatLookupUnit(outputs=16, planes=2), groups)
    np.testing.assert_array_equal(got, arrays["b2_result"].view(np.uint16).reshape(got.shape))


@pytest.mark.parametrize("planes", [1, 2, 4, 8])
def test_where_the_published_rtl_is_wrong(planes):
    """Zeros stay zero in every plane: the published array gives 7 × 2**-14 with four bits."""
    random = np.random.default_rng(planes)
    codes = lookup.half_float_codes(random.integers(1 << planes, size=(1, 4, 8)), bits=planes)
    got = run_unit(
        FloatLookupUnit(outputs=8, planes=planes), [(np.zeros((1, 8), int), codes, np.zeros(8), planes)]
    )
    assert not (got & 0x7FFF).any()


MAPPED = {
    "adder": HalfAdder,
    "builder": FloatTableBuilder,
    "unit": lambda: FloatLookupUnit(outputs=4, planes=3),
}


@pytest.mark.parametrize("make", MAPPED.values(), ids=MAPPED)
def test_mapped(make):
    """The synthesised cells do what the component does, whatever the operands."""
    module, _ = synthesised(make())
    random = np.random.default_rng(7)
    widths = operands(make())
    stimulus = [
        {"rst": int(cycle % 97 < 2)} | {name: number(random, width) for name, width in widths.items()}
        for cycle in range(300)
    ]
    assert run_mapped(module, stimulus) == run_component(make(), stimulus)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"outputs": 1}, ValueError, "outputs must be 2 to 16, not 1"),
        ({"outputs": 8.0}, TypeError, "integer"),
        ({"planes": 9}, ValueError, "planes must be 1 to 8, not 9"),
    ],
)
def test_refused(change, error, message):
    with pytest.raises(error, match=message):
        FloatLookupUnit(**{"outputs": 8, "planes": 4} | change)
