"""Perplexity by format: the golden model's logits by hand, caches in few bits, the command and the simulated accelerator."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from gen import config
from gen.chat.device import Golden
from gen.errors import RequestError
from gen.models.fetch import find as fetched
from gen.precision import linears, perplexity
from gen.precision.cache import GROUP, KINDS, PUBLISHED
from gen.precision.figures import THROUGHPUT, judge
from hw.formats import find
from sim.quantise import quantise
from tests.test_models import small_model
from tests.test_precision import TEXT

LOOKUP, OLIVE = "lut-m2n64k4", "olive-8x8"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return linears.load(small_model(tmp_path_factory.mktemp("model") / "small.gguf"))


@pytest.fixture(scope="module")
def configs():
    return [config.load(LOOKUP), config.load(OLIVE)]


def test_a_format_goes_to_the_first_array_that_has_it(model, configs) -> None:
    for text, name, weights, cache in (
        ("int4-s8", LOOKUP, {"int4-s8"}, "float"),
        ("ovp4-int4/int8+kivi2", OLIVE, {"ovp4-int4"}, "kivi2"),
        ("attn=int4-s8,ffn=int2,head=int2-asym", LOOKUP, {"int4-s8", "int2", "int2-asym-s8"}, "float"),
    ):
        found = perplexity.setup(text, configs, model.names)
        assert (found.costs.config.name, set(found.weights.values()), found.kind.name) == (
            name,
            weights,
            cache,
        )
    assert found.weights["head"] == "int2-asym-s8"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("int9", "must be one that the array of a configuration has"),
        ("int4-s8/int2", "olive-8x8: "),
        (
            "int4-s8+kivi3",
            "cache must be one of float, int8, kivi4, kivi2, kivi4-r128, kivi2-r128, array, not 'kivi3'",
        ),
        (
            "int4-s8+array",
            "lut-m2n64k4: attention on the array: it must take int8 x int8, not only int8 x int4-s8,",
        ),
        ("attn=int4-s8", "must give every layer a format"),
    ],
)
def test_formats_that_no_array_has_are_refused(model, configs, text, words) -> None:
    with pytest.raises(RequestError) as caught:
        perplexity.setup(text, configs, model.names)
    assert words in str(caught.value)


def test_perplexity_by_hand(model, configs) -> None:
    """Beside the float model with the same numbers in its matrices; activations are int8, and the text is short."""
    tokens = model.tokenizer.encode(TEXT)
    chosen = perplexity.setup("int4-s8", configs, model.names)
    found = perplexity.perplexity(
        model, perplexity.linears(model, chosen), chosen, Golden(), [tokens[:20], tokens[20:]]
    )

    def product(layer):
        matrix = quantise(model.matrix(layer), "int4-s8").values()
        return lambda x: quantise(x, "int8").values() @ matrix.T

    total, count = 0.0, 0
    with model.within({layer: product(layer) for layer in model.names}):
        for window in (tokens[:20], tokens[20:]):
            logits = model.logits_from(0, model.embedded(window[:-1]))
            chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
            total -= np.log(chances[np.arange(len(window) - 1), window[1:]]).sum()
            count += len(window) - 1
    assert found == pytest.approx(math.exp(total / count), rel=1e-3)


@pytest.mark.parametrize("format", ["int4-s8+kivi2", "int8/int8:g32", "int8/int8+array"])
def test_chunks_change_nothing(model, configs, format) -> None:
    tokens = model.tokenizer.encode(TEXT)
    chosen = perplexity.setup(format, configs, model.names)
    layers = perplexity.linears(model, chosen)
    assert perplexity.compare(model, layers, chosen, Golden(), Golden(), tokens)


def test_a_cache_of_rows() -> None:
    random, kind = np.random.default_rng(1), KINDS["int8"]
    cache = kind.make(2, 8)
    keys, values = random.normal(size=(2, 5, 2, 8))
    for token in range(5):
        cache.add(keys[token], values[token])
    for token in range(5):
        assert np.array_equal(cache.keys[:, token], quantise(keys[token], "int8").values())
        assert np.array_equal(cache.values[:, token], quantise(values[token], "int8").values())


@pytest.mark.parametrize("residual", [GROUP, PUBLISHED])
@pytest.mark.parametrize("bits", [2, 4])
def test_kivi_cache(bits, residual) -> None:
    random = np.random.default_rng(2)
    count, heads, size = 2 * residual + 5, 2, 64
    name = f"kivi{bits}" + ("-r128" if residual == PUBLISHED else "")
    cache, format = KINDS[name].make(heads, size), find(f"kivi{bits}:g{GROUP}")
    keys, values = random.normal(size=(2, count, heads, size))
    for token in range(count):
        cache.add(keys[token], values[token])
    for head in range(heads):
        for group in range(2 * residual // GROUP):
            part = slice(group * GROUP, (group + 1) * GROUP)
            assert np.array_equal(cache.keys[head, part], quantise(keys[part, head].T, format).values().T)
        assert np.array_equal(cache.keys[head, 2 * residual :], keys[2 * residual :, head])
        old = count - residual
        assert np.array_equal(cache.values[head, :old], quantise(values[:old, head], format).values())
        assert np.array_equal(cache.values[head, old:], values[old:, head])
    assert KINDS[name].bits == bits + 32 / GROUP


def test_eval(gatemill, tmp_path) -> None:
    path = small_model(tmp_path / "m.gguf")
    (tmp_path / "t.txt").write_text(TEXT)
    status, out, _ = gatemill(
        "eval", path, "--config", LOOKUP, "--formats", "fp32,int4-s8", "--format", "attn=int4-s8,ffn=int2,head=int2",
        "--text", tmp_path / "t.txt", "--tokens", 30, "--window", 16, "--json", "-o", tmp_path / "e",
    )  # fmt: skip
    found = json.loads(out)
    assert status == 0
    whole, uniform, mixed = found["rows"]
    assert [row["name"] for row in found["rows"]] == ["fp32", "int4-s8", "attn=int4-s8,ffn=int2,head=int2"]
    assert whole["cycles"] is None
    assert uniform["cycles"] > mixed["cycles"]
    assert uniform["bits"] > mixed["bits"]
    assert all(row["note"] == "" and row["perplexity"] > 1 for row in found["rows"])
    assert uniform["tokens_per_second"] == pytest.approx(100e6 / uniform["cycles"])
    assert json.loads((tmp_path / "e" / "eval.json").read_text()) == found
    assert b"<svg" in (tmp_path / "e" / "eval.svg").read_bytes()


def test_a_format_that_breaks_the_model_is_named() -> None:
    rows = [
        {"name": name, "perplexity": value, "note": ""}
        for name, value in (("fp32", 20.0), ("a", 199.0), ("b", 201.0))
    ]
    judge(rows)
    assert [row["note"] for row in rows] == ["", "", THROUGHPUT]


@pytest.mark.parametrize(
    ("preset", "formats"),
    [
        ("systolic-4x4", ["--formats", "int8+kivi2"]),
        pytest.param("systolic-4x4", ["--formats", "int8/int8:g32"], marks=pytest.mark.long),
        pytest.param(
            LOOKUP,
            ["--format", "attn=int4-s8,ffn=int2,head=int2+kivi2", "--formats", "int4-asym"],
            marks=pytest.mark.long,
        ),
    ],
)
def test_the_accelerator_says_the_same(gatemill, tmp_path, preset, formats) -> None:
    path = small_model(tmp_path / "m.gguf")
    (tmp_path / "t.txt").write_text(TEXT)
    status, out, _ = gatemill(
        "eval", path, "--config", preset, *formats, "--text", tmp_path / "t.txt", "--tokens", 12, "--simulate", 2, "--json",
    )  # fmt: skip
    assert status == 0
    for row in json.loads(out)["rows"]:
        ran = row["simulated"]
        assert (ran["tokens"], ran["equal"], ran["mismatch"], ran["cycle_error"]) == (2, True, None, 0)
        assert ran["cycles"] == 2 * row["cycles"]


@pytest.mark.long
def test_formats_of_the_real_model_have_their_order(gatemill) -> None:
    assert fetched("smollm2") is not None, "gatemill models get smollm2"
    status, out, _ = gatemill(
        "eval", "smollm2", "--config", LOOKUP, "--formats", "fp32,int4-asym,int3-asym,ternary-s8", "--tokens", 65, "--json",
    )  # fmt: skip
    assert status == 0
    rows = {row["name"]: row for row in json.loads(out)["rows"]}
    order = [rows[name]["perplexity"] for name in ("fp32", "int4-asym", "int3-asym", "ternary-s8")]
    assert order == sorted(order)
    assert rows["ternary-s8"]["note"] == "throughput only"
