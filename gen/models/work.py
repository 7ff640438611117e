"""What is to be computed: the matrix products of a model's step, or a list of them from a file."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gen import toml_file
from gen.config import mistake
from gen.errors import RequestError
from gen.models.shapes import SHAPES, Product, Shape

MOST_TOKENS = 1 << 17
"""Of a prompt, and of a context."""
MOST_FEATURES = 1 << 20
"""Of a matrix, in and out."""
CONTEXT = 256
"""Tokens whose keys and values a decoded token meets, unless it is said."""
CACHE = "int8"
"""Format of keys and values: they stand where the weights of other products do."""
FORMS = "gemm:MxKxN, NAME:decode, NAME:decode=CONTEXT, NAME:prefill=TOKENS, each NAME also with ,attention behind, or a TOML file"
GEMM = "gemm"
"""The name of a product of no model."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """Products in the order in which a model has them.

    Members
    -------
    name : str
        As it was asked for.
    products : tuple of Product
    tokens : int
        That are through when all products are: for tokens per second.
    of_tokens : bool
        They are a model's, or so many as a file says; otherwise they are the rows of a product.
    """

    name: str
    products: tuple[Product, ...]
    tokens: int
    of_tokens: bool = True

    @property
    def multiplications(self) -> int:
        """Of all products."""
        return sum(product.multiplications for product in self.products)

    def as_dict(self) -> dict[str, Any]:
        """What a file of it would say, and its name."""
        return {
            "name": self.name, "tokens": self.tokens,
            "gemm": [
                {"name": one.kind, "M": one.M, "K": one.K, "N": one.N, "count": one.count} for one in self.products
            ],
        }  # fmt: skip


def decode(shape: Shape, context: int = CONTEXT, *, attention: bool = False) -> tuple[Product, ...]:
    """One token: products with weights; with ``attention`` those with keys and values of ``context`` tokens as well."""
    return (*shape.linears(1), *(shape.attention(1, context) if attention else ()))


def prefill(shape: Shape, tokens: int, *, attention: bool = False) -> tuple[Product, ...]:
    """A prompt of ``tokens``; with ``attention`` each meets all of them, those after it included: that is how matrices are."""
    return (*shape.linears(tokens), *(shape.attention(tokens, tokens) if attention else ()))


def parse(text: str) -> Work:
    """The work that ``text`` names.

    Raises
    ------
    RequestError
        When it names none; a line for each mistake of a file.
    """
    if ":" not in text:
        return read(text)
    name, _, rest = text.partition(":")
    if name == GEMM:
        return _gemm(text, rest)
    match = re.fullmatch(r"(?:(decode)(?:=(\d{1,7}))?|(prefill)=(\d{1,7}))(,attention)?", rest)
    if name not in SHAPES:
        raise RequestError(f"workload {text!r}: NAME must be one of {', '.join(SHAPES)}{_near(name, SHAPES)}")
    if not match:
        raise RequestError(f"workload {text!r}: must be {FORMS}")
    number = int(match[2] or match[4] or CONTEXT)
    if not 1 <= number <= MOST_TOKENS:
        what = "CONTEXT" if match[1] else "TOKENS"
        raise RequestError(f"workload {text!r}: {what} must be 1 to {MOST_TOKENS}, not {number}")
    shape, attention = SHAPES[name], bool(match[5])
    if match[1]:
        return Work(name=text, products=decode(shape, number, attention=attention), tokens=1)
    return Work(name=text, products=prefill(shape, number, attention=attention), tokens=number)


def _gemm(text: str, sizes: str) -> Work:
    """A product of no model: a token is one of its rows."""
    match = re.fullmatch(r"(\d{1,7})x(\d{1,7})x(\d{1,7})", sizes)
    try:
        one = _Gemm(name=GEMM, **dict(zip("MKN", map(int, match.groups() if match else ()), strict=False)))
    except ValidationError:
        raise RequestError(
            f"workload {text!r}: must be gemm:MxKxN with M from 1 to {MOST_TOKENS}, K and N from 1 to {MOST_FEATURES}"
        ) from None
    return Work(name=text, products=(one.product,), tokens=one.M, of_tokens=False)


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class _Gemm(_Section):
    """A kind of product."""

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,48}$", description="what tables call it")
    M: int = Field(ge=1, le=MOST_TOKENS, description="rows: tokens")
    K: int = Field(ge=1, le=MOST_FEATURES, description="length of the sums")
    N: int = Field(ge=1, le=MOST_FEATURES, description="columns: features that come out")
    count: int = Field(default=1, ge=1, le=1_000_000, description="how many of them there are")

    @property
    def product(self) -> Product:
        """The product itself."""
        return Product(kind=self.name, M=self.M, K=self.K, N=self.N, count=self.count)


class _File(_Section):
    """A list of products."""

    tokens: int = Field(default=1, ge=1, le=MOST_TOKENS, description="that are through when all products are")
    gemm: list[_Gemm] = Field(min_length=1, max_length=1000, description="the products")


def read(origin: str) -> Work:
    """The work in a TOML file: ``tokens``, and a table ``[[gemm]]`` for each kind of product.

    Its keys are ``name``, ``M``, ``K``, ``N``, ``count``.
    """
    path = Path(origin)
    if not path.is_file():
        raise RequestError(f"workload {origin!r}: must be {FORMS}{_near(origin, SHAPES)}")
    try:
        return _of(toml_file.read(origin, "workload"), path.name)
    except ValidationError as error:
        items = error.errors(include_url=False, include_context=False)
        raise toml_file.refusal(f"workload {origin}", [mistake(_File, item) for item in items]) from None


def restored(document: str | Mapping[str, Any]) -> Work:
    """The work of a text, or of what ``Work.as_dict`` says of a file's."""
    if isinstance(document, str):
        return parse(document)
    return _of({name: value for name, value in document.items() if name != "name"}, document["name"])


def _of(data: dict[str, Any], name: str) -> Work:
    found = _File.model_validate(data)
    return Work(name=name, products=tuple(one.product for one in found.gemm), tokens=found.tokens)


def _near(name: str, names: dict[str, Shape]) -> str:
    near = difflib.get_close_matches(name, names, 1)
    return f" (did you mean {near[0]}?)" if near else ""
