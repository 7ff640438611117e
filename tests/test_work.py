"""The work of models: what its names stand for, what a file may say, and what is refused, in one line each."""

from __future__ import annotations

import pytest

from gen.errors import RequestError
from gen.models.shapes import SHAPES, Product
from gen.models.work import parse, restored

FILE = """
tokens = 4
[[gemm]]
name = "up"
M = 4
K = 576
N = 1536
count = 30
[[gemm]]
name = "down"
M = 4
K = 1536
N = 576
"""


def written(tmp_path, text):
    path = tmp_path / "work.toml"
    path.write_text(text)
    return str(path)


def refused(text):
    with pytest.raises(RequestError) as error:
        parse(text)
    return list(error.value.lines)


def test_parameters_of_models():
    """Linear products of one token are all weights but the embedding; published counts, in millions."""
    counts = {name: sum(one.multiplications for one in parse(f"{name}:decode").products) for name in SHAPES}
    assert {name: round(count / 1e6) for name, count in counts.items()} == {
        "opt-1.3b": 1311, "phi-2": 2648, "yi-6b": 5799, "llama-2-7b": 6607, "llama-2-13b": 12852,
        "llama-3-8b": 7505, "bitnet-3b": 3324, "smollm2": 134,
    }  # fmt: skip


def test_decode_and_prefill():
    one, many = parse("smollm2:decode"), parse("smollm2:prefill=8")
    assert (one.tokens, many.tokens) == (1, 8)
    assert one.products[0] == Product(kind="attn_q", M=1, K=576, N=576, count=30)
    assert [(p.kind, p.K, p.N, p.count) for p in one.products] == [
        (p.kind, p.K, p.N, p.count) for p in many.products
    ]
    assert {p.M for p in many.products} == {8}
    assert not any(p.cached for p in one.products)


def test_attention():
    """Three queries share a key in SmolLM2; a prompt's queries meet all of its keys."""
    assert parse("smollm2:decode=100,attention").products[-2:] == (
        Product(kind="attn_qk", M=3, K=64, N=100, count=90, cached=True),
        Product(kind="attn_pv", M=3, K=100, N=64, count=90, cached=True),
    )
    assert parse("smollm2:prefill=10,attention").products[-2:] == (
        Product(kind="attn_qk", M=30, K=64, N=10, count=90, cached=True),
        Product(kind="attn_pv", M=30, K=10, N=64, count=90, cached=True),
    )
    assert parse("smollm2:decode=7").products == parse("smollm2:decode").products


def test_a_product_of_no_model():
    work = parse("gemm:7x2x3")
    assert (work.products, work.tokens) == ((Product(kind="gemm", M=7, K=2, N=3),), 7)
    assert not work.of_tokens
    assert parse("smollm2:decode").of_tokens


def test_file(tmp_path):
    work = parse(written(tmp_path, FILE))
    assert (work.name, work.tokens) == ("work.toml", 4)
    assert work.products == (
        Product(kind="up", M=4, K=576, N=1536, count=30),
        Product(kind="down", M=4, K=1536, N=576),
    )
    assert restored(work.as_dict()) == work
    assert restored("smollm2:decode") == parse("smollm2:decode")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("lama-2-7b:decode", "(did you mean llama-2-7b?)"),
        ("smollm2:decod", "must be gemm:MxKxN, NAME:decode, NAME:decode=CONTEXT, NAME:prefill=TOKENS"),
        ("smollm2:prefill", "must be gemm:MxKxN, NAME:decode"),
        ("smollm2:prefill=0", "TOKENS must be 1 to 131072, not 0"),
        ("smollm2:decode=999999", "CONTEXT must be 1 to 131072, not 999999"),
        ("smollm2:decode=12345678", "must be gemm:MxKxN, NAME:decode"),
        ("smollm2:prefill:9", "must be gemm:MxKxN, NAME:decode"),
        ("gemm", "or a TOML file"),
        ("gemm:1x2", "must be gemm:MxKxN with M from 1 to 131072, K and N from 1 to 1048576"),
        ("gemm:1x2x0", "must be gemm:MxKxN with M"),
        ("gemm:131073x2x2", "must be gemm:MxKxN with M"),
        ("smollm2", "or a TOML file (did you mean smollm2?)"),
        ("nowhere.toml", "or a TOML file"),
    ],
)
def test_refused(text, words):
    (line,) = refused(text)
    assert line.startswith(f"workload {text!r}: ")
    assert words in line


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("M = 4\nK = 1536", "M = 0\nK = 1536", "gemm.1.M = 0: must be an integer from 1 to 131072"),
        ("count = 30", "counts = 30", "gemm.0.counts = 30: unknown key; did you mean count? allowed are K, M, N, count, name"),
        ('name = "down"', "", "gemm.1.name: is missing; must be text that matches ^[A-Za-z0-9_.-]{1,48}$"),
        ("tokens = 4", "tokens = 4.5", "tokens = 4.5: must be an integer from 1 to 131072"),
        ("K = 576", "K = true", "gemm.0.K = true: must be an integer from 1 to 1048576"),
    ],
)  # fmt: skip
def test_mistakes_of_a_file(tmp_path, old, new, line):
    path = written(tmp_path, FILE.replace(old, new))
    assert refused(path) == [f"workload {path} has 1 mistake:", line]


def test_files_that_are_none(tmp_path):
    assert "must be readable TOML" in refused(written(tmp_path, "gemm = ["))[0]
    assert "must be at most 1048576 bytes" in refused(written(tmp_path, "#" * (1 << 20) + "\n"))[0]
    path = written(tmp_path, "gemm = []")
    assert refused(path)[1].startswith("gemm = []: must be")
