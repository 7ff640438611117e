"""Four elements for integers of four bits that work as one for integers of eight.

An integer of eight bits is two of four: the lower four bits as two's complement, and the rest, which counts 16. That is -8 to 7,
or 8, which is written as 4 that counts 32. Both keep the pair's exponent besides, so it is no matter whether the pair is int8 or
an outlier: abfloat E4M3, of five bits with its sign, is ``hw.formats.pairs``' integer of eight.

Reference: OliVe, Guo et al., ISCA 2023, section 4 (8-bit operands as <4, h> + <0, l>); what is to be done with abfloat, whose
integers do not fit four bits, it leaves open.
"""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.formats.pairs import PairShape
from hw.pe.decoder import pair_layout
from hw.pe.exponent_integer import OutputStationaryElement
from hw.pe.exponent_integer_times import checked_sum, half_shape
from hw.share import share


class Split(wiring.Component):
    """A pair as two whose sum it is.

    Parameters
    ----------
    shape : PairShape
        Its integer has 5 to 8 bits.

    Members
    -------
    pair : In(pair_layout(shape))
    halves : Out(ArrayLayout(pair_layout(half_shape(shape)), 2))
        The lower four bits, and the others.

    Timing
    ------
    ``halves`` come ``hw.timing.SPLIT_PAIR`` cycles later.

    Raises
    ------
    ValueError
        The integer has other bits.
    """

    def __init__(self, *, shape: PairShape) -> None:
        self._shape = shape
        halves = data.ArrayLayout(pair_layout(half_shape(shape)), 2)
        super().__init__({"pair": In(pair_layout(shape)), "halves": Out(halves)})

    def elaborate(self, platform):
        m = Module()
        integer = self.pair.integer
        exponent = self.pair.exponent if self._shape.exponent_bits else 0
        rest, eight = Signal(signed(5)), Signal()
        m.d.comb += [rest.eq((integer >> 4) + integer[3]), eight.eq(rest == 8)]
        m.d.sync += [
            self.halves[0].integer.eq(integer[:4].as_signed()),
            self.halves[0].exponent.eq(exponent),
            self.halves[1].integer.eq(Mux(eight, 4, rest)),
            self.halves[1].exponent.eq(exponent + 4 + eight),
        ]
        return m


class FusedElement(wiring.Component):
    """Two activations by two weights: four output-stationary elements, whose sums may be one.

    With the halves of one activation and of one weight ``result`` is the sum of their products; with two activations and two
    weights of four bits each element has a sum of its own.

    Parameters
    ----------
    activation, weight : PairShape
        Of each operand, or of each half (``half_shape``).
    sum_width : int
        As of :class:`hw.pe.exponent_integer.OutputStationaryElement`.

    Members
    -------
    activations : In(ArrayLayout(pair_layout(activation), 2)), weights : In(ArrayLayout(pair_layout(weight), 2)), last : In(1)
        Operands of this cycle, the lower halves first; the last ones of their sums.
    activations_next, weights_next, last_next : Out
        The same, one cycle later, for the neighbours.
    results : Out(ArrayLayout(sum_width, 4)), results_valid : Out(1)
        As of an element each: activation 0 by weight 0, by weight 1, activation 1 by weight 0, by weight 1.
    result : Out(sum_width), valid : Out(1)
        The sum of the four.

    Timing
    ------
    ``results`` come ``output_latency(activation, weight)`` cycles after the last operands, ``result`` a cycle after them
    (``fused_latency``). Two operands on each side in each cycle.

    Raises
    ------
    TypeError, ValueError
        As of the element.
    """

    def __init__(self, *, activation: PairShape, weight: PairShape, sum_width: int) -> None:
        sum_width, _ = checked_sum(sum_width, 0, activation, weight)
        self._arguments = {"activation": activation, "weight": weight, "sum_width": sum_width}
        operands = {
            "activations": data.ArrayLayout(pair_layout(activation), 2),
            "weights": data.ArrayLayout(pair_layout(weight), 2),
            "last": 1,
        }
        super().__init__(
            {name: In(shape) for name, shape in operands.items()}
            | {f"{name}_next": Out(shape) for name, shape in operands.items()}
            | {"results": Out(data.ArrayLayout(sum_width, 4)), "results_valid": Out(1)}
            | {"result": Out(sum_width), "valid": Out(1)}
        )

    def elaborate(self, platform):
        m = Module()
        for place in range(4):
            a, w = divmod(place, 2)
            m.submodules[f"element_{place}"] = element = share(OutputStationaryElement, **self._arguments)
            m.d.comb += [
                element.activation.eq(self.activations[a]),
                element.weight.eq(self.weights[w]),
                element.last.eq(self.last),
                self.results[place].eq(element.result),
            ]
            if a == w == 0:
                m.d.comb += [self.results_valid.eq(element.valid), self.last_next.eq(element.last_next)]
            if w == 0:
                m.d.comb += self.activations_next[a].eq(element.activation_next)
            if a == 0:
                m.d.comb += self.weights_next[w].eq(element.weight_next)
        m.d.sync += [
            self.result.eq(sum(self.results[place] for place in range(4))),
            self.valid.eq(self.results_valid),
        ]
        return m
