# amaranth: UnusedElaboratable=no
"""Whole arrays that are measured: what they compute, and the rows of figures."""

from __future__ import annotations

import json

import numpy as np
import pytest
from amaranth.sim import Simulator

from fpga import synthesis
from fpga.whole_arrays import DecodedMatrix, PlainMatrix, StationaryMatrix
from gen.bench import decoded_array, decoded_layers
from hw.array.decoded.geometry import DecodedArray
from hw.array.weight_stationary import WeightStationaryArray
from hw.formats import FORMATS
from hw.timing import CORNER_TURN

ROWS, COLUMNS, WORD = 3, 2, 4


def use(component):
    """Keep Amaranth from complaining that it was not elaborated."""
    component._MustUse__used = True
    return component


def test_formats_that_do_not_fit_bytes() -> None:
    for name in ("ovp4-flint4", "int8"):
        with pytest.raises(
            ValueError, match=f"format must have 4 bits, 8 of integers and zero at 0, not be {name}"
        ):
            PlainMatrix(rows=ROWS, columns=COLUMNS, data_bytes=WORD, format=FORMATS[name])


@pytest.mark.parametrize("name", [None, "int4", "ovp4-int4"])
def test_sums_of_a_word_of_each_row(name) -> None:
    """Codes of all values, outliers and victims among them; against the format's own tables."""
    generator = np.random.default_rng(5)
    x, w = (generator.integers(0, 256, (size, WORD), np.uint8) for size in (ROWS, COLUMNS))
    format = name and FORMATS[name]
    if name == "ovp4-int4":
        # Two identifiers are no pair.
        x, w = (np.where(each == 0x88, 0x85, each).astype(np.uint8) for each in (x, w))
    matrix = PlainMatrix(rows=ROWS, columns=COLUMNS, data_bytes=WORD, format=format)
    steps = WORD * (2 if format else 1)

    def numbers(data: np.ndarray) -> np.ndarray:
        if format is None:
            return data.view(np.int8).astype(np.int64)
        codes = np.stack([data & 15, data >> 4], axis=-1).reshape(len(data), -1)
        return format.decode(codes)

    found: dict[int, list[int]] = {}

    async def bench(ctx) -> None:
        for cycle in range(60):
            step = cycle if cycle < steps else None
            if cycle < ROWS:
                ctx.set(matrix.word, int.from_bytes(x[cycle].tobytes(), "little"))
            control = {"load": 0, "index": 0, "valid": 0, "last": 0, "ends": 0}
            if step is not None:
                control |= {
                    "load": step == 0,
                    "index": step * WORD // steps,
                    "valid": 1,
                    "last": step == steps - 1,
                }
            ctx.set(matrix.row, control)
            late = cycle - CORNER_TURN
            inside = 0 <= late < steps
            ctx.set(matrix.weights, [int(each[late * WORD // steps]) if inside else 0 for each in w])
            if format:
                ctx.set(matrix.odd, (step or 0) % 2)
                ctx.set(matrix.weights_odd, late % 2 if inside else 0)
            for column in range(COLUMNS):
                value = ctx.get(matrix.results[column])
                found.setdefault(column, []).append(value - (value >> 31 << 32))
            await ctx.tick()

    simulator = Simulator(matrix)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    wanted = numbers(x) @ numbers(w).T
    for column, several in found.items():
        assert [value for value in several if value] == wanted[:, column].tolist()


def test_arrays_are_made_of_a_format_alone() -> None:
    for name, block in (("ovp4-int4", 0), ("mxfp4", 16), ("nvfp4", 16)):
        array = decoded_array.array_of(name)
        assert (array.pairs, array.block) == (((FORMATS[name],) * 2,), block)
        matrix = use(decoded_array.whole(name))
        assert isinstance(matrix, DecodedMatrix)
        assert ("scaling" in matrix.signature.members) == bool(block)
    array = decoded_array.array_of("olive-8x8", 16)
    assert (array.rows, array.columns, len(array.pairs)) == (16, 16, 30)
    array = decoded_array.array_of("mx-8x8", 16)
    assert (array.block, len(array.pairs)) == (32, 36)
    assert isinstance(array, DecodedArray)
    assert isinstance(use(decoded_array.whole(decoded_array.PLAIN)), PlainMatrix)


@pytest.mark.parametrize(("comb", "size", "held"), [(9000, 10, True), (12000, 10, False), (9000, 90, False)])
def test_rows_of_arrays(monkeypatch, comb, size, held) -> None:
    """One that is no smaller than plain int8, or whose decoders are too large a part, is missed."""

    def measure(component, *, flow):
        small = isinstance(use(component), DecodedMatrix) and not flow.dsp
        return synthesis.Placed(
            area=synthesis.Area(luts=comb if small else 11000, flip_flops=7, dsps=0, block_rams=0),
            frequencies=(120.0,), seeds=(1,), flow=flow,
        )  # fmt: skip

    def sized(component):
        if isinstance(use(component), (DecodedMatrix, PlainMatrix, StationaryMatrix, WeightStationaryArray)):
            return 500_000 if len(component.results) == 64 else 50_000
        return size

    monkeypatch.setattr(decoded_array, "measure", measure)
    monkeypatch.setattr(decoded_array, "size", sized)
    said: list[str] = []
    shares, blocks, stationary = decoded_array.rows(said.append)
    integers, floats = decoded_array.placed_rows(said.append)
    assert [row.key for row in (shares, blocks, stationary)] == ["decoded-array"] * 3
    assert [row.key for row in (integers, floats)] == ["decoded-clock"] * 2
    assert stationary.values["olive-8x8"]["16"]["decoders"] == 2 * 16 * size
    assert stationary.values["plain int8"] == {"8": 50_000, "16": 50_000}
    assert bool(shares.held and integers.held) == held
    assert floats.held is None
    assert shares.values["ovp4-int4"]["64"]["decoders"] == 2 * 64 * size
    assert blocks.values["mx-8x8"]["16"]["scalers"] == 16 * size
    assert shares.values["plain int8"] == {"8": 50_000, "16": 50_000, "64": 500_000}
    assert integers.values["plain int8"]["luts"] == 11000
    assert "ovp4-int4: 9,000 COMB, 7 FF, 0 DSP, 120 MHz" in integers.measured or comb != 9000
    json.dumps([row.document() for row in (shares, blocks, stationary, integers, floats)])


def test_layers_that_are_not_there(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(decoded_layers, "model", lambda: None)
    (row,) = decoded_layers.rows(lambda _: None)
    assert row.measured == "not measured: the model is not there (gatemill models get smollm2)"
    assert row.held is None


@pytest.mark.long
def test_layers() -> None:
    """Of docs/decoded.md."""
    said: list[str] = []
    rows = decoded_layers.rows(said.append)
    assert len(said) == 26
    one = rows[0].values["olive-8x8 ovp4-int4 ovp4-int4"]
    assert (one["cycles"], round(one["error_db"], 1)) == (43_311, -20.8)
    one = rows[1].values["mx-8x8 nvfp4 nvfp4"]
    assert (one["cycles"], round(one["error_db"], 1)) == (120_590, -22.2)
