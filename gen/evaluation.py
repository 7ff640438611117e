"""What a format makes of a real model's numbers: errors layer by layer, and perplexity."""

from __future__ import annotations

import inspect
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np

from gen.errors import RequestError
from gen.models.file import ModelFile, ModelFileError
from gen.models.llama import Llama
from gen.progress import Progress
from hw.formats import Format
from sim.quantise import quantise, rule
from sim.quantise.ggml import from_blocks

CONTEXT = 256
"""Tokens of a window: what the model sees when it is asked for the next one."""
ORIGINAL = "original"
"""What rows and tables call the weights as the file has them."""
NOT_LAYERS = re.compile(r"embed|embd|lm_head|^(model\.)?output(\.weight)?$")
"""In the names of matrices that are not layers of a block: embedding and output."""
FLOATS = ("F16", "BF16", "F32", "F64")
"""What safetensors calls the types that are taken."""
INTEGERS = ("I8", "I16", "I32", "I64")
"""What GGUF calls the types that are not."""

Options = Mapping[str, str]
"""Options of formats' rules by keyword, see ``keywords``."""


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

    Members
    -------
    layers : list[str]
        Names of those that are layers: neither embedding nor output matrix.
    llama : Llama or None
        The model, if it is one that can be run.

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
                self._names = self._safetensors()
            else:
                self._file = ModelFile(path)
                self._names = self._gguf()
        except (ModelFileError, OSError) as problem:
            raise self.refusal(problem) from None
        self.layers = [layer for layer in self._names if not NOT_LAYERS.search(layer)]
        if not self.layers:
            raise RequestError(f"MODEL {str(path)!r}: must have at least one weight matrix")

    def refusal(self, problem: Exception) -> RequestError:
        """What the user is told when the file is at fault."""
        return RequestError(f"MODEL {str(self.path)!r}: must be a model that can be read ({problem})")

    def _gguf(self) -> dict[str, str]:
        if self._file.values.get("general.architecture") == "llama":
            self.llama = Llama(self._file)
            return {layer: f"{layer}.weight" for layer in self.llama.layers}
        return _by_layer(
            name
            for name, tensor in self._file.tensors.items()
            if len(tensor.shape) == 2 and tensor.type.name not in INTEGERS
        )

    def _safetensors(self) -> dict[str, str]:
        from safetensors import SafetensorError, safe_open

        try:
            self._file = safe_open(self.path, framework="numpy")
            names = self._file.keys()
            found = {name: self._file.get_slice(name) for name in names}
        except SafetensorError as problem:
            raise ModelFileError(str(problem)) from None
        return _by_layer(
            name
            for name, stored in found.items()
            if stored.get_dtype() in FLOATS and len(stored.get_shape()) == 2 and 0 not in stored.get_shape()
        )

    def chosen(self, patterns: Sequence[str]) -> list[str]:
        """The matrices whose names fit one of the ``patterns``, or all layers when there is none."""
        if not patterns:
            return self.layers
        found = [layer for layer in self._names if any(fnmatchcase(layer, one) for one in patterns)]
        if not found:
            raise RequestError(
                f"--layers {','.join(patterns)!r}: must fit a layer from {self.layers[0]} to {self.layers[-1]}"
            )
        return found

    def matrix(self, layer: str) -> np.ndarray:
        """The weights of ``layer``: float32 [features, K]."""
        if self.path.suffix == ".safetensors":
            return np.asarray(self._file.get_tensor(self._names[layer]), dtype=np.float32)
        try:
            return self._file.read(self._names[layer])
        except ModelFileError as problem:
            raise self.refusal(problem) from None

    def quantised(self, layer: str, matrix: np.ndarray, format: Format, options: Options) -> np.ndarray:
        """What becomes of ``layer``, whose weights are ``matrix``, in ``format``.

        A layer that the file stores in the same GGUF type is taken as it is, and given as float32 as the file is read.

        Raises
        ------
        RequestError
            When the tensor has something that cannot be quantised, or the format does not take what is asked of it.
        """
        name = f"tensor {layer}"
        try:
            if isinstance(self._file, ModelFile) and self._file.stores(self._names[layer], format):
                data = self._file.raw(self._names[layer])
                return from_blocks(format, data, matrix.shape, name=name).values().astype(np.float32)
            own = {key: value for key, value in options.items() if key in keywords(format)}
            return quantise(matrix, format, name=name, **own).values()
        except ValueError as problem:
            text = str(problem).replace("the matrix", name)
            blamed = f"MODEL {str(self.path)!r}" if name in text else f"--formats {format.name}"
            raise RequestError(f"{blamed}: {text}") from None


def _by_layer(names: Iterable[str]) -> dict[str, str]:
    """Tensors' names by what their layers are called: the same without ``.weight``, unless another tensor is called that."""
    names = list(names)
    short = {name: name.removesuffix(".weight") for name in names}
    return {name if layer in names else layer: name for name, layer in short.items()}


def keywords(format: Format) -> list[str]:
    """The options of a format's rule that are chosen by name."""
    parameters = inspect.signature(rule(format)).parameters.values()
    return [each.name for each in parameters if isinstance(each.default, str)]


def errors(
    model: Model,
    layers: Sequence[str],
    formats: Sequence[Format],
    options: Options,
    progress: Progress = lambda *_: None,
) -> list[LayerError]:
    """Every layer in every format, layer by layer; each format with those of the ``options`` that it has."""

    def one(layer: str) -> list[LayerError]:
        matrix = model.matrix(layer)
        return [
            error(layer, each.name, matrix, model.quantised(layer, matrix, each, options)) for each in formats
        ]

    return [row for rows in _each(one, layers, "quantising", progress) for row in rows]


def perplexity(
    model: Model,
    layers: Sequence[str],
    tokens: Sequence[int],
    format: Format | None,
    options: Options,
    progress: Progress = lambda *_: None,
) -> float:
    """Exponential of the mean of -log p of every token but the first of each window of ``CONTEXT``.

    ``layers`` are quantised, everything else stays. ``format`` None: nothing is quantised.

    Raises
    ------
    RequestError
        When the model's architecture is not one that can be run, a tensor is missing or of another size, or as in ``errors``.
    """
    if model.llama is None:
        raise RequestError(
            f"MODEL {str(model.path)!r}: must be a GGUF file of architecture llama for perplexity"
        )
    weights = {}
    if format is not None:

        def one(layer: str) -> np.ndarray:
            return model.quantised(layer, model.matrix(layer), format, options).astype(np.float32)

        weights = dict(zip(layers, _each(one, layers, f"{format.name}: quantising", progress), strict=True))
    llama = Llama(model.llama.file, replaced=weights)
    total, count = 0.0, 0
    windows = [tokens[i : i + CONTEXT] for i in range(0, len(tokens), CONTEXT)]
    windows = [window for window in windows if len(window) > 1]
    what = f"{format.name if format else ORIGINAL}: reading"
    progress(what, 0, len(windows))
    for number, window in enumerate(windows):
        try:
            chances = llama.log_probabilities(list(window))
        except ModelFileError as problem:
            raise model.refusal(problem) from None
        total -= float(chances[np.arange(len(window) - 1), window[1:]].sum())
        count += len(window) - 1
        progress(what, number + 1, len(windows))
    return math.exp(total / count)


def _each(work: Callable[[str], Any], layers: Sequence[str], what: str, progress: Progress) -> Iterator[Any]:
    """``work`` on every layer, as many at a time as there are processors, in order."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for number, result in enumerate(pool.map(work, layers)):
            progress(what, number + 1, len(layers))
            yield result


def document(
    rows: Sequence[LayerError],
    perplexities: dict[str, float],
    *,
    options: Options,
    text: str | None,
    tokens: int,
) -> dict[str, Any]:
    """As the command line gives it."""
    return {
        "rows": [asdict(row) for row in rows],
        "perplexity": perplexities,
        "options": dict(options),
        "text": text,
        "tokens": tokens,
        "context": CONTEXT,
    }
