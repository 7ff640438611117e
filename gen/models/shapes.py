"""Sizes of well-known models, as their public configurations give them, and the matrix products that they consist of."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Product:
    """``count`` matrix products Y[M, N] = X[M, K] · W[K, N] of one kind; M is tokens, N is output features.

    W is ``cached`` when it is keys or values.
    """

    kind: str
    M: int
    K: int
    N: int
    count: int = 1
    cached: bool = False

    @property
    def multiplications(self) -> int:
        """Of all ``count`` of them."""
        return self.M * self.K * self.N * self.count


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A decoder's sizes.

    Members
    -------
    source : str
        The model's name on Hugging Face, whose ``config.json`` has these numbers.
    layers, width, hidden, vocabulary : int
        Blocks, features between them, features within the feed-forward part, rows of the output matrix.
    heads, key_heads : int
        Heads of queries, and of keys and values.
    gated : bool
        The feed-forward part has a gate beside its first matrix.
    """

    source: str
    layers: int
    width: int
    hidden: int
    heads: int
    key_heads: int
    vocabulary: int
    gated: bool = True

    @property
    def head(self) -> int:
        """Elements of a head."""
        return self.width // self.heads

    @property
    def key_width(self) -> int:
        """Features of all keys of a token."""
        return self.head * self.key_heads

    def linears(self, tokens: int) -> list[Product]:
        """Products with weights, the output matrix last; ``count`` is that of the whole model."""
        sizes = [
            ("attn_q", self.width, self.width),
            ("attn_k", self.width, self.key_width),
            ("attn_v", self.width, self.key_width),
            ("attn_output", self.width, self.width),
            *([("ffn_gate", self.width, self.hidden)] if self.gated else []),
            ("ffn_up", self.width, self.hidden),
            ("ffn_down", self.hidden, self.width),
        ]
        products = [Product(kind=kind, M=tokens, K=k, N=n, count=self.layers) for kind, k, n in sizes]
        return [*products, Product(kind="output", M=tokens, K=self.width, N=self.vocabulary)]

    def attention(self, tokens: int, context: int) -> list[Product]:
        """Products of ``tokens`` queries with ``context`` keys and values; queries that share a key are rows of one product."""
        rows, count = tokens * (self.heads // self.key_heads), self.layers * self.key_heads
        return [
            Product(kind="attn_qk", M=rows, K=self.head, N=context, count=count, cached=True),
            Product(kind="attn_pv", M=rows, K=context, N=self.head, count=count, cached=True),
        ]


SHAPES = {
    "opt-1.3b": Shape(
        source="facebook/opt-1.3b", layers=24, width=2048, hidden=8192, heads=32, key_heads=32, vocabulary=50272,
        gated=False,
    ),
    "phi-2": Shape(
        source="microsoft/phi-2", layers=32, width=2560, hidden=10240, heads=32, key_heads=32, vocabulary=51200,
        gated=False,
    ),
    "yi-6b": Shape(
        source="01-ai/Yi-6B", layers=32, width=4096, hidden=11008, heads=32, key_heads=4, vocabulary=64000,
    ),
    "llama-2-7b": Shape(
        source="meta-llama/Llama-2-7b-hf", layers=32, width=4096, hidden=11008, heads=32, key_heads=32, vocabulary=32000,
    ),
    "llama-2-13b": Shape(
        source="meta-llama/Llama-2-13b-hf", layers=40, width=5120, hidden=13824, heads=40, key_heads=40, vocabulary=32000,
    ),
    "llama-3-8b": Shape(
        source="meta-llama/Meta-Llama-3-8B", layers=32, width=4096, hidden=14336, heads=32, key_heads=8, vocabulary=128256,
    ),
    "bitnet-3b": Shape(
        source="1bitLLM/bitnet_b1_58-3B", layers=26, width=3200, hidden=8640, heads=32, key_heads=32, vocabulary=32002,
    ),
    "smollm2": Shape(
        source="HuggingFaceTB/SmolLM2-135M", layers=30, width=576, hidden=1536, heads=9, key_heads=3, vocabulary=49152,
    ),
}  # fmt: skip
"""By the names that commands take."""
