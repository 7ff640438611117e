"""Products of low-bit weights that are looked up: the table builder, the lookup unit, and the adder of ternary weights.

A table has the sums of k activations with plus or minus before each, the last one plus; the others are these with a minus, and
static weights are recoded once into entry and sign. Each bit plane of a weight is plus or minus one (``sim.lookup``).

Reference: LUT Tensor Core, Mo et al., ISCA 2025, section 3 and figure 9.
"""

from __future__ import annotations

from collections.abc import Sequence

from amaranth.hdl import Cat, Const, Module, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.delay import delayed
from hw.pe.lookup_times import (
    LEAST_K,
    MOST_GROUPS,
    MOST_K,
    MOST_OUTPUTS,
    MOST_PLANES,
    builder_cycles,
    checked,
    entry_bits,
    plane_times,
)
from hw.pe.plane_sum import PlaneSum, SignedTree, connect_control, control_members, group_weights
from hw.pe.scaled_sum import signed_bits
from hw.share import share


def lookup_code(k: int) -> data.StructLayout:
    """A weight's bit plane as it is looked up: which entry, and whether it is negated."""
    return data.StructLayout({"entry": k - 1, "negative": 1})


def half_table(k: int, width: int | None = None) -> data.ArrayLayout:
    """Entries of ``width`` bits, or of as many as exact ones take."""
    return data.ArrayLayout(signed(width or entry_bits(k)), 1 << k - 1)


class TableBuilder(wiring.Component):
    """The half table of k activations; a new one each cycle.

    Sums of halves are formed once and added in all combinations: of four activations 4 sums of two and then 8 of four.

    Parameters
    ----------
    k : int
        2 to 6.

    Members
    -------
    activations : In(ArrayLayout(signed(8), k))
    entries : Out(half_table(k))
        Entry i is the last activation, plus activation j where bit j of i is set, minus it where not; the last entry is the sum.

    Timing
    ------
    ``entries`` come :func:`hw.pe.lookup_times.builder_cycles` cycles after ``activations``.

    Raises
    ------
    TypeError, ValueError
        ``k`` is not such an integer.
    """

    def __init__(self, *, k: int) -> None:
        self._k = checked("k", k, LEAST_K, MOST_K)
        super().__init__(
            {"activations": In(data.ArrayLayout(signed(8), self._k)), "entries": Out(half_table(self._k))}
        )

    def elaborate(self, platform):
        m = Module()
        entries = self._entries(m, [self.activations[i] for i in range(self._k)], 0)
        for place, entry in enumerate(entries):
            m.d.comb += self.entries[place].eq(entry)
        return m

    def _entries(self, m: Module, activations: Sequence[Value], first: int) -> list[Value]:
        """Half table of some activations, as many cycles later as of all of them, or of as many of those as a half has."""
        if len(activations) == 1:
            return [activations[0]]
        low, high = activations[: len(activations) // 2], activations[len(activations) // 2 :]
        lows, highs = self._entries(m, low, first), self._entries(m, high, first + len(low))
        late = builder_cycles(len(high)) - builder_cycles(len(low))
        lows = [delayed(m, one, late) for one in lows]
        entries: list[Value] = []
        for upper in highs:
            # Of the low ones there is the half with a plus before the last, and with a minus the others in reverse.
            for lower, minus in [(one, True) for one in reversed(lows)] + [(one, False) for one in lows]:
                name = f"entry_{first}_{len(activations)}_{len(entries)}"
                register = Signal(signed(entry_bits(len(activations))), name=name)
                m.d.sync += register.eq(upper - lower if minus else upper + lower)
                entries.append(register)
        return entries


class SerialTableBuilder(wiring.Component):
    """The half table of k activations, an entry a cycle: a tree of adders, for tables that are stored.

    Parameters
    ----------
    k : int
        2 to 6.

    Members
    -------
    activations : In(ArrayLayout(signed(8), k)), index : In(k - 1)
        To be held while ``index`` runs through all entries.
    entry : Out(signed(entry_bits(k)))
        As of :class:`TableBuilder`.

    Timing
    ------
    ``entry`` comes :func:`hw.pe.lookup_times.builder_cycles` cycles after both.

    Raises
    ------
    TypeError, ValueError
        ``k`` is not such an integer.
    """

    def __init__(self, *, k: int) -> None:
        self._k = checked("k", k, LEAST_K, MOST_K)
        super().__init__(
            {
                "activations": In(data.ArrayLayout(signed(8), self._k)),
                "index": In(self._k - 1),
                "entry": Out(signed(entry_bits(self._k))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        # The last activation is never negated: the others lack at most one each, as many as there are adders.
        m.submodules.tree = tree = SignedTree(operands=self._k, most=128, extra=False)
        m.d.comb += [
            tree.values.eq(self.activations),
            tree.negative.eq(Cat(~self.index, Const(0, 1))),
            self.entry.eq(tree.sum),
        ]
        return m


class TableSelect(wiring.Component):
    """``entry`` is the entry of a table that ``index`` says, combinational.

    It stays a module of its own: ``fpga.cells`` makes it of the slices' multiplexers, which synthesis does not.

    Members
    -------
    entries : In(width << index_bits), index : In(index_bits), entry : Out(width)
    """

    def __init__(self, *, width: int, index_bits: int) -> None:
        super().__init__({"entries": In(width << index_bits), "index": In(index_bits), "entry": Out(width)})

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.entry.eq(self.entries.word_select(self.index, len(self.entry)))
        return m


class LookupUnit(wiring.Component):
    """``groups_per_lane`` lookups a cycle for one output, summed over the planes and the weights of a group, and scaled.

    Exact for all activations. A zero point z is a weight too, of the reinterpreted value z' = 2z - (2**b - 1): in each plane the
    sum of the tables' activations is taken off with the sign of z's bit. That sum is the same for all outputs of a row of
    activations (their tables' last entries together); here it costs one adder. Two's complement is z = 2**(b - 1), bipolar
    weights need none.

    Parameters
    ----------
    k : int
        Activations of a table, 2 to 6.
    groups_per_lane : int
        1 to 32.
    planes : int
        Most bits of a weight, 1 to 8.
    group : int
        Most weights that share a scale: 32, 64, 128 or 256.
    zero_points : bool
        Weights may have zero points.
    width : int or None
        Bits of an entry: None for exact ones, 8 for quantised tables.
    stored : bool
        The unit keeps its tables, two of each lookup, in distributed RAM: 16 entries where k is 4. An entry of every lookup is
        written in a cycle, so that a table must be of use for 2**(k - 1) cycles.
    serial : bool
        With ``stored``: an entry of one lookup is written in a cycle, not of all.
    outputs : int
        1 to 16, whose codes follow each other: so that tables are of use for longer.
    halved, scaled, blocks : bool
    scale_step : int
        As of :class:`hw.pe.plane_sum.PlaneSum`.

    Members
    -------
    codes : In(ArrayLayout(lookup_code(k), groups_per_lane))
        Of one plane.
    tables : In(ArrayLayout(half_table(k), groups_per_lane))
        Of the same cycle; not there with ``stored``.
    bank : In(1)
        Which of the two tables, in the same cycle; like the next three only with ``stored``.
    write : In(1), address : In(k), entries : In(ArrayLayout(signed, groups_per_lane))
        An entry of every lookup, to be read from the next cycle on; the highest bit of ``address`` is the bank. With ``serial``
        there is one ``entry``, and ``write`` has a bit for each lookup.
    total : In(signed), total_negative : In(1)
        Sum of the tables' activations, and whether it is taken off: the bit of the plane in the zero point. ``times.extra``
        cycles after ``tables``; only with ``zero_points``.
    shift, add, last, place, first, load, drain, scale_bit, finish, result, valid
        As of :class:`hw.pe.plane_sum.PlaneSum`.

    Timing
    ------
    ``times`` (:class:`hw.pe.lookup_times.PlaneTimes`); as of :class:`hw.pe.plane_sum.PlaneSum`.

    Raises
    ------
    TypeError, ValueError
        Parameters that are not as above.
    """

    def __init__(
        self,
        *,
        k: int,
        groups_per_lane: int,
        planes: int,
        group: int,
        zero_points: bool,
        width: int | None = None,
        stored: bool = False,
        serial: bool = False,
        outputs: int = 1,
        halved: bool = False,
        scaled: bool = True,
        scale_step: int = 1,
        blocks: bool = False,
    ) -> None:
        self._k = checked("k", k, LEAST_K, MOST_K)
        self._serial = serial
        self._lookups = checked("groups_per_lane", groups_per_lane, 1, MOST_GROUPS)
        planes = checked("planes", planes, 1, MOST_PLANES)
        self._width = (
            entry_bits(self._k) if width is None else checked("width", width, 2, entry_bits(self._k))
        )
        group = group_weights(group)
        most = 128 * self._k if width is None else 1 << self._width - 1
        whole = -(-group // self._k) * most * ((1 << planes) - 1)
        self._sum = {
            "operands": self._lookups, "most": most, "planes": planes, "group_most": whole << zero_points,
            "extra": zero_points, "outputs": checked("outputs", outputs, 1, MOST_OUTPUTS), "halved": halved, "scaled": scaled,
            "scale_step": scale_step, "blocks": blocks,
        }  # fmt: skip
        most_sum = whole << zero_points
        self._sum_bits = 0 if scaled else signed_bits(-most_sum, most_sum)
        self._zero_points = zero_points
        self._total = signed(signed_bits(-self._lookups * most, self._lookups * most - 1))
        self.times = plane_times(self._lookups, planes=planes, extra=zero_points, before=1)
        self._planes, self._stored, self._outputs = planes, stored, outputs
        tables: dict[str, wiring.Member] = {
            "tables": In(data.ArrayLayout(half_table(self._k, self._width), self._lookups))
        }
        if stored:
            tables = {
                "bank": In(1),
                "write": In(self._lookups if serial else 1),
                "address": In(self._k),
            }
            if serial:
                tables["entry"] = In(signed(self._width))
            else:
                tables["entries"] = In(data.ArrayLayout(signed(self._width), self._lookups))
        super().__init__(
            tables
            | {"codes": In(data.ArrayLayout(lookup_code(self._k), self._lookups))}
            | control_members(planes, outputs, self._sum_bits, scale_step)
            | ({"total": In(self._total), "total_negative": In(1)} if zero_points else {})
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.plane_sum = sums = share(PlaneSum, **self._sum)
        for place in range(self._lookups):
            found = Signal(signed(self._width), name=f"found_{place}")
            negative = Signal(name=f"negative_{place}")
            m.d.comb += [sums.values[place].eq(found), sums.negative[place].eq(negative)]
            m.d.sync += [
                found.eq(self._entry(m, place)),
                negative.eq(self.codes[place].negative),
            ]
        connect_control(m, self, sums, self._planes, self._outputs, self._sum_bits)
        if self._zero_points:
            m.d.comb += [sums.extra.eq(self.total), sums.extra_negative.eq(self.total_negative)]
        return m

    def _entry(self, m: Module, place: int) -> Value:
        """What a code selects."""
        index = self.codes[place].entry
        if not self._stored:
            select = share(TableSelect, width=self._width, index_bits=self._k - 1)
            m.submodules[f"select_{place}"] = select
            m.d.comb += [select.entries.eq(self.tables[place].as_value()), select.index.eq(index)]
            return select.entry
        m.submodules[f"tables_{place}"] = memory = Memory(
            shape=signed(self._width), depth=1 << self._k, init=[]
        )
        write, read = memory.write_port(), memory.read_port(domain="comb")
        m.d.comb += [
            write.en.eq(self.write[place] if self._serial else self.write),
            write.addr.eq(self.address),
            write.data.eq(self.entry if self._serial else self.entries[place]),
            read.addr.eq(Cat(index, self.bank)),
        ]
        return read.data


class TernaryUnit(wiring.Component):
    """``lanes`` products a cycle of int8 activations with weights -1, 0 and 1, summed over a group and scaled.

    A weight of zero resets the register of its activation; the sign goes into the first adder.

    Parameters
    ----------
    lanes : int
        1 to 128.
    group : int
        Most weights that share a scale: 32, 64, 128 or 256.
    outputs, scale_step : int
        As of :class:`hw.pe.plane_sum.PlaneSum`.

    Members
    -------
    activations : In(ArrayLayout(signed(8), lanes)), zero : In(lanes), negative : In(lanes)
        ``negative`` counts only when not ``zero``.
    add, last, place, first, load, drain, scale_bit, finish, result, valid
        As of :class:`hw.pe.plane_sum.PlaneSum`.

    Timing
    ------
    ``times`` (:class:`hw.pe.lookup_times.PlaneTimes`); as of :class:`hw.pe.plane_sum.PlaneSum`.

    Raises
    ------
    TypeError, ValueError
        Parameters that are not as above.
    """

    def __init__(self, *, lanes: int, group: int, outputs: int = 1, scale_step: int = 1) -> None:
        self._lanes = checked("lanes", lanes, 1, 4 * MOST_GROUPS)
        group = group_weights(group)
        self._outputs = checked("outputs", outputs, 1, MOST_OUTPUTS)
        self._sum = {
            "operands": lanes, "most": 128, "planes": 1, "group_most": 128 * group, "extra": False,
            "outputs": self._outputs, "scale_step": scale_step,
        }  # fmt: skip
        self.times = plane_times(lanes, planes=1, extra=False, before=1)
        super().__init__(
            {
                "activations": In(data.ArrayLayout(signed(8), lanes)),
                "zero": In(lanes),
                "negative": In(lanes),
            }
            | control_members(1, self._outputs, scale_step=scale_step)
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.plane_sum = sums = share(PlaneSum, **self._sum)
        negative = Signal(self._lanes)
        m.d.sync += negative.eq(self.negative)
        m.d.comb += sums.negative.eq(negative)
        for lane in range(self._lanes):
            # The zero is the register's reset: the design's own reset would need a gate before it.
            activation = Signal(signed(8), name=f"activation_{lane}", reset_less=True)
            m.d.sync += activation.eq(self.activations[lane])
            with m.If(self.zero[lane]):
                m.d.sync += activation.eq(0)
            m.d.comb += sums.values[lane].eq(activation)
        connect_control(m, self, sums, 1, self._outputs)
        return m
