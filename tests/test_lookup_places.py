"""Where results of a table-lookup array go, in simulation: row for row against the groups that were put there."""

from __future__ import annotations

from itertools import product
from typing import get_args

import numpy as np
import pytest
from amaranth.sim import Simulator
from lookup_core_bench import ASYM4, BIPOLAR2, W1, W2, W4, array_for

from hw.array.lookup.core import JUDGED
from hw.array.lookup.geometry import LookupArray, LookupFormat, Lookups, Offset
from hw.array.lookup.places import IN_FLIGHT, Places
from hw.control.run import SETTLING
from hw.design import ceil_div

ROW = 6
PLAIN4M = LookupFormat(bits=4, offset=Offset.PLAIN, minimum=True)


def formats(array: LookupArray) -> list[LookupFormat]:
    """One without a group's ``more``, and one with it."""
    kinds = {one.minimum if array.floats else not one.doubled: one for one in array.variants}
    return [kinds[more] for more in (False, True)]


def waits(array: LookupArray, one: LookupFormat) -> int:
    """Cycles from a group's ``put`` to its ``due``."""
    return array.first_result(one) - 1 - JUDGED


def most_waiting(array: LookupArray) -> int:
    """Groups that wait for their results at a time."""
    return max(ceil_div(waits(array, one), array.scale_cycles(one)) for one in array.variants)


def groups_of(array: LookupArray, count: int, random) -> list[tuple[int, dict[str, int]]]:
    """When groups are put, and what: as close as they may end, or later."""
    groups, cycle = [], 3
    for _ in range(count):
        bits = {name: int(random.integers(2)) for name in ("half", "accumulate", "more", "ends", "fault")}
        places = {name: int(random.integers(1 << ROW)) for name in ("address", "stride")}
        one = formats(array)[bits["more"]]
        groups.append((cycle + array.tail_words(one) - 1 + JUDGED, bits | places))
        cycle += array.scale_cycles(one) + int(random.choice([0, 0, 1, 30]))
    return groups


def results_of(array: LookupArray, groups) -> dict[int, tuple[int, int, int, int]]:
    """By cycle: address, accumulate, last and fault of its result."""
    results = {}
    for end, group in groups:
        one = formats(array)[group["more"]]
        for turn, row in product(range(one.passes * array.outputs), range(array.rows)):
            cycle = end + waits(array, one) + 1 + turn * array.spacing(one) + row
            address = (group["address"] + turn % array.outputs * group["stride"] + row) % (1 << ROW)
            final = (turn == one.passes * array.outputs - 1) & (row == array.rows - 1)
            assert cycle not in results
            results[cycle] = (
                address + (group["half"] << ROW),
                group["accumulate"] | (turn >= array.outputs),
                group["ends"] & final,
                group["ends"] & final & group["fault"],
            )
    return results


@pytest.mark.parametrize("shape", [
    {"rows": 8, "outputs": 8, "columns": 8}, {"rows": 1, "outputs": 9, "columns": 9},
    {"rows": 3, "k": 2, "groups_per_lane": 32, "group": 128, "outputs": 2, "columns": 2},
    {"rows": 5, "k": 2, "groups_per_lane": 4, "outputs": 16, "columns": 16, "group": 64},
    {"rows": 3, "groups_per_lane": 4, "scales": "fp16", "variants": (W2, PLAIN4M)},
    {"rows": 8, "groups_per_lane": 4, "scales": "fp16", "variants": (W1, PLAIN4M), "outputs": 9, "columns": 9},
])  # fmt: skip
def test_results_find_their_rows(shape):
    array, random = array_for(**({"variants": (W1, W2)} | shape)), np.random.default_rng(1)
    groups = groups_of(array, 12, random)
    expected = results_of(array, groups)
    dut = Places(array=array, row=ROW)
    put = dict(groups)
    due = {end + waits(array, formats(array)[group["more"]]) for end, group in groups}

    async def bench(ctx):
        for cycle in range(max(expected) + 20):
            # What is there in a cycle without a group means nothing.
            ctx.set(dut.put, cycle in put)
            ctx.set(dut.group, put.get(cycle, groups[0][1]))
            ctx.set(dut.due, cycle in due)
            ctx.set(dut.valid, cycle in expected)
            if cycle in expected:
                seen = tuple(ctx.get(one) for one in (dut.address, dut.accumulate, dut.last, dut.fault))
                assert seen == expected[cycle], cycle
            else:
                assert not ctx.get(dut.last | dut.fault), cycle
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


def arrays():
    """Of all tables, numbers of lookups and of outputs, for few planes and for many, of both types of scales."""
    variants = [("int8", each) for each in ((W1,), (W2,), (W1, W4), (BIPOLAR2, ASYM4))]
    variants += [("fp16", each) for each in ((W1,), (W1, W4), (W2, PLAIN4M))]
    for k, lookups, outputs, (scales, formats) in product((2, 4), get_args(Lookups), range(2, 17), variants):
        least = (16 if scales == "fp16" else 8) // k
        if lookups >= least and outputs * min(one.bits for one in formats) >= 1 << k - 1:
            sizes = {"k": k, "groups_per_lane": lookups, "outputs": outputs, "columns": outputs}
            yield array_for(rows=1, group=256, variants=formats, scales=scales, **sizes)


def test_groups_in_flight_fit():
    """A group is put before its results are due, and never finds the ring full."""
    most, number = 0, 0
    for array in arrays():
        assert min(waits(array, one) for one in array.variants) >= 1
        most = max(most, most_waiting(array))
        number += 1
    assert number > 700
    assert most <= IN_FLIGHT


@pytest.mark.parametrize("sizes", [
    {"groups_per_lane": 32},
    {"groups_per_lane": 4},
    {"groups_per_lane": 8, "activations": "fp16", "tables": "int8", "group": 64},
    {"groups_per_lane": 4, "activations": "fp16", "tables": "int8", "group": 32},
])  # fmt: skip
def test_results_land_before_a_halted_machine_rests(sizes):
    """Those of the largest arrays, whose places have results of minimums after those of scales."""
    formats = [LookupFormat(bits=4, offset=Offset.PLAIN, minimum=minimum) for minimum in (True, False)]
    values = {
        "rows": 8,
        "columns": 128,
        "k": 4,
        "outputs": 16,
        "group": 128,
        "data_bytes": 16,
        "scales": "fp16",
    }
    array = LookupArray(**(values | sizes), variants=formats)
    late = max(array.result_latency(one) for one in formats) + array.banks + array.geometry.accumulate
    # A halt forgets what waits until tables are quantised.
    assert late - array.wait <= SETTLING
