"""Sums of signed operands over bit planes of weights, in groups that share a scale.

An operand is negated by inverting it, in the look-up tables of the first adder that takes it, and the one that it then lacks goes
into the carry of an adder: a tree of n operands has n - 1 of these, and the accumulator's is one more.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass, field
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.pe.accumulate import SignedAdder
from hw.pe.element_times import SCALE_BITS
from hw.pe.lookup_times import MOST_OUTPUTS, MOST_PLANES, checked, plane_times
from hw.pe.scaled_sum import GROUPS, RESULT_BITS, ScaledSum, accumulate, scale_sum, signed_bits
from hw.share import share


@dataclass(frozen=True)
class _Sum:
    """A sum on its way down the tree: as of ``count`` operands, less what ``lacks`` says; inverted with ``sign``."""

    value: Value
    count: int
    sign: Value | None = None
    lacks: tuple[Value, ...] = field(default=())


def operand_members(*, operands: int, most: int, extra: bool) -> dict[str, wiring.Member]:
    """What :class:`SignedTree` takes, with the same parameters."""
    last = signed(signed_bits(-operands * most, operands * most - 1))
    return {
        "values": In(data.ArrayLayout(signed(signed_bits(-most, most - 1)), operands)),
        "negative": In(operands),
    } | ({"extra": In(last), "extra_negative": In(1)} if extra else {})


def control_members(
    planes: int, outputs: int = 1, sum_bits: int = 0, scale_step: int = 1
) -> dict[str, wiring.Member]:
    """What :class:`PlaneSum` has besides operands; with ``sum_bits`` one that is not ``scaled``."""
    members: dict[str, wiring.Member] = {"add": In(1), "last": In(1)}
    if sum_bits:
        members["result"] = Out(signed(sum_bits))
    else:
        members |= {
            "scale_bit": In(scale_step),
            "finish": In(1),
            "result": Out(RESULT_BITS),
            "valid": Out(1),
        }
    if planes > 1:
        members["shift"] = In(range(planes))
    if outputs > 1:
        members |= {"place": In(range(outputs)), "first": In(1), "load": In(1), "drain": In(range(outputs))}
    return members


class SignedTree(wiring.Component):
    """Sum of operands and of operands with a minus, through a tree of registered adders.

    Parameters
    ----------
    operands : int
        1 or more.
    most : int
        Operands are from -``most`` to ``most`` - 1.
    extra : bool
        One more, up to ``operands`` times as great, which is added last.

    Members
    -------
    values : In(ArrayLayout(signed, operands)), negative : In(operands)
        With ``negative`` a value counts with a minus.
    extra : In(signed), extra_negative : In(1)
        Only with the parameter; ``times.extra`` of :func:`hw.pe.lookup_times.plane_times` cycles later.
    sum : Out(signed), carry : Out(1)
        The sum is both together.
    """

    def __init__(self, *, operands: int, most: int, extra: bool) -> None:
        self._operands, self._most, self._extra = operands, most, extra
        super().__init__(
            operand_members(operands=operands, most=most, extra=extra)
            | {"sum": Out(signed(self._width(operands * (1 + extra)))), "carry": Out(1)}
        )

    def _width(self, count: int) -> int:
        return signed_bits(-count * self._most, count * self._most - 1)

    def elaborate(self, platform):
        m = Module()
        level = [_Sum(self.values[i], 1, self.negative[i]) for i in range(self._operands)]
        depth = 0
        while len(level) > 1 or not depth:
            level = [
                self._joined(m, level[place : place + 2], f"sum_{depth}_{place // 2}")
                for place in range(0, len(level), 2)
            ]
            depth += 1
        if self._extra:
            pair = [level[0], _Sum(self.extra, self._operands, self.extra_negative)]
            level = [self._joined(m, pair, "sum_extra")]
        m.d.comb += [self.sum.eq(level[0].value), self.carry.eq(level[0].lacks[0])]
        return m

    def _joined(self, m: Module, parts: list[_Sum], name: str) -> _Sum:
        count = sum(part.count for part in parts)
        lacks = [one for part in parts for one in (*part.lacks, *([] if part.sign is None else [part.sign]))]
        register = Signal(signed(self._width(count)), name=name)
        if len(parts) == 1:
            (part,) = parts
            m.d.sync += register.eq(
                part.value if part.sign is None else Mux(part.sign, ~part.value, part.value)
            )
        else:
            a, b = parts
            signs = a.sign is not None or b.sign is not None
            m.submodules[f"{name}_adder"] = adder = share(
                SignedAdder, width=len(register), a_width=len(a.value), b_width=len(b.value), signs=signs
            )
            m.d.comb += [adder.a.eq(a.value), adder.b.eq(b.value), adder.carry.eq(lacks.pop(0))]
            if signs:
                m.d.comb += [
                    adder.a_negative.eq(Const(0) if a.sign is None else a.sign),
                    adder.b_negative.eq(Const(0) if b.sign is None else b.sign),
                ]
            m.d.sync += register.eq(adder.sum)
        later = []
        for place, one in enumerate(lacks):
            later.append(Signal(name=f"{name}_lacks_{place}"))
            m.d.sync += later[-1].eq(one)
        return _Sum(register, count, None, tuple(later))


class StoredSums(wiring.Component):
    """Sums up groups of several outputs in distributed RAM; those that are complete wait in another for their scales.

    Parameters
    ----------
    addend_width, least, most, shift : int
        As of :class:`hw.pe.scaled_sum.ScaledSum`.
    outputs : int
        2 to 16.
    halved : bool
        Results lack the product's lowest bit.
    scaled : bool
        Sums are multiplied by their scales; else they are read as they are, and there are no bits of scales.
    scale_step : int
        Bits of the scale in a cycle, 1 or 2.
    blocks : bool
        Sums are in block RAM: for parts without any other.

    Members
    -------
    next, first : In
        Which output the next cycle's addend is of, and whether its sum begins with it.
    addend, carry, far, add, last
        As of ``ScaledSum`` with ``gated``; here ``last`` only says that this output's sum is complete. An output has an addend in
        no two cycles one after the other.
    load : In(1), drain : In(range(outputs))
        The scale's bits begin in the next cycle, and are for this output; or this output's sum comes in the next cycle.
    scale_bit, finish, clear, result, valid
        As of ``ScaledSum``; not ``scaled`` there is only ``result``, the sum after a ``load``, zero in all other cycles.
    """

    def __init__(
        self,
        *,
        addend_width: int,
        least: int,
        most: int,
        shift: int,
        outputs: int,
        halved: bool,
        scaled: bool,
        scale_step: int,
        blocks: bool = False,
    ) -> None:
        self._width, self._shift, self._outputs = signed_bits(least, most), shift, outputs
        self._halved, self._blocks = halved, blocks
        self._scaled = signed_bits(*(((1 << SCALE_BITS) - 1) * one for one in (least, most))) if scaled else 0
        flags = dict.fromkeys(("first", "carry", "far", "add", "last", "load"), 1)
        flags |= {"scale_bit": scale_step, "finish": 1, "clear": 1} if scaled else {}
        super().__init__(
            {name: In(bits) for name, bits in flags.items()}
            | {
                "next": In(range(outputs)),
                "addend": In(signed(addend_width)),
                "drain": In(range(outputs)),
                "result": Out(RESULT_BITS if scaled else signed(self._width)),
            }
            | ({"valid": Out(1)} if scaled else {})
        )

    def elaborate(self, platform):
        m = Module()
        # Of registers that are cleared by what happens the design's reset would need a gate before that.
        total, held = (Signal(signed(self._width), name=name, reset_less=True) for name in ("total", "held"))
        added, output = Signal.like(total), Signal.like(self.next)
        style = {"ram_style": "block"} if self._blocks else {}
        open_sums, complete = (
            Memory(shape=signed(self._width), depth=self._outputs, init=[], attrs=style) for _ in range(2)
        )
        m.submodules.open_sums, m.submodules.complete = open_sums, complete
        for memory, enable in ((open_sums, self.add), (complete, self.last)):
            write = memory.write_port()
            m.d.comb += [write.en.eq(enable), write.addr.eq(output), write.data.eq(added)]
        m.d.sync += output.eq(self.next)
        if self._blocks:
            self._read_blocks(m, open_sums, complete, total, held)
        else:
            self._read(m, open_sums, complete, total, held)
        m.d.comb += added.eq(accumulate(m, self, total, shift=self._shift, gated=True))
        if self._scaled:
            scale_sum(m, self, held, bits=self._scaled, halved=self._halved)
        else:
            m.d.comb += self.result.eq(held)
        return m

    def _read(self, m: Module, open_sums: Memory, complete: Memory, total: Signal, held: Signal) -> None:
        before, after = open_sums.read_port(domain="comb"), complete.read_port(domain="comb")
        m.d.comb += [before.addr.eq(self.next), after.addr.eq(self.drain)]
        m.d.sync += total.eq(before.data)
        with m.If(self.first):
            m.d.sync += total.eq(0)
        if not self._scaled:
            m.d.sync += held.eq(0)
        with m.If(self.load):
            m.d.sync += held.eq(after.data)

    def _read_blocks(
        self, m: Module, open_sums: Memory, complete: Memory, total: Signal, held: Signal
    ) -> None:
        """The same through the memories' own registers."""
        before, after = open_sums.read_port(), complete.read_port()
        first = Signal()
        m.d.sync += first.eq(self.first)
        m.d.comb += [
            before.addr.eq(self.next),
            after.addr.eq(self.drain),
            after.en.eq(self.load),
            total.eq(Mux(first, 0, before.data)),
            held.eq(after.data),
        ]


class PlaneSum(wiring.Component):
    """Sums up operands that are plus or minus, each shifted by its plane, over a group; then multiplies by the group's scale.

    Planes may come in any order. The tree's sum is shifted by one (and by two) in a register, by the highest power of two in the
    accumulator's adder.

    Parameters
    ----------
    operands, most : int
        As of :class:`SignedTree`.
    planes : int
        1 to 8.
    group_most : int
        The greatest and, with a minus, least sum of a group.
    extra : bool
        As of :class:`SignedTree`.
    outputs : int
        1 to 16. With more than one the operands are of one output or another, of none in two cycles one after the other.
    halved : bool
        Results are half as great, rounded down; only with several outputs. Sums that are not to be halved take a ninth bit of
        their scale, a zero.
    scaled : bool
        Sums are multiplied by their scales. If not, they are results as they are: only with several outputs.
    scale_step : int
        Bits of a scale in a cycle: 1, or with several outputs 2.
    blocks : bool
        As of :class:`StoredSums`; of scaled sums of several outputs alone.

    Members
    -------
    values, negative, extra, extra_negative
        As of :class:`SignedTree`.
    shift : In(range(planes))
        The plane, ``times.shift`` cycles after its operands; not there with one.
    add : In(1)
        The operands of ``times.last`` cycles ago count.
    last : In(1)
        They are the last of a group.
    place : In(range(outputs)), first : In(1)
        Which output they are of, and whether they are the first of a group; like the next two only with several outputs.
    load : In(1), drain : In(range(outputs))
        The next scale is this output's: when its ``last`` has been, and before that of its next group.
    scale_bit : In(scale_step), finish : In(1)
        Of the group's scale the highest bits first, from ``times.scale`` cycles after ``last`` on; with the last of them.
    result : Out(32), valid : Out(1)
        As of :class:`hw.pe.bit_serial.BitSerialElement`. Not ``scaled`` there are neither bits of scales nor ``valid``, and
        ``result`` is a signed sum two cycles after its ``load``, zero in all other cycles.

    Timing
    ------
    ``times`` (:class:`hw.pe.lookup_times.PlaneTimes`). Operands in any cycles; two ``last``, or with several outputs ``load``,
    must be as many cycles apart as a scale takes; ``load`` of sums that are not scaled may come in any cycles. A reset must
    last two cycles or more.
    """

    def __init__(
        self,
        *,
        operands: int,
        most: int,
        planes: int,
        group_most: int,
        extra: bool,
        outputs: int = 1,
        halved: bool = False,
        scaled: bool = True,
        scale_step: int = 1,
        blocks: bool = False,
    ) -> None:
        self._halved, self._scaled, self._blocks = halved, scaled, blocks
        self._step = checked("scale_step", scale_step, 1, 1 + (outputs > 1))
        self._outputs = checked("outputs", outputs, 1, MOST_OUTPUTS)
        self._planes = checked("planes", planes, 1, MOST_PLANES)
        self._group_most = operator.index(group_most)
        self._tree: dict[str, Any] = {"operands": operands, "most": most, "extra": extra}
        self.times = plane_times(operands, planes=planes, extra=extra)
        sum_bits = 0 if scaled else signed_bits(-self._group_most, self._group_most)
        super().__init__(
            operand_members(**self._tree) | control_members(self._planes, self._outputs, sum_bits, self._step)
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.tree = tree = share(SignedTree, **self._tree)
        for name in operand_members(**self._tree):
            m.d.comb += getattr(tree, name).eq(getattr(self, name))
        addend, carry, far = tree.sum, tree.carry, Const(0)
        highest = 0
        if self._planes > 1:
            shift = Signal.like(self.shift, name="shift_register")
            m.d.sync += shift.eq(self.shift)
            highest = 1 << len(shift) - 1
            for bit in range(len(shift) - 1):
                addend, carry, shift = self._shifted(m, addend, carry, shift, bit)
            far = shift[-1]
        sizes = {
            "addend_width": len(addend),
            "least": -self._group_most,
            "most": self._group_most,
            "shift": highest,
        }
        if self._outputs > 1:
            m.submodules.scaled_sum = scaled = share(
                StoredSums,
                **sizes,
                outputs=self._outputs,
                halved=self._halved,
                scaled=self._scaled,
                scale_step=self._step,
                blocks=self._blocks,
            )
            load, drain = Signal(), Signal.like(self.drain, name="drain_register")
            m.d.sync += [load.eq(self.load), drain.eq(self.drain)]
            m.d.comb += [
                scaled.next.eq(self.place),
                scaled.first.eq(self.first),
                scaled.load.eq(load),
                scaled.drain.eq(drain),
            ]
        else:
            m.submodules.scaled_sum = scaled = share(ScaledSum, **sizes, gated=True)
        ends, add = Signal(init=self._outputs == 1), Signal()
        m.d.sync += [add.eq(self.add), ends.eq(self.last)]
        m.d.comb += [
            scaled.addend.eq(addend),
            scaled.carry.eq(carry),
            scaled.far.eq(far),
            scaled.add.eq(add),
            scaled.last.eq(ends),
            self.result.eq(scaled.result),
        ]
        if self._scaled:
            clear, finish = Signal(init=1), Signal()
            scale_bit = Signal.like(self.scale_bit, name="scale_register")
            m.d.sync += [clear.eq(self.finish), scale_bit.eq(self.scale_bit), finish.eq(self.finish)]
            m.d.comb += [
                scaled.scale_bit.eq(scale_bit),
                scaled.finish.eq(finish),
                scaled.clear.eq(clear),
                self.valid.eq(scaled.valid),
            ]
        return m

    @staticmethod
    def _shifted(
        m: Module, addend: Value, carry: Value, shift: Signal, bit: int
    ) -> tuple[Signal, Signal, Signal]:
        """All three a cycle later, the addend shifted if that bit of ``shift`` is set; what it lacks comes in below it."""
        by = 1 << bit
        register = Signal(signed(len(addend) + by), name=f"shifted_by_{by}")
        lacks, still = Signal(name=f"lacks_{by}"), Signal.like(shift, name=f"shift_after_{by}")
        far = Cat(carry.replicate(by), addend).as_signed()
        m.d.sync += [
            register.eq(Mux(shift[bit], far, addend)),
            lacks.eq(carry),
            still.eq(shift),
        ]
        return register, lacks, still


def connect_control(
    m: Module,
    outer: wiring.Component,
    inner: wiring.Component,
    planes: int,
    outputs: int = 1,
    sum_bits: int = 0,
) -> None:
    """``inner``'s :func:`control_members` are ``outer``'s."""
    for name, member in control_members(planes, outputs, sum_bits).items():
        to, of = (inner, outer) if member.flow == In else (outer, inner)
        m.d.comb += getattr(to, name).eq(getattr(of, name))


def group_weights(group: int) -> int:
    """``group``, if as many weights may share a scale."""
    group = operator.index(group)
    if group not in GROUPS:
        raise ValueError(f"group must be one of {', '.join(map(str, GROUPS))}, not {group!r}")
    return group
