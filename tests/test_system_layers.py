"""Layers of a real model in few bits: bit for bit, to the cycle, and near the layer in floats."""

import re
from pathlib import Path

import numpy as np
import pytest

from gen import config, run, workload
from gen.models import fetch
from gen.models.file import ModelFile
from gen.models.llama import Llama
from gen.options import Options
from sim.quantise import quantise

README = Path(__file__).resolve().parent.parent / "README.md"
LEAST = {"int6": 30, "fp4-mixed": 24, "fp3-mixed": 18}
"""dB between a layer's results and their error, by the format of its weights."""
LOOKUP, LOOKUPS = "lut-m2n64k4", ("int4-s8", "int2-s8", "ternary-s8")
TOKENS = 8


def values(load, entering, matrix):
    """What the results stand for: those of int8 share a scale that makes the largest 127."""
    result = load.golden().astype(np.float64)
    if load.floats:
        return result
    x = quantise(entering, load.x.format.shared_by("tensor")).values()
    w = quantise(matrix.T, load.w.format).values()
    return result * np.abs(x @ w.T).max() / 127


def check(preset, layers, least=LEAST, tokens=TOKENS, overrides=()):
    """Signal to error in dB, by layer and format."""
    model = Llama(ModelFile(fetch.fetch("smollm2")), keep=True)
    numbers = model.tokenizer.encode(workload.PROMPT)
    loaded = config.load(preset, list(overrides))
    family = loaded.instance
    todo = [(layer, weights) for layer in layers for weights in least]
    loads = [
        workload.of_layer(
            "smollm2", layer, tokens, "requantised", formats=family.pairs[family.variant(weights=weights)],
            family=family,
        )
        for layer, weights in todo
    ]  # fmt: skip
    found = {}
    for (layer, weights), load, document in zip(todo, loads, run.run(loaded, loads, Options()), strict=True):
        assert document["pass"], (layer, weights, document)
        assert document["cycles"]["measured"] == document["cycles"]["predicted"]
        entering, matrix = model.entering(layer, numbers)[-tokens:], model.weights(layer)
        wanted = entering @ matrix
        error = values(load, entering, matrix) - wanted
        ratio = 20 * np.log10(np.linalg.norm(wanted) / np.linalg.norm(error))
        print(preset, layer, weights, f"{ratio:.2f} dB")
        assert ratio > least[weights]
        found[layer, weights] = ratio
    return found


@pytest.mark.parametrize(
    "preset", [pytest.param(name, marks=pytest.mark.long) for name in ("bitmod-int8-8x8", "bitmod-fp16-4x4")]
)
def test_a_layer(preset):
    check(preset, ["blk.0.attn_k"])


@pytest.mark.long
def test_a_layer_by_lookups():
    check(LOOKUP, ["blk.0.attn_k"], dict(zip(LOOKUPS, (25, 9, 4), strict=True)))


@pytest.mark.long
@pytest.mark.parametrize("dataflow", ["output-stationary", "weight-stationary"])
def test_a_layer_by_two_products_in_a_dsp_block(dataflow):
    """int4, with a scale for a feature."""
    overrides = ["pe.multiplier=dsp", f"array.dataflow={dataflow}"]
    check("systolic-8x8", ["blk.0.attn_k"], {"int4": 24}, overrides=overrides)


@pytest.mark.long
def test_a_layer_of_gguf_as_it_is():
    """Codes, scales and minimums of the file: what is lost is lost with the activations."""
    check("lut-gguf-m2n64k4", ["blk.0.attn_k"], {"q4_1": 35}, tokens=2)


@pytest.mark.long
def test_a_layer_by_quantised_tables():
    """fp16 activations: what is lost is lost with the weights, but for four bits."""
    least = {"int4-asym": 18, "int2-asym": 0}
    check("lut-int8tables-m2n64k4", ["blk.0.attn_k"], least, tokens=2)


@pytest.mark.long
@pytest.mark.parametrize(("group", "least"), [
    (32, {"q4_0": 30, "int4": 28}), (128, {"int4": 27, "int4-asym": 28, "ternary": 3}),
])  # fmt: skip
def test_layers_by_fp16_lookups(group, least):
    """Activations are the model's, in half precision."""
    check("lut-fp16-m2n64k4", ["blk.0.attn_k"], least, tokens=2, overrides=[f"array.group={group}"])


@pytest.mark.long
@pytest.mark.parametrize(
    ("layer", "tokens", "least"),
    [
        ("blk.0.attn_q", TOKENS, (27, 11, 3)),
        ("blk.0.ffn_up", 1, (10, -4, 2)),
        ("blk.0.ffn_down", 3, (20, 5, 4)),
    ],
)
def test_larger_layers_by_lookups(layer, tokens, least):
    """Of whole groups, too, and of a single token, for which two bits are too few."""
    check(LOOKUP, [layer], dict(zip(LOOKUPS, least, strict=True)), tokens)


@pytest.mark.long
@pytest.mark.parametrize(("preset", "place"), [("bitmod-int8-8x8", 0), ("bitmod-fp16-4x4", 1)])
def test_a_larger_layer(preset, place):
    """Errors are those that the README shows."""
    found = check(preset, ["blk.0.attn_q"])
    shown = re.findall(
        r"^\| `(\S+)` \| .* \| (\S+) dB \| .* \| (\S+) dB \|$", README.read_text(), re.MULTILINE
    )
    assert {weights: errors[place] for weights, *errors in shown} == {
        weights: f"{-found['blk.0.attn_q', weights]:.1f}" for weights in LEAST
    }
