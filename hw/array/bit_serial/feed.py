"""What goes down a column: the head's terms, each when and as the elements take it."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.array.bit_serial.geometry import BitSerial
from hw.delay import delayed
from hw.pe.bit_serial import ELEMENT_TERM, SHIFT, BitSerialElement, TermFolder
from hw.pe.terms import TERM
from hw.share import share


def element(array: BitSerial) -> Any:
    """An element of the array."""
    return share(BitSerialElement, lanes=array.lanes, formats=array.formats, group=array.group)


class Feeder(wiring.Component):
    """For elements with int8 activations.

    Parameters
    ----------
    array : BitSerial

    Members
    -------
    terms, significance, last, bit, finish : In
        As they leave the ``Head``.
    drive : Out
        For the first row: what ``passing`` names.

    Timing
    ------
    Lane 0's terms leave ``array.times.feed`` cycles after they came, all else as long after that as the element wants it.
    """

    def __init__(self, *, array: BitSerial) -> None:
        self._array = array
        super().__init__(
            {
                "terms": In(data.ArrayLayout(TERM, array.lanes)),
                "significance": In(3),
                "last": In(1),
                "bit": In(1),
                "finish": In(1),
                "terms_out": Out(data.ArrayLayout(ELEMENT_TERM, array.lanes)),
                "negatives": Out(range(array.lanes + 1)),
                "shift": Out(SHIFT),
                "last_out": Out(1),
                "scale_bit": Out(1),
                "finish_out": Out(1),
            }
        )

    @property
    def drive(self) -> dict[str, Any]:
        """Members of the element that are passed down, by name."""
        return {
            "terms": self.terms_out,
            "negatives": self.negatives,
            "shift": self.shift,
            "last": self.last_out,
            "scale_bit": self.scale_bit,
            "finish": self.finish_out,
        }

    def elaborate(self, platform):
        m = Module()
        times = self._array.times
        m.submodules.folder = folder = TermFolder(lanes=self._array.lanes)
        late = times.feed + times.control
        m.d.comb += [
            folder.terms.eq(self.terms),
            folder.significance.eq(self.significance),
            self.negatives.eq(folder.negatives),
            self.shift.eq(delayed(m, folder.shift, times.control)),
            self.last_out.eq(delayed(m, self.last, late)),
            self.scale_bit.eq(delayed(m, self.bit, late + times.scale - 1)),
            self.finish_out.eq(delayed(m, self.finish, late + times.scale - 1)),
        ]
        for lane, skew in enumerate(times.skew):
            m.d.comb += self.terms_out[lane].eq(delayed(m, folder.elements[lane], skew))
        return m
