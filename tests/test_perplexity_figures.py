"""Figures of formats: measured row by row, kept, and not measured again."""

import pytest

from gen import config
from gen.bench import perplexity, records
from gen.bench.perplexity import CASES, Case, Measure
from gen.models import fetch
from gen.precision.figures import THROUGHPUT
from tests.test_models import small_model
from tests.test_precision import TEXT


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A small model instead of the real one, and a text that it knows."""
    path = small_model(tmp_path / "small.gguf")
    monkeypatch.setattr(fetch, "find", lambda name: path)
    monkeypatch.setattr(perplexity.figures, "topics", lambda: TEXT)
    monkeypatch.setattr(perplexity, "TOKENS", 20)
    monkeypatch.setattr(perplexity, "WINDOW", 10)
    return tmp_path / "perplexity.json"


def test_rows_are_kept_and_not_measured_again(small, monkeypatch):
    heard: list[str] = []
    measure = Measure(heard.append)
    cached = Case(format="int4-s8+kivi2", preset="lut-m2n64k4")
    monkeypatch.setitem(CASES, cached.format, cached)
    cases = [CASES["fp32"], CASES["int4-s8"], cached]
    found = [measure.record(case, keep=True, file=small) for case in cases]
    assert [(one["name"], one["configuration"]) for one in found] == [
        ("fp32", None),
        ("int4-s8", "lut-m2n64k4"),
        ("int4-s8+kivi2", "lut-m2n64k4"),
    ]
    assert all(one["perplexity"] > 1 and one["tokens"] == 20 for one in found)
    assert [one["name"] for one in records.kept(small)] == [case.format for case in cases]
    monkeypatch.setattr(perplexity.linears, "load", None)
    assert Measure(heard.append).record(cases[1], keep=True, file=small) == found[1]
    assert heard[-1] == "int4-s8: kept"
    monkeypatch.setattr(perplexity, "TOKENS", 18)
    with pytest.raises(TypeError):  # another text is measured
        Measure(heard.append).record(cases[1], keep=True, file=small)


def test_what_breaks_the_model_is_named():
    rows = [
        {"name": name, "perplexity": value, "note": ""}
        for name, value in (("fp32", 15.0), ("a", 99.0), ("b", 1e6))
    ]
    assert [row["note"] for row in perplexity.judged(rows)] == ["", "", THROUGHPUT]
    assert rows[2]["note"] == ""


def test_every_case_is_one_that_its_array_has():
    from gen.models.assignment import HEAD
    from gen.precision.perplexity import setup

    layers = ["blk.0.attn_q", "blk.0.ffn_up", HEAD]
    for case in CASES.values():
        if case.preset:
            assert setup(case.format, [config.load(case.preset)], layers).name == case.format
