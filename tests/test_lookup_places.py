"""Where results of a table-lookup array go, in simulation: row for row against the groups that were put there."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest
from amaranth.sim import Simulator
from lookup_core_bench import ASYM4, BIPOLAR2, W1, W2, W4, array_for

from hw.array.lookup.core import JUDGED
from hw.array.lookup.geometry import MOST_ROWS, LookupArray
from hw.array.lookup.places import IN_FLIGHT, Places
from hw.pe.element_times import SCALE_BITS

ROW = 6


def waits(array: LookupArray) -> int:
    """Cycles from a group's ``put`` to its ``due``."""
    return array.first_result - 1 - JUDGED


def groups_of(array: LookupArray, count: int, random) -> list[tuple[int, dict[str, int]]]:
    """When groups are put, and what: as close as they may end, or later."""
    groups, cycle = [], 3
    for _ in range(count):
        bits = {name: int(random.integers(2)) for name in ("half", "accumulate", "whole", "ends", "fault")}
        places = {name: int(random.integers(1 << ROW)) for name in ("address", "stride")}
        groups.append((cycle, bits | places))
        cycle += array.outputs * (SCALE_BITS + bits["whole"]) + int(random.choice([0, 0, 1, 30]))
    return groups


def results_of(array: LookupArray, groups) -> dict[int, tuple[int, int, int, int]]:
    """By cycle: address, accumulate, last and fault of its result."""
    results = {}
    for end, group in groups:
        for place in range(array.outputs):
            for row in range(array.rows):
                cycle = end + waits(array) + 1 + place * (SCALE_BITS + group["whole"]) + row
                address = (group["address"] + place * group["stride"] + row) % (1 << ROW)
                last = group["ends"] & (place == array.outputs - 1) & (row == array.rows - 1)
                assert cycle not in results
                results[cycle] = (
                    address + (group["half"] << ROW),
                    group["accumulate"],
                    last,
                    last & group["fault"],
                )
    return results


@pytest.mark.parametrize("shape", [
    {"rows": 8, "outputs": 8, "columns": 8}, {"rows": 1, "outputs": 9, "columns": 9},
    {"rows": 3, "k": 2, "groups_per_lane": 32, "group": 128, "outputs": 2, "columns": 2},
    {"rows": 5, "k": 2, "groups_per_lane": 4, "outputs": 16, "columns": 16, "group": 64},
])  # fmt: skip
def test_results_find_their_rows(shape):
    array, random = array_for(**({"variants": (W1, W2)} | shape)), np.random.default_rng(1)
    groups = groups_of(array, 12, random)
    expected = results_of(array, groups)
    dut = Places(array=array, row=ROW)
    put, due = dict(groups), {end + waits(array) for end, _ in groups}

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
    """Of all tables, numbers of lookups and of outputs, for few planes and for many."""
    for variants in ((W1,), (W2,), (W1, W4), (BIPOLAR2, ASYM4)):
        for k, groups_per_lane in (
            (2, 4),
            (2, 8),
            (2, 16),
            (2, 32),
            (4, 2),
            (4, 4),
            (4, 8),
            (4, 16),
            (4, 32),
        ):
            for outputs in range(2, 17):
                sizes = {"k": k, "groups_per_lane": groups_per_lane, "outputs": outputs, "columns": outputs}
                if outputs * min(one.bits for one in variants) >= 1 << k - 1:
                    yield array_for(rows=1, group=256, variants=variants, **sizes)


def test_groups_in_flight_fit():
    """A group is put before its results are due, and never finds the ring full."""
    most, number = 0, 0
    for array in arrays():
        wait = waits(array)
        least = min(array.scale_cycles(one) for one in array.variants)
        ends, waiting = range(0, 64 * least, least), deque()
        assert wait >= 1
        for end in ends:
            while waiting and waiting[0] + wait < end:
                waiting.popleft()
            waiting.append(end)
            most = max(most, len(waiting))
        number += 1
        # Results of a place are through before those of the next one come.
        assert least // array.outputs >= MOST_ROWS
    assert number > 400
    assert most <= IN_FLIGHT
