"""Formats of layers: assignments, errors, costs, and the choice under a budget against all that there are."""

from __future__ import annotations

import itertools
import json
import shlex
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from documents import check_options, shown

from gen import config
from gen.compiler import compile_gemm
from gen.errors import RequestError
from gen.models import assignment
from gen.precision import linears
from gen.precision.cycles import Costs
from gen.precision.errors import output_errors
from gen.precision.search import Table, front, next_to_widen, solve
from hw.control.isa import OutputMode
from hw.formats import find
from sim.cycles.program import predict
from sim.quantise import quantise
from tests.test_models import small_model

ROOT = Path(__file__).parent.parent
LAYERS = ["blk.0.attn_q", "blk.0.ffn_up", "blk.1.attn_q", "head"]
PRESET = "lut-m2n64k4"
TEXT = "".join(chr(1 + (7 * i * i + i // 3) % 31) for i in range(40))
"""Of characters that the small model's tokeniser has."""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return linears.load(small_model(tmp_path_factory.mktemp("model") / "small.gguf"))


@pytest.mark.parametrize(
    ("text", "formats"),
    [
        ("int4", "int4 int4 int4 int4"),
        ("attn=int4,ffn=int3,head=int8", "int4 int3 int4 int8"),
        ("*=int4,blk.1.*=int2,head=int8", "int4 int4 int2 int8"),
        ("blk.0.attn_q=int4,attn=int2,ffn=int3,head=int3", "int2 int3 int2 int3"),
    ],
)
def test_assignments(text, formats, tmp_path) -> None:
    wanted = dict(zip(LAYERS, formats.split(), strict=True))
    assert assignment.parse("--format", text, LAYERS) == wanted
    path = tmp_path / "a.toml"
    path.write_text(assignment.toml(wanted, ["a note"]))
    assert assignment.parse("--format", str(path), LAYERS) == wanted


def test_layers_that_are_not_met_have_the_default() -> None:
    assert assignment.parse("--format", "head=int8", LAYERS, "int4")["blk.1.attn_q"] == "int4"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("attn=int4,head=int8", "must give every layer a format, and gives blk.0.ffn_up none"),
        ("attn=int4,,head=int8", "must be a format, PATTERN=FORMAT"),
        ("", "must be a format, PATTERN=FORMAT"),
        ("int4,int3", "must be a format, PATTERN=FORMAT"),
        ("blk.7.*=int4", "'blk.7.*' must be attn, ffn, head, attn_q, attn_k,"),
        ("nowhere.toml", "must be readable TOML"),
    ],
)
def test_assignments_that_cannot_be_are_refused(text, words) -> None:
    with pytest.raises(RequestError, match="--format") as caught:
        assignment.parse("--format", text, LAYERS)
    assert words in str(caught.value)


def test_a_file_without_formats_is_refused(tmp_path) -> None:
    (tmp_path / "a.toml").write_text("[formats]\nhead = 4\n")
    with pytest.raises(RequestError, match=r"must have a table \[formats\]"):
        assignment.parse("--format", str(tmp_path / "a.toml"), LAYERS)


def table(seed: int, layers: int = 5, formats: int = 4) -> Table:
    """Wider formats take more and err less, but for chance."""
    random = np.random.default_rng(seed)
    taken = [
        [SimpleNamespace(cycles=int(c), bytes=int(b)) for c, b in random.integers(1, 1000, (formats, 2))]
        for _ in range(layers)
    ]
    return Table(
        layers=tuple(f"layer{i}" for i in range(layers)), formats=tuple(f"format{i}" for i in range(formats)),
        taken=taken, errors=random.random((layers, formats)),
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
def test_the_choice_is_the_best_of_all(seed) -> None:
    there = table(seed)
    every = [there.sums(np.array(places)) for places in itertools.product(range(4), repeat=5)]
    least = {measure: int(there.of(measure).min(axis=1).sum()) for measure in ("cycles", "bytes")}
    for budgets in (
        {"cycles": least["cycles"]},
        {"bytes": 2 * least["bytes"]},
        {"cycles": 2500, "bytes": 2500},
    ):
        fitting = [one for one in every if all(getattr(one, m) <= most for m, most in budgets.items())]
        found = solve(there, budgets)
        assert all(getattr(found, measure) <= most for measure, most in budgets.items())
        assert found.error == pytest.approx(min(one.error for one in fitting), rel=1e-5)


def test_a_budget_that_nothing_meets_is_refused() -> None:
    there = table(1)
    least = int(there.of("cycles").min(axis=1).sum())
    with pytest.raises(RequestError, match=f"budget of {least - 1} cycles: must be at least {least}"):
        solve(there, {"cycles": least - 1})


def test_the_front_falls() -> None:
    there = table(2)
    line = front(there, "cycles", 6)
    assert line[0].cycles == there.of("cycles").min(axis=1).sum()
    assert line[-1].error == pytest.approx(there.errors.min(axis=1).sum())
    assert all(one.error >= following.error - 1e-9 for one, following in itertools.pairwise(line))


def test_what_is_widened_first() -> None:
    taken = [[SimpleNamespace(cycles=c, bytes=1) for c in (10, 20, 40)]] * 3
    there = Table(
        layers=("a", "b", "c"), formats=("low", "middle", "high"), taken=taken,
        errors=np.array([[1.0, 0.8, 0.1], [1.0, 0.2, 0.1], [0.5, 0.6, 0.7]]),
    )  # fmt: skip
    steps = next_to_widen(there, there.sums(np.zeros(3, int)), "cycles")
    assert [(layer, name, more) for layer, name, _, more in steps] == [("b", "middle", 10), ("a", "high", 30)]
    assert steps[0][2] == pytest.approx(0.8)


def test_what_a_layer_takes() -> None:
    loaded = config.load(PRESET)
    costs = Costs(config=loaded)
    found = costs.of((96, 64), "int4-s8")
    program = compile_gemm(
        loaded.design(), loaded.instance, 1, 96, 64, mode=OutputMode.RAW, formats=("int8", "int4-s8")
    )
    prediction = predict(loaded.design(), loaded.instance.model().law(), program.instructions, costs.timing)
    assert found.cycles == prediction.cycles
    assert found.bytes == program.regions["weights"][1]
    assert costs.of((96, 64), "int2-s8").bytes < found.bytes


def test_errors_of_layers(model) -> None:
    tokens = model.tokenizer.encode(TEXT)
    pairs = {name: (find("int8"), find(name)) for name in ("int4", "int2")}
    found, largest = output_errors(model, tokens, pairs, features=0)
    assert list(found) == model.names
    x = model.entering("blk.1.ffn_down", tokens)
    w = model.weights("blk.1.ffn_down")
    assert largest["blk.1.ffn_down"] == np.abs(x).max()
    wrong = quantise(x, "int8").values() @ quantise(w.T, "int4").values().T - x @ w
    wanted = (wrong**2).sum() / ((x @ w) ** 2).sum()
    assert found["blk.1.ffn_down"]["int4"] == pytest.approx(wanted, rel=1e-4)
    assert all(errors["int4"] < errors["int2"] for errors in found.values())


def test_some_features_of_what_the_tensor_shares(model) -> None:
    for name in ("nvfp4", "ternary", "q4_1", "int4-asym", "fp4-mixed-s8"):
        every, some = (
            model.quantised("blk.0.ffn_up", find(name), rows) for rows in (None, slice(0, None, 5))
        )
        assert np.array_equal(every.values()[::5], some.values())


def test_the_model_says_the_same_from_any_block(model) -> None:
    tokens = model.tokenizer.encode(TEXT)
    states = list(model.states(tokens))
    logits = model.logits(tokens)
    for block, state in enumerate(states):
        assert np.allclose(model.logits_from(block, state)[-1], logits, atol=1e-4)
    with model.within({"head": lambda x: x[:, :1] * 0}):
        assert not model.logits_from(0, states[0]).any()
    assert model.logits_from(0, states[0]).any()


def test_search_and_trace(gatemill, model, tmp_path) -> None:
    path = small_model(tmp_path / "m.gguf")
    (tmp_path / "t.txt").write_text(TEXT)
    common = ["--config", PRESET, "--text", tmp_path / "t.txt", "--formats", "int4-s8,int2-s8", "--json"]
    status, out, _ = gatemill(
        "search", path, *common, "--cycles", 7000, "--points", 3, "-o", tmp_path / "a.toml"
    )
    found = json.loads(out)
    assert status == 0
    command = shlex.join(["gatemill", "chat", str(path), "--config", PRESET, "--format", "a.toml"])
    assert command in (tmp_path / "a.toml").read_text()
    assert found["chosen"]["cycles"] <= 7000
    assert json.loads((tmp_path / "a.json").read_text()) == found
    assert b"<svg" in (tmp_path / "a.svg").read_bytes()
    formats = assignment.parse("--format", str(tmp_path / "a.toml"), model.names)
    assert formats == {row["layer"]: row["format"] for row in found["layers"]}
    wide, narrow = (one["cycles"] for one in found["uniform"])
    assert narrow < found["chosen"]["cycles"] < wide
    status, out, _ = gatemill("trace", path, *common, "--format", tmp_path / "a.toml", "-o", tmp_path / "t")
    traced = json.loads(out)
    assert status == 0
    assert (
        traced["total"]["cycles"] == found["chosen"]["cycles"] == sum(row["cycles"] for row in traced["rows"])
    )
    widened = {step["layer"] for step in traced["widen"]}
    assert widened == {layer for layer, name in formats.items() if name == "int2-s8"}
    assert b"<svg" in (tmp_path / "t" / "trace.svg").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "--latency, --cycles, --size: at least one of them must be given"),
        (["--cycles", 5, "--latency", 5], "--latency, --cycles: at most one of them must be given"),
        (["--cycles", 5], "budget of 5 cycles: must be at least"),
        (["--size", -1], "--size -1.0: must be a number above 0"),
        (["--cycles", 9, "--formats", "int9"], "weights 'int9': must be one of"),
        (["--cycles", 9, "--clock", 0], "--clock 0.0: must be a number above 0, up to 10000"),
        (
            ["--cycles", 9, "--activations", "int8:g384"],
            "blk.0.attn_q must have whole groups, its sums have 64 steps",
        ),
        (["--cycles", 9, "--sensitivity", "much"], "--sensitivity 'much': must be one of logits, none"),
    ],
)
def test_searches_that_cannot_be_are_refused(gatemill, tmp_path, arguments, words) -> None:
    path = small_model(tmp_path / "m.gguf")
    (tmp_path / "t.txt").write_text(TEXT)
    formats = [] if "--formats" in arguments else ["--formats", "int2-s8"]
    status, out, err = gatemill(
        "search", path, "--config", PRESET, "--text", tmp_path / "t.txt", *formats, *arguments, "-o", tmp_path / "a.toml"
    )  # fmt: skip
    assert (status, out) == (2, "")
    assert words in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["trace", "--clock", "0"], "--clock 0.0: must be a number above 0, up to 10000"),
        (["eval", "--clock", "inf"], "--clock inf: must be a number above 0, up to 10000"),
        (["trace"], "--text: must be of characters that the model knows, not 'T'"),
        (["eval"], "--text: must be of characters that the model knows, not 'E'"),
    ],
)
def test_requests_that_cannot_be_are_refused(gatemill, tmp_path, arguments, words) -> None:
    path, text = small_model(tmp_path / "m.gguf"), tmp_path / "t.txt"
    text.write_text("THE" if arguments == ["trace"] else "ETH")
    command, *options = arguments
    status, out, err = gatemill(command, path, "--config", "systolic-4x4", "--text", text, *options)
    assert (status, out) == (2, "")
    assert words in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "words", shown((ROOT / "docs" / "precision.md").read_text(), "gatemill"), ids=" ".join
)
def test_commands_of_the_page_exist(words, capsys) -> None:
    check_options(words, capsys)
