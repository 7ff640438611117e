# amaranth: UnusedElaboratable=no
"""Sums of products of floating-point elements: exact, and no larger than they were measured."""

from __future__ import annotations

import numpy as np
import pytest
from amaranth.hdl import Fragment, Value
from amaranth.sim import Simulator

from fpga.dot_pairs import PairDot
from fpga.synthesis import Area, Placed
from gen.bench import exponent_integer
from hw.formats import FORMATS

STEPS = 60


@pytest.mark.parametrize("name", exponent_integer.DOTS)
@pytest.mark.parametrize("k", [2, 4])
def test_sums(name, k):
    """Of random codes and of the largest, of one sign and of both."""
    format = FORMATS[name]
    random = np.random.default_rng(k)
    used = [code for code, value in enumerate(format.values) if value is not None]
    a, b = random.choice(used, (2, STEPS, k))
    most = format.values.index(format.maximum)
    a[:8], b[:8] = most, most
    b[4:8] |= 1 << format.bits - 1
    begins = {0, 4, *random.integers(8, STEPS, 6).tolist()}
    dut = PairDot(format=format, total_bits=exponent_integer.DOTS[name].total_bits, k=k)
    products = (format.decode(a) * format.decode(b)).sum(1)

    async def bench(ctx):
        due = 0
        for step in range(STEPS):
            ctx.set(dut.a, a[step].tolist())
            ctx.set(dut.b, b[step].tolist())
            ctx.set(dut.keep, step not in begins)
            await ctx.tick()
            due = products[step] + (0 if step in begins else due)
            assert ctx.get(dut.total) == due

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


def test_every_product():
    """Of E3M2 by itself, all 4,096."""
    format = FORMATS["mxfp6-e3m2"]
    dut = PairDot(format=format, total_bits=28, k=2)
    values = format.values

    async def bench(ctx):
        for a in range(64):
            for b in range(0, 64, 2):
                ctx.set(dut.a, [a, a])
                ctx.set(dut.b, [b, b + 1])
                await ctx.tick()
                assert ctx.get(dut.total) == values[a] * (values[b] + values[b + 1])

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"k": 3}, "k must be a power of two, 2 or more, not 3"),
        ({"total_bits": 10}, "total_bits must be 11 or more, not 10"),
        ({"format": FORMATS["int4"]}, "format must have a sign bit, not be int4"),
    ],
)
def test_errors(changes, message):
    with pytest.raises(ValueError, match=message):
        PairDot(**{"format": FORMATS["mxfp4"], "total_bits": 24} | changes)


@pytest.mark.parametrize("name", ["mxfp4"])
def test_size(name):
    assert exponent_integer.dot(name, exponent_integer.BEST) == exponent_integer.DOTS[name].best


@pytest.mark.long
@pytest.mark.parametrize("name", exponent_integer.DOTS)
def test_sizes(name):
    """As measured, and smaller than what was published, with equal options."""
    known = exponent_integer.DOTS[name]
    assert exponent_integer.dot(name, exponent_integer.EQUAL) == known.equal
    assert exponent_integer.dot(name, exponent_integer.BEST) == known.best
    assert exponent_integer.together(*known.equal) < 0.6 * exponent_integer.together(*known.published)


def test_rows(monkeypatch):
    """Elements are compared with those of plain integers, units with published ones, equal options alone."""
    size = {"PairDot": (200, 30), "Decoder": (8, 0), "Dequantiser": (16, 0)}

    def luts(component, *_):
        Fragment.get(component, None)
        return size[type(component).__name__]

    def placed(component, *, flow, seeds):
        Fragment.get(component, None)
        luts = 100 + 10 * len(Value.cast(component.activation))
        area = Area(luts=luts, flip_flops=1, dsps=0, block_rams=0)
        return Placed(area=area, frequencies=(100.0,) * len(seeds), seeds=tuple(seeds), flow=flow)

    monkeypatch.setattr(exponent_integer, "luts", luts)
    monkeypatch.setattr(exponent_integer, "measure", placed)
    elements, *dots = exponent_integer.rows(lambda text: None)
    assert [row.held for row in dots] == [True] * 4
    assert "260, 1.20 times smaller" in dots[0].measured
    assert set(elements.values["dequantised"]) == {
        "OVP-4 on plain int8", "MXFP4 on plain int8", "MXFP4 on plain int5",
    }  # fmt: skip
    monkeypatch.setitem(size, "PairDot", (400, 30))
    assert not exponent_integer.rows(lambda text: None)[1].held
