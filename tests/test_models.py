"""The real model and a small one: fetched, read, understood, and taken for input."""

from __future__ import annotations

import time

import gguf
import numpy as np
import pytest

from gen import config, workload
from gen.errors import RequestError
from gen.models import fetch
from gen.models.file import ModelFile
from gen.models.llama import LINEARS, Llama
from gen.models.tokenizer import Tokenizer
from hw import formats
from hw.control.isa import OutputMode
from sim.quantise import quantise
from sim.quantise.ggml import from_blocks
from tests.float_array import FloatReference

WIDTH, HIDDEN, HEADS, KEY_HEADS, BLOCKS, TOKENS = 64, 96, 4, 2, 2, 300


def small_model(path, *, types=gguf.GGMLQuantizationType.Q4_1):
    """A Llama with every part of a real one, written by the reference implementation of the format."""
    values = np.random.default_rng(7)
    names = [chr(0x100 + i) for i in range(TOKENS - 2)] + ["ab", "abc"]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(BLOCKS)
    writer.add_context_length(2048)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEY_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10_000.0)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_array("tokenizer.ggml.tokens", names)
    writer.add_array("tokenizer.ggml.merges", ["a b", "ab c"])
    writer.add_array("some.numbers", [1, 2, 3])
    writer.add_bool("some.flag", True)

    def add(name, *shape):
        data = values.normal(0, 0.2, shape).astype(np.float32)
        if len(shape) == 1:
            writer.add_tensor(name, data)
        else:
            writer.add_tensor(name, gguf.quants.quantize(data, types), raw_dtype=types)

    add("token_embd.weight", TOKENS, WIDTH)
    add("output_norm.weight", WIDTH)
    shapes = dict.fromkeys(LINEARS, (WIDTH, WIDTH)) | {
        "attn_k": (WIDTH // 2, WIDTH),
        "attn_v": (WIDTH // 2, WIDTH),
        "ffn_gate": (HIDDEN, WIDTH),
        "ffn_up": (HIDDEN, WIDTH),
        "ffn_down": (WIDTH, HIDDEN),
    }
    for block in range(BLOCKS):
        for name in ("attn_norm", "ffn_norm"):
            add(f"blk.{block}.{name}.weight", WIDTH)
        for name, shape in shapes.items():
            add(f"blk.{block}.{name}.weight", *shape)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return small_model(tmp_path_factory.mktemp("model") / "small.gguf")


@pytest.fixture(scope="module")
def real():
    return Llama(ModelFile(fetch.fetch("smollm2")), keep=True)


def test_tokenizer_splits_and_merges():
    names = [chr(0x100 + i) for i in range(TOKENS)]
    vocabulary = [*map(chr, range(0x21, 0x7F)), *names, "ab", "abc"]
    tokenizer = Tokenizer(vocabulary, ["a b", "ab c"])
    text = "abc ab\n12"
    assert [vocabulary[i] for i in tokenizer.encode(text)] == ["abc", "Ġ", "ab", "Ċ", "1", "2"]
    assert tokenizer.decode(tokenizer.encode(text)) == text


@pytest.mark.parametrize("linear", LINEARS)
def test_entering_activations_reproduce_the_whole_block(small, linear):
    """Each layer's input, recomputed from the layers before by itself, in float64 and without our ``Llama``'s block."""
    model, numbers = Llama(ModelFile(small)), [3, 14, 15, 92, 65]
    inputs = reference_block(model.file, numbers)
    entering = model.entering(f"blk.0.{linear}", numbers)
    np.testing.assert_allclose(entering, inputs[linear], rtol=0, atol=2e-4)


def reference_block(file, numbers):
    """Block 0 position by position, head by head."""

    def norm(x, name):
        return x / np.sqrt((x * x).mean() + 1e-5) * file.read(f"blk.0.{name}.weight").astype(float)

    def matrix(name):
        return file.read(f"blk.0.{name}.weight").astype(float)

    size = WIDTH // HEADS

    def turn(vector, position):
        pairs = vector.reshape(-1, size // 2, 2)
        turned = (pairs[..., 0] + 1j * pairs[..., 1]) * np.exp(
            1j * position * 10_000.0 ** (-2 * np.arange(size // 2) / size)
        )
        return np.stack([turned.real, turned.imag], axis=-1).reshape(-1, size)

    inputs = {name: [] for name in LINEARS}
    keys, values = [], []
    for position, number_ in enumerate(numbers):
        x = file.read("token_embd.weight")[number_].astype(float)
        normed = norm(x, "attn_norm")
        for name in ("attn_q", "attn_k", "attn_v"):
            inputs[name].append(normed)
        q = turn(matrix("attn_q") @ normed, position)
        keys.append(turn(matrix("attn_k") @ normed, position))
        values.append((matrix("attn_v") @ normed).reshape(-1, size))
        heads = []
        for head in range(HEADS):
            shared = head * KEY_HEADS // HEADS
            weights = np.exp([q[head] @ key[shared] / size**0.5 for key in keys])
            heads.append(sum(w * v[shared] for w, v in zip(weights / weights.sum(), values, strict=True)))
        inputs["attn_output"].append(np.concatenate(heads))
        x = x + matrix("attn_output") @ inputs["attn_output"][-1]
        normed = norm(x, "ffn_norm")
        inputs["ffn_gate"].append(normed)
        inputs["ffn_up"].append(normed)
        gate = matrix("ffn_gate") @ normed
        inputs["ffn_down"].append(gate / (1 + np.exp(-gate)) * (matrix("ffn_up") @ normed))
    return {name: np.array(rows) for name, rows in inputs.items()}


def test_the_real_model_is_fetched_once_and_is_what_it_should_be(real):
    started = time.perf_counter()
    path = fetch.fetch("smollm2")
    assert time.perf_counter() - started < 0.1
    assert path.stat().st_size == 98_362_432
    assert real.sizes.blocks == 30
    assert real.weights("blk.0.attn_q").shape == (576, 576)
    assert real.weights("blk.0.ffn_up").shape == (576, 1536)
    assert len(real.layers) == 210


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("Gravity is", [22007, 6463, 314]),
        (
            "In 2024, don't we'll_x\n\n  a\tb",
            [788, 216, 34, 32, 34, 36, 28, 1326, 982, 392, 3060, 79, 104, 8866, 253, 197, 82],
        ),
        (
            "漢字 一二三 ½ Ⅷ naïve — e\u0301 🙂🏽",
            [
                177,
                137,
                112,
                36518,
                216,
                22924,
                16736,
                230,
                7906,
                227,
                216,
                16738,
                216,
                173,
                223,
                117,
                15486,
                46494,
                1841,
                297,
                151,
                219,
                47526,
                10813,
                233,
                138,
            ],
        ),
    ],
)
def test_tokenizer_of_the_real_model(real, text, numbers):
    """Numbers as the library ``tokenizers`` gives them for the same vocabulary and merges."""
    got = real.tokenizer.encode(text)
    assert real.tokenizer.decode(got) == text
    assert got == numbers


@pytest.mark.long
def test_the_real_model_goes_on_as_it_should(real):
    numbers = real.tokenizer.encode("Gravity is")
    for _ in range(6):
        numbers.append(int(np.argmax(real.logits(numbers))))
    assert real.tokenizer.decode(numbers) == "Gravity is a fundamental concept in physics that"


@pytest.mark.parametrize("mode", workload.MODES)
def test_workload_of_a_real_layer(real, mode):
    del real
    load = workload.of_layer("smollm2", "blk.0.ffn_up", 3, mode)
    assert load.sizes == (3, 576, 1536)
    assert load.formats == ("int8", "int8")
    assert int(np.abs(load.x.integers()).max()) == 127
    assert (np.abs(load.w.integers()).max(axis=0) == 127).all()
    result = load.golden()
    assert result.dtype == (np.int32 if mode == "raw" else np.int8)
    assert len(np.unique(result)) > 100
    again = workload.of_layer("smollm2", "blk.0.ffn_up", 3, mode)
    np.testing.assert_array_equal(load.x.codes, again.x.codes)


def test_quantised_layer_is_close_to_the_real_one(real):
    """Not a claim of the hardware's: that scales, rows and columns are where they should be."""
    numbers = real.tokenizer.encode(workload.PROMPT)
    x, w = real.entering("blk.0.attn_q", numbers)[-8:], real.weights("blk.0.attn_q")
    load = workload.of_layer("smollm2", "blk.0.attn_q", 8, "raw")
    scales = np.abs(x).max(axis=1, keepdims=True) / 127 * np.abs(w).max(axis=0) / 127
    wanted, got = x @ w, load.golden() * scales
    assert np.linalg.norm(got - wanted) < 0.03 * np.linalg.norm(wanted)


@pytest.mark.parametrize("weights", ["fp4-mixed-s8", "fp3-mixed-s8", "int6-s8", "int8-s8:g32"])
@pytest.mark.parametrize("activations", ["int8", "fp16"])
@pytest.mark.parametrize("layer", ["blk.0.attn_q", "blk.3.ffn_down"])
def test_a_layer_with_scales_of_blocks(real, layer, activations, weights):
    """The integers of the operands times what rows share are the quantised layer, bit for bit."""
    numbers = real.tokenizer.encode(workload.PROMPT)
    entering, matrix = real.entering(layer, numbers)[-8:], real.weights(layer)
    pair = (formats.find(activations), formats.find(weights))
    load = workload.of_layer("smollm2", layer, 8, "raw", formats=pair)
    assert load.formats == (activations, weights)
    assert (load.mode, load.scaling) == (OutputMode.RAW, ())
    x, w = quantise(entering, pair[0]), quantise(matrix.T, pair[1])
    np.testing.assert_array_equal(load.x.integers() * x.row_scales[:, None], x.values())
    np.testing.assert_array_equal(load.w.integers() * w.row_scales, w.values().T)
    if activations == "fp16":
        np.testing.assert_array_equal(load.x.codes.view(np.float16), entering.astype(np.float16))
    else:
        wanted = (load.x.integers() @ load.w.integers()) * x.row_scales[:, None] * w.row_scales
        got = load.golden() * x.row_scales[:, None] * w.row_scales
        np.testing.assert_array_equal(got, wanted)
        assert np.linalg.norm(got - entering @ matrix) < 0.3 * np.linalg.norm(entering @ matrix)


@pytest.mark.parametrize("weights", ["int8", "fp4-mixed-s8"])
@pytest.mark.parametrize("activations", ["int8", "fp16"])
def test_the_largest_requantised_result_is_127(real, activations, weights):
    """Half precision has no scale: a sum is of its numbers, times the weights' integers."""
    del real
    pair = (formats.find(activations), formats.find(weights))
    load = workload.of_layer("smollm2", "blk.0.ffn_up", 3, "requantised", formats=pair)
    x = load.x.codes.view(np.float16).astype(np.float64) if activations == "fp16" else load.x.integers()
    scaled = x @ load.w.integers() * load.multiplier / 2.0 ** load.shift.astype(float)
    assert float(np.abs(scaled).max()) == pytest.approx(127, rel=1e-6)
    if activations == "int8":
        assert int(np.abs(load.golden().astype(int)).max()) == 127


def test_float_results_are_the_layers_own_values(real, monkeypatch):
    """Sums of float32 leave as fp16, times what rows share; a feature without weights has no multiplier here either."""
    matrix = real.weights("blk.0.attn_k").copy()
    matrix[:, 5] = 0
    monkeypatch.setattr(Llama, "weights", lambda *_: matrix)
    pair, family = (
        (formats.find("fp16"), formats.find("int8-s8")),
        FloatReference(rows=2, columns=2, data_bytes=4, stationary=False),
    )
    monkeypatch.setattr(
        family,
        "golden",
        lambda x, w: (x.codes.view(np.float16) @ w.integers().astype(np.float32)).astype(np.float32),
    )
    load = workload.of_layer("smollm2", "blk.0.attn_k", 3, "requantised", formats=pair, family=family)
    assert [array.dtype for array in load.scaling] == [np.float32] * 2
    result = load.golden()
    assert result.dtype == np.float16
    wanted = real.entering("blk.0.attn_k", real.tokenizer.encode(workload.PROMPT))[-3:] @ matrix
    assert np.linalg.norm(result - wanted) < 0.03 * np.linalg.norm(wanted)
    assert not result[:, 5].any()


@pytest.mark.parametrize("mode", workload.MODES)
def test_gguf_blocks_are_taken_as_they_are(real, mode):
    """The file's own codes, scales and minimums; fp16 results are the layer's values, but for the rounding of activations."""
    family = config.load("lut-gguf-m2n64k4").instance
    pair, layer = (formats.INT8, formats.find("q4_1")), "blk.0.attn_q"
    load = workload.of_layer("smollm2", layer, 3, mode, formats=pair, family=family)
    name = f"{layer}.weight"
    blocks = from_blocks(pair[1], real.file.raw(name), real.file.tensors[name].shape)
    np.testing.assert_array_equal(load.w.codes, blocks.codes.T)
    np.testing.assert_array_equal(load.w.float_scales, blocks.scales.T)
    np.testing.assert_array_equal(load.w.minimums, blocks.offsets.T)
    np.testing.assert_array_equal(load.w.numbers().astype(np.float32), real.weights(layer))
    result = load.golden()
    assert result.dtype == (np.float32 if mode == "raw" else np.float16)
    entering = real.entering(layer, real.tokenizer.encode(workload.PROMPT))[-3:]
    if mode == "requantised":
        wanted = entering @ real.weights(layer)
        assert np.linalg.norm(result - wanted) < 0.03 * np.linalg.norm(wanted)


@pytest.mark.parametrize("weights", ["q4_0", "int4-asym:g32"])
def test_a_layer_is_quantised_to_other_formats_with_half_precision_scales(real, weights):
    pair, layer = (formats.INT8, formats.find(weights)), "blk.0.attn_k"
    family = config.load("lut-gguf-m2n64k4").instance
    load = workload.of_layer("smollm2", layer, 3, "requantised", formats=pair, family=family)
    wanted = quantise(real.weights(layer).T, pair[1]).values().T
    np.testing.assert_array_equal(load.w.numbers(), wanted)
    exact = load.x.integers() @ wanted * load.multiplier
    assert np.linalg.norm(load.golden() - exact) < 0.001 * np.linalg.norm(exact)


def test_blocks_that_are_not_finite_are_refused(real, monkeypatch):
    raw = bytearray(real.file.raw("blk.0.attn_q.weight"))
    raw[20:22] = np.float16(np.inf).tobytes()
    monkeypatch.setattr(ModelFile, "raw", lambda *_: bytes(raw))
    pair = (formats.INT8, formats.find("q4_1"))
    with pytest.raises(RequestError, match=r"attn_q\.weight must be finite, not inf as the scale of block 1"):
        workload.of_layer("smollm2", "blk.0.attn_q", 1, "raw", formats=pair)


def test_blocks_whose_scales_are_no_whole_numbers_are_refused(real):
    del real
    pair = (formats.INT8, formats.find("mxfp4"))
    with pytest.raises(
        ValueError, match="scales of blocks must be whole numbers for integers, not e8m0 as in mxfp4"
    ):
        workload.of_layer("smollm2", "blk.0.attn_q", 1, "raw", formats=pair)


@pytest.mark.parametrize(("activations", "refused"), [("int8", True), ("fp16", False)])
def test_a_layer_whose_sums_might_not_fit_is_refused(real, monkeypatch, activations, refused):
    """Sums of half precision are not of 32 bits."""
    matrix = np.sign(real.weights("blk.0.ffn_down"))
    entering = real.entering("blk.0.ffn_down", real.tokenizer.encode(workload.PROMPT))
    monkeypatch.setattr(Llama, "weights", lambda *_: matrix)
    monkeypatch.setattr(Llama, "entering", lambda *_: entering)
    pair = (formats.find(activations), formats.find("int8-s8"))
    if not refused:
        load = workload.of_layer("smollm2", "blk.0.ffn_down", 1, "raw", formats=pair)
        assert load.formats == ("fp16", "int8-s8")
        return
    with pytest.raises(RequestError) as caught:
        workload.of_layer("smollm2", "blk.0.ffn_down", 1, "raw", formats=pair)
    # Every weight is the largest, every scale 255.
    reached = 127 * 127 * 255 * int(np.abs(matrix[:, 0]).sum())
    assert str(caught.value) == (
        "--layer 'blk.0.ffn_down': sums in int8-s8 must stay below 2**31, "
        f"but those of feature 0 could reach {reached}"
    )


def test_a_feature_without_weights_has_no_multiplier(real, monkeypatch):
    """Its row's scale is the smallest there is, which no multiplier reaches."""
    matrix = real.weights("blk.0.attn_k").copy()
    matrix[:, 5] = 0
    monkeypatch.setattr(Llama, "weights", lambda *_: matrix)
    pair = (formats.INT8, formats.find("int4-s8"))
    load = workload.of_layer("smollm2", "blk.0.attn_k", 2, "requantised", formats=pair)
    assert np.flatnonzero(load.multiplier == 0).tolist() == [5]
    assert not load.golden()[:, 5].any()


@pytest.mark.parametrize(
    ("layer", "tokens", "words"),
    [("blk.30.attn_q", 1, "--layer 'blk.30.attn_q': must be one of blk.0.attn_q to blk.29.ffn_down"),
     ("blk.0.norm", 1, "--layer"), ("blk.0.attn_q", 0, "--tokens 0: must be an integer from 1 to"),
     ("blk.0.attn_q", 9999, "--tokens 9999: must be")],
)  # fmt: skip
def test_a_layer_that_cannot_be_had_is_refused(real, layer, tokens, words):
    del real
    with pytest.raises(RequestError) as caught:
        workload.of_layer("smollm2", layer, tokens, "raw")
    assert str(caught.value).startswith(words)
