"""The front of a systolic core: commands are prepared once, and carried out tile by tile, as often as they say."""

from __future__ import annotations

import pytest
from amaranth.hdl import Assert, Assume, Cat, Cover, Elaboratable, Module, Mux, Signal, Value

from hw.array.geometry import least_interval
from hw.array.setup import TURN, Setup
from hw.design import Design, Geometry
from hw.timing import SYSTOLIC_SETUP
from tests.formal import free, holds, mutant, previous, prove, refute
from tests.formal_inside import implies


def design(*, tile_rows=1, tile_depth=1, activation_bytes=4) -> Design:
    """As small as can be."""
    geometry = Geometry(
        tile_rows=tile_rows,
        columns=1,
        tile_depth=tile_depth,
        activation_bytes=activation_bytes,
        weight_bytes=1,
        weight_words=tile_depth,
    )
    return Design(
        geometry=geometry,
        data_bytes=4,
        address_width=32,
        burst_beats=4,
        outstanding=2,
        activation_words=16,
        weight_words=16,
        accumulator_rows=8,
        parameter_entries=4,
        output_lanes=1,
    )


class SetupRules(Elaboratable):
    """A command comes out once, as it went in, with its numbers, after ``SYSTOLIC_SETUP - 2`` cycles; unless halted."""

    def __init__(self, rows, word, kind=Setup):
        self._rows, self._word = rows, word
        self._dut = kind(
            design=design(tile_rows=rows, activation_bytes=word), least_interval=least_interval(rows)
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self._dut
        free(m, dut)
        rows, word, least = self._rows, self._word, least_interval(self._rows)
        plan, counts = dut.plan.payload, dut.command.payload
        taken, given = dut.command.valid & dut.command.ready, dut.plan.valid & dut.plan.ready
        halted, soon = previous(m, dut.halt, "halted"), previous(m, dut.soon & ~dut.halt, "was_soon")
        owed, age, kept = Signal(), Signal(range(SYSTOLIC_SETUP)), Signal.like(counts)
        ready_at = SYSTOLIC_SETUP - 2
        m.d.sync += [
            owed.eq((taken | (owed & ~given)) & ~dut.halt),
            age.eq(Mux(taken, 1, Mux(age == ready_at, age, age + 1))),
        ]
        with m.If(taken):
            m.d.sync += kept.eq(counts)
        holds(m, dut.plan, name="plan", unless=halted)
        again = Signal()  # a command was dropped before
        m.d.sync += again.eq(again | (dut.plan.valid & dut.halt & ~given))
        m.d.comb += [
            Assume(counts.depth_tiles != 0),
            Assert(dut.busy == owed),
            Assert(dut.command.ready == (~owed & ~dut.halt)),
            Assert(dut.plan.valid == (owed & (age == ready_at))),
            Assert(dut.plan.valid == soon),
            Assert(implies(owed, Value.cast(plan.command) == Value.cast(kept))),
            Assert(implies(owed, (age != 0) & (kept.depth_tiles != 0))),
            Cover(given & ~plan.short & (plan.turn_left > 2 * least) & (kept.depth_tiles < 8 * least)),
            Cover(dut.plan.valid & again & plan.short),
            Cover(given & previous(m, dut.plan.valid, "waited")),
        ]
        # The law of the cycles, from its definition.
        depth = kept.depth_tiles
        reading = Cat(depth - 1)[: len(depth)] // word * word + rows
        longest = Mux(depth > reading, depth, reading)
        interval = Mux(longest > least, longest, least)
        width, count = len(plan.turn_left), len(plan.rows_left)
        with m.If(dut.plan.valid):
            m.d.comb += [
                Assert(plan.rows_left == (kept.row_tiles - 2)[:count]),
                Assert(plan.passes_left == (kept.row_tiles - 3)[:count]),
                Assert(plan.columns_left == (kept.column_tiles - 2)[:count]),
                Assert(plan.depth_left == (depth - 2)[:width]),
                Assert(plan.turn_left == (interval - TURN)[:width]),
            ]
        with m.If(owed & (age >= 2)):
            m.d.comb += Assert(plan.short == (depth < least))
        return m


@pytest.mark.parametrize(("rows", "word"), [(1, 4), (3, 4), (16, 16)])
def test_setup_keeps_the_rules(rows, word):
    prove(SetupRules(rows, word), depth=SYSTOLIC_SETUP, reach=12)


@pytest.mark.parametrize(
    "bug",
    [
        ("self.command.ready.eq(~self.busy & ~self.halt)", "self.command.ready.eq(~self.busy)"),
        ("stages.eq(0), self.plan.valid.eq(0)", "self.plan.valid.eq(0)"),
        ("planned.short & (few < least)", "few < least"),
        ("self.plan.valid.eq(~self.plan.ready)", "self.plan.valid.eq(0)"),
        ("with m.If(self.command.valid & self.command.ready)", "with m.If(self.command.valid)"),
    ],
)
def test_setup_with_a_bug(bug):
    refute(SetupRules(3, 4, mutant(Setup, bug)), depth=9)
