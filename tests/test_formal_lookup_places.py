"""Where results of a table-lookup core go: the rows of every group's results, in the order of the groups."""

from __future__ import annotations

import pytest
from amaranth.asserts import AnySeq
from amaranth.hdl import Assert, Assume, Cat, Cover, Elaboratable, Module, Mux, Signal

from hw.array.lookup.core import JUDGED
from hw.array.lookup.geometry import LookupArray
from hw.array.lookup.places import Places
from hw.design import ceil_div
from hw.pe.element_times import SCALE_BITS
from tests.formal import check, free, mutant, previous, refute
from tests.formal_inside import implies, inside
from tests.lookup_core_bench import W1, W2
from tests.test_formal_lookup import later, small


class PlacesRules(Elaboratable):
    """Groups end as far apart as the scaling of each takes; their results find their rows ``array.first_result`` cycles later.

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
        free(m, dut, but=("due", "valid"))
        chosen_one, seen, mine, watched = AnySeq(1), Signal(), Signal(), Signal(dut.group.shape())
        m.d.comb += mine.eq(dut.put & chosen_one & ~seen)
        with m.If(mine):
            m.d.sync += [seen.eq(1), watched.eq(dut.group)]
        ended = Cat(dut.put, mine, dut.group.whole & dut.put)
        for age in range(array.first_result - 1 - JUDGED):
            ended = previous(m, ended, f"ended_{age}")
        due, due_mine, due_whole = ended
        # Since a group has been due; and whether that is the one.
        apart, least, since = Signal(8, init=255), Signal(8), Signal(8, init=255)
        here, whole = Signal(), Signal()
        m.d.sync += [
            apart.eq(Mux(dut.put, 1, apart + (apart != 255))),
            since.eq(Mux(due, 1, since + (since != 255))),
        ]
        with m.If(dut.put):
            m.d.sync += least.eq(array.outputs * (SCALE_BITS + dut.group.whole))
        with m.If(due):
            m.d.sync += [here.eq(due_mine), whole.eq(due_whole)]
        m.d.comb += [
            dut.due.eq(due),
            dut.valid.eq(0),
            Assume(implies(dut.put, apart >= least)),
            # Nothing is lost.
            Assert(implies(dut.put, ring.i.ready)),
            Assert(implies(due, ring.o.valid)),
            Cover(here & dut.last & dut.fault & whole & (watched.stride != 0)),
            Cover(dut.put & (ring.level == most_waiting(array) - 1)),
        ]
        for place in range(array.outputs):
            for row in range(array.rows):
                final = place == array.outputs - 1 and row == array.rows - 1
                address = (watched.address + place * watched.stride + row)[: len(watched.address)]
                with m.If(since == 1 + place * (SCALE_BITS + whole) + row):
                    m.d.comb += [
                        dut.valid.eq(1),
                        Assert(implies(here, dut.address == Cat(address, watched.half))),
                        Assert(implies(here, dut.accumulate == watched.accumulate)),
                        Assert(implies(here, dut.last == (watched.ends & final))),
                        Assert(implies(here, dut.fault == (watched.ends & watched.fault & final))),
                    ]
        return m


def most_waiting(array: LookupArray) -> int:
    """Groups that wait for their results at a time."""
    return ceil_div(array.first_result - 1 - JUDGED, min(array.scale_cycles(one) for one in array.variants))


PLACES = small(W1, W2, rows=3, groups_per_lane=16, group=64)


def test_results_find_their_rows():
    check(PlacesRules(PLACES), depth=56)


@pytest.mark.long
def test_waiting_groups_fit():
    """As many places as groups may wait are enough."""
    tight = mutant(Places, ("depth=IN_FLIGHT", f"depth={most_waiting(PLACES)}"))
    check(PlacesRules(PLACES, tight), depth=56)


MANY_ROWS = small(W1, W2, rows=8, groups_per_lane=8, group=64)


@pytest.mark.long
def test_results_of_many_rows_find_them():
    check(PlacesRules(MANY_ROWS), depth=60)


@pytest.mark.long
def test_results_of_many_rows_with_a_bug():
    bug = ("SCALE_BITS - 1 + current.whole", "SCALE_BITS - 1")
    refute(PlacesRules(MANY_ROWS, mutant(Places, bug)), depth=46)


@pytest.mark.parametrize(
    "bug",
    [
        ("current.address + current.stride", "here + current.stride"),
        ("place == array.outputs - 1", "place == 0"),
        ("ring.o.ready.eq(self.due)", "ring.o.ready.eq(self.put)"),
        ("self.accumulate.eq(current.accumulate)", "self.accumulate.eq(oldest.accumulate)"),
        *later(
            ("row == array.rows - 1", "row == 0"),
            ("place.eq(place + 1), row.eq(0)", "place.eq(place + 1)"),
            ("current.fault & self.last", "current.fault"),
            ("Cat(here, current.half)", "Cat(here, oldest.half)"),
            ("cycle.eq(0), place.eq(0)", "place.eq(0)"),
        ),
    ],
)
def test_places_with_a_bug(bug):
    refute(PlacesRules(PLACES, mutant(Places, bug)), depth=48)
