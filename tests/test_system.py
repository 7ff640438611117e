"""Whole accelerators in simulation: every result equal to both golden models, every cycle to the cycle model."""

import pytest
from systems import Case, check

from hw.control.isa import OutputMode
from sim.cycles.memory import MemoryTiming

RAW, REQUANTISED = OutputMode.RAW, OutputMode.REQUANTISED
OS, WS = 'array.dataflow="output-stationary"', 'array.dataflow="weight-stationary"'
SMALL = ("memory.activations_kib=1", "memory.weights_kib=1", "memory.accumulators=64", "memory.parameters=32")


def memory(latency, interval=1, outstanding=8):
    return MemoryTiming(
        read_latency=latency, write_latency=latency, interval=interval, outstanding=outstanding
    )


def grid(shapes, latencies=(1, 20, 100), **more):
    """Each shape at each latency, raw and requantised by turns."""
    modes = (RAW, REQUANTISED)
    return [
        Case(shape, modes[(i + j) % 2], memory(latency), seed=100 * i + j, **more)
        for i, shape in enumerate(shapes)
        for j, latency in enumerate(latencies)
    ]


SYSTEMS = {
    "8x8 OS, 64-bit bus": (
        "systolic-8x8",
        (),
        grid([(1, 1, 1), (8, 8, 8), (9, 17, 25), (1, 64, 96), (33, 100, 41)]),
    ),
    "16x16 WS, 128-bit bus": (
        "systolic-ws-16x16",
        (),
        grid([(1, 1, 1), (16, 16, 16), (5, 33, 47), (1, 96, 64), (40, 70, 50)]),
    ),
    "4x4 OS, 64-bit bus": ("systolic-4x4", (), grid([(1, 1, 1), (4, 4, 4), (7, 65, 9), (1, 40, 33)])),
    "2x3 OS, 32-bit bus, small": (
        "systolic-4x4",
        (
            "array.rows=2",
            "array.columns=3",
            "bus.data_width=32",
            "bus.burst_beats=16",
            "bus.outstanding=1",
            *SMALL,
        ),
        grid([(1, 1, 1), (3, 5, 7), (11, 600, 4), (1, 50, 19)]),
    ),
    "4x4 WS, 128-bit bus, small": (
        "systolic-4x4",
        (WS, "bus.data_width=128", *SMALL),
        grid([(1, 1, 1), (4, 4, 4), (13, 300, 9), (1, 33, 35)]),
    ),
}


@pytest.mark.parametrize("name", SYSTEMS)
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
@pytest.mark.parametrize("preset", ["systolic-8x8", "systolic-ws-16x16"])
def test_layers_of_full_size(preset):
    cases = [*grid([(64, 576, 576), (1, 576, 1536)]), Case((64, 576, 1536), RAW, memory(20))]
    assert len(check(preset, (), cases)) == 7
