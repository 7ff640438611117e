"""Number formats as tables, and matrices of their codes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hw.formats import FORMATS, INT8, Format, Operand, find
from sim.quantise import quantise

TWO_ZEROS = Format(name="two-zeros", bits=2, tables=((0, 3, 0, -3),))
BLOCKS = Format(name="blocks", bits=4, tables=(range(-8, 8),), shared="block", block=4)
WIDE = Format(name="wide", bits=9, tables=([1 << 40 if i == 511 else 2 * i for i in range(512)],))


def test_int8_codes_and_values() -> None:
    assert FORMATS["int8"] is INT8
    codes = np.arange(256)
    values = INT8.decode(codes)
    assert np.array_equal(values, codes.astype(np.uint8).view(np.int8))
    assert np.array_equal(INT8.encode(values.reshape(16, 16)), codes.reshape(16, 16))
    assert (INT8.minimum, INT8.maximum) == (-128, 127)
    with pytest.raises(ValueError, match="values must be those of int8, not 128"):
        INT8.encode(np.array([0, 128]))
    with pytest.raises(ValueError, match="values must be those of int8, not -129"):
        INT8.encode(np.array([-129]))
    with pytest.raises(ValueError, match="codes of int8 must be 0 to 255"):
        INT8.decode(np.array([256]))


def test_the_lowest_code_of_a_value_is_written() -> None:
    assert TWO_ZEROS.encode(np.array([0, -3, 3])).tolist() == [0, 3, 1]
    assert TWO_ZEROS.encode(np.zeros((2, 0))).shape == (2, 0)


def test_wide_codes_and_values() -> None:
    assert WIDE.code_type == np.uint16
    assert WIDE.encode(np.array([1 << 40, 1020])).tolist() == [511, 510]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bits": 17}, "bits of format bad must be 1 to 16, not 17"),
        ({"bits": 3}, "values of format bad must be 8, not 4"),
        ({"sharings": ("column",)}, "sharings of format bad must be one of block, row, tensor, not 'column'"),
        ({"parts": 0}, "parts of format bad must be 1 or more, not 0"),
        (
            {"selector_in_scale": True},
            "selector_in_scale of format bad must come with two tables .* not 1 and 'fp32'",
        ),
        ({"block": -1}, "block of format bad must be more than 0 with shared = block and only then, not -1"),
    ],
)
def test_tables_that_cannot_be(changes, message) -> None:
    with pytest.raises(ValueError, match=message):
        Format(**{"name": "bad", "bits": 2, "tables": ((0, 1, 2, 3),)} | changes)
    with pytest.raises(TypeError):
        Format(name="bad", bits=1, tables=((0, 0.5),))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("fp16:g32", "format fp16 must be named alone, having no scale to share, not 'fp16:g32'"),
        ("fp16:row", "format fp16 must be named alone, having no scale to share, not 'fp16:row'"),
        ("q4_0:g64", "block of format q4_0:g64 must be 32, not 64"),
        ("q4_1:row", "block of format q4_1:row must be 32, not 0"),
        ("q8_0:tensor", "block of format q8_0:tensor must be 32, not 0"),
        ("int4-s8:row", "block of format int4-s8:row must be 1 or more, not 0"),
        ("fp3-er-s8:row", "block of format fp3-er-s8:row must be 1 or more, not 0"),
    ],
)
def test_scales_that_cannot_be_shared_so(name, message) -> None:
    base, _, suffix = name.partition(":")
    with pytest.raises(ValueError, match=message):
        find(name)
    with pytest.raises(ValueError, match=message):
        FORMATS[base].grouped(int(suffix[1:])) if suffix[1:].isdigit() else FORMATS[base].shared_by(suffix)


def test_scales_that_can_be_shared_so() -> None:
    assert find("q4_0:g32").block == 32
    assert find("fp3-er-s8:g64").block == 64
    assert (find("kivi2:g16").block, find("nvfp4:row").shared, find("int4:tensor").shared) == (
        16,
        "row",
        "tensor",
    )


@pytest.mark.parametrize("name", FORMATS)
def test_rules_write_within_the_range(name: str) -> None:
    """Where an integer below ``least`` has a code, the rule uses ``least`` and nothing below it."""
    format = FORMATS[name]
    matrix = np.random.default_rng(3).standard_t(3, (6, 256))
    matrix[0, 0], matrix[1, 5] = -99, 99
    quantised = quantise(matrix, format)
    # An integer zero point is no part of what a code stands for.
    levels = format.decode(quantised.codes) if format.offset == "zero" else quantised.levels()
    low, high = format.range
    assert low <= format.element(levels.min())
    assert format.element(levels.max()) <= high
    if format.least is not None:
        assert format.minimum < format.least
        assert format.element(levels.min()) == low


@given(st.integers(1, 14), st.integers(1, 5), st.integers(0, 2**32 - 1), st.booleans())
def test_parts_of_blocks(depth: int, others: int, seed: int, weights: bool) -> None:
    """A part holds what the whole holds there; every code is multiplied by its block's scale."""
    generator = np.random.default_rng(seed)
    values = generator.integers(-8, 8, (depth, others))
    scales = generator.integers(-99, 100, (-(-depth // 4), others))
    exact = np.array([[values[k, n] * scales[k // 4, n] for n in range(others)] for k in range(depth)])
    first, last = 4 * (depth // 8), max(4 * (depth // 8) + 1, depth - 1)
    if weights:
        whole = Operand.weights(BLOCKS, values, scales)
        part, wanted = whole.part((first, last), (0, others)), exact[first:last]
    else:
        whole = Operand.activations(BLOCKS, values.T, np.ascontiguousarray(scales.T))
        exact = exact.T
        part, wanted = whole.part((first, last), (0, others)), exact[:, first:last]
    assert (whole.depth, whole.shape) == (depth, exact.shape)
    assert np.array_equal(whole.integers(), exact)
    assert np.array_equal(part.integers(), wanted)


SECOND_LEVEL = [name for name, format in FORMATS.items() if format.scale == "int8"]


def test_second_levels_are_there() -> None:
    kinds = ("er", "ea", "mixed")
    wanted = [f"int{bits}-s8" for bits in (2, 3, 4, 5, 6, 8)]
    wanted += [f"int{bits}-asym-s8" for bits in (2, 3, 4)] + [f"bipolar{bits}-s8" for bits in (1, 2, 3, 4)]
    wanted += ["ternary-s8", "binary-s8"]
    wanted += [f"fp{bits}-{kind}-s8" for bits in (3, 4) for kind in kinds]
    assert wanted == SECOND_LEVEL


@given(
    st.sampled_from(SECOND_LEVEL),
    st.integers(1, 14),
    st.integers(1, 5),
    st.integers(0, 2**32 - 1),
    st.booleans(),
)
def test_operands_with_scales_selectors_and_zeros(
    name: str, depth: int, others: int, seed: int, weights: bool
) -> None:
    """Every code, special values included, less its block's zero point, times its scale; a part of it; and from values back."""
    generator, format = np.random.default_rng(seed), find(f"{name}:g4")
    known = [code for code, value in enumerate(format.values) if value is not None]
    codes = generator.choice(np.array(known, np.uint8), (depth, others))
    scales = generator.integers(0, 256, (-(-depth // 4), others))
    tables = len(format.tables)
    selectors = generator.integers(0, tables, scales.shape, dtype=np.uint8)
    each = [[format.tables[selectors[k // 4, n]][codes[k, n]] for n in range(others)] for k in range(depth)]
    values = np.array(each, dtype=np.int64)
    shifts = format.offset == "zero"
    zeros = generator.integers(0, 1 << format.bits, scales.shape) * shifts
    exact = np.array(
        [[(values[k, n] - zeros[k // 4, n]) * scales[k // 4, n] for n in range(others)] for k in range(depth)]
    )
    turned = (lambda array: array) if weights else (lambda array: np.ascontiguousarray(array.T))
    whole = Operand(
        format=format, codes=turned(codes), depth_axis=0 if weights else 1, scales=turned(scales),
        selectors=turned(selectors) if tables > 1 else None, zeros=turned(zeros) if shifts else None,
    )  # fmt: skip
    assert np.array_equal(turned(whole.integers()), exact)
    first, last = 4 * (depth // 8), max(4 * (depth // 8) + 1, depth - 1)
    part = whole.part((first, last), (others // 2, others))
    assert np.array_equal(turned(part.integers()), exact[first:last, others // 2 :])
    made = (Operand.weights if weights else Operand.activations)(
        format, turned(values), turned(scales), whole.selectors, whole.zeros
    )
    assert np.array_equal(made.integers(), whole.integers())
    assert np.array_equal(made.codes, whole.codes)


def test_special_values_are_written_under_their_selector() -> None:
    format = find("fp3-mixed-s8:g2")
    values, selectors = np.array([[3], [-4], [-6], [6]]), np.array([[0], [3]], np.uint8)
    with pytest.raises(ValueError, match="values must be those of fp3-mixed-s8:g2, not 6"):
        Operand.weights(format, values, np.ones((2, 1), np.int64), selectors)
    made = Operand.weights(format, values[:3], np.ones((2, 1), np.int64), selectors)
    assert made.codes.tolist() == [[4], [7], [4]]
    with pytest.raises(ValueError, match="values must be those of fp3-mixed-s8:g2, not -6"):
        Operand.weights(format, values, np.ones((2, 1), np.int64), selectors[::-1].copy())


@pytest.mark.parametrize("depth_axis", [0, 1])
@pytest.mark.parametrize(
    "name", [*SECOND_LEVEL, "int8", "int4:tensor", "fp4-mixed:row", "fp3-ea:tensor", "fp16", "nvfp4:row"]
)
def test_operands_of_quantised_matrices(name: str, depth_axis: int) -> None:
    """Integers of the operand times what rows share are the values, bit for bit; K is no multiple of the block."""
    matrix = np.random.default_rng(4).standard_t(3, (6, 300))
    matrix[1], matrix[2, :128] = 0, 0
    quantised = quantise(matrix, name)
    operand = quantised.operand(depth_axis=depth_axis)
    integers = operand.integers() if depth_axis else operand.integers().T
    assert (operand.format, operand.depth) == (quantised.format, 300)
    assert np.array_equal(integers * quantised.row_scales[:, None], quantised.values())
    part = operand.part((128, 299), (1, 4)).integers()
    assert np.array_equal(part if depth_axis else part.T, integers[1:4, 128:299])


@pytest.mark.parametrize("depth_axis", [0, 1])
@pytest.mark.parametrize(
    "name", ["q4_0", "q4_1", "q8_0", "int4-asym", "int3-asym:g32", "int4:g64", "fp3-ea", "kivi2"]
)
def test_operands_with_half_precision_scales(name: str, depth_axis: int) -> None:
    """Numbers times what rows share are the values, bit for bit; of a part, too. There are no integers."""
    matrix = np.random.default_rng(4).standard_t(3, (6, 300))
    matrix[1], matrix[2, :128] = 0, 0
    quantised = quantise(matrix, name)
    operand = quantised.operand(depth_axis=depth_axis)
    numbers = operand.numbers() if depth_axis else operand.numbers().T
    assert (operand.scales, operand.float_scales.dtype) == (None, np.float16)
    assert (operand.minimums is not None) == (quantised.format.offset == "minimum")
    assert np.array_equal(numbers * quantised.row_scales[:, None], quantised.values())
    part = operand.part((128, 299), (1, 4)).numbers()
    assert np.array_equal(part if depth_axis else part.T, numbers[1:4, 128:299])
    with pytest.raises(ValueError, match=f"blocks must be whole numbers for integers, not fp16 as in {name}"):
        operand.integers()


def test_operands_with_half_precision_scales_that_cannot_be() -> None:
    codes, halves = np.zeros((40, 2), np.uint8), np.ones((2, 2), np.float16)
    q4_0 = {"format": find("q4_0"), "codes": codes, "depth_axis": 0}
    q4_1 = q4_0 | {"format": find("q4_1"), "float_scales": halves}
    alone = "float_scales must be given for a format of blocks with scales of fp16, e8m0, e4m3 alone, "
    with pytest.raises(ValueError, match=f"{alone}q4_0 has 32, 'fp16' and ''"):
        Operand(**q4_0)
    with pytest.raises(ValueError, match=f"{alone}int8 has 0, 'fp16' and ''"):
        Operand(format=INT8, codes=codes, depth_axis=0, float_scales=halves)
    with pytest.raises(ValueError, match="scales must be given for a format with blocks alone, q4_0 has 32"):
        Operand(**q4_0, float_scales=halves, scales=np.ones((2, 2), np.int64))
    alone = "minimums must be given for a format of blocks with fp16 scales and minimums alone, "
    with pytest.raises(ValueError, match=f"{alone}q4_0 has 32, 'fp16' and ''"):
        Operand(**q4_0, float_scales=halves, minimums=halves)
    with pytest.raises(ValueError, match=f"{alone}q4_1 has 32, 'fp16' and 'minimum'"):
        Operand(**q4_1)
    with pytest.raises(
        ValueError, match=r"float_scales must be float16 of shape \(2, 2\), not float32 \(2, 2\)"
    ):
        Operand(**q4_0, float_scales=halves.astype(np.float32))
    with pytest.raises(ValueError, match=r"minimums must be float16 of shape \(2, 2\), not float16 \(1, 2\)"):
        Operand(**q4_1, minimums=halves[:1])
    with pytest.raises(ValueError, match="minimums must be finite, not -inf"):
        Operand(**q4_1, minimums=np.array([[1, 2], [-np.inf, 3]], np.float16))
    with pytest.raises(ValueError, match="float_scales must be finite, not nan"):
        Operand(**q4_0, float_scales=halves * np.float16(np.nan))


@pytest.mark.parametrize("depth_axis", [0, 1])
@pytest.mark.parametrize("name", ["mxfp4", "mxfp8-e5m2", "mxint8", "bfp5", "nvfp4", "nvint4", "if4"])
def test_operands_with_powers_of_two_and_e4m3_for_scales(name: str, depth_axis: int) -> None:
    """As those with half precision; scales are float64."""
    matrix = np.random.default_rng(4).standard_t(3, (6, 300))
    matrix[1], matrix[2, :128] = 0, 0
    quantised = quantise(matrix, name)
    operand = quantised.operand(depth_axis=depth_axis)
    numbers = operand.numbers() if depth_axis else operand.numbers().T
    assert (operand.scales, operand.float_scales.dtype) == (None, np.float64)
    assert np.array_equal(numbers * quantised.row_scales[:, None], quantised.values())
    part = operand.part((128, 299), (1, 4)).numbers()
    assert np.array_equal(part if depth_axis else part.T, numbers[1:4, 128:299])
    with pytest.raises(ValueError, match="blocks must be whole numbers for integers, not e"):
        operand.integers()


@pytest.mark.parametrize(
    ("name", "scale", "message"),
    [
        ("mxfp4", 3.0, "scales must be numbers of e8m0, not 3.0"),
        ("mxfp4", 0.0, "scales must be numbers of e8m0, not 0.0"),
        ("mxfp4", -1.0, "scales must be numbers of e8m0, not -1.0"),
        ("mxfp4", 2.0**128, "scales must be numbers of e8m0, not 3.4"),
        ("mxfp4", np.nan, "float_scales must be finite, not nan"),
        ("nvfp4", 17.0, "scales must be numbers of e4m3, not 17.0"),
        ("nvfp4", 512.0, "scales must be numbers of e4m3, not 512.0"),
        ("nvfp4", -1.0, "scales must be numbers of e4m3, not -1.0"),
    ],
)
def test_scales_that_their_type_has_not(name: str, scale: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Operand(
            format=find(name),
            codes=np.zeros((16, 1), np.uint8),
            depth_axis=0,
            float_scales=np.full((1, 1), scale),
        )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "binary:g32",
            "blocks of binary:g32 must have scales of int8, fp16, e8m0, e4m3 for an operand, not fp32",
        ),
        (
            "int4-asym:row",
            "offset of int4-asym:row must be none for an operand, or one of blocks, not 'zero'",
        ),
        (
            "kivi2:row",
            "offset of kivi2:row must be none for an operand, or one of blocks, not 'minimum'",
        ),
    ],
)
def test_quantised_matrices_that_are_no_operands(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        quantise(np.ones((2, 200)), name).operand(depth_axis=0)


def test_half_precision_is_exact_in_its_smallest_number() -> None:
    """2**-24: what codes stand for are whole numbers of it, below 2**41, hence exact in float64 too."""
    format = find("fp16")
    codes = np.arange(1 << 16, dtype=np.uint16)
    finite = codes[np.isfinite(codes.view(np.float16))].reshape(2, -1)
    x = Operand(format=format, codes=finite, depth_axis=1)
    assert not format.complete
    assert (format.unit, format.maximum) == (-24, 65504 << 24)
    assert np.array_equal(x.integers() * 2.0**-24, finite.view(np.float16).astype(np.float64))
    again = Operand.activations(format, x.integers())
    assert np.array_equal(again.codes, np.where(finite == 0x8000, 0, finite))


@pytest.mark.parametrize("code", [0x7C00, 0xFC00, 0x7E00, 0xFFFF])
def test_infinities_and_what_is_no_number_are_refused(code: int) -> None:
    codes = np.full((3, 4), 0x3C00, np.uint16)
    codes[1, 2] = codes[2, 0] = code
    with pytest.raises(
        ValueError, match=rf"codes of fp16 must stand for numbers, not {code:#x} at \[1, 2\]$"
    ):
        Operand(format=find("fp16"), codes=codes, depth_axis=1)


def test_pairs_lie_along_k() -> None:
    """An outlier beside its victim, in either matrix; an operand of two victims cannot be."""
    format, values = find("ovp4-int4"), np.array([[96, 0, 3], [0, -12, -7]])
    x, w = Operand.activations(format, values[:, :2]), Operand.weights(format, values.T[:2])
    assert np.array_equal(x.integers(), values[:, :2])
    assert np.array_equal(w.integers(), values.T[:2])
    assert np.array_equal(w.codes, x.codes.T)
    with pytest.raises(ValueError, match="a pair of ovp4-int4 must have one victim at most, not two"):
        Operand(format=format, codes=np.full((2, 1), 8, np.uint8), depth_axis=0)


def test_operands_that_cannot_be() -> None:
    codes = np.zeros((8, 2), np.uint8)
    with pytest.raises(TypeError, match="codes must be an array of uint8, not dtype"):
        Operand(format=INT8, codes=codes.astype(np.int8), depth_axis=0)
    with pytest.raises(ValueError, match="depth_axis be 0 or 1, not 2 and 2"):
        Operand(format=INT8, codes=codes, depth_axis=2)
    with pytest.raises(ValueError, match="codes of blocks must be below 16, not 16"):
        Operand(format=BLOCKS, codes=codes + 16, depth_axis=0, scales=np.ones((2, 2), np.int64))
    with pytest.raises(ValueError, match="scales must be given for a format with blocks alone, blocks has 4"):
        Operand(format=BLOCKS, codes=codes, depth_axis=0)
    with pytest.raises(ValueError, match="scales must be given for a format with blocks alone, int8 has 0"):
        Operand(format=INT8, codes=codes, depth_axis=0, scales=np.ones((2, 2), np.int64))
    with pytest.raises(ValueError, match=r"scales must be int64 of shape \(2, 2\), not int64 \(3, 2\)"):
        Operand(format=BLOCKS, codes=codes, depth_axis=0, scales=np.ones((3, 2), np.int64))
    with pytest.raises(ValueError, match=r"scales must be int64 of shape \(2, 2\), not uint8 \(2, 2\)"):
        Operand(format=BLOCKS, codes=codes, depth_axis=0, scales=np.ones((2, 2), np.uint8))
    for scale in (-1, 256):
        scales = np.array([[7, scale]])
        low, high = sorted((7, scale))
        with pytest.raises(ValueError, match=f"scales of int4-s8 must be 0 to 255, not {low} to {high}"):
            Operand(format=find("int4-s8"), codes=codes, depth_axis=0, scales=scales)
    selected = find("fp4-er-s8:g4")
    options = {"codes": codes, "depth_axis": 0, "scales": np.ones((2, 2), np.int64)}
    selectors = np.zeros((2, 2), np.uint8)
    several = "selectors must be given for a format with several tables alone, "
    with pytest.raises(ValueError, match=f"{several}fp4-er-s8:g4 has 2"):
        Operand(format=selected, **options)
    with pytest.raises(ValueError, match=f"{several}blocks has 1"):
        Operand(format=BLOCKS, selectors=selectors, **options)
    with pytest.raises(ValueError, match=r"selectors must be uint8 of shape \(2, 2\), not uint8 \(1, 2\)"):
        Operand(format=selected, selectors=selectors[:1], **options)
    with pytest.raises(ValueError, match=r"selectors must be uint8 of shape \(2, 2\), not int64 \(2, 2\)"):
        Operand(format=selected, selectors=selectors.astype(np.int64), **options)
    with pytest.raises(ValueError, match="selectors of fp4-er-s8:g4 must be 0 to 1, not 0 to 2"):
        Operand(format=selected, selectors=np.array([[0, 2], [0, 1]], np.uint8), **options)
    with pytest.raises(ValueError, match=f"{several}fp4-er-s8:g4 has 2"):
        Operand.weights(selected, np.full((8, 2), -10), options["scales"])
    with pytest.raises(ValueError, match=f"{several}int8 has 1"):
        Operand.activations(INT8, codes.astype(np.int64), None, np.zeros((8, 1), np.uint8))
    with pytest.raises(ValueError, match=r"selectors must be uint8 of shape \(2, 2\), not uint8 \(4, 2\)"):
        Operand.weights(selected, codes.astype(np.int64), options["scales"], np.zeros((4, 2), np.uint8))
    with pytest.raises(ValueError, match=r"codes of ternary must stand for numbers, not 0x2 at \[0, 1\]"):
        Operand(format=find("ternary"), codes=np.array([[1, 2]], np.uint8), depth_axis=0)
    whole = Operand(format=BLOCKS, codes=codes, depth_axis=0, scales=np.ones((2, 2), np.int64))
    with pytest.raises(ValueError, match="a part must begin at a multiple of 4 steps, not at 2"):
        whole.part((2, 8), (0, 2))


def test_operands_with_zero_points_that_cannot_be() -> None:
    codes = np.zeros((8, 2), np.uint8)
    shifted = {
        "format": find("int3-asym-s8:g4"),
        "codes": codes,
        "depth_axis": 0,
        "scales": np.ones((2, 2), np.int64),
    }
    alone = "zeros must be given for a format of blocks with zero points alone, "
    with pytest.raises(ValueError, match=f"{alone}int3-asym-s8:g4 has 4 and 'zero'"):
        Operand(**shifted)
    with pytest.raises(ValueError, match=f"{alone}blocks has 4 and ''"):
        Operand(**shifted | {"format": BLOCKS, "zeros": np.zeros((2, 2), np.int64)})
    with pytest.raises(ValueError, match=f"{alone}int3-asym:row has 0 and 'zero'"):
        Operand.weights(find("int3-asym:row"), codes.astype(np.int64), zeros=np.zeros((1, 2), np.int64))
    with pytest.raises(ValueError, match=r"zeros must be int64 of shape \(2, 2\), not int64 \(1, 2\)"):
        Operand(**shifted, zeros=np.zeros((1, 2), np.int64))
    with pytest.raises(ValueError, match="zeros of int3-asym-s8:g4 must be 0 to 7, not 0 to 8"):
        Operand(**shifted, zeros=np.array([[0, 8], [0, 1]]))
