# amaranth: UnusedElaboratable=no
"""What goes down a column of a bit-serial array: the same terms, each part of them when the element is due to take it."""

from __future__ import annotations

import numpy as np
import pytest
from amaranth.sim import Simulator
from bit_serial_bench import array_for

from hw.array.bit_serial.feed import CONTROL, Feeder

CYCLES = 200


def drawn(random, lanes):
    """Inputs of a cycle: terms of integers or of floating-point weights, with their common significance."""
    if random.integers(2):
        exponents, significance = random.integers(0, 2, lanes), int(random.choice([0, 2, 4, 6]))
    else:
        exponents, significance = random.integers(0, 4, lanes), int(random.integers(2))
    mans = random.integers(0, 2, lanes)
    signs = random.integers(0, 2, lanes) & mans
    terms = [
        {"sign": int(s), "exponent": int(e), "man": int(m)}
        for s, e, m in zip(signs, exponents, mans, strict=True)
    ]
    return {"terms": terms, "significance": significance} | {
        name: int(random.integers(2)) for name in CONTROL
    }


def value(term, significance):
    """What it stands for."""
    return (-1) ** term["sign"] * term["man"] << term["exponent"] + significance


@pytest.mark.parametrize("shape", [
    {"lanes": 4}, {"lanes": 16, "group": 64}, {"lanes": 4, "activations": "fp16"},
    {"lanes": 8, "group": 64, "activations": "fp16"},
])  # fmt: skip
def test_each_part_comes_when_it_is_due(shape):
    array = array_for(rows=1, columns=1, **shape)
    dut, times, random = Feeder(array=array), array.times, np.random.default_rng(2)
    given, seen = [drawn(random, array.lanes) for _ in range(CYCLES)], []

    async def bench(ctx):
        for one in given:
            for lane, term in enumerate(one["terms"]):
                ctx.set(dut.terms[lane], term)
            for name in ("significance", *CONTROL):
                ctx.set(getattr(dut, name), one[name])
            drive = dut.drive
            now = {name: ctx.get(getattr(drive, name)) for name in drive.signature.members if name != "terms"}
            seen.append(now | {"terms": [ctx.get(drive.terms[lane]) for lane in range(array.lanes)]})
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    scale = times.feed + times.last + times.scale - 1
    for cycle in range(50, CYCLES):
        assert seen[cycle]["last"] == given[cycle - times.feed - times.last]["last"]
        assert seen[cycle]["scale_bit"] == given[cycle - scale]["scale_bit"]
        assert seen[cycle]["finish"] == given[cycle - scale]["finish"]
    for since in range(50 - max(times.skew), CYCLES - 50):
        one, due = given[since], since + times.feed
        common = seen[due + times.significance]
        for lane, skew in enumerate(times.skew):
            got = seen[due + skew]["terms"][lane]
            if array.activations == "fp16":
                assert {name: got[name] for name in ("sign", "exponent", "man")} == one["terms"][lane]
                assert common["significance"] == one["significance"]
                continue
            assert got.negative <= (not got.zero)
            size = (
                0
                if got.zero
                else 1 << got.fine + 2 * got.far + common["shift"].one + 4 * common["shift"].four
            )
            assert (-size if got.negative else size) == value(one["terms"][lane], one["significance"])
        if array.activations == "int8":
            assert seen[due + 1]["negatives"] == sum(term["sign"] for term in one["terms"])
