"""What goes down a column: the head's terms, each when and as the elements take it."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.array.bit_serial.geometry import BitSerial
from hw.delay import delayed
from hw.pe.bit_serial import BitSerialElement
from hw.pe.bit_serial_fp16 import FloatElement
from hw.pe.small_bit_serial import SmallElement
from hw.pe.term_folder import ELEMENT_TERM, SHIFT, TermFolder
from hw.pe.terms import TERM
from hw.share import share

CONTROL = ("last", "scale_bit", "finish")


def element(array: BitSerial) -> Any:
    """An element of the array."""
    if array.activations == "fp16":
        return share(FloatElement, lanes=array.lanes, rounding=array.rounding)
    if array.small:
        return share(SmallElement, lanes=array.lanes, formats=array.formats, group=array.group)
    return share(BitSerialElement, lanes=array.lanes, formats=array.formats, group=array.group)


class Feeder(wiring.Component):
    """Between the head of a column and its first element.

    Parameters
    ----------
    array : BitSerial

    Members
    -------
    terms, significance, last, scale_bit, finish : In
        As they leave the ``Head``.
    drive : Out
        Members of the element that are passed down the column, by name; without ``shift`` and ``negatives`` for fp16, which takes
        ``significance`` instead.

    Timing
    ------
    Lane 0's terms leave ``array.times.feed`` cycles after they came, all else as long after that as the element wants it.
    """

    def __init__(self, *, array: BitSerial) -> None:
        self._array = array
        if array.activations == "fp16":
            down = {"terms": data.ArrayLayout(TERM, array.lanes), "significance": 3}
        else:
            terms = data.ArrayLayout(ELEMENT_TERM, array.lanes)
            down = {"terms": terms, "negatives": range(array.lanes + 1), "shift": SHIFT}
            if array.small:
                del down["negatives"]
        down |= dict.fromkeys(CONTROL, 1)
        super().__init__(
            {
                "terms": In(data.ArrayLayout(TERM, array.lanes)),
                "significance": In(3),
                **dict.fromkeys(CONTROL, In(1)),
                "drive": Out(wiring.Signature({name: Out(shape) for name, shape in down.items()})),
            }
        )

    def elaborate(self, platform):
        m = Module()
        times, drive = self._array.times, self.drive
        terms: Any = self.terms
        if self._array.activations == "fp16":
            m.d.comb += drive.significance.eq(delayed(m, self.significance, times.significance))
        else:
            m.submodules.folder = folder = TermFolder(lanes=self._array.lanes)
            terms = folder.elements
            m.d.comb += [
                folder.terms.eq(self.terms),
                folder.significance.eq(self.significance),
                drive.shift.eq(delayed(m, folder.shift, times.significance)),
            ]
            if not self._array.small:
                m.d.comb += drive.negatives.eq(folder.negatives)
        last = times.feed + times.last
        # The head gives the first bit in the cycle after ``last``.
        scale = last + times.scale - 1
        m.d.comb += [
            drive.last.eq(delayed(m, self.last, last)),
            drive.scale_bit.eq(delayed(m, self.scale_bit, scale)),
            drive.finish.eq(delayed(m, self.finish, scale)),
        ]
        for lane, skew in enumerate(times.skew):
            m.d.comb += drive.terms[lane].eq(delayed(m, terms[lane], skew))
        return m
