# amaranth: UnusedElaboratable=no
"""Multipliers of all kinds: exact, for all operands or extreme and random ones; latencies and cycles as they are stated."""

import numpy as np
import pytest
from amaranth.hdl import Cat, Module, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator

from fpga.macs import Mac, MultiplierTree, PassingMac
from hw.pe.multipliers import same_weight, sparse_digit
from hw.pe.multipliers.carry_save import CarrySaveMac, multiply_add
from hw.pe.multipliers.digits import DigitEncoder
from hw.pe.multipliers.heap import Heap
from hw.pe.multipliers.packed import LATENCY, PackedMultiplier
from hw.pe.multipliers.same_weight import SameWeightDot
from hw.pe.multipliers.sparse_digit import SparseDigitColumn, WeightMerge
from sim import digits


def simulate(dut, bench):
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


def operands(seed, *shape):
    """int8; the first are the extremes."""
    found = np.random.default_rng(seed).integers(-128, 128, shape)
    found[0] = -128
    found[1] = 127 if len(shape) == 1 else [127, *[-128] * (shape[-1] - 1)]
    return found


def signs(value, width):
    return (value + (1 << width - 1)) % (1 << width) - (1 << width - 1)


def test_encoder_gives_every_operand_its_digits():
    dut = DigitEncoder(lanes=2)
    expected = digits.en_t(digits.INT8)

    async def bench(ctx):
        for place in range(258):
            value = int(digits.INT8[min(place, 255)])
            ctx.set(dut.values, [value, -1 - value])
            if place >= 2:
                for lane, row in enumerate((place - 2, 257 - place)):
                    found = [ctx.get(dut.digits[lane][i]) for i in range(4)]
                    assert [number(one) for one in found] == expected[row].tolist()
            await ctx.tick()

    simulate(dut, bench)


def number(digit):
    assert (digit["one"], digit["two"], digit["negative"]) not in {(1, 1, 0), (1, 1, 1), (0, 0, 1)}
    return (digit["one"] + 2 * digit["two"]) * (-1 if digit["negative"] else 1)


class Product(wiring.Component):
    """Two rows of a product alone."""

    def __init__(self):
        super().__init__({"a": In(signed(8)), "b": In(signed(8)), "sum": Out(20)})

    def elaborate(self, platform):
        m = Module()
        total, carry = multiply_add(m, self.a, self.b, Signal(20), Signal(20))
        m.d.comb += self.sum.eq(total + carry)
        return m


def test_carry_save_products():
    dut = Product()

    async def bench(ctx):
        for a in (*range(-128, 127, 9), 127):
            ctx.set(dut.a, a)
            for b in (-128, -127, -1, 0, 127, *range(-120 + a % 61, 127, 61)):
                ctx.set(dut.b, b)
                assert signs(ctx.get(dut.sum), 20) == a * b

    simulator = Simulator(dut)
    simulator.add_testbench(bench)
    simulator.run()


@pytest.mark.parametrize(("width", "b_width"), [(32, 8), (16, 8), (24, 3)])
def test_carry_save_mac(width, b_width):
    """Sums that follow each other, of every length, wrapped; rows two cycles after their pair."""
    dut = CarrySaveMac(width=width, b_width=b_width)
    a, b = operands(1, 100), operands(2, 100) >> 8 - b_width
    keep = np.random.default_rng(3).random(100) < 0.9

    async def bench(ctx):
        expected = [0]
        for x, y, kept in zip(a, b, keep, strict=True):
            expected.append((expected[-1] if kept else 0) + int(x) * int(y))
        for now in range(102):
            if now < 100:
                ctx.set(dut.a, int(a[now]))
                ctx.set(dut.b, int(b[now]))
            if 1 <= now <= 100:
                ctx.set(dut.keep, bool(keep[now - 1]))
                assert (ctx.get(dut.a_next), ctx.get(dut.b_next)) == (a[now - 1], b[now - 1])
            if now >= 2:
                total, carry = ctx.get(dut.total), ctx.get(dut.carry)
                assert (total + carry - expected[now - 1]) % (1 << width) == 0
                assert carry % 8 == 0
            await ctx.tick()

    simulate(dut, bench)


def test_macs_that_carry():
    """The units beside which others are measured."""
    dut = Mac(width=24)
    a, b = operands(4, 100), operands(5, 100)

    async def bench(ctx):
        ctx.set(dut.keep, 1)
        for now in range(102):
            ctx.set(dut.a, int(a[now]) if now < 100 else 0)
            ctx.set(dut.b, int(b[now]) if now < 100 else 0)
            if now >= 2:
                assert signs(ctx.get(dut.total), 24) == int(a[: now - 1] @ b[: now - 1])
            await ctx.tick()

    simulate(dut, bench)


@pytest.mark.parametrize("rows", [1, 2])
def test_macs_that_pass_sums_on(rows):
    dut = PassingMac(width=24, rows=rows)
    a, above = operands(6, 50), operands(7, 50) << 10

    async def bench(ctx):
        ctx.set(dut.b, -77)
        ctx.set(dut.load, 1)
        await ctx.tick()
        ctx.set(dut.load, 0)
        for now in range(52):
            ctx.set(dut.b, now)
            ctx.set(dut.a, int(a[min(now, 49)]))
            if 1 <= now <= 50:
                ctx.set(dut.total, int(above[now - 1]) & 0xFFFFFF)
                if rows > 1:
                    ctx.set(dut.carry, 8 * now)
            if now >= 2:
                found = ctx.get(dut.total_next)
                found += ctx.get(dut.carry_next) - 8 * (now - 1) if rows > 1 else 0
                assert signs(found, 24) == -77 * a[now - 2] + above[now - 2]
            await ctx.tick()

    simulate(dut, bench)


def test_tree_of_multipliers():
    dut = MultiplierTree(products=2)
    a, b = operands(8, 20, 2), operands(9, 20, 2)

    async def bench(ctx):
        for now in range(24):
            ctx.set(dut.a, a[min(now, 19)].tolist())
            ctx.set(dut.b, b[min(now, 19)].tolist())
            if now >= 4:
                assert ctx.get(dut.result) == a[now - 4] @ b[now - 4]
            await ctx.tick()

    simulate(dut, bench)


class Row(wiring.Component):
    """An encoder, and units that take its digits one after the other."""

    def __init__(self, *, products, units):
        self.products, self.units = products, units
        lanes = data.ArrayLayout(signed(8), products)
        super().__init__(
            {"x": In(lanes), "w": In(lanes).array(units), "result": Out(signed(32)).array(units)}
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.encoder = encoder = DigitEncoder(lanes=self.products)
        m.d.comb += encoder.values.eq(self.x)
        passing = encoder.digits
        for place in range(self.units):
            m.submodules[f"unit_{place}"] = unit = SameWeightDot(products=self.products)
            m.d.comb += [
                unit.digits.eq(passing),
                unit.values.eq(self.w[place]),
                self.result[place].eq(unit.result),
            ]
            passing = unit.digits_next
        return m


@pytest.mark.parametrize(("products", "units"), [(1, 1), (3, 2), pytest.param(16, 1, marks=pytest.mark.long)])
def test_same_weight(products, units):
    """A dot product a cycle; each unit's a cycle after the one before it. Both extremes: no row overflows."""
    dut = Row(products=products, units=units)
    x, w = operands(10, 30, products), operands(11, 30 * units, products).reshape(30, units, products)
    w[0], x[2], w[2] = -128, -2, -128

    async def bench(ctx):
        for now in range(30 + 2 + same_weight.LATENCY + units):
            ctx.set(dut.x, x[min(now, 29)].tolist())
            for place in range(units):
                step = now - 2 - place
                ctx.set(dut.w[place], w[step, place].tolist() if 0 <= step < 30 else [99] * products)
                if 0 <= (step := step - same_weight.LATENCY) < 30:
                    assert ctx.get(dut.result[place]) == x[step] @ w[step, place]
            await ctx.tick()

    simulate(dut, bench)


class Column(wiring.Component):
    """A column whose first element's weights are put together."""

    def __init__(self, elements):
        self.column = SparseDigitColumn(elements=elements)
        self.merge = WeightMerge()
        super().__init__({})

    def elaborate(self, platform):
        m = Module()
        m.submodules.column, m.submodules.merge = self.column, self.merge
        m.d.comb += [
            self.merge.total.eq(self.column.total[0]),
            self.merge.carry.eq(self.column.carry[0]),
            self.merge.valid.eq(self.column.valid),
        ]
        return m


@pytest.mark.parametrize("depth", [4, 7, 40])
@pytest.mark.parametrize("sigma", [0.5, 20, 1000])
def test_sparse_digits(depth, sigma):
    """Dot products of which one follows the other: exact, in as many cycles as the law says, whatever the digits."""
    elements, count = 3, 3
    random = np.random.default_rng(depth)
    a = np.clip(random.normal(0, sigma, (count, depth)).round(), -128, 127).astype(int)
    b = random.integers(-128, 128, (count, depth, elements))
    a[0, :2], b[0, :2] = -128, -128
    dut = Column(elements)
    column = dut.column
    found = [digits.en_t(one) for one in a]
    padded = [np.pad(one, ((0, -depth % 4), (0, 0))) for one in found]
    values = np.pad(b, ((0, 0), (0, -depth % 4), (0, 0)))
    groups = [
        (which, place, first)
        for which in range(count)
        for place in range(4)
        for first in range(0, len(padded[which]), 4)
    ]
    taken, sums, results = [], [], []

    async def bench(ctx):
        current, now, last_group = None, 0, len(groups) - 1
        while len(results) < count:
            offered = len(taken)
            ctx.set(column.groups.valid, offered <= last_group)
            if offered <= last_group:
                which, place, first = groups[offered]
                four = padded[which][first : first + 4, place]
                ctx.set(
                    column.groups.payload,
                    {
                        "digits": [
                            {"one": abs(d) == 1, "two": abs(d) == 2, "negative": d < 0} for d in four.tolist()
                        ],
                        "last": first + 4 >= len(padded[which]),
                    },
                )
            position = ctx.get(column.position)
            if current is not None:
                which, _, first = current
                ctx.set(column.values, values[which, first + position].tolist())
            if ctx.get(column.valid):
                sums.append([ctx.get(column.total[i]) + ctx.get(column.carry[i]) for i in range(elements)])
            if ctx.get(dut.merge.result_valid):
                results.append(ctx.get(dut.merge.result))
            if ctx.get(column.groups.ready) and offered <= last_group:
                taken.append(now)
                current = groups[offered]
            now += 1
            assert now < 20 * len(groups) + 100
            await ctx.tick()

    simulate(dut, bench)
    assert results == [int(x @ w[:, 0]) for x, w in zip(a, b, strict=True)]
    expected = [
        (found[which][:, place] @ b[which]) % (1 << sparse_digit.WIDTH)
        for which in range(count)
        for place in range(4)
    ]
    assert [[one % (1 << sparse_digit.WIDTH) for one in row] for row in sums] == np.array(expected).tolist()
    starts = [taken[index] for index, (_, place, first) in enumerate(groups) if place == 0 and first == 0]
    assert np.diff(starts).tolist() == [digits.cycles(one) for one in found[:-1]]


def test_packed_products_of_all_operands():
    dut = PackedMultiplier()
    every = [
        (value, low, high) for value in range(-128, 128) for low in range(-8, 8) for high in range(-8, 8)
    ]
    # All pairs of weights with the extremes, and all values with what is left of them by turns.
    chosen = [one for place, one in enumerate(every) if one[0] in (-128, -1, 127) or place % 29 == 0]

    async def bench(ctx):
        for now in range(len(chosen) + LATENCY):
            value, low, high = chosen[min(now, len(chosen) - 1)]
            ctx.set(dut.value, value)
            ctx.set(dut.weights, low & 15 | (high - (low < 0) & 31) << 4)
            if now >= LATENCY:
                value, low, high = chosen[now - LATENCY]
                assert ctx.get(dut.low_product) == value * low
                assert ctx.get(dut.high_product) + ctx.get(dut.high_lacks) == value * high
            await ctx.tick()

    simulate(dut, bench)


class Bits(wiring.Component):
    """A heap of unsigned and signed values, their shifts and times, and a constant."""

    def __init__(self, width, shifts, eager):
        self.width, self.shifts, self.eager = width, shifts, eager
        super().__init__({"values": In(data.ArrayLayout(signed(6), len(shifts))), "sum": Out(width)})

    def elaborate(self, platform):
        m = Module()
        heap = Heap(self.width, eager=self.eager)
        for place, shift in enumerate(self.shifts):
            heap.add_signed(self.values[place], shift=shift, time=place % 3)
        heap.add_constant(-5)
        sums, carries = heap.rows(m)
        assert all(not isinstance(bit, int) for bit in sums)
        m.d.comb += self.sum.eq(Cat(*sums) + Cat(*carries))
        return m


@pytest.mark.parametrize(
    ("width", "shifts", "eager"),
    [(1, [0], 0), (8, [], 0), (12, [0, 2, 4, 1, 1, 9], 3), (20, [0] * 17, 0)],
)
def test_heap(width, shifts, eager):
    dut = Bits(width, shifts, eager)
    random = np.random.default_rng(width)

    async def bench(ctx):
        for _ in range(50):
            values = random.integers(-32, 32, len(shifts))
            ctx.set(dut.values, values.tolist())
            expected = sum(int(one) << shift for one, shift in zip(values, shifts, strict=True)) - 5
            assert ctx.get(dut.sum) == expected % (1 << width)

    simulator = Simulator(dut)
    simulator.add_testbench(bench)
    simulator.run()


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Heap(0), ValueError, "width must be 1 or more, not 0"),
        (lambda: CarrySaveMac(width=15), ValueError, "width must be 16 to 64, not 15"),
        (lambda: CarrySaveMac(width=32.0), TypeError, "integer"),
        (lambda: CarrySaveMac(width=32, b_width=9), ValueError, "b_width must be 2 to 8, not 9"),
        (lambda: DigitEncoder(lanes=0), ValueError, "lanes must be 1 or more, not 0"),
        (lambda: SameWeightDot(products=65), ValueError, "products must be 1 to 64, not 65"),
        (lambda: SparseDigitColumn(elements=0), ValueError, "elements must be 1 or more, not 0"),
    ],
)
def test_what_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()
