"""What is to be computed: the matrix products of a model's step, or a list of them from a file."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gen import toml_file
from gen.config import mistake
from gen.errors import RequestError
from gen.models.shapes import SHAPES, Product, Shape

MOST_TOKENS = 1 << 17
"""Of a prompt, and of a context."""
CONTEXT = 256
"""Tokens whose keys and values a decoded token meets, unless it is said."""
CACHE = "int8"
"""Format of keys and values: they stand where the weights of other products do."""
FORMS = (
    "NAME:decode, NAME:decode=CONTEXT, NAME:prefill=TOKENS, each also with ,attention behind, or a TOML file"
)


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
    """

    name: str
    products: tuple[Product, ...]
    tokens: int


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


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class _Gemm(_Section):
    """A kind of product."""

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,48}$", description="what tables call it")
    M: int = Field(ge=1, le=MOST_TOKENS, description="rows: tokens")
    K: int = Field(ge=1, le=1 << 20, description="length of the sums")
    N: int = Field(ge=1, le=1 << 20, description="columns: features that come out")
    count: int = Field(default=1, ge=1, le=1_000_000, description="how many of them there are")


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
        found = _File.model_validate(toml_file.read(origin, "workload"))
    except ValidationError as error:
        items = error.errors(include_url=False, include_context=False)
        raise toml_file.refusal(f"workload {origin}", [mistake(_File, item) for item in items]) from None
    products = tuple(Product(kind=one.name, M=one.M, K=one.K, N=one.N, count=one.count) for one in found.gemm)
    return Work(name=path.name, products=products, tokens=found.tokens)


def _near(name: str, names: dict[str, Shape]) -> str:
    near = difflib.get_close_matches(name, names, 1)
    return f" (did you mean {near[0]}?)" if near else ""
