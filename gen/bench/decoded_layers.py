"""Layers of SmolLM2-135M on arrays of decoded operands: error against the layer in floats, and cycles by the cycle model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gen import config, workload
from gen.bench.figures import Row
from gen.compiler import compile_gemm
from gen.options import Options
from gen.workload import Workload
from hw.control.isa import OutputMode
from sim.cycles.program import predict
from sim.quantise import quantise

Notify = Callable[[str], None]

MODEL, TITLE = "smollm2", "SmolLM2-135M"
LAYERS = ("blk.0.attn_q", "blk.0.ffn_down")
TOKENS = 8
PAIRS = {
    "olive-8x8": (
        ("int8", "int8"), ("int8", "ovp4-int4"), ("ovp4-int4", "ovp4-int4"), ("ovp4-flint4", "ovp4-flint4"),
        ("int4", "int4"), ("int8", "int4"), ("flint4", "flint4"),
    ),
    "mx-8x8": (
        ("mxfp8-e4m3", "mxfp8-e4m3"), ("mxfp6-e2m3", "mxfp6-e2m3"), ("mxfp8-e4m3", "mxfp4"), ("mxfp4", "mxfp4"),
        ("nvfp4", "nvfp4"), ("mxint8", "mxint8"),
    ),
}  # fmt: skip
"""By preset: formats of activations and weights."""


def model() -> Any | None:
    """The model; None if it has not been fetched."""
    from gen.models.fetch import find
    from gen.models.file import ModelFile
    from gen.models.llama import Llama

    path = find(MODEL)
    return None if path is None else Llama(ModelFile(path), keep=True)


def results(load: Workload, entering: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """What comes out, in units of the layer [tokens, features]; int8 of integers is scaled back."""
    found = load.golden().astype(float)
    if load.floats:
        return found
    x = quantise(entering, load.x.format.shared_by("tensor")).values()
    w = quantise(matrix.T, load.w.format).values()
    return found * np.abs(x @ w.T).max() / 127


def error_db(found: np.ndarray, wanted: np.ndarray) -> float:
    """Of the error, against what is wanted."""
    return float(20 * np.log10(np.linalg.norm(found - wanted) / np.linalg.norm(wanted)))


def cycles(preset: str, load: Workload) -> int:
    """By the cycle model."""
    loaded = config.load(preset)
    program = compile_gemm(
        loaded.design(), loaded.instance, *load.sizes, mode=OutputMode.REQUANTISED, formats=load.formats
    )
    return predict(
        loaded.design(), loaded.instance.model().law(), program.instructions, Options().timing
    ).cycles


def rows(notify: Notify) -> list[Row]:
    """One for each layer; one that says so if the model is not there."""
    llama = model()
    if llama is None:
        missing = f"not measured: the model is not there (gatemill models get {MODEL})"
        return [Row(key="decoded-layers", what=f"layers of {TITLE}", measured=missing)]
    numbers = llama.tokenizer.encode(workload.PROMPT)
    return [_row(llama, numbers, layer, notify) for layer in LAYERS]


def _row(llama: Any, numbers: list[int], layer: str, notify: Notify) -> Row:
    entering, matrix = llama.entering(layer, numbers)[-TOKENS:], llama.weights(layer)
    wanted = entering @ matrix
    lines, values = [], {}
    for preset, several in PAIRS.items():
        family = config.load(preset).instance
        for activations, weights in several:
            formats = family.pairs[family.variant(activations, weights)]
            load = workload.of_layer(MODEL, layer, TOKENS, "requantised", formats=formats, family=family)
            error = error_db(results(load, entering, matrix), wanted)
            count = cycles(preset, load)
            values[f"{preset} {activations} {weights}"] = {"cycles": count, "error_db": error}
            lines.append(f"{preset}, {activations} × {weights}: {count:,} cycles, {error:.1f} dB")
            notify(f"{layer}: {lines[-1]}")
    return Row(
        key="decoded-layers",
        what=f"{layer} of {TITLE}, {TOKENS} tokens, both operands quantised, requantised: cycles by the cycle model, 64-bit "
        "bus; error against the layer in floats",
        measured="\n".join(lines),
        values=values,
    )
