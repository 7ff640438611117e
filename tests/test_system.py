"""Whole accelerators in simulation: every result equal to both golden models, every cycle to the cycle model."""

import pytest
from systems import check

from gen.cases import RAW, REQUANTISED, Case, memory
from gen.systems import FULL_SIZE, MORE_SYSTEMS, SYSTEMS

LONGER = (
    "16x16 WS, 128-bit bus", "8x8 bit-serial, 64-bit bus", "5x8 OS, 512-bit bus, 64-bit addresses",
    "8x8 of OliVe's pairs and integers WS, 64-bit bus", "16x16 of MX and NVFP4 WS, 128-bit bus",
    "3x5 OS, 8 steps of K at once, 64-bit bus", "2x3 OS, 32-bit bus, small", "4x4 OS, 32-bit bus",
    "1x16 by lookups, groups of 64, 32-bit bus, issued in order", "5x3 OS digit by digit, 64-bit bus, small",
    "4x4 bit-serial of fp16, 64-bit bus", "4x4 WS, 128-bit bus, small", "8x8 of OliVe's pairs and integers, 64-bit bus",
    "2x3 OS, 4 steps of K at once by bit weight, 32-bit bus, small",
)  # fmt: skip
"""Systems like others of these."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.long) if name in LONGER else name for name in SYSTEMS]
)
def test_results_and_cycles(name):
    preset, overrides, cases = SYSTEMS[name]
    assert sum(len(cases) for _, _, cases in SYSTEMS.values()) >= 60
    assert len(check(preset, overrides, cases)) == len(cases)


def test_slow_and_narrow_memories_and_odd_addresses():
    odd = (("activations", 3), ("parameters", 5), ("output", 7))
    cases = [
        Case(
            (6, 21, 13), mode, memory(latency, interval, outstanding), alignment=odd, base=base, seed=latency
        )
        for mode in (RAW, REQUANTISED)
        for latency, interval, outstanding, base in (
            (3, 2, 1, 0),
            (20, 3, 2, 0x1F80),
            (50, 1, 1, 0xFFF0_0000),
        )
    ]
    assert len(check("systolic-8x8", (), cases)) == 6


@pytest.mark.long
@pytest.mark.parametrize("name", MORE_SYSTEMS)
def test_results_and_cycles_of_more(name):
    preset, overrides, cases = MORE_SYSTEMS[name]
    assert len(check(preset, overrides, cases)) == len(cases)


@pytest.mark.long
@pytest.mark.parametrize("preset", FULL_SIZE)
def test_layers_of_full_size(preset):
    assert len(check(preset, (), FULL_SIZE[preset])) == 7
