"""Layers of a real model in formats decoded at the borders: bit for bit, to the cycle, and near the layer in floats; weights
that stay."""

import numpy as np
import pytest
from systems import check as check_system

from gen import config, run, workload
from gen.cases import Case
from gen.compiler import compile_gemm
from gen.documentation import DOCS
from gen.models import fetch
from gen.models.file import ModelFile
from gen.models.llama import Llama
from gen.options import Options
from hw.control.isa import OutputMode
from sim.cycles.program import predict
from sim.quantise import quantise

OLIVE, MX = "olive-8x8", "mx-8x8"
LEAST = {
    OLIVE: {("ovp4-int4", "ovp4-int4"): 17, ("ovp4-flint4", "ovp4-flint4"): 17, ("int8", "ovp4-int4"): 19},
    MX: {
        ("mxfp4", "mxfp4"): 17,
        ("mxfp6-e2m3", "mxfp6-e2m3"): 29,
        ("mxfp8-e4m3", "mxfp8-e4m3"): 29,
        ("nvfp4", "nvfp4"): 22,
        ("mxfp8-e4m3", "mxfp4"): 20,
    },
}
"""dB between a layer's results and their error, by activations and weights."""


def values(load, entering, matrix):
    """What the results stand for: those of int8 share a scale that makes the largest 127."""
    result = load.golden().astype(np.float64)
    if load.floats:
        return result
    x = quantise(entering, load.x.format.shared_by("tensor")).values()
    w = quantise(matrix.T, load.w.format).values()
    return result * np.abs(x @ w.T).max() / 127


def check(preset, layer, pairs, tokens):
    """Simulated, predicted, and near enough to floats."""
    model = Llama(ModelFile(fetch.fetch("smollm2")), keep=True)
    loaded = config.load(preset)
    family = loaded.instance
    loads = [
        workload.of_layer(
            "smollm2", layer, tokens, "requantised", formats=family.pairs[family.variant(*names)], family=family
        )
        for names in pairs
    ]  # fmt: skip
    entering = model.entering(layer, model.tokenizer.encode(workload.PROMPT))[-tokens:]
    matrix = model.weights(layer)
    wanted = entering @ matrix
    for names, load, document in zip(pairs, loads, run.run(loaded, loads, Options()), strict=True):
        assert document["pass"], (names, document)
        assert document["cycles"]["measured"] == document["cycles"]["predicted"]
        error = values(load, entering, matrix) - wanted
        ratio = 20 * np.log10(np.linalg.norm(wanted) / np.linalg.norm(error))
        print(preset, layer, names, f"{ratio:.2f} dB")
        assert ratio > LEAST[preset][names]


@pytest.mark.long
@pytest.mark.parametrize("layer", ["blk.0.attn_q", "blk.0.ffn_down"])
@pytest.mark.parametrize("preset", LEAST)
def test_layers(preset, layer):
    """Activations and weights of 4 to 8 bits."""
    check(preset, layer, list(LEAST[preset]), 8)


SMALL = (
    "array.rows=4",
    "array.columns=5",
    "bus.data_width=128",
    "memory.activations_kib=1",
    "memory.weights_kib=1",
)
EIGHT = (
    'array.activations=["ovp8-int8-e2m5", "ovp4-int4", "int3"]',
    'array.weights=["ovp8-int8-e2m5", "ternary"]',
)


@pytest.mark.long
@pytest.mark.parametrize("overrides", [(), (*SMALL, *EIGHT)], ids=["8x8", "4x5"])
def test_weights_that_stay(overrides):
    """Weight-stationary: slots of 4 and 8 bits, raw and requantised, sizes that end within tiles and words."""
    overrides = ('array.dataflow="weight-stationary"', *overrides)
    pairs = config.load(OLIVE, overrides).instance.pairs
    sizes = [(1, 1, 1), (9, 131, 17), (20, 48, 33)]
    cases = [
        Case(sizes[number % 3], OutputMode(number % 2), seed=number, activations=x.name, weights=w.name)
        for number, (x, w) in enumerate(pairs)
    ]
    assert len(check_system(OLIVE, overrides, cases)) == len(pairs)


@pytest.mark.parametrize(
    ("name", "sizes", "cycles"),
    [
        ("nvfp4", (64, 576, 1536), "222,660"),
        ("mxfp8-e4m3", (64, 576, 1536), "228,033"),
        ("nvfp4", (8, 576, 576), "23,614"),
        ("mxfp8-e4m3", (8, 576, 576), "24,100"),
    ],
)
def test_cycles_with_blocks_that_stay_are_those_of_the_page(name, sizes, cycles):
    """Of the array with a row for each step of a block."""
    loaded = config.load("mx-ws-16x16")
    family, design = loaded.instance, loaded.design()
    program = compile_gemm(design, family, *sizes, mode=OutputMode.REQUANTISED, formats=(name, name))
    expected = predict(design, family.model().law(), program.instructions, Options().timing)
    assert f"{expected.cycles:,}" == cycles
    assert cycles in (DOCS / "decoded.md").read_text()
