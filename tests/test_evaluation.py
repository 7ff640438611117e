"""What formats make of models: errors by hand, perplexity, the commands, their files and their refusals."""

from __future__ import annotations

import json
import math
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from safetensors.numpy import save_file

from gen import cli, evaluation
from gen.commands.formats import describe
from gen.errors import RequestError
from gen.models import fetch
from gen.models.llama import Llama
from gen.plots import levels, quality
from hw.formats import FORMATS, find


@pytest.fixture
def gatemill(capsys):
    """Run a command: exit status, standard output, standard error."""

    def run(*arguments):
        status = cli.run(list(map(str, arguments)))
        out, err = capsys.readouterr()
        return status, out, err

    return run


@pytest.fixture
def small(tmp_path) -> Path:
    """A safetensors file with two matrices and a vector."""
    random = np.random.default_rng(1)
    path = tmp_path / "small.safetensors"
    tensors = {
        "a.weight": random.normal(size=(6, 40)),
        "b.weight": random.normal(size=(3, 33)),
        "norm": np.ones(6),
    }
    save_file({name: value.astype(np.float32) for name, value in tensors.items()}, path)
    return path


def test_errors_by_hand() -> None:
    row = evaluation.error("l", "f", np.array([[3.0, 4.0]]), np.array([[3.0, 3.5]]))
    assert row.sqnr_db == 10 * math.log10(25 / 0.25)
    assert row.max_error == 0.5
    assert row.cosine == 23 / math.sqrt(25 * 21.25)
    same = evaluation.error("l", "f", np.ones((2, 2)), np.ones((2, 2)))
    assert (same.sqnr_db, same.max_error, same.cosine) == (None, 0.0, 1.0)
    nothing = evaluation.error("l", "f", np.ones((1, 2)), np.zeros((1, 2)))
    assert (nothing.sqnr_db, nothing.cosine) == (0.0, 0.0)


def test_every_layer_in_every_format(small) -> None:
    told = []
    model = evaluation.Model(small)
    formats = [find("int8"), find("fp4-mixed:g16"), find("mxfp4")]
    rows = evaluation.errors(model, model.chosen([]), formats, lambda *progress: told.append(progress))
    assert [(row.layer, row.format) for row in rows] == [(a, f.name) for a in ("a", "b") for f in formats]
    assert all(row.sqnr_db is not None and 10 < row.sqnr_db < 60 for row in rows)
    assert told[-1] == ("quantising", 2, 2)


def test_perplexity_of_a_real_model() -> None:
    """By the definition, token by token, on a text of two windows; and int8 hardly changes it."""
    model = evaluation.Model(fetch.fetch("smollm2"))
    assert isinstance(model.llama, Llama)
    tokens = model.llama.tokenizer.encode("A river begins as a trickle between stones.")
    chances = [model.llama.logits(tokens[: i + 1]).astype(np.float64) for i in range(len(tokens) - 1)]
    wanted = math.exp(
        -np.mean(
            [
                z[t] - z.max() - math.log(np.exp(z - z.max()).sum())
                for z, t in zip(chances, tokens[1:], strict=True)
            ]
        )
    )
    got = evaluation.perplexity(model, tokens, None)
    assert got == pytest.approx(wanted, rel=1e-3)  # float32 sums in another order
    assert evaluation.perplexity(model, tokens, find("int8")) == pytest.approx(got, rel=0.1)


def test_formats_are_listed(gatemill) -> None:
    status, out, _ = gatemill("formats", "--json")
    rows = json.loads(out)
    assert status == 0
    assert [row["name"] for row in rows] == list(FORMATS)
    assert {"name", "bits", "bits_per_weight", "block", "scale", "families"} <= set(rows[0])
    assert next(row for row in rows if row["name"] == "int8")["families"] == ["systolic"]
    assert next(row for row in rows if row["name"] == "nvfp4")["bits_per_weight"] == 4.5


@pytest.mark.parametrize("name", ["fp4-er", "ovp4-int4", "mxfp8-e5m2", "int3:g64"])
def test_a_format_is_shown_and_drawn(gatemill, tmp_path, name) -> None:
    picture = tmp_path / "levels.svg"
    status, out, err = gatemill("formats", name, "-o", picture)
    assert status == 0
    assert name in out
    assert "levels.svg" in err
    assert ElementTree.fromstring(picture.read_text()).tag.endswith("svg")
    document = json.loads(gatemill("formats", name, "--json")[1])
    assert len(document["codes"]) == 1 << find(name).bits


def test_codes_of_fp4_er(gatemill) -> None:
    codes = json.loads(gatemill("formats", "fp4-er", "--json")[1])["codes"]
    assert [row["values"] for row in codes[6:10]] == [[4, 4], [6, 6], [5, -5], [-0.5, -0.5]]


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_can_be_described_and_drawn(name) -> None:
    row = describe(FORMATS[name])
    assert row["range"][0] < row["range"][1]
    assert levels(FORMATS[name]).startswith(b"<?xml")


def test_quantize_a_file(gatemill, small, tmp_path) -> None:
    status, out, err = gatemill(
        "quantize", small, "--formats", "int4,nvfp4", "--layers", "a", "-o", tmp_path / "out", "--json"
    )
    document = json.loads(out)
    assert status == 0
    assert [(row["layer"], row["format"]) for row in document["rows"]] == [("a", "int4"), ("a", "nvfp4")]
    assert set(document["rows"][0]) == {"layer", "format", "sqnr_db", "max_error", "cosine"}
    assert document["perplexity"] == {}
    assert json.loads((tmp_path / "out" / "quantize.json").read_text()) == document
    assert "quantize.svg" in err
    assert gatemill("quantize", small, "--formats", "int4")[1].count("int4") >= 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["quantize", "nothing.gguf"], "MODEL 'nothing.gguf': must be a GGUF or safetensors file or one of smollm2"),
        (["quantize", "{small}", "--formats", "fp5"], "--formats 'fp5': format must be one of int2, int3"),
        (["quantize", "{small}", "--layers", "z*"], "--layers 'z*': must fit a layer from a to b"),
        (["quantize", "{small}", "--perplexity"], "--perplexity: must be left out"),
        (["quantize", "{small}", "--tokens", "1"], "--tokens 1: must be an integer from 2"),
        (["quantize", "{broken}"], "must be a model that can be read"),
        (["quantize", "{empty}"], "must be a model that can be read"),
        (["quantize", "{infinite}", "--formats", "int4"], "tensor a must be finite, not inf at [2, 1]"),
        (["formats", "fp5"], "format must be one of int2, int3"),
        (["formats", "int4", "-o", "a.png"], "--output '.png': must be one of .svg"),
        (["formats", "-o", "a.svg"], "--output 'a.svg': must be given with the NAME of a format"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_one_line(gatemill, small, tmp_path, arguments, message) -> None:
    (tmp_path / "broken.safetensors").write_bytes(small.read_bytes()[:60])
    (tmp_path / "empty.gguf").write_bytes(b"")
    wrong = np.ones((3, 4), np.float32)
    wrong[2, 1] = np.inf
    save_file({"a.weight": wrong}, tmp_path / "infinite.safetensors")
    files = {name: tmp_path / f"{name}.safetensors" for name in ("small", "broken", "infinite")}
    files["empty"] = tmp_path / "empty.gguf"
    status, out, err = gatemill(*(one.format(**files) for one in arguments))
    assert (status, out) == (2, "")
    assert err.startswith("gatemill: ")
    assert message in err
    assert len(err.splitlines()) == 1


def test_a_model_without_matrices_is_refused(tmp_path) -> None:
    save_file({"norm": np.ones(6, np.float32)}, tmp_path / "m.safetensors")
    with pytest.raises(RequestError, match="must have at least one weight matrix"):
        evaluation.Model(tmp_path / "m.safetensors")


def test_the_picture_of_quality_is_the_same_twice() -> None:
    formats = [find("int4"), find("fp4-er")]
    rows = [
        evaluation.LayerError(layer=f"l{i}", format=f.name, sqnr_db=20.0 + i, max_error=1.0, cosine=0.9)
        for f in formats
        for i in range(3)
    ]
    first = quality(rows, formats, {"original": 20.0, "int4": 30.0, "fp4-er": 700.0}, "t")
    assert first == quality(rows, formats, {"original": 20.0, "int4": 30.0, "fp4-er": 700.0}, "t")
    assert ElementTree.fromstring(first).tag.endswith("svg")
