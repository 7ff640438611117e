"""A small model speaks through generated Verilog: every sum equal to the golden model's, every cycle to the cycle model's."""

import json
import os
import re
import signal

import gguf
import numpy as np
import pytest

from gen.chat import host, network, session
from gen.chat.device import Accelerator, Golden
from gen.chat.generate import Decoder, generate
from gen.chat.text import Stream, Text
from gen.config import load
from gen.errors import RequestError
from gen.models.file import ModelFile, ModelFileError
from gen.models.llama import LINEARS, Llama
from hw.formats import find
from sim.cycles.memory import MemoryTiming
from sim.quantise import quantise
from tests.test_models import BLOCKS, small_model

PROMPT = [2, 7, 1, 299, 298]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return small_model(tmp_path_factory.mktemp("model") / "small.gguf")


def decoder(path, preset, *, weights=None, activations=None, formats=""):
    llama, target = Llama(ModelFile(path)), network.Target.of(load(preset, []), MemoryTiming())
    layers = [*llama.layers, network.HEAD]
    variants = network.choose(target.family, layers, activations, weights, formats)
    group = network.grouped(activations)[1]
    linears = network.load(llama, target, variants, parallel=1, packed=False, group=group)
    return Decoder(llama, linears, Golden())


def test_sums_in_a_fixed_order():
    """By hand; and a row's sum is the same beside others, whatever they are."""
    assert host.total(np.array([1e16, 1.0, -1e16, 1.0, 4.0])) == (1e16 + -1e16) + (1.0 + 1.0) + 4.0
    values = np.random.default_rng(1).normal(size=(7, 101))
    assert np.array_equal(host.total(values), [host.total(row) for row in values])
    assert np.array_equal(host.total(values.T, axis=0), host.total(values))
    assert np.allclose(host.total(values), values.sum(axis=1))


def test_host_computes_what_the_model_does(small):
    """With the real weights in the place of quantised ones: the logits of the float32 model."""
    llama = Llama(ModelFile(small))

    class Exact:
        def __init__(self, matrix):
            self.matrix, self.parts = matrix.astype(np.float64), ()

        def results(self, sums, scales):
            raise NotImplementedError

    linears = {name: Exact(llama.weights(name)) for name in llama.layers}
    linears[network.HEAD] = Exact(llama.file.read(llama.head).T)

    class Host(Decoder):
        def _through(self, names, rows):
            return [rows @ linears[name].matrix for name in names]

    ours = Host(llama, linears, Golden())
    for count in range(1, len(PROMPT) + 1):
        logits = ours.read(PROMPT[count - 1 : count])
        assert np.abs(logits - llama.logits(PROMPT[:count])).max() < 1e-3
    assert ours.position == len(PROMPT)


@pytest.mark.parametrize(
    ("preset", "formats"),
    [
        ("systolic-4x4", {}),
        ("lut-m2n64k4", {"weights": "int4-asym-s8"}),
        ("lut-gguf-m2n64k4", {"weights": "q4_1"}),
        ("lut-gguf-m2n64k4", {"weights": "q4_1", "activations": "int8:g32"}),
        (
            "bitmod-int8-8x8",
            {"weights": "fp4-mixed-s8", "formats": "head=int8-s8,ffn_up=fp3-mixed-s8"},
        ),
        pytest.param("mx-8x8", {"weights": "mxfp4", "activations": "mxint8"}, marks=pytest.mark.long),
        pytest.param("olive-8x8", {"weights": "ovp4-int4", "activations": "int8"}, marks=pytest.mark.long),
    ],
)
def test_chunks_and_single_tokens_are_the_same(small, preset, formats):
    """Logits bit for bit, whatever is read at once."""
    found = []
    for pieces in ([PROMPT], [PROMPT[:2], PROMPT[2:]], [[token] for token in PROMPT]):
        whole = decoder(small, preset, **formats)
        found += [[whole.read(piece) for piece in pieces][-1]]
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])
    tokens = [
        list(generate(decoder(small, preset, **formats), PROMPT, 5, chunk=chunk)) for chunk in (1, 2, 5)
    ]
    assert tokens[0] == tokens[1] == tokens[2]


def test_blocks_of_the_file_are_taken_as_they_are(small):
    whole = decoder(small, "lut-gguf-m2n64k4")
    linear = whole._linears["blk.0.ffn_up"]
    assert linear.parts[0].w.format.name == "q4_1"
    llama = Llama(ModelFile(small))
    assert np.array_equal(linear.parts[0].w.numbers().astype(np.float32), llama.weights("blk.0.ffn_up"))


@pytest.mark.parametrize("preset", ["systolic-4x4", "olive-8x8", "lut-gguf-m2n64k4"])
def test_groups_of_activations(small, preset):
    """By hand: of each group of 32 the sums times its scales; and closer to the float product than with one scale for all."""
    llama, target = Llama(ModelFile(small)), network.Target.of(load(preset, []), MemoryTiming())
    weights = "q4_1" if preset == "lut-gguf-m2n64k4" else "int8"
    variant = target.family.variant("int8", weights)
    whole, parts = (network.linear(llama, target, "blk.0.ffn_down", variant, 2, group) for group in (0, 32))
    depth = whole.parts[0].w.depth
    assert (parts.groups, len(parts.parts)) == (depth // 32, depth // 32 * len(whole.parts))
    assert parts.parts[-1].name.startswith(f"blk.0.ffn_down[{depth - 32}:{depth},:]")
    rows = np.random.default_rng(4).normal(size=(3, depth))
    rows[:, 5] *= 300  # an outlier
    found = []
    for linear in (whole, parts):
        operands, scales = network.enter_groups(rows, find("int8"), target.family, linear.group)
        assert scales.shape == (3, linear.groups)
        sums = Golden().sums(linear.tasks(operands))
        found.append(linear.results(sums, scales))
    matrix = np.concatenate([part.w.numbers() for part in whole.parts], axis=1) * whole.scales
    wanted = (
        quantise(rows.reshape(-1, 32), "int8").levels()
        * quantise(rows.reshape(-1, 32), "int8").row_scales[:, None]
    )
    assert np.allclose(found[1], wanted.reshape(3, -1) @ matrix, rtol=1e-5, atol=1e-4)
    errors = [np.abs(one - rows @ matrix).max() for one in found]
    assert errors[1] < 0.8 * errors[0]


@pytest.mark.parametrize(
    ("preset", "activations", "text"),
    [
        ("systolic-4x4", "int8:g48", "must have whole groups"),
        ("systolic-4x4", "int8:g6", "groups must be multiples of 4 steps with int8 on this array"),
        ("lut-m2n64k4", "int8:g32", "groups must be multiples of 128 steps with int4-asym-s8"),
        ("systolic-4x4", "int8:gx", "groups must be those of int8, of 1 to 1048576 steps"),
        ("systolic-4x4", "fp16:g32", "groups must be those of int8"),
    ],
)
def test_groups_that_an_array_cannot_have(gatemill, small, preset, activations, text):
    status, _, err = gatemill(
        "chat", small, "--config", preset, "--prompt", "abc", "--activations", activations, "--golden"
    )
    assert status == 2
    assert text in err
    assert err.count("\n") == 1


def test_an_end_ends_it(small):
    said = list(generate(decoder(small, "systolic-4x4"), PROMPT, 8))
    ends = [said[3]]
    again = list(generate(decoder(small, "systolic-4x4"), PROMPT, 8, ends=ends))
    assert again == said[: said.index(said[3]) + 1]


PRESETS = [
    ("systolic-4x4", ()),
    pytest.param("systolic-4x4", ("--activations", "int8:g32"), marks=pytest.mark.long),
    pytest.param("lut-gguf-m2n64k4", ("--activations", "int8:g32"), marks=pytest.mark.long),
    pytest.param("lut-up5k", ("--weights", "int2-s8"), marks=pytest.mark.long),
    pytest.param("lut-gguf-m2n64k4", (), marks=pytest.mark.long),
    pytest.param("bitmod-int8-8x8", ("--format", "attn=int4-s8,head=int8-s8"), marks=pytest.mark.long),
    pytest.param("mx-8x8", ("--weights", "mxfp4", "--activations", "mxint8"), marks=pytest.mark.long),
]


@pytest.mark.parametrize(("preset", "options"), PRESETS)
def test_every_layer_in_simulation(gatemill, small, preset, options):
    """Two simulators, a prompt in chunks: text, tokens and cycles; and the golden model says the same."""
    arguments = ["chat", small, "--config", preset, "--prompt", "abcab", "--tokens", "3", "--json", *options]
    status, out, _ = gatemill(*arguments, "--check", "--parallel", "2", "--chunk", "2")
    document = json.loads(out)
    assert status == 0
    assert document["equal"] is True
    assert document["cycle_error"] == 0
    assert document["mismatch"] is None
    # Output and head are cut in two where there are features enough.
    if "int8:g32" in options:
        assert document["programs_per_token"] >= 2 * (7 * BLOCKS + 1)
        assert all(" int8:g32 x " in f" {each}" for each in document["formats"].values())
    assert document["programs_per_token"] >= 7 * BLOCKS + 1
    assert document["cycles"] > 3 * document["cycles_per_token"] > 0
    assert 0 < document["bus"]["loads"] < document["bus"]["all"]
    assert document["attention"] == {"on": "host", "programs_per_token": 0, "cycles_per_token": 0}
    status, out, _ = gatemill(*arguments, "--golden")
    alone = json.loads(out)
    assert status == 0
    assert (alone["tokens"], alone["text"]) == (document["tokens"], document["text"])
    assert (alone["equal"], alone["cycle_error"], alone["cycles_per_token"]) == (None, None, None)


def test_trace_of_a_window(gatemill, small, tmp_path):
    """Of the cycles that were asked for, in the programs that have them, and no others."""
    arguments = ("chat", small, "--config", "systolic-4x4", "--prompt", "abc", "--tokens", "1", "--json")
    status, out, _ = gatemill(
        *arguments, "--parallel", "1", "--trace", tmp_path / "t", "--trace-window", "1000:3000", "--check"
    )
    document = json.loads(out)
    assert (status, document["equal"], document["cycle_error"]) == (0, True, 0)
    files = sorted((tmp_path / "t").iterdir())
    numbers = [int(file.name.partition("-")[0]) for file in files]
    assert numbers == list(range(numbers[0], numbers[0] + len(files)))
    assert len(files) >= 2
    assert files[0].name == f"{numbers[0]:06}-blk.0.{LINEARS[numbers[0]]}.vcd"
    traced = []
    for file in files:
        times = [int(line[1:]) // 10 for line in file.read_text().splitlines() if line.startswith("#")]
        traced.append((min(times), max(times)))
    assert traced[0][0] == 1000
    assert all(first == 1 for first, _ in traced[1:])
    assert sum(last - first + 1 for first, last in traced) == 2001


def test_a_wrong_sum_shows(gatemill, small, monkeypatch):
    """The layer, the place and both numbers are told."""
    golden = network.Part.golden

    def wrong(part, x):
        sums = golden(part, x)
        sums[0, 3] += part.name == "blk.1.ffn_up"
        return sums

    monkeypatch.setattr(network.Part, "golden", wrong)
    arguments = ("--config", "systolic-4x4", "--prompt", "abc", "--tokens", "1", "--parallel", "1")
    status, out, _ = gatemill("chat", small, *arguments, "--check", "--json")
    document = json.loads(out)
    assert status == 1
    assert document["equal"] is False
    assert (document["mismatch"]["layer"], document["mismatch"]["index"]) == ("blk.1.ffn_up", [0, 3])
    assert document["mismatch"]["wanted"] == document["mismatch"]["got"] + 1
    status, out, _ = gatemill("chat", small, *arguments, "--check")
    assert status == 1
    assert "blk.1.ffn_up differs at [0, 3]: got " in out


@pytest.mark.long
def test_an_interrupt_stops_the_simulators(gatemill, small, monkeypatch, request):
    """In the middle of a token: simulators are closed, what was said is told, the exit status is a shell's."""
    closed = []
    # A shell's background jobs are born with the signal ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))

    class Interrupted(Accelerator):
        def sums(self, tasks):
            if self.account.programs >= 7 * BLOCKS * len("ab") + 3:
                signal.raise_signal(signal.SIGINT)
            return super().sums(tasks)

        def close(self):
            super().close()
            closed.append(self)

    monkeypatch.setattr(session, "Accelerator", Interrupted)
    arguments = ("--config", "systolic-4x4", "--prompt", "abcab", "--json", "--parallel", "1")
    status, out, err = gatemill("chat", small, *arguments)
    document = json.loads(out)
    assert status == 130
    assert len(document["tokens"]) == 1
    assert document["cycle_error"] == 0
    assert len(closed) == 1
    assert err.endswith("gatemill: interrupted\n")


@pytest.mark.long
def test_report_for_people(gatemill, small):
    status, out, err = gatemill(
        "chat",
        small,
        "--config",
        "systolic-4x4",
        "--prompt",
        "abcab",
        "--tokens",
        "2",
        "--check",
        "--clock",
        "50",
    )
    assert status == 0
    assert out.startswith("abcab")
    assert "2 tokens after 2 of the prompt" in out
    assert "tokens/s at 50 MHz" in out
    steps = [line for line in err.splitlines() if line.endswith(" tokens/s at 50 MHz]")]
    assert len(steps) == 1
    cycles, board = re.search(
        r"\[([\d,]+) cycles, .* cycles/s, .* tokens/s; ([\d.]+) tokens", steps[0]
    ).groups()
    assert float(board) == pytest.approx(50e6 / int(cycles.replace(",", "")), abs=0.01)
    assert "cycles off the cycle model: 0" in out
    assert "every sum of every layer equal to the golden model" in out


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--prompt", ""), "--prompt '': must have at least one token"),
        (("--prompt", "xyz"), "--prompt: must be of characters that the model knows, not 'x'"),
        (("--prompt", "abc", "--tokens", "0"), "--tokens 0: must be an integer from 1 to 4096"),
        (
            ("--prompt", "abc", "--tokens", "4096"),
            "--tokens: a text must have at most the model's 2048 tokens, not 409",
        ),
        (("--prompt", "abc", "--chunk", "0"), "--chunk 0: must be an integer from 1 to 256"),
        (("--prompt", "abc", "--clock", "0"), "--clock 0.0: must be a number above 0"),
        (
            ("--prompt", "abc", "--trace", "t", "--trace-window", "5:4"),
            "--trace-window '5:4': must be A:B, cycles from 1 on of which A is not above B",
        ),
        (
            ("--prompt", "abc", "--trace-window", "5:9"),
            "--trace-window: must have a folder for traces (--trace DIR)",
        ),
        (("--prompt", "abc", "--golden", "--trace", "t"), "--trace: must be left out with --golden"),
        (("--prompt", "abc", "--golden", "--check"), "--check: must be left out with --golden"),
        (
            ("--prompt", "abc", "--format", "nose=int8"),
            "--format 'nose=int8': 'nose' must be attn, ffn, head",
        ),
        (("--prompt", "abc", "--format", "head=int3"), "weights 'int3': must be one of int8 for this array"),
        (("--prompt", "abc", "--chat"), "tokenizer.chat_template must be a text, not None"),
    ],
)
def test_refusals(gatemill, small, arguments, text):
    status, _, err = gatemill("chat", small, "--config", "systolic-4x4", *arguments)
    assert status == 2
    assert text in err
    assert err.count("\n") == 1


def test_a_folder_for_traces_that_may_not_be_written(gatemill, small, tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda _, mode, **__: not mode & os.W_OK)
    status, _, err = gatemill(
        "chat", small, "--config", "systolic-4x4", "--prompt", "abc", "--trace", tmp_path
    )
    assert (status, err.count("\n")) == (2, 1)
    assert f"--trace {str(tmp_path)!r}: must be a folder that can be written (Permission denied)" in err


def test_a_model_that_is_not_there(gatemill):
    status, _, err = gatemill("chat", "no-such", "--prompt", "abc")
    assert status == 2
    assert "MODEL 'no-such': must be a GGUF file or one of smollm2" in err


def test_formats_of_layers():
    family, layers = (
        load("lut-m2n64k4", []).instance,
        ["blk.0.attn_v", "blk.0.ffn_up", "blk.1.ffn_up", "head"],
    )

    def chosen(*arguments):
        return [family.pairs[each][1].name for each in network.choose(family, layers, *arguments).values()]

    assert chosen(None, None, "head=int3-s8,blk.1.*=int2") == [
        "int4-asym-s8",
        "int4-asym-s8",
        "int2",
        "int3-s8",
    ]
    assert chosen(None, "int2", "attn_v=int3") == ["int3", "int2", "int2", "int2"]
    assert chosen("int8", None, "") == ["int4-asym-s8"] * 4
    with pytest.raises(RequestError, match="formats fp16 x int4-asym-s8"):
        chosen("fp16", None, "")


@pytest.mark.parametrize(
    ("features", "parts", "cuts"),
    [(256, 2, [(0, 128), (128, 256)]), (200, 3, [(0, 64), (64, 128), (128, 200)]), (60, 2, [(0, 60)])],
)
def test_parts_end_at_whole_tiles(features, parts, cuts):
    assert network.spans(features, parts, 64) == cuts


@pytest.mark.parametrize("format", ["int8", "mxint8", "ovp4-int4"])
def test_rows_enter_one_by_one(format):
    rows = np.random.default_rng(3).normal(size=(3, 64))
    family = load("mx-8x8" if format == "mxint8" else "olive-8x8", []).instance
    x, scales = network.enter(rows, find(format), family)
    for number, row in enumerate(rows):
        alone = quantise(row[None], find(format))
        assert np.array_equal(x.codes[number], alone.codes[0])
        assert scales.shape == (3, 1)


def text_model(path):
    writer = gguf.GGUFWriter(path, "llama")
    names = ["<|end|>", *(bytes([b]).decode("latin-1") for b in range(0x21, 0x7F)), "Ã", "©", "Ġ"]
    for name, value in (("embedding_length", 4), ("feed_forward_length", 4), ("block_count", 1)):
        writer.add_uint32(f"llama.{name}", value)
    writer.add_head_count(1)
    writer.add_head_count_kv(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(1e4)
    writer.add_array("tokenizer.ggml.tokens", names)
    writer.add_array("tokenizer.ggml.token_type", [3] + [1] * (len(names) - 1))
    writer.add_array("tokenizer.ggml.merges", ["a b"])
    writer.add_eos_token_id(0)
    writer.add_chat_template("{% for m in messages %}{{ m.role }}:{{ m.content }}<|end|>{% endfor %}bot:")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return Llama(ModelFile(path)), names


def test_text(tmp_path):
    llama, names = text_model(tmp_path / "text.gguf")
    text = Text(llama)
    assert text.conversation("hi") == "user:hi<|end|>bot:"
    assert text.encode("a<|end|>b") == [names.index("a"), 0, names.index("b")]
    assert text.ends == [0]
    assert text.decode([names.index("a"), 0, names.index("Ġ"), names.index("b")]) == "a b"
    stream = Stream(text)
    assert [stream.add(names.index(half)) for half in "Ã©"] == ["", "é"]
    assert stream.add(names.index("Ã")) + stream.end() == "\N{REPLACEMENT CHARACTER}"
    llama.file.values["tokenizer.chat_template"] = "{% for %}"
    with pytest.raises(ModelFileError, match="must be a template"):
        text.conversation("hi")
