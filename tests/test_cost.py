"""The cost of a work: every number follows from the programs of its products."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from gen import config, report
from gen.compiler import compile_gemm
from gen.cost import cost
from gen.errors import RequestError
from gen.models.shapes import Product
from gen.models.work import Work
from hw.control.isa import OutputMode
from sim.cycles.program import predict

PRODUCTS = (
    Product(kind="up", M=8, K=16, N=24, count=3),
    Product(kind="down", M=8, K=40, N=8),
    Product(kind="qk", M=8, K=16, N=24, count=2, cached=True),
)
WORK = Work(name="small", products=PRODUCTS, tokens=8)


@pytest.fixture(scope="module")
def found():
    return cost(config.load("systolic-8x8"), WORK, clock_mhz=50.0)


def test_sums(found):
    loaded = config.load("systolic-8x8")
    cycles = {}
    for product in PRODUCTS:
        program = compile_gemm(
            loaded.design(), loaded.instance, product.M, product.K, product.N, mode=OutputMode.REQUANTISED
        )
        wanted = predict(loaded.design(), loaded.instance.model().law(), program.instructions)
        cycles[product.kind] = product.count * wanted.cycles
    document = found.as_dict()
    assert {row["kind"]: row["cycles"] for row in document["products"]} == cycles
    total = document["total"]
    assert total["cycles"] == found.cycles == sum(cycles.values())
    assert total["count"] == 6
    for key in ("cycles", "array_steps", "multiplications", "bytes", "instructions"):
        assert total[key] == sum(row[key] for row in document["products"])
    for key in ("beats", "bits_moved"):
        for name, value in total[key].items():
            assert value == sum(row[key][name] for row in document["products"])


def test_times(found):
    assert found.seconds == found.cycles / 50e6
    assert found.tokens_per_second == 8 / found.seconds
    without = cost(config.load("systolic-8x8"), WORK)
    assert without.seconds is without.tokens_per_second is None
    with pytest.raises(ValueError, match="clock_mhz must be more than 0, not 0"):
        cost(config.load("systolic-8x8"), WORK, clock_mhz=0)


def test_numbers_by_hand(found):
    """8 x 16 x 24 on 8 x 8 elements: three tiles of 16 steps; a bus of 8 bytes, words of 8 bytes."""
    row = found.as_dict()["products"][0]
    assert row["multiplications"] == 3 * 8 * 16 * 24
    assert row["array_steps"] == 3 * 3 * 16
    assert row["utilisation"]["array"] == row["multiplications"] / (64 * row["cycles"])
    # Activations, weights, parameters; results of a byte each, a row of them three beats.
    loaded, stored = (8 * 16 + 16 * 24 + 24 * 16) // 8, 8 * 3
    assert (row["beats"]["load"], row["beats"]["store"]) == (3 * loaded, 3 * stored)
    assert row["beats"]["fetch"] == 4 * row["instructions"]
    assert row["bytes"] == 8 * row["beats"]["all"]
    reads = 3 * 3 * 64 * (8 * 2 + 16)
    assert row["bits_moved"]["bus"] == 64 * row["beats"]["all"]
    assert row["bits_moved"]["scratchpads"] == 64 * row["beats"]["load"] + reads
    assert row["bits_moved"]["accumulators"] == 3 * 32 * 2 * 8 * 24


def test_document(found):
    document = found.as_dict()
    assert json.loads(json.dumps(document)) == document
    assert document["memory"] == {
        "read_latency": 20, "write_latency": 20, "interval": 1, "outstanding": 8
    }  # fmt: skip
    console = Console(width=140, file=io.StringIO())
    console.print(report.workload(document))
    text = console.file.getvalue()
    assert "small on systolic-8x8" in text
    assert "8 x 16 x 24" in text
    assert f"{found.cycles:,}" in text
    assert "tokens/s" in text


def test_keys_and_values_in_int8():
    """Products with keys and values take the array's int8 weights, whatever the others have; and one is needed."""
    found = cost(config.load("mx-8x8"), WORK, formats=(None, "mxfp4"))
    assert [line.weights for line in found.lines][:2] == ["mxfp4", "mxfp4"]
    assert found.lines[2].weights == "int8"
    with pytest.raises(RequestError, match="weights 'int8': must be one of"):
        cost(config.load("lut-ternary-m2n64k4"), WORK)
