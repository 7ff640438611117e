# amaranth: UnusedElaboratable=no
"""Decoders give what the tables have, for every code of every format, on both sides of a pair."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from amaranth.hdl import Fragment
from amaranth.sim import Simulator

from fpga.dequantised import Dequantiser
from gen.bench import decoders
from hw.formats import FORMATS, PairFormat
from hw.formats.pairs import PairShape, pairs
from hw.pe.decoder import MOST_BITS, Decoder, PairDecoder
from hw.timing import DECODER

PAIRS = [name for name, one in FORMATS.items() if isinstance(one, PairFormat)]
GROUPS = [
    *([name] for name, one in FORMATS.items() if one.bits <= 8),
    ["int4", "ovp4-int4", "mxfp4"],
    ["mxfp8-e4m3", "int8", "fp4-mixed", "ovp4-flint4", "ternary"],
]


def simulate(dut, bench):
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


def fields(ctx, pair, shape):
    return ctx.get(pair.exponent) if shape.exponent_bits else 0, ctx.get(pair.integer)


@pytest.mark.parametrize("names", GROUPS, ids="+".join)
def test_every_code(names):
    """One a cycle, under every selector, with and without a victim beside it; the bits above a code set."""
    formats = [FORMATS[name] for name in names]
    dut = Decoder(formats=formats)
    bits = len(dut.code)
    given, due = [], []
    for place, format in enumerate(formats):
        table, above = pairs(format), -1 << format.bits & (1 << bits) - 1
        sides = (
            ((0, False), (format.identifier, True)) if isinstance(format, PairFormat) else ((above, False),)
        )
        for selector, code, (neighbour, victim) in itertools.product(
            range(len(format.tables)), range(1 << format.bits), sides
        ):
            row = len(format.tables) if victim else selector
            given.append((place, selector, code | above, neighbour | above))
            zero = isinstance(format, PairFormat) and code == format.identifier
            expected = (int(table.exponents[row, code]), int(table.integers[row, code]))
            due.append((0, 0) if zero else expected)
    ports = [getattr(dut, name, None) for name in ("format", "selector", "code", "neighbour")]

    async def bench(ctx):
        for now in range(len(given) + DECODER):
            if now >= DECODER:
                assert fields(ctx, dut.pair, dut.shape) == due[now - DECODER], given[now - DECODER]
            for port, value in zip(ports, given[min(now, len(given) - 1)], strict=True):
                if port is not None:
                    ctx.set(port, value)
            await ctx.tick()

    simulate(dut, bench)


@pytest.mark.parametrize("name", PAIRS)
def test_pairs(name):
    """As the format decodes them: normal pairs, a victim on either side; two victims are two zeros."""
    format = FORMATS[name]
    random, shape = np.random.default_rng(1), PairShape.of(format)
    outliers = [code for code, value in enumerate(format.outliers) if value is not None]
    normals = [code for code in range(1 << format.bits) if code != format.identifier]
    given = [(code, format.identifier) for code in outliers]
    given += [(format.identifier, code) for code in outliers]
    given += random.choice(normals, (60, 2)).tolist()
    due = format.decode(np.array(given)).tolist()
    given.append((format.identifier, format.identifier))
    due.append([0, 0])
    dut = PairDecoder(format=format)

    async def bench(ctx):
        for codes, values in zip(given, due, strict=True):
            ctx.set(dut.codes, codes)
            await ctx.tick().repeat(DECODER)
            seen = [fields(ctx, dut.pairs[odd], shape) for odd in (0, 1)]
            assert [integer << exponent for exponent, integer in seen] == values

    simulate(dut, bench)


def test_a_wider_pair():
    shape = PairShape.of(FORMATS["mxfp4"], FORMATS["int8"])
    dut = Decoder(formats=[FORMATS["int8"]], shape=shape)

    async def bench(ctx):
        ctx.set(dut.code, 0x85)
        await ctx.tick()
        assert fields(ctx, dut.pair, shape) == (0, 0x85 - 0x100)

    simulate(dut, bench)


def test_errors():
    with pytest.raises(ValueError, match="formats must be at least one, not none"):
        Decoder(formats=[])
    with pytest.raises(ValueError, match="formats must be of up to 8 bits, not fp16 of 16"):
        Decoder(formats=[FORMATS["fp16"]])
    with pytest.raises(ValueError, match=r"shape must be at least PairShape\(.*, not PairShape\("):
        Decoder(formats=[FORMATS["mxfp4"]], shape=PairShape(0, 8))
    with pytest.raises(TypeError, match="format must be one of pairs, not"):
        PairDecoder(format=FORMATS["int4"])


def test_a_byte_of_pairs_is_small():
    assert decoders.luts(PairDecoder(format=FORMATS[decoders.BYTE])) == (18, 0)


@pytest.mark.long
def test_bytes_of_pairs_are_small():
    assert decoders.pair_bytes() == {
        "ovp4-int4": 18,
        "ovp4-flint4": 18,
        "ovp8-int8": 21,
        "ovp8-int8-e2m5": 21,
    }


def test_formats_of_one_table_are_measured_once():
    names = [name for names in decoders.each_once() for name in names.split(" = ")]
    assert sorted(names) == sorted(name for name, one in FORMATS.items() if one.bits <= MOST_BITS)
    assert "int4 = int4-s8 = mxint4 = nvint4" in decoders.each_once()


@pytest.mark.parametrize("name", ["ovp4-int4", "mxfp4", "mxfp8-e4m3"])
def test_dequantiser(name):
    """Every code, and every outlier's."""
    format = FORMATS[name]
    dut = Dequantiser(format=format)
    tables = [(0, format.values)] + ([(format.identifier, format.outliers)] if name in PAIRS else [])

    async def bench(ctx):
        for neighbour, table in tables:
            for code, value in enumerate(table):
                ctx.set(dut.code, code)
                if name in PAIRS:
                    ctx.set(dut.neighbour, neighbour)
                await ctx.tick()
                assert ctx.get(dut.value) == (value or 0)

    simulate(dut, bench)
    with pytest.raises(ValueError, match="format must have one table, not be if4"):
        Dequantiser(format=FORMATS["if4"])


def test_rows(monkeypatch):
    """A byte of pairs must not be larger than what it is compared with; every format is in one row."""
    carries = 0

    def luts(component):
        Fragment.get(component, None)
        return (26, carries) if isinstance(component, PairDecoder) else (7, 0)

    monkeypatch.setattr(decoders, "luts", luts)
    table = decoders.rows(lambda text: None)
    assert table[0].held
    assert table[0].values == {"ovp4-int4": 26, "ovp4-flint4": 26, "ovp8-int8": 13, "ovp8-int8-e2m5": 13}
    assert sum(len(row.values) for row in table[1:]) == len(decoders.each_once())
    assert "mxfp8-e4m3: 7 (exponent 4, integer 5 bits)" in table[-1].measured
    carries = 1
    assert not decoders.rows(lambda text: None)[0].held
