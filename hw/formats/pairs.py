"""Codes as pairs of an exponent and an integer: ``integer << exponent``, in units of the format's ``2**unit``. No Amaranth here.

Of all ways to write a number so, the one of the fewest bits of integers over the whole format, and then of the smallest exponent;
a number and its negative, where there are both, have one exponent. E2M1 then has integers -3 to 3 and exponents 0 to 2, two's
complement no exponent, OliVe's int4 integers of four bits and exponents 0 to 4, E4M3 integers -15 to 15 and exponents 0 to 14.

Zero's pair is (0, 0). So is that of what is no number: NaN, infinities, codes not in use (abfloat's zeros among them), and a
victim, whatever its neighbour. Scales, zero points and minimums of blocks are no part of a pair.

Reference: OliVe, Guo et al., ISCA 2023, section 4 (exponent-integer pairs).
"""

from __future__ import annotations

import operator
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from hw.formats.format import Format
from hw.formats.olive import PairFormat

MOST_EXPONENT_BITS = 6
MOST_INTEGER_BITS = 18
"""Of a factor: ``hw.pe.multiplier.MOST_BITS``."""


@dataclass(frozen=True)
class PairShape:
    """Bits of pairs.

    Parameters
    ----------
    exponent_bits : int
        Of an exponent, which has no sign; 0 where there is none.
    integer_bits : int
        Of an integer in two's complement, 1 or more.
    most_exponent : int
        The largest; all that the bits can hold if it is not given.

    Raises
    ------
    TypeError, ValueError
        Values that are no integers, out of range, or a ``most_exponent`` that does not take just that many bits.
    """

    exponent_bits: int
    integer_bits: int
    most_exponent: int = -1

    def __post_init__(self) -> None:
        exponent_bits, integer_bits = operator.index(self.exponent_bits), operator.index(self.integer_bits)
        if not 0 <= exponent_bits <= MOST_EXPONENT_BITS:
            raise ValueError(f"exponent_bits must be 0 to {MOST_EXPONENT_BITS}, not {self.exponent_bits!r}")
        if not 1 <= integer_bits <= MOST_INTEGER_BITS:
            raise ValueError(f"integer_bits must be 1 to {MOST_INTEGER_BITS}, not {self.integer_bits!r}")
        most = operator.index(self.most_exponent)
        most = (1 << exponent_bits) - 1 if most == -1 else most
        if most < 0 or most.bit_length() != exponent_bits:
            raise ValueError(
                f"most_exponent must take {exponent_bits} bits, as exponent_bits, not {self.most_exponent!r}"
            )
        for name, value in (
            ("exponent_bits", exponent_bits), ("integer_bits", integer_bits), ("most_exponent", most),
        ):  # fmt: skip
            object.__setattr__(self, name, value)

    @classmethod
    def of(cls, *formats: Format) -> PairShape:
        """What the pairs of all of ``formats`` fit in: the most of each."""
        if not formats:
            raise ValueError("formats must be at least one, not none")
        tables = [pairs(format) for format in formats]
        most = max(int(table.exponents.max()) for table in tables)
        return cls(most.bit_length(), max(signed_bits(table.integers.flat) for table in tables), most)

    @property
    def value_bits(self) -> int:
        """Of the largest number in two's complement."""
        return self.integer_bits + self.most_exponent


@dataclass(frozen=True, eq=False)
class Pairs:
    """The pairs of a format's codes, int64 [tables, codes].

    The tables are those of the selectors; behind them, in a :class:`PairFormat`, that of a victim's neighbour.
    """

    format: Format
    exponents: np.ndarray
    integers: np.ndarray

    def decode(
        self, codes: np.ndarray, selectors: np.ndarray | int = 0, *, axis: int = -1
    ) -> tuple[np.ndarray, np.ndarray]:
        """Exponents and integers of ``codes``; ``selectors`` and ``axis`` as in ``Format.decode``, but every code is taken."""
        codes = np.asarray(codes)
        table, zero = np.broadcast_to(selectors, codes.shape), np.zeros(codes.shape, dtype=bool)
        if isinstance(self.format, PairFormat):
            victim = np.moveaxis(codes == self.format.identifier, axis, -1)
            beside, last = np.zeros_like(victim), victim.shape[-1] // 2 * 2
            beside[..., 0:last:2], beside[..., 1:last:2] = victim[..., 1:last:2], victim[..., 0:last:2]
            table = np.where(np.moveaxis(beside, -1, axis), len(self.format.tables), table)
            zero = np.moveaxis(victim, -1, axis)
        exponents, integers = self.exponents[table, codes], self.integers[table, codes]
        return np.where(zero, 0, exponents), np.where(zero, 0, integers)


def signed_bits(values: Iterable[int]) -> int:
    """Bits of the widest of ``values`` in two's complement; 1 for 0."""
    return max((v if v >= 0 else ~v).bit_length() + 1 for v in map(int, values))


@lru_cache(maxsize=256)
def pairs(format: Format) -> Pairs:
    """The pair of every code of ``format``; arrays are shared, and not to be written."""
    tables = [[v or 0 for v in table] for table in format.tables]
    if isinstance(format, PairFormat):
        tables.append([v or 0 for v in format.outliers])
    values = np.array(tables, dtype=np.int64)
    odd = values // np.maximum(values & -values, 1)
    bits = signed_bits((1, odd.min(), odd.max()))
    half, mirrored = 1 << bits - 1, np.isin(-values, values)
    exponents = np.zeros_like(values)
    for exponent in range(signed_bits((values.min(), values.max()))):
        these, others = values >> exponent, np.where(mirrored, -values, values) >> exponent
        fit = (np.minimum(these, others) >= -half) & (np.maximum(these, others) < half)
        exponents += ~fit
    integers = values >> exponents
    for each in (exponents, integers):
        each.setflags(write=False)
    return Pairs(format, exponents, integers)


def product_range(a: Format, b: Format) -> tuple[int, int]:
    """Least and greatest product of numbers of two formats, no zero points taken off."""
    products = [x * y for x in (a.minimum, a.maximum) for y in (b.minimum, b.maximum)]
    return min(products), max(products)


def sum_bits(a: Format, b: Format, count: int, *, dropped: int = 0) -> int:
    """Bits in two's complement of any sum of up to ``count`` products of numbers of two formats, no zero points taken off.

    ``dropped`` lowest bits of each product are cut off before (:class:`Accumulator`).
    """
    count = operator.index(count)
    if count < 1:
        raise ValueError(f"count must be 1 or more, not {count!r}")
    return signed_bits((0, *(count * (product >> dropped) for product in product_range(a, b))))


@dataclass(frozen=True, kw_only=True)
class Accumulator:
    """How products are summed: each one, exact in two's complement, is shifted down by ``dropped`` bits, to minus infinity, and
    added to a sum of ``width`` bits, which counts in ``2**dropped`` of what the product counts in.
    """

    width: int
    dropped: int = 0

    @classmethod
    def exact(cls, a: Format, b: Format, count: int) -> Accumulator:
        """Of ``count`` products, nothing dropped."""
        return cls(width=sum_bits(a, b, count))

    @classmethod
    def aligned(cls, a: Format, b: Format, count: int, window: int) -> Accumulator:
        """Of ``count`` products whose widest keeps ``window`` bits, its sign one of them; exact where it has no more."""
        window = operator.index(window)
        if window < 2:
            raise ValueError(f"window must be 2 or more, not {window!r}")
        dropped = max(0, signed_bits(product_range(a, b)) - window)
        return cls(width=sum_bits(a, b, count, dropped=dropped), dropped=dropped)
