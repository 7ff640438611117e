"""Codes as exponents and integers: every code of every format, and the sizes that follow."""

from __future__ import annotations

import numpy as np
import pytest

from hw.formats import FORMATS, Format, PairFormat
from hw.formats.pairs import PairShape, pairs, sum_bits

SHAPES = {
    "int4": (0, 4, 0),
    "ternary": (0, 2, 0),
    "bfp8": (0, 8, 0),
    "mxint8": (0, 8, 0),
    "int8-asym": (0, 9, 0),
    "flint4": (2, 3, 3),
    "mxfp4": (2, 3, 2),
    "mxfp6-e2m3": (2, 5, 2),
    "mxfp6-e3m2": (3, 4, 6),
    "mxfp8-e4m3": (4, 5, 14),
    "mxfp8-e5m2": (5, 4, 29),
    "ovp4-int4": (3, 4, 4),
    "ovp4-flint4": (3, 3, 6),
    "ovp8-int8": (5, 8, 16),
    "ovp8-int8-e2m5": (3, 8, 4),
}


@pytest.mark.parametrize("format", FORMATS.values(), ids=lambda format: format.name)
def test_every_code(format: Format) -> None:
    """Exact, no integer wider than the odd part of the widest number, no exponent larger than the bits ask for."""
    table, shape = pairs(format), PairShape.of(format)
    wanted = [*format.tables, *([format.outliers] if isinstance(format, PairFormat) else [])]
    values = np.array([[v or 0 for v in one] for one in wanted])
    assert np.array_equal(table.integers << table.exponents, values)
    assert table.exponents.min() >= 0
    assert not table.exponents[values == 0].any()
    assert table.exponents.max() == shape.most_exponent
    half = 1 << shape.integer_bits - 1
    assert -half <= table.integers.min() <= table.integers.max() < half
    odd = values[values != 0] // (values[values != 0] & -values[values != 0])
    assert odd.max() >= half // 2 or odd.min() < -half // 2 or shape.integer_bits <= 2
    shifted = np.unique(values[table.exponents > 0])
    for number in shifted[:: 1 + len(shifted) // 300]:
        both = [number, -number] if -number in values else [number]
        finer = np.array(both) >> int(table.exponents[values == number][0]) - 1
        assert ((finer < -half) | (finer >= half)).any()


@pytest.mark.parametrize(("name", "shape"), SHAPES.items())
def test_shapes(name, shape) -> None:
    assert PairShape.of(FORMATS[name]) == PairShape(*shape)


def test_shapes_together() -> None:
    together = PairShape.of(FORMATS["int8"], FORMATS["mxfp8-e4m3"], FORMATS["mxfp6-e3m2"])
    assert together == PairShape(4, 8, 14)
    assert together.value_bits == 22
    assert PairShape(3, 4).most_exponent == 7


@pytest.mark.parametrize("name", [name for name, one in FORMATS.items() if isinstance(one, PairFormat)])
@pytest.mark.parametrize("odd", [0, 1])
def test_outliers_on_both_sides(name, odd) -> None:
    format = FORMATS[name]
    used = [code for code, value in enumerate(format.outliers) if value is not None]
    codes = np.full((len(used), 2), format.identifier)
    codes[:, odd] = used
    exponents, integers = pairs(format).decode(codes)
    assert np.array_equal(integers << exponents, format.decode(codes))
    exponents, integers = pairs(format).decode(codes.T, axis=0)
    assert np.array_equal(integers << exponents, format.decode(codes.T, axis=0))


@pytest.mark.parametrize("name", [name for name, one in FORMATS.items() if one.bits <= 8])
def test_rows_of_codes(name) -> None:
    """As the format itself decodes them, selectors included, wherever it does."""
    format = FORMATS[name]
    random = np.random.default_rng(0)
    taken = [c for c in range(1 << format.bits) if all(t[c] is not None for t in format.tables)]
    codes = random.choice(taken, (8, 33)).astype(format.code_type)
    selectors = random.integers(0, len(format.tables), (8, 1))
    exponents, integers = pairs(format).decode(codes, selectors)
    assert np.array_equal(integers << exponents, format.decode(codes, selectors))


def test_no_numbers_are_zero() -> None:
    nan = np.array([0x7F, 0xFF])
    assert [each.tolist() for each in pairs(FORMATS["mxfp8-e4m3"]).decode(nan)] == [[0, 0], [0, 0]]
    two_victims = np.array([8, 8, 0, 8])
    assert pairs(FORMATS["ovp4-int4"]).decode(two_victims)[1].tolist() == [0, 0, 0, 0]


def test_sums() -> None:
    dots = [sum_bits(FORMATS[n], FORMATS[n], 4) for n in ("mxfp4", "mxfp6-e2m3", "mxfp6-e3m2", "mxfp8-e4m3")]
    assert dots == [11, 15, 21, 39]
    int8 = FORMATS["int8"]
    assert sum_bits(int8, int8, 1) == 16
    assert sum_bits(int8, FORMATS["int4-asym"], 1) == 12
    assert sum_bits(FORMATS["kivi2"], FORMATS["kivi4"], 1) == 7


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PairShape(7, 4), "exponent_bits must be 0 to 6, not 7"),
        (lambda: PairShape(0, 0), "integer_bits must be 1 to 18, not 0"),
        (lambda: PairShape(3, 4, 3), "most_exponent must take 3 bits, as exponent_bits, not 3"),
        (PairShape.of, "formats must be at least one, not none"),
        (lambda: sum_bits(FORMATS["int8"], FORMATS["int8"], 0), "count must be 1 or more, not 0"),
    ],
)
def test_errors(make, message) -> None:
    with pytest.raises(ValueError, match=message):
        make()
    with pytest.raises(TypeError):
        PairShape(1.5, 4)
