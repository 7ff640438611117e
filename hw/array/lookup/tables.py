"""From slices of every row's activations to entries of tables: the left edge of the table-lookup array."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Shape, ShapeLike, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.array.lookup.control import SUMS, minimum_sum
from hw.array.lookup.geometry import LookupArray
from hw.delay import delayed
from hw.pe.accumulate import GatedAdder
from hw.pe.lookup import SerialTableBuilder
from hw.pe.lookup_times import builder_cycles, entry_bits
from hw.pe.plane_sum import SignedTree
from hw.pe.scaled_sum import signed_bits
from hw.share import share

BUILD = data.StructLayout({"start": 1, "bank": 1, "total": 1, "first": 1})
"""With the first cycle of a slice: into which of a unit's two tables, and whether the sum of its activations is wanted.

With fp16 activations ``total`` is in place of a slice: all entries are the sum of those since the last ``first``."""


def slice_layout(array: LookupArray) -> data.ArrayLayout:
    """Activations of a chunk; one where they are quantised."""
    return data.ArrayLayout(array.activation_bits, 1 if array.quantised else array.chunk)


def chunk_sum(array: LookupArray) -> Shape:
    """The sum of a chunk's activations, or of its tables' last entries."""
    most = 128 * (array.groups_per_lane if array.quantised else array.chunk)
    return signed(signed_bits(-most, most - 1))


def tables_layout(array: LookupArray) -> data.StructLayout:
    """What a unit takes from the left: an entry of every table, and the sum of the activations of the chunk that is looked up."""
    members = {
        "write": 1,
        "address": array.k,
        "entries": data.ArrayLayout(signed(entry_bits(array.k)), array.groups_per_lane),
    }
    if array.halved:
        members["total"] = chunk_sum(array)
    return data.StructLayout(members)


def step_layout(array: LookupArray) -> data.StructLayout:
    """What a row's tables are told in a cycle: an entry to write, or ``ends``, the last; ``first``: the first of a group;
    ``sums``: which bank is looked up.

    With minimums also what the sum of a group's activations is told, ``group``.
    """
    members: dict[str, ShapeLike] = {"write": 1, "index": array.k - 1, "bank": 1}
    members |= {"ends": 1, "total": 1, "sums": 1, "first": 1} | ({"group": SUMS} if array.minimums else {})
    return data.StructLayout(members)


class Steps(wiring.Component):
    """Counts the entries of a chunk's tables.

    Members
    -------
    build : In(BUILD), sums : In(1), group : In(SUMS)
        ``group`` only with minimums.
    step : Out(step_layout)
        Combinational.
    """

    def __init__(self, *, array: LookupArray) -> None:
        self._array = array
        super().__init__(
            {"build": In(BUILD), "sums": In(1), "step": Out(step_layout(array))}
            | ({"group": In(SUMS)} if array.minimums else {})
        )

    def elaborate(self, platform):
        m = Module()
        step, build = self.step, self.build
        # At rest at the first entry, which is made in the cycle of ``start``.
        index = Signal(self._array.k - 1)
        kept = Signal(BUILD)
        m.d.comb += [
            step.write.eq(build.start | index.any()),
            step.index.eq(index),
            step.bank.eq(Mux(build.start, build.bank, kept.bank)),
            step.total.eq(Mux(build.start, build.total, kept.total)),
            step.ends.eq(index.all()),
            step.first.eq(build.start & build.first),
            step.sums.eq(self.sums),
        ]
        if self._array.minimums:
            m.d.comb += step.group.eq(self.group)
        m.d.sync += index.eq(index + step.write)
        with m.If(build.start):
            m.d.sync += kept.eq(build)
        return m


class Tables(wiring.Component):
    """One row: makes an entry of every table in a cycle, and keeps the sums of the activations of both banks.

    Members
    -------
    activations : In(slice_layout)
    step : In(step_layout)
        ``step_next``, one cycle later, for the row below.
    tables : Out(tables_layout)
    group : Out(signed)
        The sum of a group's activations, the cycle after ``step.group.show``; zero in all others. Only with minimums.

    Timing
    ------
    Entries come :func:`hw.pe.lookup_times.builder_cycles` cycles after ``step``. ``total`` is that of the bank that ``sums`` said
    in the cycle before, from ``array.times.extra`` + 1 cycles after the last entry on.
    """

    def __init__(self, *, array: LookupArray) -> None:
        self._array = array
        super().__init__(
            {
                "activations": In(slice_layout(array)),
                "step": In(step_layout(array)),
                "step_next": Out(step_layout(array)),
                "tables": Out(tables_layout(array)),
            }
            | ({"group": Out(minimum_sum(array))} if array.minimums else {})
        )

    def elaborate(self, platform):
        m = Module()
        array = self._array
        late = builder_cycles(array.k)
        m.d.sync += self.step_next.eq(self.step)
        for place in range(array.groups_per_lane):
            m.submodules[f"builder_{place}"] = builder = share(SerialTableBuilder, k=array.k)
            m.d.comb += [
                builder.activations[one].eq(self.activations[place * array.k + one]) for one in range(array.k)
            ]
            m.d.comb += [builder.index.eq(self.step.index), self.tables.entries[place].eq(builder.entry)]
        m.d.comb += [
            self.tables.write.eq(delayed(m, self.step.write, late)),
            self.tables.address.eq(delayed(m, Cat(self.step.index, self.step.bank), late)),
        ]
        if array.halved:
            self._sum(m, late)
        return m

    def _sum(self, m: Module, late: int) -> None:
        """The last entries are the sums of their tables' activations."""
        array, step = self._array, self.step
        m.submodules.tree = tree = SignedTree(operands=array.groups_per_lane, most=128 * array.k, extra=False)
        m.d.comb += tree.values.eq(self.tables.entries)
        late += array.times.extra - 1
        ends, total, bank = (delayed(m, one, late) for one in (step.ends, step.total, step.bank))
        kept = [Signal.like(tree.sum, name=f"total_{bank}", reset_less=True) for bank in range(2)]
        for place, one in enumerate(kept):
            # A sum that is not wanted resets the register.
            with m.If(ends & (bank == place)):
                m.d.sync += one.eq(tree.sum)
                with m.If(~total):
                    m.d.sync += one.eq(0)
        chosen = Signal.like(tree.sum, name="total", reset_less=True)
        m.d.sync += chosen.eq(Mux(step.sums, kept[1], kept[0]))
        m.d.comb += self.tables.total.eq(chosen)
        if array.minimums:
            m.d.comb += self.group.eq(group_sum(m, array, step.group, chosen))


def group_sum(m: Module, array: LookupArray, told: data.View, chunk: Signal) -> Signal:
    """Adds up the sums of a group's chunks, as ``SUMS`` tell. Returned: the group's when it is wanted, or zero."""
    shape = minimum_sum(array)
    total, complete, shown = (Signal(shape, name=name) for name in ("group", "complete", "shown"))
    m.submodules.add = add = GatedAdder(width=len(total), addend_width=len(chunk))
    m.d.comb += [add.total.eq(total), add.keep.eq(~told.first), add.addend.eq(chunk)]
    m.d.sync += shown.eq(0)
    with m.If(told.chunk):
        m.d.sync += total.eq(add.sum)
    with m.If(told.keep):
        m.d.sync += complete.eq(total)
    with m.If(told.show):
        m.d.sync += shown.eq(complete)
    return shown
