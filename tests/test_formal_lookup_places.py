"""Where results of a table-lookup core go: the rows of every group's results, in the order of the groups."""

from __future__ import annotations

import pytest
from amaranth.asserts import AnySeq
from amaranth.hdl import Assert, Assume, Cat, Cover, Elaboratable, Module, Mux, Signal

from hw.array.lookup.core import JUDGED
from hw.array.lookup.geometry import LookupArray
from hw.array.lookup.places import Places
from tests.formal import check, free, later, mutant, previous, refute
from tests.formal_inside import implies, inside
from tests.lookup_core_bench import W1, W2
from tests.test_formal_lookup import PLAIN2M, floats, small
from tests.test_lookup_places import formats, most_waiting


class PlacesRules(Elaboratable):
    """Groups' first scales come as far apart as the results of each; those find their rows ``array.scales_to_result`` later.

    Any one group is watched, with or without others before it and after it.
    """

    def __init__(self, array: LookupArray, kind=Places):
        self._array = array
        self._dut = kind(array=array, row=3)

    def elaborate(self, platform):
        m = Module()
        array, dut = self._array, self._dut
        ring = inside(dut, platform).ring
        m.submodules.dut = dut
        free(m, dut, but=("put", "due", "valid"))
        scales, more, chosen_one, seen, watched = (
            AnySeq(1), AnySeq(1), AnySeq(1), Signal(), Signal(dut.group.shape())
        )  # fmt: skip
        mine = scales & chosen_one & ~seen
        m.d.sync += seen.eq(seen | mine)
        # Of each group a first scale, its end as the words behind that say, and the cycle before its results.
        ages = [Cat(scales, more & scales, mine)]
        for age in range(array.scales_to_result - 1):
            ages.append(previous(m, ages[-1], f"scales_{age}"))
        kinds = formats(array)
        ended = [ages[array.tail_words(one) - 1 + JUDGED] for one in kinds]
        ends = [group[0] & (group[1] == kind) for kind, group in enumerate(ended)]
        due, due_more, due_mine = ages[-1]
        with m.If(dut.put & Mux(ends[1], ended[1][2], ended[0][2])):
            m.d.sync += watched.eq(dut.group)
        apart, least, since = Signal(8, init=255), Signal(8), Signal(8, init=255)
        here, slow = Signal(), Signal()
        m.d.sync += [
            apart.eq(Mux(scales, 1, apart + (apart != 255))),
            since.eq(Mux(due, 1, since + (since != 255))),
        ]
        with m.If(scales):
            m.d.sync += least.eq(Mux(more, *(array.scale_cycles(one) for one in reversed(kinds))))
        with m.If(due):
            m.d.sync += [here.eq(due_mine), slow.eq(due_more)]
        m.d.comb += [
            dut.put.eq(ends[0] | ends[1]),
            dut.due.eq(due),
            dut.valid.eq(0),
            dut.clear.eq(0),
            Assume(implies(scales, apart >= least)),
            Assume(implies(dut.put, dut.group.more == ends[1])),
            # Nothing is lost.
            Assert(~(ends[0] & ends[1])),
            Assert(implies(dut.put, ring.i.ready)),
            Assert(implies(due, ring.o.valid)),
            Cover(here & dut.last & dut.fault & slow & (watched.stride != 0)),
            Cover(here & dut.last & dut.fault & ~slow & (watched.stride != 0)),
            Cover(dut.put & (ring.level == most_waiting(array) - 1)),
        ]
        for kind, one in enumerate(kinds):
            self._results(m, one, here & (slow == kind), (slow == kind), since, watched)
        return m

    def _results(self, m: Module, one, here, there, since, watched) -> None:
        """Of a group of that format; ``here``, ``there``: results are those of the one that is watched, of any."""
        array, dut = self._array, self._dut
        for turn in range(one.passes * array.outputs):
            place = turn % array.outputs
            for row in range(array.rows):
                final = turn == one.passes * array.outputs - 1 and row == array.rows - 1
                address = (watched.address + place * watched.stride + row)[: len(watched.address)]
                with m.If(there & (since == 1 + turn * array.spacing(one) + row)):
                    m.d.comb += [
                        dut.valid.eq(1),
                        Assert(implies(here, dut.address == Cat(address, watched.half))),
                        # A minimum's results are added to those of the scale.
                        Assert(
                            implies(here, dut.accumulate == (watched.accumulate | (turn >= array.outputs)))
                        ),
                        Assert(implies(here, dut.last == (watched.ends & final))),
                        Assert(implies(here, dut.fault == (watched.ends & watched.fault & final))),
                    ]


PLACES = small(W1, W2, rows=4, groups_per_lane=16, group=64)
MANY_ROWS = small(W1, W2, rows=8, groups_per_lane=8, group=64)
FLOATS = floats(W2, PLAIN2M, rows=3)


@pytest.mark.parametrize(("array", "depth"), [
    (PLACES, 44), *(pytest.param(array, 66, marks=pytest.mark.long) for array in (MANY_ROWS, FLOATS)),
])  # fmt: skip
def test_results_find_their_rows(array, depth):
    check(PlacesRules(array), depth=depth)


@pytest.mark.long
def test_waiting_groups_fit():
    """As many places as groups may wait are enough."""
    tight = mutant(Places, ("depth=IN_FLIGHT", f"depth={most_waiting(PLACES)}"))
    check(PlacesRules(PLACES, tight), depth=46)


@pytest.mark.parametrize(
    "bug",
    [
        ("current.address + current.stride", "here + current.stride"),
        ("last_place = place == array.outputs - 1", "last_place = place == 0"),
        ("Mux(current.more, slow, quick)", "quick"),
        *later(
            ("self.accumulate.eq(current.accumulate)", "self.accumulate.eq(oldest.accumulate)"),
            ("ring.o.ready.eq(self.due)", "ring.o.ready.eq(self.put)"),
            ("Mux(current.more, slow, quick)", "slow"),
            ("final.eq(last_place & (row == array.rows - 1))", "final.eq(last_place)"),
            ("place.eq(place + 1), row.eq(0)", "place.eq(place + 1)"),
            ("current.fault & self.last", "current.fault"),
            ("Cat(here, current.half)", "Cat(here, oldest.half)"),
            ("cycle.eq(0), place.eq(0)", "place.eq(0)"),
        ),
    ],
)
def test_places_with_a_bug(bug):
    refute(PlacesRules(PLACES, mutant(Places, bug)), depth=46)


@pytest.mark.parametrize(
    "bug",
    [
        ("wraps & last_place & current.more", "wraps & current.more"),
        *later(
            ("(row == array.rows - 1) & ~current.more", "(row == array.rows - 1)"),
            ("first.eq(oldest.address)", "first.eq(current.address)"),
            ("for each in (place, current.more)", "for each in (place,)"),
            ("current.accumulate.eq(1)", "current.accumulate.eq(oldest.accumulate)"),
            ("for each in (current.address, here)", "for each in (here,)"),
        ),
    ],
)
def test_places_of_minimums_with_a_bug(bug):
    refute(PlacesRules(FLOATS, mutant(Places, bug)), depth=60)
