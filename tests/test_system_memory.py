"""The accelerator on cocotbext-axi's slave, an independent reading of AXI4 with random back-pressure, and in Icarus Verilog."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from systems import check

from gen.cases import Case, memory
from gen.systems import SYSTEMS
from hw.control.isa import OutputMode
from sim import tools

SIMULATORS = (*(["icarus"] if tools.icarus() else []), "verilator")
NAMES = ("4x4 OS, 32-bit bus", "4x4 WS, 128-bit bus, small", "OS issued in order, 32-bit bus")
ODD = (("activations", 3), ("parameters", 5), ("output", 7))


@pytest.mark.parametrize(
    "name", [NAMES[0], *(pytest.param(name, marks=pytest.mark.long) for name in NAMES[1:])]
)
def test_random_back_pressure(name):
    preset, overrides, _ = SYSTEMS[name]
    shapes = ((1, 1, 1), (6, 21, 13), (9, 40, 5))
    cases = [
        Case(shape, mode, seed=10 * i + j, stall=stall, alignment=ODD if i else (), base=0x1F80 * i)
        for i, shape in enumerate(shapes)
        for j, (stall, mode) in enumerate(zip((0.0, 0.3, 0.7), (*OutputMode, OutputMode(i % 2)), strict=True))
    ]
    assert len(check(preset, overrides, cases, memory="cocotbext")) == len(cases)


@pytest.mark.parametrize("simulator", SIMULATORS)
def test_each_simulator(simulator):
    preset, overrides, _ = SYSTEMS[NAMES[1]]
    cases = [
        Case((5, 9, 6), mode, memory(latency)) for mode, latency in zip(OutputMode, (1, 20), strict=True)
    ]
    assert len(check(preset, overrides, cases, simulator=simulator)) == len(cases)


def test_places_freed_in_the_cycle_they_are_asked_for():
    """A queue's place and its command register are freed in the very cycle in which the next instruction looks."""
    preset, overrides, _ = SYSTEMS[NAMES[1]]
    cases = [
        Case((9, 9, 9), OutputMode.RAW, memory(latency, interval, 1))
        for latency in (1, 2, 3)
        for interval in (1, 2, 3)
    ]
    assert len(check(preset, overrides, cases)) == len(cases)


SIZES = st.tuples(st.integers(1, 12), st.integers(1, 90), st.integers(1, 20))
TIMINGS = st.builds(memory, st.integers(1, 60), st.integers(1, 3), st.integers(1, 8))


@settings(max_examples=2, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(SIZES, st.sampled_from(OutputMode), TIMINGS), min_size=12, max_size=12))
def test_any_shape_at_any_latency(drawn):
    preset, overrides, _ = SYSTEMS[NAMES[1]]
    cases = [Case(*each, seed=number) for number, each in enumerate(drawn)]
    assert len(check(preset, overrides, cases)) == len(cases)
