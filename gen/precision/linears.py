"""The linear layers of a Llama, the output matrix among them: sizes, weights in any format, and what enters them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from gen.errors import RequestError
from gen.models.assignment import HEAD
from gen.models.file import ModelFile, ModelFileError
from gen.models.llama import Llama
from hw.formats import Format
from sim.quantise import Quantised, quantise
from sim.quantise.ggml import from_blocks


class Linears(Llama):
    """A model whose linear layers can be looked at one by one.

    Members
    -------
    names : list of str
        Of all linear layers in the order of a forward pass; the last is ``HEAD``.
    """

    def __init__(
        self, file: ModelFile, *, keep: bool = False, replaced: Mapping[str, np.ndarray] | None = None
    ):
        super().__init__(file, keep=keep, replaced=replaced)
        self.names = [*self.layers, HEAD]
        self._instead: dict[str, Callable[[np.ndarray], np.ndarray]] = {}

    def tensor(self, layer: str) -> str:
        """Name of the layer's tensor in the file."""
        return self.head if layer == HEAD else f"{layer}.weight"

    def size(self, layer: str) -> tuple[int, int]:
        """K and N."""
        features, depth = self.file.tensors[self.tensor(layer)].shape
        return depth, features

    def matrix(self, layer: str) -> np.ndarray:
        """Its weights as the file has them, float32 [features, K]."""
        if layer != HEAD:
            return self.weights(layer).T
        return self._read(self.tensor(HEAD))

    def quantised(self, layer: str, format: Format, features: slice | None = None) -> Quantised:
        """Its weights in ``format``; as they are, where the file stores them so. ``features`` are those that are wanted.

        What the tensor shares is found of all features. Raises ``RequestError`` for what cannot be quantised.
        """
        taken = features or slice(None)
        name = self.tensor(layer)
        try:
            if self.file.stores(name, format):
                shape = self.size(layer)[::-1]
                found = from_blocks(format, self.file.raw(name), shape, name=f"tensor {name}")
            elif "tensor" in (format.shared, format.outer and format.outer_shared):
                found = quantise(self.matrix(layer), format, name=f"tensor {name}")
            else:
                return quantise(self.matrix(layer)[taken], format, name=f"tensor {name}")
        except ValueError as error:
            raise RequestError(f"format {format.name}: {error}") from None
        return _some(found, taken)

    def walk(self, tokens: Sequence[int]) -> Iterator[tuple[str, np.ndarray]]:
        """Each layer with what enters it for every token, float32 [tokens, K], in order; the weights are the file's."""
        x = self._embed(list(tokens))
        for block in range(self.sizes.blocks):
            inputs: dict[str, np.ndarray] = {}
            x = self._block(block, x, inputs)
            for name, value in inputs.items():
                yield f"blk.{block}.{name}", value
        yield HEAD, self._norm(x, "output_norm")

    def embedded(self, tokens: Sequence[int]) -> np.ndarray:
        """What enters the first block: float32 [tokens, width]."""
        return self._embed(list(tokens))

    def states(self, tokens: Sequence[int]) -> Iterator[np.ndarray]:
        """What enters each block, and then what leaves the last one: float32 [tokens, width]."""
        x = self._embed(list(tokens))
        for block in range(self.sizes.blocks):
            yield x
            x = self._block(block, x)
        yield x

    def logits_from(self, block: int, x: np.ndarray) -> np.ndarray:
        """What the model says of the token after each, [tokens, vocabulary], if ``x`` enters ``block``."""
        for number in range(block, self.sizes.blocks):
            x = self._block(number, x)
        return self.product(HEAD, self._norm(x, "output_norm"))

    def product(self, layer: str, x: np.ndarray) -> np.ndarray:
        """What a layer makes of x [tokens, K]; in float32, unless another is ``within``."""
        if layer in self._instead:
            return self._instead[layer](x)
        return x @ self.matrix(layer).T

    @contextmanager
    def within(self, products: Mapping[str, Callable[[np.ndarray], np.ndarray]]) -> Iterator[None]:
        """Within the context these are the products of their layers."""
        before, self._instead = self._instead, {**self._instead, **products}
        try:
            yield
        finally:
            self._instead = before

    def _head(self, x: np.ndarray) -> np.ndarray:
        return self.product(HEAD, self._norm(x, "output_norm"))


def _some(found: Quantised, rows: slice) -> Quantised:
    def of(each: np.ndarray | None) -> np.ndarray | None:
        return each if each is None or len(each) == 1 != len(found.codes) else each[rows]

    return replace(
        found, codes=found.codes[rows], scales=np.asarray(of(found.scales)), selectors=of(found.selectors),
        offsets=of(found.offsets), outer=of(found.outer),
    )  # fmt: skip


def load(path: Path) -> Linears:
    """A GGUF file of architecture llama, whose weights are kept when they are read.

    Raises ``RequestError`` when it is another.
    """
    try:
        return Linears(ModelFile(path), keep=True)
    except (ModelFileError, OSError) as error:
        raise RequestError(f"MODEL {str(path)!r}: must be a Llama that can be read ({error})") from None
