"""Sums of many bits of different weight: layers of full adders until two rows are left. Nothing carries along a row."""

from __future__ import annotations

import operator
from dataclasses import dataclass, field
from itertools import count

from amaranth.hdl import Const, Module, Signal, Value

ROWS = 2
"""What is left."""


@dataclass(frozen=True)
class _Bit:
    value: Value
    time: int


@dataclass
class _Attempt:
    """A way to sum columns of bits up in so many layers: what is left, and the statements for it."""

    columns: list[list[_Bit]]
    layers: int
    eager: int
    statements: list = field(default_factory=list)

    def __post_init__(self) -> None:
        # Before the last layer three bits of a weight may be left, before the one before it four, then six, nine, ...
        most = [ROWS]
        while len(most) < self.layers:
            most.append(most[-1] * 3 // 2)
        for layer in range(self.layers):
            self._layer(layer, most[self.layers - 1 - layer])

    def _layer(self, now: int, most: int) -> None:
        after: list[list[_Bit]] = [[] for _ in range(len(self.columns) + 1)]
        for place, column in enumerate(self.columns):
            ready = sorted((bit for bit in column if bit.time <= now), key=lambda bit: bit.time)
            others = [bit for bit in column if bit.time > now]
            while size := self._taken(place, len(ready), len(ready + others + after[place]), most):
                total, carry = self._adder(ready[:size], now + 1)
                ready = ready[size:]
                after[place].append(total)
                after[place + 1].append(carry)
            after[place] += ready + others
        self.columns = after[:-1]

    def _taken(self, place: int, ready: int, left: int, most: int) -> int:
        """How many bits of a column the next adder takes: three, two or none."""
        if ready > 2 and (left > most + 1 or (place < self.eager and left > 1)):
            return 3
        return 2 if ready > 1 and left > most else 0

    def _adder(self, bits: list[_Bit], time: int) -> tuple[_Bit, _Bit]:
        """A full adder, or a half adder; of two bits and a constant one it is an exclusive nor and an or."""
        one, *others = (bit.value for bit in bits)
        total, carry = Signal(name="total"), Signal(name="carry")
        if len(others) == 1:
            made = [total.eq(one ^ others[0]), carry.eq(one & others[0])]
        elif isinstance(one, Const):
            a, b = others
            made = [total.eq(~(a ^ b)), carry.eq(a | b)]
        else:
            either = Signal(name="either")
            made = [
                either.eq(one ^ others[0]),
                total.eq(either ^ others[1]),
                carry.eq((either & others[1]) | (one & others[0])),
            ]
        self.statements += made
        return _Bit(total, time), _Bit(carry, time)


class Heap:
    """Bits to be summed modulo ``2**width``.

    Times are in layers of adders: the bits that are there first are added first, so that late ones pass few adders.

    Parameters
    ----------
    width : int
        1 or more.
    eager : int
        In so many lowest columns bits are added as soon as there are three: fewer are left there.
    """

    def __init__(self, width: int, *, eager: int = 0) -> None:
        self._width, self._eager = operator.index(width), operator.index(eager)
        if self._width < 1:
            raise ValueError(f"width must be 1 or more, not {width!r}")
        self._columns: list[list[_Bit]] = [[] for _ in range(self._width)]
        self._constant = 0

    def add(self, value: Value, *, shift: int = 0, time: int = 0) -> None:
        """Add an unsigned value; what is above the width does not count."""
        for place, bit in enumerate(value):
            self.add_bit(bit, shift + place, time=time)

    def add_bit(self, bit: Value, place: int, *, time: int = 0) -> None:
        """Add a bit that is worth ``2**place``."""
        if place < self._width:
            self._columns[place].append(_Bit(bit, time))

    def add_signed(self, value: Value, *, shift: int = 0, time: int = 0) -> None:
        """Add a value in two's complement: its sign, inverted, is a bit like the others, and a constant makes up for that."""
        top = len(value) - 1
        self.add(value[:top], shift=shift, time=time)
        self.add_bit(~value[top], shift + top, time=time)
        self.add_constant(-1 << shift + top)

    def add_constant(self, value: int) -> None:
        """Add an integer."""
        self._constant += value

    def rows(self, m: Module) -> tuple[list[Value], list[Value]]:
        """Bits of two rows whose sum is that of everything; where nothing is left they are constants."""
        columns = [
            [*([_Bit(Const(1, 1), -1)] if self._constant >> place & 1 else []), *column]
            for place, column in enumerate(self._columns)
        ]
        for layers in count():
            attempt = _Attempt(columns, layers, self._eager)
            if all(len(column) <= ROWS for column in attempt.columns):
                break
        m.d.comb += attempt.statements
        self.layers = layers
        filled = [
            [bit.value for bit in column] + [Const(0, 1)] * (ROWS - len(column)) for column in attempt.columns
        ]
        return [column[0] for column in filled], [column[1] for column in filled]


def places(row: list[Value]) -> tuple[int, ...]:
    """Places of a row's bits that are not always 0."""
    return tuple(place for place, bit in enumerate(row) if not isinstance(bit, Const))
