"""Systolic arrays in which two columns share the multipliers of DSP blocks: int8 activations, int4 weights."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Value, signed

from hw.array.output_stationary import OutputStationaryArray, OutputStationaryColumn
from hw.array.weight_stationary import WeightStationaryArray, WeightStationaryColumn
from hw.delay import delayed
from hw.pe.multipliers.packed import WEIGHT_BITS, joined
from hw.pe.packed import PackedOutputElement, PackedWeightElement, sum_width
from hw.share import share

INT4 = signed(WEIGHT_BITS)
BOTH = 2 * WEIGHT_BITS
"""Bits of the weights of two columns."""


class PackedOutputColumn(OutputStationaryColumn):
    """As its base, two columns in one: the result of the upper one is above that of the lower one, and a cycle later.

    Parameters
    ----------
    rows : int
        1 or more.
    """

    def __init__(self, *, rows: int) -> None:
        super().__init__(rows=rows, weight=BOTH, width=64, columns=2)

    def _weight(self, m: Module) -> Value:
        return joined(self.weight)

    def _element(self):
        return share(PackedOutputElement)

    def _top(self, m: Module, result: Value, valid: Value) -> None:
        m.d.comb += [self.result.eq(Cat(result[:32], delayed(m, result[32:], 1))), self.valid.eq(valid)]


class PackedOutputArray(OutputStationaryArray):
    """As its base, with int4 weights and half as many elements.

    Two neighbouring columns stand at one place of the skew, and what passes takes two registers from there to the next: so
    results are as late as they would be side by side.

    Parameters
    ----------
    rows, columns : int
        1 or more; ``columns`` even.
    """

    together = 2

    def __init__(self, *, rows: int, columns: int) -> None:
        super().__init__(rows=rows, columns=columns, weight=INT4)

    def _column(self):
        return share(PackedOutputColumn, rows=self._rows)


class PackedWeightColumn(WeightStationaryColumn):
    """As its base, two columns in one: the result of the upper one is above that of the lower one, and a cycle later.

    Parameters
    ----------
    rows : int
        1 to 64.
    """

    def __init__(self, *, rows: int) -> None:
        super().__init__(rows=rows, weight=BOTH, width=sum_width(rows), result=64)

    def _weight(self) -> Value:
        return joined(self.weight)

    def _element(self):
        return share(PackedWeightElement, sum_width=self._width)

    def _below(self, m: Module, total: Value) -> None:
        low, high = total[: self._width], delayed(m, total[self._width :], 1)
        m.d.comb += self.result.eq(Cat(_extended(low), _extended(high)))


class PackedWeightArray(WeightStationaryArray):
    """As its base, with int4 weights and half as many elements; columns stand as in :class:`PackedOutputArray`.

    Parameters
    ----------
    rows, columns : int
        1 to 64 each; ``columns`` even.
    """

    together = 2

    def __init__(self, *, rows: int, columns: int) -> None:
        super().__init__(rows=rows, columns=columns, weight=INT4)

    def _column(self):
        return share(PackedWeightColumn, rows=self._rows)


def _extended(value: Value) -> Value:
    """The bits of a value in two's complement as 32."""
    return Cat(value, value[-1].replicate(32 - len(value)))
