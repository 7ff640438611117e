"""Shapes of table lookups, and when their units take their operands. No Amaranth here."""

from __future__ import annotations

import operator
from dataclasses import dataclass

from hw.pe.element_times import SCALE_BITS
from hw.timing import FLOAT_ADD

LEAST_K, MOST_K = 2, 6
"""Activations of a table."""
K = 4
"""Those of a table of fp16 activations."""
MOST_GROUPS = 32
"""Lookups that are summed before an accumulator."""
MOST_PLANES = 8
"""Bits of a weight."""
MOST_OUTPUTS = 16
"""Sums that a unit keeps: the depth of distributed RAM."""


def checked(name: str, value: int, least: int, most: int) -> int:
    """``value``, if it is an integer from ``least`` to ``most``."""
    value = operator.index(value)
    if not least <= value <= most:
        raise ValueError(f"{name} must be {least} to {most}, not {value!r}")
    return value


def entry_bits(k: int) -> int:
    """Of an exact entry of a half table of ``k`` activations of int8."""
    return 8 + (k - 1).bit_length()


def builder_cycles(k: int) -> int:
    """From activations to their half table."""
    return (k - 1).bit_length()


@dataclass(frozen=True, kw_only=True)
class PlaneTimes:
    """Cycles of a :class:`hw.pe.plane_sum.PlaneSum`, and of what has one.

    Parameters
    ----------
    extra : int
        From the operands to the extra one, of the same plane.
    shift, last : int
        From the operands to their shift; from the last operands of a group to ``last``.
    scale : int
        From ``last``, or with several outputs ``load``, to the first bit of the scale.
    result : int
        From ``finish``, which comes with its last bit, to the result.
    """

    extra: int
    shift: int
    last: int
    scale: int = 1
    result: int = 2

    @property
    def latency(self) -> int:
        """From the last operands of a group to the result; with several outputs later by ``load`` after ``last``."""
        return self.last + self.scale + SCALE_BITS - 1 + self.result


def plane_times(operands: int, *, planes: int, extra: bool, before: int = 0) -> PlaneTimes:
    """Of a sum of ``operands``, which are ``before`` registers late."""
    tree = before + max(1, (operands - 1).bit_length())
    stages = max(0, (planes - 1).bit_length() - 1)
    sums = tree + extra
    return PlaneTimes(extra=tree, shift=sums - 1 if planes > 1 else 0, last=sums + stages - 1)


HALF_ADD = 6
"""Operands of :class:`hw.pe.half.HalfAdder` to their sum, before a register."""
FLOAT_BUILDER = 8
"""Activations and index of a :class:`hw.pe.float_lookup.FloatTableBuilder` to the entry."""


@dataclass(frozen=True, kw_only=True)
class FloatTimes:
    """Cycles of a :class:`hw.pe.float_lookup.FloatLookupUnit`, each from the code of a lookup.

    Parameters
    ----------
    plane, first : int
        To the plane; to the place whose sum is added to, and whether that begins.
    add : int
        To the place whose sum it becomes.
    """

    plane: int = 1
    first: int = 1
    add: int = 2 + HALF_ADD

    @property
    def result(self) -> int:
        """To the sum."""
        return self.add + 1

    @property
    def interval(self) -> int:
        """Least cycles between two lookups of one output."""
        return self.add + 1 - self.first


MULTIPLIER_ROWS = 2
"""Adders of a :class:`hw.pe.row_product.RowProduct` in a row between registers."""


def product_cycles(factor_bits: int) -> int:
    """From the numbers of a ``RowProduct`` to their product."""
    return 1 + -(-(factor_bits - 1) // MULTIPLIER_ROWS)


HALF_SCALE = product_cycles(11) + 3
"""Sum and scale of a :class:`hw.pe.float_scale.HalfScale` to their float32 product."""
FLOAT_SCALE = 1 + HALF_SCALE
"""Those of a :class:`hw.pe.float_scale.FloatScale`."""
SINGLE_SCALE = 1 + product_cycles(24) + 3
"""Sum of a :class:`hw.pe.float_scale.TableScale` to its product with the table's scale, when that of the weights is wanted."""
TABLE_SCALE = SINGLE_SCALE + HALF_SCALE
"""The same to the result."""

MOST_TABLES = 16
"""That share a float32 scale."""
QUOTIENT_BITS = 26
"""Of a quotient of two significands between a half and two: 24, the one that rounds, and one more for those below one."""


@dataclass(frozen=True, kw_only=True)
class QuantiserTimes:
    """Cycles of a :class:`hw.pe.table_quantiser.TableQuantiser`.

    Parameters
    ----------
    late : int
        From a read until the last activation of its table is fetched.
    """

    late: int = 2 * FLOAT_ADD

    @property
    def start(self) -> int:
        """From the last write of a group to the division."""
        return 2 * FLOAT_ADD + 2

    @property
    def scale(self) -> int:
        """From that write to the scale."""
        return self.start + QUOTIENT_BITS + 2

    @property
    def interval(self) -> int:
        """Least cycles from the last write of a group to that of another."""
        return 2 * (QUOTIENT_BITS + 2)

    @property
    def inverse(self) -> int:
        """From that write to a read of the group; entries take the inverse later still."""
        return self.start + self.interval + 1 - self.late - FLOAT_ADD - 1

    @property
    def entry(self) -> int:
        """From a read to the entry."""
        return 1 + 3 * FLOAT_ADD + product_cycles(24) + 4
