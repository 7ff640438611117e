"""Control at its smallest: one instruction in fetch, one for each unit, no counter but that of cycles."""

from __future__ import annotations

import pytest
from systems import check

from gen import config
from gen.cases import Case, grid

pytestmark = pytest.mark.long

LEAN = ("control.prefetch=1", "control.queue_depth=0")
SMALL = ("memory.activations_kib=1", "memory.weights_kib=1", "memory.accumulators=64", "memory.parameters=16")
SIZES = [(1, 1, 1), (9, 160, 7), (33, 40, 17)]


@pytest.mark.parametrize(
    "overrides",
    [
        ("control.prefetch=1",),
        pytest.param(("control.queue_depth=0", "control.counters=false"), marks=pytest.mark.long),
        pytest.param(
            ("control.queue_depth=1", "control.prefetch=1", "bus.data_width=256"), marks=pytest.mark.long
        ),
        pytest.param((*LEAN, *SMALL, "bus.outstanding=1"), marks=pytest.mark.long),
    ],
)
def test_results_and_cycles(overrides):
    assert len(check("systolic-4x4", overrides, grid(SIZES, (1, 20)))) == 6


def test_the_smallest_accelerator_in_each_format():
    names = [weights.name for _, weights in config.load("bitserial-up5k").instance.pairs]
    cases = [Case((4, 64, 8), weights=name, seed=seed) for seed, name in enumerate(names)]
    more = grid([(1, 1, 1)], (1, 20))
    cases += [Case((5, 300, 3), case.mode, case.timing, 7, weights=names[1]) for case in more]
    assert len(check("bitserial-up5k", (), cases)) == len(cases)


def test_beats_of_two_instructions_need_a_buffer():
    with pytest.raises(
        config.RequestError, match=r"control\.prefetch = 1: must be 16, as bus\.data_width = 512 carries two"
    ):
        config.load("systolic-8x8", ["control.prefetch=1", "bus.data_width=512"])
