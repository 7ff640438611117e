"""Output-stationary elements that take several steps of K at once: a dot product of int8 operands is added to the sum."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.delay import delayed
from hw.pe.accumulate import GatedAdder
from hw.pe.cube_times import output_element, tree_registers
from hw.pe.multiplier import RegisteredMultiplier
from hw.pe.multipliers.same_weight_rows import SameWeightTree, digits_layout, dot_width
from hw.share import share
from hw.timing import TREE_LAYERS


def weight_layout(multiplier: str, depth: int) -> data.ArrayLayout:
    """What an element takes of so many weights: digits, or numbers."""
    return digits_layout(depth) if multiplier == "same_weight" else data.ArrayLayout(signed(8), depth)


class ProductTree(wiring.Component):
    """Dot product of ``products`` int8 operands: as many multipliers, and a tree of adders.

    Parameters
    ----------
    products : int
        1 or more.

    Members
    -------
    a, b : In(ArrayLayout(signed(8), products))
    result : Out(signed(15 + bits of products))

    Timing
    ------
    ``result`` comes ``2 + tree_registers(products)`` cycles later.
    """

    def __init__(self, *, products: int) -> None:
        self._products = products
        operands = data.ArrayLayout(signed(8), products)
        super().__init__({"a": In(operands), "b": In(operands), "result": Out(signed(dot_width(products)))})

    def elaborate(self, platform):
        m = Module()
        level: list[Value] = []
        for lane in range(self._products):
            m.submodules[f"multiplier_{lane}"] = one = share(
                RegisteredMultiplier, a_width=8, b_width=8, signed=True
            )
            m.d.comb += [one.a.eq(self.a[lane]), one.b.eq(self.b[lane])]
            level.append(one.product)
        several = 1 << TREE_LAYERS
        for _ in range(tree_registers(self._products)):
            sums = [_sum(level[first : first + several]) for first in range(0, len(level), several)]
            level = [delayed(m, one, 1) for one in sums]
        m.d.comb += self.result.eq(level[0])
        return m


def _sum(values: list[Value]) -> Value:
    """By twos."""
    while len(values) > 1:
        values = [sum(values[first + 1 : first + 2], values[first]) for first in range(0, len(values), 2)]
    return values[0]


class CubeElement(wiring.Component):
    """Sums the dot products of operands that pass, and lets the sum out on the last ones.

    Parameters
    ----------
    depth : int
        Products of a step.
    multiplier : str
        "native": each has its multiplier. "same_weight": weights come as digits, and are summed by bit weight.

    Members
    -------
    activation : In(ArrayLayout(signed(8), depth)), weight : In(weight_layout)
        Operands of this cycle. Activations of zero leave the sum alone.
    last : In(1)
        They are the last of their sum.
    activation_next, weight_next, last_next : Out
        The same, one cycle later, for the neighbours.
    result : Out(32), valid : Out(1)
        The sum, two's complement, in one cycle; zero in all others, so that results may be joined by OR.

    Timing
    ------
    ``result`` comes ``output_element`` cycles after the last operands; the next ones belong to the next sum.
    One step per cycle without a gap. A reset has to last three cycles.

    Reference
    ---------
    HPCA 2025, OPT2; the encoders stand outside.
    """

    def __init__(self, *, depth: int, multiplier: str) -> None:
        self._depth, self._multiplier = depth, multiplier
        activation, weight = data.ArrayLayout(signed(8), depth), weight_layout(multiplier, depth)
        super().__init__(
            {
                "activation": In(activation),
                "weight": In(weight),
                "last": In(1),
                "activation_next": Out(activation),
                "weight_next": Out(weight),
                "last_next": Out(1),
                "result": Out(32),
                "valid": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        if self._multiplier == "same_weight":
            m.submodules.dot = dot = share(SameWeightTree, products=self._depth)
            m.d.comb += [dot.digits.eq(self.weight_next), dot.values.eq(self.activation_next)]
        else:
            m.submodules.dot = dot = share(ProductTree, products=self._depth)
            m.d.comb += [dot.a.eq(self.activation), dot.b.eq(self.weight)]
        m.submodules.adder = adder = share(GatedAdder, width=32, addend_width=len(dot.result))
        total, keep = Signal(32), Signal(init=1)
        element = output_element(self._multiplier, self._depth)
        m.d.comb += [adder.total.eq(total), adder.keep.eq(keep), adder.addend.eq(dot.result)]
        m.d.sync += [
            self.activation_next.eq(self.activation),
            self.weight_next.eq(self.weight),
            self.last_next.eq(self.last),
            keep.eq(~delayed(m, self.last_next, element - 3)),
            total.eq(adder.sum),
            self.valid.eq(~keep),
            self.result.eq(Mux(keep, 0, total)),
        ]
        return m
