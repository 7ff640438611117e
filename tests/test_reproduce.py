"""``gatemill reproduce``: published cycle counts to the cycle, speedups, terms; our own model beside the analytic one.

``vectors/bitmod_sim_cycles.npz`` has what ``bitmod_sim`` of abdelfattah-lab/BitMoD-HPCA-25 at 58d7bdb gives for the prompt:
cycles of six models on five accelerators, arrays and bits per weight. Totals of decode are those that its authors published.
"""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from fpga.synthesis import synthesise
from gen import config, reproduce
from gen.bench import fp16_element
from gen.cases import Case, memory, prediction, prepare
from gen.models.shapes import SHAPES
from gen.reproduce import bitmod, own
from gen.reproduce.analytic import Machine, Operation
from gen.rtlil import to_rtlil
from hw.pe.bit_serial_fp16 import FloatElement
from hw.pe.terms import TermEncoder
from hw.pe.weight_format import WeightFormat

VECTORS = np.load(Path(__file__).parent / "vectors" / "bitmod_sim_cycles.npz", allow_pickle=False)
KEYS = ("total", "compute", "w_prec", "array")


@pytest.fixture(scope="module")
def arrays():
    return bitmod.simulator()


@pytest.mark.parametrize("key", VECTORS.files)
def test_the_simulator_is_equal_for_the_prompt(arrays, key) -> None:
    assert arrays[key] == VECTORS[key].tolist()


@pytest.mark.parametrize("key", list(bitmod.PUBLISHED))
def test_the_simulator_is_equal_to_what_was_published(arrays, key) -> None:
    assert arrays[f"{key}/total"] == list(bitmod.PUBLISHED[key])


def test_every_array_is_there_for_both_phases(arrays) -> None:
    keys = {f"{n}/{p}/{k}" for n in bitmod.ACCELERATORS for p in ("prefill", "decode") for k in KEYS}
    assert set(arrays) == {"models", *keys}
    assert [arrays[f"{name}/decode/array"] for name in bitmod.ACCELERATORS] == [
        [64, 12], [64, 16], [72, 16], [64, 16], [64, 16],
    ]  # fmt: skip
    for name in bitmod.ACCELERATORS:
        pairs = zip(arrays[f"{name}/decode/compute"], arrays[f"{name}/decode/total"], strict=True)
        assert all(compute <= total for compute, total in pairs)


@pytest.mark.parametrize(
    ("options", "published"),
    [
        ({}, [1.99, 2.41, 1.72, 1.66, 1.56, 1.39]),
        ({"decoded": 256}, [1.99, 2.61, 1.72, 1.62, 1.56, 1.28]),
        ({"mean": bitmod.geometric}, [1.99, 2.41, 1.72, 1.66, 1.56, 1.39]),
        ({"mean": bitmod.quotient}, [1.99, 2.41, 1.72, 1.66, 1.56, 1.39]),
    ],
)
def test_speedups(arrays, options, published) -> None:
    found = bitmod.speedups(arrays, **options)
    assert [round(value, 2) for pair in found.values() for value in pair] == published


def test_what_holds_and_what_does_not(arrays) -> None:
    rows = bitmod.claims(arrays)
    assert all(set(row) == {"claim", "published", "ours", "holds", "why"} for row in rows)
    failed = {row["claim"]: row["ours"] for row in rows if row["holds"] is False}
    assert failed == {
        "lossless (INT6) over FP16, generative, 256 tokens as stated": 2.61,
        "lossy over ANT, generative, 256 tokens as stated": 1.62,
        "lossy over OliVe, generative, 256 tokens as stated": 1.28,
    }
    areas = {row["claim"]: row["ours"] for row in rows if row["holds"] is None}
    assert areas == {what: ours for what, _, ours in bitmod.AREAS}
    assert [ours for *_, ours in bitmod.AREAS] == ["45 %", "4.7 %"]
    means = [row["ours"] for row in rows if row["claim"].endswith("mean of both")]
    assert means == [2.2, 1.69, 1.48]


def test_a_wrong_count_is_seen(arrays) -> None:
    wrong = arrays | {"ant/decode/total": [one + 1 for one in arrays["ant/decode/total"]]}
    rows = {row["claim"]: row for row in bitmod.claims(wrong)}
    row = rows["cycle counts of the simulator, decode: equal"]
    assert (row["published"], row["ours"], row["holds"]) == (30, 24, False)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("yi-6b", 6_061_035_520),
        ("llama-2-7b", 6_738_415_616),
        ("llama-2-13b", 13_015_864_320),
        ("llama-3-8b", 8_030_261_248),
    ],
)
def test_shapes_have_the_published_number_of_parameters(name, parameters) -> None:
    """Matrices, embedding and normalisation; the other models have biases or share a matrix."""
    shape = SHAPES[name]
    matrices = sum(one.multiplications for one in shape.linears(1))
    assert matrices + shape.width * (shape.vocabulary + 2 * shape.layers + 1) == parameters


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_attention_multiplies_every_query_by_every_key(shape) -> None:
    assert shape.head * shape.heads == shape.width
    for one in shape.attention(7, 11):
        assert one.multiplications == 7 * 11 * shape.width * shape.layers


@pytest.mark.parametrize(
    ("sizes", "transfer"),
    [
        # 600 KiB of weights and 300 of activations: each once. 600 and 600: the weights twice is as much as the other way round.
        ((300, 1024, 600), 600 * 1024 + 300 * 1024 + 300 * 600),
        ((600, 1024, 600), 3 * 600 * 1024 + 600 * 600),
        ((600, 1024, 3000), 2 * 3000 * 1024 + 600 * 1024 + 600 * 3000),
        ((3000, 1024, 600), 2 * 3000 * 1024 + 600 * 1024 + 600 * 3000),
    ],
)
def test_operands_that_do_not_fit_move_again(sizes, transfer) -> None:
    tokens, depth, features = sizes
    machine = Machine(features=8, tokens=8, input_bits=8, output_bits=8)
    one = Operation(tokens=tokens, depth=depth, features=features, weight_bits=8)
    assert machine.transfer(one) == transfer // 32


def test_partial_tiles_cost_whole_ones() -> None:
    machine = Machine(features=8, tokens=4, lanes=4, terms=3)
    one = Operation(tokens=5, depth=9, features=17, weight_bits=6)
    assert machine.compute(one) == 3 * 2 * 3 * 3
    assert machine.cycles(one) == max(machine.compute(one), machine.transfer(one))


@pytest.mark.parametrize(
    ("preset", "lanes", "features", "tokens", "bus"),
    [("systolic-8x8", 1, 8, 8, 64), ("systolic-ws-16x16", 16, 16, 1, 128)],
)
def test_an_array_as_the_analytic_model_takes_it(preset, lanes, features, tokens, bus) -> None:
    found = own.machine(config.load(preset), 0)
    assert (found.lanes, found.terms, found.features, found.tokens) == (lanes, 1, features, tokens)
    assert (found.bus_bits, found.input_bits, found.output_bits) == (bus, 8, 32)


@pytest.mark.parametrize(
    ("preset", "weights", "lanes", "terms"),
    [
        ("bitmod-int8-8x8", "int8-s8", 2, 1),
        ("bitmod-int8-8x8", "int6-s8", 8, 3),
        ("bitmod-int8-8x8", "fp4-mixed-s8", 4, 1),
        ("bitmod-fp16-4x4", "fp3-mixed-s8", 2, 1),
    ],
)
def test_a_bit_serial_array_as_the_analytic_model_takes_it(preset, weights, lanes, terms) -> None:
    loaded = config.load(preset)
    found = own.machine(loaded, loaded.instance.variant(weights=weights))
    size, bits = (8, 8) if preset == "bitmod-int8-8x8" else (4, 16)
    assert (found.lanes, found.terms) == (lanes, terms)
    assert (found.features, found.tokens, found.bus_bits, found.input_bits) == (size, size, 64, bits)


@pytest.mark.long
def test_areas_are_those_of_synthesis() -> None:
    flow = fp16_element.FLOW

    def luts(component) -> int:
        return synthesise(to_rtlil(component, name="top"), name="top", flow=flow).count("LUT4")

    assert luts(FloatElement(lanes=4)) == bitmod.ELEMENT_LUTS
    assert luts(TermEncoder(lanes=4, formats=WeightFormat)) == bitmod.ENCODER_LUTS


@pytest.mark.parametrize(
    ("preset", "weights"),
    [("systolic-8x8", "int8"), ("systolic-ws-16x16", "int8"), ("bitmod-int8-8x8", "fp3-mixed-s8")],
)
def test_own_rows_add_up_and_are_the_cycle_model_s(preset, weights) -> None:
    loaded = config.load(preset)
    rows = own.rows(lambda *_: None, [(preset, weights)])
    assert {(row["phase"], row["kind"]) for row in rows} == {
        (phase, kind)
        for phase in own.PHASES
        for kind in ("attn_q", "attn_k", "ffn_gate", "ffn_down", "attn_qk", "attn_pv")
    }
    for row in rows:
        ours = row["ours"]
        assert sum(ours[key] for key in ("start", "array", "other", "end")) == ours["cycles"]
        assert min(ours[key] for key in ("start", "other", "end")) >= 0
        assert row["format"] == ("int8" if row["kind"] in ("attn_qk", "attn_pv") else weights)
        case = prepare(loaded, Case((row["M"], row["K"], row["N"]), timing=memory(20), weights=row["format"]))
        assert prediction(loaded, case).cycles == ours["cycles"]


def test_our_array_is_never_quicker_than_its_steps() -> None:
    for row in own.rows(lambda *_: None):
        assert row["ours"]["array"] >= row["analytic"]["array"]
        assert row["ours"]["cycles"] > row["analytic"]["array"]


def test_the_command(gatemill, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    place = tmp_path / "bitmod.svg"
    status, out, err = gatemill("reproduce", "bitmod", "--picture", place)
    assert status == 1
    assert max(map(len, out.splitlines())) <= 80
    assert "…" not in out
    assert err == f"wrote {place}\n"
    assert ElementTree.parse(place).getroot().tag.endswith("svg")
    shown = out
    status, out, err = gatemill("reproduce", "bitmod", "--json")
    document = json.loads(out)
    assert (status, err) == (1, "")
    assert document["published_simulator"]["fp16/decode/total"] == list(bitmod.PUBLISHED["fp16/decode"])
    assert [(row["configuration"], row["weights"]) for row in document["own_model"]] == [
        pair for pair in own.PAIRS for _ in range(12)
    ]
    # Nothing is cut off.
    assert all(f"{row['ours']['other']:,} │" in shown for row in document["own_model"])
    assert all(f"{row['ratio']:.3f} │" in shown for row in document["own_model"])


def test_the_exit_status_is_that_of_the_claims(gatemill, monkeypatch) -> None:
    rows = [row for row in bitmod.claims(bitmod.simulator()) if row["holds"]]
    monkeypatch.setattr(bitmod, "claims", lambda _: rows)
    assert gatemill("reproduce", "bitmod", "--json")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["bitmd"],
            "gatemill: paper must be one of bit-weight, bitmod, lut-tensor-core, olive, not 'bitmd'\n",
        ),
        (["bitmod", "-o", "x.png"], "gatemill: --output '.png': must be one of .svg\n"),
    ],
)
def test_what_cannot_be_taken(gatemill, arguments, words) -> None:
    assert gatemill("reproduce", *arguments) == (2, "", words)


def test_every_paper_has_what_the_command_wants() -> None:
    for name in reproduce.PAPERS:
        paper = reproduce.load(name)
        assert all(callable(getattr(paper, member)) for member in ("document", "render", "picture"))
