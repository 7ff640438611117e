"""The Llama architecture in NumPy, float32: enough of it to know what really enters a linear layer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from gen.models.file import ModelFile, ModelFileError
from gen.models.tokenizer import Tokenizer

LINEARS = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
"""The linear layers of a block, in the order in which a forward pass meets their inputs."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """A model's hyperparameters."""

    blocks: int
    width: int
    hidden: int
    heads: int
    key_heads: int
    head: int
    """Elements of a head."""
    rope_base: float
    epsilon: float


class Llama:
    """A model in a GGUF file of architecture ``llama``.

    Weights are dequantised when they are used and not kept, unless ``keep`` is set. ``replaced`` has matrices [features, K] that
    are used for the layers of these names, in the place of the file's.

    Raises
    ------
    ModelFileError
        When the file is of another architecture, or a value or a tensor is missing or of another size.
    """

    def __init__(
        self, file: ModelFile, *, keep: bool = False, replaced: Mapping[str, np.ndarray] | None = None
    ):
        self.file = file
        self._replaced = replaced or {}
        self._kept: dict[str, np.ndarray] | None = {} if keep else None
        architecture = file.values.get("general.architecture")
        if architecture != "llama":
            raise ModelFileError(f"general.architecture must be llama, not {architecture!r}")
        width, heads = self._positive("embedding_length"), self._positive("attention.head_count")
        if width % (2 * heads):
            raise ModelFileError(
                f"llama.embedding_length must be a multiple of {2 * heads} (2 x heads), not {width}"
            )
        self.sizes = Sizes(
            blocks=self._positive("block_count"),
            width=width,
            hidden=self._positive("feed_forward_length"),
            heads=heads,
            key_heads=self._positive("attention.head_count_kv"),
            head=width // heads,
            rope_base=float(self._number("rope.freq_base")),
            epsilon=float(self._number("attention.layer_norm_rms_epsilon")),
        )
        turned = self.file.values.get("llama.rope.dimension_count", self.sizes.head)
        if turned != self.sizes.head:
            raise ModelFileError(
                f"llama.rope.dimension_count must be a head's {self.sizes.head} elements, not {turned!r}"
            )
        if heads % self.sizes.key_heads:
            raise ModelFileError(
                f"llama.attention.head_count_kv must divide {heads}, not {self.sizes.key_heads}"
            )

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokeniser that the file carries."""
        return Tokenizer(self._strings("tokens"), self._strings("merges"))

    @property
    def context(self) -> int | None:
        """Most tokens that the model was made for, if the file says."""
        return self._positive("context_length") if "llama.context_length" in self.file.values else None

    @property
    def layers(self) -> list[str]:
        """Names of all linear layers."""
        return [f"blk.{block}.{linear}" for block in range(self.sizes.blocks) for linear in LINEARS]

    @property
    def head(self) -> str:
        """Name of the tensor that makes logits: in many files that of the embedding."""
        return "output.weight" if "output.weight" in self.file.tensors else "token_embd.weight"

    def weights(self, layer: str) -> np.ndarray:
        """``W[K, N]`` of a linear layer, so that its output is ``X @ W``."""
        return self._matrix(layer, *self._shape(layer)).T

    def product(self, layer: str, x: np.ndarray) -> np.ndarray:
        """What a linear layer makes of ``X[rows, K]``."""
        return x @ self.weights(layer)

    def entering(self, layer: str, tokens: list[int]) -> np.ndarray:
        """``X[len(tokens), K]``: what enters ``layer`` for each token of a prompt."""
        match = re.fullmatch(r"blk\.(\d+)\.(\w+)", layer)
        if layer not in self.layers or match is None:
            raise ModelFileError(f"layer must be one of {self.layers[0]} to {self.layers[-1]}, not {layer!r}")
        x = self._embed(tokens)
        for block in range(int(match[1])):
            x = self._block(block, x)
        inputs: dict[str, np.ndarray] = {}
        self._block(int(match[1]), x, inputs, until=match[2])
        return inputs[match[2]]

    def logits(self, tokens: list[int]) -> np.ndarray:
        """What the model says of the token after ``tokens``."""
        return self._head(self._last(tokens)[-1:])[0]

    def log_probabilities(self, tokens: list[int]) -> np.ndarray:
        """Logarithm of the probability of every token of the vocabulary after each of ``tokens``."""
        logits = self._head(self._last(tokens))
        logits -= logits.max(axis=-1, keepdims=True)
        return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))

    def _last(self, tokens: list[int]) -> np.ndarray:
        x = self._embed(tokens)
        for block in range(self.sizes.blocks):
            x = self._block(block, x)
        return x

    def _head(self, x: np.ndarray) -> np.ndarray:
        return self._norm(x, "output_norm") @ self._read(self.head).T

    def _block(
        self, block: int, x: np.ndarray, inputs: dict[str, np.ndarray] | None = None, until: str = ""
    ) -> np.ndarray:
        """One transformer block; ``inputs`` receives what enters each linear layer, up to ``until``."""
        s, seen = self.sizes, {} if inputs is None else inputs

        def linear(name: str, value: np.ndarray) -> np.ndarray:
            seen[name] = value
            return value if name == until else self.product(f"blk.{block}.{name}", value)

        normed = self._norm(x, f"blk.{block}.attn_norm")
        if until in ("attn_q", "attn_k", "attn_v"):
            return linear(until, normed)
        rows = len(x)
        q = _rotate(linear("attn_q", normed).reshape(rows, s.heads, s.head), s.rope_base)
        k = _rotate(linear("attn_k", normed).reshape(rows, s.key_heads, s.head), s.rope_base)
        v = linear("attn_v", normed).reshape(rows, s.key_heads, s.head)
        mixed = linear("attn_output", _attend(q, k, v).reshape(rows, s.width))
        if until == "attn_output":
            return mixed
        x = x + mixed
        normed = self._norm(x, f"blk.{block}.ffn_norm")
        if until in ("ffn_gate", "ffn_up"):
            return linear(until, normed)
        gate, up = linear("ffn_gate", normed), linear("ffn_up", normed)
        down = linear("ffn_down", gate / (1 + np.exp(-gate)) * up)
        return down if until else x + down

    def _shape(self, layer: str) -> tuple[int, int]:
        """Rows (features) and columns (inputs) of a layer's matrix in the file."""
        s, linear = self.sizes, layer.rsplit(".", 1)[-1]
        rows = {
            "attn_k": s.key_heads * s.head,
            "attn_v": s.key_heads * s.head,
            "ffn_gate": s.hidden,
            "ffn_up": s.hidden,
        }
        return rows.get(linear, s.width), s.hidden if linear == "ffn_down" else s.width

    def _embed(self, tokens: list[int]) -> np.ndarray:
        return self._read("token_embd.weight")[np.asarray(tokens, dtype=np.int64)]

    def _norm(self, x: np.ndarray, name: str) -> np.ndarray:
        mean = np.mean(x * x, axis=-1, keepdims=True)
        return x / np.sqrt(mean + np.float32(self.sizes.epsilon)) * self._read(f"{name}.weight")

    def _matrix(self, layer: str, rows: int, columns: int) -> np.ndarray:
        matrix = self._replaced[layer] if layer in self._replaced else self._read(f"{layer}.weight")
        if matrix.shape != (rows, columns):
            raise ModelFileError(
                f"tensor {layer}.weight must be {rows} x {columns}, not {' x '.join(map(str, matrix.shape))}"
            )
        return matrix

    def _read(self, name: str) -> np.ndarray:
        if self._kept is None:
            return self.file.read(name)
        if name not in self._kept:
            self._kept[name] = self.file.read(name)
        return self._kept[name]

    def _strings(self, name: str) -> list[str]:
        items = self.file.values.get(f"tokenizer.ggml.{name}")
        if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
            raise ModelFileError(f"tokenizer.ggml.{name} must be a list of strings")
        return items

    def _number(self, name: str) -> float:
        value = self.file.values.get(f"llama.{name}")
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e9:
            raise ModelFileError(f"llama.{name} must be a number above 0, not {value!r}")
        return value

    def _positive(self, name: str) -> int:
        value = self._number(name)
        if not isinstance(value, int) or value > 1 << 20:
            raise ModelFileError(f"llama.{name} must be an integer from 1 to {1 << 20}, not {value!r}")
        return value


def _rotate(x: np.ndarray, base: float) -> np.ndarray:
    """Rotary position embedding of ``x[position, head, element]``. A pair's two elements lie side by side."""
    positions, _, size = x.shape
    angles = np.arange(positions)[:, None] * base ** (-np.arange(0, size, 2) / size)
    cos, sin = (f(angles).astype(np.float32)[:, None, :] for f in (np.cos, np.sin))
    even, odd = x[..., 0::2], x[..., 1::2]
    return np.stack([even * cos - odd * sin, even * sin + odd * cos], axis=-1).reshape(x.shape)


def _attend(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Causal attention; several query heads share a key head."""
    share = q.shape[1] // k.shape[1]
    k, v = np.repeat(k, share, axis=1), np.repeat(v, share, axis=1)
    scores = np.einsum("qhd,khd->hqk", q, k) / np.float32(np.sqrt(q.shape[-1]))
    scores = np.where(np.tri(len(q), dtype=bool), scores, -np.inf)
    scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.einsum("hqk,khd->qhd", scores / scores.sum(axis=-1, keepdims=True), v)
