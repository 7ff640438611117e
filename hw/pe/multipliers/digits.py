"""Digits of radix 4, -2 to 2, of an operand in two's complement, and what a digit makes of the other factor."""

from __future__ import annotations

from itertools import pairwise

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

DIGIT = data.StructLayout({"one": 1, "two": 1, "negative": 1})
"""1 or 2 or, with neither, 0; with a minus. 0 has none."""

HALF = 4
"""Bits of an operand below the carry in its middle."""


def booth(value: Value) -> list[dict[str, Value]]:
    """Modified Booth digits of an even number of bits, lowest first; each is ready at once, without a carry."""
    bits = Cat(Const(0, 1), value)
    found = []
    for place in range(0, len(value), 2):
        below, low, high = bits[place], bits[place + 1], bits[place + 2]
        found.append(
            {
                "one": low ^ below,
                "two": (high & ~low & ~below) | (~high & low & below),
                "negative": high & ~(low & below),
            }
        )
    return found


def en_t(value: Value, negative: Value, carry: Value | None = None) -> tuple[list[dict[str, Value]], Value]:
    """EN-T digits of an even number of bits, lowest first, and the carry out of them.

    Of two bits and a carry the residue modulo 4 is the digit, which 3 lacks 4 to, and in a negative operand 2 as well: that
    is the next carry. So the digits of a negative operand are those of its magnitude with a minus, but nothing is ever negated.

    Parameters
    ----------
    value : Value
        The operand, or some of its bits from an even place on.
    negative : Value
        The operand's sign.
    carry : Value, optional
        Out of the digits below.

    Reference: HPCA 2025, section 4; ``sim.digits.en_t``.
    """
    found = []
    carry = Const(0, 1) if carry is None else carry
    for place in range(0, len(value), 2):
        low, high = value[place], value[place + 1]
        with_carry, without = high ^ low, high
        found.append(
            {
                "one": low ^ carry,
                "two": Mux(carry, with_carry & low, without & ~low),
                "negative": Mux(carry, with_carry & (~low | negative), without & (low | negative)),
            }
        )
        carry = (high & (low | negative)) | ((high | (low & negative)) & carry)
    return found, carry


def multiple(digit: dict[str, Value] | data.View, value: Value) -> tuple[Value, Value]:
    """``digit`` times ``value`` (two's complement): a row of one bit more, likewise, and a bit to be added to it."""
    one, two, negative = digit["one"], digit["two"], digit["negative"]
    bits = [negative, *(bit ^ negative for bit in (*value, value[-1]))]
    row = [(one & here) | (two & below) for below, here in pairwise(bits)]
    return Cat(*row), negative


class DigitEncoder(wiring.Component):
    """EN-T digits of ``lanes`` operands, for all that multiply by them.

    Parameters
    ----------
    lanes : int
        1 or more.

    Members
    -------
    values : In(ArrayLayout(signed(8), lanes))
    digits : Out(ArrayLayout(ArrayLayout(DIGIT, 4), lanes))
        Two cycles later, lowest first.

    Reference
    ---------
    HPCA 2025, section 4: encoders outside of the elements.
    """

    def __init__(self, *, lanes: int) -> None:
        if lanes < 1:
            raise ValueError(f"lanes must be 1 or more, not {lanes!r}")
        self._lanes = lanes
        super().__init__(
            {
                "values": In(data.ArrayLayout(signed(8), lanes)),
                "digits": Out(data.ArrayLayout(data.ArrayLayout(DIGIT, 4), lanes)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        # A reset would need gates before registers that nothing depends on.
        values = Signal.like(self.values, reset_less=True)
        digits = Signal.like(self.digits, reset_less=True)
        m.d.sync += values.eq(self.values)
        m.d.comb += self.digits.eq(digits)
        for lane, value in enumerate(values):
            # A carry through all digits is too long for a cycle: the one in the middle is made before the first register.
            middle = Signal(name=f"middle_{lane}", reset_less=True)
            given = self.values[lane]
            m.d.sync += middle.eq(en_t(given[:HALF], given[-1])[1])
            lower, _ = en_t(value[:HALF], value[-1])
            upper, _ = en_t(value[HALF:], value[-1], middle)
            for place, digit in enumerate(lower + upper):
                m.d.sync += [digits[lane][place][name].eq(bit) for name, bit in digit.items()]
        return m
