# amaranth: UnusedElaboratable=no
"""The left edge of a bit-serial array: each row takes its word, and offers it slice by slice, skewed."""

from __future__ import annotations

import pytest
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.array.rows import Rows
from hw.timing import CORNER_TURN

SHAPES = [
    {"rows": 1, "slices": 2, "lanes": 4, "width": 8, "skew": (0, 1, 2, 3)},
    {"rows": 3, "slices": 4, "lanes": 2, "width": 16, "skew": (0, 0)},
    {"rows": 5, "slices": 2, "lanes": 1, "width": 8, "skew": (2,)},
]


@pytest.mark.parametrize("shape", SHAPES)
@settings(max_examples=15)
@given(data=st.data())
def test_slices(shape, data):
    """Words at the least interval or with gaps; slices that last as long as their weights have terms."""
    rows, slices, lanes, width, skew = shape.values()
    dut, random = Rows(**shape), data.draw(st.randoms(use_true_random=False))
    loads, steps, words, cycle = {}, set(), {}, 0
    for _ in range(data.draw(st.integers(1, 5))):
        terms = data.draw(st.integers(-(-max(rows, 2) // slices), 4))
        loads[cycle] = [random.getrandbits(slices * lanes * width) for _ in range(rows)]
        words |= {cycle + row: word for row, word in enumerate(loads[cycle])}
        steps |= {cycle + terms * slice_ for slice_ in range(1, slices)}
        cycle += terms * slices + data.draw(st.integers(0, 3))
    end = cycle + CORNER_TURN + rows + max(skew) + 2
    seen = []

    async def bench(ctx):
        for cycle in range(end):
            ctx.set(dut.word, words.get(cycle, random.getrandbits(slices * lanes * width)))
            ctx.set(dut.load, cycle in loads)
            ctx.set(dut.slice, cycle in steps)
            seen.append(
                [[ctx.get(dut.activations[row][lane]) for lane in range(lanes)] for row in range(rows)]
            )
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    for cycle in range(end):
        for row in range(rows):
            for lane in range(lanes):
                since = cycle - CORNER_TURN - row - skew[lane]
                if since < 0:
                    continue
                first = max(load for load in loads if load <= since)
                number = sum(first < step <= since for step in steps)
                place = (number * lanes + lane) * width
                assert seen[cycle][row][lane] == loads[first][row] >> place & (1 << width) - 1
