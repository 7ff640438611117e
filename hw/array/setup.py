"""What the parts of a core have in common: taking a command to pieces, and numbering the results."""

from __future__ import annotations

from collections.abc import Sequence

from amaranth.hdl import Module, Mux, Signal, ValueLike
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from hw.design import Design
from hw.interfaces import execute_command
from hw.stream.fifo import Fifo
from hw.timing import SYSTOLIC_SETUP

TAKERS = 3


class Setup(wiring.Component):
    """Holds a command while what follows from it is worked out, until three parts have taken their share.

    Members
    -------
    command : In(stream of ``execute_command``)
    held : Out(``execute_command``)
        Constant while ``offered`` is not zero and ``SYSTOLIC_SETUP - 1`` cycles before: time for what is worked out.
    offered : Out(3)
        Part i may take its share; ``taken[i]`` says that it does in this cycle.
    busy : Out(1)
    clear : In(1)

    Timing
    ------
    ``held`` from the cycle after the handshake on, ``offered`` from ``SYSTOLIC_SETUP`` cycles after it on. The next command can
    be taken in the cycle after the last part took its share.
    """

    def __init__(self, *, design: Design) -> None:
        super().__init__(
            {
                "command": In(stream.Signature(execute_command(design))),
                "held": Out(execute_command(design)),
                "offered": Out(TAKERS),
                "taken": In(TAKERS),
                "busy": Out(1),
                "clear": In(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        waiting = Signal(SYSTOLIC_SETUP - 1)
        m.d.comb += [
            self.busy.eq(waiting.any() | self.offered.any()),
            self.command.ready.eq(~self.busy & ~self.clear),
        ]
        m.d.sync += [waiting.eq(waiting << 1), self.offered.eq(self.offered & ~self.taken)]
        with m.If(waiting[-1]):
            m.d.sync += self.offered.eq(-1)
        with m.If(self.command.valid & self.command.ready):
            m.d.sync += [waiting[0].eq(1), self.held.eq(self.command.payload)]
        with m.If(self.clear):
            m.d.sync += [waiting.eq(0), self.offered.eq(0)]
        return m

    def share_out(self, m: Module, *takers: stream.Interface) -> None:
        """Offer each of ``takers`` its share, whose payload is worked out elsewhere."""
        for part, taker in enumerate(takers):
            m.d.comb += [
                taker.valid.eq(self.offered[part]),
                self.taken[part].eq(taker.valid & taker.ready),
            ]


def set_loops(
    m: Module, nest: data.View, base: ValueLike, counts: Sequence[ValueLike], strides: Sequence[ValueLike]
) -> None:
    """Work out ``hw.array.reader.loops``, innermost first: counts less one."""
    m.d.comb += nest.base.eq(base)
    for level, (count, stride) in enumerate(zip(counts, strides, strict=True)):
        m.d.comb += [nest.counts[level].eq(count), nest.strides[level].eq(stride)]


class ResultAddresses(wiring.Component):
    """Accumulator rows of the results, which leave the array one after another in the order of their rows.

    Members
    -------
    begin : In(1), address, accumulate : In
        An EXECUTE begins, whose results go to ``address`` and the rows after it. A few may have begun and not ended.
    valid, last : In(1)
        A result is at column 0; it is its EXECUTE's last.
    row, add : Out
        Where the result goes and whether it is added; in the same cycle.
    fault : Out(1)
        One cycle: an EXECUTE went on past the end of its half of the accumulators.
    """

    def __init__(self, *, design: Design) -> None:
        width = ceil_log2(design.accumulator_rows)
        self._layout = data.StructLayout({"address": width, "accumulate": 1})
        super().__init__(
            {
                "begin": In(1),
                "address": In(width),
                "accumulate": In(1),
                "valid": In(1),
                "last": In(1),
                "row": Out(width),
                "add": Out(1),
                "fault": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.begun = begun = Fifo(shape=self._layout, depth=BEGUN)
        fresh, following = Signal(init=1), Signal.like(self.row)
        m.d.comb += [
            begun.i.valid.eq(self.begin),
            begun.i.payload.address.eq(self.address),
            begun.i.payload.accumulate.eq(self.accumulate),
            begun.o.ready.eq(self.valid & self.last),
            self.row.eq(Mux(fresh, begun.o.payload.address, following)),
            self.add.eq(begun.o.payload.accumulate),
        ]
        with m.If(self.valid):
            m.d.sync += [following.eq(self.row + 1), fresh.eq(self.last)]
        m.d.sync += self.fault.eq(self.valid & ~fresh & (following[:-1] == 0))
        return m


BEGUN = 17
"""EXECUTEs whose results may be on their way: an array of 64 rows and the shortest tiles have fewer."""
