"""Values that come some cycles later."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value, ValueCastable, ValueLike
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

OWN = {"keep": 1}
"""Attributes of a register that synthesis is not to join with one like it in another place: from there the way would be long."""

_LEAST_RING = 4
"""Cycles of the shortest delay through a memory."""


def without_reset(m: Module, output: Any) -> Any:
    """A register in front of ``output``, to be written instead of it, which a reset leaves alone: a port cannot be one itself.

    For data that something else says is there: the wires of a reset then reach fewer registers.
    """
    register = Signal.like(output, reset_less=True)
    m.d.comb += output.eq(register)
    return register


def delayed(m: Module, value: ValueLike, cycles: int, *, reset_less: bool = False) -> Value:
    """``value`` of ``cycles`` cycles ago, through as many registers (none for 0).

    Before that zero, also after a reset; ``reset_less``, after a reset whatever is on its way.
    """
    value = Value.cast(value) if not isinstance(value, ValueCastable) else value.as_value()
    for _ in range(cycles):
        register = Signal(value.shape(), name="delayed", reset_less=reset_less)
        m.d.sync += register.eq(value)
        value = register
    return value


class RingDelay(wiring.Component):
    """Values that come many cycles later, through a memory; zero until then, after a reset too.

    Parameters
    ----------
    width, cycles : int
        Bits of a value; cycles that it comes later, at least 4.

    Members
    -------
    i : In(width), o : Out(width)
    clear : In(1)
        Those of this cycle and before it, which have not come yet, are zero.

    Raises
    ------
    ValueError
        ``cycles`` is less.
    """

    def __init__(self, *, width: int, cycles: int) -> None:
        if cycles < _LEAST_RING:
            raise ValueError(f"cycles must be {_LEAST_RING} or more, not {cycles!r}")
        self._cycles = cycles
        super().__init__({"i": In(width), "clear": In(1), "o": Out(width)})

    def elaborate(self, platform):
        m = Module()
        # The memory's own register and one behind it, which is zero while the memory has what does not count.
        inside = self._cycles - 2
        depth = 1 << inside.bit_length()
        m.submodules.ring = ring = Memory(shape=len(self.i), depth=depth, init=[])
        write, read = ring.write_port(), ring.read_port()
        at, from_ = Signal(range(depth)), Signal(range(depth), init=depth - inside)
        left = Signal(range(self._cycles), init=self._cycles - 1)
        m.d.comb += [
            write.en.eq(1),
            write.addr.eq(at),
            write.data.eq(self.i),
            read.en.eq(1),
            read.addr.eq(from_),
        ]
        m.d.sync += [
            at.eq(at + 1),
            from_.eq(from_ + 1),
            self.o.eq(read.data),
            left.eq(Mux(self.clear, self._cycles - 1, left - left.any())),
        ]
        with m.If(self.clear | left.any()):
            m.d.sync += self.o.eq(0)
        return m
