"""How far each layer's result is from that of its weights as they are, in each format, for what really enters it.

The error of a layer is ``|Y' - Y|² / |Y|²`` with Y = X·W in float: X what enters the layer for the tokens of a text, and Y' the
same product of X and W both as the array gets them. What it does to the model differs from layer to layer: a *sensitivity*
of each layer, measured with one format in it alone, is what its error is multiplied by. To second order what formats do to
the model is in proportion to their errors, and adds up over layers.

Reference: HAWQ-V3, Yao et al., ICML 2021, section 4 (perturbations weighted by the Hessian, integer linear programming).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from gen.models.assignment import HEAD
from gen.precision.linears import Linears
from gen.progress import Progress
from hw.formats import Format
from sim.quantise import quantise

FEATURES = 192
"""Of a layer whose error is wanted, evenly spaced: rows of weights are quantised each by itself."""
Errors = dict[str, dict[str, float]]
"""By layer and format."""


def output_errors(
    model: Linears,
    tokens: Sequence[int],
    pairs: Mapping[str, tuple[Format, Format]],
    *,
    features: int = FEATURES,
    progress: Progress = lambda *_: None,
) -> tuple[Errors, dict[str, float]]:
    """Of every layer in every format; and the largest magnitude that enters each layer.

    Parameters
    ----------
    tokens
        What the model reads.
    pairs
        Formats of activations and weights, by the name that the result has for them.
    features : int
        At most so many of a layer count, 0 for all.
    """
    found: Errors = {}
    largest: dict[str, float] = {}

    def one(item: tuple[str, np.ndarray]) -> tuple[str, dict[str, float]]:
        layer, x = item
        rows = _spaced(model.size(layer)[1], features)
        exact = x @ model.matrix(layer)[rows].T
        power = float(np.vdot(exact, exact)) or 1.0
        entering = {activations.name: activations for activations, _ in pairs.values()}
        taken = {
            name: quantise(x, format, name=f"what enters {layer}").values().astype(np.float32)
            for name, format in entering.items()
        }
        errors = {}
        for name, (activations, weights) in pairs.items():
            matrix = model.quantised(layer, weights, rows).values().astype(np.float32)
            noise = taken[activations.name] @ matrix.T - exact
            errors[name] = float(np.vdot(noise, noise)) / power
        return layer, errors

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        # A block at a time: what enters the layers of all is too much to keep.
        items: list[tuple[str, np.ndarray]] = []
        for item in model.walk(tokens):
            items.append(item)
            if item[0].endswith("ffn_down") or item[0] == HEAD:
                for (layer, errors), (_, x) in zip(pool.map(one, items), items, strict=True):
                    found[layer], largest[layer] = errors, float(np.abs(x).max())
                    progress("errors of layers", len(found), len(model.names))
                items.clear()
    return found, largest


def _spaced(features: int, most: int) -> slice:
    return slice(0, None, max(1, -(-features // most))) if most else slice(0, None)


def sensitivities(
    model: Linears,
    tokens: Sequence[int],
    pair: tuple[Format, Format],
    errors: Mapping[str, float],
    *,
    progress: Progress = lambda *_: None,
) -> dict[str, float]:
    """Of every layer: divergence of what the model says of the next token, for each unit of the layer's error.

    One layer after the other gets the formats of ``pair``, in which ``errors`` are the layers'; all others stay. The divergence
    is Kullback and Leibler's, in nats, the mean over ``tokens``.
    """
    sensitivity: dict[str, float] = {}
    states = list(model.states(tokens))
    right = _log(model.logits_from(model.sizes.blocks, states[-1]))
    activations, weights = pair
    for number, layer in enumerate(model.names):
        matrix = model.quantised(layer, weights).values().astype(np.float32)

        def product(x: np.ndarray, matrix: np.ndarray = matrix) -> np.ndarray:
            return quantise(x, activations).values().astype(np.float32) @ matrix.T

        block = model.sizes.blocks if layer == HEAD else int(layer.split(".")[1])
        with model.within({layer: product}):
            wrong = _log(model.logits_from(block, states[block]))
        divergence = float(np.mean(np.sum(np.exp(right) * (right - wrong), axis=-1)))
        sensitivity[layer] = max(divergence, 0.0) / errors[layer] if errors[layer] else 0.0
        progress("sensitivity of layers", number + 1, len(model.names))
    return sensitivity


def _log(logits: np.ndarray) -> np.ndarray:
    logits = logits - logits.max(axis=-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
