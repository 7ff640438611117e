"""Attention on the array: integers by hand, the host's attention within its precision, chunks, simulation, refusals."""

import json
from itertools import pairwise

import numpy as np
import pytest

from gen.chat import host, network
from gen.chat.attention import ArrayAttention, HostAttention
from gen.chat.device import Golden
from gen.config import load
from gen.models.llama import Sizes
from sim.cycles.memory import MemoryTiming
from sim.quantise import quantise
from tests.test_models import BLOCKS, KEY_HEADS, small_model

SIZES = Sizes(blocks=2, width=48, hidden=48, heads=6, key_heads=3, head=8, epsilon=1e-5, rope_base=1e4)
ARRAYS = ("systolic-4x4", "bitmod-int8-8x8", "olive-8x8", "mx-8x8")


class Watched(Golden):
    """Remembers what it was given."""

    def __init__(self):
        super().__init__()
        self.tasks = []

    def sums(self, tasks):
        self.tasks += tasks
        return super().sums(tasks)


def attention(preset):
    device = Watched()
    return ArrayAttention(SIZES, network.Target.of(load(preset, []), MemoryTiming()), device), device


def drawn(count):
    random = np.random.default_rng(5)
    return (
        random.normal(size=(count, heads, SIZES.head))
        for heads in (SIZES.heads, SIZES.key_heads, SIZES.key_heads)
    )


def test_integers_by_hand():
    """Token 2 of three: what enters both products, and what comes out of them."""
    queries, keys, values = drawn(3)
    ours, device = attention("systolic-4x4")
    ours.mix(1, queries[:2], keys[:2], values[:2])
    device.tasks.clear()
    found = ours.mix(1, queries[2:], keys[2:], values[2:])
    for head in range(3):
        (qk, x), (pv, p) = device.tasks[head], device.tasks[3 + head]
        assert (qk.name, pv.name) == (f"blk.1.attn_qk[{head}]", f"blk.1.attn_pv[{head}]")
        q, k, v = (
            quantise(each, "int8")
            for each in (queries[2, 2 * head : 2 * head + 2], keys[:, head], values[:, head])
        )
        assert np.array_equal(x.integers(), q.levels())
        assert np.array_equal(qk.w.integers()[:, :3], k.levels().T)
        assert qk.w.shape == (8, 32)
        assert not qk.w.integers()[:, 3:].any()
        scores = (q.levels() @ k.levels().T) * q.row_scales[:, None] * k.row_scales / np.sqrt(8)
        chances = np.exp(scores - scores.max(axis=1, keepdims=True))
        weighed = quantise(chances * v.row_scales, "int8")
        assert np.array_equal(p.integers()[:, :3], weighed.levels())
        assert not p.integers()[:, 3:].any()
        assert np.array_equal(pv.w.integers()[:3], v.levels())
        wanted = (
            (weighed.levels() @ v.levels()) * weighed.row_scales[:, None] / chances.sum(axis=1, keepdims=True)
        )
        assert np.allclose(found[0, 16 * head :][:16], wanted.reshape(-1), rtol=1e-12)


@pytest.mark.parametrize("preset", ARRAYS)
def test_beside_the_host(preset):
    """As exact as 8 bits are; and whatever is read at once, bit for bit the same."""
    queries, keys, values = drawn(37)
    exact = HostAttention(SIZES).mix(0, queries, keys, values)
    whole = attention(preset)[0].mix(0, queries, keys, values)
    assert np.abs(whole - exact).max() < 0.06 * np.abs(exact).max()
    pieces, _ = attention(preset)
    cuts = [0, 1, 2, 30, 33, 37]
    found = [pieces.mix(0, queries[a:b], keys[a:b], values[a:b]) for a, b in pairwise(cuts)]
    assert np.array_equal(np.concatenate(found), whole)
    assert (pieces.position, pieces._keys[0][0].length) == (0, 37)


def test_host_attention_of_several_rows():
    queries, keys, values = drawn(3)
    ours = HostAttention(SIZES)
    found = ours.mix(0, queries, keys, values)
    assert np.array_equal(found[2], host.attend(queries[2], keys.swapaxes(0, 1), values.swapaxes(0, 1)))


@pytest.mark.parametrize(
    "preset",
    ["systolic-4x4", *(pytest.param(each, marks=pytest.mark.long) for each in ("bitmod-int8-8x8", "mx-8x8"))],
)
def test_in_simulation(gatemill, tmp_path, preset):
    """Every sum of attention equal, every cycle; a chunked prompt and single tokens, and the golden model, say the same."""
    small = small_model(tmp_path / "small.gguf")
    arguments = ["chat", small, "--config", preset, "--prompt", "abcab", "--tokens", "2", "--json"]
    formats = ["--weights", "int8", "--activations", "int8", "--attention", "accelerator"]
    found = []
    for more in (["--check"], ["--check", "--chunk", "2"], ["--golden"]):
        status, out, _ = gatemill(*arguments, *formats, *more)
        assert status == 0
        found.append(json.loads(out))
    single, chunked, golden = found
    assert single["tokens"] == chunked["tokens"] == golden["tokens"]
    for one in (single, chunked):
        assert (one["equal"], one["cycle_error"], one["attention"]["on"]) == (True, 0, "accelerator")
        assert one["attention"]["programs_per_token"] == 2 * KEY_HEADS * BLOCKS
        assert 0 < one["attention"]["cycles_per_token"] < one["cycles_per_token"]
    assert golden["attention"]["cycles_per_token"] is None


def test_refusals(gatemill, tmp_path):
    small = small_model(tmp_path / "small.gguf")
    for options, text in (
        (("--attention", "fpga"), "--attention 'fpga': must be one of host, accelerator"),
        (
            ("--attention", "accelerator", "--config", "lut-ternary-m2n64k4"),
            "attention on the array: it must take int8 x int8, not only int8 x ternary-s8, int8 x ternary",
        ),
    ):
        status, _, err = gatemill("chat", small, "--prompt", "abc", *options)
        assert status == 2
        assert text in err
        assert err.count("\n") == 1
