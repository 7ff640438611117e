# amaranth: UnusedElaboratable=no
"""Elements that take exponents and integers: every sum exact and in its cycle, products cut off where they are aligned."""

from __future__ import annotations

import numpy as np
import pytest
from amaranth.sim import Simulator

from hw.formats import FORMATS, Operand
from hw.formats.pairs import Accumulator, PairShape, pairs, sum_bits
from hw.pe.exponent_integer import OutputStationaryElement, SmallMultiplier, WeightStationaryElement
from hw.pe.exponent_integer_times import (
    output_latency,
    product_bits,
    product_latency,
    shift_cycles,
    weight_latency,
)
from hw.timing import OUTPUT_ELEMENT, WEIGHT_ELEMENT
from sim import decoded

COUNT = 12
"""Most products of a sum."""
KINDS = {
    "int8": ("int8", "int8", None),
    "int4 by int8": ("int8", "int4", None),
    "ovp4": ("ovp4-int4", "ovp4-int4", None),
    "flint4 pairs": ("ovp4-flint4", "int8", None),
    "mxfp4": ("mxfp4", "mxfp4", None),
    "mxfp6": ("mxfp6-e3m2", "mxfp6-e2m3", None),
    "mxfp8": ("mxfp8-e4m3", "mxfp8-e4m3", None),
    "mxfp8 aligned": ("mxfp8-e4m3", "mxfp8-e4m3", 24),
    "wide": ("mxfp8-e5m2", "mxfp8-e5m2", None),
    "wide aligned": ("mxfp8-e5m2", "mxfp8-e5m2", 28),
    "ovp8": ("ovp8-int8", "ovp8-int8", None),
    "ternary": ("mxfp4", "ternary", None),
}


def simulate(dut, *benches):
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    for bench in benches:
        simulator.add_testbench(bench)
    simulator.run()


def accumulator(kind):
    a, w, window = KINDS[kind]
    a, w = FORMATS[a], FORMATS[w]
    return Accumulator.exact(a, w, COUNT) if window is None else Accumulator.aligned(a, w, COUNT, window)


def draw(format, random, count):
    """Pairs of random codes of all tables, outliers too; the first ones are the extremes."""
    table = pairs(format)
    where = random.integers(0, table.integers.size, count)
    values = table.integers << table.exponents
    where[:3] = [values.argmin(), values.argmax(), values.argmin()]
    return list(zip(table.exponents.flat[where].tolist(), table.integers.flat[where].tolist(), strict=True))


def put(ctx, port, shape, pair):
    fields = {"exponent": pair[0]} if shape.exponent_bits else {}
    ctx.set(port, {**fields, "integer": pair[1]})


def value(pair):
    return pair[1] << pair[0]


@pytest.mark.parametrize("kind", KINDS)
def test_output_stationary(kind):
    """Sums of 1, 2, ... products one after another without a gap."""
    formats = [FORMATS[name] for name in KINDS[kind][:2]]
    shapes, sums = [PairShape.of(one) for one in formats], accumulator(kind)
    dut = OutputStationaryElement(
        activation=shapes[0], weight=shapes[1], sum_width=sums.width, dropped=sums.dropped
    )
    lengths = [4, COUNT, 1, 2, *range(1, COUNT)]
    random, steps = np.random.default_rng(len(kind)), sum(lengths)
    a, w = (draw(one, random, steps) for one in formats)
    # The most that there is, of one sign.
    for place in range(4, 4 + COUNT):
        a[place], w[place] = a[0], w[0]
    due, ends = {}, set()
    for start, length in zip(np.cumsum([0, *lengths]).tolist(), lengths, strict=False):
        ends.add(start + length - 1)
        span = slice(start, start + length)
        due[start + length - 1 + output_latency(*shapes)] = decoded.total(
            map(value, a[span]), map(value, w[span]), width=sums.width, dropped=sums.dropped
        )
    seen = {}

    async def bench(ctx):
        for now in range(steps + 10):
            live = now < steps
            put(ctx, dut.activation, shapes[0], a[now] if live else (0, 0))
            put(ctx, dut.weight, shapes[1], w[now] if live else (0, 0))
            ctx.set(dut.last, now in ends)
            if now and live:
                assert (ctx.get(dut.activation_next.integer), ctx.get(dut.last_next)) == (
                    a[now - 1][1],
                    now - 1 in ends,
                )
                assert ctx.get(dut.weight_next.integer) == w[now - 1][1]
            result = ctx.get(dut.result)
            if ctx.get(dut.valid):
                seen[now] = result - (result >> sums.width - 1 << sums.width)
            else:
                assert result == 0
            await ctx.tick()

    simulate(dut, bench)
    assert seen == due


@pytest.mark.parametrize("kind", ["int8", "ovp4", "mxfp4", "mxfp8", "mxfp8 aligned", "ovp8"])
def test_weight_stationary(kind):
    """Three weights, each captured while the one before is held; a partial sum comes with every activation."""
    formats = [FORMATS[name] for name in KINDS[kind][:2]]
    shapes, sums = [PairShape.of(one) for one in formats], accumulator(kind)
    dut = WeightStationaryElement(
        activation=shapes[0], weight=shapes[1], sum_width=sums.width, dropped=sums.dropped
    )
    latency, random, each = weight_latency(*shapes), np.random.default_rng(len(kind)), 5
    a, w = draw(formats[0], random, 3 * each), draw(formats[1], random, 3)
    half = 1 << sums.width - 1
    above = random.integers(-min(half, 1 << 60) // 4, min(half, 1 << 60) // 4, 3 * each).tolist()

    async def bench(ctx):
        for now in range(3 * each + 20):
            tile, step = divmod(now, each)
            # Captured in the first cycle of its five, swapped in with the fifth, held from the next on.
            put(ctx, dut.weight, shapes[1], w[tile] if tile < 3 and step == 0 else (0, 7 % 2))
            ctx.set(dut.capture, step == 0 and tile < 3)
            ctx.set(dut.swap, step == each - 1)
            index = now - each
            live = 0 <= index < len(a)
            put(ctx, dut.activation, shapes[0], a[index] if live else (0, 0))
            index = now - each - (latency - 1)
            ctx.set(dut.sum, above[index] if 0 <= index < len(a) else 0)
            index = now - each - latency
            if 0 <= index < len(a):
                added = decoded.total(
                    [value(a[index])], [value(w[index // each])], width=sums.width, dropped=sums.dropped
                )
                assert ctx.get(dut.sum_next) == (above[index] + added + half) % (2 * half) - half, now
            await ctx.tick()

    simulate(dut, bench)


def test_latencies():
    """As long as the elements of int8, but for long shifts."""
    shapes = {
        name: PairShape.of(FORMATS[name])
        for name in ("int8", "ovp4-int4", "mxfp4", "mxfp8-e4m3", "ovp8-int8")
    }
    assert [shift_cycles(one, one) for one in shapes.values()] == [0, 0, 0, 1, 1]
    for one in shapes.values():
        assert output_latency(one, one) - OUTPUT_ELEMENT == shift_cycles(one, one)
        assert weight_latency(one, one) - WEIGHT_ELEMENT == shift_cycles(one, one)
        assert product_latency(one, one) == 3 + shift_cycles(one, one)
    assert product_bits(shapes["ovp4-int4"], shapes["mxfp4"]) == 4 + 4 + 3 + 2


def test_accumulators():
    e4m3 = FORMATS["mxfp8-e4m3"]
    assert Accumulator.exact(e4m3, e4m3, 256) == Accumulator(width=45)
    assert Accumulator.aligned(e4m3, e4m3, 256, 24) == Accumulator(width=32, dropped=13)
    assert Accumulator.aligned(e4m3, e4m3, 256, 40) == Accumulator.exact(e4m3, e4m3, 256)
    # Cut off to minus infinity, the least product is the one that counts.
    assert sum_bits(e4m3, e4m3, 1, dropped=13) == 24


def test_matmul():
    x, w = FORMATS["ovp4-int4"], FORMATS["int8"]
    random = np.random.default_rng(3)
    numbers = random.integers(-7, 8, (3, 6))
    numbers[1] = [96, 0, 0, -12, 7, 7]
    weights = random.integers(-128, 128, (6, 2))
    operands = Operand.activations(x, numbers), Operand.weights(w, weights)
    assert np.array_equal(decoded.matmul(*operands, width=32), numbers @ weights)
    cut = (numbers[:, :, None] * weights >> 3).sum(1)
    assert np.array_equal(decoded.matmul(*operands, width=32, dropped=3), cut)
    assert decoded.total([8], [8], width=7) == -64


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sum_width": 1}, "sum_width must be 2 to 80, not 1"),
        ({"sum_width": 81}, "sum_width must be 2 to 80, not 81"),
        ({"dropped": -1}, "dropped must be 0 to 15, not -1"),
        ({"dropped": 16}, "dropped must be 0 to 15, not 16"),
    ],
)
@pytest.mark.parametrize("element", [OutputStationaryElement, WeightStationaryElement])
def test_errors(element, changes, message):
    arguments = {"activation": PairShape(3, 4, 4), "weight": PairShape(3, 4, 4), "sum_width": 32}
    with pytest.raises(ValueError, match=message):
        element(**arguments | changes)
    with pytest.raises(TypeError):
        element(**arguments | {"sum_width": 20.5})


def test_multiplier_refuses():
    with pytest.raises(ValueError, match="a_width must be 1 or more, not 0"):
        SmallMultiplier(a_width=0, b_width=3)
