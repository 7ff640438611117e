"""Workloads of a sweep, by name: a GEMM, or the linear layers of a model for a token or many."""

from __future__ import annotations

import re
from dataclasses import dataclass

from gen.models.shapes import SHAPES, Product

MOST_TOKENS = 4096


@dataclass(frozen=True, kw_only=True)
class Named:
    """A workload by its name; ``tokens`` is None for a GEMM of no model."""

    text: str
    products: tuple[Product, ...]
    tokens: int | None

    @property
    def multiplications(self) -> int:
        """Of all products."""
        return sum(product.multiplications for product in self.products)


def parse(text: str) -> Named:
    """The workload ``text`` stands for: ``gemm:MxKxN``, ``MODEL:decode`` or ``MODEL:prefill:TOKENS``.

    Raises ``ValueError`` for anything else.
    """
    kind, _, rest = text.partition(":")
    if kind == "gemm" and (sizes := re.fullmatch(r"(\d{1,6})x(\d{1,6})x(\d{1,6})", rest)):
        m, k, n = map(int, sizes.groups())
        if min(m, k, n):
            return Named(text=text, products=(Product(kind="gemm", M=m, K=k, N=n),), tokens=None)
    if kind in SHAPES:
        tokens = 1 if rest == "decode" else _tokens(rest)
        if tokens:
            return Named(text=text, products=tuple(SHAPES[kind].linears(tokens)), tokens=tokens)
    raise ValueError(
        f"workload must be gemm:MxKxN, MODEL:decode or MODEL:prefill:TOKENS (1 to {MOST_TOKENS}) with a MODEL of "
        f"{', '.join(SHAPES)}, not {text!r}"
    )


def _tokens(text: str) -> int:
    found = re.fullmatch(r"prefill:(\d{1,4})", text)
    tokens = int(found[1]) if found else 0
    return tokens if tokens <= MOST_TOKENS else 0
