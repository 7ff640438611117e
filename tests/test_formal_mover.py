"""No access of an in-order design's mover leaves the window or crosses a page, for all time."""

from __future__ import annotations

from dataclasses import replace

import pytest
from amaranth.asserts import AnySeq
from amaranth.hdl import Assert, Assume, Cat, Const, Cover, Elaboratable, Module, Mux, Signal
from amaranth.utils import exact_log2

from hw.design import PAGE_BYTES
from hw.in_order.rows import RowWalker
from hw.output.walk import row_bytes_of
from tests.formal import free, later, mutant, previous, prove, refute
from tests.mover_bench import design

FORWARD, REACH, CHECK, WALK = range(4)


class Accesses(Elaboratable):
    """Any command, any window: rows are gone to as the mover does it, and accesses made at any time while a row has beats.

    ``restart`` comes at any time; command and window stay as they are from then on. What may be asked for is a burst from
    ``beat`` on; behind it, or a part of it, any number of steps follows up to the row's last beat.

    Parameters
    ----------
    design : Design
    walker : the component, or a mutant of it
    """

    def __init__(self, design, *, walker=RowWalker):
        self._design = design
        self._rows = walker(design=design)

    def elaborate(self, platform):
        m = Module()
        m.submodules.rows = rows = self._rows
        free(m, rows, but=("forward", "reach", "step"))
        phase, over, walks = Signal(2), Signal(), Signal()
        m.d.comb += [
            rows.forward.eq((phase == FORWARD) & ~rows.restart),
            rows.reach.eq((phase == REACH) & ~rows.restart),
            walks.eq((phase == WALK) & ~over & ~rows.restart),
            rows.step.eq(walks & AnySeq(1)),
        ]
        with m.If(rows.restart):
            m.d.sync += [phase.eq(FORWARD), over.eq(0)]
        with m.Elif(phase == CHECK):
            # A row that is not inside is the last thing that is looked at.
            with m.If(rows.inside):
                m.d.sync += [phase.eq(WALK), over.eq(0)]
        with m.Elif(phase != WALK):
            m.d.sync += phase.eq(phase + 1)
        with m.Else():
            m.d.sync += over.eq(over | rows.step & rows.last)
            with m.If(over):
                m.d.sync += phase.eq(FORWARD)

        command = Cat(rows.load.as_value(), rows.store.as_value(), rows.storing)
        kept = Cat(command, rows.window_first, rows.window_last)
        before, restarted = previous(m, kept, "kept"), previous(m, rows.restart, "restarted")
        begun = Signal()
        m.d.sync += begun.eq(1)
        with m.If(begun & ~restarted):
            m.d.comb += Assume(kept == before)
        with m.Else():
            m.d.comb += Assume(rows.restart | begun)
        count = Mux(rows.storing, row_bytes_of(self._design, rows.store), rows.load.row_bytes)
        m.d.comb += Assume(count != 0)
        self._state(m, rows, phase, walks, count)
        self._burst(m, rows, walks)
        return m

    def _state(self, m, rows, phase, walks, count):
        """Where the row lies: as the command says, without a wrap."""
        address, end = rows._address, rows._end
        exact, fresh = Signal(len(address) + 1), Signal(init=1)
        with m.If(rows.restart):
            m.d.sync += [exact.eq(0), fresh.eq(1)]
        with m.Elif(rows.forward):
            origin = Mux(rows.storing, rows.store.memory_address, rows.load.memory_address)
            stride = Mux(rows.storing, rows.store.memory_stride, rows.load.memory_stride)
            m.d.sync += [exact.eq(exact + Mux(fresh, origin, stride)), fresh.eq(0)]
        m.d.comb += [Assert(exact == address), Assert(~fresh | (address == 0)), Assert(fresh == rows._fresh)]
        with m.If((phase != FORWARD) | ~fresh):
            m.d.comb += Assert(rows.span == count - 1)
        last = Signal(len(exact))
        m.d.comb += last.eq(exact + rows.span)
        with m.If((phase == CHECK) | (phase == WALK)):
            m.d.comb += [Assert(end == ~last[: len(end)]), Assert(~last[-1])]
        with m.If((phase == FORWARD) & ~fresh | (phase == WALK)):
            m.d.comb += Assert(last <= rows.window_last)
        with m.If((phase == CHECK) | (phase == WALK)):
            outside = (exact < rows.window_first) | (last > rows.window_last)
            m.d.comb += Assert(rows.inside == ~outside)
        with m.If(walks):
            lane = exact_log2(self._design.data_bytes)
            m.d.comb += [
                Assert(rows.inside),
                Assert((exact >> lane) + rows._count == rows.beat),
                Assert(rows.beat <= last >> lane),
                Assert(rows.last == (rows.beat == last >> lane)),
            ]

    def _burst(self, m, rows, walks):
        """All beats of a burst have bytes of the window, and lie in a page."""
        lane = exact_log2(self._design.data_bytes)
        page = exact_log2(PAGE_BYTES) - lane
        end = Signal(len(rows.beat) + 1)
        m.d.comb += end.eq(rows.beat + rows.length)
        with m.If(walks):
            m.d.comb += [
                Assert(Cat(Const((1 << lane) - 1, lane), rows.beat) >= rows.window_first),
                Assert(end << lane <= rows.window_last),
                Assert(end[page:] == rows.beat[page:]),
                Assert(rows.length < self._design.burst_beats),
                Cover(rows.last & (rows.beat[:2] == 2) & ~rows.first & rows.final),
                Cover((rows.length == self._design.block_beats - 1) & ~rows.last),
            ]


def sized(**changes):
    return replace(design(**changes), issue="in-order")


SIZES = [
    {"address_width": 17},
    *later({"address_width": 16, "data_bytes": 8, "burst_beats": 3}, {"data_bytes": 32, "burst_beats": 256}),
]


@pytest.mark.parametrize("sizes", SIZES)
def test_accesses(sizes):
    prove(Accesses(sized(**sizes)), depth=2, reach=14)


@pytest.mark.parametrize(
    "bug",
    [
        (
            "self._address, self._end = Signal(width), Signal(width)",
            "self._address, self._end = Signal(width - 1), Signal(width)",
        ),
        *later(
            ("~below & ", ""),
            ("~below & ~above", "~below"),
            (" & same.replicate(bits)", ""),
            ("(self.beat[bits:] ^ end[bits:]).all()", "1"),
            ("count.eq(count + 1)", "count.eq(count + 2)"),
            ("Mux(storing, row_bytes_of(design, store), load.row_bytes)", "load.row_bytes"),
        ),
    ],
)
def test_proof_sees(bug):
    refute(Accesses(sized(address_width=17), walker=mutant(RowWalker, bug)), depth=14)
