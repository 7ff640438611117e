# amaranth: UnusedElaboratable=no
"""Units of four products: each gives the sum of its products exactly; transistors as they were measured."""

import numpy as np
import pytest
from amaranth.sim import Simulator

from fpga.dot_units import AdderDot, LookupDot, MultiplierDot, MultiplierSum, TableRegisters, TernaryDot
from fpga.transistors import FLIP_FLOP_TRANSISTORS, Transistors, count, transistors
from gen.reproduce import lut_units
from sim import lookup

STEPS = 40


def operands(seed, *, bits, k=4):
    """Activations [STEPS, k] and codes [STEPS, k]; the first two are the extremes."""
    random = np.random.default_rng(seed)
    activations = random.integers(-128, 128, (STEPS, k))
    codes = random.integers(0, 1 << bits, (STEPS, k))
    activations[0], codes[0], codes[1] = -128, 0, (1 << bits) - 1
    return activations, codes


def totals(unit, cycles):
    """``total`` after the last of the cycles, each a mapping of ports to values; the first begins the sum."""
    found = []

    async def bench(ctx):
        for place, cycle in enumerate(cycles):
            ctx.set(unit.first, place == 0)
            for name, value in cycle.items():
                ctx.set(getattr(unit, name), value)
            await ctx.tick()
        found.append(ctx.get(unit.total))

    simulator = Simulator(unit)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return found[0]


def twos(codes, bits):
    return np.where(codes >> bits - 1 & 1, codes - (1 << bits), codes)


def planes(codes, bits):
    """Index of a plane's bits for every step and plane: step, plane, index."""
    index = lookup.indices(codes, bits=bits, k=codes.shape[1])
    return [(step, plane, int(index[plane, step, 0])) for step in range(len(codes)) for plane in range(bits)]


@pytest.mark.parametrize("bits", [1, 2, 3, 8])
def test_multipliers(bits):
    activations, codes = operands(bits, bits=bits)
    weights = np.where(codes, -1, 1) if bits == 1 else twos(codes, bits)
    ports = twos(codes, bits)
    cycles = [
        {"activations": a.tolist(), "weights": w.tolist()} for a, w in zip(activations, ports, strict=True)
    ]
    assert totals(MultiplierDot(k=4, bits=bits), cycles) == (activations * weights).sum()


def shifted(plane, bits):
    return {"shift": plane} if bits > 1 else {}


@pytest.mark.parametrize("bits", [1, 2, 3, 8])
def test_adders(bits):
    activations, codes = operands(10 + bits, bits=bits)
    cycles = [
        {"activations": activations[step].tolist(), "plane": index, "negative": plane == bits - 1}
        | shifted(plane, bits)
        for step, plane, index in planes(codes, bits)
    ]
    assert totals(AdderDot(k=4, planes=bits), cycles) == (activations * twos(codes, bits)).sum()


@pytest.mark.parametrize("bits", [1, 2, 5])
def test_conventional_lookups(bits):
    activations, codes = operands(20 + bits, bits=bits)
    chosen = np.arange(16)[:, None] >> np.arange(4) & 1
    cycles = [
        {"table": (chosen @ activations[step]).tolist(), "index": index, "negative": plane == bits - 1} | shifted(plane, bits)
        for step, plane, index in planes(codes, bits)
    ]  # fmt: skip
    unit = LookupDot(k=4, planes=bits, symmetric=False)
    assert totals(unit, cycles) == (activations * twos(codes, bits)).sum()


@pytest.mark.parametrize("recoded", [False, True])
@pytest.mark.parametrize(("k", "bits"), [(4, 1), (4, 2), (4, 8), (2, 3), (6, 2)])
def test_lookups(k, bits, recoded):
    activations, codes = operands(30 + bits, bits=bits, k=k)
    half = lookup.half_table(activations)
    cycles = []
    for step, plane, index in planes(codes, bits):
        entry, negative = lookup.recoded(index, k)
        code = int(entry) | int(negative) << k - 1 if recoded else index
        cycles.append({"table": half[step].tolist(), "index": code} | shifted(plane, bits))
    unit = LookupDot(k=k, planes=bits, recoded=recoded)
    assert totals(unit, cycles) == (activations * lookup.reinterpreted(codes, bits)).sum()


def test_ternary():
    activations, codes = operands(40, bits=2)
    weights = codes % 3 - 1
    cycles = [
        {
            "activations": activations[step].tolist(),
            "zero": sum(int(w == 0) << i for i, w in enumerate(weights[step])),
            "negative": sum(int(w < 0) << i for i, w in enumerate(weights[step])),
        }
        for step in range(STEPS)
    ]
    assert totals(TernaryDot(k=4), cycles) == (activations * weights).sum()


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("k", [2, 3, 4, 6])
def test_tables(k, symmetric):
    unit = TableRegisters(k=k, symmetric=symmetric)
    activations, _ = operands(50 + k, bits=1, k=k)
    chosen = np.arange(1 << k)[:, None] >> np.arange(k) & 1
    expected = lookup.half_table(activations) if symmetric else activations @ chosen.T

    async def bench(ctx):
        for step in range(STEPS):
            ctx.set(unit.activations, activations[step].tolist())
            await ctx.tick()
            assert [ctx.get(unit.table[i]) for i in range(len(expected[step]))] == expected[step].tolist()

    simulator = Simulator(unit)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_multiplier_sums(bits):
    """Groups of two steps, each with its scale."""
    unit = MultiplierSum(operands=8, bits=bits, group=32)
    activations, codes = operands(60 + bits, bits=bits, k=8)
    weights = twos(codes, bits)
    groups, found = 5, []
    last, scale = 1 + 3 - 1, 1
    length = 24

    async def feed(ctx):
        for cycle in range(groups * length + 40):
            group, place = divmod(cycle, length)
            step = 2 * group + place
            live_group = group < groups
            live = live_group and place < 2
            ctx.set(unit.activations, activations[step].tolist() if live else [0] * 8)
            ctx.set(unit.weights, weights[step].tolist() if live else [0] * 8)
            at = place - last
            ctx.set(unit.add, at in (0, 1))
            ctx.set(unit.last, at == 1)
            bit = at - 1 - scale
            ctx.set(unit.scale_bit, live_group and 0 <= bit < 8 and (0xA0 + group) >> (7 - bit) & 1)
            ctx.set(unit.finish, live_group and bit == 7)
            await ctx.tick()
            if ctx.get(unit.valid):
                value = ctx.get(unit.result)
                found.append(value - (1 << 32) if value >> 31 else value)

    simulator = Simulator(unit)
    simulator.add_clock(1e-6)
    simulator.add_testbench(feed)
    simulator.run()
    sums = (activations * weights).sum(1)
    assert found == [(0xA0 + g) * int(sums[2 * g] + sums[2 * g + 1]) for g in range(groups)]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: MultiplierDot(k=4, bits=9), "bits must be 1 to 8, not 9"),
        (lambda: MultiplierSum(operands=4, bits=1, group=32), "bits must be 2 to 8, not 1"),
        (lambda: AdderDot(k=4, planes=0), "planes must be 1 to 8, not 0"),
        (lambda: LookupDot(k=7, planes=1), "k must be 2 to 6, not 7"),
        (lambda: LookupDot(k=4, planes=1, width=11), "width must be 2 to 10, not 11"),
        (lambda: TableRegisters(k=1), "k must be 2 to 6, not 1"),
    ],
)
def test_errors(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_transistors_of_cells():
    found = count({"$_NAND_": 3, "$_NOR_": 2, "$_NOT_": 5, "$_DFF_P_": 7})
    assert found == Transistors(gates=30, flip_flops=7)
    assert found.total == 30 + 7 * FLIP_FLOP_TRANSISTORS
    assert found.as_dict() == {"gates": 30, "flip_flops": 7, "total": 198}
    with pytest.raises(ValueError, match=r"cells must be .*, not \$_XOR_"):
        count({"$_XOR_": 1, "$_NAND_": 1})


@pytest.mark.parametrize("name", ["lookup/2", "adder/1", "multiplier/2", "table/4"])
def test_transistors_are_as_measured(name):
    assert transistors(lut_units.UNITS[name]()) == lut_units.MEASURED[name]


@pytest.mark.long
def test_all_transistors_are_as_measured():
    told = []
    assert lut_units.measure(lambda *one: told.append(one)) == lut_units.MEASURED
    assert told[0] == ("multiplier/1", 0, len(lut_units.UNITS))
