"""Units of four products in CMOS, as the LUT tensor core's paper compares them: multipliers, adders of bit planes, table lookups.

They are no part of any design. Each takes its operands from outside, adds to a register, and has no register but that: what a
unit has in common with others (tables, their builders) is counted apart. A unit of planes takes one plane of its weights a cycle.

Reference: LUT Tensor Core, Mo et al., ISCA 2025, sections 3.1 and 4.2, figures 12 and 13, table 2.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.pe.lookup_times import LEAST_K, MOST_K, MOST_PLANES, checked, entry_bits
from hw.pe.plane_sum import PlaneSum
from hw.share import share

TOTAL_BITS = 24
"""Of a unit's sum."""


def accumulate(m: Module, unit: wiring.Component, value: Value, negative: Value | None = None) -> None:
    """Add ``value`` to ``unit.total``, or take it off with ``negative``, shifted if the unit has planes.

    It is inverted before it is shifted, and the one that it then lacks is the carry of the adder.
    """
    negative = Const(0, 1) if negative is None else negative
    addend: Value = Signal(signed(len(value)), name="addend")
    m.d.comb += addend.eq(value ^ negative.replicate(len(value)))
    shift = getattr(unit, "shift", Const(0, 0))
    for bit in range(len(shift)):
        far = Cat(negative.replicate(1 << bit), addend).as_signed()
        addend = Mux(shift[bit], far, addend).as_signed()
    before = Mux(unit.first, 0, unit.total).as_signed()
    one = Const(1, 1)
    m.d.sync += unit.total.eq((Cat(one, before).as_signed() + Cat(negative, addend).as_signed()) >> 1)


def _common(planes: int) -> dict[str, wiring.Member]:
    """``first`` begins a sum; ``shift`` is the plane."""
    members: dict[str, wiring.Member] = {"first": In(1), "total": Out(signed(TOTAL_BITS))}
    return members | ({"shift": In(range(planes))} if planes > 1 else {})


def _bits(value: Value) -> Value:
    """The same bits, without a sign: gates then do not widen them."""
    return value.as_unsigned()


class MultiplierDot(wiring.Component):
    """``k`` products a cycle of int8 activations with weights in two's complement, or with plus and minus one.

    Parameters
    ----------
    k : int
        1 or more.
    bits : int
        Of a weight, 1 to 8. Weights of one bit are plus one, or minus one where it is set.

    Members
    -------
    activations : In(ArrayLayout(signed(8), k)), weights : In(ArrayLayout(signed(bits), k)), first : In(1)
    total : Out(signed(24))
        A cycle later.
    """

    def __init__(self, *, k: int, bits: int) -> None:
        self._k, self._bits = k, checked("bits", bits, 1, MOST_PLANES)
        super().__init__(
            {
                "activations": In(data.ArrayLayout(signed(8), k)),
                "weights": In(data.ArrayLayout(signed(bits), k)),
            }
            | _common(1)
        )

    def elaborate(self, platform):
        m = Module()
        accumulate(m, self, sum(products(self.activations, self.weights, self._bits)).as_signed())
        return m


def products(activations: Value, weights: Value, bits: int) -> list[Value]:
    """Each activation times its weight; with one bit, plus or minus."""
    pairs = [(activations[lane], weights[lane]) for lane in range(len(activations.as_value()) // 8)]
    return [Mux(w[0], -a, a).as_signed() if bits == 1 else a * w for a, w in pairs]


class AdderDot(wiring.Component):
    """One plane a cycle of ``k`` weights in two's complement: the activations whose bit is set are added up.

    Parameters
    ----------
    k, planes : int
        1 or more; 1 to 8.

    Members
    -------
    activations : In(ArrayLayout(signed(8), k)), plane : In(k), first : In(1)
    shift : In(range(planes))
        Which plane; only with several.
    negative : In(1)
        It is the highest.
    total : Out(signed(24))
        A cycle later.
    """

    def __init__(self, *, k: int, planes: int) -> None:
        self._k, planes = k, checked("planes", planes, 1, MOST_PLANES)
        super().__init__(
            {"activations": In(data.ArrayLayout(signed(8), k)), "plane": In(k), "negative": In(1)}
            | _common(planes)
        )

    def elaborate(self, platform):
        m = Module()
        chosen = [_bits(self.activations[i]) & self.plane[i].replicate(8) for i in range(self._k)]
        accumulate(m, self, sum(one.as_signed() for one in chosen).as_signed(), self.negative)
        return m


class TernaryDot(wiring.Component):
    """``k`` weights of -1, 0 and 1 a cycle.

    Members
    -------
    activations : In(ArrayLayout(signed(8), k)), zero : In(k), negative : In(k), first : In(1)
        ``negative`` only where not ``zero``.
    total : Out(signed(24))
        A cycle later.
    """

    def __init__(self, *, k: int) -> None:
        self._k = k
        super().__init__(
            {"activations": In(data.ArrayLayout(signed(8), k)), "zero": In(k), "negative": In(k)} | _common(1)
        )

    def elaborate(self, platform):
        m = Module()
        chosen = []
        for i in range(self._k):
            kept = _bits(self.activations[i]) & (~self.zero[i]).replicate(8)
            chosen.append((kept ^ self.negative[i].replicate(8)).as_signed())
        # What the inverted ones lack goes in with them.
        lacking = sum(self.negative[i] for i in range(self._k))
        accumulate(m, self, (sum(chosen) + lacking).as_signed())
        return m


class LookupDot(wiring.Component):
    """One plane a cycle of ``k`` weights: their bits are the index of a table that comes from outside.

    Parameters
    ----------
    k, planes : int
        2 to 6; 1 to 8.
    width : int
        Bits of an entry.
    symmetric : bool
        Half a table, of weights plus and minus one. Without, all sums of the activations whose bit is set, and the highest plane
        counts with a minus.
    recoded : bool
        Where the index's highest bit is not set, its others came inverted; without they are inverted here. Only with
        ``symmetric``.

    Members
    -------
    table : In(ArrayLayout(signed(width), entries)), index : In(k), first : In(1)
        The highest bit of an index is the last activation's; of a recoded one it is set when the entry is negated.
    shift : In(range(planes))
        Which plane; only with several.
    negative : In(1)
        It is the highest; not there with ``symmetric``.
    total : Out(signed(24))
        A cycle later.
    """

    def __init__(
        self, *, k: int, planes: int, width: int | None = None, symmetric: bool = True, recoded: bool = True
    ) -> None:
        self._k, planes = checked("k", k, LEAST_K, MOST_K), checked("planes", planes, 1, MOST_PLANES)
        self._symmetric, self._recoded = symmetric, recoded
        width = checked("width", entry_bits(k) if width is None else width, 2, entry_bits(k))
        super().__init__(
            {"table": In(data.ArrayLayout(signed(width), 1 << k - symmetric)), "index": In(k)}
            | ({} if symmetric else {"negative": In(1)})
            | _common(planes)
        )

    def elaborate(self, platform):
        m = Module()
        index, negative = self.index, None if self._symmetric else self.negative
        if self._symmetric:
            highest, negative = self.index[-1], self.index[-1]
            index = self.index[:-1]
            if not self._recoded:
                negative = ~highest
                index = index ^ negative.replicate(self._k - 1)
        width = len(self.table[0])
        accumulate(m, self, self.table.as_value().word_select(index, width).as_signed(), negative)
        return m


class TableRegisters(wiring.Component):
    """A table that is worked out from activations, and kept.

    Parameters
    ----------
    k : int
        2 to 6.
    symmetric : bool
        As of :class:`LookupDot`.

    Members
    -------
    activations : In(ArrayLayout(signed(8), k))
    table : Out(ArrayLayout(signed, entries))
        A cycle later.
    """

    def __init__(self, *, k: int, symmetric: bool = True) -> None:
        self._k, self._symmetric = checked("k", k, LEAST_K, MOST_K), symmetric
        self._width = entry_bits(k)
        super().__init__(
            {
                "activations": In(data.ArrayLayout(signed(8), k)),
                "table": Out(data.ArrayLayout(signed(self._width), 1 << k - symmetric)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        make = self._signed if self._symmetric else self._chosen
        for place, entry in enumerate(make([self.activations[i] for i in range(self._k)])):
            m.d.sync += self.table[place].eq(entry)
        return m

    def _chosen(self, activations: list[Value]) -> list[Value]:
        """Sums of those whose bit is set."""
        if len(activations) == 1:
            return [Const(0, signed(1)), *activations]
        middle = len(activations) // 2
        lows, highs = self._chosen(activations[:middle]), self._chosen(activations[middle:])
        return [low + high for high in highs for low in lows]

    def _signed(self, activations: list[Value]) -> list[Value]:
        """Sums with plus or minus, the last one plus; of the first half those with a minus there are the others in reverse."""
        if len(activations) == 1:
            return activations
        middle = len(activations) // 2
        lows, highs = self._signed(activations[:middle]), self._signed(activations[middle:])
        return [
            entry
            for high in highs
            for entry in [high - low for low in reversed(lows)] + [high + low for low in lows]
        ]


class MultiplierSum(wiring.Component):
    """``operands`` products a cycle, summed over a group and scaled: with registers where lookup units have them.

    Parameters
    ----------
    operands, bits, group : int
        Products a cycle; bits of a weight, 2 to 8; most weights that share a scale.

    Members
    -------
    activations, weights
        As of :class:`MultiplierDot`.
    add, last, scale_bit, finish, result, valid
        As of :class:`hw.pe.plane_sum.PlaneSum`.
    """

    def __init__(self, *, operands: int, bits: int, group: int) -> None:
        self._operands, self._bits = operands, checked("bits", bits, 2, MOST_PLANES)
        most = (128 << bits - 1) + 1
        self._sum = {
            "operands": operands,
            "most": most,
            "planes": 1,
            "group_most": most * group,
            "extra": False,
        }
        ports = {"add": In(1), "last": In(1), "scale_bit": In(1), "finish": In(1)}
        super().__init__(
            {
                "activations": In(data.ArrayLayout(signed(8), operands)),
                "weights": In(data.ArrayLayout(signed(bits), operands)),
                "result": Out(32),
                "valid": Out(1),
            }
            | ports
        )
        self._ports = tuple(ports)

    def elaborate(self, platform):
        m = Module()
        m.submodules.sum = sums = share(PlaneSum, **self._sum)
        for lane, product in enumerate(products(self.activations, self.weights, self._bits)):
            register = Signal(signed(8 + self._bits), name=f"product_{lane}")
            m.d.sync += register.eq(product)
            m.d.comb += sums.values[lane].eq(register)
        for name in self._ports:
            m.d.comb += getattr(sums, name).eq(getattr(self, name))
        m.d.comb += [self.result.eq(sums.result), self.valid.eq(sums.valid)]
        return m
