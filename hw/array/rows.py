"""From words of successive steps of one row to slices of every row: the left edge of an array."""

from __future__ import annotations

from collections.abc import Sequence

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from hw.delay import delayed
from hw.share import share

LATE = 2
"""Cycles by which words come later to rows that are ``late``."""


class Row(wiring.Component):
    """One row: keeps its word, and offers a slice of it until the next is due.

    Parameters
    ----------
    slices, lanes, width : int
        Slices of a word, activations of a slice, bits of an activation.
    skew : tuple of int
        Cycles by which each lane comes after the time below.
    late : bool
        ``word`` is that of the cycle after ``load``.
    again : bool
        It comes again in the cycle after ``slice``, and is not kept; only with ``late``.

    Members
    -------
    word : In(slices * lanes * width)
    load : In(1)
        The word of this cycle is this row's, and its first slice is due; ``slice``: the next slice is. ``load_next`` and
        ``slice_next``, one cycle later, for the row below.
    activations : Out(ArrayLayout(width, lanes))
        The slice, from two cycles after ``load`` or ``slice`` on.
    """

    def __init__(
        self,
        *,
        slices: int,
        lanes: int,
        width: int,
        skew: tuple[int, ...],
        late: bool = False,
        again: bool = False,
    ) -> None:
        self._slices, self._slice, self._skew = slices, data.ArrayLayout(width, lanes), skew
        self._late, self._again = late, again
        self._all = data.ArrayLayout(self._slice, slices)
        super().__init__(
            {
                "word": In(slices * lanes * width),
                "load": In(1),
                "slice": In(1),
                "load_next": Out(1),
                "slice_next": Out(1),
                "activations": Out(self._slice),
            }
        )

    def elaborate(self, platform):
        m = Module()
        # After a reset all are zero, as a term is not until it has come down its column.
        chosen = Signal(self._slice)
        m.d.sync += [self.load_next.eq(self.load), self.slice_next.eq(self.slice)]
        (self._moved if self._late else self._chosen)(m, chosen)
        for lane, skew in enumerate(self._skew):
            m.d.comb += self.activations[lane].eq(delayed(m, chosen[lane], skew))
        return m

    def _chosen(self, m: Module, chosen: data.View) -> None:
        """The slice out of the whole word."""
        kept = Signal(data.ArrayLayout(self._slice, self._slices))
        place = Signal(exact_log2(self._slices))
        m.d.sync += [place.eq(place + self.slice), chosen.eq(kept[place])]
        with m.If(self.load):
            m.d.sync += [kept.eq(self.word), place.eq(0)]

    def _moved(self, m: Module, chosen: data.View) -> None:
        """The slice out of the word, and then what is left of it: so it takes a slice less, and no choice."""
        size = len(chosen.as_value())
        if self._again:
            place, parts = Signal(exact_log2(self._slices)), data.View(self._all, self.word)
            here = Mux(self.load_next, 0, place)
            with m.If(self.load_next | self.slice_next):
                m.d.sync += [chosen.eq(parts[here]), place.eq(here + 1)]
            return
        left = Signal((self._slices - 1) * size)
        with m.If(self.load_next):
            m.d.sync += Cat(chosen.as_value(), left).eq(self.word)
        with m.Elif(self.slice_next):
            m.d.sync += Cat(chosen.as_value(), left).eq(left)


class Rows(wiring.Component):
    """Broadcasts words to the rows; each takes its own.

    Parameters
    ----------
    rows : int
    slices, lanes, width, skew
        Of a ``Row``.
    late : bool
        See below.
    again : bool
        As of a ``Row``.

    Members
    -------
    word : In(slices * lanes * width)
        In a cycle with ``load`` and in those after it: the words of rows 0, 1, ... one after another.
    load, slice : In(1)
        Of row 0.
    activations : Out(ArrayLayout(ArrayLayout(width, lanes), rows))
        Skewed: row r's are r cycles after row 0's.

    Timing
    ------
    ``hw.timing.CORNER_TURN`` cycles from ``word``, ``load`` and ``slice`` to lane 0 of ``activations[0]``; with ``late``, from
    ``load`` and ``slice``, and ``word`` is to come ``LATE`` cycles later: it is not kept for the way to all rows.
    """

    def __init__(
        self, *, rows: int, slices: int, lanes: int, width: int, skew: Sequence[int], late: bool = False,
        again: bool = False,
    ) -> None:  # fmt: skip
        self._rows, self._late = rows, late
        self._arguments = {"slices": slices, "lanes": lanes, "width": width, "skew": tuple(skew)}
        self._arguments |= {"late": late, "again": again}
        super().__init__(
            {
                "word": In(slices * lanes * width),
                "load": In(1),
                "slice": In(1),
                "activations": Out(data.ArrayLayout(data.ArrayLayout(width, lanes), rows)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        word = self.word
        if not self._late:
            word = Signal.like(self.word, reset_less=True)
            m.d.sync += word.eq(self.word)
        load, slice_ = Signal(), Signal()
        m.d.sync += [load.eq(self.load), slice_.eq(self.slice)]
        for index in range(self._rows):
            m.submodules[f"row_{index}"] = row = share(Row, **self._arguments)
            m.d.comb += [
                row.word.eq(word),
                row.load.eq(load),
                row.slice.eq(slice_),
                self.activations[index].eq(row.activations),
            ]
            load, slice_ = row.load_next, row.slice_next
        return m
