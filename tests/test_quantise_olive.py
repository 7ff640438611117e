"""Outlier-victim pairs: codes and packing, the paper's rule, and the released code's equal to what that code gave.

tests/vectors/olive.npz: outputs of clevercool/ANT-Quantization at bc84067 (olive_quantization/antquant), its CUDA kernel
replayed entry by entry, with PyTorch 2.13 on one thread. ``grid``: its grids; ``unit``: pairs of numbers at scale 1, every 34th;
``full``: a tensor of Student's t with 3 degrees of freedom; ``more``: small tensors, each with 4, 6 and 8 bits as weights and as
activations. ../shared/vectors/olive_quant.npz, where it is, has all of the first three.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hw.formats import FORMATS, PairFormat, find
from hw.formats.packing import pack, row_bytes, unpack
from sim.quantise import quantise as by_name
from sim.quantise.olive import RULES, THRESHOLDS, adaptive, magnitudes, pair_counts, quantise, released_grid
from sim.quantise.olive_released import SEARCH, Grid, replay

HERE = Path(__file__).parent
FILES = {
    name: dict(np.load(path))
    for name, path in (
        ("copy", HERE / "vectors" / "olive.npz"),
        ("shared", HERE.parents[1] / "shared" / "vectors" / "olive_quant.npz"),
    )
    if path.exists()
}
INT4, FLINT4, INT8, E2M5 = (FORMATS[f"ovp{name}"] for name in ("4-int4", "4-flint4", "8-int8", "8-int8-e2m5"))
PAIRS = [format for format in FORMATS.values() if isinstance(format, PairFormat)]
CODED = [format for format in PAIRS if format is not INT8]


def keys(first: str, last: str = "") -> list[object]:
    """Of each file the keys that begin and end so, without their ends."""
    return [
        pytest.param(arrays, key.removesuffix(last), id=f"{file}-{key.removesuffix(last)}")
        for file, arrays in FILES.items()
        for key in arrays
        if key.startswith(f"{first}/") and key.endswith(last)
    ]


def same(got: np.ndarray, wanted: np.ndarray) -> bool:
    """Equal in every bit, the sign of 0 included; any not-a-number is as good as another."""
    if got.shape != wanted.shape or got.dtype != wanted.dtype:
        return False
    return bool(
        np.array_equal(got, wanted, equal_nan=True)
        and np.array_equal(np.signbit(got[~np.isnan(got)]), np.signbit(wanted[~np.isnan(wanted)]))
    )


# The released code.


@pytest.mark.parametrize(("arrays", "key"), keys("grid"))
def test_grids(arrays, key) -> None:
    _, which, kind = key.split("/")
    grid = Grid(bits=int(which[1]), signed=which[2] == "s", mode="int" if kind == "outlier" else kind)
    assert same(grid.outliers if kind == "outlier" else grid.normal, arrays[key])


@pytest.mark.parametrize(("arrays", "key"), keys("unit", "/x"))
def test_pairs_at_scale_1(arrays, key) -> None:
    kind = key.split("/")[1]
    grid = Grid(bits=8 if kind == "int8" else 4, signed=True, mode=kind.rstrip("48"))
    x = arrays[f"{key}/x"]
    y, levels = grid.forward(x, grid.normal[-1])
    assert same(y, arrays[f"{key}/y"])
    assert np.array_equal(levels, y)


@pytest.mark.parametrize(("arrays", "key"), keys("full", "/alpha"))
def test_whole_tensors(arrays, key) -> None:
    _, name, which = key.split("/")
    wanted = {what: arrays[f"{key}/{what}"] for what in ("y", "level", "alpha") if f"{key}/{what}" in arrays}
    result = replay(arrays[f"full/{name}/x"], bits=int(which[1]), activations=which[2] == "a")
    assert (result.mode, result.signed) == (arrays[f"{key}/mode"], arrays[f"{key}/signed"])
    got = {"y": result.y, "level": result.levels, "alpha": result.alpha}
    assert {what: same(np.asarray(got[what]), wanted[what]) for what in wanted} == dict.fromkeys(wanted, True)


@pytest.mark.parametrize(("arrays", "key"), keys("more", "/x"))
@pytest.mark.parametrize("which", ["w", "a"])
def test_small_tensors(arrays, key, which) -> None:
    """Rows of zeros, odd rows (whose pairs go on in the next row), constants, unsigned and distant numbers."""
    x = arrays[f"{key}/x"]
    for place, bits in enumerate((4, 6, 8)):
        result = replay(x, bits=bits, activations=which == "a")
        assert result.mode == arrays[f"{key}/{which}/mode"][place]
        assert result.signed == (which == "w" or x.min() < 0)
        assert same(result.levels, arrays[f"{key}/{which}/level"][place])
        assert same(np.asarray(result.alpha), arrays[f"{key}/{which}/alpha"][place])


@given(st.data())
def test_nearest_is_their_loop(data) -> None:
    """Entry by entry, normal values first, the last of equals kept; 0 for what is far or no number."""
    grid = Grid(
        bits=data.draw(st.sampled_from((3, 4, 6, 8))),
        signed=data.draw(st.booleans()),
        mode=data.draw(st.sampled_from(("int", "flint"))),
    )
    near = np.arange(-600, 600, 0.25, dtype=np.float32)
    drawn = data.draw(st.lists(st.floats(width=32), min_size=1, max_size=50))
    numbers = np.concatenate(
        [near, np.array(drawn, np.float32), np.float32([1e5, -1e5, 102783, 102905, 2e5])]
    )
    if not grid.signed:
        numbers = np.abs(numbers)
    best, wanted = np.full(numbers.shape, np.float32(102400)), np.zeros_like(numbers)
    with np.errstate(over="ignore", invalid="ignore"):
        for entry in (*grid.normal, *grid.outliers):
            distance = np.abs(numbers - entry)
            taken = distance <= best
            best, wanted = np.where(taken, distance, best), np.where(taken, entry, wanted)
    assert np.array_equal(grid.nearest(numbers), wanted)


def test_ties_of_the_released_code() -> None:
    grid = Grid(bits=4, signed=True, mode="int")
    numbers = np.float32([[38, 0], [0, -38], [26, -26], [30, -30], [56, 1], [-56, 1]])
    assert grid.levels(numbers).tolist() == [[48, 0], [0, -48], [28, -24], [28, -28], [64, 0], [-48, 0]]


def test_the_even_element_stays_in_the_released_code() -> None:
    grid = Grid(bits=4, signed=True, mode="int")
    numbers = np.float32([[48, 384], [384, 48], [4, 384], [48, 4]])
    assert grid.levels(numbers).tolist() == [[48, 0], [384, 0], [0, 384], [48, 0]]
    odd = np.float32([[48, 4, 4], [4, 4, 4], [4, 4, 48]])
    assert grid.levels(odd).tolist() == [[48, 0, 4], [4, 4, 4], [4, 4, 0]]
    odd[0, 0] = 4
    assert grid.levels(odd)[2, 2] == 48


@pytest.mark.parametrize("format", CODED, ids=lambda format: format.name)
@pytest.mark.parametrize("shared", ["row", "tensor"])
@pytest.mark.parametrize("arrays", [pytest.param(arrays, id=file) for file, arrays in FILES.items()])
def test_codes_hold_the_released_levels(arrays, shared, format) -> None:
    for name in {key.split("/")[1] for key in arrays if key.startswith("full/")}:
        x = arrays[f"full/{name}/x"]
        grid, unit = released_grid(format)
        whole = shared == "tensor"
        result = replay(x, bits=format.bits, activations=whole, mode=grid.mode)
        found = quantise(replace(format, shared=shared), x.astype(np.float64), rules="released-code")
        assert found.scales.shape == ((1, 1) if whole else (len(x), 1))
        # Codes are signed, and rows for which their code finds no threshold have one of ours.
        has = np.broadcast_to(np.atleast_2d(result.signed & (result.alpha > 0)), found.scales.shape)[:, 0]
        scales = np.broadcast_to(np.atleast_2d(grid.scaled(result.alpha)) * unit, found.scales.shape)
        assert np.array_equal(found.scales[has], scales[has])
        rows = has.repeat(len(x) // len(has))
        assert np.array_equal((found.levels() * unit)[rows], result.levels[rows])


def test_the_search_of_the_released_code() -> None:
    x = np.random.default_rng(3).standard_normal((4, 32)).astype(np.float32)
    first = replay(x, bits=4, mode="int", search=(100, 101, 2))
    grid = Grid(bits=4, signed=True, mode="int")
    errors = {
        p: ((replay(x, bits=4, mode="int", search=(p, p + 1, 2)).y - x) ** 2).mean(1) for p in range(*SEARCH)
    }
    best = replay(x, bits=4, mode="int")
    chosen = np.array(list(errors))[np.stack(list(errors.values())).argmin(axis=0)]
    assert np.array_equal(best.alpha[:, 0], first.alpha[:, 0] * (chosen * 0.01).astype(np.float32))
    assert best.grid == grid
    with pytest.raises(ValueError, match="mode must be int, flint or ant-int-flint, not 'float'"):
        replay(x, bits=4, mode="float")


def test_outliers_of_8_bits_differ_in_the_released_code() -> None:
    with pytest.raises(ValueError, match=r"rules of format ovp8-int8 must be 'paper'.*ovp8-int8-e2m5"):
        quantise(INT8, np.ones((1, 2)), rules="released-code")
    with pytest.raises(
        ValueError, match="rules of format ovp4-mine must be 'paper', not 'released-code', whose"
    ):
        released_grid(replace(INT4, name="ovp4-mine", outliers=FLINT4.outliers))


# Codes and bits.


@pytest.mark.parametrize("format", PAIRS, ids=lambda format: format.name)
def test_every_pair_of_codes(format) -> None:
    """Packed, unpacked and decoded: what stands for numbers comes back in the same codes, all else is refused."""
    size = 1 << format.bits
    codes = np.stack(np.meshgrid(np.arange(size), np.arange(size), indexing="ij"), -1).reshape(-1, 2)
    codes = codes.astype(np.uint8)
    packed = pack(format, codes)
    assert packed.shape == (size * size, format.bits // 4)
    if format.bits == 4:
        assert np.array_equal(packed[:, 0], codes[:, 0] | codes[:, 1] << 4)
    else:
        assert np.array_equal(packed, codes)
    assert np.array_equal(unpack(format, packed, 2), codes)
    victim = codes == format.identifier
    unused = np.array([v is None for v in format.outliers])
    refused = victim.all(axis=1) | (victim & unused[codes[:, ::-1]]).any(axis=1)
    assert np.flatnonzero(unused).tolist() == [0, format.identifier]
    assert refused.sum() == 3
    for pair in codes[refused]:
        with pytest.raises(ValueError, match=r"one victim at most|must be codes in use"):
            format.decode(pair)
    values = format.decode(codes[~refused])
    normal = [v for v in format.values if v is not None]
    assert np.array_equal(format.encode(values), codes[~refused])
    assert len(np.unique(values, axis=0)) == len(values) == len(normal) ** 2 + 2 * (size - 2)
    left = victim[~refused][:, 1]
    right = victim[~refused][:, 0]
    assert not values[left, 1].any()
    assert not values[right, 0].any()
    assert (
        sorted(values[left, 0])
        == sorted(values[right, 1])
        == sorted(v for v in format.outliers if v is not None)
    )
    assert np.array_equal(format.encode(values.T, axis=0), codes[~refused].T)
    assert np.array_equal(format.decode(codes[~refused].T, axis=0), values.T)


def test_values_and_ranges() -> None:
    positive = {format.name: [v for v in format.outliers if v is not None and v > 0] for format in PAIRS}
    assert positive["ovp4-int4"] == [12, 16, 24, 32, 48, 64, 96]
    assert positive["ovp4-flint4"] == [24, 32, 48, 64, 96, 128, 192]
    assert positive["ovp8-int8"][:3] == [144, 160, 176]
    assert {name: (values[0], values[-1], len(values)) for name, values in positive.items()} == {
        "ovp4-int4": (12, 96, 7),
        "ovp4-flint4": (24, 192, 7),
        "ovp8-int8": (144, 7_864_320, 127),
        "ovp8-int8-e2m5": (132, 2016, 127),
    }
    assert all(format.maximum == positive[format.name][-1] == -format.minimum for format in PAIRS)
    assert INT4.decode(np.array([0b0001, 0b1000])).tolist() == [12, 0]
    assert INT4.decode(np.array([0b1000, 0b1111])).tolist() == [0, -96]
    assert FORMATS["flint4"].rule == "nearest"
    assert by_name(np.array([[16.0, 5.0, -3.5]]), "flint4").values().tolist() == [[16, 4, -4]]


def test_values_that_cannot_be_coded() -> None:
    with pytest.raises(ValueError, match="a victim of ovp4-int4 must have a neighbour"):
        INT4.decode(np.array([1, 2, 8]))
    with pytest.raises(ValueError, match="an outlier of ovp4-int4 must have a neighbour, not 12 at the end"):
        INT4.encode(np.array([[1, 2, 12]]))
    with pytest.raises(ValueError, match="an outlier's neighbour in ovp4-int4 must be 0, not 3"):
        INT4.encode(np.array([3, 12]))
    with pytest.raises(ValueError, match="an outlier's neighbour in ovp4-int4 must be 0, not 12"):
        INT4.encode(np.array([12, 16]))
    with pytest.raises(ValueError, match="values must be those of ovp4-int4, not 13"):
        INT4.encode(np.array([13, 0]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shared": "block", "block": 3}, "block of format bad must be even, for pairs, not 3"),
        ({"identifier": 7}, "identifier of format bad must be no number, not code 0x7"),
        ({"outliers": (1, 2)}, "outliers of format bad must be 16, not 2"),
    ],
)
def test_formats_that_cannot_be(changes, message) -> None:
    with pytest.raises(ValueError, match=message):
        replace(INT4, name="bad", **changes)


# The paper's rule.


def levels(format: PairFormat, pairs: list[list[float]], threshold: str = "nearest") -> list[list[float]]:
    """What becomes of ``pairs`` in units of the scale."""
    numbers = np.array(pairs, np.float64)
    return (magnitudes(format, threshold).nearest(np.abs(numbers)) * np.sign(numbers)).tolist()


def test_the_larger_outlier_of_a_pair_stays() -> None:
    pairs = [[20, 50], [50, -20], [-50, 20], [33, 33], [-33, 33], [3, 40], [40, 3], [3, -4], [1000, 2]]
    wanted = [[0, 48], [48, 0], [-48, 0], [32, 0], [-32, 0], [0, 48], [48, 0], [3, -4], [96, 0]]
    assert levels(INT4, pairs) == wanted


def test_what_an_outlier_is() -> None:
    pairs = [[7.4, 3], [9.4, 3], [9.6, 3], [6.9, 3]]
    assert levels(INT4, pairs) == [[7, 3], [7, 3], [12, 0], [7, 3]]
    assert levels(INT4, pairs, "top") == [[12, 0], [12, 0], [12, 0], [7, 3]]
    assert levels(FLINT4, [[19, 3], [21, 3], [-11, 13]]) == [[16, 3], [24, 0], [-8, 16]]
    ties = [[9.5, 1], [-9.5, 1], [0.5, -2.5], [14, 1], [-20, 1], [7, -7]]
    wanted = [[12, 0], [-12, 0], [1, -3], [16, 0], [-24, 0], [7, -7]]
    assert levels(INT4, ties) == wanted
    assert levels(INT4, [[1, 1, 50], [1, 50, 3]]) == [[1, 1, 7], [0, 48, 3]]


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("format", CODED, ids=lambda format: format.name)
def test_the_last_element_of_an_odd_row_is_normal(format, rules) -> None:
    x = np.random.default_rng(5).standard_normal((3, 65))
    x[:, -1], x[:, -2] = 40, 1
    top = max(v for v in format.values if v is not None)
    found = quantise(format, x, rules=rules)
    assert (found.levels()[:, -1] == top).all()
    x[:, -2], x[:, -1] = 40, 1
    assert (quantise(format, x, rules=rules).levels()[:, -2] >= top).all()


@pytest.mark.parametrize("rules", RULES)
def test_blocks_without_a_threshold(rules) -> None:
    """Zeros have scale 1; one number alone is kept to within a step; tiny becomes 0; huge saturates."""
    x = np.zeros((5, 4))
    x[1, 0], x[2], x[3], x[4] = 3.0, 1e-300, 1e308, [1, -1, 1, -1]
    for format in CODED:
        found = quantise(format, x, rules=rules)
        values = found.values()
        assert np.isfinite(values).all()
        assert found.scales[0, 0] == 1
        assert not values[0].any()
        assert not values[2].any()
        assert (values[3] == values[3, 0]).all() or np.count_nonzero(values[3]) == 2
        assert values[3].max() > 1e38
        assert np.sign(values[4]).tolist() == [1, -1, 1, -1]
    alone = quantise(INT4, np.array([[5.0], [-2.0], [0.0]]), rules=rules).values()
    assert np.abs(alone - [[5], [-2], [0]]).max() < 1e-6 * 5


def test_the_threshold_that_loses_least() -> None:
    x = np.random.default_rng(8).standard_t(4, (6, 128))
    for format in PAIRS:
        found = quantise(format, x)
        lost = ((found.values() - x) ** 2).sum(axis=1)
        every = np.stack([
            ((quantise(format, x, search=(percent, percent + 1, 1)).values() - x) ** 2).sum(axis=1)
            for percent in range(50, 250, 2)
        ])  # fmt: skip
        assert np.allclose(lost, every.min(axis=0), rtol=1e-12)
        whole = quantise(replace(format, shared="tensor"), x)
        assert whole.scales.shape == (1, 1)
        blocks = quantise(format.grouped(32), x)
        assert blocks.scales.shape == (6, 4)
        assert ((blocks.values() - x) ** 2).sum() < lost.sum() < ((whole.values() - x) ** 2).sum()


def test_a_better_search_than_clipping() -> None:
    """With outliers in 1 of 200, pairs beat plain integers of as many bits by far."""
    generator = np.random.default_rng(2)
    x = generator.standard_normal((8, 1024)) * np.where(generator.random((8, 1024)) < 0.005, 30, 1)
    lost = {
        name: ((by_name(x, name).values() - x) ** 2).sum() for name in ("int4", "ovp4-int4", "ovp4-flint4")
    }
    assert lost["ovp4-int4"] < lost["int4"] / 3
    assert lost["ovp4-flint4"] < lost["int4"] / 3
    best = adaptive(x)
    assert ((best.values() - x) ** 2).sum() == min(lost["ovp4-int4"], lost["ovp4-flint4"])
    assert adaptive(generator.uniform(-1, 1, (4, 64))).format is INT4
    assert adaptive(np.zeros((1, 2))).format is INT4


def test_statistics_of_pairs() -> None:
    x = np.zeros((2, 5))
    x[0], x[1] = [9.4, 12, 20, 1, 99], [1, 2, 30, -40, 1]
    found = replace(quantise(INT4, x), scales=np.ones((2, 1)))
    counts = pair_counts(found, x)
    assert counts == type(counts)(normal_normal=1, outlier_normal=2, outlier_outlier=1)
    assert str(counts) == "normal-normal 25.00%, outlier-normal 50.00%, outlier-outlier 25.00%"
    assert pair_counts(found, x, threshold="top").outlier_outlier == 2
    assert pair_counts(found, x[:, :1]).shares == (0, 0, 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rules": "code"}, "rules must be paper or released-code, not 'code'"),
        ({"threshold": "3"}, "threshold must be nearest or top, not '3'"),
        ({"search": (0, 10, 1)}, r"search must be of positive percentages, not \(0, 10, 1\)"),
        ({"search": (10, 10, 1)}, r"search must be of positive percentages, not \(10, 10, 1\)"),
    ],
)
def test_options_that_cannot_be(options, message) -> None:
    with pytest.raises(ValueError, match=message):
        quantise(INT4, np.ones((1, 2)), **options)


def test_other_formats_are_refused() -> None:
    with pytest.raises(ValueError, match="format must be one of pairs, not flint4"):
        quantise(FORMATS["flint4"], np.ones((1, 2)))
    with pytest.raises(ValueError, match="format must be one of pairs, not flint4"):
        pair_counts(by_name(np.ones((1, 2)), "flint4"), np.ones((1, 2)))


@given(
    format=st.sampled_from(PAIRS),
    shared=st.sampled_from(("row", "tensor", "block")),
    rows=st.integers(1, 4),
    depth=st.integers(1, 70),
    seed=st.integers(0, 2**32 - 1),
    power=st.sampled_from((0, 0, 0, -20, 30, -149, 127, -1060, 1010)),
    threshold=st.sampled_from(THRESHOLDS),
)
def test_twice_is_once_and_bits_come_back(format, shared, rows, depth, seed, power, threshold) -> None:
    """Any shape and size of numbers: what was quantised stays, and the codes survive packing."""
    format = format.grouped(16) if shared == "block" else replace(format, shared=shared)
    generator = np.random.default_rng(seed)
    x = np.ldexp(generator.standard_t(2, (rows, depth)).clip(-999, 999), power)
    x[generator.random(x.shape) < 0.2] = 0
    found = quantise(format, x, threshold=threshold)
    values = found.values()
    assert np.isfinite(values).all()
    assert found.shape == x.shape
    assert np.array_equal(quantise(format, values, threshold=threshold).values(), values)
    packed = pack(format, found.codes)
    assert packed.shape == (rows, row_bytes(format, depth)) == (rows, -(-depth * format.bits // 8))
    assert np.array_equal(unpack(format, packed, depth), found.codes)
    assert np.array_equal(format.encode(found.levels()), found.codes)


@given(
    format=st.sampled_from(PAIRS),
    rules=st.sampled_from(RULES),
    pairs=st.integers(1, 40),
    seed=st.integers(0, 2**32 - 1),
)
def test_larger_is_never_smaller(format, rules, pairs, seed) -> None:
    """Among the elements of a row that are not victims; and a sign is never turned."""
    format = E2M5 if (format, rules) == (INT8, "released-code") else format
    x = np.random.default_rng(seed).standard_t(2, (1, 2 * pairs))
    found = quantise(format, x, rules=rules)
    assert np.array_equal(unpack(format, pack(format, found.codes), 2 * pairs), found.codes)
    kept = found.codes[0] != format.identifier
    order = np.argsort(x[0, kept])
    assert (np.diff(found.levels()[0, kept][order]) >= 0).all()
    assert (found.levels() * np.sign(x) >= 0).all()
    victims = np.flatnonzero(~kept)
    assert (np.abs(found.levels()[0, victims ^ 1]) > max(v for v in format.values if v is not None)).all()
    if rules == "paper":
        assert (np.abs(x[0, victims]) <= np.abs(x[0, victims ^ 1])).all()


def test_by_name() -> None:
    x = np.random.default_rng(1).standard_normal((3, 40))
    for name in ("ovp4-int4", "ovp4-flint4", "ovp8-int8", "ovp4-int4:g8"):
        assert np.array_equal(by_name(x, name).values(), quantise(find(name), x).values())
