"""The front of a bit-serial core: commands are prepared once, and carried out group by group; words of weights are read in turn."""

from __future__ import annotations

import pytest
from amaranth.hdl import Array, Assert, Assume, Cat, Cover, Elaboratable, Module, Mux, Signal, Value
from amaranth.lib import data, wiring

from hw.array.bit_serial.geometry import LOWER_WORD, BitSerial
from hw.array.bit_serial.plan import Planner
from hw.array.bit_serial.sequencer import Sequencer
from hw.array.bit_serial.words import WordTimes
from hw.pe.weight_format import NIBBLE, WeightFormat
from hw.timing import BIT_SERIAL_SETUP
from tests.bit_serial_bench import ALL, array_for, design_for
from tests.formal import check, free, holds, mutant, previous, prove, refute
from tests.formal_inside import implies

INT8, INT6, INT5, INT4, FP4, FP3 = ALL
SMALL = {"activation_words": 16, "weight_words": 16, "accumulator_rows": 16}


def chosen(variant, array: BitSerial, what):
    """``what`` of the format of ``variant``."""
    return Array(what(one) for one in array.variants)[variant]


class PlannerRules(Elaboratable):
    """A command comes out once, as it went in, with its numbers, after ``BIT_SERIAL_SETUP - 1`` cycles; unless halted."""

    def __init__(self, array: BitSerial, kind=Planner):
        self._array = array
        self._dut = kind(design=design_for(array, **SMALL), array=array)

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self._dut
        free(m, dut)
        array, plan, counts = self._array, dut.plan.payload, dut.command.payload
        taken, given = dut.command.valid & dut.command.ready, dut.plan.valid & dut.plan.ready
        halted = previous(m, dut.halt, "halted")
        ready_at = BIT_SERIAL_SETUP - 1
        owed, age, kept = Signal(), Signal(range(ready_at + 1)), Signal.like(counts)
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
            Assume(counts.variant < len(array.variants)),
            Assert(dut.busy == owed),
            Assert(dut.command.ready == (~owed & ~dut.halt)),
            Assert(dut.plan.valid == (owed & (age == ready_at))),
            Assert(implies(owed, Value.cast(plan.command) == Value.cast(kept))),
            Assert(implies(owed, (age != 0) & (kept.variant < len(array.variants)))),
            Cover(given & ~plan.short & (plan.last_pause != 0)),
            Cover(dut.plan.valid & again & plan.short & (plan.last_pause == 0)),
            Cover(given & previous(m, dut.plan.valid, "waited")),
        ]
        # The law of the cycles, from its definition: a group that is too short waits until it has been ``least`` cycles.
        depth = kept.depth_tiles
        last = (depth - 1)[: len(depth)] % array.group_words + 1
        cycles = chosen(kept.variant, array, array.word_cycles)
        with m.If(dut.plan.valid):
            m.d.comb += [
                Assert(plan.words_left == (depth - 2)[: len(plan.words_left)]),
                Assert(plan.rows_left == (kept.row_tiles - 2)[: len(plan.rows_left)]),
                Assert(plan.columns_left == (kept.column_tiles - 2)[: len(plan.columns_left)]),
                Assert(plan.tile_stride == kept.activations_stride * array.rows),
                Assert(plan.short == (depth <= array.group_words)),
                Assert(plan.format == chosen(kept.variant, array, lambda one: one)),
                Assert(plan.terms_last == chosen(kept.variant, array, lambda one: one.terms - 1)),
            ]
            for words, pause in ((array.group_words, plan.pause), (last, plan.last_pause)):
                missing = array.least - words * cycles
                m.d.comb += Assert(pause == Mux(missing > 0, missing, 0))
        return m


@pytest.mark.parametrize("array", [
    array_for(rows=1, columns=1, data_bytes=4), array_for(rows=3, columns=1, group=128, variants=(INT6, FP3)),
    array_for(rows=20, columns=1, group=256, variants=(INT8, FP4)), array_for(rows=2, columns=1, lanes=16),
])  # fmt: skip
def test_planner_keeps_the_rules(array):
    prove(PlannerRules(array), depth=BIT_SERIAL_SETUP, reach=14)


@pytest.mark.parametrize(
    "bug",
    [
        ("self.command.ready.eq(~self.busy & ~self.halt)", "self.command.ready.eq(~self.busy)"),
        ("stages.eq(0), self.plan.valid.eq(0)", "self.plan.valid.eq(0)"),
        ("self.plan.valid.eq(~self.plan.ready)", "self.plan.valid.eq(0)"),
        ("array.pause(one, words + 1)", "array.pause(one, words)"),
        ("command.depth_tiles <= array.group_words", "command.depth_tiles < array.group_words"),
        ("(command.depth_tiles - 1)[:index_bits]", "command.depth_tiles[:index_bits]"),
        ("with m.If(self.command.valid & self.command.ready)", "with m.If(self.command.valid)"),
    ],
)
def test_planner_with_a_bug(bug):
    refute(PlannerRules(array_for(rows=1, columns=1, data_bytes=4), mutant(Planner, bug)), depth=9)
