"""What formats make of models: errors by hand, perplexity, the commands, their files and their refusals."""

from __future__ import annotations

import json
import math
from importlib import resources
from pathlib import Path
from xml.etree import ElementTree

import gguf
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from gen import evaluation
from gen.commands.formats import describe
from gen.errors import RequestError
from gen.models import fetch
from gen.models.file import ModelFile, ModelFileError
from gen.models.llama import Llama
from gen.plots import levels, quality
from hw.formats import FORMATS, find
from sim.quantise import quantise
from tests.test_models import small_model


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


@pytest.fixture(params=["Q4_0", "Q4_1", "Q8_0"])
def blocks(request, tmp_path) -> tuple[Path, str]:
    """A Llama whose layers are random blocks, which ggml's rule would not have made; and their type."""
    path = small_model(tmp_path / "blocks.gguf", types=gguf.GGMLQuantizationType[request.param])
    random, data = np.random.default_rng(5), bytearray(path.read_bytes())
    for tensor in ModelFile(path).tensors.values():
        if tensor.type.name == request.param and tensor.name.startswith("blk."):
            size = gguf.GGML_QUANT_SIZES[tensor.type][1]
            made = random.integers(256, size=(tensor.bytes // size, size), dtype=np.uint8)
            numbers = 2 if request.param == "Q4_1" else 1
            scales = random.normal(0, 0.01, (len(made), numbers)).astype("<f2")
            made[:, : 2 * numbers] = scales.view(np.uint8)
            data[tensor.offset : tensor.offset + tensor.bytes] = made.tobytes()
    path.write_bytes(data)
    return path, request.param.lower()


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
    rows = evaluation.errors(model, model.chosen([]), formats, {}, lambda *progress: told.append(progress))
    assert [(row.layer, row.format) for row in rows] == [(a, f.name) for a in ("a", "b") for f in formats]
    assert all(row.sqnr_db is not None and 10 < row.sqnr_db < 60 for row in rows)
    assert told[-1] == ("quantising", 2, 2)


@pytest.mark.long
def test_perplexity_of_a_real_model() -> None:
    """By the definition, token by token; and int8 in one block hardly changes it."""
    path = fetch.fetch("smollm2")
    model, whole = evaluation.Model(path), Llama(ModelFile(path), keep=True)
    tokens = whole.tokenizer.encode("A river begins")
    chances = [whole.logits(tokens[: i + 1]).astype(np.float64) for i in range(len(tokens) - 1)]
    wanted = math.exp(
        -np.mean(
            [
                z[t] - z.max() - math.log(np.exp(z - z.max()).sum())
                for z, t in zip(chances, tokens[1:], strict=True)
            ]
        )
    )
    told = []
    got = evaluation.perplexity(model, [], tokens, None, {}, lambda *progress: told.append(progress))
    assert got == pytest.approx(wanted, rel=1e-3)  # float32 sums in another order
    assert told == [("original: reading", 0, 1), ("original: reading", 1, 1)]
    changed = evaluation.perplexity(model, model.chosen(["blk.0.*"]), tokens, find("int8"), {})
    assert changed == pytest.approx(got, rel=0.1)
    assert changed != got


def test_blocks_of_a_file_are_taken_as_they_are(gatemill, blocks, tmp_path) -> None:
    path, name = blocks
    read = ModelFile(path).read("blk.0.attn_q.weight")
    assert (quantise(read, name).values() != read).any()
    (tmp_path / "t.txt").write_text("abc ab" * 10)
    arguments = ("quantize", path, "--text", tmp_path / "t.txt", "--json", "--formats")
    status, out, err = gatemill(*arguments, f"{name},{name}:g32,mxfp4")
    assert (status, err) == (0, "")
    document = json.loads(out)
    taken = [row for row in document["rows"] if row["format"] != "mxfp4"]
    assert len(taken) == 2 * 14
    assert all((row["sqnr_db"], row["max_error"]) == (None, 0) for row in taken)
    perplexity = document["perplexity"]
    assert perplexity[name] == perplexity[f"{name}:g32"] == perplexity["original"] != perplexity["mxfp4"]
    assert None not in [row["sqnr_db"] for row in document["rows"] if row["format"] == "mxfp4"]


def test_blocks_of_another_size_or_type_are_quantised(blocks) -> None:
    path, name = blocks
    model = evaluation.Model(path)
    others = [find(each) for each in ("q4_0", "q4_1", "q8_0") if each != name]
    rows = evaluation.errors(model, model.chosen(["blk.1.attn_q"]), others, {})
    assert None not in [row.sqnr_db for row in rows]


def test_a_scale_that_is_no_number_is_the_files_fault(gatemill, blocks) -> None:
    path, name = blocks
    data, place = bytearray(path.read_bytes()), ModelFile(path).tensors["blk.1.attn_v.weight"].offset
    data[place : place + 2] = np.float16("inf").tobytes()
    path.write_bytes(data)
    status, _, err = gatemill("quantize", path, "--formats", name, "--layers", "blk.1.*")
    message = f"MODEL {str(path)!r}: tensor blk.1.attn_v must be finite, not inf as the scale of block 0"
    assert (status, message in err) == (2, True)


def test_raw_bytes_of_a_tensor(tmp_path) -> None:
    file = ModelFile(small_model(tmp_path / "m.gguf"))
    tensor = file.tensors["blk.0.attn_k.weight"]
    raw = file.raw("blk.0.attn_k.weight")
    assert len(raw) == tensor.bytes
    values = gguf.quants.dequantize(np.frombuffer(raw, np.uint8), tensor.type)
    np.testing.assert_array_equal(values.reshape(tensor.shape), file.read("blk.0.attn_k.weight"))
    with pytest.raises(ModelFileError, match="the model must have a tensor x"):
        file.raw("x")


def test_perplexity_quantises_the_chosen_layers_only(gatemill, tmp_path) -> None:
    path = small_model(tmp_path / "m.gguf")
    model = evaluation.Model(path)
    tokens = Llama(ModelFile(path)).tokenizer.encode("abc ab" * 10)
    chosen = model.chosen(["blk.1.ffn_up", "blk.0.attn_v"])
    weights = {layer: quantise(model.matrix(layer), "int2").values().astype(np.float32) for layer in chosen}
    chances = Llama(ModelFile(path), replaced=weights).log_probabilities(tokens)
    wanted = math.exp(
        -chances[np.arange(len(tokens) - 1), tokens[1:]].sum(dtype=np.float64) / (len(tokens) - 1)
    )
    assert evaluation.perplexity(model, chosen, tokens, find("int2"), {}) == pytest.approx(wanted, rel=1e-5)
    (tmp_path / "t.txt").write_text("abc ab" * 10)
    out = gatemill(
        "quantize", path, "--layers", ",".join(chosen), "--formats", "int2", "--perplexity", "--text",
        tmp_path / "t.txt", "--json",
    )[1]  # fmt: skip
    assert json.loads(out)["perplexity"]["int2"] == evaluation.perplexity(
        model, chosen, tokens, find("int2"), {}
    )


def test_a_bad_tensor_is_refused_by_perplexity_too(tmp_path) -> None:
    path = small_model(tmp_path / "m.gguf", types=gguf.GGMLQuantizationType.F32)
    data, place = bytearray(path.read_bytes()), ModelFile(path).tensors["blk.0.ffn_up.weight"].offset
    data[place : place + 4] = np.float32("nan").tobytes()
    path.write_bytes(data)
    model = evaluation.Model(path)
    with pytest.raises(
        RequestError, match=r"MODEL .*: tensor blk.0.ffn_up must be finite, not nan at \[0, 0\]"
    ):
        evaluation.perplexity(model, model.layers, [0, 1], find("int4"), {})
    with pytest.raises(RequestError, match="--formats mxfp4: rounding must be one of even"):
        evaluation.perplexity(model, ["blk.1.ffn_up"], [0, 1], find("mxfp4"), {"rounding": "up"})


def test_matrices_of_a_safetensors_file(tmp_path) -> None:
    """Floating numbers in two dimensions; embedding and output only when they are named."""
    matrix = np.ones((2, 32), np.float32)
    tensors = {
        "model.layers.0.q.weight": matrix.astype(ml_dtypes.bfloat16),
        "half": matrix.astype(np.float16),
        "double": matrix.astype(np.float64),
        "double.weight": matrix * 3,
        "layers.0.attention.output.weight": matrix,
        "model.embed_tokens.weight": matrix,
        "lm_head.weight": matrix,
        "output.weight": matrix * 2,
        "integers": matrix.astype(np.int32),
        "nothing": np.ones((0, 32), np.float32),
        "kernel": np.ones((2, 2, 2), np.float32),
    }
    save_file(tensors, tmp_path / "m.safetensors")
    model = evaluation.Model(tmp_path / "m.safetensors")
    layers = {"model.layers.0.q", "half", "double", "double.weight", "layers.0.attention.output"}
    assert set(model.layers) == set(model.chosen([])) == layers
    assert set(model.chosen(["lm_head", "model.*"])) == {"lm_head", "model.embed_tokens", "model.layers.0.q"}
    assert [float(model.matrix(name)[0, 0]) for name in ("double", "double.weight", "output")] == [1, 3, 2]
    assert model.matrix("model.layers.0.q").dtype == np.float32
    with pytest.raises(RequestError, match="must fit a layer"):
        model.chosen(["integers", "nothing", "kernel"])


@pytest.mark.parametrize(
    ("formats", "options"),
    [
        ("mxfp4", {"rounding": "nearest", "scaling": "ceiling"}),
        ("ovp4-int4", {"rules": "released-code"}),
        ("ovp4-int4", {"threshold": "top"}),
        ("fp4-mixed", {"arithmetic": "fp16"}),
        ("nvfp4-4over6", {"error": "mae"}),
    ],
)
def test_options_reach_the_rules(gatemill, small, formats, options) -> None:
    """Those formats that have them, beside one that has none."""
    settings = [word for key, value in options.items() for word in ("--option", f"{key}={value}")]
    status, out, err = gatemill("quantize", small, "--formats", f"{formats},bipolar4", *settings, "--json")
    assert (status, err) == (0, "")
    document = json.loads(out)
    assert document["options"] == options
    model = evaluation.Model(small)
    for row in document["rows"]:
        own = options if row["format"] == formats else {}
        matrix = model.matrix(row["layer"])
        values = quantise(matrix, row["format"], **own).values()
        assert row == vars(evaluation.error(row["layer"], row["format"], matrix, values))
    plain = evaluation.errors(model, model.layers, [find(formats)], {})
    assert [vars(row) for row in plain] != [row for row in document["rows"] if row["format"] == formats]


def test_a_format_asked_for_twice_is_shown_once(gatemill, small) -> None:
    document = json.loads(gatemill("quantize", small, "--formats", "int4, nvfp4,INT4", "--json")[1])
    assert [row["format"] for row in document["rows"] if row["layer"] == "a"] == ["int4", "nvfp4"]
    assert document["options"] == {}


def test_formats_are_listed(gatemill) -> None:
    status, out, _ = gatemill("formats", "--json")
    rows = json.loads(out)
    assert status == 0
    assert [row["name"] for row in rows] == list(FORMATS)
    assert {"name", "bits", "bits_per_weight", "block", "scale", "families"} <= set(rows[0])
    assert next(row for row in rows if row["name"] == "int8")["families"] == [
        "bit-serial",
        "decoded",
        "lookup",
        "systolic",
    ]
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
        (["quantize", "{small}", "--formats", "fp5"], "--formats 'fp5': format must be one of those that `gatemill"),
        (["quantize", "{small}", "--formats", "int4,,int8"], "--formats 'int4,,int8': must be names with one comma between"),
        (["quantize", "{small}", "--formats", ""], "--formats '': must be names with one comma between two"),
        (["quantize", "{small}", "--option", "rounding"], "--option 'rounding': must be KEY=VALUE"),
        (
            ["quantize", "{small}", "--formats", "int4,mxfp4,ovp4-int4", "--option", "error=mae"],
            "--option 'error=mae': must be an option of a chosen format (arithmetic, rounding, rules, scaling, threshold)",
        ),
        (["quantize", "{small}", "--formats", "q4_0", "--option", "error=mae"], "a chosen format (they have none)"),
        (
            ["quantize", "{small}", "--formats", "mxfp4", "--option", "rounding=up"],
            "--formats mxfp4: rounding must be one of even, nearest, floor, not 'up'",
        ),
        (
            ["quantize", "{small}", "--option", "arithmetic=fp16", "--option", "arithmetic=exact"],
            "--option 'arithmetic=exact': must be given once, arithmetic is fp16 already",
        ),
        (
            ["quantize", "{large}", "--formats", "int4", "--option", "arithmetic=fp16"],
            "tensor a must be in half precision's range (65504), not 100000.0 at [0, 0]",
        ),
        (["quantize", "{small}", "--layers", "z*"], "--layers 'z*': must fit a layer from a to b"),
        (["quantize", "{small}", "--perplexity"], "--perplexity: must be left out"),
        (["quantize", "{small}", "--tokens", "1"], "--tokens 1: must be an integer from 2"),
        (["quantize", "{broken}"], "must be a model that can be read"),
        (["quantize", "{empty}"], "must be a model that can be read"),
        (["quantize", "{infinite}", "--formats", "int4"], "tensor a must be finite, not inf at [2, 1]"),
        (["formats", "fp5"], "format must be one of those that `gatemill formats` lists"),
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
    save_file({"a.weight": np.full((1, 4), 1e5, np.float32)}, tmp_path / "large.safetensors")
    files = {name: tmp_path / f"{name}.safetensors" for name in ("small", "broken", "infinite", "large")}
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


def test_a_format_without_noise_is_called_exact_in_the_picture() -> None:
    formats = [find("int4"), find("q4_0")]
    noisy, exact = (
        [evaluation.LayerError(layer="l", format=f.name, sqnr_db=db, max_error=0, cosine=1) for f, db in
         zip(formats, each, strict=True)]
        for each in ((20.0, 30.0), (20.0, None))
    )  # fmt: skip
    assert b"<!-- exact -->" not in quality(noisy, formats, {}, "t")
    assert quality(exact, formats, {}, "t").count(b"<!-- exact -->") == 1


@pytest.mark.long
def test_the_order_of_formats_on_a_real_model() -> None:
    """What docs/formats.md says of SmolLM2: BitMoD leads at 3 bits and in noise, asymmetric integers at 4 bits in perplexity."""
    model = evaluation.Model(fetch.fetch("smollm2"))
    assert model.llama is not None
    tokens = model.llama.tokenizer.encode(resources.files("gen.data").joinpath("text.txt").read_text())[:512]
    found = {
        name: evaluation.perplexity(model, model.layers, tokens, find(name), {})
        for name in ("int4-asym", "fp4-mixed", "ovp4-int4", "mxfp4", "fp3-mixed", "int3-asym", "int3:g128")
    }
    assert sorted(found, key=lambda name: found[name]) == list(found)
