"""What the proofs of planners and sequencers share."""

from __future__ import annotations

from types import SimpleNamespace

from amaranth.hdl import Array, Assert, Assume, Cover, Elaboratable, Module, Mux, Signal, Value
from amaranth.lib import data, wiring

from tests.formal import free, holds, previous
from tests.formal_inside import implies


def chosen(variant, array, what):
    """``what`` of the format of ``variant``."""
    return Array(what(one) for one in array.variants)[variant]


class CommandRules(Elaboratable):
    """A command comes out of a planner once, as it went in, with its numbers, after ``setup - 1`` cycles; unless halted."""

    def __init__(self, array, planner, setup: int):
        self._array, self._dut, self._setup = array, planner, setup

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self._dut
        free(m, dut)
        plan, counts = dut.plan.payload, dut.command.payload
        taken, given = dut.command.valid & dut.command.ready, dut.plan.valid & dut.plan.ready
        halted = previous(m, dut.halt, "halted")
        ready_at = self._setup - 1
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
            Assume(counts.variant < len(self._array.variants)),
            Assert(dut.busy == owed),
            Assert(dut.command.ready == (~owed & ~dut.halt)),
            Assert(dut.plan.valid == (owed & (age == ready_at))),
            Assert(implies(owed, Value.cast(plan.command) == Value.cast(kept))),
            Assert(implies(owed, (age != 0) & (kept.variant < len(self._array.variants)))),
            Cover(given & previous(m, dut.plan.valid, "waited")),
        ]
        with m.If(dut.plan.valid):
            m.d.comb += [
                Assert(plan.words_left == (kept.depth_tiles - 2)[: len(plan.words_left)]),
                Assert(plan.rows_left == (kept.row_tiles - 2)[: len(plan.rows_left)]),
                Assert(plan.columns_left == (kept.column_tiles - 2)[: len(plan.columns_left)]),
                Assert(plan.tile_stride == kept.activations_stride * self._array.rows),
            ]
            self.law(m, kept, given, again)
        return m

    def law(self, m: Module, kept, given, again) -> None:
        """The family's own numbers of the command that was ``kept``, from their definitions."""
        raise NotImplementedError


def join(m: Module, planner, dut, *, variants: int, most: dict[str, int]) -> SimpleNamespace:
    """A planner and a sequencer as a core joins them; commands of ``most`` tiles, halts of two cycles or more.

    ``given``: a command enters the sequencer; ``now``: the sizes of the one under way; ``halted``: in the cycle before.
    """
    m.submodules.planner, m.submodules.sequencer = planner, dut
    free(m, planner, but=("halt", "plan"))
    free(m, dut, but=("plan",))
    wiring.connect(m, planner.plan, dut.plan)
    halted, counts = previous(m, dut.halt, "halted"), planner.command.payload
    twice = previous(m, dut.halt & halted, "halted_twice")
    m.d.comb += [
        planner.halt.eq(dut.halt),
        Assume(implies(halted & ~twice, dut.halt)),
        Assume(counts.variant < variants),
    ]
    sizes = data.StructLayout({name: range(1 + size) for name, size in most.items()} | {"variant": 3})
    now, after = Signal(sizes, name="sizes_now"), Signal(sizes, name="sizes_after")
    given = dut.plan.valid & dut.plan.ready
    for name, size in most.items():
        m.d.comb += Assume((counts[name] != 0) & (counts[name] <= size))
    with m.If(planner.command.valid & planner.command.ready):
        m.d.sync += [after[name].eq(counts[name]) for name in sizes.members]
    with m.If(given):
        m.d.sync += now.eq(after)
    return SimpleNamespace(halted=halted, now=now, given=given)
