"""BitMoD: equal to the released code bit for bit in half precision, and what the exact rule promises.

``vectors/bitmod.npz`` has some rows of the outputs of abdelfattah-lab/BitMoD-HPCA-25 at e445a5f (``bitmod_quant`` and
``AWQ-BitMoD``; PyTorch 2.13.0 on a CPU) and, keys ``dev_double``, of the development repository yc2367/BitMoD at b18cacb. All
rows are tested where the whole file lies beside the repository.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.formats import FORMATS, find
from hw.formats.bitmod import BITMOD, FP3, FP4
from hw.formats.floats import E2M3, E3M2
from hw.formats.olive import FLINT4
from hw.formats.packing import pack, row_bytes, unpack
from hw.formats.scales import encode
from sim.quantise import bitmod, half, quantise
from sim.quantise.integers import symmetric

FILES = [
    path
    for path in (
        Path(__file__).parent / "vectors" / "bitmod.npz",
        Path(__file__).parents[2] / "shared" / "vectors" / "bitmod_quant.npz",
    )
    if path.exists()
]
BLOCK = 128
NAMES = [format.name for format in BITMOD]
SINGLE = [format.name for format in BITMOD if format.scale == "fp16"]


def magnitudes(values: tuple[int | None, ...]) -> np.ndarray:
    """Levels of a table and their negatives, rising."""
    known = np.array([v for v in values if v is not None])
    return np.unique(np.concatenate([known, -known]))


PLAIN = {
    "fp3": magnitudes(FP3),
    "fp4": magnitudes(FP4),
    "flint4": magnitudes(FLINT4),
    "fp6_e2m3": magnitudes(E2M3[0]),
    "fp6_e3m2": magnitudes(E3M2[0]),
}


def same_bits(got: np.ndarray, wanted: np.ndarray) -> None:
    """Signs of zeros included."""
    assert got.dtype == np.float16
    assert np.array_equal(np.ascontiguousarray(got).view(np.uint16).reshape(wanted.shape), wanted)


def vectors(suffix: str, *, first: str = "") -> list:
    """A parameter per array: file, key."""
    found = []
    for path in FILES:
        with np.load(path) as data:
            found += [
                pytest.param(path, key, id=f"{path.stem}-{key}")
                for key in data.files
                if key.endswith(suffix) and key.startswith(first) and not key.endswith("/w")
            ]
    return found


def input_of(data: np.lib.npyio.NpzFile, key: str) -> np.ndarray:
    """The blocks, float16, that an array was made of."""
    seed, name = key.split("/")[1:3]
    values = data[f"{seed}/{name}/w"].view(np.float16)
    return values.reshape(len(values), -1, BLOCK)


def levels_of(bits: int) -> list[np.ndarray]:
    mixed = FORMATS[f"fp{bits}-mixed"]
    return [mixed.levels(table)[0] for table in range(4)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_levels_are_those_of_the_released_code(path: Path) -> None:
    names = ("er_pos", "er_neg", "ea_pos", "ea_neg")
    with np.load(path) as data:
        for bits in (3, 4):
            for name, levels in zip(names, levels_of(bits), strict=True):
                assert np.array_equal(levels, data[f"grid/fp{bits}_{name}"])
        for name in ("fp3", "fp4", "flint4"):
            assert np.array_equal(PLAIN[name], data[f"grid/{name}"])


@pytest.mark.parametrize(("path", "key"), vectors("/out"))
def test_search_is_that_of_the_released_code(path: Path, key: str) -> None:
    format = FORMATS[f"fp{key[1]}-mixed"]
    part = key.removesuffix("out")
    with np.load(path) as data:
        blocks = input_of(data, key)
        matrix = blocks.reshape(len(blocks), -1).astype(np.float64)
        found = bitmod.search(format, matrix, arithmetic="fp16")
        result = bitmod.quantise(format, matrix, arithmetic="fp16")
        same_bits(result.values().astype(np.float16), data[key])
        assert np.array_equal(found.chosen, data[part + "sel"])
        same_bits(np.moveaxis(found.errors, -1, 0), data[part + "err"])
        assert np.array_equal(result.levels().reshape(blocks.shape), data[part + "level"])
        # published for integer levels: FP4's are halves here
        same_bits((found.scales * 2.0**format.unit).astype(np.float16), data[part + "scale"])


@pytest.mark.parametrize("bits", [3, 4])
@pytest.mark.parametrize("kind", ["er", "ea"])
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_two_tables_choose_as_four_do_among_them(path: Path, kind: str, bits: int) -> None:
    """The errors of a table do not depend on the other tables; the first of the least, below 1000, is chosen."""
    first = 0 if kind == "er" else 2
    with np.load(path) as data:
        for key in (key for key in data.files if key.startswith(f"b{bits}/") and key.endswith("/err")):
            blocks = input_of(data, key)
            errors = data[key].view(np.float16)[first : first + 2]
            matrix = blocks.reshape(len(blocks), -1).astype(np.float64)
            found = bitmod.search(FORMATS[f"fp{bits}-{kind}"], matrix, arithmetic="fp16")
            wanted = np.where(errors.min(axis=0) < 1000, errors.argmin(axis=0), -1)
            assert np.array_equal(found.chosen, wanted)


@pytest.mark.parametrize(("path", "key"), vectors("/awq_out"))
def test_search_by_squares_is_that_of_the_code_for_awq(path: Path, key: str) -> None:
    with np.load(path) as data:
        blocks = input_of(data, key)

        def candidate(levels: np.ndarray) -> np.ndarray:
            scale = half.scales(blocks, int(np.abs(levels).max()), kept=False)
            return half.times(levels[half.places_by_square(levels, blocks, scale)], scale)

        same_bits(half.least_error(blocks, map(candidate, levels_of(int(key[1])))), data[key])


@pytest.mark.parametrize(("path", "key"), [p for n in PLAIN for p in vectors("", first=f"{n}/")])
def test_plain_tables(path: Path, key: str) -> None:
    with np.load(path) as data:
        same_bits(half.on_levels(PLAIN[key.split("/", maxsplit=1)[0]], input_of(data, key)), data[key])


@pytest.mark.parametrize(("path", "key"), vectors("", first="mx_"))
def test_shared_exponents(path: Path, key: str) -> None:
    with np.load(path) as data:
        blocks = input_of(data, key)
        levels = PLAIN[key.split("/", maxsplit=1)[0].removeprefix("mx_")]
        same_bits(half.shared_exponent(levels, blocks.reshape(len(blocks), -1, 32)), data[key])


@pytest.mark.parametrize(("path", "key"), vectors("", first="int"))
def test_integers(path: Path, key: str) -> None:
    bits, kind = int(key[3]), key.split("/", maxsplit=1)[0].split("_")[1]
    with np.load(path) as data:
        blocks = input_of(data, key)
        if kind == "sym":
            levels, scale = half.symmetric(bits, blocks)
        else:
            codes, scale, zero = half.asymmetric(bits, blocks)
            levels = codes - zero[..., None]
        same_bits(half.times(levels, scale), data[key])


@pytest.mark.parametrize(("path", "key"), vectors("", first="dev_double"))
def test_second_level_of_the_development_code(path: Path, key: str) -> None:
    """There the unit of a row's scales is another one for every table, and the choice is made by what has become of them."""
    name, bits = key.split("/", maxsplit=1)[0].removeprefix("dev_double_").split("_sb")
    with np.load(path) as data:
        blocks = input_of(data, key)

        def doubled(levels: np.ndarray, scale: np.ndarray) -> np.ndarray:
            multiples, unit = half.second_level(int(bits), scale)
            return half.times(levels, unit, multiples)

        def candidate(levels: np.ndarray) -> np.ndarray:
            scale = half.scales(blocks, int(np.abs(levels).max()), kept=False)
            return doubled(levels[half.places(levels, blocks, scale)], scale)

        if name == "int6":
            got = doubled(*half.symmetric(6, blocks, kept=False))
        else:
            got = half.least_error(blocks, map(candidate, levels_of(3)))
        same_bits(got, data[key])


@pytest.mark.parametrize(("path", "key"), vectors("", first="dev_double_int6_sb8"))
def test_integers_with_two_levels_are_those_of_the_development_code(path: Path, key: str) -> None:
    """But for the sign of zero, which integers do not have."""
    with np.load(path) as data:
        blocks = input_of(data, key)
        matrix = blocks.reshape(len(blocks), -1).astype(np.float64)
        result = symmetric(FORMATS["int6-s8"], matrix, arithmetic="fp16")
        assert result.outer is not None
        scales = (each.astype(np.float16) for each in (result.outer, result.scales))
        got = half.times(result.levels().reshape(blocks.shape), *scales)
        same_bits(got, np.where(data[key] == 0x8000, 0, data[key]))


def test_the_vectors_are_there() -> None:
    """None of the tests above is empty."""
    assert FILES[0].name == "bitmod.npz"
    for suffix, first, least in (("/out", "", 6), ("/awq_out", "", 4), ("", "int", 14), ("", "mx_", 2)):
        assert len(vectors(suffix, first=first)) >= least
    assert len(vectors("", first="dev_double")) >= 4
    assert all(vectors("", first=f"{name}/") for name in PLAIN)


@pytest.mark.parametrize("count", [1, 7, 32, 100, 128, 512, 1100, 9000])
def test_the_mean_rounds_once(count: int) -> None:
    """Whole numbers, whose sum single precision has: then its order is of no matter."""
    values = np.random.default_rng(count).integers(0, 32, (5, 2, count)).astype(np.float16)
    wanted = values.astype(np.int64).sum(axis=-1) / count
    assert np.array_equal(half.mean(values), wanted.astype(np.float32).astype(np.float16))


def test_the_order_of_the_sum() -> None:
    """2**24 and ones: a one is lost where it meets the large number alone, and is not where it met another one before."""
    values = np.zeros((1, 3, 128), np.float32)
    values[:, :, 0] = 2.0**24
    values[0, 0, 32] = values[0, 0, 64] = 1  # the same lane, the same chain: each lost
    values[0, 1, 8] = values[0, 1, 40] = 1  # the same lane, another chain: two at once
    values[0, 2, 1] = values[0, 2, 33] = 1  # another lane: two at once
    # minus the large number in the lane that is added last shows what is left
    values[:, :, 127] = -(2.0**24)
    assert half.mean(values).tolist() == [[0, 2 / 128, 2 / 128]]
    # fewer than 8: the fifth is added to the first
    assert half.mean(np.array([2.0**24, 1, 1, 2, -(2.0**24)], np.float32)) == np.float16(4 / 5)


@pytest.mark.parametrize("bits", [3, 4])
def test_half_precision_and_exact_arithmetic(bits: int) -> None:
    """They choose differently for some blocks, at hardly any cost."""
    matrix = np.random.default_rng(bits).standard_normal((64, 1024)).astype(np.float16) * np.float16(0.02)
    found = bitmod.differences(FORMATS[f"fp{bits}-mixed"], matrix.astype(np.float64))
    print(f"fp{bits}-mixed, half precision beside exact arithmetic: {found}")
    assert 0 < found.tables < 0.05
    assert 0 < found.levels < 0.05
    assert found.exact > 0
    assert abs(found.fp16 / found.exact - 1) < 1e-3
    assert str(found).startswith(f"{found.tables:.2%} of blocks with another table, ")
    nothing = bitmod.differences(FORMATS[f"fp{bits}-mixed"], np.zeros((1, BLOCK)))
    assert nothing == bitmod.Differences(tables=0.0, levels=0.0, exact=0.0, fp16=0.0)
    assert str(nothing).endswith("mean squared error 0 instead of 0")


def by_hand(name: str, block: np.ndarray) -> tuple[int, list[float]]:
    """The rule in words, element by element."""
    format = FORMATS[name]
    results = []
    for table in range(len(format.tables)):
        levels = sorted({v for v in format.tables[table] if v is not None})
        scale = float(np.float16(min(max(max(abs(block)) / max(map(abs, levels)), 1.00136e-5), 1e4)))
        values = [scale * min(levels, key=lambda level, v=v: (abs(v / scale - level), level)) for v in block]
        results.append((sum((v - w) ** 2 for v, w in zip(values, block, strict=True)), table, values))
    _, table, values = min(results, key=lambda result: result[:2])
    return table, values


@pytest.mark.parametrize("name", SINGLE)
def test_exact_rule_by_hand(name: str) -> None:
    generator = np.random.default_rng(7)
    matrix = generator.standard_t(3, (6, 4 * BLOCK)) * 0.03
    matrix[1, :BLOCK] = 0
    matrix[2] = generator.integers(-12, 13, 4 * BLOCK) / 64  # ties
    result = quantise(matrix, name)
    assert result.selectors is not None
    for row in range(6):
        for block in range(4):
            span = slice(block * BLOCK, (block + 1) * BLOCK)
            table, values = by_hand(name, matrix[row, span])
            assert result.selectors[row, block] == table
            assert np.array_equal(result.values()[row, span], values)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("arithmetic", ["exact", "fp16"])
def test_blocks_of_zeros_and_tiny_ones(name: str, arithmetic: str) -> None:
    matrix = np.zeros((3, 2 * BLOCK))
    matrix[1, :BLOCK] = 1e-6
    matrix[2, BLOCK:] = 6.0
    result = bitmod.quantise(FORMATS[name], matrix, arithmetic=arithmetic)
    assert result.selectors is not None
    assert not result.values()[0].any()
    assert not result.values()[:2, BLOCK:].any()
    assert not result.selectors[0].any()
    if name in SINGLE:
        assert not result.values()[1].any()
        assert np.array_equal(result.scales[:2] * 2.0**result.format.unit, np.full((2, 2), half.SMALLEST))
        # most of the block meets the largest level
        assert np.allclose(result.values()[2, BLOCK:], 6, rtol=2**-11)
    else:
        assert result.outer is not None
        assert np.isfinite(result.outer).all()
        assert result.scales[[0, 2]].tolist() == [[0, 0], [0, 255]]


@pytest.mark.parametrize("name", NAMES)
def test_huge_blocks(name: str) -> None:
    """Exact: clipped at what the largest scale reaches, if any. Half precision: refused, or, with an error of 1000, lost."""
    format = FORMATS[name]
    matrix = np.zeros((2, 2 * BLOCK))
    matrix[0, ::2], matrix[1, ::2] = 1e9, -1e9
    result = quantise(matrix, name)
    assert np.isfinite(quantise(matrix * 1e290, name).values()).all()
    most = [max(abs(v) for v in table if v is not None) for table in format.tables]
    assert result.selectors is not None
    for row in range(2):
        table = result.selectors[row, 0]
        assert (np.abs(result.levels()[row, ::2]) == most[table]).all()
        reached = 1e4 * most[table] if name in SINGLE else 1e9
        assert np.allclose(np.abs(result.values()[row, ::2]), reached, rtol=2**-23)
    with pytest.raises(
        ValueError, match=r"must be in half precision's range \(65504\), not 1000000000.0 at \[0, 0\]"
    ):
        bitmod.quantise(format, matrix, arithmetic="fp16")
    generator = np.random.default_rng(0)
    lost = bitmod.quantise(format, generator.uniform(-6e4, 6e4, (2, 2 * BLOCK)), arithmetic="fp16")
    assert not lost.values().any()
    assert not lost.codes.any()
    assert not lost.scales.any()


def test_refusals() -> None:
    with pytest.raises(ValueError, match="arithmetic must be one of exact, fp16, not 'fp32'"):
        bitmod.quantise(FORMATS["fp3-er"], np.ones((1, 4)), arithmetic="fp32")
    with pytest.raises(ValueError, match=r"layer 3 must be finite, not nan at \[0, 1\]"):
        quantise(np.array([[1, np.nan]]), "fp4-mixed", name="layer 3")
    with pytest.raises(ValueError, match=r"layer 3 must be finite, not -inf at \[1, 0\]"):
        quantise(np.array([[1], [-np.inf]]), "fp4-mixed", name="layer 3")


@pytest.mark.parametrize("name", SINGLE)
@pytest.mark.parametrize("arithmetic", ["exact", "fp16"])
def test_second_level(name: str, arithmetic: str) -> None:
    """A scale of the row, and 0 to 255 for each block: the 8 bits that the paper counts."""
    matrix = np.random.default_rng(1).standard_normal((16, 8 * BLOCK)) * 0.02
    matrix[3, BLOCK:] *= 1000
    single = FORMATS[name]
    double = FORMATS[f"{name}-s8"]
    result = bitmod.quantise(double, matrix, arithmetic=arithmetic)
    beside = bitmod.search(single, matrix, arithmetic=arithmetic)
    assert result.outer is not None
    assert result.outer.shape == (16, 1)
    assert np.array_equal(encode("int8", result.scales), result.scales)
    assert (result.scales.max(axis=1) == 255).sum() >= 8
    assert result.scales[3, 0] == 0
    if arithmetic == "exact":
        assert np.array_equal(result.outer, result.outer.astype(np.float32))
        assert (result.scales.max(axis=1) == 255).all()
        # half of a unit of the scale, and what half precision takes from the other
        distance = np.abs(result.scales * result.outer - beside.scales)
        assert (distance <= result.outer / 2 + beside.scales * 2.0**-11).all()
    else:
        assert np.array_equal(result.codes, beside.codes)
        assert np.array_equal(result.outer, result.outer.astype(np.float16))
        unit, multiples = result.outer * 2.0**single.unit, beside.scales * 2.0**single.unit
        multiples = (multiples.astype(np.float16) / unit.astype(np.float16)).astype(np.float64)
        assert np.array_equal(result.scales, np.clip(np.rint(multiples), 0, 255))
    assert double.bits_per_weight == single.bits + (8 + single.selector_bits) / BLOCK


def drawn(data: st.DataObject, name: str) -> tuple[str, np.ndarray]:
    """A format with blocks of 1 to 40, and a matrix whose K need not be a multiple of that."""
    block = data.draw(st.integers(1, 40))
    rows, depth = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 100))
    generator = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    magnitude = 10.0 ** data.draw(st.integers(-9, 6))
    kind = data.draw(st.sampled_from(["normal", "grid", "sparse"]))
    matrix = generator.standard_normal((rows, depth))
    if kind == "grid":
        matrix = np.rint(matrix * 4) / 4
    elif kind == "sparse":
        matrix *= generator.random((rows, depth)) < 0.2
    return f"{name}:g{block}", matrix * magnitude


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_properties(name: str, data: st.DataObject) -> None:
    name, matrix = drawn(data, name)
    format = find(name)
    result = quantise(matrix, name)
    values = result.values()
    assert values.shape == matrix.shape
    assert result.scales.shape == (len(matrix), -(-matrix.shape[1] // format.block))
    # quantising again changes nothing, unless tables of other scales can take what another table's made
    if format.scale == "fp16" or len(format.tables) == 2:
        assert np.array_equal(quantise(values, name).values(), values)
    # packed and back
    packed = pack(format, result.codes)
    assert packed.shape == (len(matrix), row_bytes(format, matrix.shape[1]))
    assert np.array_equal(unpack(format, packed, matrix.shape[1]), result.codes)
    # blocks alone are what they are among others, but for the row's scale; the larger never gets less
    for start in range(0, matrix.shape[1], format.block):
        span = slice(start, start + format.block)
        order = np.argsort(matrix[:, span], axis=1)
        assert (np.diff(np.take_along_axis(values[:, span], order, axis=1), axis=1) >= 0).all()
        alone = quantise(matrix[:, span], name)
        assert np.array_equal(alone.codes, result.codes[:, span])
        assert alone.selectors is not None
        assert result.selectors is not None
        assert np.array_equal(alone.selectors[:, 0], result.selectors[:, start // format.block])


@pytest.mark.parametrize("name", SINGLE)
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_properties_in_half_precision(name: str, data: st.DataObject) -> None:
    name, matrix = drawn(data, name)
    matrix = np.clip(matrix, -65504, 65504)
    result = bitmod.quantise(find(name), matrix, arithmetic="fp16")
    values = result.values()
    for start in range(0, matrix.shape[1], find(name).block):
        span = slice(start, start + find(name).block)
        order = np.argsort(matrix[:, span], axis=1)
        assert (np.diff(np.take_along_axis(values[:, span], order, axis=1), axis=1) >= 0).all()
        alone = bitmod.quantise(find(name), matrix[:, span], arithmetic="fp16")
        assert np.array_equal(alone.values(), values[:, span])


@pytest.mark.parametrize("name", NAMES)
def test_every_code_is_packed_and_back(name: str) -> None:
    format = FORMATS[name]
    codes = np.tile(np.arange(1 << format.bits, dtype=np.uint8), (2, 3))[:, :-1]
    assert np.array_equal(unpack(format, pack(format, codes), codes.shape[1]), codes)
    for table in range(len(format.tables)):
        assert np.array_equal(format.encode(format.decode(codes, table), table), codes)
