"""Packed layers in the user's cache: the same afterwards, made anew when anything changes or is damaged, bounded."""

import os
from pathlib import Path

import numpy as np
import pytest

from gen.chat import network, store
from gen.config import load
from gen.models.file import ModelFile
from gen.models.llama import Llama
from sim.cycles.memory import MemoryTiming
from tests.test_models import small_model


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "folder", lambda: tmp_path / "packed")
    return tmp_path / "packed"


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return small_model(tmp_path_factory.mktemp("model") / "small.gguf")


def loaded(small, preset, weights=None):
    llama, target = Llama(ModelFile(small)), network.Target.of(load(preset, []), MemoryTiming())
    layers = [*llama.layers, network.HEAD]
    variants = network.choose(target.family, layers, None, weights, "")
    return network.load(llama, target, variants, parallel=2, packed=True)


@pytest.mark.parametrize("preset", ["systolic-4x4", "lut-m2n64k4", "lut-gguf-m2n64k4", "bitmod-int8-8x8"])
def test_what_was_kept_is_the_same(small, cache, monkeypatch, preset):
    first = loaded(small, preset)
    assert len(list(cache.iterdir())) == len(first)
    monkeypatch.setattr(network, "linear", None)  # nothing is made again
    second = loaded(small, preset)
    assert list(first) == list(second)
    random = np.random.default_rng(1)
    for name, one in first.items():
        other = second[name]
        assert np.array_equal(one.scales, other.scales)
        assert [part.name for part in one.parts] == [part.name for part in other.parts]
        for a, b in zip(one.parts, other.parts, strict=True):
            assert np.array_equal(a.loaded(1).image, b.loaded(1).image)
            assert a.loaded(1).predicted == b.loaded(1).predicted
            x, _ = network.enter(random.normal(size=(2, a.w.depth)), a.activations, a.target.family)
            assert np.array_equal(a.golden(x), b.golden(x))


def test_what_differs_is_another(small, cache, monkeypatch):
    loaded(small, "lut-m2n64k4", "int4-s8")
    count = len(list(cache.iterdir()))
    loaded(small, "lut-m2n64k4", "int2-s8")
    assert len(list(cache.iterdir())) == 2 * count
    monkeypatch.setattr(store, "code", lambda: "another")
    loaded(small, "lut-m2n64k4", "int2-s8")
    assert len(list(cache.iterdir())) == 3 * count


def test_damage_is_made_good(small, cache):
    first = loaded(small, "systolic-4x4")
    paths = sorted(cache.iterdir())
    for number, path in enumerate(paths):
        whole = path.read_bytes()
        if number % 3 == 0:
            path.write_bytes(whole[: len(whole) // 2])
        elif number % 3 == 1:
            path.write_bytes(b"")
        else:
            middle = len(whole) // 2
            path.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    second = loaded(small, "systolic-4x4")
    for name, one in first.items():
        for a, b in zip(one.parts, second[name].parts, strict=True):
            assert np.array_equal(a.loaded(1).image, b.loaded(1).image)
    assert sorted(cache.iterdir()) == paths


def test_another_image_is_refused(small, cache, monkeypatch):
    """Whole, but not what it must be: made again."""
    loaded(small, "systolic-4x4")
    for path in cache.iterdir():
        with np.load(path) as arrays:
            changed = {**arrays, "image0": arrays["image0"][:-1]}
        store.put(path.stem, changed)
    made = []
    linear = network.linear
    monkeypatch.setattr(network, "linear", lambda *each: made.append(each[2]) or linear(*each))
    assert len(loaded(small, "systolic-4x4")) == len(made)


def test_the_oldest_go(cache):
    for age, name in enumerate("abcd"):
        store.put(name, {"x": np.zeros(1000, np.uint8)})
        os.utime(cache / f"{name}.npz", (1000 - age, 1000 - age))
    assert store.get("d") is not None  # used now
    size = (cache / "a.npz").stat().st_size
    store.prune(2 * size)
    assert sorted(path.name for path in cache.iterdir()) == ["a.npz", "d.npz"]


def test_without_room_nothing_is_kept(tmp_path, monkeypatch):
    (tmp_path / "packed").write_text("a file")
    monkeypatch.setattr(store, "folder", lambda: tmp_path / "packed")
    store.put("a", {"x": np.zeros(3)})
    assert store.get("a") is None
    store.prune()
    assert (tmp_path / "packed").read_text() == "a file"


def test_what_may_not_be_removed_stays(cache, monkeypatch):
    for name in ("kept", "other"):
        store.put(name, {"a": np.zeros(100)})
    remove = Path.unlink

    def refused(path, *arguments, **options):
        if path.name == "kept.npz":
            raise PermissionError(path)
        remove(path, *arguments, **options)

    monkeypatch.setattr(Path, "unlink", refused)
    store.prune(0)
    assert [path.name for path in cache.glob("*.npz")] == ["kept.npz"]
