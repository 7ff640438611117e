"""What bit-serial elements are measured against: elements of parallel multipliers, made of the same carry cells.

They are no part of any design. Rows of a product are added in pairs, the gates of both in the adder's look-up tables; a lane's
sign or the last row likewise. Registers stand where the bit-serial element has them; the sums of groups are scaled by the same
component.

CCU2C, a half: ``p`` is a table of A, B, C, D; the sum is ``p`` exclusive or carry; where ``p`` is 0 the carry is what the table
says of A and B at C = D = 0 (Yosys, ``techlibs/ecp5/cells_sim.v``).
"""

from __future__ import annotations

import operator
from typing import Literal, get_args

from amaranth.hdl import Cat, Const, Instance, Module, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.delay import delayed
from hw.pe.element_times import CHAIN, chain_joins
from hw.pe.scaled_sum import RESULT_BITS, ScaledSum, signed_bits
from hw.pe.term_folder import element_lanes
from hw.pe.weight_format import MAGNITUDE_BITS, MOST_SPECIAL

Weights = Literal["fp4", "int2", "int3", "int4", "int8"]

_PAIR = 0x7888
"""(A & B) + (C & D)."""
_PAIR_LESS = 0x8777
"""(C & D) - (A & B) - 1."""
_GATED = 0x6A6A
"""A + (B & C)."""
_GATED_LESS = 0x95AA
"""A - (B & C) - 1, where D is 1."""
_SIGNED = 0x96AA
"""A + (B, or -B - 1 with C), where D is 1."""
_FIRST = 0x0008
"""The carry of A and B, and no sum, where D is 1."""
_ZERO, _ONE = Const(0, 1), Const(1, 1)


def carry_chain(
    m: Module, name: str, table: int, *inputs: Value, width: int, first: tuple = (_ZERO, _ZERO)
) -> Signal:
    """A register of the sum of ``inputs`` (A, B, C, D), which go on with their last bit where they are shorter.

    The first half of a cell gives the carry, where both of ``first`` are high.
    """
    total, carry = Signal(signed(width), name=name), _ZERO
    register = Signal(signed(width), name=f"{name}_register")
    m.d.sync += register.eq(total)
    halves = [
        (
            _FIRST if first[0] is not _ZERO else 0,
            {"i_A": first[0], "i_B": first[1], "i_C": _ZERO, "i_D": _ONE},
        )
    ]
    for bit in range(width):
        pins = {
            f"i_{pin}": values[min(bit, len(values) - 1)] for pin, values in zip("ABCD", inputs, strict=True)
        }
        halves.append((table, {**pins, "o_S": total[bit]}))
    halves += [(0, dict.fromkeys(("i_A", "i_B", "i_C", "i_D"), _ZERO))] * (len(halves) % 2)
    for place in range(0, len(halves), 2):
        pair, following = halves[place : place + 2], Signal(name=f"{name}_carry_{place}")
        m.submodules[f"{name}_{place}"] = Instance(
            "CCU2C", i_CIN=carry, o_COUT=following, p_INJECT1_0="NO", p_INJECT1_1="NO",
            **{f"p_INIT{half}": Const(table, 16) for half, (table, _) in enumerate(pair)},
            **{f"{pin}{half}": value for half, (_, pins) in enumerate(pair) for pin, value in pins.items()},
        )  # fmt: skip
        carry = following
    return register


class ParallelElement(wiring.Component):
    """``lanes`` products a cycle of int8 activations with parallel weights, summed over a group and scaled.

    Parameters
    ----------
    lanes : int
        1 to 8, or a multiple of 8 up to 64.
    weights : str
        "fp4": sign and magnitude of five bits, two ones at most, as the terms of a bit-serial weight are made of. The others:
        two's complement.
    group : int
        Most weights that share a scale.

    Members
    -------
    activations : In(ArrayLayout(signed(8), lanes)), weights : In(ArrayLayout(bits, lanes))
        Skewed as a bit-serial element's; the sign of "fp4" is its highest bit.
    negatives : In(range(lanes + 1))
        Weights with a sign bit, of "fp4" alone, ``steps`` cycles after lane 0's.
    last, scale_bit, finish, result, valid
        As of :class:`hw.pe.bit_serial.BitSerialElement`; ``last`` ``control`` cycles after lane 0's last weight.
    activations_next, weights_next, negatives_next, last_next, scale_bit_next, finish_next : Out
        The same, one cycle later.

    Raises
    ------
    TypeError, ValueError
        Parameters that are not as above.
    """

    def __init__(self, *, lanes: int, weights: Weights, group: int) -> None:
        self._lanes, self._group = element_lanes(lanes), operator.index(group)
        if weights not in get_args(Weights):
            raise ValueError(f"weights must be one of {', '.join(get_args(Weights))}, not {weights!r}")
        self._floating = weights == "fp4"
        self._bits = MAGNITUDE_BITS if self._floating else int(weights[-1])
        self._most = MOST_SPECIAL if self._floating else 1 << self._bits - 1
        operands = {
            "activations": data.ArrayLayout(signed(8), lanes),
            "weights": data.ArrayLayout(self._bits + self._floating, lanes),
            "negatives": range(lanes + 1),
            "last": 1,
            "scale_bit": 1,
            "finish": 1,
        }
        self._operands = tuple(operands)
        super().__init__(
            {name: In(shape) for name, shape in operands.items()}
            | {f"{name}_next": Out(shape) for name, shape in operands.items()}
            | {"result": Out(RESULT_BITS), "valid": Out(1)}
        )

    @property
    def steps(self) -> int:
        """Registers of a product: of its pairs of rows, and of each further adder."""
        return (self._bits + 1) // 2

    @property
    def control(self) -> int:
        """Cycles from a weight at lane 0 to its ``last``."""
        return self.steps + min(self._lanes, CHAIN) + chain_joins(self._lanes)

    @property
    def latency(self) -> int:
        """Cycles from the last weight at lane 0 to the result: the scale's first bit comes a cycle after ``last``."""
        return self.control + 1 + 7 + 2

    def elaborate(self, platform):
        m = Module()
        for name in self._operands:
            m.d.sync += getattr(self, f"{name}_next").eq(getattr(self, name))
        sums = [self._chain(m, first) for first in range(0, self._lanes, CHAIN)]
        while len(sums) > 1:
            pairs = [sums[place : place + 2] for place in range(0, len(sums), 2)]
            sums = [self._joined(m, pair, f"joined_{len(sums)}_{place}") for place, pair in enumerate(pairs)]
        (total, _) = sums[0]
        most = 128 * self._most * self._group
        m.submodules.scaled = scaled = ScaledSum(addend_width=len(total), least=-most, most=most, shift=0)
        ends, clear = Signal(init=1), Signal(init=1)
        m.d.sync += [ends.eq(self.last), clear.eq(self.finish)]
        m.d.comb += [
            scaled.addend.eq(total),
            scaled.last.eq(ends),
            scaled.scale_bit.eq(self.scale_bit_next),
            scaled.finish.eq(self.finish_next),
            scaled.clear.eq(clear),
            self.result.eq(scaled.result),
            self.valid.eq(scaled.valid),
        ]
        return m

    def _product(self, m: Module, lane: int) -> Signal:
        """The lane's product without its sign, ``steps`` + 1 cycles after the weight; of integers less ``_missing``."""
        a, w = self.activations_next[lane], self.weights_next[lane]
        total, done = None, Const(0, 0)
        for step, row in enumerate(range(0, self._bits, 2)):
            name = f"lane_{lane}_row_{row}"
            if row + 1 == self._bits:
                table, less = (_GATED, _ZERO) if self._floating else (_GATED_LESS, _ONE)
                total = carry_chain(
                    m, name, table, total, delayed(m, a, step), delayed(m, w[row], step), less, width=9 if self._floating else 10
                )  # fmt: skip
            else:
                pair = self._pair(
                    m, name, a, w[row : row + 2], less=not self._floating and row + 2 == self._bits
                )
                total = pair if total is None else carry_chain(
                    m, f"{name}_sum", _SIGNED, total, delayed(m, pair, step - 1), _ZERO, _ONE, width=10
                )  # fmt: skip
            done = delayed(m, done, 1) if step else done
            if row + 2 < self._bits:
                done, total = Cat(done, total[:2]), total[2:]
        return Cat(done, total).as_signed()

    @staticmethod
    def _pair(m: Module, name: str, a: Value, w: Value, *, less: bool) -> Value:
        """A register of two rows of a product; the upper one is subtracted, less one, with ``less``."""
        low = Signal(name=f"{name}_low")
        m.d.sync += low.eq((a[0] & w[0]) ^ less)
        if less:
            upper = carry_chain(
                m, name, _PAIR_LESS, a, w[1], Cat(a[1:], a[-1]), w[0], width=9, first=(a[0], w[0])
            )
        else:
            upper = carry_chain(m, name, _PAIR, Cat(a[1:], a[-1]), w[0], a, w[1], width=9)
        return Cat(low, upper)

    @property
    def _missing(self) -> int:
        """What all products together lack: the highest row of an integer is subtracted by inverting it."""
        return 0 if self._floating else self._lanes * self._less

    @property
    def _less(self) -> int:
        """What a product lacks: one in the place of its highest pair of rows, or row."""
        return 1 << self._bits - 2 + self._bits % 2

    def _width(self, lanes: int, *, whole: bool) -> int:
        """Bits of a sum of ``lanes`` products, and of what they lack or how many are negative in the first chain."""
        if self._floating:
            return signed_bits(
                -lanes * (128 * self._most + 1), lanes * 128 * self._most + whole * self._lanes
            )
        return signed_bits(
            -lanes * (127 * self._most + self._less),
            lanes * (128 * self._most - self._less) + whole * self._missing,
        )

    def _chain(self, m: Module, first: int) -> tuple[Signal, int]:
        """Sum of the lanes of a chain, and how many these are."""
        lanes = min(CHAIN, self._lanes - first)
        total = None
        if not first:
            missing = self.negatives_next if self._floating else Const(self._missing)
            total = Cat(missing, _ZERO)
        for lane in range(first, first + lanes):
            product = self._product(m, lane)
            sign = delayed(m, self.weights_next[lane][-1], self.steps) if self._floating else _ZERO
            if total is None:
                total = Signal(signed(len(product)), name=f"sum_{lane}_register")
                m.d.sync += total.eq(product ^ sign.replicate(len(product)))
            else:
                width = self._width(lane - first + 1, whole=not first)
                total = carry_chain(m, f"sum_{lane}", _SIGNED, total, product, sign, _ONE, width=width)
        return total, lanes

    def _joined(self, m: Module, pair: list[tuple[Signal, int]], name: str) -> tuple[Signal, int]:
        lanes = sum(count for _, count in pair)
        register = Signal(signed(max(len(total) for total, _ in pair) + len(pair) - 1), name=name)
        m.d.sync += register.eq(sum(total for total, _ in pair))
        return register, lanes
