"""Integers, formats that are a table alone, and KIVI: equal to published code, and what holds of every quantised matrix.

``vectors/integers.npz``: ``quant_int`` and ``quant_int_asym`` of BitMoD's released code (abdelfattah-lab/BitMoD-HPCA-25, commit
e445a5f) on 10 rows of 512 elements; more when ``bitmod_quant.npz`` lies beside the checkout. ``vectors/kv_hawq_bitnet.npz``: KIVI
(jy-yuan/KIVI 876b4d2), one head of two; with the whole file also HAWQ-v3 (Zhen-Dong/HAWQ 1616df6), all 64 rows.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hw.formats import FORMATS, Format, find
from hw.formats.packing import unpack
from hw.formats.scales import encode
from sim.golden import dyadic, requantised_gemm
from sim.quantise import kivi, quantise
from sim.quantise.integers import asymmetric, bipolar, from_signed, symmetric
from sim.requantise import requantise

HERE = Path(__file__).parent / "vectors"
BESIDE = Path(__file__).parents[2] / "shared" / "vectors"


def present(*paths: Path) -> list[Path]:
    return [path for path in paths if path.exists()]


KV = present(HERE / "kv_hawq_bitnet.npz", BESIDE / "kv_hawq_bitnet.npz")
BITMOD = present(HERE / "integers.npz", BESIDE / "bitmod_quant.npz")
HAWQ = [path for path in KV if "hawq_out" in np.load(path)]

RULES = ("symmetric", "asymmetric", "bipolar", "nearest")
NAMES = [name for name, format in FORMATS.items() if format.rule in RULES and format.scale != "int8"]
SUFFIXES = ("", ":g5", ":row", ":tensor")
SMALLEST = 2.0**-24
"""Scale in half precision."""


@st.composite
def matrices(draw: st.DrawFn) -> np.ndarray:
    """Blocks of any size of numbers, from far below half precision to far beyond, some of one sign, some of zeros."""
    rows, depth = draw(st.integers(1, 3)), draw(st.integers(1, 17))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shift = draw(st.sampled_from([0.0, 1.0, -3.0]))
    matrix = generator.standard_normal((rows, depth)) + shift
    matrix *= 10.0 ** draw(st.sampled_from([-200, -8, -7, -6, -5, -4, -2, 0, 3, 6, 200]))
    return matrix * (generator.random((rows, 1)) > 0.1)


@pytest.mark.parametrize("path", BITMOD, ids=lambda path: path.stem)
def test_equals_published_integers(path: Path) -> None:
    vectors = np.load(path)
    names = [name for name in vectors if name.startswith("int")]
    assert len(names) >= 49
    for name in names:
        kind, seed, tensor = name.split("/")
        bits, asymmetry = kind.removeprefix("int").split("_")
        format = find(f"int{bits}{'-asym' if asymmetry == 'asym' else ''}:g128")
        matrix = vectors[f"{seed}/{tensor}/w"].view(np.float16).astype(np.float64)
        rule = {"sym": symmetric, "asym": asymmetric}[asymmetry]
        values = rule(format, matrix, arithmetic="fp16").values().astype(np.float16)
        wanted = vectors[name].view(np.float16)
        np.testing.assert_array_equal(values, wanted, err_msg=name)


@pytest.mark.parametrize("path", KV, ids=lambda path: str(path.parent.parent.name))
@pytest.mark.parametrize("what", ["k", "v"])
def test_equals_published_caches(path: Path, what: str) -> None:
    vectors = np.load(path)
    format = replace(find("kivi2"), scale="fp32")
    if what == "k":
        quantised = kivi.quantise_keys(format, vectors["kivi_k"])
        # Theirs are [batch, head, words or groups along tokens, (1,) channels].
        words = np.swapaxes(vectors["kivi_k2_code"], -1, -2)
        scales, minima = (
            np.swapaxes(vectors[f"kivi_k2_{name}"][:, :, :, 0], -1, -2) for name in ("scale", "min")
        )
    else:
        quantised = kivi.quantise_values(format, vectors["kivi_v"])
        words = vectors["kivi_v2_code"]
        scales, minima = (vectors[f"kivi_v2_{name}"][..., 0] for name in ("scale", "min"))
    np.testing.assert_array_equal(kivi.words(quantised), words.reshape(-1, words.shape[-1]))
    np.testing.assert_array_equal(quantised.scales, scales.reshape(quantised.scales.shape))
    np.testing.assert_array_equal(quantised.offsets, minima.reshape(quantised.scales.shape))
    codes = unpack(format, kivi.words(quantised).view(np.uint8), quantised.shape[1])
    np.testing.assert_array_equal(codes, quantised.codes)


@pytest.mark.parametrize("path", [*HAWQ, HERE / "hawq.npz"], ids=lambda path: path.stem)
def test_equals_published_requantisation(path: Path) -> None:
    vectors = np.load(path)
    names = (
        ("scale", "m", "e", "acc", "out")
        if path in HAWQ
        else ("scale", "multiplier", "shift", "accumulators", "outputs")
    )
    scale, multiplier, shift, accumulators, outputs = (
        vectors[("hawq_" if path in HAWQ else "") + name] for name in names
    )
    assert [dyadic(one) for one in scale] == list(zip(multiplier.tolist(), shift.tolist(), strict=True))
    np.testing.assert_array_equal(requantise(accumulators, 0, multiplier, shift), outputs)
    # The whole golden model, with accumulators that a product of matrices gives.
    unit = np.ones((1, 1), np.int8)
    first = requantised_gemm(
        unit, accumulators[:1].astype(np.int32), np.zeros(len(scale), np.int32),
        multiplier.astype(np.uint32), shift.astype(np.uint8),
    )  # fmt: skip
    np.testing.assert_array_equal(first, outputs[:1])


@pytest.mark.parametrize("name", NAMES)
@given(matrices(), st.sampled_from(SUFFIXES))
def test_quantised_again_it_stays(name: str, matrix: np.ndarray, suffix: str) -> None:
    format = find(name + suffix)
    once = quantise(matrix, format)
    encode(format.scale, once.scales)  # raises unless each is a number of the type
    if format.rule == "nearest":
        # Below this the rounding of the scale moves the outermost element to another level.
        assume(bool((once.scales > SMALLEST * 2**12).all()))
    values = once.values()
    assert np.isfinite(values).all()
    np.testing.assert_array_equal(quantise(values, format).values(), values)


@settings(max_examples=500)
@given(matrices(), st.sampled_from(NAMES))
def test_monotone(matrix: np.ndarray, name: str) -> None:
    """In a block a larger element never gets a smaller value."""
    values = quantise(matrix, name + ":tensor").values()
    assert (np.diff(values.reshape(-1)[np.argsort(matrix.reshape(-1))]) >= 0).all()


@settings(max_examples=500)
@given(matrices(), st.sampled_from(NAMES))
def test_blocks_do_not_touch_one_another(matrix: np.ndarray, name: str) -> None:
    whole = quantise(matrix, name + ":g5")
    assert whole.scales.shape == (len(matrix), -(-matrix.shape[1] // 5))
    for first in range(0, matrix.shape[1], 5):
        part = quantise(matrix[:, first : first + 5], name + ":row")
        np.testing.assert_array_equal(part.codes, whole.codes[:, first : first + 5])
        np.testing.assert_array_equal(part.scales, whole.scales[:, first // 5 : first // 5 + 1])


@pytest.mark.parametrize("name", NAMES)
def test_who_shares_a_scale(name: str) -> None:
    matrix = np.random.default_rng(5).standard_normal((3, 7)) * [[1], [10], [100]]
    row, tensor = quantise(matrix, name + ":row"), quantise(matrix, name + ":tensor")
    assert (row.scales.shape, tensor.scales.shape) == ((3, 1), (1, 1))
    flat = quantise(matrix.reshape(1, -1), name + ":row")
    np.testing.assert_array_equal(tensor.values(), flat.values().reshape(matrix.shape))
    for place in range(3):
        alone = quantise(matrix[place : place + 1], name + ":row")
        np.testing.assert_array_equal(row.values()[place : place + 1], alone.values())


@pytest.mark.parametrize("bits", range(2, 9))
@given(matrices())
def test_error_is_half_a_step(bits: int, matrix: np.ndarray) -> None:
    """Within the range; scales of half precision may put an end up to half a step outside of it."""
    matrix = matrix / (np.abs(matrix).max() or 1.0)
    most = 2 ** (bits - 1) - 1
    quantised = quantise(matrix, f"int{bits}")
    error = np.abs(quantised.values() - matrix)
    assert (error <= quantised.scales * (0.5 + most * 2.0**-10)).all()
    quantised = quantise(matrix, f"int{bits}-asym:row")
    error = np.abs(quantised.values() - matrix)
    assert (error <= quantised.scales * (1 + (2**bits - 1) * 2.0**-10)).all()
    assert (quantised.values()[matrix == 0] == 0).all()


def test_symmetric_by_hand() -> None:
    quantised = quantise(np.array([[7.0, -3.5, 2.5, 0.5, -7.0]]), "int4")
    assert quantised.scales.tolist() == [[1.0]]
    assert quantised.levels().tolist() == [[7, -4, 2, 0, -7]]  # ties to even
    assert quantise(np.array([[1.0, -1.0]]), "int2").levels().tolist() == [[1, -1]]
    assert quantise(np.array([[31.0, 0.4]]), "int6:g2").levels().tolist() == [[31, 0]]


def test_asymmetric_by_hand() -> None:
    quantised = quantise(np.array([[-1.0, 0.0, 2.0]]), "int2-asym")
    assert quantised.scales.tolist() == [[1.0]]
    assert quantised.offsets is not None
    assert quantised.offsets.tolist() == [[1.0]]
    assert quantised.codes.tolist() == [[0, 1, 3]]
    assert quantised.values().tolist() == [[-1.0, 0.0, 2.0]]
    # Of one sign: the range reaches to 0.
    assert quantise(np.array([[3.0, 2.0]]), "int2-asym").values().tolist() == [[3.0, 2.0]]
    assert quantise(np.array([[-3.0, -2.0]]), "int2-asym").values().tolist() == [[-3.0, -2.0]]


def test_bipolar_by_hand() -> None:
    quantised = quantise(np.array([[3.0, -0.5, 0.5, 0.0, -2.5]]), "bipolar2")
    assert quantised.levels().tolist() == [[3, -1, 1, -1, -3]]
    assert quantise(np.array([[0.0, 0.0]]), "bipolar4").values().tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize("bits", range(2, 9))
def test_signed_integers_become_bipolar_ones(bits: int) -> None:
    codes = np.arange(1 << bits, dtype=np.uint8)
    signed, odd = find(f"int{bits}"), find(f"bipolar{bits}")
    converted = from_signed(bits, codes)
    assert converted.dtype == np.uint8
    np.testing.assert_array_equal(odd.decode(converted), 2 * signed.decode(codes) + 1)
    x = np.random.default_rng(bits).integers(-128, 128, codes.size)
    assert x @ signed.decode(codes) == (x @ odd.decode(converted) - x.sum()) // 2
    with pytest.raises(ValueError, match=f"codes must be 0 to {(1 << bits) - 1}, not {1 << bits}"):
        from_signed(bits, np.array([1 << bits]))


@pytest.mark.parametrize("name", NAMES)
def test_blocks_of_zeros_of_tiny_and_of_huge_elements(name: str) -> None:
    format = find(name + ":row")
    zero = quantise(np.zeros((1, 3)), format)
    assert zero.values().tolist() == [[0, 0, 0]]
    assert zero.scales.tolist() == [[0.0 if format.rule == "bipolar" else 1.0]]
    tiny = quantise(np.array([[1e-300, -1e-300]]), format)
    assert tiny.scales.tolist() == [[SMALLEST]]
    assert (np.abs(tiny.values()) <= SMALLEST).all()
    huge = quantise(np.array([[1e300, -1e300, 1.0]]), format)
    assert huge.scales.tolist() == [[65504.0]]
    most = max(abs(format.maximum), 1) * 65504.0 * 2.0**format.unit
    assert np.abs(huge.values()).max() <= most
    assert huge.values()[0, 1] < 0
    widest = quantise(np.array([[1.7e308, -1.7e308]]), format)
    assert np.isfinite(widest.values()).all()


@pytest.mark.parametrize("rule", [symmetric, asymmetric])
def test_published_arithmetic_at_the_edges(rule) -> None:
    format = find("int4:row" if rule is symmetric else "int4-asym:row")
    least, most = float(np.float16(1e-5)), float(np.float16(1e4))
    for matrix, scale in (([[0.0, 0.0]], least), ([[1e-9, -1e-9]], least), ([[65504.0, -65504.0]], most)):
        quantised = rule(format, np.array(matrix), arithmetic="fp16")
        assert quantised.scales.tolist() == [[scale if rule is asymmetric or scale == least else 9360.0]]
        assert np.isfinite(quantised.values()).all()
    with pytest.raises(ValueError, match="arithmetic must be one of exact, fp16, not 'fp64'"):
        rule(format, np.ones((1, 2)), arithmetic="fp64")
    with pytest.raises(ValueError, match="must be in half precision's range"):
        rule(format, np.full((1, 2), 65520.0), arithmetic="fp16")


def test_published_asymmetry_loses_blocks_of_one_sign() -> None:
    matrix = np.array([[5.0, 6.0]])
    assert asymmetric(find("int4-asym"), matrix).values().tolist()[0][1] == pytest.approx(6, abs=0.01)
    assert asymmetric(find("int4-asym"), matrix, arithmetic="fp16").values().max() < 1.01


def test_bipolar_saturates_at_neither_end() -> None:
    matrix = np.array([[0.3, -0.3, 0.1]])
    quantised = bipolar(find("bipolar8"), matrix)
    assert quantised.levels()[0, :2].tolist() == [255, -255]


def test_a_table_that_is_not_symmetric() -> None:
    format = Format(name="shift", bits=2, tables=((-1, 0, 4, 5),), unit=-1, scale="fp32")
    quantised = quantise(np.array([[2.5, -0.5, 0.1, 2.2]]), format)
    assert quantised.scales.tolist() == [[1.0]]
    assert quantised.levels().tolist() == [[5, -1, 0, 4]]
    assert quantise(np.array([[-3.0, 1.0]]), format).scales.tolist() == [[6.0]]
    positive = Format(name="positive", bits=2, tables=((0, 1, 2, 3),), scale="fp32")
    assert quantise(np.array([[-5.0, 3.0]]), positive).values().tolist() == [[0.0, 3.0]]
    assert quantise(np.array([[-5.0, -3.0]]), positive).scales.tolist() == [[1.0]]


def test_names() -> None:
    assert find("int4:g64").block == 64
    assert (find("int4-asym:row").shared, find("int4-asym:row").block) == ("row", 0)
    assert find("int4:tensor").shared == "tensor"
    assert find("int4:tensor").name == "int4:tensor"
    for wrong in ("int4:tensors", "int4:g", "int4:row:g4", "int9"):
        with pytest.raises(ValueError, match="format must be one of"):
            find(wrong)
    with pytest.raises(ValueError, match="must be row or tensor, not 'block'"):
        find("int4").shared_by("block")


@given(matrices(), st.sampled_from(["kivi2", "kivi4"]), st.sampled_from(["fp16", "fp32"]))
def test_caches_of_anything(matrix: np.ndarray, name: str, precision: str) -> None:
    format = replace(find(name + ":g5"), scale=precision)
    quantised = quantise(matrix, format)
    assert np.isfinite(quantised.values()).all()
    assert quantised.offsets is not None
    for numbers in (quantised.scales, quantised.offsets):
        assert (numbers == numbers.astype(np.float16 if precision == "fp16" else np.float32)).all()
    order = np.argsort(matrix[0, :5])
    assert (np.diff(quantised.codes[0, :5][order].astype(int)) >= 0).all()


def test_caches_at_the_edges() -> None:
    assert quantise(np.full((1, 3), 2.5), "kivi2").values().tolist() == [[2.5, 2.5, 2.5]]
    assert quantise(np.full((1, 3), 1e-300), "kivi2").values().tolist() == [[0.0, 0.0, 0.0]]
    huge = quantise(np.array([[-1e300, 1e300]]), "kivi2")
    assert huge.offsets is not None
    assert (huge.offsets.tolist(), huge.codes.tolist()) == ([[-65504.0]], [[0, 3]])
    with pytest.raises(ValueError, match="scale of format kivi2 must be fp16 or fp32, not 'e8m0'"):
        quantise(np.ones((1, 2)), replace(find("kivi2"), scale="e8m0"))
    with pytest.raises(ValueError, match="the cache must be finite"):
        kivi.quantise_keys(find("kivi2"), np.full((1, 2, 2), np.nan))
