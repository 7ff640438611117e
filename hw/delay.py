"""Values that come some cycles later."""

from __future__ import annotations

from amaranth.hdl import Module, Signal, Value, ValueCastable, ValueLike


def delayed(m: Module, value: ValueLike, cycles: int) -> Value:
    """``value`` of ``cycles`` cycles ago, through as many registers (none for 0); zero before that."""
    value = Value.cast(value) if not isinstance(value, ValueCastable) else value.as_value()
    for _ in range(cycles):
        register = Signal(value.shape(), name="delayed")
        m.d.sync += register.eq(value)
        value = register
    return value
