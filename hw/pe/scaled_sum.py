"""Sums of a group of weights, and their product with the group's scale: what every element with int8 activations ends in."""

from __future__ import annotations

from typing import get_args

from amaranth.hdl import Module, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.pe.accumulate import GatedAdder, ShiftedAdder, SignedAdder
from hw.pe.element_times import SCALE_BITS, GroupLength
from hw.share import share

RESULT_BITS = 32
GROUPS = get_args(GroupLength)


def signed_bits(least: int, most: int) -> int:
    """Width of two's complement that holds both."""
    return max((~least).bit_length(), most.bit_length()) + 1


class ScaledSum(wiring.Component):
    """Sums up a group, then multiplies the sum by the group's scale, a bit a cycle, while the next group is summed up.

    Parameters
    ----------
    addend_width : int
        Bits of what is added in a cycle.
    least, most : int
        What a group's sum may be; on the way there it may be anything.
    shift : int
        How far an addend is shifted with ``far``; never with 0.
    gated : bool
        An addend may lack one, and need not count.

    Attributes
    ----------
    total_bits, scaled_bits : int
        Of a group's sum; of its product with the scale.

    Members
    -------
    addend : In(signed(addend_width)), far : In(1)
        Of this cycle.
    carry : In(1)
        What the addend lacks, before it is shifted; only with ``gated``.
    add : In(1)
        The addend counts; only with ``gated``, and high with ``last``.
    last : In(1)
        It is the last of the group. Also high during a reset.
    scale_bit : In(1)
        Of the scale of the group that has ended in an earlier cycle, the highest first.
    finish : In(1)
        With the last of them.
    clear : In(1)
        As ``finish``, and during a reset.
    result : Out(32), valid : Out(1)
        One cycle after ``finish``, as of :class:`BitSerialElement`.
    """

    def __init__(self, *, addend_width: int, least: int, most: int, shift: int, gated: bool = False) -> None:
        self._shift, self._gated, self.total_bits = shift, gated, signed_bits(least, most)
        self.scaled_bits = signed_bits(*(((1 << SCALE_BITS) - 1) * one for one in (least, most)))
        super().__init__(
            {
                "addend": In(signed(addend_width)),
                "far": In(1),
                "last": In(1),
                "scale_bit": In(1),
                "finish": In(1),
                "clear": In(1),
                "result": Out(RESULT_BITS),
                "valid": Out(1),
            }
            | ({"carry": In(1), "add": In(1)} if gated else {})
        )

    def elaborate(self, platform):
        m = Module()
        # What ends a sum clears it, in a reset too: a reset of its own would need a gate before it.
        total, held = (
            Signal(signed(self.total_bits), name=name, reset_less=True) for name in ("total", "held")
        )
        added = Signal.like(total)
        m.d.comb += added.eq(accumulate(m, self, total, shift=self._shift, gated=self._gated))
        with m.If(self.add if self._gated else 1):
            m.d.sync += total.eq(added)
        with m.If(self.last):
            m.d.sync += [held.eq(added), total.eq(0)]
        scale_sum(m, self, held, bits=self.scaled_bits)
        return m


def accumulate(m: Module, unit: wiring.Component, total: Signal, *, shift: int, gated: bool) -> Value:
    """``total`` and the addend of ``unit``, which has the members of a :class:`ScaledSum`."""
    if not shift and not gated:
        return total + unit.addend
    width, addend_width = len(total), len(unit.addend)
    if not shift:
        m.submodules.accumulate = adder = share(
            SignedAdder, width=width, a_width=width, b_width=addend_width, signs=False
        )
        m.d.comb += [adder.a.eq(total), adder.b.eq(unit.addend), adder.carry.eq(unit.carry)]
        return adder.sum
    m.submodules.accumulate = adder = share(
        ShiftedAdder, width=width, total_width=width, addend_width=addend_width, shift=shift, carry=gated
    )
    m.d.comb += [adder.total.eq(total), adder.addend.eq(unit.addend), adder.far.eq(unit.far)]
    if gated:
        m.d.comb += [adder.fill.eq(unit.carry.replicate(shift)), adder.carry.eq(unit.carry)]
    return adder.sum


def scale_sum(m: Module, unit: wiring.Component, held: Signal, *, bits: int, halved: bool = False) -> None:
    """Multiply ``held`` by the scale of ``unit``, which has the members of a :class:`ScaledSum`; products have ``bits`` bits.

    As many bits of the scale in a cycle as ``scale_bit`` has, the higher one first. ``halved`` results lack the lowest bit.
    """
    width = bits + bits % 2
    scaled = Signal(signed(width), reset_less=True)
    before: Value = scaled
    for place, bit in enumerate(reversed(Value.cast(unit.scale_bit))):
        m.submodules[f"scale_{place}"] = scale = share(GatedAdder, width=width, addend_width=width)
        m.d.comb += [scale.total.eq(held), scale.keep.eq(bit), scale.addend.eq(before << 1)]
        before = scale.sum
    m.d.sync += [scaled.eq(scale.sum), unit.valid.eq(unit.finish), unit.result.eq(0)]
    with m.If(unit.clear):
        m.d.sync += scaled.eq(0)
    with m.If(unit.finish):
        m.d.sync += unit.result.eq(scale.sum[int(halved) :].as_signed())
