"""From every row's fp16 activations to entries of int8 and their scales: the left edge of table-lookup arrays that quantise."""

from __future__ import annotations

from functools import reduce
from operator import or_

from amaranth.hdl import Cat, Const, Module, Mux, ShapeLike, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2, exact_log2

from hw.array.lookup.control import SUMS, TURN, minimum_sum
from hw.array.lookup.geometry import LookupArray
from hw.array.lookup.quantised import GROUPS_KEPT, TAG_BITS, group_tables
from hw.array.lookup.tables import chunk_sum, group_sum, slice_layout
from hw.delay import RingDelay, delayed
from hw.memory.float_add import FLOAT32
from hw.pe.lookup_times import K, QuantiserTimes
from hw.pe.table_quantiser import TableQuantiser
from hw.share import share

ENTRY_BITS = 8
TAKE = data.StructLayout({"write": 1, "first": 1, "last": 1, "tag": TAG_BITS})
"""With an activation of row 0: it is one of a group; that group's first; in its last table. ``tag``: which of the groups under
way."""


READ = data.StructLayout({"start": 1, "bank": 1, "total": 1, "first": 1, "tag": TAG_BITS})
"""When a chunk's tables are read: as ``hw.array.lookup.tables.BUILD``; ``first``: it is its group's, with ``tag``."""


def quantised_tables_layout(array: LookupArray) -> data.StructLayout:
    """What a unit takes from the left: an entry of one of its tables, and the sum of the last entries of the chunk's."""
    members: dict[str, ShapeLike] = {
        "write": array.groups_per_lane,
        "address": array.k,
        "entry": signed(ENTRY_BITS),
    }
    if array.halved:
        members["total"] = chunk_sum(array)
    return data.StructLayout(members)


def fill_layout(array: LookupArray) -> data.StructLayout:
    """What a row's quantiser is told of an activation: members of :class:`hw.pe.table_quantiser.TableQuantiser`."""
    return data.StructLayout(
        {
            "write": 1,
            "write_bank": 1,
            "write_table": range(group_tables(array)),
            "place": range(K),
            "first": 1,
            "last": 1,
        }
    )


def quantised_step_layout(array: LookupArray) -> data.StructLayout:
    """What a row's tables are told in a cycle: ``fill``, of an activation; ``read_bank``, ``read_table`` and ``index`` of an
    entry to be read.

    Of the entry that comes, ``write``, ``table`` of the chunk, ``entry`` (its index) and ``bank``; ``ends``: it is the chunk's
    last; ``total``: its sum is wanted. ``sums``, and with minimums ``group``: as of ``hw.array.lookup.tables.step_layout``.
    """
    members: dict[str, ShapeLike] = {
        "fill": fill_layout(array),
        "read_bank": 1,
        "read_table": range(group_tables(array)),
        "index": K - 1,
        "write": 1,
        "table": exact_log2(array.groups_per_lane),
        "entry": K - 1,
        "bank": 1,
        "ends": 1,
        "total": 1,
        "sums": 1,
    }
    return data.StructLayout(members | ({"group": SUMS} if array.minimums else {}))


class QuantisedSteps(wiring.Component):
    """Counts the activations of a group and the entries of a chunk's tables.

    Members
    -------
    take : In(TAKE), build : In(READ), sums : In(1), group : In(SUMS)
        ``group`` only with minimums.
    step : Out(quantised_step_layout)
        Combinational; what is said of an entry that comes, as late as it does.
    """

    def __init__(self, *, array: LookupArray) -> None:
        self._array = array
        super().__init__(
            {
                "take": In(TAKE),
                "build": In(READ),
                "sums": In(1),
                "step": Out(quantised_step_layout(array)),
            }
            | ({"group": In(SUMS)} if array.minimums else {})
        )

    def elaborate(self, platform):
        m = Module()
        array, step, take, build = self._array, self.step, self.take, self.build
        number, table = Signal(range(array.group)), Signal(range(group_tables(array)))
        m.d.comb += [
            Cat(step.fill.place, step.fill.write_table).eq(Mux(take.first, 0, number)),
            step.fill.write.eq(take.write),
            step.fill.write_bank.eq(take.tag[0]),
            step.fill.first.eq(step.fill.write_table == 0),
            step.fill.last.eq(take.last),
            step.sums.eq(self.sums),
        ]
        m.d.sync += number.eq(Cat(step.fill.place, step.fill.write_table) + take.write)
        if array.minimums:
            m.d.comb += step.group.eq(self.group)

        # At rest at the first entry of the group's next chunk, which is read in the cycle of ``start``.
        index, slot = Signal(K - 1), Signal(exact_log2(array.groups_per_lane))
        kept, first = Signal(READ), Signal.like(table)
        reads, ends = build.start | Cat(index, slot).any(), Cat(index, slot).all()
        now = data.View(READ, Mux(build.start, build.as_value(), kept.as_value()))
        m.d.comb += [
            step.index.eq(index),
            step.read_bank.eq(now.tag[0]),
            first.eq(Mux(build.start & build.first, 0, table)),
            step.read_table.eq(first),
        ]
        m.d.sync += [Cat(index, slot).eq(Cat(index, slot) + reads), table.eq(first + (reads & index.all()))]
        with m.If(build.start):
            m.d.sync += kept.eq(build)
        told = Cat(reads, slot, index, now.bank, reads & ends, now.total)
        m.submodules.late = late = RingDelay(width=len(told), cycles=QuantiserTimes().entry)
        m.d.comb += [
            late.i.eq(told),
            Cat(step.write, step.table, step.entry, step.bank, step.ends, step.total).eq(late.o),
        ]
        return m


class QuantisedTables(wiring.Component):
    """One row: quantises the tables of groups, and keeps the sums of the last entries of both banks.

    Members
    -------
    activations : In(slice_layout)
        An fp16 pattern, of ``step.fill``.
    step : In(quantised_step_layout)
        ``step_next``, one cycle later, for the row below.
    tables : Out(quantised_tables_layout)
    scale : Out(32), valid : Out(1)
        Of :class:`hw.pe.table_quantiser.TableQuantiser`.
    group : Out(signed)
        The sum of a group's last entries, the cycle after ``step.group.show``; zero in all others. Only with minimums.

    Timing
    ------
    ``total`` is that of the bank that ``sums`` said in the cycle before, from ``array.times.extra`` + 1 cycles after the last
    entry on.
    """

    def __init__(self, *, array: LookupArray) -> None:
        self._array = array
        step = quantised_step_layout(array)
        super().__init__(
            {
                "activations": In(slice_layout(array)),
                "step": In(step),
                "step_next": Out(step),
                "tables": Out(quantised_tables_layout(array)),
                "scale": Out(FLOAT32),
                "valid": Out(1),
            }
            | ({"group": Out(minimum_sum(array))} if array.minimums else {})
        )

    def elaborate(self, platform):
        m = Module()
        array, step, tables = self._array, self.step, self.tables
        m.submodules.quantiser = quantiser = share(TableQuantiser, tables=group_tables(array))
        m.d.sync += self.step_next.eq(step)
        m.d.comb += [
            Value.cast(quantiser.activation).eq(self.activations[0]),
            *(getattr(quantiser, name).eq(step.fill[name]) for name in step.fill.shape().members),
            quantiser.read_bank.eq(step.read_bank),
            quantiser.read_table.eq(step.read_table),
            quantiser.index.eq(step.index),
            tables.write.eq(step.write.replicate(array.groups_per_lane) & (1 << step.table)),
            tables.address.eq(Cat(step.entry, step.bank)),
            tables.entry.eq(quantiser.entry),
            self.scale.eq(quantiser.scale),
            self.valid.eq(quantiser.valid),
        ]
        if array.halved:
            self._sum(m)
        return m

    def _sum(self, m: Module) -> None:
        """The last entries are the sums of their tables' activations."""
        array, step = self._array, self.step
        # The sum of all is there two cycles after the last.
        sum_, late = Signal(chunk_sum(array), reset_less=True), array.times.extra - 1
        with m.If(step.write & step.entry.all()):
            m.d.sync += sum_.eq(self.tables.entry + Mux(step.table == 0, 0, sum_))
        ends, total, bank = (delayed(m, one, late) for one in (step.ends, step.total, step.bank))
        kept = [Signal.like(sum_, name=f"total_{bank}", reset_less=True) for bank in range(2)]
        for place, one in enumerate(kept):
            # A sum that is not wanted resets the register.
            with m.If(ends & (bank == place)):
                m.d.sync += one.eq(sum_)
                with m.If(~total):
                    m.d.sync += one.eq(0)
        chosen = Signal.like(sum_, name="total", reset_less=True)
        m.d.sync += chosen.eq(Mux(step.sums, kept[1], kept[0]))
        m.d.comb += self.tables.total.eq(chosen)
        if array.minimums:
            m.d.comb += self.group.eq(group_sum(m, array, step.group, chosen))


class KeptScales(wiring.Component):
    """Keeps the tables' scales of the groups under way, of all rows, and gives those of a group row after row.

    Members
    -------
    take : In(TAKE)
        Of row 0.
    scales : In(ArrayLayout(32, rows)), valid : In(rows)
        Of the rows' quantisers.
    turn : In(TURN)
        Row 0's is wanted in the next cycle, and the others' in those after it.
    scale : Out(32)
    """

    def __init__(self, *, array: LookupArray) -> None:
        self._array = array
        super().__init__(
            {
                "take": In(TAKE),
                "scales": In(data.ArrayLayout(FLOAT32, array.rows)),
                "valid": In(array.rows),
                "turn": In(TURN),
                "scale": Out(FLOAT32),
            }
        )

    def elaborate(self, platform):
        m = Module()
        rows = self._array.rows
        row_bits = ceil_log2(rows)
        tag, row = Signal(TAG_BITS), Signal(row_bits)
        # That of a group is there for all rows before the last activation of the next one.
        with m.If(self.take.write & self.take.last):
            m.d.sync += tag.eq(self.take.tag)
        m.submodules.kept = kept = Memory(shape=32, depth=GROUPS_KEPT << row_bits, init=[])
        write, read = kept.write_port(), kept.read_port(domain="comb")
        here, scale = Signal.like(row), Signal(32, reset_less=True)
        m.d.comb += here.eq(Mux(self.turn.first, 0, row))
        m.d.sync += [row.eq(here + 1), scale.eq(read.data)]
        scales = (Value.cast(self.scales[one]) & self.valid[one].replicate(32) for one in range(rows))
        places = (self.valid[one].replicate(row_bits) & Const(one, row_bits) for one in range(rows))
        m.d.comb += [
            write.en.eq(self.valid.any()),
            write.addr.eq(Cat(reduce(or_, places), tag)),
            write.data.eq(reduce(or_, scales)),
            read.addr.eq(Cat(here, self.turn.tag)),
            self.scale.as_value().eq(scale),
        ]
        return m
