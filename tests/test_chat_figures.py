"""Figures of texts that a model writes: measured case by case, kept, and not measured again."""

import json

import pytest

from gen import config
from gen.bench import __main__ as bench
from gen.bench import chat, records
from gen.models import fetch
from tests.test_models import small_model

CASE = chat.Case(preset="systolic-4x4", prompt="letters")


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A small model instead of the real one, a case for it, and a file of its own."""
    path = small_model(tmp_path / "small.gguf")
    monkeypatch.setattr(fetch, "find", lambda name: path)
    monkeypatch.setattr(chat, "PROMPTS", {"letters": "abc"})
    monkeypatch.setattr(chat, "CASES", {CASE.name: CASE})
    made = chat.generate(config.load(CASE.preset))
    monkeypatch.setattr(chat, "generate", lambda loaded: made)
    monkeypatch.setattr(chat, "TOKENS", 2)
    monkeypatch.setattr(chat, "FILE", tmp_path / "chat.json")
    return tmp_path / "chat.json"


def test_a_case_is_kept_and_not_measured_again(small, monkeypatch):
    heard = []
    first = chat.record(CASE, heard.append, keep=True, file=small)
    assert (first["case"], first["equal"], first["cycle_error"]) == ("systolic-4x4/letters", True, 0)
    assert first["command"].endswith('--config systolic-4x4 --prompt "abc" --tokens 2 --check')
    assert len(first["tokens"]) == 2
    assert 0 < first["seconds_per_token"] < 2 * first["wall_seconds_per_token"]
    assert records.kept(small) == [json.loads(json.dumps(first))]
    monkeypatch.setattr(chat, "Session", None)
    assert chat.record(CASE, heard.append, keep=True, file=small) == first
    assert heard[-1] == "systolic-4x4/letters: kept"
    monkeypatch.setattr(chat, "TOKENS", 3)
    with pytest.raises(TypeError):  # another text is measured
        chat.record(CASE, heard.append, keep=True, file=small)


def test_what_must_hold():
    good = {
        "preset": "lut-m2n64k4",
        "equal": True,
        "cycle_error": 0,
        "tokens": [1] * chat.TOKENS,
        "bus": {"all": 0.97},
        "wall_seconds_per_token": 9.0,
    }
    assert chat.held(good)
    for change in (
        {"equal": False},
        {"cycle_error": 1},
        {"tokens": [1]},
        {"bus": {"all": 0.9}},
        {"wall_seconds_per_token": 61.0},
    ):
        assert not chat.held({**good, **change})
        assert "preset" in change or chat.held({**good, "preset": "other", "bus": {"all": 0.5}})


def test_records_lie_in_order(tmp_path):
    file, order = tmp_path / "r.json", ["a", "b", "c"]
    for name, digest in (("c", "1"), ("a", "2"), ("c", "3")):
        records.put(file, {"case": name, "identity": digest}, order)
    assert [(one["case"], one["identity"]) for one in records.kept(file)] == [("a", "2"), ("c", "3")]
    assert records.find(file, "c", "1") is None
    assert records.find(file, "c", "3") == {"case": "c", "identity": "3"}
    records.put(file, {"case": "b", "identity": "4"}, ["b", "c"])
    assert [one["case"] for one in records.kept(file)] == ["b", "c"]
    assert [path.name for path in tmp_path.iterdir()] == ["r.json"]


def test_command(monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(chat, "rows", lambda notify, names, *, keep: asked.append((names, keep)) or [])
    assert bench.main(["--only", "chat", "--case", "lut-m2n64k4/gravity", "--save", "--json"]) == 0
    assert asked == [(["lut-m2n64k4/gravity"], True)]
    assert json.loads(capsys.readouterr().out) == {"pass": True, "rows": []}
    assert bench.main(["--only", "chat", "--case", "nothing"]) == 2
    assert "--case 'nothing': must be one of lut-m2n64k4/gravity," in capsys.readouterr().err
    assert bench.main(["--only", "mac", "--case", "lut-m2n64k4/gravity"]) == 2
    assert "--case: chat or perplexity must be one of the figures, not mac" in capsys.readouterr().err
