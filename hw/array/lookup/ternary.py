"""Ternary weights without tables: a unit adds activations, takes them off, or neither."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.array.lookup.column import LookupColumn
from hw.array.lookup.geometry import SCALE_STEP, LookupArray
from hw.array.lookup.tables import slice_layout
from hw.pe.lookup import TernaryUnit
from hw.share import share


def half_layout(array: LookupArray) -> data.StructLayout:
    """What a unit takes from the left: activations of half a chunk."""
    return data.StructLayout({"activations": data.ArrayLayout(signed(8), array.lanes)})


class Half(wiring.Component):
    """One row: chooses a half of its slice.

    Members
    -------
    activations : In(slice_layout)
    upper : In(1)
        Which half; ``upper_next``, one cycle later, for the row below.
    half : Out(half_layout)
        A cycle later.
    """

    def __init__(self, *, array: LookupArray) -> None:
        super().__init__(
            {
                "activations": In(slice_layout(array)),
                "upper": In(1),
                "upper_next": Out(1),
                "half": Out(half_layout(array)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        slice_ = self.activations.as_value()
        middle = len(slice_) // 2
        m.d.sync += [
            self.half.eq(Mux(self.upper, slice_[middle:], slice_[:middle])),
            self.upper_next.eq(self.upper),
        ]
        return m


class TernaryColumn(LookupColumn):
    """As :class:`hw.array.lookup.column.LookupColumn`, of ternary units.

    Members
    -------
    tables : In(ArrayLayout(half_layout, rows))
        Activations, in the cycle after the word's. The rest is the same.
    """

    def _left(self) -> data.StructLayout:
        return half_layout(self._array)

    def _unit(self) -> Any:
        array = self._array
        return share(
            TernaryUnit, lanes=array.lanes, group=array.group, outputs=array.outputs, scale_step=SCALE_STEP
        )

    def _codes(self, word: Signal) -> dict[str, Value]:
        return {"zero": word[0::2], "negative": word[1::2]}
