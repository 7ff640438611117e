"""The analytic cycle model of BitMoD's simulator: an array that is always full or always waits for the bus.

Of a product it takes the larger of two numbers: steps of the array, whole tiles each, and bits to move over the bus divided by
the bus's width. Filling and draining the array, the time that a memory takes to answer, the order of loads and their overlap
at both ends do not exist.

Reference: abdelfattah-lab/BitMoD-HPCA-25, ``bitmod_sim`` at 58d7bdb; worked out from the published cycle counts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from hw.design import ceil_div


@dataclass(frozen=True, kw_only=True)
class Operation:
    """``count`` products of ``tokens`` rows, ``depth`` deep, with ``features`` columns.

    Members
    -------
    weight_bits : float
        Of an element of the second operand.
    input_depth : int or None
        Elements of a row of the first operand that are moved, where that is not ``depth``.
    """

    tokens: int
    depth: int
    features: int
    weight_bits: float
    count: int = 1
    input_depth: int | None = None


@dataclass(frozen=True, kw_only=True)
class Machine:
    """An array of ``features`` × ``tokens`` elements with two buffers and one bus.

    Members
    -------
    features, tokens : int
        Outputs that it computes at a time: features of so many tokens.
    lanes, terms : int
        An element adds ``lanes`` products in ``terms`` cycles.
    input_bits, output_bits : int
        Of an activation and of a result.
    bus_bits : int
        Moved in a cycle, to and fro together.
    weight_buffer, input_buffer : int
        Bytes; an operand is moved more than once only if neither fits.
    """

    features: int
    tokens: int
    lanes: int = 1
    terms: int = 1
    input_bits: int = 16
    output_bits: int = 16
    bus_bits: int = 256
    weight_buffer: int = 512 << 10
    input_buffer: int = 512 << 10

    def compute(self, one: Operation) -> int:
        """Cycles of the array for one of ``one``'s products."""
        tiles = ceil_div(one.features, self.features) * ceil_div(one.tokens, self.tokens)
        return tiles * ceil_div(one.depth, self.lanes) * self.terms

    def transfer(self, one: Operation) -> int:
        """Cycles of the bus for one of ``one``'s products: each operand once, or the cheaper of the two again and again."""
        weights = math.ceil(one.depth * one.weight_bits / 8) * one.features
        inputs = math.ceil((one.input_depth or one.depth) * self.input_bits / 8) * one.tokens
        outputs = math.ceil(one.features * self.output_bits / 8) * one.tokens
        operands = weights + inputs
        if weights > self.weight_buffer and inputs > self.input_buffer:
            operands = min(
                weights * ceil_div(inputs, self.input_buffer) + inputs,
                inputs * ceil_div(weights, self.weight_buffer) + weights,
            )
        return (operands + outputs) * 8 // self.bus_bits

    def cycles(self, one: Operation) -> int:
        """Cycles of one of ``one``'s products."""
        return max(self.compute(one), self.transfer(one))
