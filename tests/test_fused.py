# amaranth: UnusedElaboratable=no
"""Four elements of four bits as one of eight: every integer split, products of int8 and of outliers, four sums apart."""

from __future__ import annotations

import numpy as np
import pytest
from amaranth.sim import Simulator

from hw.formats import FORMATS
from hw.formats.pairs import PairShape, pairs, sum_bits
from hw.pe.exponent_integer_times import fused_latency, half_shape, output_latency
from hw.pe.fused import FusedElement, Split
from hw.timing import SPLIT_PAIR
from sim import decoded

OVP8 = FORMATS["ovp8-int8"]
SHAPE = PairShape.of(OVP8)


def simulate(dut, bench):
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


def halves(exponent, integer):
    """By the definition: the lower four bits in two's complement, the rest; 8 is 4 that counts twice."""
    low = (integer + 8) % 16 - 8
    rest = (integer - low) // 16
    return [(exponent, low), (exponent + 5, 4) if rest == 8 else (exponent + 4, rest)]


def numbers():
    """Pairs of all numbers of the format, and int8's -128."""
    table = pairs(OVP8)
    return sorted({(0, -128), *zip(table.exponents.flat, table.integers.flat, strict=True)})


@pytest.mark.parametrize("shape", [SHAPE, PairShape(0, 8), PairShape(4, 5, 14)])
def test_split(shape):
    """Every integer of the shape, with the least and the largest exponent."""
    dut = Split(shape=shape)
    half = 1 << shape.integer_bits - 1

    async def bench(ctx):
        for exponent in {0, shape.most_exponent}:
            for integer in range(-half, half):
                fields = {"exponent": exponent} if shape.exponent_bits else {}
                ctx.set(dut.pair, {**fields, "integer": integer})
                await ctx.tick().repeat(SPLIT_PAIR)
                seen = [
                    (ctx.get(each.exponent), ctx.get(each.integer)) for each in (dut.halves[0], dut.halves[1])
                ]
                assert seen == halves(exponent, integer)
                assert sum(i << e for e, i in seen) == integer << exponent

    simulate(dut, bench)


def run_products(shape, width, operands):
    """Products of ``operands``, pairs of pairs, one a cycle, and whether each is exact."""
    half = half_shape(shape)
    dut = FusedElement(activation=half, weight=half, sum_width=width)
    latency = fused_latency(half, half)

    def fields(pair):
        return [{"exponent": int(e), "integer": int(i)} for e, i in halves(*pair)]

    async def bench(ctx):
        ctx.set(dut.last, 1)
        for now in range(len(operands) + latency):
            if now < len(operands):
                ctx.set(dut.activations, fields(operands[now][0]))
                ctx.set(dut.weights, fields(operands[now][1]))
            if now >= latency:
                (ea, a), (ew, w) = map(lambda pair: tuple(map(int, pair)), operands[now - latency])
                assert ctx.get(dut.valid)
                assert ctx.get(dut.result) == (a << ea) * (w << ew) % (1 << width)
            await ctx.tick()

    simulate(dut, bench)


def test_products():
    """Every number of OliVe's 8 bits by the largest, the least and one at random."""
    random, every = np.random.default_rng(1), numbers()
    ends = [(16, 120), (16, -120), (0, 127), (0, -128), (0, -1)]
    some = [ends[place % 5] for place in range(len(every))]
    drawn = [every[place] for place in random.integers(0, len(every), len(every))]
    operands = [*zip(every, some, strict=True), *zip(every, drawn, strict=True)]
    run_products(SHAPE, sum_bits(OVP8, OVP8, 4), operands)


@pytest.mark.long
def test_every_product_of_int8():
    every = [(0, value) for value in range(-128, 128)]
    run_products(PairShape(0, 8), 32, [(a, w) for a in every for w in every])


@pytest.mark.long
def test_every_product_of_pairs():
    every = numbers()
    run_products(SHAPE, sum_bits(OVP8, OVP8, 1) + 1, [(a, w) for a in every for w in every])


def test_sums():
    """Of several products, four of four bits side by side and the sum of all; neighbours get the operands a cycle later."""
    shape, width = PairShape.of(FORMATS["ovp4-int4"]), 32
    random = np.random.default_rng(2)
    dut, length, sums = FusedElement(activation=shape, weight=shape, sum_width=width), 5, 6
    steps = length * sums
    integers, exponents = random.integers(-8, 8, (2, steps, 2)), random.integers(0, 5, (2, steps, 2))
    values = integers << exponents
    latency = output_latency(shape, shape)

    def four(last):
        span = slice(last - length + 1, last + 1)
        return [
            decoded.total(values[0, span, place // 2], values[1, span, place % 2], width=width)
            for place in range(4)
        ]

    async def bench(ctx):
        for now in range(steps + latency + 2):
            step = min(now, steps - 1)
            for side, port in enumerate((dut.activations, dut.weights)):
                pairs_now = zip(exponents[side, step].tolist(), integers[side, step].tolist(), strict=True)
                ctx.set(port, [{"exponent": e, "integer": i} for e, i in pairs_now])
            ctx.set(dut.last, now % length == length - 1)
            if 0 < now < steps:
                assert ctx.get(dut.activations_next[1].integer) == integers[0, now - 1, 1]
                assert ctx.get(dut.weights_next[0].exponent) == exponents[1, now - 1, 0]
                assert ctx.get(dut.last_next) == (now % length == 0)
            last = now - latency
            assert ctx.get(dut.results_valid) == (last >= 0 and last % length == length - 1)
            if 0 <= last < steps and last % length == length - 1:
                assert [ctx.get(dut.results[place]) for place in range(4)] == [
                    s % (1 << width) for s in four(last)
                ]
            last -= 1
            if 0 <= last < steps and last % length == length - 1:
                assert ctx.get(dut.result) == sum(four(last)) % (1 << width)
            await ctx.tick()

    simulate(dut, bench)


def test_errors():
    with pytest.raises(ValueError, match="integer_bits must be 5 to 8 for halves of four, not 4"):
        Split(shape=PairShape(3, 4))
    with pytest.raises(ValueError, match="sum_width must be 2 to 80, not 1"):
        FusedElement(activation=PairShape(3, 4), weight=PairShape(3, 4), sum_width=1)
