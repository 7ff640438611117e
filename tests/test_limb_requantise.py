"""Requantisation in limbs, against the golden model."""

import numpy as np
import pytest
from amaranth.sim import Simulator

from hw.in_order.requantise import BIAS_STEP, FIRST_STEP, LAST_STEP, SHIFT_STEP, LimbRequantise
from hw.timing import MOVER_REQUANTISE
from sim.requantise import requantise

LEAST, GREATEST = -(1 << 31), (1 << 31) - 1


def run(cases, held=()):
    """Results of ``(accumulator, bias, multiplier, shift)``; ``FIRST_STEP`` comes once more in those of ``held``."""
    dut, found = LimbRequantise(), []

    async def bench(ctx):
        due = {}
        now = 0
        for number, (accumulator, bias, multiplier, shift) in enumerate(cases):
            words = {SHIFT_STEP: shift | 0xABCDEF00 & ~63, BIAS_STEP: bias & 0xFFFFFFFF}
            steps = [
                0,
                *range(1, FIRST_STEP + 1),
                *[FIRST_STEP] * (number in held),
                *range(FIRST_STEP + 1, LAST_STEP + 1),
            ]
            # Results must not meet: the next one's limbs come when this one is taken.
            steps += [0] * (MOVER_REQUANTISE - LAST_STEP - 1)
            for step in steps:
                ctx.set(dut.step, 1 << step)
                ctx.set(dut.accumulator, accumulator if step == BIAS_STEP else 0x55555555)
                ctx.set(dut.word, words.get(step, multiplier))
                if step == FIRST_STEP:
                    due[number] = now + MOVER_REQUANTISE
                if ctx.get(dut.ready):
                    assert due.pop(len(found)) == now
                    found.append(ctx.get(dut.result))
                await ctx.tick()
                now += 1
        ctx.set(dut.step, 1)
        while due:
            if ctx.get(dut.ready):
                assert due.pop(len(found)) == now
                found.append(ctx.get(dut.result))
            await ctx.tick()
            now += 1

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return np.array(found, np.uint8).view(np.int8)


def golden(cases):
    return np.array([requantise(*case) for case in cases])


def special():
    """Ends of all ranges, with shifts around the limbs' borders."""
    sums = [
        (LEAST, LEAST),
        (GREATEST, GREATEST),
        (0, 0),
        (-1, 0),
        (1, 0),
        (0xFFFF, 1),
        (-0x10000, 0),
        (LEAST, 0),
    ]
    return [
        (*pair, multiplier, shift)
        for pair in sums
        for multiplier in (0, 1, 0xFFFF, 0x10000, 0x80000000, 0xFFFFFFFF)
        for shift in (0, 1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 39, 40, 47, 48, 49, 56, 62, 63)
    ]


def near(random, count):
    """Products whose result is an int8 or just not, with ties among them."""
    cases = []
    for _ in range(count):
        shift = int(random.integers(64))
        multiplier = (
            int(random.integers(1, 1 << int(random.integers(1, 33)))) if random.random() < 0.9 else 1 << 20
        )
        wanted = random.integers(-132, 132) + random.choice([0, 0.5, 0.49, 0.51])
        total = int(wanted * 2**shift / multiplier) + int(random.integers(-1, 2))
        total = max(2 * LEAST, min(2 * GREATEST, total))
        bias = max(
            LEAST,
            min(GREATEST, int(random.integers(-3000, 3000)) + (total - max(LEAST, min(GREATEST, total)))),
        )
        accumulator = max(LEAST, min(GREATEST, total - bias))
        cases.append((accumulator, bias, multiplier, shift))
    return cases


def test_special_values():
    cases = special()
    assert np.array_equal(run(cases[::3]), golden(cases[::3]))


@pytest.mark.parametrize("seed", range(2))
def test_random_values(seed):
    random = np.random.default_rng(seed)
    cases = near(random, 300)
    assert len(set(golden(cases).tolist())) > 100
    assert np.array_equal(run(cases, held=set(range(0, 300, 7))), golden(cases))


@pytest.mark.long
@pytest.mark.parametrize("seed", range(4))
def test_all_special_values_and_many_more(seed):
    random = np.random.default_rng(100 + seed)
    cases = special() + near(random, 3000)
    random.shuffle(cases)
    cases = [tuple(map(int, case)) for case in cases]
    assert np.array_equal(run(cases), golden(cases))
