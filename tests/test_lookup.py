# amaranth: UnusedElaboratable=no
"""Table builder, lookup unit and ternary unit against the definition: random and extreme operands, timing, mapped cells."""

from dataclasses import dataclass

import numpy as np
import pytest
from amaranth.hdl import Value
from amaranth.lib.wiring import In
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st
from mapped import run_component, run_mapped
from test_block_ram import number, synthesised

from hw.pe.lookup import LookupUnit, SerialTableBuilder, TableBuilder, TernaryUnit
from hw.pe.lookup_times import builder_cycles, entry_bits
from sim import lookup

BITS = 8
"""Of a scale."""
FLAGS = ("add", "last", "finish", "scale_bit", "first", "load", "write")
"""Low where a schedule does not say otherwise."""


@dataclass(frozen=True)
class Group:
    """Weights that share a scale, with their activations; ``pause`` cycles before it."""

    activations: np.ndarray
    codes: np.ndarray
    bits: int
    scale: int
    zero: int | None = None
    pause: int = 0
    order: tuple[int, ...] = ()
    """Of the planes; the lowest first without."""
    gap: bool = False
    """A cycle without operands after each with some."""


def simulate(component, inputs, expected):
    """Set ``inputs`` by cycle; results must come when they are expected, and zero at all other times."""

    async def bench(ctx):
        for cycle in range(max([*inputs, *expected]) + 3):
            given = {name: 0 for name in FLAGS if hasattr(component, name)} | inputs.get(cycle, {})
            for name, value in given.items():
                ctx.set(getattr(component, name), value)
            due = expected.get(cycle)
            assert ctx.get(component.valid) == (due is not None), cycle
            assert ctx.get(component.result) == (due or 0) % (1 << 32), (cycle, due)
            await ctx.tick()

    simulator = Simulator(component)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


class Schedule:
    """Inputs and results by cycle."""

    def __init__(self, component):
        self.times = component.times
        self.inputs, self.expected = {}, {}
        self.cycle, self.before = 0, -BITS

    def at(self, when, **values):
        self.inputs.setdefault(when, {}).update(values)

    def begin(self, length, pause):
        """Wait for the pause, and until the last group's scale is done when this one ends."""
        self.cycle = max(self.cycle + pause, self.before + BITS - length + 1)

    def count(self):
        """There are operands in this cycle."""
        self.before = self.cycle
        self.at(self.cycle + self.times.last, add=1)

    def end(self, scale, result):
        """The group's last operands were those counted last."""
        self.at(self.before + self.times.last, last=1)
        first = self.before + self.times.last + self.times.scale
        for bit in range(BITS):
            self.at(first + bit, scale_bit=scale >> BITS - 1 - bit & 1)
        self.at(first + BITS - 1, finish=1)
        self.expected[self.before + self.times.latency] = result


def codes_of(entries, negatives):
    """For ``codes``."""
    return [{"entry": int(e), "negative": int(n)} for e, n in zip(entries, negatives, strict=True)]


def run(groups, *, k, lookups, planes, group=256, zero_points=False):
    unit = LookupUnit(k=k, groups_per_lane=lookups, planes=planes, group=group, zero_points=zero_points)
    plan = Schedule(unit)
    for one in groups:
        half = lookup.half_table(one.activations.reshape(-1, lookups, k))
        entry, negative = lookup.recoded(lookup.indices(one.codes, bits=one.bits, k=k), k)
        entry, negative = (x.reshape(one.bits, -1, lookups) for x in (entry, negative))
        plan.begin(len(half) * one.bits, one.pause)
        for part, tables in enumerate(half):
            for plane in one.order or range(one.bits):
                plan.at(
                    plan.cycle, tables=tables.tolist(),
                    codes=codes_of(entry[plane, part], negative[plane, part]),
                )  # fmt: skip
                plan.count()
                if planes > 1:
                    plan.at(plan.cycle + plan.times.shift, shift=plane)
                if zero_points:
                    some = one.zero is not None
                    plan.at(
                        plan.cycle + plan.times.extra, total=int(tables[:, -1].sum()) if some else 0,
                        total_negative=one.zero >> plane & 1 if some else 0,
                    )  # fmt: skip
                plan.cycle += 1 + int(one.gap)
        plan.end(
            one.scale,
            lookup.group_result(
                one.activations, one.codes, bits=one.bits, k=k, scale=one.scale, zero=one.zero
            ),
        )
    simulate(unit, plan.inputs, plan.expected)


def random_group(random, *, size, bits, zero=False, pause=0):
    return Group(
        random.integers(-128, 128, size=size), random.integers(1 << bits, size=size), bits, int(random.integers(256)),
        zero=int(random.integers(1 << bits)) if zero else None, pause=pause, order=tuple(random.permutation(bits).tolist()),
        gap=random.random() < 0.2,
    )  # fmt: skip


@pytest.mark.parametrize("k", [2, 3, 4, 5, 6])
@pytest.mark.parametrize(("lookups", "planes"), [(1, 1), (2, 2), (3, 4), (8, 3), (5, 8)])
def test_random_groups(k, lookups, planes):
    """Of all widths that the planes allow, in any order of these, from one slice to three."""
    random = np.random.default_rng(k * 100 + lookups)
    groups = [
        random_group(
            random, size=k * lookups * int(random.integers(1, 4)), bits=1 + i % planes,
            pause=int(random.integers(2) * 3),
        )
        for i in range(16)
    ]  # fmt: skip
    run(groups, k=k, lookups=lookups, planes=planes)


@settings(max_examples=20)
@given(
    lookups=st.sampled_from([1, 2, 3, 4, 8, 16]), k=st.integers(2, 5), planes=st.integers(1, 8),
    seed=st.integers(0, 2**32 - 1),
    shape=st.lists(st.tuples(st.integers(1, 8), st.integers(1, 3), st.integers(0, 9)), min_size=1, max_size=5),
)  # fmt: skip
def test_zero_points(lookups, k, planes, seed, shape):
    """Groups of any length, width and pause; every other one without a zero point."""
    random = np.random.default_rng(seed)
    groups = [
        random_group(random, size=k * lookups * slices, bits=min(bits, planes), zero=i % 2 == 0, pause=pause)
        for i, (bits, slices, pause) in enumerate(shape)
    ]
    run(groups, k=k, lookups=lookups, planes=planes, zero_points=True)


@pytest.mark.parametrize("zero_points", [False, True])
@pytest.mark.parametrize(("k", "lookups", "size"), [(4, 8, 32), (4, 2, 32), (2, 4, 32), (3, 4, 36)])
@pytest.mark.parametrize("planes", [1, 2, 4])
def test_extremes(k, lookups, size, planes, zero_points):
    """Whole groups of the greatest and least products, zero points and scales: where a bit too few would show."""
    ends = (0, (1 << planes) - 1)
    groups = [
        Group(np.full(size, x), np.full(size, code), planes, 255, zero=zero if zero_points else None)
        for x in (-128, 127)
        for code in ends
        for zero in ends
    ]
    run(groups, k=k, lookups=lookups, planes=planes, group=32 if size == 32 else 64, zero_points=zero_points)


@pytest.mark.parametrize("k", [2, 3, 4, 5, 6])
def test_builder(k):
    """A table each cycle, with the extremes among them."""
    random = np.random.default_rng(k)
    given = random.integers(-128, 128, size=(60, k))
    given[:2] = [[-128], [127]]
    given[2:20] = random.choice([-128, 127], size=(18, k))
    late, width = builder_cycles(k), entry_bits(k)
    stimulus = [{"activations": sum((int(x) & 255) << 8 * i for i, x in enumerate(row))} for row in given]
    seen = run_component(TableBuilder(k=k), stimulus)
    for cycle, row in enumerate(given[: len(given) - late]):
        entries = lookup.half_table(row)
        wanted = sum((int(entry) % (1 << width)) << width * i for i, entry in enumerate(entries))
        assert seen[cycle + late]["entries"] == wanted, cycle


def run_outputs(groups, *, k, lookups, planes, outputs, zero_points=False, group=256):
    """Groups of several outputs with the same activations: ``codes`` [outputs, size], scales, zero points; from stored tables."""
    unit = LookupUnit(
        k=k, groups_per_lane=lookups, planes=planes, group=group, zero_points=zero_points, stored=True,
        outputs=outputs,
    )  # fmt: skip
    plan, entries = Schedule(unit), 1 << k - 1
    used, written, count, load, ends = [0, 0], 0, 0, 0, [-1] * outputs
    for x, codes, bits, scales, zeros in groups:
        half = lookup.half_table(x.reshape(-1, lookups, k))
        entry, negative = lookup.recoded(lookup.indices(codes, bits=bits, k=k), k)
        entry, negative = (a.reshape(bits, outputs, -1, lookups) for a in (entry, negative))
        # The sums that are complete wait for their scales while the next ones are made.
        plan.cycle = max(plan.cycle, load + BITS + 1 - len(half) * bits * outputs)
        for part, tables in enumerate(half):
            bank = count % 2
            count += 1
            begin = max(used[bank], written)
            for place in range(entries):
                plan.at(
                    begin + place, write=1, address=bank << k - 1 | place, entries=tables[:, place].tolist()
                )
            written = begin + entries
            plan.cycle = max(plan.cycle, written)
            for plane in range(bits):
                for output in range(outputs):
                    plan.at(
                        plan.cycle, bank=bank,
                        codes=codes_of(entry[plane, output, part], negative[plane, output, part]),
                    )  # fmt: skip
                    plan.count()
                    due = plan.cycle + plan.times.last
                    plan.at(due, place=output, first=int(part == plane == 0))
                    if planes > 1:
                        plan.at(plan.cycle + plan.times.shift, shift=plane)
                    if zero_points:
                        plan.at(
                            plan.cycle + plan.times.extra, total=int(tables[:, -1].sum()),
                            total_negative=int(zeros[output]) >> plane & 1,
                        )  # fmt: skip
                    if part == len(half) - 1 and plane == bits - 1:
                        plan.at(due, last=1)
                        ends[output] = due
                    plan.cycle += 1
            used[bank] = plan.cycle
        for output in range(outputs):
            load = max(load + BITS, ends[output] + 1)
            plan.at(load, load=1, drain=output)
            for bit in range(BITS):
                plan.at(load + plan.times.scale + bit, scale_bit=int(scales[output]) >> BITS - 1 - bit & 1)
            plan.at(load + plan.times.scale + BITS - 1, finish=1)
            late = load - ends[output] - plan.times.scale + 1
            result = lookup.group_result(
                x, codes[output], bits=bits, k=k, scale=int(scales[output]),
                zero=int(zeros[output]) if zero_points else None,
            )  # fmt: skip
            plan.expected[ends[output] - plan.times.last + plan.times.latency + late] = result
    simulate(unit, plan.inputs, plan.expected)


@pytest.mark.parametrize("zero_points", [False, True])
@pytest.mark.parametrize(
    ("k", "lookups", "planes", "outputs"),
    [(4, 2, 1, 8), (4, 8, 2, 4), (3, 3, 4, 2), (4, 4, 4, 2), (5, 2, 3, 5)],
)
def test_stored_tables(k, lookups, planes, outputs, zero_points):
    """Random groups of all widths, and the extremes, with tables written while those before them are in use."""
    random = np.random.default_rng(k * 100 + planes)
    groups = []
    for i in range(12):
        size, bits = k * lookups * int(random.integers(1, 5)), 1 + i % planes
        x = random.integers(-128, 128, size=size)
        codes, zeros = (
            random.integers(1 << bits, size=(outputs, size)),
            random.integers(1 << bits, size=outputs),
        )
        if i % 3 == 2:
            x[:], codes[:] = (-128, 127)[i // 3 % 2], ((1 << bits) - 1) * (i // 6)
        groups.append((x, codes, bits, random.integers(256, size=outputs), zeros))
    run_outputs(groups, k=k, lookups=lookups, planes=planes, outputs=outputs, zero_points=zero_points)


@pytest.mark.parametrize("k", [2, 3, 4, 5, 6])
def test_serial_builder(k):
    """An entry a cycle, of new activations each time."""
    random = np.random.default_rng(k)
    given = random.integers(-128, 128, size=(80, k))
    given[:30] = random.choice([-128, 127], size=(30, k))
    index = random.integers(1 << k - 1, size=80)
    stimulus = [
        {"activations": sum((int(x) & 255) << 8 * i for i, x in enumerate(row)), "index": int(one)}
        for row, one in zip(given, index, strict=True)
    ]
    seen, late, width = run_component(SerialTableBuilder(k=k), stimulus), builder_cycles(k), entry_bits(k)
    for cycle, (row, one) in enumerate(zip(given[:-late], index, strict=False)):
        assert seen[cycle + late]["entry"] == int(lookup.half_table(row)[one]) % (1 << width), cycle


def run_ternary(groups, *, lanes, group=256):
    """Groups of activations, weights, scale and pause."""
    unit = TernaryUnit(lanes=lanes, group=group)
    plan = Schedule(unit)
    for x, w, scale, pause in groups:
        plan.begin(len(x) // lanes, pause)
        for part in range(0, len(x), lanes):
            these = w[part : part + lanes]
            plan.at(
                plan.cycle, activations=x[part : part + lanes].tolist(),
                zero=sum(int(one == 0) << i for i, one in enumerate(these)),
                negative=sum(int(one < 0) << i for i, one in enumerate(these)),
            )  # fmt: skip
            plan.count()
            plan.cycle += 1
        plan.end(scale, scale * lookup.ternary_sum(x, w))
    simulate(unit, plan.inputs, plan.expected)


@pytest.mark.parametrize("lanes", [1, 2, 5, 16, 32])
def test_ternary(lanes):
    random = np.random.default_rng(lanes)
    groups = []
    for _ in range(20):
        size = lanes * int(random.integers(1, 256 // lanes + 1) if lanes > 8 else random.integers(1, 20))
        x, w = random.integers(-128, 128, size=size), random.integers(-1, 2, size=size)
        groups.append((x, w, int(random.integers(256)), int(random.integers(3))))
    run_ternary(groups, lanes=lanes)


@pytest.mark.parametrize("lanes", [4, 32])
def test_ternary_extremes(lanes):
    run_ternary(
        [
            (np.full(32, x), np.full(32, w), 255, 0)
            for x in (-128, 127)
            for w in (-1, 1, 0)
        ],
        lanes=lanes,
        group=32,
    )  # fmt: skip


def operands(component):
    """Width of every input."""
    return {
        "_".join(map(str, path)): len(Value.cast(value))
        for path, member, value in component.signature.flatten(component)
        if member.flow == In
    }


CONTROL = ("last", "finish")
MAPPED = {
    "one plane": lambda: LookupUnit(k=4, groups_per_lane=2, planes=1, group=32, zero_points=False),
    "two planes": lambda: LookupUnit(k=3, groups_per_lane=3, planes=2, group=32, zero_points=True),
    "four planes": lambda: LookupUnit(k=4, groups_per_lane=4, planes=4, group=32, zero_points=True),
    "quantised": lambda: LookupUnit(k=4, groups_per_lane=2, planes=4, group=32, zero_points=False, width=8),
    "stored": lambda: LookupUnit(
        k=4, groups_per_lane=2, planes=2, group=32, zero_points=False, stored=True, outputs=4
    ),
    "ternary": lambda: TernaryUnit(lanes=5, group=32),
    "ternary, outputs": lambda: TernaryUnit(lanes=5, group=32, outputs=4),
    "builder": lambda: TableBuilder(k=4),
}


@pytest.mark.parametrize("make", MAPPED.values(), ids=MAPPED)
def test_mapped(make):
    """The synthesised cells do what the component does, whatever the operands."""
    module, _ = synthesised(make())
    random = np.random.default_rng(7)
    widths = operands(make())
    stimulus = [
        {"rst": int(cycle % 97 < 2)}
        | {
            name: int(random.random() < 0.1) if name in CONTROL else number(random, width)
            for name, width in widths.items()
        }
        for cycle in range(300)
    ]  # fmt: skip
    assert run_mapped(module, stimulus) == run_component(make(), stimulus)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"k": 1}, ValueError, "k must be 2 to 6, not 1"),
        ({"k": 4.0}, TypeError, "integer"),
        ({"groups_per_lane": 33}, ValueError, "groups_per_lane must be 1 to 32, not 33"),
        ({"planes": 9}, ValueError, "planes must be 1 to 8, not 9"),
        ({"group": 100}, ValueError, "group must be one of 32, 64, 128, 256, not 100"),
        ({"width": 11}, ValueError, "width must be 2 to 10, not 11"),
    ],
)
def test_refused(change, error, message):
    good = {"k": 4, "groups_per_lane": 8, "planes": 4, "group": 128, "zero_points": True}
    with pytest.raises(error, match=message):
        LookupUnit(**good | change)


def test_others_refuse():
    with pytest.raises(ValueError, match="k must be 2 to 6, not 7"):
        TableBuilder(k=7)
    with pytest.raises(ValueError, match="lanes must be 1 to 128, not 0"):
        TernaryUnit(lanes=0, group=32)
    with pytest.raises(ValueError, match="group must be one of 32, 64, 128, 256, not 33"):
        TernaryUnit(lanes=2, group=33)
    with pytest.raises(ValueError, match="outputs must be 1 to 16, not 17"):
        TernaryUnit(lanes=2, group=32, outputs=17)
