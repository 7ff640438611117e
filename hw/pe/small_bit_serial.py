"""The bit-serial processing element for int8 activations in as few cells as may be.

For parts whose carry chains take nothing but sums, and whose cells have a look-up table and a register each: choices stand before
registers, the lanes are added in a tree, and what an element is told is kept by its neighbours (``hw.array.bit_serial.array``).

Reference: BitMoD, Chen et al., HPCA 2025, section IV and figure 5.
"""

from __future__ import annotations

from collections.abc import Iterable

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.pe.bit_serial import products
from hw.pe.element_times import SCALE_BITS, shift_stages, small_times
from hw.pe.scaled_sum import RESULT_BITS, signed_bits
from hw.pe.term_folder import ELEMENT_TERM, SHIFT, element_lanes
from hw.pe.terms import format_set
from hw.pe.weight_format import WeightFormat

_ADDEND = 11
"""Bits of plus or minus an activation eight times, less one when negative."""


class SmallElement(wiring.Component):
    """The sum of ``lanes`` products a cycle, term by term, over a group of weights; then its product with the group's scale.

    Parameters
    ----------
    lanes : int
        4 to 32, a power of two.
    formats : frozenset of WeightFormat
        What the weights may be; the shifts that no format needs are left out.
    group : int
        Most weights that share a scale.

    Members
    -------
    activations : In(ArrayLayout(signed(8), lanes)), terms : In(ArrayLayout(ELEMENT_TERM, lanes))
        Of all lanes in the same cycle.
    shift : In(SHIFT), last : In(1), scale_bit : In(1), finish : In(1)
        As of :class:`hw.pe.bit_serial.BitSerialElement`, when ``times`` says.
    result : Out(32)
        Two's complement, in one cycle; zero in all others.
    valid : Out(1)
        ``result`` is a result.

    Timing
    ------
    ``times`` (:func:`hw.pe.element_times.small_times`). Two ``last`` must be 9 cycles or more apart.
    """

    def __init__(self, *, lanes: int, formats: Iterable[WeightFormat], group: int) -> None:
        self._lanes, self._formats = element_lanes(lanes), format_set(formats)
        self.times = small_times(self._lanes, self._formats)
        self._bounds = [group * product for product in products(self._formats)]
        super().__init__(
            {
                "activations": In(data.ArrayLayout(signed(8), lanes)),
                "terms": In(data.ArrayLayout(ELEMENT_TERM, lanes)),
                "shift": In(SHIFT),
                "last": In(1),
                "scale_bit": In(1),
                "finish": In(1),
                "result": Out(RESULT_BITS),
                "valid": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        addend, lacks = self._shifted(m, *self._sum(m))
        total, held = (Signal(signed(signed_bits(*self._bounds)), name=name) for name in ("total", "held"))
        most = [((1 << SCALE_BITS) - 1) * bound for bound in self._bounds]
        scaled, added = Signal(signed(signed_bits(*most))), Signal.like(total)
        gated = Signal.like(held)
        m.d.comb += [
            added.eq(total + addend + lacks),
            gated.eq(held & self.scale_bit.replicate(len(held))),
            self.result.eq(Mux(self.valid, scaled, 0)),
        ]
        m.d.sync += [
            total.eq(Mux(self.last, 0, added)),
            scaled.eq(Mux(self.valid, 0, (scaled << 1) + gated)),
            self.valid.eq(self.finish),
        ]
        with m.If(self.last):
            m.d.sync += held.eq(added)
        return m

    def _sum(self, m: Module) -> tuple[Value, Value]:
        """The lanes' terms, each an activation shifted, in a tree of registers. Returned: their sum; it lacks one."""
        level = []
        for lane in range(self._lanes):
            term, near = self.terms[lane], Signal(signed(9), name=f"near_{lane}")
            addend = Signal(signed(_ADDEND), name=f"addend_{lane}")
            lacks = Signal(name=f"lacks_{lane}")
            activation = self.activations[lane].as_signed()
            m.d.comb += near.eq(Mux(term.fine, activation << 1, activation))
            far = Signal(signed(_ADDEND), name=f"far_{lane}")
            m.d.comb += far.eq(Mux(term.far, near << 2, near))
            m.d.sync += [addend.eq(far ^ term.negative.replicate(_ADDEND)), lacks.eq(term.negative)]
            with m.If(term.zero):
                m.d.sync += addend.eq(0)
            level.append((addend, [lacks]))
        while len(level) > 1:
            following = []
            for place in range(0, len(level), 2):
                (a, lacks_a), (b, lacks_b) = level[place : place + 2]
                both = Signal(signed(len(a) + 1), name=f"sum_{len(level) // 2}_{place // 2}")
                carry, *rest = lacks_a + lacks_b
                m.d.sync += both.eq(a + b + carry)
                later = [Signal(name=f"{both.name}_lacks_{i}") for i in range(len(rest))]
                m.d.sync += [one.eq(before) for one, before in zip(later, rest, strict=True)]
                following.append((both, later))
            level = following
        ((total, lacks),) = level
        return total, lacks[0]

    def _shifted(self, m: Module, total: Value, lacks: Value) -> tuple[Value, Value]:
        """What is added to the group's sum, shifted, and whether it lacks one; what comes in below it is as negative."""
        shift = self.shift
        four = any(one.terms > 2 for one in self._formats)
        if shift_stages(self._formats):
            staged, staged_lacks, far = Signal(signed(len(total) + 1)), Signal(), Signal()
            m.d.sync += [
                staged.eq(Mux(shift.one, Cat(lacks, total).as_signed(), total)),
                staged_lacks.eq(lacks),
                far.eq(shift.four),
            ]
            return Mux(far, Cat(staged_lacks.replicate(4), staged).as_signed(), staged), staged_lacks
        if four:
            return Mux(shift.four, Cat(lacks.replicate(4), total).as_signed(), total), lacks
        if any(one.floating for one in self._formats):
            return Mux(shift.one, Cat(lacks, total).as_signed(), total), lacks
        return total, lacks
