"""What a format makes of a real model's numbers: errors layer by layer, and perplexity."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np

from gen.errors import RequestError
from gen.models.file import ModelFile, ModelFileError
from gen.models.llama import Llama
from hw.formats import Format
from sim.quantise import quantise

CONTEXT = 256
"""Tokens of a window: what the model sees when it is asked for the next one."""
ORIGINAL = "original"
"""What rows and tables call the weights as the file has them."""

Notify = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class LayerError:
    """How far a quantised layer is from the one in the file."""

    layer: str
    format: str
    sqnr_db: float | None
    """Signal to quantisation noise in decibel; None when there is no noise."""
    max_error: float
    cosine: float


def error(layer: str, format: str, original: np.ndarray, quantised: np.ndarray) -> LayerError:
    """Compare two matrices of a shape."""
    original = np.asarray(original, dtype=np.float64)
    noise = original - quantised
    power, wrong = float(np.vdot(original, original)), float(np.vdot(noise, noise))
    length = math.sqrt(power * float(np.vdot(quantised, quantised)))
    return LayerError(
        layer=layer,
        format=format,
        sqnr_db=10 * math.log10(power / wrong) if wrong and power else None,
        max_error=float(np.abs(noise).max()),
        cosine=float(np.vdot(original, quantised)) / length if length else 1.0 if not wrong else 0.0,
    )


class Model:
    """The weight matrices [features, K] of a model file, GGUF or safetensors.

    Raises
    ------
    RequestError
        When the file is neither, is damaged, or has no matrix.
    """

    def __init__(self, path: Path):
        self.path = path
        self.llama: Llama | None = None
        self._file: Any = None
        try:
            if path.suffix == ".safetensors":
                self.layers = self._safetensors()
            else:
                self._file = ModelFile(path)
                self.layers = self._gguf()
        except (ModelFileError, OSError) as problem:
            raise RequestError(f"MODEL {str(path)!r}: must be a model that can be read ({problem})") from None
        if not self.layers:
            raise RequestError(f"MODEL {str(path)!r}: must have at least one weight matrix")

    def _gguf(self) -> list[str]:
        if self._file.values.get("general.architecture") == "llama":
            self.llama = Llama(self._file)
            return self.llama.layers
        return [
            name.removesuffix(".weight")
            for name, tensor in self._file.tensors.items()
            if len(tensor.shape) == 2
        ]

    def _safetensors(self) -> list[str]:
        from safetensors import SafetensorError, safe_open

        try:
            self._file = safe_open(self.path, framework="numpy")
            names = [name for name in self._file.keys() if len(self._file.get_slice(name).get_shape()) == 2]  # noqa: SIM118
        except SafetensorError as problem:
            raise ModelFileError(str(problem)) from None
        return [name.removesuffix(".weight") for name in names]

    def chosen(self, patterns: Sequence[str]) -> list[str]:
        """The layers whose names fit one of the ``patterns``, or all when there is none."""
        if not patterns:
            return self.layers
        found = [layer for layer in self.layers if any(fnmatchcase(layer, one) for one in patterns)]
        if not found:
            raise RequestError(
                f"--layers {','.join(patterns)!r}: must fit a layer from {self.layers[0]} to {self.layers[-1]}"
            )
        return found

    def matrix(self, layer: str) -> np.ndarray:
        """The weights of ``layer``: float32 [features, K]."""
        if self.path.suffix == ".safetensors":
            name = f"{layer}.weight"
            stored = self._file.get_tensor(name if name in self._file.keys() else layer)  # noqa: SIM118
            return np.asarray(stored, dtype=np.float32)
        return self._file.read(f"{layer}.weight")


def errors(
    model: Model, layers: Sequence[str], formats: Sequence[Format], progress: Notify = lambda *_: None
) -> list[LayerError]:
    """Every layer in every format, layer by layer."""

    def one(layer: str) -> list[LayerError]:
        matrix = model.matrix(layer)
        try:
            return [
                error(layer, each.name, matrix, quantise(matrix, each, name=f"tensor {layer}").values())
                for each in formats
            ]
        except ValueError as problem:
            raise RequestError(f"MODEL {str(model.path)!r}: {problem}") from None

    return [row for rows in _each(one, layers, "quantising", progress) for row in rows]


def perplexity(
    model: Model, tokens: Sequence[int], format: Format | None, progress: Notify = lambda *_: None
) -> float:
    """Exponential of the mean of -log p of every token but the first of each window of ``CONTEXT``.

    All linear layers of the blocks are quantised; embedding, norms and the output matrix stay. ``format`` None: nothing is.

    Raises
    ------
    RequestError
        When the model's architecture is not one that can be run.
    """
    if model.llama is None:
        raise RequestError(
            f"MODEL {str(model.path)!r}: must be a GGUF file of architecture llama for perplexity"
        )
    weights = {}
    if format is not None:

        def one(layer: str) -> np.ndarray:
            return quantise(model.matrix(layer), format, name=f"tensor {layer}").values().astype(np.float32)

        weights = dict(
            zip(model.layers, _each(one, model.layers, f"{format.name}: quantising", progress), strict=True)
        )
    llama = Llama(model.llama.file, replaced=weights)
    total, count = 0.0, 0
    windows = [tokens[i : i + CONTEXT] for i in range(0, len(tokens), CONTEXT)]
    windows = [window for window in windows if len(window) > 1]
    for number, window in enumerate(windows):
        progress(f"{format.name if format else ORIGINAL}: reading", number, len(windows))
        chances = llama.log_probabilities(list(window))
        total -= float(chances[np.arange(len(window) - 1), window[1:]].sum())
        count += len(window) - 1
    return math.exp(total / count)


def _each(work: Callable[[str], Any], layers: Sequence[str], what: str, progress: Notify) -> Iterator[Any]:
    """``work`` on every layer, as many at a time as there are processors, in order."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for number, result in enumerate(pool.map(work, layers)):
            progress(what, number + 1, len(layers))
            yield result


def document(
    rows: Sequence[LayerError], perplexities: dict[str, float], *, text: str | None, tokens: int
) -> dict[str, Any]:
    """As the command line gives it."""
    return {
        "rows": [asdict(row) for row in rows],
        "perplexity": perplexities,
        "text": text,
        "tokens": tokens,
        "context": CONTEXT,
    }
