"""A model's layers on an array, format by format: what search chooses from, and what trace tells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np

from gen.chat.network import check_whole, grouped
from gen.errors import RequestError
from gen.precision.cycles import Costs
from gen.precision.errors import FEATURES, Errors, output_errors, sensitivities
from gen.precision.linears import Linears
from gen.precision.search import Table
from gen.progress import Progress

PLAIN = ("bipolar", "binary")
"""Rules whose formats nobody gets who does not ask for them: they are for models that were trained so."""


@dataclass(frozen=True, kw_only=True)
class Study:
    """What there is to know of layers in formats.

    Members
    -------
    table : Table
    errors : Errors
        Without sensitivities.
    largest : dict
        Magnitude of what enters each layer.
    sensitivity : dict or None
        Of each layer, nats of divergence for each unit of its error; None where all count alike.
    probe : str or None
        The format in which they were measured.
    """

    table: Table
    errors: Errors
    largest: dict[str, float]
    sensitivity: dict[str, float] | None = None
    probe: str | None = None


def candidates(costs: Costs, names: str | None) -> list[str]:
    """Formats of weights by the names that the array has for them: those of the list ``names``, or all that are plain."""
    if names is not None:
        wanted = [name.strip() for name in names.split(",")]
        return list(dict.fromkeys(costs.pair(name)[1].name for name in wanted))
    kept = [
        weights.name
        for activations, weights in costs.family.pairs
        if weights.rule not in PLAIN and grouped(costs.activations)[0] in (None, activations.name)
    ]
    return list(dict.fromkeys(kept))


def study(
    model: Linears,
    costs: Costs,
    tokens: Sequence[int],
    formats: Sequence[str],
    *,
    features: int = FEATURES,
    probed: bool = True,
    progress: Progress = lambda *_: None,
) -> Study:
    """Cycles and errors of every layer in every format.

    ``probed``: sensitivities are measured, in the format whose error, summed over layers, is the median.
    """
    pairs = {name: costs.pair(name) for name in formats}
    taken = []
    for number, layer in enumerate(model.names):
        check_whole(layer, model.size(layer)[0], costs.group)
        taken.append([costs.of(model.size(layer), name) for name in formats])
        progress("cycles of layers", number + 1, len(model.names))
    errors, largest = output_errors(model, tokens, pairs, features=features, progress=progress)
    array = np.array([[errors[layer][name] for name in formats] for layer in model.names])
    sensitivity = probe = None
    if probed:
        order = np.argsort(array.sum(axis=0), kind="stable")
        probe = formats[int(order[len(order) // 2])]
        own = {layer: errors[layer][probe] for layer in model.names}
        sensitivity = sensitivities(model, tokens, pairs[probe], own, progress=progress)
        array = array * np.array([[sensitivity[layer]] for layer in model.names])
    table = Table(layers=tuple(model.names), formats=tuple(formats), taken=taken, errors=array)
    return Study(table=table, errors=errors, largest=largest, sensitivity=sensitivity, probe=probe)


def read_text(path: Path | None) -> str:
    """A user's text, or the page that comes with the program."""
    try:
        source = files("gen.data").joinpath("text.txt") if path is None else path
        return source.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"--text {str(path)!r}: must be a text file that can be read ({error})") from None


def read_tokens(model: Linears, text: str, most: int) -> list[int]:
    """The first tokens of ``text``, 2 or more."""
    try:
        found = model.tokenizer.encode(text[: 16 * most])[:most]
    except KeyError as error:
        raise RequestError(f"--text: must be of characters that the model knows, not {error}") from None
    if len(found) < 2:
        raise RequestError(f"--text: must have at least 2 tokens, not {len(found)}")
    return found
